//! Three hosts with their own addresses and real network partitions: routes that drop packets in
//! one or both directions, and unplugged links. Skipped if the machine does not allow new networks.

use testbed::hosts::Hosts;
use testbed::load::{InSession, Load, LoadOptions, judge};

use crate::cluster::{Cluster, eventually};

/// Guards the whole stack on real networks: TCP connections that hang, dials without an answer, and
/// forwarding to a leader behind a dead route. Clients see one consistent store, and no
/// acknowledged write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hosts_survive_partitions_of_their_network() {
    let mut hosts = match Hosts::build(3) {
        Ok(hosts) => hosts,
        Err(why) => {
            println!("skipped: no hosts can be made here (it takes root and `ip netns`): {why}");
            return;
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let secret = format!("--cluster-secret-file={}", secret.display());
    // No other program can reach these addresses.
    let arguments = [&*secret, "--insecure-bind", "--request-timeout=1s"];
    let mut cluster = Cluster::prepare_on(&hosts, &arguments);
    cluster.start_all();
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let leader = cluster.leader().await;
    let load =
        Load::with(LoadOptions { sessions: InSession::Half, ..LoadOptions::new(4) }, &servers);
    load.more_writes(50).await;

    for other in cluster.ids().filter(|id| *id != leader) {
        hosts.cut(leader, other);
    }
    let leader = another_leads(&cluster, leader).await;
    load.more_writes(50).await;
    hosts.heal();
    load.more_writes(50).await;
    println!("healed from a leader without routes");

    // Packets of the others do not reach the leader, and neither do their acknowledgements: TCP on
    // both sides keeps sending in vain.
    for other in cluster.ids().filter(|id| *id != leader) {
        hosts.cut_one_way(other, leader);
    }
    let leader = another_leads(&cluster, leader).await;
    load.more_writes(50).await;
    hosts.heal();
    load.more_writes(50).await;
    println!("healed from a leader that packets left but did not reach");

    hosts.unplug(leader);
    another_leads(&cluster, leader).await;
    load.more_writes(50).await;
    hosts.heal();
    load.more_writes(50).await;
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
}

/// Waits until the others have a new leader.
async fn another_leads(cluster: &Cluster, old: usize) -> usize {
    eventually("the others have a leader", async || {
        let others: Vec<usize> = cluster.ids().filter(|id| *id != old).collect();
        let mut named = Vec::new();
        for id in others {
            named.push(cluster.status(id).await?.leader?.id.0);
        }
        let leader = usize::try_from(named[0]).unwrap();
        (leader != old && named.iter().all(|id| *id == named[0])).then_some(leader)
    })
    .await
}
