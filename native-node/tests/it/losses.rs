//! Processes that are killed at random, lose their data, or all restart, while clients at all
//! servers write and read.

use testbed::load::{Load, judge};
use testbed::soak::Soak;

use crate::cluster::{CALM, Cluster};

fn load(cluster: &Cluster, clients: u64) -> Load {
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    Load::start(clients, &servers)
}

/// Guards shared state: many threads write and read at once through all servers and see one store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_at_all_servers_see_one_store() {
    let cluster = Cluster::start_with(3, &["--worker-threads=2", CALM[0], CALM[1]]);
    cluster.leader().await;
    let load = load(&cluster, 24);
    load.more_writes(3000).await;
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
}

/// Guards a server that restarts without data under load: it is removed and added again, and loses
/// or invents nothing.
#[tokio::test]
async fn a_wiped_server_is_let_in_again_under_load() {
    let mut cluster = Cluster::start_with(3, &[]);
    cluster.leader().await;
    let load = load(&cluster, 4);
    load.more_writes(50).await;
    // The leader too, to add an election.
    for id in [cluster.follower().await, cluster.leader().await] {
        cluster.kill(id);
        cluster.wipe(id);
        cluster.spawn(id);
        cluster.take_out(id).await;
        load.more_writes(50).await;
        cluster.let_in(id).await;
        cluster.caught_up(id).await;
    }
    load.more_writes(50).await;
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
}

/// Guards the connections to a server that is removed and added again at once: ending the old
/// connection must not disturb the new one. (A soak found it: both were reopened hundreds of times
/// in five seconds, and little got through.)
#[tokio::test]
async fn a_member_that_returns_at_once_is_connected_once() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let load = load(&cluster, 4);
    load.more_writes(50).await;
    cluster.take_out(follower).await;
    cluster.let_in(follower).await;
    cluster.caught_up(follower).await;
    load.more_writes(300).await;
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
    let log = std::fs::read_to_string(cluster.log(leader)).unwrap();
    let connected = format!(" INFO connected peer=S{follower} ");
    let times = log.lines().filter(|line| line.contains(&connected)).count();
    assert!((1..=4).contains(&times), "{times} connections to server {follower}");
}

/// Guards against all faults together for a short time, always the same: random kill -9, freezes,
/// cuts, stalls, full disks, wipes, flipped bits, membership changes. `cargo xtask soak` runs
/// longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_loses_nothing() {
    let soak = Soak { time: std::time::Duration::from_secs(20), seed: 1, ..Soak::default() };
    let report = soak.run().await;
    println!("{report}");
    assert!(report.windows > 0 && report.not_judged == 0, "{report}");
}
