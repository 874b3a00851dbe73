//! Follower reads and lease reads, checked against what clients saw.

use api::kv::Consistency;
use bytes::Bytes;
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::send;
use crate::load::{Load, judge};

/// Reads at all servers under writes, while the leader transfers leadership and the next leader is
/// frozen for longer than an election.
async fn reads_are_linearizable(consistency: Consistency, arguments: &[&str]) {
    let cluster = Cluster::start_with(3, arguments);
    cluster.leader().await;
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let load = Load::reading(6, &servers, consistency);
    load.more_writes(50).await;
    let heir = cluster.follower().await;
    let to = json!({"to": heir}).to_string();
    let handed = send("POST", &cluster.address(heir), "/cluster/leader", &[], to).await;
    assert_eq!(handed.status, 200, "{}", handed.json());
    load.more_writes(50).await;

    let frozen = cluster.leader().await;
    cluster.signal(frozen, Signal::STOP);
    let other = cluster.ids().find(|id| *id != frozen).unwrap();
    eventually("another one leads", async || {
        let status = cluster.status(other).await?;
        status.leader.filter(|place| place.id.0 != frozen as u64)
    })
    .await;
    load.more_writes(50).await;
    cluster.signal(frozen, Signal::CONT);
    load.more_writes(50).await;
    let seen = load.finish().await;
    let reads = seen
        .operations
        .iter()
        .filter(|it| matches!(it.effect, raft_core::history::Effect::Read(_)));
    assert!(reads.count() > 50, "too few reads to judge by");
    judge(seen, &cluster.any_client()).await;
    cluster.any_client().put(b"end", Bytes::new()).await.unwrap();
    cluster.converged().await;
}

/// Guards reads that followers answer by the leader's ReadIndex.
#[tokio::test]
async fn reads_at_followers_are_linearizable_under_writes() {
    reads_are_linearizable(Consistency::Linearizable, &CALM).await;
}

/// Guards pitfalls 9 and 10 in the server: no lease outlives a leadership transfer or a pause.
#[tokio::test]
async fn reads_by_lease_are_linearizable_through_a_hand_over_and_a_pause() {
    let [min, max] = CALM;
    reads_are_linearizable(Consistency::Lease, &["--lease-reads", min, max]).await;
}
