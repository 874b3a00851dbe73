//! How network, disks and clocks behave at the moment: what was done to them so far, and how they
//! began. Read from the journal, so that it is right at every moment of a run.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::sim::{Action, Deed, DiskConfig, NetworkConfig, SimConfig};
use raft_core::types::{Micros, NodeId};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Messages lost, arriving twice and overtaken, in thousandths.
    pub(crate) loss: u16,
    pub(crate) repeat: u16,
    pub(crate) overtake: u16,
    /// The middle of the range of delays.
    pub(crate) delay: Micros,
    /// The middle of the range of times for a sync.
    pub(crate) sync: Micros,
    /// Directed links that are slower than the others.
    pub(crate) slow_links: BTreeSet<(NodeId, NodeId)>,
    disks: BTreeMap<NodeId, DiskState>,
    rates: BTreeMap<NodeId, u32>,
}

/// How a disk behaves.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault by itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskState {
    pub(crate) stalled: bool,
    pub(crate) slow: bool,
    /// A bit of it has changed.
    pub(crate) damaged: bool,
    /// Something on it is going to fail.
    pub(crate) fails: bool,
}

/// A slow link or disk is slower than the others by this factor.
const SLOWER: Micros = 6;

/// The range around `middle` from which each delay is drawn.
pub(crate) const fn around(middle: Micros) -> (Micros, Micros) {
    (middle / 2, middle + middle / 2)
}

/// The same for a link or disk that is slower than the others.
pub(crate) const fn slower(middle: Micros) -> (Micros, Micros) {
    around(middle * SLOWER)
}

const fn middle(min: Micros, max: Micros) -> Micros {
    min.midpoint(max)
}

impl Conditions {
    /// What a run that began with `config` came to by this journal.
    pub(crate) fn of(config: &SimConfig, journal: &[Deed]) -> Self {
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
        journal.iter().fold(begun, |conditions, deed| conditions.after(&deed.action))
    }

    pub(crate) fn disk(&self, node: NodeId) -> DiskState {
        self.disks.get(&node).copied().unwrap_or_default()
    }

    /// How many seconds of a server's clock pass in 1000 true ones.
    pub(crate) fn rate(&self, node: NodeId) -> u32 {
        self.rates.get(&node).copied().unwrap_or(1000)
    }

    /// Whether there is something for healing to heal, cut links aside.
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
        let journal: Vec<Deed> =
            actions.iter().map(|action| Deed { at, action: action.clone() }).collect();
        Conditions::of(&SimConfig::default(), &journal)
    }

    /// Guards the tray: its switches and sliders show what the cluster is really under.
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

    /// Guards a slow link and a slow disk, which are slow against the others.
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
