//! All bounds of the state machine and of encodings, with the code that enforces them.
//!
//! A bound holds for writing and reading: what may be written can be read, from a log, snapshot,
//! backup or frame between servers. The assertions below tie the bounds to each other.
//!
//! Some bounds decide what `apply` does with a committed command, so all replicas must use the same
//! bounds at the same entry. They are in [`Limits`], which depends only on the [`Semantics`].

use serde::{Deserialize, Serialize};

use crate::types::{MILLISECOND, Micros, SECOND};

// Requests: the server checks these in `http/request.rs`, and all layers below rely on them.

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4 << 10;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The longest encoded command, in bytes. The server limits request bodies, and
/// [`crate::replica::Replica`] asserts the bound when a command is proposed. A log entry is a few
/// bytes longer.
pub const MAX_COMMAND_BYTES: usize = 2 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) + (4 << 10);

// Encodings: `codec` checks the first bound when it writes and when it reads.

/// The longest encoding of one value, in bytes: a log write, a snapshot chunk with its envelope, a
/// backup frame or a message.
pub const MAX_ENCODED_BYTES: usize = 64 << 20;

/// The maximum encoding overhead of a key and its value, in bytes.
pub const PAIR_OVERHEAD: usize = 64;

/// The longest [`Cursor`](crate::snapshot::Cursor), in bytes. A cursor contains a key.
pub const MAX_CURSOR_BYTES: usize = MAX_KEY_BYTES + 16;

/// The maximum encoded size of a lease, or of a session without its answer, in bytes.
pub const EXPIRING_OVERHEAD: usize = 64;

/// The longest answer that a session can hold, in bytes: the longest part of a snapshot without
/// [`EXPIRING_OVERHEAD`]. `apply` keeps only shorter answers, see [`Limits::answer_bytes`]. When a
/// state of an earlier release is loaded, longer answers are cut.
pub const MAX_ANSWER_BYTES: usize = 8 << 20;

/// The longest part of a snapshot, in bytes: a pair, or a session with its answer.
pub const MAX_PART_BYTES: usize = MAX_ANSWER_BYTES + EXPIRING_OVERHEAD;

/// The maximum configurable size of a snapshot chunk, in bytes.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

/// The maximum encoding overhead of a chunk beside its parts, in bytes.
pub const CHUNK_OVERHEAD: usize = 64;

/// The longest encoded chunk, in bytes: as configured, or a single part. Asserted when a chunk is
/// made.
pub const MAX_ENCODED_CHUNK_BYTES: usize = CHUNK_OVERHEAD
    + if MAX_CHUNK_BYTES > MAX_PART_BYTES { MAX_CHUNK_BYTES } else { MAX_PART_BYTES };

/// The maximum overhead of a chunk in a file or message, in bytes. It contains the cursors of this
/// chunk and the next, which may be keys, and the members.
pub const CHUNK_ENVELOPE_BYTES: usize = 1 << 20;

const _: () = assert!(MAX_KEY_BYTES + MAX_VALUE_BYTES + PAIR_OVERHEAD <= MAX_PART_BYTES);
const _: () = assert!(MAX_ENCODED_CHUNK_BYTES + CHUNK_ENVELOPE_BYTES <= MAX_ENCODED_BYTES);
const _: () = assert!(MAX_COMMAND_BYTES <= MAX_ENCODED_BYTES);

// Memory outside the replicated state: `kv/changes.rs` enforces these bounds.

/// The maximum number of key changes that are kept for watchers.
pub const MAX_CHANGES: usize = 10_000;

/// The approximate maximum size of these changes, in bytes.
pub const MAX_CHANGES_BYTES: usize = 16 << 20;

/// The size of a key change beside its key and value, in bytes.
pub const CHANGE_OVERHEAD: usize = 64;

/// The changes of one revision count for at most 1 / `REVISION_SHARE` of the two bounds. A larger
/// revision therefore does not evict all others.
pub const REVISION_SHARE: usize = 8;

/// Changes that the watch dispatcher has not read yet are kept up to this many times these bounds.
pub const UNREAD_FACTOR: usize = 4;

// Approximate memory overhead beside the contents, for the quota.

/// A key with its value, in bytes.
pub const PAIR_MEMORY: u64 = 192;

/// A lease, a session or a remembered answer, in bytes.
pub const EXPIRING_MEMORY: u64 = 192;

// The bounds of `apply`.

/// The shortest time to live of a lease or session, in µs.
pub const MIN_TTL: Micros = MILLISECOND;

/// The longest time to live of a lease, in µs: a year.
pub const MAX_TTL: Micros = 365 * 24 * 3600 * SECOND;

/// The longest time to live of a session, in µs: a day.
pub const MAX_SESSION_TTL: Micros = 24 * 3600 * SECOND;

/// The maximum number of leases in a store.
pub const MAX_LEASES: usize = 100_000;

/// The maximum number of sessions in a store.
pub const MAX_SESSIONS: usize = 10_000;

/// With [`MAX_SESSIONS`] sessions, a new session replaces the session that was idle longest, if it
/// was idle for at least this long, in µs.
pub const MIN_IDLE: Micros = 60 * SECOND;

/// The maximum memory of the answers to named requests, in bytes: [`EXPIRING_MEMORY`] each, and
/// their contents. A short answer takes about 200.
pub const MAX_NAMED_BYTES: u64 = 128 << 20;

/// When the answers to named requests exceed [`MAX_NAMED_BYTES`], the oldest are removed early, but
/// never before this age, in µs.
pub const MIN_REMEMBERED: Micros = 60 * SECOND;

/// How much longer than requested the answer to a named request is remembered, in µs. Its time
/// starts at the latest clock entry, which is slightly old.
pub const NAMED_GRACE: Micros = SECOND;

/// The maximum size of what a transaction may read, in bytes, with [`PAIR_OVERHEAD`] per pair. It
/// allows two of the largest pairs, like the largest write.
pub const MAX_RESULT_BYTES: usize = 2 * (MAX_KEY_BYTES + MAX_VALUE_BYTES + PAIR_OVERHEAD);

/// The contents of an answer are remembered up to this length, in bytes. If they are longer, a
/// repeated request learns only whether the comparisons held.
pub const MAX_REMEMBERED_BYTES: usize = 4 << 10;

/// Which rules `apply` follows. They differ between releases, and replicas must change them at the
/// same entry: `Command::RaiseSemantics` changes them, and snapshots contain them. A state of the
/// first release does not contain them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Semantics(pub u16);

impl Semantics {
    /// The rules of the first release.
    pub const FIRST: Self = Self(1);

    /// Adds bounds on results, answers, sessions and remembered requests. Leases and sessions never
    /// end early.
    pub const BOUNDED: Self = Self(2);

    /// The newest rules that this release knows.
    pub const LATEST: Self = Self::BOUNDED;

    /// The bounds of these rules.
    pub const fn limits(self) -> Limits {
        if self.0 >= Self::BOUNDED.0 {
            Limits {
                result_bytes: MAX_RESULT_BYTES,
                answer_bytes: MAX_REMEMBERED_BYTES,
                session_ttl: MAX_SESSION_TTL,
                named: usize::MAX,
                named_bytes: MAX_NAMED_BYTES,
                named_grace: NAMED_GRACE,
                makes_room: true,
                counts_from_after: true,
            }
        } else {
            Limits {
                result_bytes: usize::MAX,
                // A server that keeps longer answers cannot read its own snapshots.
                answer_bytes: MAX_ANSWER_BYTES,
                session_ttl: MAX_TTL,
                named: 100_000,
                named_bytes: u64::MAX,
                named_grace: 0,
                makes_room: false,
                counts_from_after: false,
            }
        }
    }
}

impl Default for Semantics {
    fn default() -> Self {
        Self::LATEST
    }
}

/// The bounds that decide what `apply` does with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of what a transaction may read, in bytes.
    pub result_bytes: usize,
    /// The maximum contents of an answer that a session remembers, in bytes.
    pub answer_bytes: usize,
    /// The longest time to live of a session, in µs.
    pub session_ttl: Micros,
    /// The maximum number of remembered answers to named requests.
    pub named: usize,
    /// The maximum memory of these answers, in bytes.
    pub named_bytes: u64,
    /// How much longer than requested these answers are remembered, in µs.
    pub named_grace: Micros,
    /// Whether a new session or named request replaces an old one when there is no room.
    pub makes_room: bool,
    /// Whether leases and sessions count from the first clock entry after they were granted,
    /// instead of from the last one before.
    pub counts_from_after: bool,
}
