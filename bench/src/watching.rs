//! Measures the cost of pages that follow every event: writes with and without a page at each
//! server.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::task::{JoinHandle, spawn_local};
use tokio_tungstenite::connect_async;

use crate::cluster::{Cluster, SERVERS};
use crate::figures::median;
use crate::load::{self, Interface, Load, Measured};
use crate::report::{Machine, grouped};

/// The figures of the trace measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine that ran it.
    pub machine: Machine,
    /// Number of clients that write.
    pub clients: usize,
    /// Rounds without pages.
    pub alone: Vec<Measured>,
    /// Rounds with a page at each server.
    pub watched: Vec<Measured>,
    /// Bytes of events per second that the pages of a round receive in total.
    pub bytes_per_second: Vec<f64>,
}

/// Measures rounds with and without pages, in turns.
pub async fn measure(cluster: &Cluster, load: Load, rounds: usize) -> Result<Report> {
    let Load { clients, lasting, .. } = load;
    let mut report = Report {
        machine: Machine::this(),
        clients,
        alone: Vec::new(),
        watched: Vec::new(),
        bytes_per_second: Vec::new(),
    };
    for _ in 0..rounds {
        report.alone.push(load::run(cluster, Interface::Http, load).await?);
        let pages = Pages::attach(cluster).await?;
        let (measured, bytes) = tokio::join!(load::run(cluster, Interface::Http, load), async {
            tokio::time::sleep(lasting).await;
            pages.bytes()
        });
        report.watched.push(measured?);
        report.bytes_per_second.push(bytes as f64 / lasting.as_secs_f64());
    }
    Ok(report)
}

/// Readers of each server's events in place of pages. They discard the bytes, because a page's own
/// work does not load the server.
struct Pages {
    readers: Vec<JoinHandle<()>>,
    bytes: Rc<Cell<u64>>,
}

impl Pages {
    async fn attach(cluster: &Cluster) -> Result<Self> {
        let bytes = Rc::new(Cell::new(0));
        let mut readers = Vec::new();
        for server in 0..SERVERS {
            let url = format!("ws://{}/trace?format=binary", cluster.address(server));
            let (mut events, _) = connect_async(&url).await.with_context(|| url.clone())?;
            let bytes = Rc::clone(&bytes);
            readers.push(spawn_local(async move {
                while let Some(Ok(message)) = events.next().await {
                    bytes.set(bytes.get() + message.len() as u64);
                }
            }));
        }
        Ok(Self { readers, bytes })
    }

    fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; {} clients\n", self.machine, self.clients)?;
        writeln!(f, "| | puts/s | p50 ms | p99 ms |\n| --- | ---: | ---: | ---: |")?;
        for (name, rounds) in [("alone", &self.alone), ("watched", &self.watched)] {
            let of = |of: fn(&Measured) -> f64| median(rounds, of).unwrap_or(0.0);
            let throughput = grouped(of(|it| it.throughput));
            let (p50, p99) = (of(|it| it.p50), of(|it| it.p99));
            writeln!(f, "| {name} | {throughput} | {p50:.2} | {p99:.2} |")?;
        }
        let throughput = |rounds| median(rounds, |it: &Measured| it.throughput).unwrap_or(0.0);
        let cost = 1.0 - throughput(&self.watched) / throughput(&self.alone);
        let bytes = self.bytes_per_second.iter().sum::<f64>() / self.bytes_per_second.len() as f64;
        writeln!(f, "\nA page at each server costs {:.1}% of the writes;", cost * 100.0)?;
        writeln!(f, "it gets {} bytes a second.", grouped(bytes))
    }
}
