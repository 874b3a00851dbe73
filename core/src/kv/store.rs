//! The state itself.

use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::command::{Applied, Command};
use crate::digest;

/// A value and the revisions that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Versioned {
    /// The bytes.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub value: Bytes,
    /// The store's revision when the key came into being.
    pub create_revision: u64,
    /// The store's revision when it last changed.
    pub mod_revision: u64,
    /// How often it was set since it came into being; 1 for a new key.
    pub version: u64,
}

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// The key.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub key: Bytes,
    /// Its value and revisions.
    pub value: Versioned,
}

/// The replicated map. Cloning it is O(1).
#[derive(Clone, Debug, Default)]
pub struct KvStore {
    pub(super) keys: OrdMap<Bytes, Versioned>,
    pub(super) revision: u64,
    /// Sum of the hashes of all pairs, kept up to date with each change.
    pub(super) pairs_digest: u64,
    /// Sum of the lengths of all keys and values, in bytes.
    pub(super) bytes: u64,
}

impl KvStore {
    /// The number of changes so far.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The lengths of all keys and values together.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A key's value.
    pub fn get(&self, key: &[u8]) -> Option<&Versioned> {
        self.keys.get(key)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Versioned)> {
        self.keys.iter()
    }

    /// A hash of the whole state; replicas that applied the same entries have the same.
    pub fn digest(&self) -> u64 {
        digest::of_numbers([self.revision, self.pairs_digest, self.keys.len() as u64])
    }

    /// Applies a command. Depends on the state and the command alone, so that replicas agree.
    pub fn apply(&mut self, command: Command) -> Applied {
        match command {
            Command::Put { key, value } => self.put(&key, value),
            Command::Delete { key } => self.delete(&key),
        }
    }

    fn put(&mut self, key: &Bytes, value: Bytes) -> Applied {
        self.revision += 1;
        let before = self.keys.get(key);
        let versioned = Versioned {
            value,
            create_revision: before.map_or(self.revision, |old| old.create_revision),
            mod_revision: self.revision,
            version: before.map_or(1, |old| old.version + 1),
        };
        self.count_in(key, &versioned);
        let old = self.keys.insert(key.clone(), versioned);
        if let Some(old) = &old {
            self.count_out(key, old);
        }
        Applied { revision: self.revision, existed: old.is_some() }
    }

    fn delete(&mut self, key: &[u8]) -> Applied {
        let old = self.keys.remove(key);
        if let Some(old) = &old {
            self.revision += 1;
            self.count_out(key, old);
        }
        Applied { revision: self.revision, existed: old.is_some() }
    }

    /// A store of these pairs, as a screen knows them.
    pub fn of_pairs(revision: u64, pairs: &[Pair]) -> Self {
        let mut store = Self { revision, ..Self::default() };
        for pair in pairs {
            store.restore(&pair.key, pair.value.clone());
        }
        store
    }

    /// Adds a pair as it is; for building a store from a snapshot.
    pub(super) fn restore(&mut self, key: &Bytes, value: Versioned) {
        self.count_in(key, &value);
        if let Some(old) = self.keys.insert(key.clone(), value) {
            self.count_out(key, &old);
        }
    }

    fn count_in(&mut self, key: &[u8], value: &Versioned) {
        self.pairs_digest = self.pairs_digest.wrapping_add(pair_digest(key, value));
        self.bytes += pair_bytes(key, value);
    }

    fn count_out(&mut self, key: &[u8], value: &Versioned) {
        self.pairs_digest = self.pairs_digest.wrapping_sub(pair_digest(key, value));
        self.bytes -= pair_bytes(key, value);
    }
}

fn pair_digest(key: &[u8], value: &Versioned) -> u64 {
    let numbers = [value.create_revision, value.mod_revision, value.version];
    digest::of_bytes(&value.value, digest::of_bytes(key, digest::of_numbers(numbers)))
}

fn pair_bytes(key: &[u8], value: &Versioned) -> u64 {
    (key.len() + value.value.len()) as u64
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Guards revisions as clients see them: one per change, kept apart per key.
    #[test]
    fn revisions_follow_changes() {
        let mut store = KvStore::default();
        assert_eq!(store.apply(Command::put("a", "1")), Applied { revision: 1, existed: false });
        assert_eq!(store.apply(Command::put("b", "1")), Applied { revision: 2, existed: false });
        assert_eq!(store.apply(Command::put("a", "2")), Applied { revision: 3, existed: true });
        let a = store.get(b"a").expect("a was set");
        assert_eq!((a.create_revision, a.mod_revision, a.version), (1, 3, 2));
        assert_eq!(store.apply(Command::delete("a")), Applied { revision: 4, existed: true });
        assert_eq!(store.apply(Command::delete("a")), Applied { revision: 4, existed: false });
        assert!(store.get(b"a").is_none());
    }

    proptest! {
        /// Guards the incremental digest and byte count against one made from scratch.
        #[test]
        fn the_running_digest_equals_one_from_scratch(
            steps in prop::collection::vec((any::<bool>(), 0_u8..8, 0_u8..3), 0..60)
        ) {
            let mut store = KvStore::default();
            for (put, key, value) in steps {
                let key = vec![b'k', key];
                store.apply(if put {
                    Command::put(key, vec![value])
                } else {
                    Command::delete(key)
                });
            }
            let mut fresh = KvStore { revision: store.revision, ..KvStore::default() };
            for (key, value) in store.iter() {
                fresh.restore(key, value.clone());
            }
            prop_assert_eq!(fresh.digest(), store.digest());
            prop_assert_eq!(fresh.bytes(), store.bytes());
        }
    }
}
