//! Whether the source permits an action now, and what it does. A refusal carries the reason, which
//! the page shows.

mod perform;
mod permit;

use std::collections::BTreeSet;

use raft_core::types::{EventId, NodeId};
use raft_core::view::DiskHealth;

use super::Model;
use crate::domain::actions::{ClusterAction, DiskAction, Groups, LinkAction, MessageAction};
use crate::domain::cluster::Presence;

impl Model {
    /// The action of the key X on a server: crash it if it runs, restart it if it is down.
    pub(crate) fn toggle_crash(&self, node: NodeId) -> ClusterAction {
        match self.present().presence(node) {
            Presence::Down => ClusterAction::Restart(node),
            Presence::Up | Presence::Frozen | Presence::Unreachable => ClusterAction::Crash(node),
        }
    }

    /// The action of the key F on a server: freeze it, or thaw it.
    pub(crate) fn toggle_freeze(&self, node: NodeId) -> ClusterAction {
        match self.present().presence(node) {
            Presence::Frozen => ClusterAction::Thaw(node),
            Presence::Up | Presence::Down | Presence::Unreachable => ClusterAction::Freeze(node),
        }
    }

    /// The action of the key P on a server: isolate it, or heal the links.
    pub(crate) fn toggle_isolate(&self, node: NodeId) -> ClusterAction {
        if self.present().isolated(node) {
            ClusterAction::Heal
        } else {
            ClusterAction::Isolate(node)
        }
    }

    /// The action of the key P on several servers: cut them off from the rest, or heal the links.
    pub(crate) fn toggle_apart(&self, servers: &BTreeSet<NodeId>) -> ClusterAction {
        let groups = Groups::apart(servers, &self.cluster.roster);
        let parted = groups.sets().len() > 1 && groups.are_apart(&self.cluster);
        if parted { ClusterAction::Heal } else { ClusterAction::Partition(groups) }
    }

    /// The action of the key H on a message: hold it, or release it.
    pub(crate) fn toggle_hold(&self, message: EventId) -> ClusterAction {
        let held = self.cluster.view.messages.get(&message).is_some_and(|flight| flight.held);
        ClusterAction::Message(
            message,
            if held { MessageAction::Release } else { MessageAction::Hold },
        )
    }

    /// The action of the button for one direction of a link: cut it, or mend it.
    pub(crate) fn toggle_link(&self, from: NodeId, to: NodeId) -> ClusterAction {
        let cut = self.present().view.cut_links.contains(&(from, to));
        ClusterAction::Link(from, to, if cut { LinkAction::Mend } else { LinkAction::Cut })
    }

    /// The action of the button for a link's speed.
    pub(crate) fn toggle_slow(&self, from: NodeId, to: NodeId) -> ClusterAction {
        let slow = self.conditions.slow_links.contains(&(from, to));
        ClusterAction::Link(from, to, if slow { LinkAction::Quicken } else { LinkAction::Slow })
    }

    /// The action of the button for a stalled disk.
    pub(crate) fn toggle_stall(&self, node: NodeId) -> ClusterAction {
        let stalled = self.conditions.disk(node).stalled || self.disk(node) == DiskHealth::Stalled;
        ClusterAction::Disk(node, if stalled { DiskAction::Mend } else { DiskAction::Stall })
    }

    /// The health of a server's disk, by the events.
    pub(super) fn disk(&self, node: NodeId) -> DiskHealth {
        self.present().node(node).map(|view| view.disk).unwrap_or_default()
    }

    /// The action of the button for a slow disk.
    pub(crate) fn toggle_slow_disk(&self, node: NodeId) -> ClusterAction {
        let slow = self.conditions.disk(node).slow;
        ClusterAction::Disk(node, if slow { DiskAction::Quicken } else { DiskAction::Slow })
    }
}
