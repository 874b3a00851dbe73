//! The configurations in a server's log. The latest is in force, committed or not (§6).

use crate::log::{Entry, Payload};
use crate::membership::Membership;
use crate::types::LogIndex;

#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    /// The configuration at the compaction point, or before the first entry.
    base: (LogIndex, Membership),
    /// The configurations in the log after `base`, oldest first.
    later: Vec<(LogIndex, Membership)>,
}

impl Configurations {
    /// Collects the configurations in the log after `index`, where `base` was in force.
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

    /// The configuration in force.
    pub(crate) fn current(&self) -> &Membership {
        self.later.last().map_or(&self.base.1, |(_, membership)| membership)
    }

    /// The log index of the configuration in force.
    pub(crate) fn index(&self) -> LogIndex {
        self.later.last().map_or(self.base.0, |(index, _)| *index)
    }

    /// The configuration that was in force when the entry at `index` was applied.
    pub(crate) fn at(&self, index: LogIndex) -> &Membership {
        let until = self.later.partition_point(|(own, _)| *own <= index);
        until.checked_sub(1).map_or(&self.base.1, |last| &self.later[last].1)
    }

    pub(crate) fn append(&mut self, index: LogIndex, membership: Membership) {
        self.later.push((index, membership));
    }

    /// Removes the configurations from `from` on. Returns whether there were any: then an earlier
    /// configuration is in force again.
    pub(crate) fn truncate(&mut self, from: LogIndex) -> bool {
        let kept = self.later.partition_point(|(index, _)| *index < from);
        let rolled_back = kept < self.later.len();
        self.later.truncate(kept);
        rolled_back
    }

    /// Removes the configurations before the one in force at `to`.
    pub(crate) fn compact(&mut self, to: LogIndex) {
        if to > self.base.0 {
            self.base = (to, self.at(to).clone());
            self.later.retain(|(index, _)| *index > to);
        }
    }

    /// Replaces all configurations up to `index` with a snapshot's. Later ones stay only if their
    /// log stays.
    pub(crate) fn install(&mut self, index: LogIndex, membership: Membership, keep_later: bool) {
        self.base = (index, membership);
        self.later.retain(|(own, _)| keep_later && *own > index);
    }

    /// The configurations in `(from, to]`, to report that they are committed.
    pub(crate) fn between(
        &self,
        from: LogIndex,
        to: LogIndex,
    ) -> impl Iterator<Item = &(LogIndex, Membership)> {
        self.later.iter().filter(move |(index, _)| *index > from && *index <= to)
    }
}
