//! From the leader's `kill -9` to the first acknowledged write, over and over.

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

/// The shortest election timeout of both; the longest is twice that.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(150);

/// The pause before a server is asked again.
const PAUSE: Duration = Duration::from_millis(2);

/// How long one attempt may take: many times what a write takes, and short beside an election, since
/// a server that holds a request back is asked again only after it.
const ATTEMPT: Duration = Duration::from_millis(25);

/// How long nobody may answer before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The distribution of one contender's failovers.
#[derive(Clone, Debug, Serialize)]
pub struct Failovers {
    /// Whose.
    pub contender: Contender,
    /// Each, in milliseconds, in the order in which they happened.
    pub milliseconds: Vec<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Which etcd; `None` where there is none.
    pub etcd: Option<String>,
    /// A row for each contender.
    pub failovers: Vec<Failovers>,
}

/// Kills the leader once, measures, starts it again, and waits until all is well.
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
    // So that they wait already when the leader dies.
    yield_now().await;
    let killed = cluster.kill(leader)?;
    begin.notify_waiters();
    let first = timeout(PATIENCE, asking.join_next()).await;
    let first = first.context("nobody took a write for 30 s")?.context("nobody was asked")?;
    let took = first.context("a client ended in a bug")? - killed;
    asking.shutdown().await;
    cluster.spawn(leader)?;
    cluster.caught_up(leader).await?;
    Ok(took)
}

/// Asks one server again and again; returns when it has acknowledged a write.
async fn first_write(contender: Contender, address: &str, first: Prober) -> Instant {
    let mut prober = Some(first);
    loop {
        // A server that knows of no leader may keep the request until it is too old: both get the
        // same short time for each attempt, and a connection of its own for the next one.
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
    /// So many milliseconds or less took this share of them.
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

    /// Guards the table: the figure is one that was measured, and the worst one counts.
    #[test]
    fn a_quantile_is_one_of_the_measured() {
        let milliseconds = (1..=100).rev().map(f64::from).collect();
        let row = Failovers { contender: Contender::Glassraft, milliseconds };
        for (quantile, expected) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((row.quantile(quantile) - expected).abs() < f64::EPSILON, "{quantile}");
        }
    }
}
