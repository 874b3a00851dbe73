//! Records: how bytes are framed in log segments and snapshots alike.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the payload |
//! | 4 | CRC32C of: salt of the file, offset of the record, and this header but for these 4 bytes |
//! | 8 | number of the record, counting from the first ever written |
//! | 4 | CRC32C of the payload |
//! | 4 | kind |
//! | … | payload, then zeros up to a multiple of 8 |
//!
//! All numbers are little-endian. The header's checksum ties a record to one place in one life of
//! one file: one that a disk put elsewhere, or that stands in a file used again, does not pass for
//! a record. The salt is drawn at random when a file is made, so that a client
//! cannot put into a value what would look like a record.

/// The length of a record's header.
pub(super) const HEADER_BYTES: usize = 24;

/// Records start at multiples of this.
pub(super) const ALIGNMENT: u64 = 8;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In a log: writes of the core, each after its length (4 bytes), made durable together.
    Writes = 1,
    /// In a log: nothing. That it is there proves that the record before it was durable.
    Seal = 2,
    /// In a log: nothing. The log goes on in the next segment, which is durable.
    Continued = 3,
    /// In a snapshot: a range of the state.
    Chunk = 4,
    /// In a snapshot: its end.
    End = 5,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Writes, Self::Seal, Self::Continued, Self::Chunk, Self::End]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// A header whose checksum was right for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) payload_bytes: u32,
    payload_crc: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`, which stand at `offset` in a file with this salt.
    /// `None` when there is none that belongs there.
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

    /// Whether these are the bytes that were written.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32c::crc32c(payload) == self.payload_crc
    }

    /// Where the next record starts when this one starts at `offset`.
    pub(super) fn end(&self, offset: u64) -> u64 {
        aligned(offset + HEADER_BYTES as u64 + u64::from(self.payload_bytes))
    }
}

/// Makes room for the header of a record whose payload is then appended to `buffer`.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER_BYTES, 0);
}

/// Pads the record in `buffer`, without a header that fits yet; gives its full length.
///
/// # Panics
/// When the payload is longer than a record can be: the limits of commands and batches are far
/// below that.
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

/// Ties a finished record to its place. May be done again for another place.
pub(super) fn place(buffer: &mut [u8], salt: u64, offset: u64) {
    let header: &mut [u8; HEADER_BYTES] =
        buffer.first_chunk_mut().expect("a finished record has a header");
    let crc = header_crc(header, salt, offset);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// A record without payload.
pub(super) fn empty(kind: Kind, number: u64, salt: u64, offset: u64) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(HEADER_BYTES);
    begin(&mut buffer);
    finish(&mut buffer, kind, number);
    place(&mut buffer, salt, offset);
    buffer
}

/// The first place at or after `from` where a record numbered above `number` starts: the proof that
/// what should stand before it was once durable. `bytes` is a whole file.
pub(super) fn find_later(bytes: &[u8], salt: u64, from: u64, number: u64) -> Option<(u64, u64)> {
    // Only as many records as fit into the file can follow: a cheap test that nearly all of the
    // bytes in question fail.
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
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a header"))
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

    /// Guards position: an old record is not taken for a new one wherever it is found.
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
