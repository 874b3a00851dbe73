//! Compares three servers of this project with three of etcd, on the same machine with the same
//! keys, values and load. Both sync to disk before they respond. Both clusters run all the time and
//! are measured in turns, to let other activity on the machine slow down both.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::disk::Sync;
use crate::figures::median;
use crate::load::{self, Interface, Load, Measured, Work};
use crate::report::{Machine, grouped};

/// Numbers of concurrent clients; each is a row of the table.
pub const CLIENTS: [usize; 4] = [1, 64, 256, 1000];

/// The figures for a kind of load and a number of clients.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Kind of load.
    pub work: Work,
    /// Number of clients.
    pub clients: usize,
    /// The rounds of each interface.
    pub rounds: BTreeMap<Interface, Vec<Measured>>,
}

/// The figures of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The machine that ran it.
    pub machine: Machine,
    /// Version of etcd; `None` if etcd is not available.
    pub etcd: Option<String>,
    /// Latency of the disk alone.
    pub disk: Sync,
    /// Duration of each measurement, in seconds.
    pub seconds: u64,
    /// A row for each kind of load and number of clients.
    pub rows: Vec<Row>,
}

/// Measures a row; the interfaces take turns.
pub async fn measure(clusters: &[Cluster], load: Load, rounds: usize) -> Result<Row> {
    let Load { work, clients, .. } = load;
    let mut row = Row { work, clients, rounds: BTreeMap::new() };
    for _ in 0..rounds {
        for interface in Interface::ALL.into_iter().filter(|interface| interface.can(work)) {
            let mut clusters = clusters.iter();
            let reached = clusters.find(|cluster| cluster.contender() == interface.contender());
            if let Some(cluster) = reached {
                let measured = load::run(cluster, interface, load).await?;
                row.rounds.entry(interface).or_default().push(measured);
            }
        }
    }
    Ok(row)
}

impl Row {
    /// Median of a figure over an interface's rounds; `None` if it was not measured.
    pub fn median(&self, interface: Interface, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.rounds.get(&interface)?, of)
    }

    /// An interface's figure divided by etcd's.
    fn ratio(&self, interface: Interface, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        Some(self.median(interface, &of)? / self.median(Interface::Grpc, &of)?)
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

/// Writes a table; a column beside throughput and p99 latency shows the ratio to etcd.
fn table(f: &mut fmt::Formatter<'_>, work: Work, rows: &[&Row]) -> fmt::Result {
    writeln!(f, "{}:\n", work.name())?;
    writeln!(
        f,
        "| clients | | operations/s | : etcd | p50 ms | p99 ms | : etcd | p99.9 ms | CPU | memory MB | errors |"
    )?;
    writeln!(f, "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for row in rows {
        for (interface, rounds) in &row.rounds {
            let of = |of: fn(&Measured) -> f64| median(rounds, of).unwrap_or(0.0);
            let ratio = |of: fn(&Measured) -> f64| match interface {
                Interface::Grpc => String::new(),
                Interface::Http | Interface::Grouped => {
                    row.ratio(*interface, of).map_or_else(String::new, |it| format!("**{it:.2}**"))
                }
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {:.2} | {:.2} | {} | {:.2} | {:.2} | {:.0} | {} |",
                row.clients,
                interface.name(),
                grouped(of(|it| it.throughput)),
                ratio(|it| it.throughput),
                of(|it| it.p50),
                of(|it| it.p99),
                ratio(|it| it.p99),
                of(|it| it.p999),
                of(|it| it.cpu),
                of(|it| it.memory as f64) / 1e6,
                rounds.iter().map(|it| it.errors).sum::<u64>(),
            )?;
        }
    }
    writeln!(f)
}
