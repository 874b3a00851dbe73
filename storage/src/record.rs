//! Records: the framing of bytes in log segments and snapshots.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the payload |
//! | 4 | CRC32C of the file's salt, the record's offset, and this header without these 4 bytes |
//! | 8 | number of the record, counting from the first ever written |
//! | 4 | CRC32C of the payload |
//! | 4 | kind |
//! | … | payload, then zeros up to a multiple of 8 |
//!
//! All numbers are little-endian. The header's checksum ties a record to its position in its file.
//! A record that the disk wrote to another place, or an old record in a reused file, is therefore
//! invalid. The salt is random for each file, so a client's value cannot imitate a record.

/// The size of a record's header, in bytes.
pub(super) const HEADER_BYTES: usize = 24;

/// Records start at multiples of this offset.
pub(super) const ALIGNMENT: u64 = 8;

/// The contents of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In a log: the core's writes, each after its length (4 bytes), which became durable together.
    Writes = 1,
    /// In a log, without payload. Proves that the previous record was durable.
    Seal = 2,
    /// In a log, without payload. The log continues in the next segment, which is durable.
    Continued = 3,
    /// In a snapshot: a range of the state.
    Chunk = 4,
    /// In a snapshot: the end.
    End = 5,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Writes, Self::Seal, Self::Continued, Self::Chunk, Self::End]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// A header whose checksum matches its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) payload_bytes: u32,
    payload_crc: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`, which are at `offset` in a file with this salt.
    /// `None` if there is no valid header.
    pub(super) fn read(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let kind = Kind::from_number(u32_at(bytes, 20))?;
        (u32_at(bytes, 4) == header_crc(bytes, salt, offset)).then(|| Self {
            kind,
            number: u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32,
            payload_bytes: u32_at(bytes, 0),
            payload_crc: u32_at(bytes, 16),
        })
    }

    /// Whether the payload matches its checksum.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32c::crc32c(payload) == self.payload_crc
    }

    /// The offset of the next record, if this record starts at `offset`.
    pub(super) fn end(&self, offset: u64) -> u64 {
        aligned(offset + HEADER_BYTES as u64 + u64::from(self.payload_bytes))
    }
}

/// Reserves space for the header of a record; the payload is then appended to `buffer`.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER_BYTES, 0);
}

/// Completes the record in `buffer`, except for the header's checksum, and pads it.
///
/// # Panics
/// If the payload is too long for a record. The limits of commands and batches are far below that.
pub(super) fn finish(buffer: &mut Vec<u8>, kind: Kind, number: u64) {
    let payload = &buffer[HEADER_BYTES..];
    let length = u32::try_from(payload.len()).expect("a batch is smaller than 4 GiB");
    let crc = crc32c::crc32c(payload);
    buffer[0..4].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&number.to_le_bytes());
    buffer[16..20].copy_from_slice(&crc.to_le_bytes());
    buffer[20..24].copy_from_slice(&(kind as u32).to_le_bytes());
    while !(buffer.len() as u64).is_multiple_of(ALIGNMENT) {
        buffer.push(0);
    }
}

/// Sets the checksum of a finished record for its position. Can be repeated for another position.
pub(super) fn place(buffer: &mut [u8], salt: u64, offset: u64) {
    let header: &mut [u8; HEADER_BYTES] =
        buffer.first_chunk_mut().expect("a finished record has a header");
    let crc = header_crc(header, salt, offset);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Encodes a record without payload.
pub(super) fn empty(kind: Kind, number: u64, salt: u64, offset: u64) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(HEADER_BYTES);
    begin(&mut buffer);
    finish(&mut buffer, kind, number);
    place(&mut buffer, salt, offset);
    buffer
}

/// Finds the first record at or after `from` with a number above `number`. It proves that the
/// earlier record was once durable. `bytes` is a whole file.
pub(super) fn find_later(bytes: &[u8], salt: u64, from: u64, number: u64) -> Option<(u64, u64)> {
    // Only as many records as fit into the file can follow. This cheap check excludes nearly all
    // other bytes.
    let highest = number + bytes.len() as u64 / HEADER_BYTES as u64 + 1;
    let mut offset = aligned(from);
    while let Some(rest) = bytes.get(usize::try_from(offset).ok()?..) {
        let header: &[u8; HEADER_BYTES] = rest.first_chunk()?;
        let found = u64::from(u32_at(header, 8)) | u64::from(u32_at(header, 12)) << 32;
        if found > number && found <= highest && Header::read(header, salt, offset).is_some() {
            return Some((offset, found));
        }
        offset += ALIGNMENT;
    }
    None
}

/// The next multiple of [`ALIGNMENT`].
pub(super) const fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

fn header_crc(header: &[u8; HEADER_BYTES], salt: u64, offset: u64) -> u32 {
    let mut bytes = [0; 36];
    bytes[0..8].copy_from_slice(&salt.to_le_bytes());
    bytes[8..16].copy_from_slice(&offset.to_le_bytes());
    bytes[16..20].copy_from_slice(&header[0..4]);
    bytes[20..36].copy_from_slice(&header[8..24]);
    crc32c::crc32c(&bytes)
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0xfeed_beef;

    fn record(payload: &[u8], number: u64, offset: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        begin(&mut buffer);
        buffer.extend_from_slice(payload);
        finish(&mut buffer, Kind::Writes, number);
        place(&mut buffer, SALT, offset);
        buffer
    }

    /// Guards the format on disk: a change of it needs a new version number.
    #[test]
    fn a_known_record_keeps_its_bytes() {
        let bytes = record(b"raft", 7, 64);
        let expected = [
            4, 0, 0, 0, 193, 214, 24, 247, 7, 0, 0, 0, 0, 0, 0, 0, 130, 204, 214, 190, 1, 0, 0, 0,
            b'r', b'a', b'f', b't', 0, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
        let header = Header::read(&bytes, SALT, 64).expect("it is at its place");
        assert_eq!((header.number, header.payload_bytes, header.end(64)), (7, 4, 96));
        assert!(header.fits(b"raft"));
        assert!(!header.fits(b"rafs"));
    }

    /// Guards that an old record is not taken for a new record, wherever it is found.
    #[test]
    fn a_record_counts_only_at_its_place_in_its_file() {
        let bytes = record(b"raft", 7, 64);
        assert!(Header::read(&bytes, SALT, 72).is_none());
        assert!(Header::read(&bytes, SALT + 1, 64).is_none());
        assert!(Header::read(&[0; 64], SALT, 64).is_none(), "zeros are no record");
    }

    /// Guards the difference between a torn tail and damage before the end.
    #[test]
    fn a_later_record_is_found_behind_damage() {
        let mut file = vec![0; 64];
        file.extend(record(b"first", 1, 64));
        let second = file.len() as u64;
        file.extend(record(b"second", 2, second));
        file.resize(file.len() + 100, 0);
        assert_eq!(find_later(&file, SALT, 64, 1), Some((second, 2)));
        assert_eq!(find_later(&file, SALT, 64, 2), None, "its own number is not later");
        assert_eq!(find_later(&file, SALT, second + 8, 1), None);
    }
}
