//! How long the cluster is without service after a fault: measured by writing to the servers that
//! are left until a write is acknowledged.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::client::{Client, ClientError};
use crate::config::Address;

/// The key that is written. It stays, with the time of the last measurement as its value.
const KEY: &[u8] = b"demo/failover-probe";

/// A write that takes longer is taken for lost, and another is sent.
const ATTEMPT: Duration = Duration::from_millis(250);

/// When to give up: no majority is left, most likely.
const PATIENCE: Duration = Duration::from_secs(30);

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failover {
    /// The server that was disturbed.
    node: u64,
    /// How.
    deed: &'static str,
    /// When, in milliseconds since 1970.
    at_ms: u64,
    /// From the fault to the first acknowledged write; none within the patience.
    first_write_ms: Option<f64>,
    /// Who leads after it.
    leader: Option<u64>,
}

/// Writes to `others` until a write succeeds.
pub(super) async fn measure(node: u64, deed: &'static str, others: Vec<Address>) -> Failover {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    let start = Instant::now();
    let client = Client::new(others, ATTEMPT);
    let value = Bytes::from(at_ms.to_string());
    let mut measured = Failover { node, deed, at_ms, first_write_ms: None, leader: None };
    while start.elapsed() < PATIENCE {
        match client.put(KEY, value.clone()).await {
            Ok(_) => {
                measured.first_write_ms = Some(start.elapsed().as_secs_f64() * 1e3);
                break;
            }
            // Writing the same value twice does no harm, so what may have happened is tried again.
            Err(ClientError::Unknown(_) | ClientError::Unavailable(_)) => {}
            Err(ClientError::Refused { .. }) => sleep(ATTEMPT).await,
        }
    }
    let status = client.request(&Method::GET, "/cluster/status?progress=local", Bytes::new()).await;
    let status = status.ok().and_then(|answer| {
        serde_json::from_slice::<crate::http::status::ClusterStatus>(&answer.body).ok()
    });
    measured.leader = status.and_then(|status| status.leader).map(|leader| leader.id.0);
    measured
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, deed, first_write_ms, leader, .. } = self;
        let leader = leader.map_or("nobody leads".to_owned(), |leader| format!("S{leader} leads"));
        match first_write_ms {
            Some(ms) => write!(f, "{deed} S{node}: first write after {ms:.0} ms; {leader}"),
            None => write!(f, "{deed} S{node}: no write for {PATIENCE:?}; {leader}"),
        }
    }
}
