//! Three servers of this project beside three of etcd: same machine, keys, values and load, and
//! both sync to disk before they answer. Both clusters are up all the time and take turns, so that
//! what else runs on the machine slows both.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::cluster::{Cluster, Contender};
use crate::disk::Sync;
use crate::figures::median;
use crate::load::{self, Load, Measured, Work};
use crate::report::{Machine, grouped};

/// Clients at once, a row each.
pub const CLIENTS: [usize; 4] = [1, 64, 256, 1000];

/// What one kind of load with so many clients gave.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What clients did.
    pub work: Work,
    /// How many there were.
    pub clients: usize,
    /// The rounds of this project's servers.
    pub ours: Vec<Measured>,
    /// The rounds of etcd's; empty without etcd.
    pub etcd: Vec<Measured>,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Where.
    pub machine: Machine,
    /// Which etcd; `None` where there is none.
    pub etcd: Option<String>,
    /// What the disk alone takes.
    pub disk: Sync,
    /// How long each measurement lasted.
    pub seconds: u64,
    /// The rows.
    pub rows: Vec<Row>,
}

/// Measures one row, the contenders in turns.
pub async fn measure(
    ours: &Cluster,
    etcd: Option<&Cluster>,
    load: Load,
    rounds: usize,
) -> Result<Row> {
    let Load { work, clients, .. } = load;
    let mut row = Row { work, clients, ours: Vec::new(), etcd: Vec::new() };
    for _ in 0..rounds {
        for cluster in [Some(ours), etcd].into_iter().flatten() {
            let measured = load::run(cluster, load).await?;
            match cluster.contender() {
                Contender::Glassraft => row.ours.push(measured),
                Contender::Etcd => row.etcd.push(measured),
            }
        }
    }
    Ok(row)
}

impl Row {
    /// Our figure and etcd's.
    pub fn both(&self, of: impl Fn(&Measured) -> f64) -> (f64, Option<f64>) {
        (median(&self.ours, &of).unwrap_or(0.0), median(&self.etcd, &of))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let etcd = self.etcd.as_deref().unwrap_or("no etcd found");
        writeln!(f, "{}; {etcd}; {} s a figure", self.machine, self.seconds)?;
        let Sync { p50, p99 } = self.disk;
        writeln!(f, "One fdatasync of a small record: p50 {p50:.2} ms, p99 {p99:.2} ms\n")?;
        for work in Work::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.work == work).collect();
            if !rows.is_empty() {
                table(f, work, &rows)?;
            }
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, work: Work, rows: &[&Row]) -> fmt::Result {
    writeln!(f, "{}:\n", work.name())?;
    writeln!(
        f,
        "| clients | | operations/s | p50 ms | p99 ms | p99.9 ms | CPU | memory MB | errors |"
    )?;
    writeln!(f, "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for row in rows {
        for (name, rounds) in [("glassraft", &row.ours), ("etcd", &row.etcd)] {
            let Some(throughput) = median(rounds, |it| it.throughput) else { continue };
            let of = |of: fn(&Measured) -> f64| median(rounds, of).unwrap_or(0.0);
            writeln!(
                f,
                "| {} | {name} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {} |",
                row.clients,
                grouped(throughput),
                of(|it| it.p50),
                of(|it| it.p99),
                of(|it| it.p999),
                of(|it| it.cpu),
                of(|it| it.memory as f64) / 1e6,
                rounds.iter().map(|it| it.errors).sum::<u64>(),
            )?;
        }
        ratios(f, row)?;
    }
    writeln!(f)
}

/// How many times etcd's throughput, and which share of its latencies.
fn ratios(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let ratio = |of: fn(&Measured) -> f64| {
        let (ours, etcd) = row.both(of);
        etcd.map(|etcd| ours / etcd)
    };
    let (Some(throughput), Some(p50), Some(p99), Some(p999)) =
        (ratio(|it| it.throughput), ratio(|it| it.p50), ratio(|it| it.p99), ratio(|it| it.p999))
    else {
        return Ok(());
    };
    let clients = row.clients;
    writeln!(
        f,
        "| {clients} | **ratio** | **{throughput:.2}** | {p50:.2} | **{p99:.2}** | {p999:.2} | | | |"
    )
}
