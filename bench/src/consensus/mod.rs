//! One thread that steps three servers, with this core and with raft-rs.
//!
//! Both sides do the same work, and nothing that raft-rs does is left out of ours:
//!
//! - Servers 1, 2 and 3; server 1 is elected before the clock starts. Checks before an election
//!   (PreVote) and of the leader's majority (CheckQuorum) are on. Time stands still.
//! - A round is a closed loop: a batch of commands of 64 bytes is given to the leader, then the
//!   servers take turns until nothing moves. By then all three have committed the batch and handed
//!   it out, and all messages about it are answered.
//! - In its turn a server takes in all messages that wait for it, then what it asks for is carried
//!   out: messages are moved into the receivers' queues, not encoded; entries go to an in-memory
//!   log that stands for the disk and are durable at once; committed entries are handed out, and
//!   the application reads each.
//! - A message holds up to 1 MiB of entries and 256 may be under way, on both sides.
//! - Nothing is compacted, and the log starts empty in each round.
//!
//! raft-rs stores entries in the `MemStorage` that comes with it, and is driven as its own examples
//! do. How a batch is best given to it depends on its size, so each of three ways is measured and
//! the fastest of that size is compared: an own `propose` for each entry, the same with
//! `batch_append`, and a single `MsgPropose` with all entries.
//!
//! Twice: consensus alone, where handing out is all that happens to a committed entry; and with the
//! state machine, where on both sides each server decodes the command and applies it to a
//! [`raft_core::kv::KvStore`], and the leader's answer to each client's request is made.

mod ours;
mod ours_applied;
mod theirs;

use std::collections::BTreeMap;
use std::time::Instant;

use raft_core::kv::Command;
use serde::{Deserialize, Serialize};

use crate::figures::Figure;

/// The sizes of batches that are measured.
pub const BATCHES: [usize; 4] = [1, 16, 256, 1024];

/// The length of a command, in bytes.
pub const COMMAND_BYTES: usize = 64;

/// Servers of one of the implementations.
pub(crate) trait Cluster {
    /// Gives the leader a batch and steps all servers until nothing moves.
    fn replicate(&mut self, batch: Vec<Vec<u8>>);

    /// How many commands each server has handed out, and their bytes.
    fn handed_out(&self) -> [Tally; 3];
}

/// What an application got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    commands: u64,
    bytes: u64,
    /// Sum of the last byte of each: whoever reads an entry has to fetch it.
    sum: u64,
}

impl Tally {
    fn add(&mut self, command: &[u8]) {
        self.commands += 1;
        self.bytes += command.len() as u64;
        self.sum += u64::from(command.last().copied().unwrap_or_default());
    }
}

/// A way to replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contender {
    /// This core.
    Ours,
    /// raft-rs, an own `propose` for each entry.
    RaftRsEach,
    /// The same with `batch_append`.
    RaftRsBatchAppend,
    /// raft-rs, one `MsgPropose` for all entries.
    RaftRsOneMessage,
}

impl Contender {
    /// All, in the order in which they take turns.
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

/// What was measured for one size of batch.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How many entries were given at once.
    pub batch: usize,
    /// Whether the state machine was part of it.
    pub applies: bool,
    /// Entries per second.
    pub entries_per_second: BTreeMap<Contender, Figure>,
    /// Ours against the fastest of the others.
    pub to_fastest: f64,
    /// Ours against raft-rs with an own `propose` for each entry, which is how it is mostly used.
    pub to_usual: f64,
}

/// Measures one size of batch; the contenders take turns, `rounds` times.
pub fn measure(batch: usize, applies: bool, entries: usize, rounds: usize) -> Row {
    let mut measured: BTreeMap<Contender, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        // Not always the same one after the same other.
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

/// One round: entries per second. Whoever hands out something else than was put in is not measured
/// but refused.
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

/// An encoded command of [`COMMAND_BYTES`] bytes: it sets one of a thousand keys.
pub(crate) fn command(number: usize) -> Vec<u8> {
    let key = format!("key{:05}", number % 1000);
    let bare = Command::put(key.clone(), Vec::new()).encode().len();
    let value = vec![u8::try_from(number % 251).expect("a byte"); COMMAND_BYTES - bare];
    Command::put(key, value).encode().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the comparison: every contender replicates all commands, in every kind of run, and the
    /// commands have the length that is announced.
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
