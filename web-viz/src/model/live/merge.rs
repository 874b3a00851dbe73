//! Brings the servers' streams into one order.
//!
//! Within a stream events keep their order; between streams they are put in order by time. But clocks
//! differ, and streams come late: so a message's arrival waits until its sending was shown, and what
//! was sent is shown earlier than its time where that is needed. No message is ever seen to arrive
//! before it was sent, unless its sender's stream has nothing to say for [`PATIENCE`].

use std::collections::{BTreeMap, VecDeque};

use raft_core::event::{Event, EventKind};
use raft_core::types::{EventId, MILLISECOND, Micros, NodeId, Time};

/// How long an arrival waits for the stream of its sender.
const PATIENCE: Micros = 1_500 * MILLISECOND;

/// Sendings whose arrival has not come, at most. Most that are older were lost.
const MOST_UNDER_WAY: usize = 10_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merge {
    lanes: BTreeMap<NodeId, Lane>,
    /// When messages were sent whose arrival was not shown.
    under_way: BTreeMap<EventId, Time>,
    left_out: u64,
}

/// One server's stream.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// Each with when it came, by the page's clock.
    queue: VecDeque<(Micros, Event)>,
    open: bool,
    /// The number of the latest event that was given out.
    shown: u64,
    /// The time of that event: it never goes back, whatever the server's clock does.
    newest: Time,
}

impl Lane {
    /// The time of the next event, as it would be shown.
    fn next_time(&self) -> Option<Time> {
        self.queue.front().map(|(_, event)| event.time.max(self.newest))
    }

    /// The number of the latest event that has come.
    fn known(&self) -> u64 {
        self.queue.back().map_or(self.shown, |(_, event)| event.id.seq)
    }
}

impl Merge {
    /// A server's stream is open, or no longer.
    pub(crate) fn set_open(&mut self, node: NodeId, open: bool) {
        self.lanes.entry(node).or_default().open = open;
    }

    /// Takes in what came of a stream at `wall`, by the page's clock.
    pub(crate) fn push(&mut self, node: NodeId, events: Vec<Event>, wall: Micros) {
        let lane = self.lanes.entry(node).or_default();
        lane.queue.extend(events.into_iter().map(|event| (wall, event)));
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.queue.len()).sum()
    }

    /// The newest time that was shown of a server.
    pub(crate) fn newest(&self, node: NodeId) -> Option<Time> {
        self.lanes.get(&node).map(|lane| lane.newest)
    }

    /// The time of the next event, as far as any has come.
    pub(crate) fn next_time(&self) -> Option<Time> {
        self.lanes.values().filter_map(Lane::next_time).min()
    }

    /// How many events were left out since more came than could be shown.
    pub(crate) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Leaves out what waits, of each stream up to the latest point that tells all of the server's
    /// state again.
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

    /// Forgets what waits of the servers' streams, which begin anew.
    pub(crate) fn clear(&mut self) {
        self.left_out += self.len() as u64;
        self.lanes.retain(|node, _| *node == NodeId::ENVIRONMENT);
        self.under_way.clear();
    }

    /// The next event of those up to `now`, if there is one that can be shown at `wall`.
    pub(crate) fn pop(&mut self, now: Time, wall: Micros) -> Option<Event> {
        let due = |(node, lane): (&NodeId, &Lane)| Some((lane.next_time()?, *node));
        let mut after = None;
        // The earliest that waits for nothing that is yet to come; seldom not the first.
        loop {
            let later = |next: &(Time, NodeId)| next.0 <= now && Some(*next) > after;
            let next = self.lanes.iter().filter_map(due).filter(later).min()?;
            if let Some(node) = self.unblocked(next.1, wall) {
                return self.give_out(node);
            }
            after = Some(next);
        }
    }

    /// The lane that must go on so that this one can: itself, or one with a sending that it waits for.
    /// `None` when what it waits for has not come.
    fn unblocked(&self, node: NodeId, wall: Micros) -> Option<NodeId> {
        let mut node = node;
        // A longer chain would be a circle, which only a stream that makes no sense can bring.
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

    /// Guards the picture against clocks that differ: the sending comes first, and at no later time.
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

    /// Guards the picture against a stream that says nothing: others do not wait for it for ever, and
    /// not at all once it is closed.
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

    /// Guards the order by time, and the future: it stays in the queue.
    #[test]
    fn streams_are_woven_by_time() {
        let mut merge = merge();
        merge.push(NodeId(1), vec![sent(1, 1, 10), sent(1, 2, 30), sent(1, 3, 20)], 0);
        merge.push(NodeId(2), vec![sent(2, 1, 20), sent(2, 2, 40)], 0);
        assert_eq!(all(&mut merge, 30, 0), [(1, 1, 10), (2, 1, 20), (1, 2, 30), (1, 3, 30)]);
        assert_eq!(merge.len(), 1);
        assert_eq!(merge.newest(NodeId(1)), Some(Time(30)));
    }

    /// Guards the page against streams that make no sense.
    #[test]
    fn a_circle_of_arrivals_ends() {
        let mut merge = merge();
        merge.push(NodeId(1), vec![received(1, 1, 10, (2, 2)), sent(1, 2, 11)], 0);
        merge.push(NodeId(2), vec![received(2, 1, 10, (1, 2)), sent(2, 2, 11)], 0);
        assert_eq!(all(&mut merge, 30, 0).len(), 4);
    }
}
