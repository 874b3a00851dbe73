//! What servers use of the machine.

use std::time::Duration;

use crate::cluster::{Cluster, size_of};

/// The most that any server used, in bytes, and how clients fared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Memory (resident set).
    pub(super) memory: u64,
    /// The data directory.
    pub(super) disk: u64,
    /// Open files and connections.
    pub(super) files: u64,
    /// The slowest answer to a question for a server's health beside hostile clients.
    pub(super) health: Duration,
    /// Requests of judged clients beside hostile ones, and how many of them failed.
    pub(super) asked: u64,
    pub(super) failed: u64,
}

impl Figures {
    /// Looks at the servers that run.
    pub(super) fn look(&mut self, cluster: &Cluster) {
        for id in cluster.running() {
            self.memory = self.memory.max(cluster.memory(id).unwrap_or(0));
            self.files = self.files.max(cluster.open_files(id).unwrap_or(0));
            if cluster.data(id).exists() {
                self.disk = self.disk.max(size_of(&cluster.data(id)));
            }
        }
    }
}
