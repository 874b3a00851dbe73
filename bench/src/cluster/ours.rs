//! Starts and queries this project's servers.

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::Cluster;
use crate::load::http::Connection;

pub(super) fn command(cluster: &Cluster, server: usize) -> Command {
    let members: Vec<String> = cluster
        .servers
        .iter()
        .enumerate()
        .map(|(number, it)| {
            format!("{}=127.0.0.1:{}/127.0.0.1:{}", number + 1, it.peer_port, it.client_port)
        })
        .collect();
    let mut command = cluster.command();
    command
        .args(["serve", "--cluster-id=bench", "--log=warn", "--id", &(server + 1).to_string()])
        .args(["--members", &members.join(",")])
        .arg("--data")
        .arg(cluster.data(server));
    if !cluster.servers[server].started_before {
        command.arg("--new-cluster");
    }
    if let Some(shortest) = cluster.setup.election_timeout {
        let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
        command
            .args(["--election-timeout-min", &milliseconds(shortest)])
            .args(["--election-timeout-max", &milliseconds(2 * shortest)])
            .args(["--heartbeat-interval", &milliseconds(shortest / 5)]);
    }
    command
}

/// The fields of `/cluster/status` that are used here.
#[derive(Deserialize)]
struct Status {
    leader: Option<Leader>,
    commit_index: u64,
    applied_index: u64,
}

#[derive(Deserialize)]
struct Leader {
    id: usize,
}

async fn status(cluster: &Cluster, server: usize) -> Option<Status> {
    let asking = async {
        let mut connection = Connection::open(&cluster.address(server)).await.ok()?;
        let request = b"GET /cluster/status?progress=local HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let answer = connection.exchange(request).await.ok()?;
        serde_json::from_slice(answer.body).ok()
    };
    tokio::time::timeout(Duration::from_secs(1), asking).await.ok()?
}

pub(super) async fn leader(cluster: &Cluster, server: usize) -> Option<usize> {
    Some(status(cluster, server).await?.leader?.id - 1)
}

/// The applied index of a server, and the highest commit index of all servers.
pub(super) async fn progress(cluster: &Cluster, server: usize) -> Option<(u64, u64)> {
    let mine = status(cluster, server).await?.applied_index;
    let mut best = 0;
    for (other, _) in cluster.client_ports() {
        let commit = status(cluster, other).await.map_or(0, |status| status.commit_index);
        best = best.max(commit);
    }
    Some((mine, best))
}
