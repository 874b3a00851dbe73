//! The state of the log without its entries: the result of all writes so far.

use raft_core::durable::{HardState, Write};
use raft_core::types::{LogIndex, LogPosition, Term};
use serde::{Deserialize, Serialize};

/// The result of a sequence of [`Write`]s, except for the payloads of the entries.
///
/// Each segment starts with the state at that point, so earlier segments are needed only for their
/// entries. The writer and recovery compute the state with the same code, and recovery compares the
/// results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    pub(crate) hard_state: HardState,
    /// The position before the first entry of the log.
    pub(crate) base: LogPosition,
    /// The last index; the base's index if there are no entries.
    last_index: LogIndex,
    pub(crate) commit_index: LogIndex,
    /// The terms of the entries after the base. Each run ends where the next run begins.
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: LogIndex,
    term: Term,
}

/// The effect of a write on existing entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Entries after this index were removed.
    pub(crate) kept_to: LogIndex,
    /// All entries were removed: a snapshot replaced a log that did not contain its position.
    pub(crate) reset: bool,
}

impl LogState {
    /// The last position.
    pub(crate) fn last(&self) -> LogPosition {
        let term = self.runs.last().map_or(self.base.term, |run| run.term);
        LogPosition { term, index: self.last_index }
    }

    /// The term of the entry at `index`; `None` if the entry does not exist or was compacted.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last_index {
            return None;
        }
        let after = self.runs.partition_point(|run| run.first <= index);
        self.runs.get(after.checked_sub(1)?).map(|run| run.term)
    }

    /// An upper bound for the size of a segment's head with this state, without the cluster's name.
    /// No number takes more than 9 bytes.
    pub(crate) fn max_head_bytes(&self) -> u64 {
        256 + 18 * self.runs.len() as u64
    }

    /// Applies a write. After an error the state is undefined, and the caller stops.
    pub(crate) fn apply(&mut self, write: &Write) -> Result<Effect, String> {
        if write.hard_state.current_term < self.hard_state.current_term {
            return Err(format!(
                "the term goes back from {} to {}",
                self.hard_state.current_term, write.hard_state.current_term
            ));
        }
        self.hard_state = write.hard_state;
        if let Some(from) = write.truncate_from {
            self.truncate(from)?;
        }
        let kept_to = self.last_index;
        let reset = write.compact_to.is_some_and(|to| self.compact(to));
        for entry in &write.entries {
            self.append(entry.position())?;
        }
        if write.commit_index > self.last_index {
            return Err(format!(
                "entry {} is committed, but the log ends at {}",
                write.commit_index, self.last_index
            ));
        }
        self.commit_index = self.commit_index.max(write.commit_index);
        Ok(Effect { kept_to, reset })
    }

    fn truncate(&mut self, from: LogIndex) -> Result<(), String> {
        if from <= self.base.index {
            return Err(format!("entry {from} is truncated, but a snapshot covers it"));
        }
        if from <= self.last_index {
            self.last_index = from.previous();
            while self.runs.pop_if(|run| run.first >= from).is_some() {}
        }
        Ok(())
    }

    /// Compacts the log; returns whether all entries were removed.
    fn compact(&mut self, to: LogPosition) -> bool {
        if to.index <= self.base.index {
            return false;
        }
        let held = self.term_at(to.index) == Some(to.term);
        if held {
            let first = to.index.next();
            let after = self.runs.partition_point(|run| run.first <= first);
            let current = after.saturating_sub(1);
            self.runs.drain(..current);
            if let Some(run) = self.runs.first_mut() {
                run.first = run.first.max(first);
            }
            while self.runs.pop_if(|run| run.first > self.last_index).is_some() {}
        } else {
            self.runs.clear();
            self.last_index = to.index;
        }
        self.base = to;
        !held
    }

    fn append(&mut self, position: LogPosition) -> Result<(), String> {
        let last = self.last();
        if position.index != last.index.next() || position.term < last.term {
            return Err(format!("entry {position} does not follow entry {last}"));
        }
        if self.runs.last().is_none_or(|run| run.term != position.term) {
            self.runs.push(Run { first: position.index, term: position.term });
        }
        self.last_index = position.index;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use raft_core::log::{Entries, Entry, Log, Payload};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append { terms: Vec<u64> },
        Truncate { back: u64 },
        Compact { forward: u64, other_term: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(0_u64..2, 0..5).prop_map(|terms| Step::Append { terms }),
            (0_u64..6).prop_map(|back| Step::Truncate { back }),
            (0_u64..8, any::<bool>())
                .prop_map(|(forward, other_term)| Step::Compact { forward, other_term }),
        ]
    }

    fn write_of(step: &Step, log: &Log) -> Write {
        let mut write = Write {
            id: 0.into(),
            hard_state: HardState::default(),
            truncate_from: None,
            compact_to: None,
            entries: Entries::default(),
            commit_index: LogIndex(0),
        };
        match step {
            Step::Append { terms } => {
                let mut last = log.last();
                let appended = terms.iter().map(|more| {
                    last = LogPosition::new(last.term.0 + more, last.index.0 + 1);
                    let payload = Payload::Command(Bytes::new());
                    Entry { index: last.index, term: last.term, payload }
                });
                write.entries = appended.collect();
            }
            Step::Truncate { back } => {
                let from = log.last().index.0.saturating_sub(*back).max(log.base().index.0 + 1);
                write.truncate_from = Some(LogIndex(from));
            }
            Step::Compact { forward, other_term } => {
                let index = LogIndex(log.base().index.0 + forward);
                let term = log.term_at(index).unwrap_or(log.last().term);
                let term = if *other_term { Term(term.0 + 1) } else { term };
                write.compact_to = Some(LogPosition { term, index });
            }
        }
        write
    }

    proptest! {
        /// Guards that the terms here match the core's log, which keeps every entry.
        #[test]
        fn the_state_knows_the_same_terms_as_the_log(
            steps in prop::collection::vec(step(), 0..40)
        ) {
            let (mut log, mut state) = (Log::default(), LogState::default());
            for step in steps {
                let write = write_of(&step, &log);
                state.apply(&write).expect("the write follows");
                write.truncate_from.into_iter().for_each(|from| log.truncate(from));
                write.compact_to.into_iter().for_each(|to| log.compact(to));
                log.extend(write.entries);
                prop_assert_eq!(state.last(), log.last());
                prop_assert_eq!(state.base, log.base());
                for index in 0..log.last().index.0 + 2 {
                    prop_assert_eq!(state.term_at(LogIndex(index)), log.term_at(LogIndex(index)));
                }
            }
        }
    }
}
