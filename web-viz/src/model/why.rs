//! Why something happened: the chain of its causes back to something from outside, and for each
//! link the rule that decided, with its section of the paper and its place in the core.

mod basis;

use std::rc::Rc;

use raft_core::types::EventId;

use super::feed::{Feed, Line};
pub(crate) use basis::{Basis, basis};

/// A longer chain is cut: nobody reads it to its end.
const LONGEST: usize = 16;

/// What was asked about and what led to it, the latest first.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    /// Never empty.
    pub(crate) chain: Vec<Rc<Line>>,
    /// Whether it begins with something from outside, and not where the page's memory ends.
    pub(crate) whole: bool,
}

impl PartialEq for Why {
    fn eq(&self, other: &Self) -> bool {
        // The same events in the same run; of another run none is the same line.
        self.whole == other.whole
            && self.chain.len() == other.chain.len()
            && self.chain.iter().zip(&other.chain).all(|(one, two)| Rc::ptr_eq(one, two))
    }
}

impl Why {
    /// The chain of an event, as far as it is remembered; `None` when the event itself is not.
    pub(crate) fn of(feed: &Feed, event: EventId) -> Option<Self> {
        let mut chain = vec![feed.find(event)?];
        loop {
            let last = chain.last()?;
            let Some(cause) = last.event.cause else { return Some(Self { chain, whole: true }) };
            // Causes come before what they lead to; a stream that says otherwise must not hold us.
            let earlier = feed.find(cause).filter(|line| line.number < last.number);
            match earlier {
                Some(line) if chain.len() < LONGEST => chain.push(line),
                Some(_) | None => return Some(Self { chain, whole: false }),
            }
        }
    }

    /// The event that was asked about.
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

    /// Guards the answer to "why?": every cause in turn, down to what came from outside.
    #[test]
    fn the_chain_leads_back_to_something_from_outside() {
        let why = Why::of(&feed(&[None, Some(0), None, Some(1)]), id(3)).unwrap();
        assert_eq!(numbers(&why), [3, 1, 0]);
        assert!(why.whole);
        assert_eq!(why.event(), Some(id(3)));
    }

    /// Guards against causes that are forgotten, unknown or go round in a circle.
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
