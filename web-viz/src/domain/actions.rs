//! The actions that a person can take on a cluster. Buttons, keys and gestures all use them.

pub(crate) mod conditions;
mod groups;

use raft_core::types::{EventId, Micros, NodeId};

pub(crate) use groups::Groups;

/// One action of a person on the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterAction {
    Crash(NodeId),
    Restart(NodeId),
    Freeze(NodeId),
    Thaw(NodeId),
    /// Cuts a server off from all others.
    Isolate(NodeId),
    /// Cuts groups of servers off from each other.
    Partition(Groups),
    /// Isolates the leader together with as many servers as still form no majority.
    SplitLeader,
    /// Heals all links: removes all cuts, slow links, loss, duplication and reordering.
    Heal,
    /// The share of messages that are lost, in thousandths.
    Loss(u16),
    /// The share of messages that are duplicated, in thousandths.
    Repeat(u16),
    /// The share of messages that other messages of their link can overtake, in thousandths.
    Overtake(u16),
    /// The midpoint of the message delay range, in µs.
    Delay(Micros),
    /// The midpoint of the disk sync time range of all servers, in µs.
    Sync(Micros),
    /// Fires a server's election timer now.
    Elect(NodeId),
    /// An action on the link from the first server to the second.
    Link(NodeId, NodeId, LinkAction),
    Disk(NodeId, DiskAction),
    Clock(NodeId, ClockAction),
    Member(MemberAction),
    /// An action on a message in flight, by the ID of the flight.
    Message(EventId, MessageAction),
}

/// Actions on one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkAction {
    Cut,
    Mend,
    /// Its messages take several times as long as on other links.
    Slow,
    /// Restores the normal speed.
    Quicken,
}

/// Actions on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskAction {
    /// It completes no more operations.
    Stall,
    /// It works again, and no operation on it is set to fail.
    Mend,
    /// Its syncs take several times as long as on other disks.
    Slow,
    Quicken,
    /// It is full.
    Fill,
    /// The next sync fails.
    FailWrite,
    /// The next snapshot fails to save.
    FailSnapshot,
    /// The power fails in the middle of a record.
    Tear,
    /// One stored bit flips.
    FlipBit,
    /// All its data is erased.
    Wipe,
}

/// Actions on a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockAction {
    /// Its rate from now on: how many of its seconds pass in 1000 real seconds.
    Rate(u32),
    /// It jumps ahead by this many µs.
    Jump(i64),
}

/// Changes of the cluster's membership and leadership. All but `Snapshot` are requests to the
/// leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberAction {
    /// A new server starts, joins as a learner and becomes a voter once it has caught up.
    AddVoter,
    /// A new server starts and joins as a learner.
    AddLearner,
    /// A learner becomes a voter.
    Promote(NodeId),
    Remove(NodeId),
    /// The leader transfers leadership to this server.
    Transfer(NodeId),
    /// This server takes a snapshot and compacts its log.
    Snapshot(NodeId),
}

/// Actions on a message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageAction {
    Drop,
    /// It stays in flight until it is released.
    Hold,
    /// It arrives now.
    Release,
    /// It arrives this many µs later.
    Delay(Micros),
    Duplicate,
}

/// How much a key or button delays a message, in µs.
pub(crate) const LATER: Micros = 50_000;

/// Why a recording permits no actions.
pub(crate) const RECORDED: &str =
    "This is a recording: you can look, but not act. Switch to Simulate to act.";
