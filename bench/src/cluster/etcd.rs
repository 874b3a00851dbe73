//! Starts and queries etcd's servers.

use std::process::Command;
use std::time::Duration;

use etcd_client::{Client, StatusResponse};

use super::Cluster;

pub(super) fn command(cluster: &Cluster, server: usize) -> Command {
    let peers: Vec<String> = cluster
        .servers
        .iter()
        .enumerate()
        .map(|(number, it)| format!("{}=http://127.0.0.1:{}", name(number), it.peer_port))
        .collect();
    let own = &cluster.servers[server];
    let client = format!("http://127.0.0.1:{}", own.client_port);
    let peer = format!("http://127.0.0.1:{}", own.peer_port);
    let mut command = cluster.command();
    command
        .args(["--name", &name(server), "--logger=zap", "--log-level=error"])
        .arg("--data-dir")
        .arg(cluster.data(server))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &peers.join(","), "--initial-cluster-state=new"]);
    if let Some(shortest) = cluster.setup.election_timeout {
        // etcd also draws its timeouts between the given value and twice that value.
        command
            .args(["--election-timeout", &shortest.as_millis().to_string()])
            .args(["--heartbeat-interval", &(shortest / 5).as_millis().to_string()]);
    }
    command
}

fn name(server: usize) -> String {
    format!("n{}", server + 1)
}

async fn status(cluster: &Cluster, server: usize) -> Option<StatusResponse> {
    let asking = async {
        let client = Client::connect([cluster.address(server)], None).await.ok()?;
        client.maintenance_client().status().await.ok()
    };
    tokio::time::timeout(Duration::from_secs(1), asking).await.ok()?
}

pub(super) async fn leader(cluster: &Cluster, server: usize) -> Option<usize> {
    let leader = status(cluster, server).await?.leader();
    for (other, _) in cluster.client_ports() {
        if let Some(status) = status(cluster, other).await
            && status.header()?.member_id() == leader
        {
            return Some(other);
        }
    }
    None
}

/// The applied index of a server, and the highest applied index of all servers.
pub(super) async fn progress(cluster: &Cluster, server: usize) -> Option<(u64, u64)> {
    let mine = status(cluster, server).await?.raft_applied_index();
    let mut best = 0;
    for (other, _) in cluster.client_ports() {
        let applied = status(cluster, other).await.map_or(0, |it| it.raft_applied_index());
        best = best.max(applied);
    }
    Some((mine, best))
}
