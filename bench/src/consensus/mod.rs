//! Steps three servers in a single thread, with this core and with raft-rs.
//!
//! Both sides do the same work, and ours leaves out nothing that raft-rs does:
//!
//! - Server 1 of three is elected before the clock starts. PreVote and CheckQuorum are on. Time
//!   does not advance.
//! - A round is a closed loop: the leader gets a batch of 64-byte commands, then the servers take
//!   turns until no server has work left. By then all three have committed and delivered the batch,
//!   and all its messages are answered.
//! - In its turn a server receives all pending messages, then its outputs are executed. Messages
//!   move to the receivers' queues without encoding. Entries go to an in-memory log in place of a
//!   disk and are durable immediately. Committed entries are delivered, and the application reads
//!   each.
//! - On both sides a message holds up to 1 MiB of entries, and up to 256 messages are in flight.
//! - Nothing is compacted, and the log starts empty in each round.
//!
//! raft-rs stores entries in its own `MemStorage` and is driven as in its examples. The best way
//! to propose a batch depends on its size. Three ways are measured: `propose` for each entry, the
//! same with `batch_append`, and a single `MsgPropose` for all entries. The fastest at each size is
//! compared.
//!
//! Everything is measured twice. Consensus alone only delivers committed entries. With the state
//! machine, each server on both sides decodes the command and applies it to a
//! [`raft_core::kv::KvStore`]. The leader also creates the response to each client request.

mod ours;
mod ours_applied;
mod theirs;

use std::collections::BTreeMap;
use std::time::Instant;

use raft_core::kv::Command;
use serde::{Deserialize, Serialize};

use crate::figures::Figure;

/// The measured batch sizes.
pub const BATCHES: [usize; 4] = [1, 16, 256, 1024];

/// Length of a command, in bytes.
pub const COMMAND_BYTES: usize = 64;

/// Three servers of an implementation.
pub(crate) trait Cluster {
    /// Proposes a batch to the leader and steps all servers until no server has work left.
    fn replicate(&mut self, batch: Vec<Vec<u8>>);

    /// Commands and bytes that each server has delivered.
    fn handed_out(&self) -> [Tally; 3];
}

/// What an application received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    commands: u64,
    bytes: u64,
    /// Sum of the last byte of each command, to force a read of every entry.
    sum: u64,
}

impl Tally {
    fn add(&mut self, command: &[u8]) {
        self.commands += 1;
        self.bytes += command.len() as u64;
        self.sum += u64::from(command.last().copied().unwrap_or_default());
    }
}

/// An implementation, and for raft-rs the way to propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contender {
    /// This core.
    Ours,
    /// raft-rs with a separate `propose` for each entry.
    RaftRsEach,
    /// The same with `batch_append`.
    RaftRsBatchAppend,
    /// raft-rs with a single `MsgPropose` for all entries.
    RaftRsOneMessage,
}

impl Contender {
    /// All contenders, in the order of their turns.
    pub const ALL: [Self; 4] =
        [Self::Ours, Self::RaftRsEach, Self::RaftRsBatchAppend, Self::RaftRsOneMessage];

    fn cluster(self, applies: bool) -> Box<dyn Cluster> {
        let way = match self {
            Self::Ours if applies => return Box::new(ours_applied::Ours::elected()),
            Self::Ours => return Box::new(ours::Ours::elected()),
            Self::RaftRsEach => theirs::Way::Each,
            Self::RaftRsBatchAppend => theirs::Way::BatchAppend,
            Self::RaftRsOneMessage => theirs::Way::OneMessage,
        };
        Box::new(theirs::RaftRs::elected(way, applies))
    }
}

/// The figures for a batch size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Number of entries in a batch.
    pub batch: usize,
    /// Whether entries were applied to the state machine.
    pub applies: bool,
    /// Entries per second.
    pub entries_per_second: BTreeMap<Contender, Figure>,
    /// Our rate divided by that of the fastest other contender.
    pub to_fastest: f64,
    /// Our rate divided by that of raft-rs with a separate `propose` for each entry, the most
    /// common use.
    pub to_usual: f64,
}

/// Measures a batch size; the contenders take turns for `rounds` rounds.
pub fn measure(batch: usize, applies: bool, entries: usize, rounds: usize) -> Row {
    let mut measured: BTreeMap<Contender, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        // Rotate the order, to vary which contender follows which.
        for turn in 0..Contender::ALL.len() {
            let contender = Contender::ALL[(turn + round) % Contender::ALL.len()];
            measured.entry(contender).or_default().push(run(contender, applies, batch, entries));
        }
    }
    let figures: BTreeMap<Contender, Figure> =
        measured.into_iter().map(|(contender, rounds)| (contender, Figure::of(rounds))).collect();
    let others = figures.iter().filter(|(contender, _)| **contender != Contender::Ours);
    let fastest = others.map(|(_, figure)| figure.median).fold(0.0, f64::max);
    let ours = figures[&Contender::Ours].median;
    let to_usual = ours / figures[&Contender::RaftRsEach].median;
    Row { batch, applies, to_fastest: ours / fastest, to_usual, entries_per_second: figures }
}

/// Runs a round and returns entries per second.
///
/// # Panics
/// When a server has not delivered exactly the proposed commands.
pub fn run(contender: Contender, applies: bool, batch: usize, entries: usize) -> f64 {
    let mut cluster = contender.cluster(applies);
    let before = cluster.handed_out();
    let batches = entries.div_ceil(batch);
    let mut expected = Tally::default();
    let work: Vec<Vec<Vec<u8>>> = (0..batches)
        .map(|number| (0..batch).map(|place| command(number * batch + place)).collect())
        .collect();
    work.iter().flatten().for_each(|command| expected.add(command));
    let begun = Instant::now();
    for batch in work {
        cluster.replicate(batch);
    }
    let seconds = begun.elapsed().as_secs_f64();
    for (server, (after, before)) in cluster.handed_out().into_iter().zip(before).enumerate() {
        assert_eq!(before, Tally::default(), "{contender:?}: commands before the start");
        assert_eq!(after, expected, "{contender:?}, server {}: lost commands", server + 1);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let entries = (batches * batch) as f64;
    entries / seconds
}

/// Encodes a command of [`COMMAND_BYTES`] bytes that sets one of a thousand keys.
pub(crate) fn command(number: usize) -> Vec<u8> {
    let key = format!("key{:05}", number % 1000);
    let bare = Command::put(key.clone(), Vec::new()).encode().len();
    let value = vec![u8::try_from(number % 251).expect("a byte"); COMMAND_BYTES - bare];
    Command::put(key, value).encode().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that every contender replicates all commands in every kind of run, and that commands
    /// have the documented length.
    #[test]
    fn all_contenders_do_the_whole_work() {
        assert_eq!(command(0).len(), COMMAND_BYTES);
        assert_eq!(command(123_456).len(), COMMAND_BYTES);
        for contender in Contender::ALL {
            for applies in [false, true] {
                for batch in [1, 16, 300] {
                    assert!(run(contender, applies, batch, 700) > 0.0);
                }
            }
        }
    }
}
