//! The network: directed links that delay, lose and refuse.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::event::DropReason;
use crate::message::Message;
use crate::random::Random;
use crate::types::{EventId, MILLISECOND, Micros, NodeId, Time};

/// How all links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// The shortest time on the way, in µs.
    pub delay_min: Micros,
    /// The longest, in µs.
    pub delay_max: Micros,
    /// How many of 1000 messages are lost.
    pub loss_permille: u16,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { delay_min: 5 * MILLISECOND, delay_max: 15 * MILLISECOND, loss_permille: 0 }
    }
}

/// What becomes of a message.
pub(super) enum Fate {
    Arrives(Time),
    /// It would have arrived at `due`, but ends at `at`.
    Vanishes {
        due: Time,
        at: Time,
        why: DropReason,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// When the latest message of each link arrives: links keep the order, as TCP does.
    latest: BTreeMap<(NodeId, NodeId), Time>,
    /// The messages on their way.
    flying: BTreeSet<EventId>,
}

impl Network {
    pub(super) const fn new(config: NetworkConfig) -> Self {
        Self { config, cut: BTreeSet::new(), latest: BTreeMap::new(), flying: BTreeSet::new() }
    }

    pub(super) fn send(&mut self, message: &Message, now: Time, random: &mut Random) -> Fate {
        let link = (message.from, message.to);
        let delay = random.between(self.config.delay_min, self.config.delay_max);
        let lost = random.chance(self.config.loss_permille);
        let latest = self.latest.entry(link).or_default();
        let due = now.after(delay).max(*latest);
        let why = if self.cut.contains(&link) {
            DropReason::LinkCut
        } else if lost {
            DropReason::Lost
        } else {
            *latest = due;
            self.flying.insert(message.id());
            return Fate::Arrives(due);
        };
        Fate::Vanishes { due, at: now.after(delay / 2), why }
    }

    /// Takes a message off its way. Whether it was still there.
    pub(super) fn take(&mut self, message: EventId) -> bool {
        self.flying.remove(&message)
    }

    pub(super) fn is_flying(&self, message: EventId) -> bool {
        self.flying.contains(&message)
    }

    pub(super) fn is_up(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Cuts or mends a link. Whether that changed anything.
    pub(super) fn set_link(&mut self, from: NodeId, to: NodeId, up: bool) -> bool {
        if up { self.cut.remove(&(from, to)) } else { self.cut.insert((from, to)) }
    }

    pub(super) fn cut_links(&self) -> Vec<(NodeId, NodeId)> {
        self.cut.iter().copied().collect()
    }
}
