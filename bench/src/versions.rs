//! Compares two builds of this project's server: has a change made it slower?
//!
//! Both clusters run all the time and take turns that are short, because the speed of a shared
//! machine changes within seconds. A pair is one turn of each. The median over many pairs tells
//! differences of a few percent, which single runs do not.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::figures::{Figure, median};
use crate::load::{self, Interface, Load, Measured, Work};
use crate::report::{Machine, grouped};

/// Numbers of concurrent clients; each is a row for each kind of load and interface.
pub const CLIENTS: [usize; 2] = [1, 64];

/// The pairs of turns for a kind of load, a number of clients and an interface.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    work: Work,
    clients: usize,
    interface: Interface,
    before: Vec<Measured>,
    now: Vec<Measured>,
}

/// The figures of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Versions {
    /// The machine that ran it.
    pub machine: Machine,
    /// Duration of each turn, in seconds.
    pub seconds: u64,
    /// A row for each kind of load, number of clients and interface.
    pub rows: Vec<Row>,
}

/// Measures a row of `pairs` pairs. The build that begins changes from pair to pair.
pub async fn measure(
    [before, now]: [&Cluster; 2],
    interface: Interface,
    load: Load,
    pairs: usize,
) -> Result<Row> {
    let Load { work, clients, .. } = load;
    let mut row = Row { work, clients, interface, before: Vec::new(), now: Vec::new() };
    for pair in 0..pairs {
        if pair % 2 == 0 {
            row.before.push(load::run(before, interface, load).await?);
            row.now.push(load::run(now, interface, load).await?);
        } else {
            row.now.push(load::run(now, interface, load).await?);
            row.before.push(load::run(before, interface, load).await?);
        }
    }
    Ok(row)
}

impl Row {
    /// The ratio of the new build's figure to the old one's, over the pairs.
    fn ratio(&self, of: impl Fn(&Measured) -> f64) -> Figure {
        Figure::of(self.now.iter().zip(&self.before).map(|(now, it)| of(now) / of(it)).collect())
    }
}

/// Processor time of all servers for an operation, in microseconds.
fn cost(measured: &Measured) -> f64 {
    measured.cpu / measured.throughput * 1e6
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.rows.first().map_or(0, |row| row.now.len());
        writeln!(f, "{}; {pairs} pairs of {} s\n", self.machine, self.seconds)?;
        writeln!(
            f,
            "| load | clients | | before, operations/s | now | now : before | CPU µs before | now | now : before |"
        )?;
        writeln!(f, "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for row in &self.rows {
            let of =
                |turns: &[Measured], of: fn(&Measured) -> f64| median(turns, of).unwrap_or(0.0);
            let [speed, costs] = [row.ratio(|it| it.throughput), row.ratio(cost)];
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | **{:.2}** ±{:.0}% | {:.1} | {:.1} | {:.2} ±{:.0}% |",
                row.work.name(),
                row.clients,
                row.interface.name(),
                grouped(of(&row.before, |it| it.throughput)),
                grouped(of(&row.now, |it| it.throughput)),
                speed.median,
                speed.spread() * 100.0,
                of(&row.before, cost),
                of(&row.now, cost),
                costs.median,
                costs.spread() * 100.0,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(throughput: f64, cpu: f64) -> Measured {
        Measured { throughput, p50: 0.0, p99: 0.0, p999: 0.0, errors: 0, cpu, memory: 0 }
    }

    /// Guards that a slow moment of the machine, which both turns of a pair see, changes no ratio.
    #[test]
    fn turns_are_compared_with_their_neighbours() {
        let row = Row {
            work: Work::Put,
            clients: 1,
            interface: Interface::Http,
            before: vec![measured(100.0, 1.0), measured(10.0, 1.0), measured(100.0, 1.0)],
            now: vec![measured(90.0, 1.0), measured(9.0, 1.0), measured(90.0, 1.0)],
        };
        assert!((row.ratio(|it| it.throughput).median - 0.9).abs() < 1e-9);
        assert!((row.ratio(cost).median - 1.0 / 0.9).abs() < 1e-9);
    }
}
