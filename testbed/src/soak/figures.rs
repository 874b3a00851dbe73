//! What servers use of the machine.

use crate::cluster::{Cluster, size_of};

/// The most that any server used, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Memory (resident set).
    pub(super) memory: u64,
    /// The data directory.
    pub(super) disk: u64,
}

impl Figures {
    /// Looks at the servers that run.
    pub(super) fn look(&mut self, cluster: &Cluster) {
        for id in cluster.running() {
            self.memory = self.memory.max(cluster.memory(id).unwrap_or(0));
            if cluster.data(id).exists() {
                self.disk = self.disk.max(size_of(&cluster.data(id)));
            }
        }
    }
}
