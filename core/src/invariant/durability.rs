//! Durability: every server that is counted for a commit holds the entry durably (figure 2, §5.3).

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::event::{CommitReason, Event, EventKind, Fault};
use crate::types::{LogIndex, NodeId};

#[derive(Clone, Debug, Default)]
pub(super) struct Durability {
    /// The last durable index of each server, running or not.
    durable: BTreeMap<NodeId, LogIndex>,
    /// Servers whose disk was wiped or damaged. Their earlier acknowledgements may still be
    /// counted. They do not vote until they have joined again, so no election can miss what they
    /// held.
    forgetful: BTreeSet<NodeId>,
}

impl Durability {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let node = event.id.node;
        match &event.kind {
            EventKind::Started(state) => {
                self.durable.insert(node, state.durable_index);
            }
            EventKind::WritePersisted { durable_index, .. } => {
                self.durable.insert(node, *durable_index);
            }
            EventKind::LogTruncated { last, .. } => {
                let durable = self.durable.entry(node).or_default();
                *durable = (*durable).min(last.index);
            }
            EventKind::SnapshotInstalled { meta, .. } => {
                let durable = self.durable.entry(node).or_default();
                *durable = (*durable).max(meta.last.index);
            }
            EventKind::Fault(Fault::Wiped { node } | Fault::BitFlipped { node }) => {
                self.forgetful.insert(*node);
            }
            EventKind::CommitAdvanced { to, why: CommitReason::Majority(proof), .. } => {
                return self.counted(node, *to, proof);
            }
            _ => {}
        }
        Ok(())
    }

    fn counted(&self, leader: NodeId, to: LogIndex, proof: &[(NodeId, LogIndex)]) -> Verdict {
        for (voter, _) in proof.iter().filter(|(_, index)| *index >= to) {
            let durable = self.durable.get(voter).copied().unwrap_or_default();
            if durable < to && !self.forgetful.contains(voter) {
                let explanation = format!(
                    "{leader} commits index {to} and counts {voter}, whose disk holds its log \
                     only up to index {durable}"
                );
                return Err((explanation, Vec::new()));
            }
        }
        Ok(())
    }
}
