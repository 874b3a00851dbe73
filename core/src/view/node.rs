//! One server as a display shows it.

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
    /// The server runs.
    #[default]
    Up,
    /// The server crashed, or stopped after a failure.
    Down,
    /// The server is paused.
    Frozen,
}

/// The fault that was injected into a server's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskHealth {
    /// There is no fault.
    #[default]
    Well,
    /// The disk finishes no write.
    Stalled,
    /// The disk has no free space.
    Full,
}

/// The number of newest log entries that a view keeps. Older entries are only known to exist.
const ENTRIES: usize = 8_192;

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerView {
    /// The kind of the timer.
    pub timer: Timer,
    /// When it was armed.
    pub armed_at: Time,
    /// When it fires.
    pub due: Time,
}

/// The votes that a candidate has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VotesView {
    /// Each answer so far, including the candidate's own vote.
    pub answers: BTreeMap<NodeId, bool>,
    /// The number of granted votes that wins.
    pub needed: u64,
    /// Whether these are pre-votes.
    pub pre: bool,
}

/// Everything known about one server from its events.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Whether the server runs.
    pub liveness: Liveness,
    /// The role; the last role if the server is down.
    pub role: RoleName,
    /// Why the server took that role.
    pub role_reason: Option<RoleReason>,
    /// The current term.
    pub term: Term,
    /// The server's vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader that the server knows.
    pub leader: Option<NodeId>,
    /// The members that the server knows.
    pub membership: Membership,
    /// The running timer.
    pub timer: Option<TimerView>,
    /// The votes of the server's campaign.
    pub votes: Option<VotesView>,
    /// The position up to which the log is compacted.
    pub base: LogPosition,
    /// The last position of the log.
    pub last: LogPosition,
    /// The newest entries of the log, up to `last`.
    pub entries: Vector<Entry>,
    /// The last index that the server has submitted to its disk.
    pub submitted_index: LogIndex,
    /// The last durable index.
    pub durable_index: LogIndex,
    /// The number of batches that the disk has not finished.
    pub writes_in_flight: u64,
    /// The injected fault of the disk.
    pub disk: DiskHealth,
    /// The commit index.
    pub commit_index: LogIndex,
    /// The voters' indexes that proved the last commit, if this server counted them.
    pub commit_proof: Vec<(NodeId, LogIndex)>,
    /// The last applied entry.
    pub last_applied: LogIndex,
    /// The digest of the state.
    pub digest: u64,
    /// The state, as far as it is known from events.
    pub store: KvStore,
    /// A leader's view of its followers.
    pub progress: BTreeMap<NodeId, ProgressState>,
    /// The time of the server's latest event, by its clock.
    pub time: Time,
    /// The number of events that were left out of the server's stream.
    pub summarised: u64,
}

impl NodeView {
    /// Whether the server leads and is not down.
    pub fn is_leader(&self) -> bool {
        self.liveness != Liveness::Down && self.role == RoleName::Leader
    }

    /// The entry at `index`, if it is known.
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let first = self.entries.front()?.index;
        self.entries.get(usize::try_from(index.0.checked_sub(first.0)?).ok()?)
    }

    /// The state from which a new subscriber starts, as far as it is known here.
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

    /// Updates the view with one event of this server.
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
            // A summarised event: the entries in between are unknown.
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
