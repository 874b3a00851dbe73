//! Results of a soak.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::figures::Figures;

/// Report of a soak. Sizes are in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seed of the run.
    pub seed: u64,
    /// Number of servers.
    pub servers: u16,
    /// Duration, in seconds.
    pub seconds: u64,
    /// Number of windows.
    pub windows: u64,
    /// Windows whose history search timed out; all other checks ran.
    pub not_judged: u64,
    /// Number of operations in the histories.
    pub operations: u64,
    /// Number of acknowledged writes.
    pub acknowledged: u64,
    /// Acknowledged writes of keys that were written once; all were found.
    pub kept: u64,
    /// Number of writes with unknown outcome.
    pub unknown: u64,
    /// Maximum memory of a server.
    pub max_memory: u64,
    /// Maximum size of a data directory.
    pub max_disk: u64,
    /// Maximum number of open files and connections of a server.
    pub max_files: u64,
    /// Slowest health check beside hostile clients, in ms.
    pub slowest_health_ms: u64,
    /// Requests of judged clients beside hostile clients.
    pub asked: u64,
    /// Number of those that failed or have an unknown outcome.
    pub failed: u64,
    /// Results by the name of the fault.
    pub faults: BTreeMap<&'static str, FaultReport>,
}

/// Results of a kind of fault, each from its start to the first write after its end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FaultReport {
    /// For each run, the longest time without an acknowledged write, in ms.
    pub outages_ms: Vec<u64>,
    /// For each run, the time from its end to the next acknowledged write, in ms.
    pub recoveries_ms: Vec<u64>,
}

impl Report {
    pub(super) const fn new(seed: u64, servers: u16) -> Self {
        Self {
            seed,
            servers,
            seconds: 0,
            windows: 0,
            not_judged: 0,
            operations: 0,
            acknowledged: 0,
            kept: 0,
            unknown: 0,
            max_memory: 0,
            max_disk: 0,
            max_files: 0,
            slowest_health_ms: 0,
            asked: 0,
            failed: 0,
            faults: BTreeMap::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        fault: &'static str,
        outage: Duration,
        recovery: Duration,
        used: &Figures,
    ) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let of_kind = self.faults.entry(fault).or_default();
        of_kind.outages_ms.push(millis(outage));
        of_kind.recoveries_ms.push(millis(recovery));
        self.max_memory = self.max_memory.max(used.memory);
        self.max_disk = self.max_disk.max(used.disk);
        self.max_files = self.max_files.max(used.files);
        self.slowest_health_ms = self.slowest_health_ms.max(millis(used.health));
        self.asked += used.asked;
        self.failed += used.failed;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | times | outage median, ms | outage max, ms | recovery max, ms |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: |")?;
        for (name, FaultReport { outages_ms, recoveries_ms }) in &self.faults {
            let (times, max) = (outages_ms.len(), outages_ms.iter().max().unwrap_or(&0));
            let recovery = recoveries_ms.iter().max().unwrap_or(&0);
            writeln!(f, "| {name} | {times} | {} | {max} | {recovery} |", median(outages_ms))?;
        }
        let longest = self.faults.values().flat_map(|it| &it.outages_ms).max().unwrap_or(&0);
        let mib = |bytes: u64| bytes >> 20;
        writeln!(f)?;
        writeln!(
            f,
            "Seed {}, {} servers, {} s, {} windows: {} acknowledged writes, {} with unknown \
             outcome. {} operations were judged (in {} windows the search took too long). {} \
             writes of keys that are written once were all found. The longest time without a \
             write was {longest} ms. A server used at most {} MiB of memory, {} MiB of disk and \
             {} open files. Beside hostile clients {} of {} requests failed, and the slowest \
             health check took {} ms.",
            self.seed,
            self.servers,
            self.seconds,
            self.windows,
            self.acknowledged,
            self.unknown,
            self.operations,
            self.not_judged,
            self.kept,
            mib(self.max_memory),
            mib(self.max_disk),
            self.max_files,
            self.failed,
            self.asked,
            self.slowest_health_ms,
        )
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}
