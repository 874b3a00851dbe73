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
const NO_SUPERVISOR: &str =
    "Only servers that `glassraft demo` started can be disturbed from here.";

/// The reason for actions that only the simulation supports.
const ONLY_SIMULATED: &str = "This works on a simulated cluster. Switch to Simulate to try it.";

const NOBODY_LEADS: &str = "Nobody leads now.";

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
                "A live cluster runs at its own speed. What was can be played at any: pause, or go \
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
                let why = format!("The checksums on the disk of {node} do not fit. Wipe it first.");
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
                Err("One server alone has nobody to be cut off from.".to_owned())
            }
            Deed::Isolate(node) => {
                let cut = self.present().isolated(node);
                unless(cut, format!("{node} is cut off already. Mend the links first."))
            }
            Deed::Partition(groups) => {
                let alone = groups.sets().len() < 2;
                unless(alone, "There is nobody left to cut them off from.")?;
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
                unless(same, format!("The clock of {node} runs at that rate."))
            }
            Deed::Member(deed) => self.members_permit(deed),
            // Only the simulation knows about messages that no event reported. Here they count as
            // ended.
            Deed::Message(message, _) => {
                let flight = self.known.view.messages.get(&message);
                let ended = flight.is_none_or(|flight| flight.end.is_some());
                unless(ended, "This message is not on its way any more.")
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
            LinkDeed::Cut => unless(cut, format!("Nothing passes from {from} to {to} already.")),
            LinkDeed::Mend => unless(!cut, format!("The link from {from} to {to} is whole.")),
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
            DiskDeed::Stall => unless(disk.stalled, format!("The disk of {node} hangs already.")),
            DiskDeed::Mend => {
                let well = !disk.stalled && !disk.fails;
                unless(well, format!("Nothing ails the disk of {node}."))
            }
            DiskDeed::Fill => Err("Simulated disks have no end. Those of a live cluster that \
                                   `glassraft demo` started can be full."
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
                unless(self.free_number().is_none(), format!("{most} servers are the most here."))
            }
            MemberDeed::Promote(node) => {
                unless(!members.learners.contains(&node), format!("{node} is no learner."))
            }
            MemberDeed::Remove(node) => {
                unless(!members.contains(node), format!("{node} is no member."))?;
                let last = members.voters.len() == 1 && members.voters.contains(&node);
                unless(last, "The last voter cannot leave.")
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
            "Real servers are parted in two at a time. Cut once more for the third part.",
        )?;
        unless(!asked, ONLY_SIMULATED)?;
        unless(!self.live.is_supervised(), NO_SUPERVISOR)?;
        if deed == Deed::Heal {
            let ill = self.live.ails_anything() || !self.present().view.cut_links.is_empty();
            return unless(!ill, "No link is cut and no disk is disturbed.");
        }
        let Deed::Disk(node, disk) = deed else { return self.simulation_permits(deed) };
        let (is, why) = match disk {
            DiskDeed::Stall => (DiskHealth::Stalled, "hangs already."),
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
