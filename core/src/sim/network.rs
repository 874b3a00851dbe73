//! The network: directed links that delay, lose, repeat, reorder and refuse, and the messages on
//! them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::event::DropReason;
use crate::message::{Lane, Message};
use crate::random::Random;
use crate::types::{EventId, MILLISECOND, Micros, NodeId, SECOND, Time};

/// How links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// The shortest time on the way, in µs.
    pub delay_min: Micros,
    /// The longest, in µs.
    pub delay_max: Micros,
    /// How many of 1000 messages are lost.
    pub loss_permille: u16,
    /// How many of 1000 messages arrive twice.
    pub duplicate_permille: u16,
    /// How many of 1000 messages take a way of their own, on which others may overtake them; all
    /// the rest of a link arrives in the order of its sending, as with TCP.
    pub reorder_permille: u16,
    /// How many bytes a link carries in a second; 0 for any number.
    pub bytes_per_second: u64,
    /// How many bytes wait for a link at most; beyond that messages are dropped. 0 for any number.
    pub queue_bytes: u64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            delay_min: 5 * MILLISECOND,
            delay_max: 15 * MILLISECOND,
            loss_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            bytes_per_second: 0,
            queue_bytes: 0,
        }
    }
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flying {
    /// Its name in the air: that of the event that sent it, or for a copy that of the event that
    /// copied it.
    pub id: EventId,
    /// What was sent.
    pub message: Message,
    /// When it was sent, in true time.
    pub sent_at: Time,
    /// When it arrives; `None` while it is held.
    pub due: Option<Time>,
}

/// What becomes of a message that a server sends.
pub(super) struct Fate {
    /// When it arrives, or would have.
    pub(super) due: Time,
    /// When it ends on its way, and why.
    pub(super) ends: Option<(Time, DropReason)>,
    /// When a copy of it arrives.
    pub(super) copy: Option<Time>,
    /// Whether the queue to its receiver has no room for it.
    pub(super) refused: bool,
}

/// What waits for a connection to carry it.
#[derive(Clone, Debug, Default)]
struct Line {
    /// When all that was handed over is on its way.
    free_at: Time,
    /// When the latest message arrives, among those that keep the order.
    latest: Time,
    waiting: VecDeque<Waiting>,
    waiting_bytes: u64,
    /// What was ever sent on it.
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    bytes: u64,
    /// When it leaves the queue.
    leaves: Time,
}

impl Line {
    /// Takes a message of so many bytes in. Gives when its last byte leaves; `None` when there is no
    /// room for it. A single one always fits.
    fn take_in(&mut self, bytes: u64, now: Time, config: NetworkConfig) -> Option<Time> {
        if config.bytes_per_second == 0 {
            return Some(now);
        }
        while let Some(gone) = self.waiting.pop_front_if(|it| it.leaves <= now) {
            self.waiting_bytes -= gone.bytes;
        }
        let room = config.queue_bytes == 0 || self.waiting_bytes + bytes <= config.queue_bytes;
        if !room && !self.waiting.is_empty() {
            return None;
        }
        let leaves = self.free_at.max(now);
        let span = bytes.saturating_mul(SECOND).div_ceil(config.bytes_per_second);
        self.free_at = leaves.after(span);
        self.waiting.push_back(Waiting { bytes, leaves });
        self.waiting_bytes += bytes;
        Some(self.free_at)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    /// The links that differ from the rest.
    special: BTreeMap<(NodeId, NodeId), NetworkConfig>,
    cut: BTreeSet<(NodeId, NodeId)>,
    lines: BTreeMap<(NodeId, NodeId, Lane), Line>,
    /// The messages on their way.
    flying: BTreeMap<EventId, Flying>,
}

impl Network {
    pub(super) const fn new(config: NetworkConfig) -> Self {
        Self {
            config,
            special: BTreeMap::new(),
            cut: BTreeSet::new(),
            lines: BTreeMap::new(),
            flying: BTreeMap::new(),
        }
    }

    /// Draws what becomes of a message of so many bytes that is sent now.
    pub(super) fn fate(
        &mut self,
        message: &Message,
        bytes: u64,
        now: Time,
        random: &mut Random,
    ) -> Fate {
        let link = (message.from, message.to);
        let config = *self.special.get(&link).unwrap_or(&self.config);
        let delay = random.between(config.delay_min, config.delay_max);
        let lost = random.chance(config.loss_permille);
        let strays = random.chance(config.reorder_permille);
        let repeated = random.chance(config.duplicate_permille);
        let why = if self.cut.contains(&link) {
            Some(DropReason::LinkCut)
        } else {
            lost.then_some(DropReason::Lost)
        };
        let queue = self.lines.entry((link.0, link.1, Lane::of(&message.body))).or_default();
        queue.sent_bytes += bytes;
        let taken_in = queue.take_in(bytes, now, config);
        let (sent, refused) = (taken_in.unwrap_or(now), taken_in.is_none());
        let due = if strays {
            // Up to twice as long as others take, past whatever was sent after it.
            sent.after(delay + random.between(0, config.delay_max))
        } else {
            sent.after(delay).max(queue.latest)
        };
        if let Some(why) = why {
            let ends = Some((sent.after(delay / 2), why));
            return Fate { due, ends, copy: None, refused };
        }
        if !strays && !refused {
            queue.latest = due;
        }
        let copy = repeated.then(|| due.after(random.between(0, 2 * config.delay_max)));
        Fate { due, ends: None, copy, refused }
    }

    /// How many bytes were sent on a link so far, as far as they are counted.
    pub(super) fn sent_bytes(&self, from: NodeId, to: NodeId) -> u64 {
        let lines = Lane::ALL.iter().filter_map(|lane| self.lines.get(&(from, to, *lane)));
        lines.map(|line| line.sent_bytes).sum()
    }

    // Messages on their way

    pub(super) fn launch(&mut self, flying: Flying) {
        self.flying.insert(flying.id, flying);
    }

    /// Takes a message off its way.
    pub(super) fn take(&mut self, message: EventId) -> Option<Flying> {
        self.flying.remove(&message)
    }

    /// Takes off its way a message that arrives now; none when it is gone or arrives later.
    pub(super) fn land(&mut self, message: EventId, now: Time) -> Option<Flying> {
        if self.flying.get(&message)?.due != Some(now) {
            return None;
        }
        self.take(message)
    }

    /// Sets when a message arrives; `None` holds it.
    pub(super) fn set_due(&mut self, message: EventId, due: Option<Time>) {
        if let Some(flying) = self.flying.get_mut(&message) {
            flying.due = due;
        }
    }

    pub(super) fn get(&self, message: EventId) -> Option<&Flying> {
        self.flying.get(&message)
    }

    pub(super) fn flying(&self) -> impl Iterator<Item = &Flying> {
        self.flying.values()
    }

    // Links

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

    /// Lets one link behave as given, or again as all others.
    pub(super) fn set_quality(&mut self, from: NodeId, to: NodeId, quality: Option<NetworkConfig>) {
        match quality {
            Some(quality) => self.special.insert((from, to), quality),
            None => self.special.remove(&(from, to)),
        };
    }

    /// Nothing is lost, repeated or reordered any more, on any link.
    pub(super) fn heal(&mut self) {
        self.special.clear();
        let config = &mut self.config;
        (config.loss_permille, config.duplicate_permille, config.reorder_permille) = (0, 0, 0);
    }
}
