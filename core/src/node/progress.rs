//! What a leader knows about a follower, and how it sends to it.
//!
//! **Invariant.** The leader sends entries and chunks again only when the follower says that they
//! have not arrived. If nothing was acknowledged for a heartbeat interval, or the transport lost a
//! message, the leader asks the follower. The question queues behind what was sent, so on a slow
//! link its answer is late but not wrong.

use std::collections::VecDeque;

use crate::event::{ProgressMode, ProgressState};
use crate::snapshot::Cursor;
use crate::types::{LogIndex, LogPosition, Micros, Time};

/// What a leader knows about a follower.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The highest index known to be durable on the follower (§5.3).
    pub(crate) match_index: LogIndex,
    /// The next index to send (§5.3); always above `match_index`.
    pub(crate) next_index: LogIndex,
    pub(crate) mode: Mode,
    /// The latest round that it acknowledged.
    pub(crate) acked_round: u64,
    /// The leader's round when `match_index` last grew.
    pub(crate) matched_round: u64,
    /// When it last answered; at first, when the leader began to track it.
    pub(crate) heard_at: Time,
    /// Whether it has answered at all in this term.
    pub(crate) answered: bool,
    /// The latest commit index that the leader sent to it.
    pub(crate) told_commit: LogIndex,
    /// When it last accepted entries or a snapshot chunk; at first, when the leader began to send
    /// to it.
    pub(crate) moved_at: Time,
    /// Since when an acknowledgement is pending.
    pub(crate) owes_since: Time,
    /// Its catch-up rounds before it becomes a voter.
    pub(crate) rounds: Option<Rounds>,
}

/// How a leader sends to a follower.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// The leader does not know where the logs agree, and sends one message at a time.
    Probe {
        /// The message while it is unanswered.
        in_flight: Option<Sent>,
    },
    /// The leader knows where the logs agree, and sends messages without waiting for answers.
    Replicate(Window),
    /// The follower needs entries that were compacted away (§7).
    Snapshot(Transfer),
    /// The follower lost entries that it had acknowledged as durable. It gets heartbeats, but does
    /// not count toward commits.
    Lost,
}

/// An unanswered message with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    /// Its last entry.
    pub(crate) last: LogIndex,
    /// The size of its entries, in bytes.
    pub(crate) bytes: usize,
}

/// All unanswered messages with entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    sent: VecDeque<Sent>,
    bytes: usize,
}

/// A snapshot transfer in progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfer {
    /// The last entry of the snapshot. `None` until the first chunk is chosen, and after the
    /// follower made no progress for too long.
    pub(crate) last: Option<LogPosition>,
    /// Where the chunk in flight starts.
    pub(crate) cursor: Cursor,
    /// The leader's round when that chunk was sent.
    pub(crate) round: u64,
    /// Whether that chunk is the last one.
    pub(crate) is_whole: bool,
}

/// The rounds in which a learner catches up (dissertation §4.2.1). A round lasts until the learner
/// holds what the leader's log held when the round began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    target: LogIndex,
    began: Time,
    /// The duration of the previous round.
    before: Option<Micros>,
    /// How many rounds in a row were not shorter than the previous round.
    not_shorter: u32,
    /// Whether the last round was so short that the learner would not delay commits.
    pub(crate) caught_up: bool,
}

/// After this many rounds in a row that did not get shorter, a learner is expected never to catch
/// up (dissertation §4.2.1).
const FUTILE_ROUNDS: u32 = 10;

impl Window {
    fn push(&mut self, sent: Sent) {
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
    }

    fn acknowledged(&mut self, index: LogIndex) {
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.last <= index) {
            self.bytes -= sent.bytes;
        }
    }
}

impl Progress {
    /// A follower that may hold the log up to `last`; nothing else is known (§5.3).
    pub(crate) const fn new(last: LogIndex, now: Time) -> Self {
        Self {
            match_index: LogIndex(0),
            next_index: last.next(),
            mode: Mode::Probe { in_flight: None },
            acked_round: 0,
            matched_round: 0,
            heard_at: now,
            answered: false,
            told_commit: LogIndex(0),
            moved_at: now,
            owes_since: now,
            rounds: None,
        }
    }

    /// Records in this round that the follower durably holds the leader's log up to `index`.
    /// Returns whether that is news.
    ///
    /// The leader's log begins after `base`.
    pub(crate) fn matched(
        &mut self,
        index: LogIndex,
        base: LogIndex,
        round: u64,
        now: Time,
    ) -> bool {
        if matches!(self.mode, Mode::Lost) {
            return false;
        }
        let news = index > self.match_index;
        if news {
            self.match_index = index;
            self.matched_round = round;
            self.moved(now);
        }
        self.next_index = self.next_index.max(self.match_index.next());
        match &mut self.mode {
            Mode::Probe { in_flight } => {
                // A heartbeat may overtake entries, and its answer then comes first.
                let under_way = in_flight.filter(|sent| sent.last > index);
                // The leader now knows where the logs agree. But a follower that accepted nothing
                // of what was sent may have no room for more.
                if !news && under_way.is_some() {
                    return false;
                }
                let mut window = Window::default();
                self.next_index = self.match_index.next();
                if let Some(sent) = under_way {
                    window.push(sent);
                    self.next_index = sent.last.next();
                }
                self.mode = Mode::Replicate(window);
                true
            }
            Mode::Replicate(window) => {
                window.acknowledged(index);
                news
            }
            Mode::Snapshot(transfer) => {
                // The transfer also ends if the follower holds an older state that the log reaches
                // back to.
                if self.match_index >= base || transfer.last.is_none_or(|last| last.index <= index)
                {
                    self.mode = Mode::Probe { in_flight: None };
                }
                news
            }
            Mode::Lost => false,
        }
    }

    /// Records that the logs do not agree at `rejected`, but may agree at `candidate`. Returns
    /// whether the answer still matters.
    pub(crate) fn rejected(&mut self, rejected: LogIndex, candidate: LogIndex) -> bool {
        let stands = match &self.mode {
            Mode::Probe { in_flight } => {
                rejected.next() == self.next_index
                    || in_flight.is_some_and(|sent| sent.last == rejected)
            }
            Mode::Replicate(_) => rejected > self.match_index,
            Mode::Snapshot(_) | Mode::Lost => false,
        };
        if stands {
            let next = candidate.next().min(rejected).max(LogIndex(1));
            self.next_index = next.max(self.match_index.next());
            self.mode = Mode::Probe { in_flight: None };
        }
        stands
    }

    /// How many bytes of entries may be sent now; `None` if no message may be sent. With nothing in
    /// flight, one entry of any size may be sent.
    pub(crate) fn room(&self, max_in_flight: usize, max_bytes: usize) -> Option<usize> {
        match &self.mode {
            Mode::Probe { in_flight } => in_flight.is_none().then_some(max_bytes),
            Mode::Replicate(window) if window.sent.len() < max_in_flight => {
                max_bytes.checked_sub(window.bytes).filter(|room| *room > 0)
            }
            Mode::Replicate(_) | Mode::Snapshot(_) | Mode::Lost => None,
        }
    }

    /// Records that entries were sent.
    pub(crate) fn sent(&mut self, sent: Sent, now: Time) {
        if self.in_flight_bytes() == 0 {
            self.owes_since = now;
        }
        match &mut self.mode {
            Mode::Probe { in_flight } => *in_flight = Some(sent),
            Mode::Replicate(window) => {
                window.push(sent);
                self.next_index = sent.last.next();
            }
            Mode::Snapshot(_) | Mode::Lost => {}
        }
    }

    /// The size of the entries in flight.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        match &self.mode {
            Mode::Probe { in_flight } => in_flight.map_or(0, |sent| sent.bytes),
            Mode::Replicate(window) => window.bytes,
            Mode::Snapshot(_) | Mode::Lost => 0,
        }
    }

    /// Records that the follower made progress.
    pub(crate) const fn moved(&mut self, now: Time) {
        self.moved_at = now;
        self.owes_since = now;
    }

    /// Whether to ask the follower what has arrived: something is in flight, and nothing was
    /// acknowledged for `patience`.
    pub(crate) fn is_to_be_asked(&self, now: Time, patience: Micros) -> bool {
        let under_way = match &self.mode {
            Mode::Probe { in_flight } => in_flight.is_some(),
            Mode::Replicate(window) => !window.sent.is_empty(),
            Mode::Snapshot(transfer) => transfer.last.is_some(),
            Mode::Lost => false,
        };
        under_way && now.since(self.owes_since) >= patience
    }

    /// Marks that something in flight may be lost, to ask the follower as soon as possible.
    pub(crate) const fn doubt(&mut self) {
        self.owes_since = Time(0);
    }

    /// The last entry that the follower holds once everything sent has arrived.
    pub(crate) fn sent_up_to(&self) -> LogIndex {
        match &self.mode {
            Mode::Probe { in_flight: Some(sent) } => sent.last,
            Mode::Probe { in_flight: None }
            | Mode::Replicate(_)
            | Mode::Snapshot(_)
            | Mode::Lost => self.next_index.previous(),
        }
    }

    /// Whether entries are replicated and no message with entries is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&self.mode, Mode::Replicate(window) if window.sent.is_empty())
    }

    /// Whether it durably holds the leader's log up to `last`.
    pub(crate) fn holds_all(&self, last: LogIndex) -> bool {
        matches!(self.mode, Mode::Replicate(_)) && self.match_index >= last
    }

    /// Continues the catch-up rounds of a joining learner, while the leader's log ends at `last`.
    /// After a round of at most `short`, the learner would not delay commits. Returns whether it
    /// may still catch up. It cannot if rounds get no shorter, or if a round takes `long` and no
    /// less than the previous round.
    ///
    /// The first round begins once the learner has acknowledged something. At the end of a round it
    /// therefore holds all that a leader of this term told it as a stranger. It is then no longer a
    /// stranger (pitfall 29).
    pub(crate) fn catch_up(
        &mut self,
        last: LogIndex,
        now: Time,
        short: Micros,
        long: Micros,
    ) -> bool {
        if self.match_index == LogIndex(0) || !matches!(self.mode, Mode::Replicate(_)) {
            if let Some(rounds) = &mut self.rounds {
                rounds.caught_up = false;
            }
            return true;
        }
        let fresh =
            Rounds { target: last, began: now, before: None, not_shorter: 0, caught_up: false };
        let rounds = self.rounds.get_or_insert(fresh);
        let took = now.since(rounds.began);
        let longer = rounds.before.is_some_and(|before| took >= before);
        if self.match_index < rounds.target {
            return !(longer && took >= long);
        }
        rounds.caught_up = took <= short || self.match_index >= last;
        rounds.not_shorter = if longer { rounds.not_shorter + 1 } else { 0 };
        (rounds.target, rounds.began, rounds.before) = (last, now, Some(took));
        rounds.caught_up || rounds.not_shorter < FUTILE_ROUNDS
    }

    pub(crate) fn state(&self) -> ProgressState {
        let (mode, in_flight) = match &self.mode {
            Mode::Probe { in_flight } => (ProgressMode::Probe, usize::from(in_flight.is_some())),
            Mode::Replicate(window) => (ProgressMode::Replicate, window.sent.len()),
            Mode::Snapshot(transfer) => {
                (ProgressMode::Snapshot, usize::from(transfer.last.is_some()))
            }
            Mode::Lost => (ProgressMode::Lost, 0),
        };
        ProgressState {
            match_index: self.match_index,
            next_index: self.next_index,
            mode,
            in_flight: in_flight as u64,
            last_contact: self.answered.then_some(self.heard_at),
        }
    }
}
