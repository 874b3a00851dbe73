//! Three servers of this project beside three of etcd: same machine, keys, values and load, and
//! both sync to disk before they answer. Both clusters are up all the time and take turns, so that
//! what else runs on the machine slows both.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::disk::Sync;
use crate::figures::median;
use crate::load::{self, Interface, Load, Measured, Work};
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
    /// The rounds by each interface.
    pub rounds: BTreeMap<Interface, Vec<Measured>>,
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

/// Measures one row, the interfaces in turns.
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
    /// Median of a figure over an interface's rounds; `None` where it was not measured.
    pub fn median(&self, interface: Interface, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.rounds.get(&interface)?, of)
    }

    /// How many times etcd's figure an interface's is.
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

/// Latencies stand beside their share of etcd's, throughput beside how many times etcd's it is.
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
