//! Why an event happened: the chain of causes back to an external one. Each event has the rule that
//! decided it, with the rule's section in the paper and its place in the core.

mod basis;

use std::rc::Rc;

use raft_core::types::EventId;

use super::feed::{Feed, Line};
pub(crate) use basis::{Basis, basis};

/// The maximum length of a chain. Longer chains are cut.
const LONGEST: usize = 16;

/// An event and its causes, the latest first.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    /// Never empty.
    pub(crate) chain: Vec<Rc<Line>>,
    /// Whether the chain reaches an external cause. It can also end where the event list ends.
    pub(crate) whole: bool,
}

impl PartialEq for Why {
    fn eq(&self, other: &Self) -> bool {
        // Compares lines by identity, which also distinguishes runs.
        self.whole == other.whole
            && self.chain.len() == other.chain.len()
            && self.chain.iter().zip(&other.chain).all(|(one, two)| Rc::ptr_eq(one, two))
    }
}

impl Why {
    /// The chain of an event, as far as it is kept. `None` if the event itself is not kept.
    pub(crate) fn of(feed: &Feed, event: EventId) -> Option<Self> {
        let mut chain = vec![feed.find(event)?];
        loop {
            let last = chain.last()?;
            let Some(cause) = last.event.cause else { return Some(Self { chain, whole: true }) };
            // A cause comes before its effect. A stream that violates this must not cause an
            // endless loop.
            let earlier = feed.find(cause).filter(|line| line.number < last.number);
            match earlier {
                Some(line) if chain.len() < LONGEST => chain.push(line),
                Some(_) | None => return Some(Self { chain, whole: false }),
            }
        }
    }

    /// The event that the chain explains.
    pub(crate) fn event(&self) -> Option<EventId> {
        self.chain.first().map(|line| line.event.id)
    }
}

#[cfg(test)]
mod tests {
    use raft_core::event::{Event, EventKind, Timer};
    use raft_core::types::{NodeId, Time};

    use super::*;

    fn id(seq: u64) -> EventId {
        EventId { node: NodeId(1), seq }
    }

    fn feed(causes: &[Option<u64>]) -> Feed {
        let mut feed = Feed::default();
        for (seq, cause) in (0..).zip(causes) {
            let kind = EventKind::TimerFired { timer: Timer::Election };
            let cause = cause.map(id);
            feed.push(Event { id: id(seq), time: Time(seq), cause, kind }, true);
        }
        feed
    }

    fn numbers(why: &Why) -> Vec<u64> {
        why.chain.iter().map(|line| line.event.id.seq).collect()
    }

    /// Guards that the chain contains every cause, back to an external one.
    #[test]
    fn the_chain_leads_back_to_something_from_outside() {
        let why = Why::of(&feed(&[None, Some(0), None, Some(1)]), id(3)).unwrap();
        assert_eq!(numbers(&why), [3, 1, 0]);
        assert!(why.whole);
        assert_eq!(why.event(), Some(id(3)));
    }

    /// Guards against causes that were dropped, are unknown, or form a cycle.
    #[test]
    fn a_chain_that_cannot_be_followed_says_so() {
        let feed = feed(&[Some(1), Some(0), Some(99)]);
        assert_eq!(Why::of(&feed, id(7)), None);
        let forgotten = Why::of(&feed, id(2)).unwrap();
        assert_eq!(numbers(&forgotten), [2]);
        assert!(!forgotten.whole);
        let circle = Why::of(&feed, id(1)).unwrap();
        assert_eq!(numbers(&circle), [1, 0]);
        assert!(!circle.whole);
    }
}
