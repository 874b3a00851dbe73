//! The one place that knows how values become bytes, for peers and disks alike.
//!
//! bincode 2 stands behind it. The crate is no longer maintained, so nothing outside this module
//! names it, and whatever is framed with these bytes carries [`FORMAT_VERSION`].

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Goes up whenever the encoding of any framed type changes.
pub const FORMAT_VERSION: u16 = 2;

/// Bytes that are not the encoding of the expected type.
#[derive(Debug, thiserror::Error)]
#[error("malformed {what}: {reason}")]
pub struct DecodeError {
    /// The type that was expected.
    pub what: &'static str,
    /// What the decoder stumbled over.
    pub reason: String,
}

/// Encodes a value.
///
/// # Panics
/// When the type cannot be encoded at all, which is a bug in its definition.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("every framed type is encodable")
}

/// Encodes a value at the end of `buffer`.
///
/// # Panics
/// When the type cannot be encoded at all, which is a bug in its definition.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, buffer, bincode::config::standard())
        .expect("every framed type is encodable");
}

/// The largest encoding that [`decode`] reads, in bytes; it also bounds what a hostile length can
/// make it allocate.
pub const MAX_BYTES: usize = 64 << 20;

/// Decodes exactly one value of at most [`MAX_BYTES`]; bytes left over are an error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let what = std::any::type_name::<T>();
    let limited = bincode::config::standard().with_limit::<MAX_BYTES>();
    let (value, read) = bincode::serde::decode_from_slice(bytes, limited)
        .map_err(|error| DecodeError { what, reason: error.to_string() })?;
    if read == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError { what, reason: format!("{} bytes left over", bytes.len() - read) })
    }
}

/// Serde helper for byte strings: bytes in binary formats; in JSON text where it is text, else
/// `{"hex": …}`.
pub mod text_or_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Readable {
        Text(String),
        Hex { hex: String },
    }

    /// See the module.
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

    /// See the module.
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

/// As [`text_or_bytes`], for byte strings that may not be there: `null` in JSON.
pub mod optional_text_or_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Present(#[serde(with = "super::text_or_bytes")] Bytes);

    /// See the module.
    pub fn serialize<S: Serializer>(
        bytes: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Present).serialize(serializer)
    }

    /// See the module.
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
        /// Guards peers and disks: what is encoded is read back, in bytes and in JSON.
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

        /// Guards against hostile peers and damaged disks: any bytes give a value or an error, and
        /// never more memory than the limit.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Entry>(&bytes);
            let _ = decode::<crate::message::Message>(&bytes);
            let _ = decode::<crate::durable::Write>(&bytes);
        }
    }

    /// Guards the end of a frame: bytes left over mean that something else was sent.
    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = encode(&entry(1, 1, vec![1]));
        bytes.push(0);
        let error = decode::<Entry>(&bytes).expect_err("one byte too many");
        assert!(error.to_string().contains("1 bytes left over"), "{error}");
    }
}
