//! What a leader knows of one follower, and how it sends to it.
//!
//! **Invariant.** Entries and chunks are sent again only when the follower says that they have not
//! arrived. When it gave no sign for a heartbeat interval, or the transport lost something, the leader
//! asks it. The question waits in line behind what was sent, so that on a slow link its
//! answer is late and not wrong.

use std::collections::VecDeque;

use crate::event::{ProgressMode, ProgressState};
use crate::message::Cursor;
use crate::types::{LogIndex, LogPosition, Micros, Time};

/// What a leader knows of one follower.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The highest index known to be durable there (§5.3).
    pub(crate) match_index: LogIndex,
    /// The next index to send (§5.3); always above `match_index`.
    pub(crate) next_index: LogIndex,
    pub(crate) mode: Mode,
    /// The latest round that it acknowledged.
    pub(crate) acked_round: u64,
    /// The leader's round when `match_index` last grew.
    pub(crate) matched_round: u64,
    /// When it last answered; at first, when the leader was elected.
    pub(crate) heard_at: Time,
    /// Whether it has answered at all in this term.
    pub(crate) answered: bool,
    /// The highest commit index that it was told.
    pub(crate) told_commit: LogIndex,
    /// When it last took something of the log or of a snapshot; at first, when the leader began to
    /// send to it.
    pub(crate) moved_at: Time,
    /// Since when it owes a sign that what was sent has arrived.
    pub(crate) owes_since: Time,
    /// How it catches up, while it is to become a voter.
    pub(crate) rounds: Option<Rounds>,
}

/// How a leader sends to a follower.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// It is not known where the logs agree: one message at a time.
    Probe {
        /// That message while it is not answered.
        in_flight: Option<Sent>,
    },
    /// They agree up to `next_index`: messages follow each other without waiting.
    Replicate(Window),
    /// The follower needs entries that were compacted away (§7).
    Snapshot(Transfer),
    /// The follower lacks what it had acknowledged as durable. It gets heartbeats and counts for
    /// nothing.
    Lost,
}

/// A message with entries that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    /// Its last entry.
    pub(crate) last: LogIndex,
    /// The size of its entries.
    pub(crate) bytes: usize,
}

/// All messages with entries that are not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    sent: VecDeque<Sent>,
    bytes: usize,
}

/// A snapshot on its way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfer {
    /// Which state; `None` until the first chunk is chosen, and when the follower was silent for too
    /// long.
    pub(crate) last: Option<LogPosition>,
    /// Where the chunk that is under way starts.
    pub(crate) cursor: Cursor,
    /// The leader's round when that chunk was sent.
    pub(crate) round: u64,
    /// Whether that chunk is the last one.
    pub(crate) is_whole: bool,
}

/// The rounds in which a learner catches up (dissertation §4.2.1): each lasts until it holds what the
/// leader's log held when the round began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    target: LogIndex,
    began: Time,
    /// How long the round before took.
    before: Option<Micros>,
    /// How many rounds in a row were not shorter than the one before.
    not_shorter: u32,
    /// Whether the last round was so short that the learner would not hold up commits.
    pub(crate) caught_up: bool,
}

/// After so many rounds in a row that did not get shorter, a learner will never catch up
/// (dissertation §4.2.1).
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
    /// A follower of which nothing is known but that it may hold the log up to `last` (§5.3).
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

    /// Takes in, in this round, that the follower durably holds the leader's log up to `index`.
    /// Whether that is news.
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
                // The answer to a heartbeat comes before that to entries which it has overtaken.
                let under_way = in_flight.filter(|sent| sent.last > index);
                // Where the logs agree is known. But a follower that took nothing of what it was
                // sent may have no room for more now.
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
                // Also when it holds an older state than that on its way, and the log reaches back to it.
                if self.match_index >= base || transfer.last.is_none_or(|last| last.index <= index)
                {
                    self.mode = Mode::Probe { in_flight: None };
                }
                news
            }
            Mode::Lost => false,
        }
    }

    /// Takes in that the logs do not agree at `rejected`, but may at `candidate`. Whether the
    /// answer was to a question that still stands.
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

    /// How many bytes of entries may be sent now; `None` when no message may. With nothing under way
    /// one entry may be sent however large it is.
    pub(crate) fn room(&self, max_in_flight: usize, max_bytes: usize) -> Option<usize> {
        match &self.mode {
            Mode::Probe { in_flight } => in_flight.is_none().then_some(max_bytes),
            Mode::Replicate(window) if window.sent.len() < max_in_flight => {
                max_bytes.checked_sub(window.bytes).filter(|room| *room > 0)
            }
            Mode::Replicate(_) | Mode::Snapshot(_) | Mode::Lost => None,
        }
    }

    /// Takes in that entries were sent.
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

    /// The size of the entries that are under way.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        match &self.mode {
            Mode::Probe { in_flight } => in_flight.map_or(0, |sent| sent.bytes),
            Mode::Replicate(window) => window.bytes,
            Mode::Snapshot(_) | Mode::Lost => 0,
        }
    }

    /// The follower took something.
    pub(crate) const fn moved(&mut self, now: Time) {
        self.moved_at = now;
        self.owes_since = now;
    }

    /// Whether it is time to ask the follower what has arrived: something is under way, and for as
    /// long as `patience` nothing showed that any of it has.
    pub(crate) fn is_to_be_asked(&self, now: Time, patience: Micros) -> bool {
        let under_way = match &self.mode {
            Mode::Probe { in_flight } => in_flight.is_some(),
            Mode::Replicate(window) => !window.sent.is_empty(),
            Mode::Snapshot(transfer) => transfer.last.is_some(),
            Mode::Lost => false,
        };
        under_way && now.since(self.owes_since) >= patience
    }

    /// Something on its way may be lost: ask as soon as possible.
    pub(crate) const fn doubt(&mut self) {
        self.owes_since = Time(0);
    }

    /// The last entry that should be there when all that was sent has arrived.
    pub(crate) fn sent_up_to(&self) -> LogIndex {
        match &self.mode {
            Mode::Probe { in_flight: Some(sent) } => sent.last,
            Mode::Probe { in_flight: None }
            | Mode::Replicate(_)
            | Mode::Snapshot(_)
            | Mode::Lost => self.next_index.previous(),
        }
    }

    /// Whether no message with entries is under way.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&self.mode, Mode::Replicate(window) if window.sent.is_empty())
    }

    /// Whether it durably holds the leader's log up to `last`.
    pub(crate) fn holds_all(&self, last: LogIndex) -> bool {
        matches!(self.mode, Mode::Replicate(_)) && self.match_index >= last
    }

    /// Goes on with the rounds of a learner that is to vote, while the leader's log ends at `last`.
    /// A round that took no longer than `short` shows that it would not hold up commits. Whether
    /// there is still hope: not when rounds get no shorter, or one lasts for `long` and longer than
    /// the one before.
    ///
    /// The first round begins once the learner has acknowledged something. So at the end of a round
    /// it holds all that any leader of this term told it when it was a stranger, and is none any
    /// more (pitfall 29).
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
