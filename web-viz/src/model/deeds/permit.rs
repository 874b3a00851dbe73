//! Checks whether an action is possible now, and gives the reason if not.

use raft_core::event::RoleName;
use raft_core::types::NodeId;
use raft_core::view::DiskHealth;

use crate::domain::deeds::{ClockDeed, Deed, DiskDeed, LinkDeed, MemberDeed};
use crate::domain::known::Presence;
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
    pub(crate) fn permits(&self, deed: Deed) -> Permit {
        match self.source {
            SourceKind::Simulate => self.simulation_permits(deed),
            SourceKind::Live => self.live_permits(deed),
            SourceKind::Replay => Err(crate::domain::deeds::RECORDED.to_owned()),
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

    fn simulation_permits(&self, deed: Deed) -> Permit {
        match deed {
            Deed::Crash(node) => {
                let down = self.present().presence(node) == Presence::Down;
                unless(down, format!("{node} is down already."))
            }
            Deed::Restart(node) => {
                unless(
                    self.present().presence(node) != Presence::Down,
                    format!("{node} is running."),
                )?;
                let why = format!("A checksum on the disk of {node} is wrong. Wipe it first.");
                unless(self.conditions.disk(node).damaged, why)
            }
            Deed::Freeze(node) => self.require_up(node),
            Deed::Thaw(node) => {
                let frozen = self.present().presence(node) == Presence::Frozen;
                unless(!frozen, format!("{node} is not frozen."))
            }
            Deed::Elect(node) => {
                self.require_up(node)?;
                let leads =
                    self.present().node(node).is_some_and(|known| known.role == RoleName::Leader);
                unless(leads, format!("{node} leads already."))
            }
            Deed::Isolate(_) | Deed::SplitLeader if self.present().roster.len() < 2 => {
                Err("There is no other server to cut it off from.".to_owned())
            }
            Deed::Isolate(node) => {
                let cut = self.present().isolated(node);
                unless(cut, format!("{node} is cut off already. Mend the links first."))
            }
            Deed::Partition(groups) => {
                let alone = groups.sets().len() < 2;
                unless(alone, "There is no server left to cut them off from.")?;
                let apart = groups.are_apart(self.present());
                unless(apart, "They are cut off already. Mend the links first.")
            }
            Deed::SplitLeader => unless(self.present().leader().is_none(), NOBODY_LEADS),
            Deed::Heal => {
                let well = self.present().view.cut_links.is_empty() && !self.conditions.disturbed();
                unless(well, "No link is cut.")
            }
            Deed::Link(from, to, deed) => self.link_permits(from, to, deed),
            Deed::Disk(node, deed) => self.disk_permits(node, deed),
            Deed::Clock(node, ClockDeed::Rate(rate)) => {
                let same = self.conditions.rate(node) == rate;
                unless(same, format!("The clock of {node} runs at that rate already."))
            }
            Deed::Member(deed) => self.members_permit(deed),
            // Only the simulation knows about messages that no event reported. Here they count as
            // ended.
            Deed::Message(message, _) => {
                let flight = self.known.view.messages.get(&message);
                let ended = flight.is_none_or(|flight| flight.end.is_some());
                unless(ended, "This message is no longer in transit.")
            }
            Deed::Clock(_, ClockDeed::Jump(_))
            | Deed::Loss(_)
            | Deed::Repeat(_)
            | Deed::Overtake(_)
            | Deed::Delay(_)
            | Deed::Sync(_) => Ok(()),
        }
    }

    fn require_up(&self, node: NodeId) -> Permit {
        let up = self.present().presence(node) == Presence::Up;
        unless(!up, format!("{node} is not running."))
    }

    fn link_permits(&self, from: NodeId, to: NodeId, deed: LinkDeed) -> Permit {
        let cut = self.present().view.cut_links.contains(&(from, to));
        let slow = self.conditions.slow_links.contains(&(from, to));
        match deed {
            LinkDeed::Cut => unless(cut, format!("The link from {from} to {to} is cut already.")),
            LinkDeed::Mend => unless(!cut, format!("The link from {from} to {to} is not cut.")),
            LinkDeed::Slow => {
                unless(slow, format!("The link from {from} to {to} is slow already."))
            }
            LinkDeed::Quicken => {
                unless(!slow, format!("The link from {from} to {to} is not slow."))
            }
        }
    }

    fn disk_permits(&self, node: NodeId, deed: DiskDeed) -> Permit {
        let disk = self.conditions.disk(node);
        let down = self.present().presence(node) == Presence::Down;
        match deed {
            DiskDeed::Stall => {
                unless(disk.stalled, format!("The disk of {node} is stalled already."))
            }
            DiskDeed::Mend => {
                let well = !disk.stalled && !disk.fails;
                unless(well, format!("The disk of {node} has no fault."))
            }
            DiskDeed::Fill => Err("Simulated disks are never full. Disks of a live cluster that \
                                   `glassraft demo` started can be."
                .to_owned()),
            DiskDeed::Slow => unless(disk.slow, format!("The disk of {node} is slow already.")),
            DiskDeed::Quicken => unless(!disk.slow, format!("The disk of {node} is not slow.")),
            DiskDeed::Tear | DiskDeed::FailWrite | DiskDeed::FailSnapshot => {
                unless(down, format!("{node} is down, so it writes nothing."))
            }
            DiskDeed::FlipBit => {
                let empty = self.present().node(node).is_none_or(|node| node.durable_index.0 == 0);
                unless(empty, format!("The disk of {node} holds no entry yet."))
            }
            DiskDeed::Wipe => unless(!down, format!("{node} is running. Crash it first.")),
        }
    }

    fn members_permit(&self, deed: MemberDeed) -> Permit {
        if let MemberDeed::Snapshot(node) = deed {
            self.require_up(node)?;
            let fresh =
                self.present().node(node).is_some_and(|node| node.last_applied <= node.base.index);
            return unless(fresh, format!("{node} has applied nothing since its last snapshot."));
        }
        let Some(leader) = self.present().leader() else { return Err(NOBODY_LEADS.to_owned()) };
        let members = self.present().membership().cloned().unwrap_or_default();
        match deed {
            MemberDeed::AddVoter | MemberDeed::AddLearner => {
                let most = SimSetup::MOST;
                unless(
                    self.free_number().is_none(),
                    format!("The page shows at most {most} servers."),
                )
            }
            MemberDeed::Promote(node) => {
                unless(!members.learners.contains(&node), format!("{node} is not a learner."))
            }
            MemberDeed::Remove(node) => {
                unless(!members.contains(node), format!("{node} is not a member."))?;
                let last = members.voters.len() == 1 && members.voters.contains(&node);
                unless(last, "The last voter cannot be removed.")
            }
            MemberDeed::Transfer(node) => {
                unless(node == leader, format!("{node} leads already."))?;
                unless(!members.is_voter(node), format!("{node} does not vote, so it cannot lead."))
            }
            MemberDeed::Snapshot(_) => Ok(()),
        }
    }

    /// Checks whether the supervisor of a live cluster can carry out the action.
    fn live_permits(&self, deed: Deed) -> Permit {
        let asked = deed == Deed::SplitLeader || self.order(deed).is_some();
        let several = matches!(deed, Deed::Partition(groups) if groups.sets().len() > 2);
        unless(
            several,
            "One cut separates real servers into two groups. Cut again for a third group.",
        )?;
        unless(!asked, ONLY_SIMULATED)?;
        unless(!self.live.is_supervised(), NO_SUPERVISOR)?;
        if deed == Deed::Heal {
            let ill = self.live.ails_anything() || !self.present().view.cut_links.is_empty();
            return unless(!ill, "No link is cut and no disk has a fault.");
        }
        let Deed::Disk(node, disk) = deed else { return self.simulation_permits(deed) };
        let (is, why) = match disk {
            DiskDeed::Stall => (DiskHealth::Stalled, "is stalled already."),
            DiskDeed::Fill => (DiskHealth::Full, "is full already."),
            DiskDeed::Mend
            | DiskDeed::Slow
            | DiskDeed::Quicken
            | DiskDeed::FailWrite
            | DiskDeed::FailSnapshot
            | DiskDeed::Tear
            | DiskDeed::FlipBit
            | DiskDeed::Wipe => (DiskHealth::Well, "works."),
        };
        unless(self.disk(node) == is, format!("The disk of {node} {why}"))
    }
}
