//! One server as a screen may show it.

use std::collections::BTreeMap;

use imbl::Vector;

use crate::event::{
    CommitReason, Event, EventKind, NodeState, ProgressState, RoleName, RoleReason, STATE_ENTRIES,
    STATE_PAIRS, Timer,
};
use crate::kv::{Command, KvStore, Pair};
use crate::log::{Entry, Payload};
use crate::membership::Membership;
use crate::types::{LogIndex, LogPosition, NodeId, Term, Time};

/// Whether a server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    #[default]
    Up,
    /// It crashed, or its disk failed.
    Down,
    /// It is paused.
    Frozen,
}

/// What was done to a server's disk from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskHealth {
    /// Nothing.
    #[default]
    Well,
    /// It finishes nothing.
    Stalled,
    /// It has no room.
    Full,
}

/// The newest entries of a log that a view remembers; of older ones it knows that they are there.
const ENTRIES: usize = 8_192;

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerView {
    /// Which.
    pub timer: Timer,
    /// When it was set.
    pub armed_at: Time,
    /// When it fires.
    pub due: Time,
}

/// The votes that a candidate has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VotesView {
    /// Each answer so far; the candidate itself included.
    pub answers: BTreeMap<NodeId, bool>,
    /// Yes votes that win.
    pub needed: u64,
    /// Whether these are votes before the election.
    pub pre: bool,
}

/// Everything known of one server from its events.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Whether it runs.
    pub liveness: Liveness,
    /// Its role; the last one for a server that is down.
    pub role: RoleName,
    /// Why it took that role.
    pub role_reason: Option<RoleReason>,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader that it knows.
    pub leader: Option<NodeId>,
    /// The members that it knows.
    pub membership: Membership,
    /// The timer that runs.
    pub timer: Option<TimerView>,
    /// The votes of its candidacy.
    pub votes: Option<VotesView>,
    /// The position up to which the log was compacted.
    pub base: LogPosition,
    /// The last position of its log.
    pub last: LogPosition,
    /// The newest entries of its log, ending with `last`.
    pub entries: Vector<Entry>,
    /// The last index that its disk has been asked to hold.
    pub submitted_index: LogIndex,
    /// The last index that its disk holds.
    pub durable_index: LogIndex,
    /// Batches that its disk has not finished.
    pub writes_in_flight: u64,
    /// What is wrong with its disk.
    pub disk: DiskHealth,
    /// Its commit index.
    pub commit_index: LogIndex,
    /// The voters' indexes that proved the last commit, where this server counted them.
    pub commit_proof: Vec<(NodeId, LogIndex)>,
    /// The last entry that it applied.
    pub last_applied: LogIndex,
    /// The digest of its state.
    pub digest: u64,
    /// Its state, as far as events told.
    pub store: KvStore,
    /// A leader's view of its followers.
    pub progress: BTreeMap<NodeId, ProgressState>,
    /// The time of its latest event, by its clock.
    pub time: Time,
    /// Events that were left out of its stream.
    pub summarised: u64,
}

impl NodeView {
    /// Whether it runs and leads.
    pub fn is_leader(&self) -> bool {
        self.liveness != Liveness::Down && self.role == RoleName::Leader
    }

    /// The entry at `index`, when it is among those known.
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let first = self.entries.front()?.index;
        self.entries.get(usize::try_from(index.0.checked_sub(first.0)?).ok()?)
    }

    /// What somebody would start from who begins to watch now, as far as it is known here.
    pub fn state(&self) -> NodeState {
        let told = self.entries.len().min(STATE_ENTRIES);
        let pairs = self.store.iter().take(STATE_PAIRS);
        NodeState {
            role: self.role,
            term: self.term,
            voted_for: self.voted_for,
            leader: self.leader,
            membership: self.membership.clone(),
            base: self.base,
            last: self.last,
            entries: self.entries.iter().skip(self.entries.len() - told).cloned().collect(),
            durable_index: self.durable_index,
            commit_index: self.commit_index,
            last_applied: self.last_applied,
            digest: self.digest,
            revision: self.store.revision(),
            pairs: pairs
                .map(|(key, value)| Pair { key: key.clone(), value: value.clone() })
                .collect(),
            timekeeping: self.store.timekeeping(STATE_PAIRS),
            timer: self
                .timer
                .map(|timer| (timer.timer, timer.due, timer.due.since(timer.armed_at))),
            progress: self.progress.iter().map(|(peer, it)| (*peer, it.clone())).collect(),
        }
    }

    /// Takes in one event of this server.
    pub(super) fn observe(&mut self, event: &Event) {
        self.time = event.time;
        match &event.kind {
            EventKind::Started(state) | EventKind::Attached(state) => {
                self.restart(event.time, state);
            }
            EventKind::Crashed => self.down(),
            EventKind::WriteFailed { .. } | EventKind::StateDiffers { stops: true, .. } => {
                self.liveness = Liveness::Down;
            }
            EventKind::Frozen => self.liveness = Liveness::Frozen,
            EventKind::Thawed => self.liveness = Liveness::Up,
            EventKind::RoleChanged { role, term, why } => {
                self.role = *role;
                self.role_reason = Some(*why);
                self.term = *term;
                self.votes = None;
                self.progress.clear();
                self.leader = (*role == RoleName::Leader).then_some(event.id.node);
            }
            EventKind::LeaderKnown { leader, .. } => self.leader = Some(*leader),
            EventKind::TermChanged { to, .. } => {
                self.term = *to;
                self.voted_for = None;
                self.leader = None;
            }
            EventKind::VoteGranted { candidate, pre: false, .. } => {
                self.voted_for = Some(*candidate);
            }
            EventKind::VoteCounted { voter, granted, pre, needed, .. } => {
                let votes = self.votes.get_or_insert_default();
                votes.answers.insert(*voter, *granted);
                (votes.needed, votes.pre) = (*needed, *pre);
            }
            EventKind::TimerArmed { timer, due } => {
                self.timer = Some(TimerView { timer: *timer, armed_at: event.time, due: *due });
            }
            EventKind::EntriesAppended { last, entries } => self.append(*last, entries),
            EventKind::LogTruncated { from, last } => self.truncate(*from, *last),
            EventKind::LogCompacted { to } => self.compact(*to),
            EventKind::WriteStarted { last_index, .. } => {
                self.submitted_index = *last_index;
                self.writes_in_flight += 1;
            }
            EventKind::WritePersisted { durable_index, .. } => {
                self.durable_index = *durable_index;
                self.writes_in_flight = self.writes_in_flight.saturating_sub(1);
            }
            EventKind::CommitAdvanced { to, why, .. } => {
                self.commit_index = *to;
                self.commit_proof = match why {
                    CommitReason::Majority(proof) => proof.clone(),
                    CommitReason::LeaderCommit
                    | CommitReason::Recovered
                    | CommitReason::Snapshot => Vec::new(),
                };
            }
            EventKind::Applied { position, digest, .. } => self.apply(*position, *digest),
            EventKind::ProgressChanged { peer, progress } => {
                self.progress.insert(*peer, progress.clone());
            }
            EventKind::ConfigurationAppended { membership, .. }
            | EventKind::ConfigurationRolledBack { membership } => {
                self.membership = membership.clone();
            }
            EventKind::PeerDismissed { peer } => {
                self.progress.remove(peer);
            }
            EventKind::Summarised { events } => self.summarised += events,
            EventKind::VoteGranted { .. }
            | EventKind::VoteRefused { .. }
            | EventKind::TimerFired { .. }
            | EventKind::MessageSent(_)
            | EventKind::MessageInTransit { .. }
            | EventKind::MessageReceived { .. }
            | EventKind::MessageDropped { .. }
            | EventKind::SnapshotSaved { .. }
            | EventKind::SnapshotInstalled { .. }
            | EventKind::SnapshotIgnored { .. }
            | EventKind::ClientRequest { .. }
            | EventKind::ClientAnswer { .. }
            | EventKind::ReadsConfirmed { .. }
            | EventKind::ConfigurationCommitted { .. }
            | EventKind::PeerLostLog { .. }
            | EventKind::TransferStarted { .. }
            | EventKind::TransferAborted { .. }
            | EventKind::LeaseRead { .. }
            | EventKind::LinkChanged { .. }
            | EventKind::StateDiffers { stops: false, .. }
            | EventKind::Fault(_) => {}
        }
    }

    fn restart(&mut self, now: Time, state: &NodeState) {
        *self = Self {
            role: state.role,
            term: state.term,
            voted_for: state.voted_for,
            leader: state.leader,
            membership: state.membership.clone(),
            timer: state.timer.map(|(timer, due, span)| TimerView {
                timer,
                armed_at: Time(due.0.saturating_sub(span)),
                due,
            }),
            base: state.base,
            last: state.last,
            entries: state.entries.iter().cloned().collect(),
            submitted_index: state.last.index,
            durable_index: state.durable_index,
            commit_index: state.commit_index,
            last_applied: state.last_applied,
            digest: state.digest,
            store: KvStore::of_parts(state.revision, &state.pairs, &state.timekeeping),
            progress: state.progress.iter().cloned().collect(),
            time: now,
            summarised: self.summarised,
            disk: self.disk,
            ..Self::default()
        };
    }

    fn down(&mut self) {
        self.liveness = Liveness::Down;
        self.timer = None;
        self.votes = None;
        self.leader = None;
        self.writes_in_flight = 0;
        self.progress.clear();
    }

    fn append(&mut self, last: LogPosition, entries: &[Entry]) {
        let follows = |entry: &Entry| entry.index == self.last.index.next();
        if !entries.first().is_some_and(follows) {
            // A summarised event: what lies between is not known here.
            self.entries.clear();
        }
        self.entries.extend(entries.iter().cloned());
        while self.entries.len() > ENTRIES {
            self.entries.pop_front();
        }
        self.last = last;
    }

    fn truncate(&mut self, from: LogIndex, last: LogPosition) {
        while self.entries.back().is_some_and(|entry| entry.index >= from) {
            self.entries.pop_back();
        }
        self.last = last;
        self.durable_index = self.durable_index.min(last.index);
    }

    fn compact(&mut self, to: LogPosition) {
        while self.entries.front().is_some_and(|entry| entry.index <= to.index) {
            self.entries.pop_front();
        }
        self.base = to;
        self.last = self.last.max(to);
    }

    fn apply(&mut self, position: LogPosition, digest: u64) {
        let command = match self.entry(position.index).map(|entry| &entry.payload) {
            Some(Payload::Command(command)) => Command::decode(command).ok(),
            Some(Payload::Noop | Payload::Membership(_)) | None => None,
        };
        if let Some(command) = command {
            self.store.apply(command);
        }
        self.last_applied = position.index;
        self.digest = digest;
    }
}
