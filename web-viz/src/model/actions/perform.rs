//! Carries out an action in the simulation or in a live cluster.

use std::collections::BTreeSet;

use raft_core::membership::MembershipChange;
use raft_core::sim::{self, NetworkConfig};
use raft_core::types::{EventId, NodeId};

use crate::domain::actions::conditions::{around, slower};
use crate::domain::actions::{
    ClockAction, ClusterAction, DiskAction, LinkAction, MemberAction, MessageAction,
};
use crate::domain::cluster::Presence;
use crate::domain::form::Request;
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::model::{Effect, Model, SimEffect};

impl Model {
    /// Carries out an action that is permitted.
    pub(in crate::model) fn perform(&mut self, action: ClusterAction) -> Vec<Effect> {
        match self.source {
            SourceKind::Simulate => {
                if let ClusterAction::Member(action) = action {
                    return self.change_members(action);
                }
                let effect = self.action(action).map(|action| Effect::Sim(SimEffect::Act(action)));
                // While the clock stands, this shows the immediate effect of the action.
                let due = matches!(
                    action,
                    ClusterAction::Message(_, MessageAction::Drop | MessageAction::Release)
                );
                let happen = Effect::Sim(SimEffect::Advance(self.playback.now));
                let happen = (due && !self.playback.playing).then_some(happen);
                effect.into_iter().chain(happen).collect()
            }
            SourceKind::Replay => Vec::new(),
            SourceKind::Live => {
                self.demo_action(action).map(Effect::Supervise).into_iter().collect()
            }
        }
    }

    /// The simulator's action. `None` for requests to a server.
    fn action(&self, action: ClusterAction) -> Option<sim::Action> {
        Some(match action {
            ClusterAction::Crash(node) => sim::Action::Crash(node),
            ClusterAction::Restart(node) => sim::Action::Restart(node),
            ClusterAction::Freeze(node) => sim::Action::Freeze(node),
            ClusterAction::Thaw(node) => sim::Action::Thaw(node),
            ClusterAction::Isolate(node) => {
                sim::Action::Partition(self.groups(&BTreeSet::from([node])))
            }
            ClusterAction::Partition(groups) => sim::Action::Partition(groups.sets()),
            ClusterAction::SplitLeader => {
                sim::Action::Partition(self.groups(&self.minority_with(self.present().leader()?)))
            }
            ClusterAction::Heal => sim::Action::Heal,
            ClusterAction::Loss(permille) => sim::Action::SetLoss { permille },
            ClusterAction::Repeat(permille) => sim::Action::SetDuplication { permille },
            ClusterAction::Overtake(permille) => sim::Action::SetReordering { permille },
            ClusterAction::Delay(middle) => {
                let (min, max) = around(middle);
                sim::Action::SetDelay { min, max }
            }
            ClusterAction::Sync(middle) => {
                let (min, max) = around(middle);
                sim::Action::SetDiskDelay { min, max }
            }
            ClusterAction::Elect(node) => sim::Action::Elect(node),
            ClusterAction::Link(from, to, action) => self.link_action(from, to, action),
            ClusterAction::Disk(node, action) => return self.disk_action(node, action),
            ClusterAction::Clock(node, ClockAction::Rate(rate_permille)) => {
                sim::Action::SetClock { node, jump: 0, rate_permille }
            }
            ClusterAction::Clock(node, ClockAction::Jump(jump)) => {
                let rate_permille = self.conditions.rate(node);
                sim::Action::SetClock { node, jump, rate_permille }
            }
            ClusterAction::Message(message, action) => message_action(message, action),
            ClusterAction::Member(MemberAction::Snapshot(node)) => sim::Action::Compact(node),
            ClusterAction::Member(_) => return None,
        })
    }

    fn link_action(&self, from: NodeId, to: NodeId, action: LinkAction) -> sim::Action {
        match action {
            LinkAction::Cut => sim::Action::SetLink { from, to, up: false },
            LinkAction::Mend => sim::Action::SetLink { from, to, up: true },
            LinkAction::Slow => {
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
            LinkAction::Quicken => sim::Action::SetLinkQuality { from, to, quality: None },
        }
    }

    fn disk_action(&self, node: NodeId, action: DiskAction) -> Option<sim::Action> {
        Some(match action {
            // Not permitted: simulated disks have no size limit.
            DiskAction::Fill => return None,
            DiskAction::Stall => sim::Action::StallDisk(node),
            DiskAction::Mend => sim::Action::MendDisk(node),
            DiskAction::Slow => {
                let (min, max) = slower(self.conditions.sync);
                sim::Action::SlowDisk { node, min, max }
            }
            DiskAction::Quicken => {
                let (min, max) = around(self.conditions.sync);
                sim::Action::SlowDisk { node, min, max }
            }
            DiskAction::FailWrite => sim::Action::FailWrite(node),
            DiskAction::FailSnapshot => sim::Action::FailSnapshot(node),
            DiskAction::Tear => sim::Action::TearWrite(node),
            DiskAction::FlipBit => sim::Action::FlipBit(node),
            DiskAction::Wipe => sim::Action::Wipe(node),
        })
    }

    /// Sends the request to the leader. Starts the new server first if one is to join.
    fn change_members(&mut self, action: MemberAction) -> Vec<Effect> {
        let mut effects = Vec::new();
        let request = match action {
            MemberAction::AddVoter | MemberAction::AddLearner => {
                let Some(node) = self.free_number() else { return effects };
                let start = match self.present().node(node) {
                    None => Some(sim::Action::AddServer(node)),
                    Some(_) if self.present().presence(node) == Presence::Down => {
                        Some(sim::Action::Restart(node))
                    }
                    Some(_) => None,
                };
                effects.extend(start.map(|action| Effect::Sim(SimEffect::Act(action))));
                Request::Change(if action == MemberAction::AddVoter {
                    MembershipChange::AddVoter(node)
                } else {
                    MembershipChange::AddLearner(node)
                })
            }
            MemberAction::Promote(node) => Request::Change(MembershipChange::AddVoter(node)),
            MemberAction::Remove(node) => Request::Change(MembershipChange::Remove(node)),
            MemberAction::Transfer(node) => Request::Transfer(node),
            MemberAction::Snapshot(node) => {
                return vec![Effect::Sim(SimEffect::Act(sim::Action::Compact(node)))];
            }
        };
        let leader = self.present().leader();
        let ask = leader.map(|leader| self.form.change().send(request, leader));
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

const fn message_action(message: EventId, action: MessageAction) -> sim::Action {
    match action {
        MessageAction::Drop => sim::Action::Drop(message),
        MessageAction::Hold => sim::Action::Hold(message),
        MessageAction::Release => sim::Action::Release(message),
        MessageAction::Delay(by) => sim::Action::Delay { message, by },
        MessageAction::Duplicate => sim::Action::Duplicate(message),
    }
}
