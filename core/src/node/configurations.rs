//! The configurations that a server's log tells of: the latest one holds, committed or not (§6).

use crate::log::{Entry, Payload};
use crate::membership::Membership;
use crate::types::LogIndex;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    /// The configuration at the compaction point, or before the first entry.
    base: (LogIndex, Membership),
    /// Those in the log after it, oldest first.
    later: Vec<(LogIndex, Membership)>,
}

impl Configurations {
    /// What the log says after the state up to `index`, where `base` was in force.
    pub(crate) fn new<'a>(
        index: LogIndex,
        base: Membership,
        log: impl Iterator<Item = &'a Entry>,
    ) -> Self {
        let mut configurations = Self { base: (index, base), later: Vec::new() };
        for entry in log.filter(|entry| entry.index > index) {
            if let Payload::Membership(membership) = &entry.payload {
                configurations.append(entry.index, Membership::clone(membership));
            }
        }
        configurations
    }

    /// The one in force.
    pub(crate) fn current(&self) -> &Membership {
        self.later.last().map_or(&self.base.1, |(_, membership)| membership)
    }

    /// Where the one in force stands in the log.
    pub(crate) fn index(&self) -> LogIndex {
        self.later.last().map_or(self.base.0, |(index, _)| *index)
    }

    /// The one that was in force when the entry at `index` was applied.
    pub(crate) fn at(&self, index: LogIndex) -> &Membership {
        let until = self.later.partition_point(|(own, _)| *own <= index);
        until.checked_sub(1).map_or(&self.base.1, |last| &self.later[last].1)
    }

    pub(crate) fn append(&mut self, index: LogIndex, membership: Membership) {
        self.later.push((index, membership));
    }

    /// Forgets the configurations from `from` on. Whether there were any: then an earlier one holds
    /// again.
    pub(crate) fn truncate(&mut self, from: LogIndex) -> bool {
        let kept = self.later.partition_point(|(index, _)| *index < from);
        let rolled_back = kept < self.later.len();
        self.later.truncate(kept);
        rolled_back
    }

    /// The log up to `to` is forgotten.
    pub(crate) fn compact(&mut self, to: LogIndex) {
        if to > self.base.0 {
            self.base = (to, self.at(to).clone());
            self.later.retain(|(index, _)| *index > to);
        }
    }

    /// A snapshot replaces everything up to `index`; what comes after it stays only with its log.
    pub(crate) fn install(&mut self, index: LogIndex, membership: Membership, keep_later: bool) {
        self.base = (index, membership);
        self.later.retain(|(own, _)| keep_later && *own > index);
    }

    /// The configurations in `(from, to]`, for telling that they are committed.
    pub(crate) fn between(
        &self,
        from: LogIndex,
        to: LogIndex,
    ) -> impl Iterator<Item = &(LogIndex, Membership)> {
        self.later.iter().filter(move |(index, _)| *index > from && *index <= to)
    }
}
