//! Merges the servers' streams into one order.
//!
//! Within a stream events keep their order; between streams they are ordered by time. But clocks
//! differ and streams are delayed. So the arrival of a message waits until its sending was shown.
//! The sending is shown before its time if necessary. No message is shown to arrive before it was
//! sent, unless the sender's stream reports nothing for [`PATIENCE`].

use std::collections::{BTreeMap, VecDeque};

use raft_core::event::{Event, EventKind};
use raft_core::types::{EventId, MILLISECOND, Micros, NodeId, Time};

/// How long an arrival waits for the sender's stream.
const PATIENCE: Micros = 1_500 * MILLISECOND;

/// The maximum number of sent messages whose arrival is pending. Most older ones were lost.
const MOST_UNDER_WAY: usize = 10_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Merge {
    lanes: BTreeMap<NodeId, Lane>,
    /// When each message was sent whose arrival was not shown yet.
    under_way: BTreeMap<EventId, Time>,
    left_out: u64,
}

/// One server's stream.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// Each event with its arrival time, by the page's clock.
    queue: VecDeque<(Micros, Event)>,
    open: bool,
    /// The sequence number of the last event that was released.
    shown: u64,
    /// The time of that event. It never decreases, whatever the server's clock does.
    newest: Time,
}

impl Lane {
    /// The time at which the next event would be shown.
    fn next_time(&self) -> Option<Time> {
        self.queue.front().map(|(_, event)| event.time.max(self.newest))
    }

    /// The sequence number of the latest event that has arrived.
    fn known(&self) -> u64 {
        self.queue.back().map_or(self.shown, |(_, event)| event.id.seq)
    }
}

impl Merge {
    /// Notes whether a server's stream is open.
    pub(crate) fn set_open(&mut self, node: NodeId, open: bool) {
        self.lanes.entry(node).or_default().open = open;
    }

    /// Queues events that arrived at `wall`, by the page's clock.
    pub(crate) fn push(&mut self, node: NodeId, events: Vec<Event>, wall: Micros) {
        let lane = self.lanes.entry(node).or_default();
        lane.queue.extend(events.into_iter().map(|event| (wall, event)));
    }

    /// How many events are queued.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.queue.len()).sum()
    }

    /// The latest time that was shown for a server.
    pub(crate) fn newest(&self, node: NodeId) -> Option<Time> {
        self.lanes.get(&node).map(|lane| lane.newest)
    }

    /// The time of the next queued event.
    pub(crate) fn next_time(&self) -> Option<Time> {
        self.lanes.values().filter_map(Lane::next_time).min()
    }

    /// How many events were skipped because more arrived than the page could show.
    pub(crate) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Skips the queued events of each stream up to the latest event with the full state of the
    /// server.
    pub(crate) fn skip(&mut self) {
        for lane in self.lanes.values_mut() {
            let fresh = |(_, event): &(Micros, Event)| matches!(event.kind, EventKind::Attached(_));
            if let Some(place) = lane.queue.iter().rposition(fresh) {
                lane.queue.drain(..place);
                self.left_out += place as u64;
            }
        }
        self.under_way.clear();
    }

    /// Discards the queued events of the servers' streams, which start over.
    pub(crate) fn clear(&mut self) {
        self.left_out += self.len() as u64;
        self.lanes.retain(|node, _| *node == NodeId::ENVIRONMENT);
        self.under_way.clear();
    }

    /// The next event up to `now` that can be shown at `wall`.
    pub(crate) fn pop(&mut self, now: Time, wall: Micros) -> Option<Event> {
        let due = |(node, lane): (&NodeId, &Lane)| Some((lane.next_time()?, *node));
        let mut after = None;
        // Find the earliest event that waits for nothing; it is usually the first.
        loop {
            let later = |next: &(Time, NodeId)| next.0 <= now && Some(*next) > after;
            let next = self.lanes.iter().filter_map(due).filter(later).min()?;
            if let Some(node) = self.unblocked(next.1, wall) {
                return self.give_out(node);
            }
            after = Some(next);
        }
    }

    /// The lane that must advance to unblock this one: itself, or the lane of a sender. `None` if
    /// the event that it waits for has not arrived.
    fn unblocked(&self, node: NodeId, wall: Micros) -> Option<NodeId> {
        let mut node = node;
        // A longer chain is a cycle, which only an inconsistent stream can contain.
        for _ in 0..self.lanes.len() {
            let (came, event) = self.lanes.get(&node)?.queue.front()?;
            let EventKind::MessageReceived { message, .. } = &event.kind else { return Some(node) };
            let Some(sender) = self.lanes.get(&message.node) else { return Some(node) };
            if message.node == node || sender.shown >= message.seq {
                return Some(node);
            }
            if sender.known() >= message.seq {
                node = message.node;
            } else if sender.open && wall.saturating_sub(*came) < PATIENCE {
                return None;
            } else {
                return Some(node);
            }
        }
        Some(node)
    }

    fn give_out(&mut self, node: NodeId) -> Option<Event> {
        let lane = self.lanes.get_mut(&node)?;
        let (_, mut event) = lane.queue.pop_front()?;
        event.time = event.time.max(lane.newest);
        if let EventKind::MessageReceived { message, .. }
        | EventKind::MessageDropped { message, .. } = &event.kind
            && let Some(sent) = self.under_way.remove(message)
        {
            event.time = event.time.max(sent);
        }
        lane.newest = event.time;
        lane.shown = event.id.seq;
        if matches!(event.kind, EventKind::MessageSent(_)) {
            self.under_way.insert(event.id, event.time);
            if self.under_way.len() > MOST_UNDER_WAY {
                self.under_way.pop_first();
            }
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use raft_core::message::{Body, Message, MessageName};
    use raft_core::types::Term;

    use super::*;

    fn sent(node: u64, seq: u64, time: u64) -> Event {
        let (from, to) = (NodeId(node), NodeId(3 - node));
        let message = Message { from, to, seq, term: Term(1), body: Body::TimeoutNow };
        let kind = EventKind::MessageSent(message);
        Event { id: EventId { node: from, seq }, time: Time(time), cause: None, kind }
    }

    fn received(node: u64, seq: u64, time: u64, message: (u64, u64)) -> Event {
        let message = EventId { node: NodeId(message.0), seq: message.1 };
        let kind = EventKind::MessageReceived { message, name: MessageName::TimeoutNow };
        Event { id: EventId { node: NodeId(node), seq }, time: Time(time), cause: None, kind }
    }

    fn merge() -> Merge {
        let mut merge = Merge::default();
        merge.set_open(NodeId(1), true);
        merge.set_open(NodeId(2), true);
        merge
    }

    fn all(merge: &mut Merge, now: u64, wall: Micros) -> Vec<(u64, u64, u64)> {
        let pop = || merge.pop(Time(now), wall);
        std::iter::from_fn(pop).map(|event| (event.id.node.0, event.id.seq, event.time.0)).collect()
    }

    /// Guards against clocks that differ: the sending is shown first, and at no later time.
    #[test]
    fn a_message_never_arrives_before_it_was_sent() {
        let mut merge = merge();
        merge.push(NodeId(2), vec![received(2, 5, 100, (1, 8))], 0);
        assert_eq!(all(&mut merge, 1_000, 10), [], "its sender has not told yet");
        merge.push(NodeId(1), vec![sent(1, 7, 120), sent(1, 8, 130), sent(1, 9, 140)], 0);
        let order = [(1, 7, 120), (1, 8, 130), (2, 5, 130), (1, 9, 140)];
        assert_eq!(all(&mut merge, 1_000, 10), order);
        merge.push(NodeId(2), vec![received(2, 6, 110, (1, 9))], 0);
        assert_eq!(all(&mut merge, 1_000, 10), [(2, 6, 140)]);
    }

    /// Guards that other streams wait for a silent stream only for a limited time, and not at all
    /// once it is closed.
    #[test]
    fn a_silent_stream_holds_nobody_for_long() {
        let mut silent = merge();
        silent.push(NodeId(2), vec![received(2, 5, 100, (1, 8)), sent(2, 6, 101)], 0);
        assert_eq!(all(&mut silent, 1_000, PATIENCE - 1), []);
        assert_eq!(all(&mut silent, 1_000, PATIENCE), [(2, 5, 100), (2, 6, 101)]);
        let mut closed = merge();
        closed.set_open(NodeId(1), false);
        closed.push(NodeId(2), vec![received(2, 5, 100, (1, 8))], 0);
        assert_eq!(all(&mut closed, 1_000, 0), [(2, 5, 100)]);
    }

    /// Guards the order by time, and that future events stay queued.
    #[test]
    fn streams_are_woven_by_time() {
        let mut merge = merge();
        merge.push(NodeId(1), vec![sent(1, 1, 10), sent(1, 2, 30), sent(1, 3, 20)], 0);
        merge.push(NodeId(2), vec![sent(2, 1, 20), sent(2, 2, 40)], 0);
        assert_eq!(all(&mut merge, 30, 0), [(1, 1, 10), (2, 1, 20), (1, 2, 30), (1, 3, 30)]);
        assert_eq!(merge.len(), 1);
        assert_eq!(merge.newest(NodeId(1)), Some(Time(30)));
    }

    /// Guards that inconsistent streams cannot block the page.
    #[test]
    fn a_circle_of_arrivals_ends() {
        let mut merge = merge();
        merge.push(NodeId(1), vec![received(1, 1, 10, (2, 2)), sent(1, 2, 11)], 0);
        merge.push(NodeId(2), vec![received(2, 1, 10, (1, 2)), sent(2, 2, 11)], 0);
        assert_eq!(all(&mut merge, 30, 0).len(), 4);
    }
}
