//! The processes, links and disks that the demo's supervisor reports, and the actions that it
//! accepts. Reports become events like those of the simulator. The picture is drawn from events
//! alone, which makes it right in the past too.

use std::collections::{BTreeMap, BTreeSet};

use api::demo::{Action as DemoAction, ProcessAction, ProcessState};
use raft_core::event::{EventKind, Fault};
use raft_core::types::{NodeId, Time};
use raft_core::view::DiskHealth;

use crate::domain::actions::{ClusterAction, DiskAction, LinkAction};
use crate::model::Model;

/// A process of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: NodeId,
    pub(crate) pid: Option<u32>,
    pub(crate) state: ProcessState,
    /// The servers that receive nothing from it.
    pub(crate) cut_to: BTreeSet<NodeId>,
    pub(crate) disk: DiskHealth,
}

/// The demo's measurement of a recovery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FirstWrite {
    /// The server that had the fault.
    pub(crate) node: NodeId,
    /// When the fault happened.
    pub(crate) at: Time,
    /// From the fault to the first acknowledged write, in milliseconds; `None` if there was none in
    /// time.
    pub(crate) after_ms: Option<f64>,
}

impl Model {
    /// The supervisor's form of an action, if there is one.
    pub(in crate::model) fn demo_action(&self, action: ClusterAction) -> Option<DemoAction> {
        let process = |node: NodeId, action| DemoAction::Process(node.0, action);
        let split = |apart: &mut dyn Iterator<Item = NodeId>| {
            DemoAction::Split(apart.map(|node| node.0).collect())
        };
        match action {
            ClusterAction::Crash(node) => Some(process(node, ProcessAction::Kill)),
            ClusterAction::Restart(node) => Some(process(node, ProcessAction::Restart)),
            ClusterAction::Freeze(node) => Some(process(node, ProcessAction::Freeze)),
            ClusterAction::Thaw(node) => Some(process(node, ProcessAction::Resume)),
            ClusterAction::Isolate(node) => Some(DemoAction::Isolate(node.0)),
            ClusterAction::SplitLeader => {
                let leader = self.present().leader()?;
                let others = self.minority_with(leader).into_iter().filter(|it| *it != leader);
                Some(split(&mut std::iter::once(leader).chain(others)))
            }
            ClusterAction::Partition(groups) => {
                // The supervisor cuts one group off from all others: the smaller one.
                let [one, other] = <[BTreeSet<NodeId>; 2]>::try_from(groups.sets()).ok()?;
                let apart = if one.len() > other.len() { other } else { one };
                let leader = self.present().leader().filter(|leader| apart.contains(leader));
                let others = apart.iter().copied().filter(|node| Some(*node) != leader);
                Some(split(&mut leader.into_iter().chain(others)))
            }
            ClusterAction::Heal => Some(DemoAction::HealAll),
            ClusterAction::Link(from, to, LinkAction::Cut) => {
                Some(DemoAction::CutOneWay(from.0, to.0))
            }
            ClusterAction::Link(from, to, LinkAction::Mend) => {
                Some(DemoAction::HealOneWay(from.0, to.0))
            }
            ClusterAction::Disk(node, DiskAction::Stall) => Some(DemoAction::Stall(node.0)),
            ClusterAction::Disk(node, DiskAction::Fill) => Some(DemoAction::Fill(node.0)),
            ClusterAction::Disk(node, DiskAction::Mend) => Some(DemoAction::MendDisk(node.0)),
            ClusterAction::Link(_, _, LinkAction::Slow | LinkAction::Quicken)
            | ClusterAction::Disk(
                _,
                DiskAction::Slow
                | DiskAction::Quicken
                | DiskAction::FailWrite
                | DiskAction::FailSnapshot
                | DiskAction::Tear
                | DiskAction::FlipBit
                | DiskAction::Wipe,
            )
            | ClusterAction::Loss(_)
            | ClusterAction::Repeat(_)
            | ClusterAction::Overtake(_)
            | ClusterAction::Delay(_)
            | ClusterAction::Sync(_)
            | ClusterAction::Elect(_)
            | ClusterAction::Clock(..)
            | ClusterAction::Member(_)
            | ClusterAction::Message(..) => None,
        }
    }
}

/// The changes between two reports of the supervisor, each with its server, or
/// [`NodeId::ENVIRONMENT`] for links and disks.
pub(super) fn changes(
    before: &BTreeMap<NodeId, Process>,
    after: &BTreeMap<NodeId, Process>,
) -> Vec<(NodeId, EventKind)> {
    let mut changes = Vec::new();
    for (node, now) in after {
        let well = Process {
            id: *node,
            pid: now.pid,
            state: ProcessState::Running,
            cut_to: BTreeSet::new(),
            disk: DiskHealth::Well,
        };
        let was = before.get(node).unwrap_or(&well);
        changes.extend(lives(was, now).map(|kind| (*node, kind)));
        let link = |to: &NodeId, up| EventKind::LinkChanged { from: *node, to: *to, up };
        let cut = now.cut_to.difference(&was.cut_to).map(|to| link(to, false));
        let mended = was.cut_to.difference(&now.cut_to).map(|to| link(to, true));
        let disk = (was.disk != now.disk).then(|| disk(*node, now.disk));
        let outside = cut.chain(mended).chain(disk);
        changes.extend(outside.map(|kind| (NodeId::ENVIRONMENT, kind)));
    }
    changes
}

/// The change of a process. A restart needs no event here: the server's own events report it.
fn lives(was: &Process, now: &Process) -> Option<EventKind> {
    match (was.state, now.state) {
        (ProcessState::Running | ProcessState::Frozen, ProcessState::Stopped) => {
            Some(EventKind::Crashed)
        }
        // Another process runs in its place, so its end was missed.
        (ProcessState::Running | ProcessState::Frozen, ProcessState::Running)
            if was.pid != now.pid =>
        {
            Some(EventKind::Crashed)
        }
        (ProcessState::Running | ProcessState::Stopped, ProcessState::Frozen) => {
            Some(EventKind::Frozen)
        }
        (ProcessState::Frozen, ProcessState::Running) => Some(EventKind::Thawed),
        (ProcessState::Running, ProcessState::Running)
        | (ProcessState::Frozen, ProcessState::Frozen)
        | (ProcessState::Stopped, ProcessState::Running | ProcessState::Stopped) => None,
    }
}

const fn disk(node: NodeId, health: DiskHealth) -> EventKind {
    EventKind::Fault(match health {
        DiskHealth::Well => Fault::DiskMended { node },
        DiskHealth::Stalled => Fault::DiskStalled { node },
        DiskHealth::Full => Fault::DiskFull { node },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: u64, pid: Option<u32>, state: ProcessState) -> Process {
        let id = NodeId(id);
        Process { id, pid, state, cut_to: BTreeSet::new(), disk: DiskHealth::Well }
    }

    fn map(processes: &[Process]) -> BTreeMap<NodeId, Process> {
        processes.iter().map(|it| (it.id, it.clone())).collect()
    }

    /// Guards that each change in the supervisor's reports becomes one event.
    #[test]
    fn each_change_becomes_an_event() {
        use ProcessState::{Frozen, Running, Stopped};
        let well = map(&[process(1, Some(9), Running), process(2, Some(8), Running)]);
        assert_eq!(changes(&BTreeMap::new(), &well), []);
        let mut ill = well.clone();
        let first = ill.get_mut(&NodeId(1)).unwrap();
        first.cut_to.insert(NodeId(2));
        first.disk = DiskHealth::Stalled;
        *ill.get_mut(&NodeId(2)).unwrap() = process(2, None, Stopped);
        let cut = EventKind::LinkChanged { from: NodeId(1), to: NodeId(2), up: false };
        let told = changes(&well, &ill);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], (NodeId::ENVIRONMENT, cut));
        assert_eq!(told[2], (NodeId(2), EventKind::Crashed));
        assert_eq!(changes(&ill, &ill), []);
        let healed = changes(&ill, &well);
        let mended = EventKind::Fault(Fault::DiskMended { node: NodeId(1) });
        assert!(healed.contains(&(NodeId::ENVIRONMENT, mended)), "{healed:?}");
        assert_eq!(healed.len(), 2, "that it runs its own events tell: {healed:?}");
        let frozen = map(&[process(1, Some(9), Frozen), process(2, Some(8), Running)]);
        assert_eq!(changes(&well, &frozen), [(NodeId(1), EventKind::Frozen)]);
        assert_eq!(changes(&frozen, &well), [(NodeId(1), EventKind::Thawed)]);
        let anew = map(&[process(1, Some(9), Running), process(2, Some(7), Running)]);
        assert_eq!(changes(&well, &anew), [(NodeId(2), EventKind::Crashed)]);
    }
}
