//! Measures the cost of snapshots of many keys: write latency with and without them, memory, disk
//! usage over many snapshots, and restart time.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use crate::cluster::{Cluster, SERVERS, eventually};
use crate::figures::median;
use crate::load::http::{Connection, request};
use crate::load::{self, Interface, Load, Measured};
use crate::report::{Machine, grouped};

/// Number of consecutive snapshots; disk and memory must not grow over them.
const CYCLES: usize = 10;

/// The figures of the snapshot measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine that ran it.
    pub machine: Machine,
    /// Number of keys in the state.
    pub keys: u64,
    /// Number of clients that write.
    pub clients: usize,
    /// Writes while no snapshot is taken.
    pub quiet: Vec<Measured>,
    /// Writes while all servers take snapshots continuously.
    pub busy: Vec<Measured>,
    /// Durations of the snapshots during the writes, in seconds.
    pub snapshot_seconds: Vec<f64>,
    /// The leader's resident memory before the writes, in bytes.
    pub memory_before: u64,
    /// The leader's peak resident memory, in bytes.
    pub memory_peak: u64,
    /// Bytes on a server's disk after each cycle.
    pub disk: Vec<u64>,
    /// Resident memory of the same server after each cycle, in bytes.
    pub memory: Vec<u64>,
    /// Time from the start of a server's process until it is ready, in seconds.
    pub restart_seconds: Vec<f64>,
}

/// Runs all measurements.
pub async fn measure(cluster: &mut Cluster, load: Load, rounds: usize) -> Result<Report> {
    let Load { clients, lasting, keys, .. } = load;
    load::fill(cluster, keys).await?;
    let leader = cluster.leader().await?;
    let mut report = Report {
        machine: Machine::this(),
        keys,
        clients,
        quiet: Vec::new(),
        busy: Vec::new(),
        snapshot_seconds: Vec::new(),
        memory_before: 0,
        memory_peak: 0,
        disk: Vec::new(),
        memory: Vec::new(),
        restart_seconds: Vec::new(),
    };
    snapshots_everywhere(cluster).await?;
    report.memory_before = cluster.usage_of(leader).memory;
    for _ in 0..rounds {
        report.quiet.push(load::run(cluster, Interface::Http, load).await?);
        let taking = async {
            let until = Instant::now() + lasting;
            let mut took = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                snapshots_everywhere(cluster).await?;
                took.push(begun.elapsed().as_secs_f64());
            }
            anyhow::Ok(took)
        };
        let writing = load::run(cluster, Interface::Http, load);
        let (busy, took) = tokio::join!(writing, taking);
        report.busy.push(busy?);
        report.snapshot_seconds.extend(took?);
    }
    report.memory_peak = cluster.usage_of(leader).peak_memory;
    for _ in 0..CYCLES {
        load::run(cluster, Interface::Http, Load { lasting: Duration::from_secs(1), ..load })
            .await?;
        snapshots_everywhere(cluster).await?;
        report.disk.push(cluster.disk(leader));
        report.memory.push(cluster.usage_of(leader).memory);
    }
    for server in 0..SERVERS {
        report.restart_seconds.push(restart(cluster, server).await?.as_secs_f64());
    }
    Ok(report)
}

async fn call(cluster: &Cluster, server: usize, method: &str, path: &str) -> Option<(u16, String)> {
    let mut connection = Connection::open(&cluster.address(server)).await.ok()?;
    let answer = connection.exchange(&request(method, path, b"")).await.ok()?;
    Some((answer.status, String::from_utf8_lossy(answer.body).into_owned()))
}

/// Makes all servers take a snapshot and waits until all snapshots are durable.
async fn snapshots_everywhere(cluster: &Cluster) -> Result<()> {
    for server in 0..SERVERS {
        let (status, body) =
            call(cluster, server, "POST", "/cluster/snapshot").await.context("no answer")?;
        ensure!(status < 300, "a snapshot was refused: {body}");
    }
    for server in 0..SERVERS {
        // The snapshot starts with the driver's next batch; until then `saving` is null too.
        sleep(Duration::from_millis(50)).await;
        eventually("the snapshot is durable", async || {
            let (_, body) = call(cluster, server, "GET", "/cluster/status?progress=local").await?;
            let status: serde_json::Value = serde_json::from_str(&body).ok()?;
            status["snapshots"]["saving"].is_null().then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Kills a server and measures the time from its restart until it is ready.
async fn restart(cluster: &mut Cluster, server: usize) -> Result<Duration> {
    cluster.kill(server)?;
    cluster.leader().await?;
    let begun = Instant::now();
    cluster.spawn(server)?;
    eventually("the server is ready", async || {
        let (status, _) = call(cluster, server, "GET", "/readyz").await?;
        (status == 200).then_some(())
    })
    .await?;
    let took = begun.elapsed();
    cluster.caught_up(server).await?;
    Ok(took)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = grouped(self.keys as f64);
        writeln!(f, "{}; {keys} keys, {} clients\n", self.machine, self.clients)?;
        writeln!(f, "| | puts/s | p50 ms | p99 ms |\n| --- | ---: | ---: | ---: |")?;
        let of = |rounds: &[Measured], of: fn(&Measured) -> f64| median(rounds, of).unwrap_or(0.0);
        for (name, rounds) in [("no snapshot", &self.quiet), ("snapshots all the time", &self.busy)]
        {
            let throughput = grouped(of(rounds, |it| it.throughput));
            let (p50, p99) = (of(rounds, |it| it.p50), of(rounds, |it| it.p99));
            writeln!(f, "| {name} | {throughput} | {p50:.2} | {p99:.2} |")?;
        }
        let ratio = of(&self.busy, |it| it.p99) / of(&self.quiet, |it| it.p99);
        let megabytes = |bytes: u64| grouped(bytes as f64 / 1e6);
        writeln!(f, "\n| | |\n| --- | ---: |")?;
        writeln!(f, "| p99 with : without | {ratio:.2} |")?;
        let snapshot = median(&self.snapshot_seconds, |it| *it).unwrap_or(0.0);
        writeln!(f, "| one snapshot at all three, under load | {snapshot:.2} s |")?;
        let memory = self.memory_peak as f64 / self.memory_before as f64;
        writeln!(
            f,
            "| leader's memory before, peak | {} MB, {} MB ({memory:.2}) |",
            megabytes(self.memory_before),
            megabytes(self.memory_peak)
        )?;
        let list = |all: &[u64]| all.iter().map(|it| megabytes(*it)).collect::<Vec<_>>().join(", ");
        writeln!(f, "| disk after each of {CYCLES} cycles, MB | {} |", list(&self.disk))?;
        writeln!(f, "| memory after each, MB | {} |", list(&self.memory))?;
        let restart = self.restart_seconds.iter().map(|it| format!("{it:.2}")).collect::<Vec<_>>();
        writeln!(f, "| restart until ready, s | {} |", restart.join(", "))
    }
}
