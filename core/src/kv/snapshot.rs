//! The state as a snapshot: cut into chunks that are key ranges, and built from them again.

use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::store::{KvStore, Versioned};
use crate::codec;
use crate::message::{Cursor, SnapshotMeta};

/// The state after one log entry. Cloning it is O(1), and so is making it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which entry, and the membership in force there.
    pub meta: SnapshotMeta,
    /// The state.
    pub store: KvStore,
}

/// One key range of a state, with what the whole must add up to.
#[derive(Serialize, Deserialize)]
struct Chunk {
    revision: u64,
    digest: u64,
    pairs: Vec<(Bytes, Versioned)>,
}

/// A chunk that does not fit what was received before.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The bytes are not a chunk.
    #[error(transparent)]
    Malformed(#[from] codec::DecodeError),
    /// All chunks are there, but they are not the state that was announced.
    #[error("the chunks of the snapshot do not add up to its digest {expected:016x}")]
    Digest {
        /// What the sender announced.
        expected: u64,
    },
}

impl Snapshot {
    /// The pairs from `cursor` on, about `max_bytes` of them and at least one, and where the next
    /// chunk starts (`None` after the last).
    pub fn chunk(&self, cursor: &Cursor, max_bytes: usize) -> (Bytes, Option<Cursor>) {
        let start = Bound::Included(cursor.0.clone());
        let mut rest = self.store.keys.range((start, Bound::Unbounded));
        let (mut pairs, mut bytes, mut next) = (Vec::new(), 0, None);
        for (key, value) in rest.by_ref() {
            if bytes >= max_bytes {
                next = Some(Cursor(key.clone()));
                break;
            }
            bytes += key.len() + value.value.len();
            pairs.push((key.clone(), value.clone()));
        }
        let chunk = Chunk { revision: self.store.revision(), digest: self.store.digest(), pairs };
        (codec::encode(&chunk).into(), next)
    }
}

/// A state in the making, fed chunk by chunk.
#[derive(Clone, Debug)]
pub struct SnapshotBuilder {
    meta: SnapshotMeta,
    cursor: Cursor,
    store: KvStore,
}

impl SnapshotBuilder {
    /// Starts with nothing.
    pub fn new(meta: SnapshotMeta) -> Self {
        Self { meta, cursor: Cursor::default(), store: KvStore::default() }
    }

    /// Which state is being built.
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Where the chunk that is needed next starts.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Adds the chunk that starts at [`Self::cursor`]. After the last (`next` is `None`) it gives
    /// the finished snapshot.
    pub fn add(
        &mut self,
        data: &[u8],
        next: Option<Cursor>,
    ) -> Result<Option<Snapshot>, ChunkError> {
        let chunk: Chunk = codec::decode(data)?;
        for (key, value) in chunk.pairs {
            self.store.restore(&key, value);
        }
        self.store.revision = chunk.revision;
        if let Some(next) = next {
            self.cursor = next;
            return Ok(None);
        }
        if self.store.digest() != chunk.digest {
            return Err(ChunkError::Digest { expected: chunk.digest });
        }
        Ok(Some(Snapshot { meta: self.meta.clone(), store: self.store.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Command;

    fn filled(keys: u32) -> Snapshot {
        let mut store = KvStore::default();
        for key in 0..keys {
            store.apply(Command::put(format!("key{key:04}"), vec![b'v'; 50]));
        }
        Snapshot { meta: SnapshotMeta::default(), store }
    }

    fn transfer(snapshot: &Snapshot, max_bytes: usize) -> Result<(Snapshot, u32), ChunkError> {
        let mut builder = SnapshotBuilder::new(snapshot.meta.clone());
        let mut chunks = 0;
        loop {
            let (data, next) = snapshot.chunk(builder.cursor(), max_bytes);
            chunks += 1;
            if let Some(done) = builder.add(&data, next)? {
                return Ok((done, chunks));
            }
        }
    }

    /// Guards transfers of any chunk size, the empty state included.
    #[test]
    fn chunks_add_up_to_the_state() {
        for (keys, max_bytes, chunks) in [(0, 100, 1), (1, 1, 1), (10, 1, 10), (1000, 5_700, 10)] {
            let snapshot = filled(keys);
            let (copy, count) = transfer(&snapshot, max_bytes).expect("an honest transfer");
            assert_eq!(copy.store.digest(), snapshot.store.digest());
            assert_eq!(count, chunks, "{keys} keys in chunks of {max_bytes}");
        }
    }

    /// Guards against a transfer that silently lost a range.
    #[test]
    fn a_missing_chunk_is_noticed() {
        let snapshot = filled(10);
        let mut builder = SnapshotBuilder::new(snapshot.meta.clone());
        let (_, next) = snapshot.chunk(builder.cursor(), 200);
        let (data, _) = snapshot.chunk(&next.expect("ten keys take several chunks"), 10_000);
        assert!(matches!(builder.add(&data, None), Err(ChunkError::Digest { .. })));
    }
}
