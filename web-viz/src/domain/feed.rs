//! The event list. It is bounded, and events are formatted only when shown.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use raft_core::event::{Event, EventKind, Timer};
use raft_core::message::MessageName;
use raft_core::types::{EventId, NodeId};

/// The importance of an event to a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Timer starts, heartbeats and their replies.
    Routine,
    /// Messages, votes, log entries, disk writes.
    Detail,
    /// Turning points of the run.
    #[default]
    Key,
}

impl Weight {
    pub(crate) fn of(kind: &EventKind) -> Self {
        match kind {
            EventKind::Started(_)
            | EventKind::Crashed
            | EventKind::Frozen
            | EventKind::Thawed
            | EventKind::RoleChanged { .. }
            | EventKind::VoteGranted { pre: false, .. }
            | EventKind::VoteRefused { pre: false, .. }
            | EventKind::TimerFired { timer: Timer::Election }
            | EventKind::LogTruncated { .. }
            | EventKind::WriteFailed { .. }
            | EventKind::CommitAdvanced { .. }
            | EventKind::SnapshotInstalled { .. }
            | EventKind::ClientRequest { .. }
            | EventKind::ClientAnswer { .. }
            | EventKind::ConfigurationAppended { .. }
            | EventKind::ConfigurationRolledBack { .. }
            | EventKind::PeerLostLog { .. }
            | EventKind::TransferStarted { .. }
            | EventKind::TransferAborted { .. }
            | EventKind::LinkChanged { .. }
            | EventKind::StateDiffers { .. }
            | EventKind::Fault(_) => Self::Key,
            EventKind::Attached(_)
            | EventKind::LeaderKnown { .. }
            | EventKind::TermChanged { .. }
            | EventKind::VoteGranted { .. }
            | EventKind::VoteRefused { .. }
            | EventKind::VoteCounted { .. }
            | EventKind::MessageDropped { .. }
            | EventKind::EntriesAppended { .. }
            | EventKind::LogCompacted { .. }
            | EventKind::WriteStarted { .. }
            | EventKind::WritePersisted { .. }
            | EventKind::Applied { .. }
            | EventKind::SnapshotSaved { .. }
            | EventKind::SnapshotIgnored { .. }
            | EventKind::ReadsConfirmed { .. }
            | EventKind::ConfigurationCommitted { .. }
            | EventKind::PeerDismissed { .. }
            | EventKind::LeaseRead { .. }
            | EventKind::Summarised { .. } => Self::Detail,
            EventKind::MessageSent(message) => Self::of_message(message.body.name()),
            EventKind::MessageReceived { name, .. } => Self::of_message(*name),
            EventKind::MessageInTransit { .. }
            | EventKind::TimerArmed { .. }
            | EventKind::TimerFired { timer: Timer::Heartbeat }
            | EventKind::ProgressChanged { .. } => Self::Routine,
        }
    }

    const fn of_message(name: MessageName) -> Self {
        match name {
            MessageName::Heartbeat | MessageName::AppendEntriesReply | MessageName::StateDigest => {
                Self::Routine
            }
            MessageName::PreVote
            | MessageName::PreVoteReply
            | MessageName::RequestVote
            | MessageName::RequestVoteReply
            | MessageName::AppendEntries
            | MessageName::InstallSnapshot
            | MessageName::InstallSnapshotReply
            | MessageName::TimeoutNow
            | MessageName::ReadIndex
            | MessageName::ReadIndexReply => Self::Detail,
        }
    }
}

/// A line of the event list.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its position among all events.
    pub(crate) number: u64,
    pub(crate) weight: Weight,
    pub(crate) event: Event,
}

/// How many lines of each weight are kept. The limits are separate, so heartbeats cannot displace
/// an election.
const KEPT: usize = 1500;

/// The newest events of each weight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feed {
    next: u64,
    kept: [VecDeque<Rc<Line>>; 3],
}

/// Selects the lines that are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The lowest weight that is shown.
    pub(crate) least: Weight,
    /// Servers whose events are hidden.
    pub(crate) hidden: BTreeSet<NodeId>,
    /// Text that a line must contain, in lowercase. Empty text matches every line.
    pub(crate) words: String,
}

impl Filter {
    fn passes(&self, line: &Line) -> bool {
        line.weight >= self.least
            && !self.hidden.contains(&line.event.id.node)
            && (self.words.is_empty()
                || line.event.kind.to_string().to_lowercase().contains(&self.words))
    }
}

impl Feed {
    /// Adds an event. If `heeded` is false it counts as routine: a message to a server that is
    /// down, for example, is repeated often.
    pub(crate) fn push(&mut self, event: Event, heeded: bool) {
        let weight = if heeded { Weight::of(&event.kind) } else { Weight::Routine };
        let kept = &mut self.kept[weight as usize];
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Rc::new(Line { number: self.next, weight, event }));
        self.next += 1;
    }

    /// The list as it was after `number` events.
    pub(crate) fn until(&self, number: u64) -> Self {
        let before = |line: &&Rc<Line>| line.number < number;
        let kept =
            self.kept.each_ref().map(|kept| kept.iter().take_while(before).cloned().collect());
        Self { next: number, kept }
    }

    /// An event, if it is still kept.
    pub(crate) fn find(&self, event: EventId) -> Option<Rc<Line>> {
        // Newest first, since the newest events are looked up most.
        let mut all = self.kept.iter().flat_map(|kept| kept.iter().rev());
        all.find(|line| line.event.id == event).cloned()
    }

    /// The lines that match the filter, newest first.
    pub(crate) fn lines(&self, filter: &Filter) -> Vec<Rc<Line>> {
        let mut lines: Vec<_> =
            self.kept.iter().flatten().filter(|line| filter.passes(line)).cloned().collect();
        lines.sort_unstable_by_key(|line| std::cmp::Reverse(line.number));
        lines
    }
}

#[cfg(test)]
mod tests {
    use raft_core::types::{EventId, Time};

    use super::*;

    fn event(seq: u64, node: u64, kind: EventKind) -> Event {
        Event { id: EventId { node: NodeId(node), seq }, time: Time(seq), cause: None, kind }
    }

    /// Guards that heartbeats never displace important events, and that the list is bounded.
    #[test]
    fn routine_never_pushes_out_what_matters() {
        let mut feed = Feed::default();
        feed.push(event(0, 1, EventKind::Crashed), true);
        for seq in 1..10_000 {
            feed.push(event(seq, 2, EventKind::TimerFired { timer: Timer::Heartbeat }), true);
        }
        let all = feed.lines(&Filter { least: Weight::Routine, ..Filter::default() });
        assert_eq!(all.len(), KEPT + 1);
        assert_eq!(all.last().unwrap().event.kind, EventKind::Crashed);
        assert!(all.windows(2).all(|pair| pair[0].number > pair[1].number), "newest first");
    }

    /// Guards the search: it ignores case and applies to the shown weights only.
    #[test]
    fn lines_are_found_by_their_words() {
        let mut feed = Feed::default();
        feed.push(event(0, 1, EventKind::Crashed), true);
        feed.push(event(1, 1, EventKind::TimerFired { timer: Timer::Election }), true);
        let found = |words: &str| {
            let filter = Filter { words: words.to_lowercase(), ..Filter::default() };
            feed.lines(&filter).len()
        };
        assert_eq!((found(""), found("Election"), found("no such thing")), (2, 1, 0));
    }

    /// Guards the default filter: timers and heartbeats are hidden until requested.
    #[test]
    fn routine_is_hidden_at_first_and_servers_can_be_hidden() {
        let mut feed = Feed::default();
        feed.push(event(0, 1, EventKind::TimerFired { timer: Timer::Heartbeat }), true);
        feed.push(event(1, 1, EventKind::TimerFired { timer: Timer::Election }), true);
        feed.push(event(2, 2, EventKind::Crashed), true);
        assert_eq!(feed.lines(&Filter::default()).len(), 2);
        let without_s2 = Filter { hidden: BTreeSet::from([NodeId(2)]), ..Filter::default() };
        let lines = feed.lines(&without_s2);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].event.id.node, NodeId(1));
    }
}
