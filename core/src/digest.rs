//! A hash whose result is the same on every platform and in every version of the program.

use std::hash::Hasher;

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_64_with_seed};

/// Hashes three numbers in little-endian form.
pub fn of_numbers(numbers: [u64; 3]) -> u64 {
    let mut bytes = [0; 24];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    xxh3_64(&bytes)
}

/// Hashes bytes with a seed. To hash several byte strings, use each hash as the next seed.
pub fn of_bytes(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// XXH3 (64 bits) over a fixed byte form: little-endian numbers, and `usize` as 64 bits. A 32-bit
/// wasm program and a 64-bit native program therefore agree.
#[derive(Clone, Default)]
pub struct StableHasher(Xxh3Default);

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.0.update(&[number]);
    }

    fn write_u16(&mut self, number: u16) {
        self.0.update(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.0.update(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64((number as i64).cast_unsigned());
    }
}

impl std::fmt::Debug for StableHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StableHasher({:016x})", self.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{Hash, Hasher};

    use super::StableHasher;

    /// Guards that the digest never changes: otherwise recorded runs could not be compared.
    #[test]
    fn the_hash_of_known_values_never_changes() {
        let mut hasher = StableHasher::default();
        (7_u64, "raft", Some(3_u8), vec![1_usize, 2]).hash(&mut hasher);
        assert_eq!(hasher.finish(), 0x02ea_371d_d4ef_b2e0, "{:016x}", hasher.finish());
    }
}
