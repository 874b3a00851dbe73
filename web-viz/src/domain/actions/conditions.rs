//! How network, disks and clocks currently behave, from the initial configuration and all actions
//! since. It is computed from the journal, which makes it right at every moment of a run.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::sim::{Action, DiskConfig, JournalEntry, NetworkConfig, SimConfig};
use raft_core::types::{Micros, NodeId};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// The shares of messages that are lost, duplicated and overtaken, in thousandths.
    pub(crate) loss: u16,
    pub(crate) repeat: u16,
    pub(crate) overtake: u16,
    /// The midpoint of the delay range.
    pub(crate) delay: Micros,
    /// The midpoint of the sync time range.
    pub(crate) sync: Micros,
    /// Directed links that are slower than the others.
    pub(crate) slow_links: BTreeSet<(NodeId, NodeId)>,
    disks: BTreeMap<NodeId, DiskState>,
    rates: BTreeMap<NodeId, u32>,
}

/// The faults of a disk.
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fault")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskState {
    pub(crate) stalled: bool,
    pub(crate) slow: bool,
    /// One of its bits was flipped.
    pub(crate) damaged: bool,
    /// An operation on it is set to fail.
    pub(crate) fails: bool,
}

/// How many times slower a slow link or disk is.
const SLOWER: Micros = 6;

/// The range around `middle` from which each delay is drawn.
pub(crate) const fn around(middle: Micros) -> (Micros, Micros) {
    (middle / 2, middle + middle / 2)
}

/// The same range for a slow link or disk.
pub(crate) const fn slower(middle: Micros) -> (Micros, Micros) {
    around(middle * SLOWER)
}

const fn middle(min: Micros, max: Micros) -> Micros {
    min.midpoint(max)
}

impl Conditions {
    /// The conditions of a run that started with `config`, after this journal.
    pub(crate) fn of(config: &SimConfig, journal: &[JournalEntry]) -> Self {
        let NetworkConfig {
            bytes_per_second: _,
            queue_bytes: _,
            delay_min,
            delay_max,
            loss_permille: loss,
            duplicate_permille: repeat,
            reorder_permille: overtake,
        } = config.network;
        let DiskConfig { sync_min, sync_max, .. } = config.disk;
        let begun = Self {
            loss,
            repeat,
            overtake,
            delay: middle(delay_min, delay_max),
            sync: middle(sync_min, sync_max),
            ..Self::default()
        };
        journal.iter().fold(begun, |conditions, entry| conditions.after(&entry.action))
    }

    pub(crate) fn disk(&self, node: NodeId) -> DiskState {
        self.disks.get(&node).copied().unwrap_or_default()
    }

    /// How many seconds of a server's clock pass in 1000 real seconds.
    pub(crate) fn rate(&self, node: NodeId) -> u32 {
        self.rates.get(&node).copied().unwrap_or(1000)
    }

    /// Whether healing has an effect, apart from cut links.
    pub(crate) fn disturbed(&self) -> bool {
        self.loss > 0 || self.repeat > 0 || self.overtake > 0 || !self.slow_links.is_empty()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other actions show in events")]
    fn after(mut self, action: &Action) -> Self {
        match *action {
            Action::Heal => {
                (self.loss, self.repeat, self.overtake) = (0, 0, 0);
                self.slow_links.clear();
            }
            Action::SetLoss { permille } => self.loss = permille,
            Action::SetDuplication { permille } => self.repeat = permille,
            Action::SetReordering { permille } => self.overtake = permille,
            Action::SetDelay { min, max } => self.delay = middle(min, max),
            Action::SetDiskDelay { min, max } => {
                self.sync = middle(min, max);
                for disk in self.disks.values_mut() {
                    disk.slow = false;
                }
            }
            Action::SetLinkQuality { from, to, quality } => match quality {
                Some(quality) if middle(quality.delay_min, quality.delay_max) > self.delay => {
                    self.slow_links.insert((from, to));
                }
                Some(_) | None => {
                    self.slow_links.remove(&(from, to));
                }
            },
            Action::SlowDisk { node, min, max } => {
                let slow = middle(min, max) > self.sync;
                self.disks.entry(node).or_default().slow = slow;
            }
            Action::StallDisk(node) => self.disks.entry(node).or_default().stalled = true,
            Action::MendDisk(node) => {
                let disk = self.disks.entry(node).or_default();
                (disk.stalled, disk.fails) = (false, false);
            }
            Action::FailWrite(node) | Action::FailSnapshot(node) | Action::FailSnapshots(node) => {
                self.disks.entry(node).or_default().fails = true;
            }
            Action::FlipBit(node) => self.disks.entry(node).or_default().damaged = true,
            Action::Wipe(node) => {
                self.disks.remove(&node);
            }
            Action::SetClock { node, rate_permille, .. } => {
                self.rates.insert(node, rate_permille);
            }
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use raft_core::sim::Moment;
    use raft_core::types::Time;

    use super::*;

    fn after(actions: &[Action]) -> Conditions {
        let at = Moment { happened: 0, time: Time(0) };
        let journal: Vec<JournalEntry> =
            actions.iter().map(|action| JournalEntry { at, action: action.clone() }).collect();
        Conditions::of(&SimConfig::default(), &journal)
    }

    /// Guards that the switches and sliders of the fault panel show the cluster's actual
    /// conditions.
    #[test]
    fn the_journal_tells_what_is_wrong() {
        let node = NodeId(2);
        let ill = after(&[
            Action::SetLoss { permille: 30 },
            Action::StallDisk(node),
            Action::SetClock { node, jump: 0, rate_permille: 500 },
            Action::SetDelay { min: 10, max: 30 },
        ]);
        assert_eq!((ill.loss, ill.delay, ill.rate(node)), (30, 20, 500));
        assert!(ill.disk(node).stalled && ill.disturbed());
        let healed = after(&[Action::SetLoss { permille: 30 }, Action::Heal]);
        assert!(!healed.disturbed());
    }

    /// Guards that a link or disk counts as slow only in comparison with the others.
    #[test]
    fn slow_is_slower_than_the_others() {
        let (from, to) = (NodeId(1), NodeId(2));
        let (delay_min, delay_max) = slower(after(&[]).delay);
        let quality = Some(NetworkConfig { delay_min, delay_max, ..NetworkConfig::default() });
        let slow = Action::SetLinkQuality { from, to, quality };
        assert!(after(std::slice::from_ref(&slow)).slow_links.contains(&(from, to)));
        let undone = Action::SetLinkQuality { from, to, quality: None };
        assert!(after(&[slow, undone]).slow_links.is_empty());
        let (min, max) = slower(after(&[]).sync);
        assert!(after(&[Action::SlowDisk { node: to, min, max }]).disk(to).slow);
    }
}
