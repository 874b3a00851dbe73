//! What a person can do to a cluster, and whether the source permits it at the moment. Whatever is
//! not permitted comes with the reason, which the page shows. Buttons, keys and gestures all come
//! through here.

pub(crate) mod conditions;
mod groups;
mod perform;
mod permit;

use std::collections::BTreeSet;

use raft_core::types::{EventId, Micros, NodeId};
use raft_core::view::DiskHealth;

use super::Model;
use super::known::Presence;
pub(crate) use groups::Groups;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Crash(NodeId),
    Restart(NodeId),
    Freeze(NodeId),
    Thaw(NodeId),
    /// Cuts a server off from all others.
    Isolate(NodeId),
    /// Cuts groups of servers off from each other.
    Partition(Groups),
    /// Cuts the leader and as many others as are still no majority off from the rest.
    SplitLeader,
    /// Mends all links: nothing is cut, slow, lost, repeated or overtaken any more.
    Heal,
    /// Messages lost, in thousandths.
    Loss(u16),
    /// Messages that arrive twice, in thousandths.
    Repeat(u16),
    /// Messages that others of their link may overtake, in thousandths.
    Overtake(u16),
    /// The middle of the range of delays.
    Delay(Micros),
    /// The middle of the range of times that a disk takes for a sync, on all servers.
    Sync(Micros),
    /// Lets a server's election timer run out now.
    Elect(NodeId),
    /// From one server to another.
    Link(NodeId, NodeId, LinkDeed),
    Disk(NodeId, DiskDeed),
    Clock(NodeId, ClockDeed),
    Member(MemberDeed),
    /// To a message on its way, by its name in the air.
    Message(EventId, MessageDeed),
}

/// What can be done to one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkDeed {
    Cut,
    Mend,
    /// Its messages take several times as long as others.
    Slow,
    /// Like all others again.
    Quicken,
}

/// What can be done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskDeed {
    /// It finishes nothing any more.
    Stall,
    /// It goes on, and nothing on it is going to fail.
    Mend,
    /// Its syncs take several times as long as others'.
    Slow,
    Quicken,
    /// It has no room for more.
    Fill,
    /// The next sync fails.
    FailWrite,
    /// The next snapshot cannot be saved.
    FailSnapshot,
    /// The power is cut in the middle of a record.
    Tear,
    /// A bit of what it holds changes.
    FlipBit,
    /// All that it holds is gone.
    Wipe,
}

/// What can be done to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockDeed {
    /// From now on so many of its seconds pass in 1000 true ones.
    Rate(u32),
    /// It jumps ahead by so many µs.
    Jump(i64),
}

/// What can be asked about who belongs to the cluster. The leader is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberDeed {
    /// A new server starts, joins as a learner and votes once it has caught up.
    AddVoter,
    /// A new server starts, and joins as a learner.
    AddLearner,
    /// A learner becomes a voter.
    Promote(NodeId),
    Remove(NodeId),
    /// The leader hands its office to this server.
    Transfer(NodeId),
    /// This server takes a snapshot and shortens its log.
    Snapshot(NodeId),
}

/// What can be done to a message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageDeed {
    Drop,
    /// It stays in the air until it is released.
    Hold,
    /// It arrives now.
    Release,
    /// It arrives so many µs later.
    Delay(Micros),
    Duplicate,
}

/// A message that is delayed by key or button arrives so much later, in µs.
pub(crate) const LATER: Micros = 50_000;

/// Why nothing can be done in a recording.
pub(crate) const RECORDED: &str =
    "This is a recording: one can look at it, but not act. Switch to Simulate to try things.";

impl Model {
    /// What the key X does to a server: it stops one that runs and starts one that does not.
    pub(crate) fn toggle_crash(&self, node: NodeId) -> Deed {
        match self.present().presence(node) {
            Presence::Down => Deed::Restart(node),
            Presence::Up | Presence::Frozen | Presence::Unreachable => Deed::Crash(node),
        }
    }

    /// What the key F does to a server.
    pub(crate) fn toggle_freeze(&self, node: NodeId) -> Deed {
        match self.present().presence(node) {
            Presence::Frozen => Deed::Thaw(node),
            Presence::Up | Presence::Down | Presence::Unreachable => Deed::Freeze(node),
        }
    }

    /// What the key P does: it cuts a server off, or mends the links.
    pub(crate) fn toggle_isolate(&self, node: NodeId) -> Deed {
        if self.present().isolated(node) { Deed::Heal } else { Deed::Isolate(node) }
    }

    /// What the key P does to several servers: it cuts them off from the rest, or mends the links.
    pub(crate) fn toggle_apart(&self, servers: &BTreeSet<NodeId>) -> Deed {
        let groups = Groups::apart(servers, &self.known.roster);
        let parted = groups.sets().len() > 1 && groups.are_apart(&self.known);
        if parted { Deed::Heal } else { Deed::Partition(groups) }
    }

    /// What the key H does to a message.
    pub(crate) fn toggle_hold(&self, message: EventId) -> Deed {
        let held = self.known.view.messages.get(&message).is_some_and(|flight| flight.held);
        Deed::Message(message, if held { MessageDeed::Release } else { MessageDeed::Hold })
    }

    /// What the button for one direction of a link does.
    pub(crate) fn toggle_link(&self, from: NodeId, to: NodeId) -> Deed {
        let cut = self.present().view.cut_links.contains(&(from, to));
        Deed::Link(from, to, if cut { LinkDeed::Mend } else { LinkDeed::Cut })
    }

    /// What the button for a link's speed does.
    pub(crate) fn toggle_slow(&self, from: NodeId, to: NodeId) -> Deed {
        let slow = self.conditions.slow_links.contains(&(from, to));
        Deed::Link(from, to, if slow { LinkDeed::Quicken } else { LinkDeed::Slow })
    }

    /// What the button for a hanging disk does.
    pub(crate) fn toggle_stall(&self, node: NodeId) -> Deed {
        let stalled = self.conditions.disk(node).stalled || self.disk(node) == DiskHealth::Stalled;
        Deed::Disk(node, if stalled { DiskDeed::Mend } else { DiskDeed::Stall })
    }

    /// What was done to a server's disk.
    pub(super) fn disk(&self, node: NodeId) -> DiskHealth {
        self.present().node(node).map(|known| known.disk).unwrap_or_default()
    }

    /// What the button for a slow disk does.
    pub(crate) fn toggle_slow_disk(&self, node: NodeId) -> Deed {
        let slow = self.conditions.disk(node).slow;
        Deed::Disk(node, if slow { DiskDeed::Quicken } else { DiskDeed::Slow })
    }
}
