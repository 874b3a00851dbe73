//! What a leader knows of one follower, and how it sends to it.

use std::collections::VecDeque;

use crate::event::{ProgressMode, ProgressState};
use crate::message::Cursor;
use crate::types::{LogIndex, LogPosition, Time};

/// See the module.
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
    /// The highest index that it was told of before its first answer. A stranger is one until it
    /// holds that much (pitfall 29).
    pub(crate) greeted_with: LogIndex,
}

/// How a leader sends to a follower.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// It is not known where the logs agree: one message at a time.
    Probe {
        /// The last index of that message while it is not answered; a heartbeat clears it, for it
        /// may be lost.
        in_flight: Option<LogIndex>,
    },
    /// They agree up to `next_index`: messages follow each other without waiting.
    Replicate {
        /// The last index of each message with entries that is not answered.
        in_flight: VecDeque<LogIndex>,
    },
    /// The follower needs entries that were compacted away (§7).
    Snapshot(Transfer),
    /// The follower lacks what it had acknowledged as durable. It gets heartbeats and counts for
    /// nothing.
    Lost,
}

/// A snapshot on its way.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    /// Which state; `None` until the first chunk is chosen.
    pub(crate) last: Option<LogPosition>,
    /// Where the chunk that is under way starts.
    pub(crate) cursor: Cursor,
    /// When it was sent.
    pub(crate) sent_at: Time,
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
            greeted_with: last,
        }
    }

    /// Takes in, in this round, that the follower durably holds the leader's log up to `index`.
    /// Whether that is news.
    pub(crate) fn matched(&mut self, index: LogIndex, round: u64) -> bool {
        if matches!(self.mode, Mode::Lost) {
            return false;
        }
        let news = index > self.match_index;
        if news {
            self.matched_round = round;
        }
        self.match_index = self.match_index.max(index);
        self.next_index = self.next_index.max(self.match_index.next());
        match &mut self.mode {
            Mode::Probe { in_flight } => {
                self.next_index = self.match_index.next();
                // Where the logs agree is known. But a follower that took nothing of what it was
                // sent has no room for more now: it is asked again with the next heartbeat.
                if !news && in_flight.is_some_and(|last| index < last) {
                    return false;
                }
                self.mode = Mode::Replicate { in_flight: VecDeque::new() };
                true
            }
            Mode::Replicate { in_flight } => {
                while in_flight.front().is_some_and(|last| *last <= index) {
                    in_flight.pop_front();
                }
                news
            }
            Mode::Snapshot(transfer) => {
                if transfer.last.is_some_and(|last| last.index <= index) {
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
            Mode::Probe { .. } => rejected.next() == self.next_index,
            Mode::Replicate { .. } => rejected > self.match_index,
            Mode::Snapshot(_) | Mode::Lost => false,
        };
        if stands {
            let next = candidate.next().min(rejected).max(LogIndex(1));
            self.next_index = next.max(self.match_index.next());
            self.mode = Mode::Probe { in_flight: None };
        }
        stands
    }

    /// Whether another message with entries may be sent now.
    pub(crate) fn has_room(&self, max_in_flight: usize) -> bool {
        match &self.mode {
            Mode::Probe { in_flight } => in_flight.is_none(),
            Mode::Replicate { in_flight } => in_flight.len() < max_in_flight,
            Mode::Snapshot(_) | Mode::Lost => false,
        }
    }

    /// Takes in that entries up to `last` were sent.
    pub(crate) fn sent(&mut self, last: LogIndex) {
        match &mut self.mode {
            Mode::Probe { in_flight } => *in_flight = Some(last),
            Mode::Replicate { in_flight } => {
                in_flight.push_back(last);
                self.next_index = last.next();
            }
            Mode::Snapshot(_) | Mode::Lost => {}
        }
    }

    /// Something on its way may be lost: begin anew after what is known to be there.
    pub(crate) fn doubt(&mut self) {
        if matches!(&self.mode, Mode::Replicate { in_flight } if !in_flight.is_empty()) {
            self.next_index = self.match_index.next();
            self.mode = Mode::Probe { in_flight: None };
        }
    }

    /// Whether no message with entries is under way.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&self.mode, Mode::Replicate { in_flight } if in_flight.is_empty())
    }

    pub(crate) fn state(&self) -> ProgressState {
        let (mode, in_flight) = match &self.mode {
            Mode::Probe { in_flight } => (ProgressMode::Probe, usize::from(in_flight.is_some())),
            Mode::Replicate { in_flight } => (ProgressMode::Replicate, in_flight.len()),
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
