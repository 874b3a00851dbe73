//! Resource usage of servers, and control groups that limit it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cluster::Cluster;

impl Cluster {
    /// Resident memory of a server in bytes, if the system reports it.
    pub fn memory(&self, id: usize) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid(id))).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    }

    /// Number of open files and connections of a server, if the system reports it.
    pub fn open_files(&self, id: usize) -> Option<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid(id))).ok()?;
        Some(open.count() as u64)
    }
}

/// A control group with a memory limit. The system kills processes that exceed it. Dropping it
/// removes the group; no process may run in it then.
#[derive(Debug)]
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Creates a group; `None` without root or without the memory controller.
    pub fn new(bytes: u64) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("glassraft-{}-{number}", std::process::id());
        // Versions 1 and 2 of control groups.
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.iter().find_map(|(root, limit)| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            let group = Self(group);
            // Open without creating: if the file does not exist, the controller is not available.
            fs::OpenOptions::new().write(true).open(group.0.join(limit)).ok()?;
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// The group's directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Ignore errors: the group disappears at a reboot at the latest.
        drop(fs::remove_dir(&self.0));
    }
}
