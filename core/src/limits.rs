//! Every bound of the state machine and of what is encoded, in one place: who writes within it, and
//! who reads by it.
//!
//! A bound holds on both sides: what may be written can be read, in a log, in a snapshot, in a
//! backup and in a frame between two servers. The assertions below tie the bounds to each other.
//!
//! Some bounds decide what `apply` does with a committed command, so all replicas must use the same
//! ones at the same entry. They are in [`Limits`], which depends on the [`Semantics`] alone.

use serde::{Deserialize, Serialize};

use crate::types::{MILLISECOND, Micros, SECOND};

// Requests: checked at the door of the server (`http/request.rs`), relied on by everything below.

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4 << 10;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The longest encoded command, in bytes. The server bounds the body from which it makes a command,
/// and [`crate::replica::Replica`] asserts it when a command is proposed. An entry of the log is as
/// long and a few bytes more.
pub const MAX_COMMAND_BYTES: usize = 2 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) + (4 << 10);

// Encodings: `codec` checks the first one when it writes and when it reads.

/// The longest encoding of one value: a write of the log, a chunk of a snapshot with its envelope, a
/// frame of a backup, a message.
pub const MAX_ENCODED_BYTES: usize = 64 << 20;

/// What a key and its value take encoded, beside their own bytes, at most.
pub const PAIR_OVERHEAD: usize = 64;

/// The longest [`Cursor`](crate::message::Cursor), in bytes: it names a key.
pub const MAX_CURSOR_BYTES: usize = MAX_KEY_BYTES + 16;

/// What a lease takes encoded, and a session beside its answer, at most.
pub const EXPIRING_OVERHEAD: usize = 64;

/// The longest answer that a session can hold, in bytes: the longest part of a snapshot but for
/// [`EXPIRING_OVERHEAD`]. `apply` keeps shorter ones alone, see [`Limits::answer_bytes`]; a state
/// that an earlier release made is brought below it when it is loaded.
pub const MAX_ANSWER_BYTES: usize = 8 << 20;

/// The longest part of a snapshot, in bytes: a pair, or a session with its answer.
pub const MAX_PART_BYTES: usize = MAX_ANSWER_BYTES + EXPIRING_OVERHEAD;

/// How large the chunks of a snapshot may be configured to be, in bytes.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

/// What a chunk takes encoded beside its parts, at most.
pub const CHUNK_OVERHEAD: usize = 64;

/// The longest encoded chunk: as configured, or a single part. Asserted when a chunk is made.
pub const MAX_ENCODED_CHUNK_BYTES: usize = CHUNK_OVERHEAD
    + if MAX_CHUNK_BYTES > MAX_PART_BYTES { MAX_CHUNK_BYTES } else { MAX_PART_BYTES };

/// What a chunk takes in a file or message beside its own bytes, at most: the places where it and the
/// next one begin, which may be keys, and the members of the cluster.
pub const CHUNK_ENVELOPE_BYTES: usize = 1 << 20;

const _: () = assert!(MAX_KEY_BYTES + MAX_VALUE_BYTES + PAIR_OVERHEAD <= MAX_PART_BYTES);
const _: () = assert!(MAX_ENCODED_CHUNK_BYTES + CHUNK_ENVELOPE_BYTES <= MAX_ENCODED_BYTES);
const _: () = assert!(MAX_COMMAND_BYTES <= MAX_ENCODED_BYTES);

// Memory that is no part of the replicated state: `kv/changes.rs` writes within these.

/// The most changes of keys that are kept for watchers.
pub const MAX_CHANGES: usize = 10_000;

/// They take about so many bytes at most.
pub const MAX_CHANGES_BYTES: usize = 16 << 20;

/// What a change of a key costs beside the key and the value, in bytes.
pub const CHANGE_OVERHEAD: usize = 64;

/// All changes of one revision count for this part of the two bounds at most: a revision that is
/// larger does not push out all others.
pub const REVISION_SHARE: usize = 8;

/// Changes that the watchers' dispatcher has yet to read are kept up to so many times these bounds.
pub const UNREAD_FACTOR: usize = 4;

// What things take in memory beside their bytes, about: for the quota.

/// A key with its value.
pub const PAIR_MEMORY: u64 = 192;

/// A lease, a session, or a remembered answer.
pub const EXPIRING_MEMORY: u64 = 192;

// The bounds of `apply`.

/// The shortest time to live of a lease or session, in µs.
pub const MIN_TTL: Micros = MILLISECOND;

/// The longest time to live of a lease, in µs: a year.
pub const MAX_TTL: Micros = 365 * 24 * 3600 * SECOND;

/// The longest time to live of a session, in µs: a day.
pub const MAX_SESSION_TTL: Micros = 24 * 3600 * SECOND;

/// The most leases that a store keeps.
pub const MAX_LEASES: usize = 100_000;

/// The most sessions that a store keeps.
pub const MAX_SESSIONS: usize = 10_000;

/// When there are [`MAX_SESSIONS`], another one takes the place of the one that was idle longest, if
/// that was so long, in µs.
pub const MIN_IDLE: Micros = 60 * SECOND;

/// What the answers to named requests take at most, in bytes of [`EXPIRING_MEMORY`] and their
/// contents. A short answer takes about 200.
pub const MAX_NAMED_BYTES: u64 = 128 << 20;

/// When the answers to named requests take more than [`MAX_NAMED_BYTES`], the oldest go before their
/// time, but never before this one, in µs.
pub const MIN_REMEMBERED: Micros = 60 * SECOND;

/// The answer to a named request is remembered for so much longer than it asks, in µs: its time counts
/// from the last telling of the time, which is a little old.
pub const NAMED_GRACE: Micros = SECOND;

/// What a transaction may read, in bytes of keys and values with [`PAIR_OVERHEAD`] each: two of the
/// largest pairs, as the largest request may write.
pub const MAX_RESULT_BYTES: usize = 2 * (MAX_KEY_BYTES + MAX_VALUE_BYTES + PAIR_OVERHEAD);

/// What an answer holds is remembered up to this length, in bytes: of a longer one a repeated request
/// learns only whether the comparisons held.
pub const MAX_REMEMBERED_BYTES: usize = 4 << 10;

/// Which rules `apply` follows. They differ between releases, and replicas must change them at the
/// same entry: `Command::RaiseSemantics` does it, and snapshots carry them. A state of the first
/// release says nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Semantics(pub u16);

impl Semantics {
    /// Those of the first release.
    pub const FIRST: Self = Self(1);

    /// Bounds on results, answers, sessions and remembered requests; leases and sessions that never
    /// end early.
    pub const BOUNDED: Self = Self(2);

    /// The newest that this release knows.
    pub const LATEST: Self = Self::BOUNDED;

    /// The bounds that it sets.
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
                // Whoever keeps longer ones cannot read its own snapshots.
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
    /// What a transaction may read, in bytes.
    pub result_bytes: usize,
    /// The contents of an answer that a session remembers, in bytes.
    pub answer_bytes: usize,
    /// The longest time to live of a session, in µs.
    pub session_ttl: Micros,
    /// How many answers to named requests are remembered.
    pub named: usize,
    /// How many bytes they take.
    pub named_bytes: u64,
    /// For how much longer than they ask they are remembered, in µs.
    pub named_grace: Micros,
    /// Whether a new session or named request takes the place of an old one where there is no room.
    pub makes_room: bool,
    /// Whether leases and sessions count from a time that was told after they were granted, instead
    /// of from the last one before.
    pub counts_from_after: bool,
}
