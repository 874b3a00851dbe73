//! Measures how long the cluster is unavailable after a fault: writes to the other servers until a
//! write is acknowledged.

use std::time::{Duration, SystemTime};

use api::address::Address;
use api::demo::Failover;
use bytes::Bytes;
use client::{Client, ClientError};
use hyper::Method;
use tokio::time::{Instant, sleep};

/// The key for the writes. It stays in the store; its value is the time of the last measurement.
const KEY: &[u8] = b"demo/failover-probe";

/// The timeout of a write; the measurement then sends another write.
const ATTEMPT: Duration = Duration::from_millis(250);

/// The timeout of the measurement. Most likely there is no quorum then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures the time until a write to `others` succeeds.
pub(super) async fn measure(node: u64, action: &'static str, others: Vec<Address>) -> Failover {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    let start = Instant::now();
    let client = Client::new(others, ATTEMPT);
    let value = Bytes::from(at_ms.to_string());
    let mut measured =
        Failover { node, action: action.to_owned(), at_ms, first_write_ms: None, leader: None };
    while start.elapsed() < PATIENCE {
        match client.put(KEY, value.clone()).await {
            Ok(_) => {
                measured.first_write_ms = Some(start.elapsed().as_secs_f64() * 1e3);
                break;
            }
            // Writes of the same value are idempotent, so retry.
            Err(ClientError::Unknown(_) | ClientError::Unavailable(_)) => {}
            Err(ClientError::Refused { .. }) => sleep(ATTEMPT).await,
        }
    }
    let status = client.request(&Method::GET, "/cluster/status?progress=local", Bytes::new()).await;
    let status = status
        .ok()
        .and_then(|answer| serde_json::from_slice::<api::status::ClusterStatus>(&answer.body).ok());
    measured.leader = status.and_then(|status| status.leader).map(|leader| leader.id.0);
    measured
}

/// The result as text, in one line.
pub(super) fn in_words(measured: &Failover) -> String {
    let Failover { node, action, first_write_ms, leader, .. } = measured;
    let leader = leader.map_or("no server leads".to_owned(), |leader| format!("S{leader} leads"));
    match first_write_ms {
        Some(ms) => format!("{action} S{node}: first write after {ms:.0} ms; {leader}"),
        None => format!("{action} S{node}: no write succeeded within {PATIENCE:?}; {leader}"),
    }
}
