//! What the page costs the machine: the browser's process that runs it, as Linux accounts for it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Clock ticks a second, in which Linux counts a process's time for everybody.
const TICKS: u64 = 100;

/// Where fields stand in `/proc/PID/stat`, counted from behind the name.
const PARENT: usize = 1;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    id: u32,
}

impl Process {
    /// The largest of the browser's processes that show pages, below the process `root`.
    pub(crate) fn below(root: u32) -> Option<Self> {
        let all = fs::read_dir("/proc").ok()?.flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parents: BTreeMap<u32, u32> =
            ids.filter_map(|id| Some((id, Self { id }.field(PARENT)?.try_into().ok()?))).collect();
        let is_below = |id: &u32| {
            let mut line = std::iter::successors(Some(*id), |id| parents.get(id).copied());
            line.any(|id| id == root)
        };
        let family: Vec<u32> = parents.keys().copied().filter(is_below).collect();
        let shows_pages = |id: &u32| {
            let words = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
            // Not the one with the browser's own pages.
            words.contains("--type=renderer") && !words.contains("--top-chrome-webui")
        };
        let pages = family.into_iter().filter(shows_pages).map(|id| Self { id });
        pages.max_by_key(|page| page.memory())
    }

    /// The bytes of memory that it holds for itself alone.
    pub fn memory(self) -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id)).ok()?;
        let kilobytes = |name: &str| -> Option<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some((kilobytes("Private_Clean:")? + kilobytes("Private_Dirty:")?) * 1024)
    }

    /// The processor's time that it has taken.
    pub fn time(self) -> Option<Duration> {
        let ticks = self.field(USER_TICKS)? + self.field(SYSTEM_TICKS)?;
        Some(Duration::from_millis(ticks * 1000 / TICKS))
    }

    /// One of the numbers that the system keeps of it.
    fn field(self, place: usize) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).ok()?;
        // The name, which may hold anything, ends with the last bracket.
        stat.rsplit_once(')')?.1.split_whitespace().nth(place)?.parse().ok()
    }
}
