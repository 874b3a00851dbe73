//! Whether the source permits an action now, and what it does. A refusal carries the reason, which
//! the page shows.

mod perform;
mod permit;

use std::collections::BTreeSet;

use raft_core::types::{EventId, NodeId};
use raft_core::view::DiskHealth;

use super::Model;
use crate::domain::deeds::{Deed, DiskDeed, Groups, LinkDeed, MessageDeed};
use crate::domain::known::Presence;

impl Model {
    /// The action of the key X on a server: crash it if it runs, restart it if it is down.
    pub(crate) fn toggle_crash(&self, node: NodeId) -> Deed {
        match self.present().presence(node) {
            Presence::Down => Deed::Restart(node),
            Presence::Up | Presence::Frozen | Presence::Unreachable => Deed::Crash(node),
        }
    }

    /// The action of the key F on a server: freeze it, or thaw it.
    pub(crate) fn toggle_freeze(&self, node: NodeId) -> Deed {
        match self.present().presence(node) {
            Presence::Frozen => Deed::Thaw(node),
            Presence::Up | Presence::Down | Presence::Unreachable => Deed::Freeze(node),
        }
    }

    /// The action of the key P on a server: isolate it, or heal the links.
    pub(crate) fn toggle_isolate(&self, node: NodeId) -> Deed {
        if self.present().isolated(node) { Deed::Heal } else { Deed::Isolate(node) }
    }

    /// The action of the key P on several servers: cut them off from the rest, or heal the links.
    pub(crate) fn toggle_apart(&self, servers: &BTreeSet<NodeId>) -> Deed {
        let groups = Groups::apart(servers, &self.known.roster);
        let parted = groups.sets().len() > 1 && groups.are_apart(&self.known);
        if parted { Deed::Heal } else { Deed::Partition(groups) }
    }

    /// The action of the key H on a message: hold it, or release it.
    pub(crate) fn toggle_hold(&self, message: EventId) -> Deed {
        let held = self.known.view.messages.get(&message).is_some_and(|flight| flight.held);
        Deed::Message(message, if held { MessageDeed::Release } else { MessageDeed::Hold })
    }

    /// The action of the button for one direction of a link: cut it, or mend it.
    pub(crate) fn toggle_link(&self, from: NodeId, to: NodeId) -> Deed {
        let cut = self.present().view.cut_links.contains(&(from, to));
        Deed::Link(from, to, if cut { LinkDeed::Mend } else { LinkDeed::Cut })
    }

    /// The action of the button for a link's speed.
    pub(crate) fn toggle_slow(&self, from: NodeId, to: NodeId) -> Deed {
        let slow = self.conditions.slow_links.contains(&(from, to));
        Deed::Link(from, to, if slow { LinkDeed::Quicken } else { LinkDeed::Slow })
    }

    /// The action of the button for a stalled disk.
    pub(crate) fn toggle_stall(&self, node: NodeId) -> Deed {
        let stalled = self.conditions.disk(node).stalled || self.disk(node) == DiskHealth::Stalled;
        Deed::Disk(node, if stalled { DiskDeed::Mend } else { DiskDeed::Stall })
    }

    /// The health of a server's disk, by the events.
    pub(super) fn disk(&self, node: NodeId) -> DiskHealth {
        self.present().node(node).map(|known| known.disk).unwrap_or_default()
    }

    /// The action of the button for a slow disk.
    pub(crate) fn toggle_slow_disk(&self, node: NodeId) -> Deed {
        let slow = self.conditions.disk(node).slow;
        Deed::Disk(node, if slow { DiskDeed::Quicken } else { DiskDeed::Slow })
    }
}
