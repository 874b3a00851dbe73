//! Carries out an action in the simulation or in a live cluster.

use std::collections::BTreeSet;

use raft_core::membership::MembershipChange;
use raft_core::sim::{self, NetworkConfig};
use raft_core::types::{EventId, NodeId};

use crate::domain::deeds::conditions::{around, slower};
use crate::domain::deeds::{ClockDeed, Deed, DiskDeed, LinkDeed, MemberDeed, MessageDeed};
use crate::domain::desk::Request;
use crate::domain::known::Presence;
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::model::{Effect, Model, SimEffect};

impl Model {
    /// Carries out an action that is permitted.
    pub(in crate::model) fn perform(&mut self, deed: Deed) -> Vec<Effect> {
        match self.source {
            SourceKind::Simulate => {
                if let Deed::Member(deed) = deed {
                    return self.change_members(deed);
                }
                let action = self.action(deed).map(|action| Effect::Sim(SimEffect::Act(action)));
                // While the clock stands, this shows the immediate effect of the action.
                let due =
                    matches!(deed, Deed::Message(_, MessageDeed::Drop | MessageDeed::Release));
                let happen = Effect::Sim(SimEffect::Advance(self.playback.now));
                let happen = (due && !self.playback.playing).then_some(happen);
                action.into_iter().chain(happen).collect()
            }
            SourceKind::Replay => Vec::new(),
            SourceKind::Live => self.order(deed).map(Effect::Supervise).into_iter().collect(),
        }
    }

    /// The simulator's action. `None` for requests to a server.
    fn action(&self, deed: Deed) -> Option<sim::Action> {
        Some(match deed {
            Deed::Crash(node) => sim::Action::Crash(node),
            Deed::Restart(node) => sim::Action::Restart(node),
            Deed::Freeze(node) => sim::Action::Freeze(node),
            Deed::Thaw(node) => sim::Action::Thaw(node),
            Deed::Isolate(node) => sim::Action::Partition(self.groups(&BTreeSet::from([node]))),
            Deed::Partition(groups) => sim::Action::Partition(groups.sets()),
            Deed::SplitLeader => {
                sim::Action::Partition(self.groups(&self.minority_with(self.present().leader()?)))
            }
            Deed::Heal => sim::Action::Heal,
            Deed::Loss(permille) => sim::Action::SetLoss { permille },
            Deed::Repeat(permille) => sim::Action::SetDuplication { permille },
            Deed::Overtake(permille) => sim::Action::SetReordering { permille },
            Deed::Delay(middle) => {
                let (min, max) = around(middle);
                sim::Action::SetDelay { min, max }
            }
            Deed::Sync(middle) => {
                let (min, max) = around(middle);
                sim::Action::SetDiskDelay { min, max }
            }
            Deed::Elect(node) => sim::Action::Elect(node),
            Deed::Link(from, to, deed) => self.link_action(from, to, deed),
            Deed::Disk(node, deed) => return self.disk_action(node, deed),
            Deed::Clock(node, ClockDeed::Rate(rate_permille)) => {
                sim::Action::SetClock { node, jump: 0, rate_permille }
            }
            Deed::Clock(node, ClockDeed::Jump(jump)) => {
                let rate_permille = self.conditions.rate(node);
                sim::Action::SetClock { node, jump, rate_permille }
            }
            Deed::Message(message, deed) => message_action(message, deed),
            Deed::Member(MemberDeed::Snapshot(node)) => sim::Action::Compact(node),
            Deed::Member(_) => return None,
        })
    }

    fn link_action(&self, from: NodeId, to: NodeId, deed: LinkDeed) -> sim::Action {
        match deed {
            LinkDeed::Cut => sim::Action::SetLink { from, to, up: false },
            LinkDeed::Mend => sim::Action::SetLink { from, to, up: true },
            LinkDeed::Slow => {
                let (delay_min, delay_max) = slower(self.conditions.delay);
                let quality = NetworkConfig {
                    delay_min,
                    delay_max,
                    loss_permille: self.conditions.loss,
                    duplicate_permille: self.conditions.repeat,
                    reorder_permille: self.conditions.overtake,
                    ..NetworkConfig::default()
                };
                sim::Action::SetLinkQuality { from, to, quality: Some(quality) }
            }
            LinkDeed::Quicken => sim::Action::SetLinkQuality { from, to, quality: None },
        }
    }

    fn disk_action(&self, node: NodeId, deed: DiskDeed) -> Option<sim::Action> {
        Some(match deed {
            // Not permitted: simulated disks have no size limit.
            DiskDeed::Fill => return None,
            DiskDeed::Stall => sim::Action::StallDisk(node),
            DiskDeed::Mend => sim::Action::MendDisk(node),
            DiskDeed::Slow => {
                let (min, max) = slower(self.conditions.sync);
                sim::Action::SlowDisk { node, min, max }
            }
            DiskDeed::Quicken => {
                let (min, max) = around(self.conditions.sync);
                sim::Action::SlowDisk { node, min, max }
            }
            DiskDeed::FailWrite => sim::Action::FailWrite(node),
            DiskDeed::FailSnapshot => sim::Action::FailSnapshot(node),
            DiskDeed::Tear => sim::Action::TearWrite(node),
            DiskDeed::FlipBit => sim::Action::FlipBit(node),
            DiskDeed::Wipe => sim::Action::Wipe(node),
        })
    }

    /// Sends the request to the leader. Starts the new server first if one is to join.
    fn change_members(&mut self, deed: MemberDeed) -> Vec<Effect> {
        let mut effects = Vec::new();
        let request = match deed {
            MemberDeed::AddVoter | MemberDeed::AddLearner => {
                let Some(node) = self.free_number() else { return effects };
                let start = match self.present().node(node) {
                    None => Some(sim::Action::AddServer(node)),
                    Some(_) if self.present().presence(node) == Presence::Down => {
                        Some(sim::Action::Restart(node))
                    }
                    Some(_) => None,
                };
                effects.extend(start.map(|action| Effect::Sim(SimEffect::Act(action))));
                Request::Change(if deed == MemberDeed::AddVoter {
                    MembershipChange::AddVoter(node)
                } else {
                    MembershipChange::AddLearner(node)
                })
            }
            MemberDeed::Promote(node) => Request::Change(MembershipChange::AddVoter(node)),
            MemberDeed::Remove(node) => Request::Change(MembershipChange::Remove(node)),
            MemberDeed::Transfer(node) => Request::Transfer(node),
            MemberDeed::Snapshot(node) => {
                return vec![Effect::Sim(SimEffect::Act(sim::Action::Compact(node)))];
            }
        };
        let leader = self.present().leader();
        let ask = leader.map(|leader| self.desk.change().order(request, leader));
        effects.extend(ask.map(|ask| Effect::Sim(SimEffect::Ask(ask))));
        effects
    }

    /// The lowest server number that is not a member.
    pub(in crate::model) fn free_number(&self) -> Option<NodeId> {
        let members = self.present().membership().map(raft_core::membership::Membership::members);
        let members = members.unwrap_or_default();
        (1..=SimSetup::MOST).map(NodeId).find(|node| !members.contains(node))
    }

    fn groups(&self, apart: &BTreeSet<NodeId>) -> Vec<BTreeSet<NodeId>> {
        vec![apart.clone(), self.present().roster.difference(apart).copied().collect()]
    }

    /// The largest set of servers with `leader` that is not a majority.
    pub(in crate::model) fn minority_with(&self, leader: NodeId) -> BTreeSet<NodeId> {
        let most = (self.present().majority() - 1).max(1);
        let others = self.present().voters().into_iter().filter(|node| *node != leader);
        std::iter::once(leader).chain(others).take(most).collect()
    }
}

const fn message_action(message: EventId, deed: MessageDeed) -> sim::Action {
    match deed {
        MessageDeed::Drop => sim::Action::Drop(message),
        MessageDeed::Hold => sim::Action::Hold(message),
        MessageDeed::Release => sim::Action::Release(message),
        MessageDeed::Delay(by) => sim::Action::Delay { message, by },
        MessageDeed::Duplicate => sim::Action::Duplicate(message),
    }
}
