//! Checks whether an action is possible now, and gives the reason if not.

use raft_core::event::RoleName;
use raft_core::types::NodeId;
use raft_core::view::DiskHealth;

use crate::domain::actions::{ClockAction, ClusterAction, DiskAction, LinkAction, MemberAction};
use crate::domain::cluster::Presence;
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::model::Model;

/// The reason for a live cluster that the demo did not start.
const NO_SUPERVISOR: &str = "The page can disturb only servers that `glassraft demo` started.";

/// The reason for actions that only the simulation supports.
const ONLY_SIMULATED: &str =
    "This works only on a simulated cluster. Switch to Simulate to try it.";

const NOBODY_LEADS: &str = "There is no leader now.";

type Permit = Result<(), String>;

fn unless(wrong: bool, why: impl Into<String>) -> Permit {
    if wrong { Err(why.into()) } else { Ok(()) }
}

impl Model {
    /// Checks whether an action is possible now, and gives the reason if not.
    pub(crate) fn permits(&self, action: ClusterAction) -> Permit {
        match self.source {
            SourceKind::Simulate => self.simulation_permits(action),
            SourceKind::Live => self.live_permits(action),
            SourceKind::Replay => Err(crate::domain::actions::RECORDED.to_owned()),
        }
    }

    /// Checks whether the speed can be changed, and gives the reason if not.
    pub(crate) fn permits_pacing(&self) -> Permit {
        match self.source {
            SourceKind::Simulate | SourceKind::Replay => Ok(()),
            SourceKind::Live if self.in_the_past() => Ok(()),
            SourceKind::Live => Err(
                "A live cluster runs at its own speed. To play its past at any speed, pause or go \
                 back."
                    .to_owned(),
            ),
        }
    }

    fn simulation_permits(&self, action: ClusterAction) -> Permit {
        match action {
            ClusterAction::Crash(node) => {
                let down = self.present().presence(node) == Presence::Down;
                unless(down, format!("{node} is down already."))
            }
            ClusterAction::Restart(node) => {
                unless(
                    self.present().presence(node) != Presence::Down,
                    format!("{node} is running."),
                )?;
                let why = format!("A checksum on the disk of {node} is wrong. Wipe it first.");
                unless(self.conditions.disk(node).damaged, why)
            }
            ClusterAction::Freeze(node) => self.require_up(node),
            ClusterAction::Thaw(node) => {
                let frozen = self.present().presence(node) == Presence::Frozen;
                unless(!frozen, format!("{node} is not frozen."))
            }
            ClusterAction::Elect(node) => {
                self.require_up(node)?;
                let leads =
                    self.present().node(node).is_some_and(|view| view.role == RoleName::Leader);
                unless(leads, format!("{node} leads already."))
            }
            ClusterAction::Isolate(_) | ClusterAction::SplitLeader
                if self.present().roster.len() < 2 =>
            {
                Err("There is no other server to cut it off from.".to_owned())
            }
            ClusterAction::Isolate(node) => {
                let cut = self.present().isolated(node);
                unless(cut, format!("{node} is cut off already. Mend the links first."))
            }
            ClusterAction::Partition(groups) => {
                let alone = groups.sets().len() < 2;
                unless(alone, "There is no server left to cut them off from.")?;
                let apart = groups.are_apart(self.present());
                unless(apart, "They are cut off already. Mend the links first.")
            }
            ClusterAction::SplitLeader => unless(self.present().leader().is_none(), NOBODY_LEADS),
            ClusterAction::Heal => {
                let well = self.present().view.cut_links.is_empty() && !self.conditions.disturbed();
                unless(well, "No link is cut.")
            }
            ClusterAction::Link(from, to, action) => self.link_permits(from, to, action),
            ClusterAction::Disk(node, action) => self.disk_permits(node, action),
            ClusterAction::Clock(node, ClockAction::Rate(rate)) => {
                let same = self.conditions.rate(node) == rate;
                unless(same, format!("The clock of {node} runs at that rate already."))
            }
            ClusterAction::Member(action) => self.members_permit(action),
            // Only the simulation knows about messages that no event reported. Here they count as
            // ended.
            ClusterAction::Message(message, _) => {
                let flight = self.cluster.view.messages.get(&message);
                let ended = flight.is_none_or(|flight| flight.end.is_some());
                unless(ended, "This message is no longer in transit.")
            }
            ClusterAction::Clock(_, ClockAction::Jump(_))
            | ClusterAction::Loss(_)
            | ClusterAction::Repeat(_)
            | ClusterAction::Overtake(_)
            | ClusterAction::Delay(_)
            | ClusterAction::Sync(_) => Ok(()),
        }
    }

    fn require_up(&self, node: NodeId) -> Permit {
        let up = self.present().presence(node) == Presence::Up;
        unless(!up, format!("{node} is not running."))
    }

    fn link_permits(&self, from: NodeId, to: NodeId, action: LinkAction) -> Permit {
        let cut = self.present().view.cut_links.contains(&(from, to));
        let slow = self.conditions.slow_links.contains(&(from, to));
        match action {
            LinkAction::Cut => unless(cut, format!("The link from {from} to {to} is cut already.")),
            LinkAction::Mend => unless(!cut, format!("The link from {from} to {to} is not cut.")),
            LinkAction::Slow => {
                unless(slow, format!("The link from {from} to {to} is slow already."))
            }
            LinkAction::Quicken => {
                unless(!slow, format!("The link from {from} to {to} is not slow."))
            }
        }
    }

    fn disk_permits(&self, node: NodeId, action: DiskAction) -> Permit {
        let disk = self.conditions.disk(node);
        let down = self.present().presence(node) == Presence::Down;
        match action {
            DiskAction::Stall => {
                unless(disk.stalled, format!("The disk of {node} is stalled already."))
            }
            DiskAction::Mend => {
                let well = !disk.stalled && !disk.fails;
                unless(well, format!("The disk of {node} has no fault."))
            }
            DiskAction::Fill => {
                Err("Simulated disks are never full. Disks of a live cluster that \
                                   `glassraft demo` started can be."
                    .to_owned())
            }
            DiskAction::Slow => unless(disk.slow, format!("The disk of {node} is slow already.")),
            DiskAction::Quicken => unless(!disk.slow, format!("The disk of {node} is not slow.")),
            DiskAction::Tear | DiskAction::FailWrite | DiskAction::FailSnapshot => {
                unless(down, format!("{node} is down, so it writes nothing."))
            }
            DiskAction::FlipBit => {
                let empty = self.present().node(node).is_none_or(|node| node.durable_index.0 == 0);
                unless(empty, format!("The disk of {node} holds no entry yet."))
            }
            DiskAction::Wipe => unless(!down, format!("{node} is running. Crash it first.")),
        }
    }

    fn members_permit(&self, action: MemberAction) -> Permit {
        if let MemberAction::Snapshot(node) = action {
            self.require_up(node)?;
            let fresh =
                self.present().node(node).is_some_and(|node| node.last_applied <= node.base.index);
            return unless(fresh, format!("{node} has applied nothing since its last snapshot."));
        }
        let Some(leader) = self.present().leader() else { return Err(NOBODY_LEADS.to_owned()) };
        let members = self.present().membership().cloned().unwrap_or_default();
        match action {
            MemberAction::AddVoter | MemberAction::AddLearner => {
                let most = SimSetup::MOST;
                unless(
                    self.free_number().is_none(),
                    format!("The page shows at most {most} servers."),
                )
            }
            MemberAction::Promote(node) => {
                unless(!members.learners.contains(&node), format!("{node} is not a learner."))
            }
            MemberAction::Remove(node) => {
                unless(!members.contains(node), format!("{node} is not a member."))?;
                let last = members.voters.len() == 1 && members.voters.contains(&node);
                unless(last, "The last voter cannot be removed.")
            }
            MemberAction::Transfer(node) => {
                unless(node == leader, format!("{node} leads already."))?;
                unless(!members.is_voter(node), format!("{node} does not vote, so it cannot lead."))
            }
            MemberAction::Snapshot(_) => Ok(()),
        }
    }

    /// Checks whether the supervisor of a live cluster can carry out the action.
    fn live_permits(&self, action: ClusterAction) -> Permit {
        let asked = action == ClusterAction::SplitLeader || self.demo_action(action).is_some();
        let several = matches!(action, ClusterAction::Partition(groups) if groups.sets().len() > 2);
        unless(
            several,
            "One cut separates real servers into two groups. Cut again for a third group.",
        )?;
        unless(!asked, ONLY_SIMULATED)?;
        unless(!self.live.is_supervised(), NO_SUPERVISOR)?;
        if action == ClusterAction::Heal {
            let ill = self.live.ails_anything() || !self.present().view.cut_links.is_empty();
            return unless(!ill, "No link is cut and no disk has a fault.");
        }
        let ClusterAction::Disk(node, disk) = action else {
            return self.simulation_permits(action);
        };
        let (is, why) = match disk {
            DiskAction::Stall => (DiskHealth::Stalled, "is stalled already."),
            DiskAction::Fill => (DiskHealth::Full, "is full already."),
            DiskAction::Mend
            | DiskAction::Slow
            | DiskAction::Quicken
            | DiskAction::FailWrite
            | DiskAction::FailSnapshot
            | DiskAction::Tear
            | DiskAction::FlipBit
            | DiskAction::Wipe => (DiskHealth::Well, "works."),
        };
        unless(self.disk(node) == is, format!("The disk of {node} {why}"))
    }
}
