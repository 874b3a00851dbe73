//! What servers use of the machine, and groups in which they may not use more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cluster::Cluster;

impl Cluster {
    /// How much memory a server uses (its resident set), in bytes, where the system tells.
    pub fn memory(&self, id: usize) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid(id))).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    }

    /// How many files and connections a server has open, where the system tells.
    pub fn open_files(&self, id: usize) -> Option<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid(id))).ok()?;
        Some(open.count() as u64)
    }
}

/// A control group with a bound on memory, in which the system ends whoever takes more. Dropping it
/// removes it; nobody may run in it any more.
#[derive(Debug)]
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Makes one, where the system lets us: as root, with the controller for memory at hand.
    pub fn new(bytes: u64) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("glassraft-{}-{number}", std::process::id());
        // The first and the second version of control groups.
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.iter().find_map(|(root, limit)| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            let group = Self(group);
            // A file that is not there is not made: then the controller is not at hand.
            fs::OpenOptions::new().write(true).open(group.0.join(limit)).ok()?;
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // It goes with the machine at the latest.
        drop(fs::remove_dir(&self.0));
    }
}
