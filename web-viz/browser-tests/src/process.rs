//! The memory and CPU time of the browser process that renders the page, as Linux reports them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Clock ticks per second. Linux reports the CPU time of every process in these ticks.
const TICKS: u64 = 100;

/// Field positions in `/proc/PID/stat`, counted after the process name.
const PARENT: usize = 1;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

/// The process that renders the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    id: u32,
}

impl Process {
    /// Finds the largest renderer process among the descendants of the process `root`.
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
            // This excludes the renderer of the browser's own pages.
            words.contains("--type=renderer") && !words.contains("--top-chrome-webui")
        };
        let pages = family.into_iter().filter(shows_pages).map(|id| Self { id });
        pages.max_by_key(|page| page.memory())
    }

    /// The private memory of the process in bytes.
    pub fn memory(self) -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id)).ok()?;
        let kilobytes = |name: &str| -> Option<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some((kilobytes("Private_Clean:")? + kilobytes("Private_Dirty:")?) * 1024)
    }

    /// The CPU time that the process has used.
    pub fn time(self) -> Option<Duration> {
        let ticks = self.field(USER_TICKS)? + self.field(SYSTEM_TICKS)?;
        Some(Duration::from_millis(ticks * 1000 / TICKS))
    }

    /// A field of `/proc/PID/stat`.
    fn field(self, place: usize) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).ok()?;
        // The name may contain any characters; it ends at the last bracket.
        stat.rsplit_once(')')?.1.split_whitespace().nth(place)?.parse().ok()
    }
}
