//! The write-ahead log: term, vote, entries and compaction, in segments.
//!
//! # Format
//! A segment is a file of fixed size, allocated when it is created. It starts with a head
//! ([`super::head`]). The head contains the [`state::LogState`] at that point and the number of the
//! first record. The rest are [`super::record`]s. A record contains all writes that became durable
//! together, so at most one record, the last, can be incomplete.
//!
//! # What recovery accepts
//! All records from the start of the first segment to the end of the last must exist and be intact.
//! They must lead to the state in the next segment's head. Only in the last segment may the log end
//! with invalid bytes: a power failure tore the record, and it was never reported durable. If a
//! record with a higher number follows, the record was durable once and is damaged. A
//! [`super::record::Kind::Seal`] is written when the log becomes idle, to detect this for the last
//! writes, too. If the last segment ends with [`super::record::Kind::Continued`], the next segment
//! was lost.
//!
//! # Which segments are removed
//! The oldest segments are removed if the compaction point and the older of the two kept snapshots
//! cover all their entries. A damaged newest snapshot then loses nothing. On a nearly full disk the
//! compaction point, which keeps entries for slow followers, does not count. On a full disk only
//! the newest snapshot counts.

mod replay;
pub(super) mod segment;
#[cfg(test)]
mod shuttled;
pub(super) mod spares;
pub(super) mod state;
mod writer;

use crate::sync;

pub(super) use replay::recover;
pub(super) use writer::LogWriter;
