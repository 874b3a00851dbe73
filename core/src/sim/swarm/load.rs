//! What clients ask for in a random run.

use super::super::{Action, Simulation};
use super::faults::any_node;
use crate::kv::Command;
use crate::random::Random;
use crate::types::NodeId;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// Makes every value unique, so that the history tells writes apart.
    values: u64,
}

impl Load {
    /// Clients ask for something, most often the leader.
    pub(super) fn ask(&mut self, simulation: &mut Simulation, random: &mut Random) {
        for _ in 0..random.between(0, 4) {
            let node = match simulation.leader() {
                Some(leader) if random.chance(800) => leader,
                _ => any_node(simulation, random),
            };
            let action = self.request(node, random);
            let _ = simulation.act(action);
        }
    }

    fn request(&mut self, node: NodeId, random: &mut Random) -> Action {
        let key = format!("k{}", random.between(0, 4));
        self.values += 1;
        match random.between(0, 10) {
            0 => Action::Write { node, command: Command::delete(key) },
            1..6 => Action::Write { node, command: Command::put(key, self.values.to_string()) },
            _ => Action::Read { node, key: key.into(), lease: false },
        }
    }
}
