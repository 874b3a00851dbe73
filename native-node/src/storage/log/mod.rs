//! The write-ahead log: term, vote, entries and compaction, in segments.
//!
//! # Format
//! A segment is a file of fixed length whose space is taken when it is made. It starts with a head
//! ([`super::head`]) that holds the [`state::LogState`] at that point and the number of its first
//! record; then [`super::record`]s follow. One record holds all writes that were made durable
//! together, so at any time at most one record, the last, can be incomplete.
//!
//! # What recovery accepts
//! All records from the first segment's first up to the last segment's end must be there and
//! intact, and the state that they lead to must be the one that the next segment's head names.
//! In the last segment alone the log may end at bytes that are no record: it was torn when the
//! power went, and nobody was told that it was durable. That is believed only while no record of a
//! higher number stands behind it: then it was durable once, and is damaged now. A
//! [`super::record::Kind::Seal`] is written when the log comes to rest, so that this can be told
//! for the last writes, too. A [`super::record::Kind::Continued`] at the end of the last segment
//! there is means that the next one was lost.
//!
//! # What is removed when
//! Segments go from the front, when every entry that they hold is covered by the compaction point
//! and by the older of the two kept snapshots; so a damaged newest snapshot costs nothing. On a disk
//! that is nearly full the compaction point, which keeps entries for slow followers, does not count;
//! on a full one the newest snapshot decides alone.

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
