//! Who belongs to the cluster, and what counts as a majority of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// The servers that vote and replicate (§6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// The servers whose votes and acknowledgements count.
    pub voters: BTreeSet<NodeId>,
}

impl Membership {
    /// A cluster of these voters.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect() }
    }

    /// Whether this server's vote counts.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node)
    }

    /// Every server that a leader replicates to, itself left out.
    pub fn peers_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.iter().copied().filter(move |peer| *peer != node)
    }

    /// The smallest number of voters that any two such sets share a member of (§5.2).
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, voter) in self.voters.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{voter}")?;
        }
        f.write_str("}")
    }
}
