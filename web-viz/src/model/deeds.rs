//! What a person can do to a cluster, and whether the source permits it at the moment. Whatever is
//! not permitted comes with the reason, which the page shows.

use std::collections::BTreeSet;

use raft_core::event::RoleName;
use raft_core::sim;
use raft_core::types::{Micros, NodeId};

use super::known::Presence;
use super::live::Verb;
use super::{Effect, Model, SimEffect};
use crate::source::SourceKind;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Crash(NodeId),
    Restart(NodeId),
    Freeze(NodeId),
    Thaw(NodeId),
    /// Cuts a server off from all others.
    Isolate(NodeId),
    /// Cuts the leader and as many others as are still no majority off from the rest.
    SplitLeader,
    /// Mends all links.
    Heal,
    /// Messages lost, in thousandths.
    Loss(u16),
    /// The middle of the range of delays.
    Delay(Micros),
    /// Lets a server's election timer run out now.
    Elect(NodeId),
}

/// Why a cluster somewhere else cannot be harmed from this page.
const NO_SUPERVISOR: &str =
    "Only servers that `native-node demo` started can be stopped and started from here.";

/// Why some deeds are for the simulation alone.
const ONLY_SIMULATED: &str = "This works on a simulated network. Switch to Simulate to try it.";

impl Model {
    /// Whether a deed can be done now, else why not.
    pub(crate) fn permits(&self, deed: Deed) -> Result<(), String> {
        match self.source {
            SourceKind::Simulate => self.simulation_permits(deed),
            SourceKind::Live => self.live_permits(deed),
        }
    }

    /// Whether the clock can be stepped and its speed chosen, else why not.
    pub(crate) fn permits_pacing(&self) -> Result<(), String> {
        match self.source {
            SourceKind::Simulate => Ok(()),
            SourceKind::Live => Err("A live cluster runs at its own speed.".to_owned()),
        }
    }

    fn simulation_permits(&self, deed: Deed) -> Result<(), String> {
        match deed {
            Deed::Crash(node) | Deed::Restart(node) | Deed::Freeze(node) | Deed::Thaw(node) => {
                self.presence_permits(deed, node)
            }
            Deed::Elect(node) => {
                self.presence_permits(deed, node)?;
                let leads =
                    self.known.node(node).is_some_and(|known| known.role == RoleName::Leader);
                if leads { Err(format!("{node} leads already.")) } else { Ok(()) }
            }
            Deed::Isolate(_) | Deed::SplitLeader if self.known.roster.len() < 2 => {
                Err("One server alone has nobody to be cut off from.".to_owned())
            }
            Deed::Isolate(node) if self.known.isolated(node) => {
                Err(format!("{node} is cut off already. Mend the links first."))
            }
            Deed::Isolate(_) | Deed::Loss(_) | Deed::Delay(_) => Ok(()),
            Deed::SplitLeader => {
                self.known.leader().map(|_| ()).ok_or_else(|| "Nobody leads now.".to_owned())
            }
            Deed::Heal => {
                let cut = !self.known.view.cut_links.is_empty();
                if cut { Ok(()) } else { Err("No link is cut.".to_owned()) }
            }
        }
    }

    fn live_permits(&self, deed: Deed) -> Result<(), String> {
        let node = match deed {
            Deed::Crash(node) | Deed::Restart(node) | Deed::Freeze(node) | Deed::Thaw(node) => node,
            Deed::Isolate(_)
            | Deed::SplitLeader
            | Deed::Heal
            | Deed::Loss(_)
            | Deed::Delay(_)
            | Deed::Elect(_) => return Err(ONLY_SIMULATED.to_owned()),
        };
        if !self.live.supervises(node) {
            return Err(NO_SUPERVISOR.to_owned());
        }
        self.presence_permits(deed, node)
    }

    fn presence_permits(&self, deed: Deed, node: NodeId) -> Result<(), String> {
        let presence = self.known.presence(node);
        let (fits, else_why) = match deed {
            Deed::Crash(_) => (presence != Presence::Down, format!("{node} is down already.")),
            Deed::Restart(_) => (presence == Presence::Down, format!("{node} is running.")),
            Deed::Freeze(_) | Deed::Elect(_) => {
                (presence == Presence::Up, format!("{node} is not running."))
            }
            Deed::Thaw(_) => (presence == Presence::Frozen, format!("{node} is not frozen.")),
            Deed::Isolate(_) | Deed::SplitLeader | Deed::Heal | Deed::Loss(_) | Deed::Delay(_) => {
                (true, String::new())
            }
        };
        if fits { Ok(()) } else { Err(else_why) }
    }

    /// Carries a permitted deed out.
    pub(super) fn perform(&mut self, deed: Deed) -> Vec<Effect> {
        match self.source {
            SourceKind::Simulate => self.perform_simulated(deed),
            SourceKind::Live => Verb::of(deed)
                .map(|(node, verb)| Effect::Supervise(node, verb))
                .into_iter()
                .collect(),
        }
    }

    fn perform_simulated(&mut self, deed: Deed) -> Vec<Effect> {
        let action = match deed {
            Deed::Crash(node) => sim::Action::Crash(node),
            Deed::Restart(node) => sim::Action::Restart(node),
            Deed::Freeze(node) => sim::Action::Freeze(node),
            Deed::Thaw(node) => sim::Action::Thaw(node),
            Deed::Isolate(node) => sim::Action::Partition(self.groups(&BTreeSet::from([node]))),
            Deed::SplitLeader => {
                let Some(leader) = self.known.leader() else { return Vec::new() };
                sim::Action::Partition(self.groups(&self.minority_with(leader)))
            }
            Deed::Heal => sim::Action::Heal,
            Deed::Loss(permille) => {
                self.network.loss_permille = permille;
                sim::Action::SetLoss { permille }
            }
            Deed::Delay(middle) => {
                self.network.delay = middle;
                sim::Action::SetDelay { min: middle / 2, max: middle + middle / 2 }
            }
            Deed::Elect(node) => sim::Action::Elect(node),
        };
        let mut effects = vec![Effect::Sim(SimEffect::Act(action))];
        if deed == Deed::Heal {
            // Healing also ends the simulator's losses; those of the slider stay.
            let permille = self.network.loss_permille;
            if permille > 0 {
                effects.push(Effect::Sim(SimEffect::Act(sim::Action::SetLoss { permille })));
            }
        }
        effects
    }

    fn groups(&self, apart: &BTreeSet<NodeId>) -> Vec<BTreeSet<NodeId>> {
        vec![apart.clone(), self.known.roster.difference(apart).copied().collect()]
    }

    /// The largest set of servers around `leader` that is no majority.
    fn minority_with(&self, leader: NodeId) -> BTreeSet<NodeId> {
        let most = (self.known.majority() - 1).max(1);
        let others = self.known.roster.iter().copied().filter(|node| *node != leader);
        std::iter::once(leader).chain(others).take(most).collect()
    }

    /// What the key X does to a server: it stops one that runs and starts one that does not.
    pub(crate) fn toggle_crash(&self, node: NodeId) -> Deed {
        match self.known.presence(node) {
            Presence::Down => Deed::Restart(node),
            Presence::Up | Presence::Frozen | Presence::Unreachable => Deed::Crash(node),
        }
    }

    /// What the key F does to a server.
    pub(crate) fn toggle_freeze(&self, node: NodeId) -> Deed {
        match self.known.presence(node) {
            Presence::Frozen => Deed::Thaw(node),
            Presence::Up | Presence::Down | Presence::Unreachable => Deed::Freeze(node),
        }
    }

    /// What the key P does: it cuts a server off, or mends the links.
    pub(crate) fn toggle_isolate(&self, node: NodeId) -> Deed {
        if self.known.isolated(node) { Deed::Heal } else { Deed::Isolate(node) }
    }
}
