//! Measures the time from `kill -9` of the leader to the first acknowledged write.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::cluster::{Cluster, Contender, SERVERS};
use crate::load::Prober;
use crate::report::Machine;

/// The minimum election timeout of both projects; the maximum is twice that.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(150);

/// Delay before a retry at a server.
const PAUSE: Duration = Duration::from_millis(2);

/// Timeout of an attempt: much longer than a write and much shorter than an election. A server that
/// delays a request is retried only after it.
const ATTEMPT: Duration = Duration::from_millis(25);

/// Timeout without any acknowledged write, after which the measurement fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The failover times of a contender.
#[derive(Clone, Debug, Serialize)]
pub struct Failovers {
    /// The contender.
    pub contender: Contender,
    /// All times in milliseconds, in the order of measurement.
    pub milliseconds: Vec<f64>,
}

/// The figures of the failover measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine that ran it.
    pub machine: Machine,
    /// Version of etcd; `None` if etcd is not available.
    pub etcd: Option<String>,
    /// A row for each contender.
    pub failovers: Vec<Failovers>,
}

/// Kills the leader, measures the time to the next write, restarts it and waits until it has caught
/// up.
pub async fn once(cluster: &mut Cluster) -> Result<Duration> {
    let leader = cluster.leader().await?;
    let contender = cluster.contender();
    let mut asking = JoinSet::new();
    let begin = Arc::new(Notify::new());
    for server in (0..SERVERS).filter(|server| *server != leader) {
        let (address, begin) = (cluster.address(server), Arc::clone(&begin));
        let first = Prober::connect(contender, &address).await?;
        asking.spawn_local(async move {
            begin.notified().await;
            first_write(contender, &address, first).await
        });
    }
    // Let the tasks wait for the signal before the leader dies.
    yield_now().await;
    let killed = cluster.kill(leader)?;
    begin.notify_waiters();
    let first = timeout(PATIENCE, asking.join_next()).await;
    let first = first.context("no write succeeded for 30 s")?.context("no server was asked")?;
    let took = first.context("a client panicked")? - killed;
    asking.shutdown().await;
    cluster.spawn(leader)?;
    cluster.caught_up(leader).await?;
    Ok(took)
}

/// Retries a write at a server until it is acknowledged; returns the time of that.
async fn first_write(contender: Contender, address: &str, first: Prober) -> Instant {
    let mut prober = Some(first);
    loop {
        // A server without a leader may hold a request for long. After the same short timeout, both
        // kinds of clients open a new connection for the next attempt.
        let asked = match &mut prober {
            Some(prober) => timeout(ATTEMPT, prober.put()).await,
            None => Ok(Err(anyhow::anyhow!("no connection"))),
        };
        match asked {
            Ok(Ok(())) => return Instant::now(),
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => prober = None,
        }
        if prober.is_none() {
            prober = Prober::connect(contender, address).await.ok();
        }
    }
}

impl Failovers {
    /// The smallest measured time that this share of the failovers did not exceed.
    pub fn quantile(&self, quantile: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        let count =
            (1..=sorted.len()).find(|count| *count as f64 >= quantile * sorted.len() as f64);
        sorted.get(count.unwrap_or(1) - 1).copied().unwrap_or(0.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let etcd = self.etcd.as_deref().unwrap_or("no etcd found");
        writeln!(f, "{}; {etcd}", self.machine)?;
        let timeout = ELECTION_TIMEOUT.as_millis();
        writeln!(
            f,
            "Leader killed -9 to first acknowledged write, election timeouts of {timeout} to {} ms:\n",
            2 * timeout
        )?;
        writeln!(f, "| | kills | min ms | p50 ms | p90 ms | p99 ms | max ms |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for row in &self.failovers {
            write!(f, "| {} | {} |", row.contender.name(), row.milliseconds.len())?;
            for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
                write!(f, " {:.0} |", row.quantile(quantile))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Contender, Failovers};

    /// Guards that a quantile is a measured value, and that the last quantile is the maximum.
    #[test]
    fn a_quantile_is_one_of_the_measured() {
        let milliseconds = (1..=100).rev().map(f64::from).collect();
        let row = Failovers { contender: Contender::Glassraft, milliseconds };
        for (quantile, expected) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((row.quantile(quantile) - expected).abs() < f64::EPSILON, "{quantile}");
        }
    }
}
