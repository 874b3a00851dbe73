//! The encoding of everything that is sent to peers or written to disk.
//!
//! It uses bincode 2. That crate is no longer maintained, so no other module names it, and all
//! framed data carries [`FORMAT_VERSION`].

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Must increase whenever the encoding of any framed type changes.
pub const FORMAT_VERSION: u16 = 2;

/// The bytes are not a valid encoding of the expected type.
#[derive(Debug, thiserror::Error)]
#[error("malformed {what}: {reason}")]
pub struct DecodeError {
    /// The name of the expected type.
    pub what: &'static str,
    /// Why decoding failed.
    pub reason: String,
}

/// Encodes a value.
///
/// # Panics
/// If the type cannot be encoded, or the encoding is longer than [`MAX_BYTES`], which [`decode`]
/// rejects. Both are bugs of the caller.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("every framed type is encodable");
    assert_readable::<T>(bytes.len());
    bytes
}

/// Encodes a value and appends the bytes to `buffer`.
///
/// # Panics
/// Like [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) {
    let start = buffer.len();
    bincode::serde::encode_into_std_write(value, buffer, bincode::config::standard())
        .expect("every framed type is encodable");
    assert_readable::<T>(buffer.len() - start);
}

fn assert_readable<T: ?Sized>(bytes: usize) {
    let what = std::any::type_name::<T>();
    assert!(bytes <= MAX_BYTES, "{bytes} bytes of {what} could not be read back");
}

/// The longest encoding that may be written or read, in bytes.
pub const MAX_BYTES: usize = crate::limits::MAX_ENCODED_BYTES;

/// bincode counts every number against its limit at full width, up to this many times its encoded
/// size.
const WIDEST: usize = 8;

/// Like [`decode`], for a sequence of at most `most` elements.
pub fn decode_at_most<T: DeserializeOwned>(
    bytes: &[u8],
    most: usize,
) -> Result<Vec<T>, DecodeError> {
    // The encoding of a sequence begins with its length.
    let length = bincode::serde::decode_from_slice::<u64, _>(bytes, bincode::config::standard());
    match length {
        Ok((length, _)) if length > most as u64 => {
            let reason = format!("{length} elements are more than {most}");
            Err(DecodeError { what: std::any::type_name::<Vec<T>>(), reason })
        }
        // If the length is invalid, `decode` reports the error.
        Ok(_) | Err(_) => decode(bytes),
    }
}

/// Decodes exactly one value of at most [`MAX_BYTES`]; leftover bytes are an error.
///
/// A hostile length can make it allocate at most [`MAX_BYTES`], or [`WIDEST`] times as much if the
/// encoding is longer than `MAX_BYTES / WIDEST`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let what = std::any::type_name::<T>();
    if bytes.len() > MAX_BYTES {
        let reason = format!("{} bytes are more than {MAX_BYTES}", bytes.len());
        return Err(DecodeError { what, reason });
    }
    let standard = bincode::config::standard();
    let decoded = if bytes.len() <= MAX_BYTES / WIDEST {
        bincode::serde::decode_from_slice(bytes, standard.with_limit::<MAX_BYTES>())
    } else {
        bincode::serde::decode_from_slice(bytes, standard.with_limit::<{ MAX_BYTES * WIDEST }>())
    };
    let (value, read) = decoded.map_err(|error| DecodeError { what, reason: error.to_string() })?;
    if read == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError { what, reason: format!("{} bytes left over", bytes.len() - read) })
    }
}

/// Serde helper for byte strings: bytes in binary formats. In JSON a string if the bytes are UTF-8,
/// otherwise `{"hex":…}`.
pub mod text_or_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Readable {
        Text(String),
        Hex { hex: String },
    }

    /// Serializes bytes, as text in readable formats.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Readable::Text(text.to_owned()),
            Err(_) => Readable::Hex { hex: to_hex(bytes) },
        }
        .serialize(serializer)
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        if !deserializer.is_human_readable() {
            return Bytes::deserialize(deserializer);
        }
        match Readable::deserialize(deserializer)? {
            Readable::Text(text) => Ok(Bytes::from(text)),
            Readable::Hex { hex } => {
                from_hex(&hex).ok_or_else(|| serde::de::Error::custom("bad hexadecimal digits"))
            }
        }
    }

    fn to_hex(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(DIGITS[usize::from(digit)]))
            .collect()
    }

    fn from_hex(text: &str) -> Option<Bytes> {
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        (0..text.len())
            .step_by(2)
            .map(|start| u8::from_str_radix(text.get(start..start + 2)?, 16).ok())
            .collect()
    }
}

/// Like [`text_or_bytes`], for optional byte strings: `None` is `null` in JSON.
pub mod optional_text_or_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Present(#[serde(with = "super::text_or_bytes")] Bytes);

    /// Serializes optional bytes, as text in readable formats.
    pub fn serialize<S: Serializer>(
        bytes: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Present).serialize(serializer)
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|present| present.0))
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{decode, encode};
    use crate::kv::Command;
    use crate::log::{Entry, Payload};
    use crate::types::{LogIndex, Term};

    fn entry(index: u64, term: u64, bytes: Vec<u8>) -> Entry {
        let payload = Payload::Command(Bytes::from(bytes));
        Entry { index: LogIndex(index), term: Term(term), payload }
    }

    proptest! {
        /// Guards that an entry survives encoding and decoding, in bytes and in JSON.
        #[test]
        fn entries_survive_both_encodings(
            index: u64,
            term: u64,
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            for payload in [bytes.clone(), Command::put(bytes.clone(), bytes).encode().to_vec()] {
                let entry = entry(index, term, payload);
                let binary: Entry = decode(&encode(&entry)).expect("just encoded");
                prop_assert_eq!(&binary, &entry);
                let text = serde_json::to_string(&entry).expect("entries have a JSON form");
                let json: Entry = serde_json::from_str(&text).expect("just encoded");
                prop_assert_eq!(&json, &entry);
            }
        }

        /// Guards against hostile peers and damaged disks: decoding any bytes gives a value or an
        /// error, and never allocates more than the limit.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Entry>(&bytes);
            let _ = decode::<crate::message::Message>(&bytes);
            let _ = decode::<crate::durable::Write>(&bytes);
        }
    }

    /// Guards that `decode` accepts all that `encode` writes, up to the longest encoding and also
    /// for many small numbers. Both reject one byte more.
    #[test]
    fn what_can_be_written_can_be_read() {
        for length in [super::MAX_BYTES / super::WIDEST, super::MAX_BYTES / super::WIDEST + 1] {
            // Each number takes one byte, which bincode counts as eight. The length takes five.
            let small = vec![1_u64; length - 5];
            let bytes = encode(&small);
            assert_eq!(bytes.len(), length);
            assert_eq!(decode::<Vec<u64>>(&bytes).expect("just written").len(), small.len());
        }
        let long = Bytes::from(vec![1; super::MAX_BYTES - 5]);
        let bytes = encode(&long);
        assert_eq!(bytes.len(), super::MAX_BYTES);
        assert_eq!(decode::<Bytes>(&bytes).expect("just written"), long);
        let longer = [bytes, vec![1]].concat();
        let error = decode::<Bytes>(&longer).expect_err("too long");
        assert!(error.to_string().contains("more than"), "{error}");
        let too_long = Bytes::from(vec![1; super::MAX_BYTES - 4]);
        let written = std::panic::catch_unwind(|| encode(&too_long));
        written.expect_err("it could not be read back");
    }

    /// Guards that leftover bytes at the end of a frame are an error.
    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = encode(&entry(1, 1, vec![1]));
        bytes.push(0);
        let error = decode::<Entry>(&bytes).expect_err("one byte too many");
        assert!(error.to_string().contains("1 bytes left over"), "{error}");
    }
}
