//! The network: directed links that delay, lose, repeat, reorder and refuse messages, and the
//! messages in transit.

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
    /// The shortest delay, in µs.
    pub delay_min: Micros,
    /// The longest delay, in µs.
    pub delay_max: Micros,
    /// How many of 1000 messages are lost.
    pub loss_permille: u16,
    /// How many of 1000 messages arrive twice.
    pub duplicate_permille: u16,
    /// How many of 1000 messages leave the order of their link. Other messages may overtake these.
    /// The rest arrive in the order in which they were sent, as with TCP.
    pub reorder_permille: u16,
    /// How many bytes a link carries per second; 0 for no limit.
    pub bytes_per_second: u64,
    /// How many bytes may wait for a link; 0 for no limit. Further messages are dropped.
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

/// A message in transit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flying {
    /// Its id in transit: that of the event that sent it, or for a copy, of the event that copied
    /// it.
    pub id: EventId,
    /// The message as it was sent.
    pub message: Message,
    /// When it was sent, in true time.
    pub sent_at: Time,
    /// When it arrives; `None` while it is held.
    pub due: Option<Time>,
}

/// What happens to a message that a server sends.
pub(super) struct Fate {
    /// When the message arrives, or would have arrived.
    pub(super) due: Time,
    /// When and why the message is lost in transit.
    pub(super) ends: Option<(Time, DropReason)>,
    /// When a copy of the message arrives.
    pub(super) copy: Option<Time>,
    /// Whether the queue to the receiver has no room for the message.
    pub(super) refused: bool,
}

/// The send queue of one connection.
#[derive(Clone, Debug, Default)]
struct Line {
    /// When the connection has sent everything that is queued.
    free_at: Time,
    /// When the latest message arrives, among those that keep the order.
    latest: Time,
    waiting: VecDeque<Waiting>,
    waiting_bytes: u64,
    /// All bytes that were ever sent on the connection.
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    bytes: u64,
    /// When the message leaves the queue.
    leaves: Time,
}

impl Line {
    /// Queues a message of `bytes` bytes. Returns when its last byte leaves, or `None` if there is
    /// no room. A single message always fits.
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
    /// The links that behave differently from the rest.
    special: BTreeMap<(NodeId, NodeId), NetworkConfig>,
    cut: BTreeSet<(NodeId, NodeId)>,
    lines: BTreeMap<(NodeId, NodeId, Lane), Line>,
    /// The messages in transit.
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

    /// Draws what happens to a message of `bytes` bytes that is sent now.
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
            // It may take up to twice as long as others, and messages sent later may overtake it.
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

    /// The counted bytes that were sent on a link so far.
    pub(super) fn sent_bytes(&self, from: NodeId, to: NodeId) -> u64 {
        let lines = Lane::ALL.iter().filter_map(|lane| self.lines.get(&(from, to, *lane)));
        lines.map(|line| line.sent_bytes).sum()
    }

    // Messages in transit

    pub(super) fn launch(&mut self, flying: Flying) {
        self.flying.insert(flying.id, flying);
    }

    /// Removes a message from transit.
    pub(super) fn take(&mut self, message: EventId) -> Option<Flying> {
        self.flying.remove(&message)
    }

    /// Removes a message from transit that arrives now; `None` if it is gone or arrives later.
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

    /// Cuts or restores a link. Returns whether that changed anything.
    pub(super) fn set_link(&mut self, from: NodeId, to: NodeId, up: bool) -> bool {
        if up { self.cut.remove(&(from, to)) } else { self.cut.insert((from, to)) }
    }

    pub(super) fn cut_links(&self) -> Vec<(NodeId, NodeId)> {
        self.cut.iter().copied().collect()
    }

    /// Sets how one link behaves; `None` for the common behaviour.
    pub(super) fn set_quality(&mut self, from: NodeId, to: NodeId, quality: Option<NetworkConfig>) {
        match quality {
            Some(quality) => self.special.insert((from, to), quality),
            None => self.special.remove(&(from, to)),
        };
    }

    /// Stops loss, duplication and reordering on all links, and resets the links that differ.
    pub(super) fn heal(&mut self) {
        self.special.clear();
        let config = &mut self.config;
        (config.loss_permille, config.duplicate_permille, config.reorder_permille) = (0, 0, 0);
    }
}
