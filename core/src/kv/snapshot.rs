//! Snapshots of the state, which are split into chunks and rebuilt from them. Each chunk is a range
//! of the state.
//!
//! **Invariant:** Chunks are cut by key, and the log position of the state identifies a transfer.
//! There is no second copy of the state, and a transfer continues after a break or from another
//! leader.

use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::lease::Lease;
use super::session::Session;
use super::store::{KvStore, Versioned};
use crate::codec;
use crate::limits::{
    CHUNK_OVERHEAD, EXPIRING_OVERHEAD, MAX_ENCODED_CHUNK_BYTES, PAIR_OVERHEAD, Semantics,
};
use crate::snapshot::{Cursor, SnapshotMeta};
use crate::types::Micros;

/// The state after a log entry. Making and cloning it is O(1).
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The entry, and the membership in effect there.
    pub meta: SnapshotMeta,
    /// The state.
    pub store: KvStore,
}

/// A range of the state, with the totals of the whole state.
#[derive(Serialize, Deserialize)]
struct Chunk {
    revision: u64,
    clock: Micros,
    last_id: u64,
    digest: u64,
    parts: Vec<Part>,
}

/// A part of the state, in this order: leases, sessions, keys.
#[derive(Serialize, Deserialize)]
enum Part {
    Lease(u64, Lease),
    Session(u64, Session),
    Pair(Bytes, Versioned),
    /// The very first part, if the rules are not those of the first release.
    Semantics(Semantics),
}

/// Where a chunk begins, encoded in a [`Cursor`] and ordered like the parts.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Place {
    Lease(u64),
    Session(u64),
    Key(Bytes),
}

impl Part {
    fn place(&self) -> Place {
        match self {
            Self::Lease(id, _) => Place::Lease(*id),
            Self::Session(id, _) => Place::Session(*id),
            Self::Pair(key, _) => Place::Key(key.clone()),
            Self::Semantics(_) => Place::Lease(0),
        }
    }

    /// The maximum encoded size in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Lease(..) | Self::Semantics(_) => EXPIRING_OVERHEAD,
            Self::Session(_, session) => EXPIRING_OVERHEAD + codec::encode(&session.answer).len(),
            Self::Pair(key, value) => PAIR_OVERHEAD + key.len() + value.value.len(),
        }
    }
}

impl Place {
    /// Decodes a cursor. An invalid cursor, such as the empty one, means the beginning.
    fn of(cursor: &Cursor) -> Self {
        codec::decode(&cursor.0).unwrap_or(Self::Lease(0))
    }
}

impl KvStore {
    /// All parts from `from` on.
    fn parts(&self, from: Place) -> impl Iterator<Item = Part> + '_ {
        let (lease, session, key) = match from {
            Place::Lease(id) => (Some(id), Some(0), Bytes::new()),
            Place::Session(id) => (None, Some(id), Bytes::new()),
            Place::Key(key) => (None, None, key),
        };
        // Lease IDs start at 1.
        let semantics = (lease == Some(0) && self.semantics != Semantics::FIRST)
            .then_some(Part::Semantics(self.semantics));
        let leases = lease.into_iter().flat_map(|id| self.leases.from(id));
        // The numbers of named requests are above those of sessions.
        let sessions =
            session.into_iter().flat_map(|id| self.sessions.from(id).chain(self.named.from(id)));
        let pairs = self.keys.range((Bound::Included(key), Bound::Unbounded));
        let leases = leases.map(|(id, lease)| Part::Lease(id, *lease));
        semantics
            .into_iter()
            .chain(leases)
            .chain(sessions.map(|(id, session)| Part::Session(id, session.clone())))
            .chain(pairs.map(|(key, value)| Part::Pair(key.clone(), value.clone())))
    }
}

/// Why a chunk of a snapshot was rejected.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The bytes are not a chunk.
    #[error(transparent)]
    Malformed(#[from] codec::DecodeError),
    /// The state follows rules of a later release.
    #[error(
        "the state follows rules {rules}, which this release does not know; start a later release"
    )]
    LaterRelease {
        /// The number of these rules.
        rules: u16,
    },
    /// The next chunk would not begin after this one, so the transfer would never end.
    #[error("the next chunk of the snapshot does not start after this chunk")]
    NoProgress,
    /// All chunks arrived, but they do not form the announced state.
    #[error("the chunks of the snapshot do not match its digest {expected:016x}")]
    Digest {
        /// The digest that the sender announced.
        expected: u64,
    },
}

impl Snapshot {
    /// The state from `cursor` on, at most `max_bytes` of it but at least one part. Also returns
    /// where the next chunk starts (`None` after the last).
    ///
    /// # Panics
    /// If a single part is larger than receivers accept, which `apply` prevents.
    pub fn chunk(&self, cursor: &Cursor, max_bytes: usize) -> (Bytes, Option<Cursor>) {
        let (mut parts, mut bytes, mut next) = (Vec::new(), 0, None);
        for part in self.store.parts(Place::of(cursor)) {
            bytes += part.size();
            if bytes > max_bytes && !parts.is_empty() {
                next = Some(Cursor(codec::encode(&part.place()).into()));
                break;
            }
            parts.push(part);
        }
        let chunk = Chunk {
            revision: self.store.revision,
            clock: self.store.clock,
            last_id: self.store.last_id,
            digest: self.store.digest(),
            parts,
        };
        let data = codec::encode(&chunk);
        let limit = MAX_ENCODED_CHUNK_BYTES.max(max_bytes.saturating_add(CHUNK_OVERHEAD));
        assert!(data.len() <= limit, "a chunk of {} bytes is too long to send", data.len());
        (data.into(), next)
    }
}

/// Rebuilds a snapshot from its chunks.
#[derive(Clone, Debug)]
pub struct SnapshotBuilder {
    meta: SnapshotMeta,
    cursor: Cursor,
    store: KvStore,
}

impl SnapshotBuilder {
    /// Starts with an empty state.
    pub fn new(meta: SnapshotMeta) -> Self {
        Self { meta, cursor: Cursor::default(), store: KvStore::under(Semantics::FIRST) }
    }

    /// Describes the snapshot that is being built.
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Where the next required chunk starts.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Adds the chunk that starts at [`Self::cursor`]. After the last chunk (`next` is `None`) it
    /// returns the finished snapshot.
    pub fn add(
        &mut self,
        data: &[u8],
        next: Option<Cursor>,
    ) -> Result<Option<Snapshot>, ChunkError> {
        let chunk: Chunk = codec::decode(data)?;
        if next.as_ref().is_some_and(|next| Place::of(next) <= Place::of(&self.cursor)) {
            return Err(ChunkError::NoProgress);
        }
        for part in chunk.parts {
            match part {
                Part::Lease(id, lease) => self.store.leases.insert(id, lease),
                Part::Session(id, session) => self.store.restore_session(id, session),
                Part::Pair(key, value) => self.store.restore(&key, value),
                Part::Semantics(to) if to > Semantics::LATEST => {
                    return Err(ChunkError::LaterRelease { rules: to.0 });
                }
                Part::Semantics(semantics) => self.store.semantics = semantics,
            }
        }
        (self.store.revision, self.store.clock) = (chunk.revision, chunk.clock);
        self.store.last_id = chunk.last_id;
        if let Some(next) = next {
            self.cursor = next;
            return Ok(None);
        }
        if self.store.digest() != chunk.digest {
            return Err(ChunkError::Digest { expected: chunk.digest });
        }
        self.store.changes = Changes::since(chunk.revision);
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

    /// Guards transfers with any chunk size, also of the empty state.
    #[test]
    fn chunks_add_up_to_the_state() {
        for (keys, max_bytes, chunks) in [(0, 100, 1), (1, 1, 2), (10, 1, 11), (1000, 12_200, 10)] {
            let snapshot = filled(keys);
            let (copy, count) = transfer(&snapshot, max_bytes).expect("an honest transfer");
            assert_eq!(copy.store.digest(), snapshot.store.digest());
            assert_eq!(count, chunks, "{keys} keys in chunks of {max_bytes}");
        }
    }

    /// Guards that a transfer includes leases with their keys, sessions with their answers, and the
    /// clock.
    #[test]
    fn leases_and_sessions_travel_with_the_state() {
        let mut snapshot = filled(3);
        for command in [
            Command::AdvanceClock { to: 7 },
            Command::GrantLease { ttl: 5_000 },
            Command::OpenSession { ttl: 9_000 },
            Command::GrantLease { ttl: 6_000 },
            Command::Put { key: "tied".into(), value: "1".into(), lease: Some(1.into()) },
            Command::put("x", "1").in_session(2.into(), 4),
            Command::put("y", "1").once(9, 1, 8_000),
        ] {
            snapshot.store.apply(command);
        }
        let (copy, chunks) = transfer(&snapshot, 1).expect("an honest transfer");
        assert_eq!(chunks, 11);
        let (mut copy, mut store) = (copy.store, snapshot.store);
        for command in [
            Command::put("x", "2").in_session(2.into(), 4),
            Command::put("y", "2").once(9, 1, 8_000),
            // The leases count from the second clock entry on.
            Command::AdvanceClock { to: 8 },
            Command::AdvanceClock { to: 9 },
            Command::AdvanceClock { to: 5_009 },
            Command::GrantLease { ttl: 5_000 },
        ] {
            assert_eq!(copy.apply(command.clone()), store.apply(command));
            assert_eq!(copy.digest(), store.digest());
        }
        assert_eq!(copy.get(b"tied"), None, "its lease has ended");
    }

    /// Guards that a transfer with a missing range is detected.
    #[test]
    fn a_missing_chunk_is_noticed() {
        let snapshot = filled(10);
        let mut builder = SnapshotBuilder::new(snapshot.meta.clone());
        let (_, next) = snapshot.chunk(builder.cursor(), 200);
        let (data, _) = snapshot.chunk(&next.expect("ten keys take several chunks"), 10_000);
        assert!(matches!(builder.add(&data, None), Err(ChunkError::Digest { .. })));
    }
}
