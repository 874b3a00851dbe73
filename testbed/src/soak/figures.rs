//! Resource usage of servers.

use std::time::Duration;

use crate::cluster::{Cluster, size_of};

/// Maximum usage of any server, sizes in bytes, and results of clients.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Resident memory.
    pub(super) memory: u64,
    /// Size of the data directory.
    pub(super) disk: u64,
    /// Number of open files and connections.
    pub(super) files: u64,
    /// Slowest health check beside hostile clients.
    pub(super) health: Duration,
    /// Requests of judged clients beside hostile clients, and the number that failed.
    pub(super) asked: u64,
    pub(super) failed: u64,
}

impl Figures {
    /// Records the usage of all running servers.
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
