//! Bounds on disk and memory.

use std::time::Instant;

use bytes::Bytes;
use client::{Client, ClientError};
use rustix::process::Signal;
use testbed::faults::{ALLOW_FAULTS, Plan};
use tokio::task::JoinSet;

use crate::cluster::{CALM, Cluster, REQUEST, eventually, size_of};
use crate::http::send;

const MIB: u64 = 1 << 20;

/// Segments of 1 MiB.
const SMALL: &str = "--segment-bytes=1048576";

/// Writes `count` values of 1000 bytes through the given server, with many clients at once.
async fn write(cluster: &Cluster, server: usize, count: u32) {
    const CLIENTS: u32 = 64;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client::new(vec![cluster.address(server)], REQUEST);
        clients.spawn(async move {
            let value = Bytes::from(vec![b'v'; 1000]);
            for turn in 0..count / CLIENTS {
                let key = format!("key-{}", (number + turn * CLIENTS) % 1000);
                // On a busy machine the leader may change and leave some outcomes unknown; a put of
                // the same value may be repeated.
                while let Err(error) = client.put(key.as_bytes(), value.clone()).await {
                    assert!(matches!(error, ClientError::Unknown(_)), "{error}");
                }
            }
        });
    }
    clients.join_all().await;
}

/// Guards disk and memory over time: the log alone would exceed 200 MiB on each server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_writes_leave_a_bounded_directory() {
    let [min, max] = CALM;
    let cluster = Cluster::start_with(3, &["--compact-after-entries=20000", min, max]);
    let leader = cluster.leader().await;
    let start = Instant::now();
    let mut sizes = Vec::new();
    for _ in 0..10 {
        write(&cluster, leader, 20_000).await;
        sizes.push(cluster.ids().map(|id| size_of(&cluster.data(id)) / MIB).max().unwrap());
    }
    let rate = 200_000.0 / start.elapsed().as_secs_f64();
    println!("200,000 writes of 1000 bytes by 64 clients: {rate:.0}/s; MiB on disk: {sizes:?}");
    let status = cluster.converged().await;
    assert!(status.last_index.0 >= 199_000, "{status:#?}");
    assert_eq!(status.state.keys, 1000);
    assert!(sizes.iter().all(|size| *size <= 128), "{sizes:?}");
    for id in cluster.ids() {
        let status = eventually("the last snapshot is saved", async || {
            let status = cluster.status(id).await?;
            (status.snapshot_index.0 > status.last_index.0 - 25_000).then_some(status)
        })
        .await;
        assert!(status.log.entries <= 40_000, "server {id}: {:?}", status.log);
        assert!(status.snapshots.count <= 2, "server {id}: {:?}", status.snapshots);
    }
}

/// Guards memory and disk against large values: a log bounded only by its number of entries would
/// keep all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_leave_memory_and_disk_bounded() {
    const PUTS: u64 = 400;
    let settings = ["--keep-bytes=16777216", "--compact-after-bytes=16777216"];
    let mut cluster = Cluster::start_with(3, &[settings[0], settings[1], SMALL, CALM[0], CALM[1]]);
    let leader = cluster.leader().await;
    // One of three servers is away and lacks all writes.
    let away = cluster.follower().await;
    cluster.kill(away);
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let client = Client::new(vec![cluster.address(leader)], REQUEST);
        clients.spawn(async move {
            let value = Bytes::from(vec![b'v'; 1 << 20]);
            for _ in 0..PUTS / 4 {
                while let Err(error) = client.put(b"key", value.clone()).await {
                    assert!(matches!(error, ClientError::Unknown(_)), "{error}");
                }
            }
        });
    }
    clients.join_all().await;
    let figures = |cluster: &Cluster, id| {
        let memory = cluster.memory(id).expect("the system tells") / MIB;
        (memory, size_of(&cluster.data(id)) / MIB)
    };
    let running = cluster.running();
    let told: Vec<_> = running.iter().map(|id| figures(&cluster, *id)).collect();
    println!("MiB of memory and disk after {PUTS} puts of 1 MiB: {told:?}");
    // The state and its snapshots are 1 MiB each. The rest is what the settings allow, queues of
    // requests and for the missing server, and what the allocator keeps.
    assert!(told.iter().all(|(memory, disk)| *memory < 192 && *disk < 160), "{told:?}");
    for id in running {
        let log = cluster.status(id).await.unwrap().log;
        assert!(log.bytes <= 17 << 20, "server {id}: {log:?}");
    }
    // The log no longer has what this server needs: it gets the state.
    cluster.spawn(away);
    let status = cluster.converged().await;
    assert_eq!(status.state.bytes, (1 << 20) + 3);
    let (memory, disk) = figures(&cluster, away);
    assert!(memory < 192 && disk < 160, "server {away}: {memory} {disk}");
}

/// Guards memory while the disks of a majority hang: uncommitted writes stay in the leader's log,
/// even without a waiting client, bounded in bytes.
#[tokio::test]
async fn writes_that_do_not_commit_are_bounded_in_bytes() {
    let settings = ["--request-timeout=200ms", "--max-request-bytes=8388608"];
    let cluster =
        Cluster::start_with(3, &[ALLOW_FAULTS, settings[0], settings[1], CALM[0], CALM[1]]);
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let mut plan = Plan::default();
    for id in cluster.ids().filter(|id| *id != leader) {
        plan.of(id).disk.stalled = true;
    }
    cluster.apply(&plan).await;
    let put = serde_json::json!({"put": {"key": "k", "value": "v".repeat(1 << 20)}});
    let batch = Bytes::from(serde_json::json!({ "operations": [put] }).to_string());
    let mut refused = 0;
    for _ in 0..20 {
        let answer = send("POST", &address, "/batch", &[], batch.clone()).await;
        refused += u32::from(String::from_utf8_lossy(&answer.body).contains("overloaded"));
    }
    assert!(refused >= 10, "{refused} of 20 were refused");
    let log = cluster.status(leader).await.unwrap().log;
    assert!(log.bytes <= 10 << 20, "{log:?}");
    cluster.heal().await;
    eventually("writes go on", async || {
        let answer = send("POST", &address, "/batch", &[], batch.clone()).await;
        String::from_utf8_lossy(&answer.body).contains("written").then_some(())
    })
    .await;
    cluster.converged().await;
}

/// Guards a follower that was away for longer than the log reaches back: it gets a snapshot in
/// several chunks while writes continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_too_far_behind_gets_a_snapshot() {
    let settings =
        ["--compact-after-entries=2000", "--keep-entries=100", "--max-chunk-bytes=50000"];
    let mut cluster = Cluster::start_with(3, &settings);
    let leader = cluster.leader().await;
    let away = cluster.follower().await;
    cluster.kill(away);
    write(&cluster, leader, 6400).await;
    eventually("the log was compacted", async || {
        let status = cluster.status(leader).await?;
        (status.log.first_index.0 > 2000).then_some(())
    })
    .await;
    cluster.spawn(away);
    write(&cluster, leader, 640).await;
    let status = cluster.converged().await;
    assert_eq!(status.state.keys, 1000);
    let behind = cluster.status(away).await.unwrap();
    assert!(behind.snapshot_index.0 > 2000, "it got a snapshot: {behind:#?}");
    // It also restarts from the received snapshot.
    cluster.signal(away, Signal::TERM);
    assert!(cluster.ended(away).await.success());
    cluster.spawn(away);
    cluster.converged().await;
}

/// Guards pitfall 40 while a server is away: the leader's memory does not grow with the missing
/// server's lag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_40_memory_stays_flat_while_a_server_is_away() {
    let [min, max] = CALM;
    let mut cluster = Cluster::start_with(3, &["--compact-after-entries=10000", min, max]);
    let leader = cluster.leader().await;
    let away = cluster.follower().await;
    cluster.kill(away);
    let mut memory = Vec::new();
    for _ in 0..5 {
        write(&cluster, leader, 20_000).await;
        memory.push(cluster.memory(leader).map_or(0, |bytes| bytes / MIB));
    }
    println!("the leader's memory after each 20,000 writes with a server away, MiB: {memory:?}");
    // The allocator needs time to settle; without a bound memory would grow by 20 MiB a step and
    // more.
    assert!(memory[4] <= memory[1] + 24, "{memory:?}");
    cluster.spawn(away);
    cluster.converged().await;
}

/// Guards logs that grow slowly: they are compacted by time, not only by size.
#[tokio::test]
async fn a_log_is_compacted_now_and_then_however_small_it_is() {
    let cluster = Cluster::start_with(1, &["--compact-interval=200ms"]);
    cluster.leader().await;
    cluster.client(1).put(b"k", Bytes::from_static(b"1")).await.unwrap();
    eventually("a snapshot covers the write", async || {
        let status = cluster.status(1).await?;
        (status.snapshot_index == status.last_index).then_some(())
    })
    .await;
}
