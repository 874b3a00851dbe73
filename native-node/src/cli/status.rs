//! `glassraft status`.

use std::time::Duration;

use api::address::Address;
use api::status::{ClusterStatus, PeerStatus};
use clap::Args;
use raft_core::event::RoleName;
use raft_core::types::NodeId;

use super::connect::{ClientArgs, Output, line};

/// The timeout for each further server, if the first server does not know the leader.
const ASIDE: Duration = Duration::from_secs(1);

/// Show the leader, the followers and their progress.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft status
  glassraft status --endpoints 127.0.0.1:7002     the view of server 2
  glassraft status --output json | jq .leader.id")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(arguments: StatusArgs) -> anyhow::Result<()> {
    let status = best_view(&arguments.client).await?;
    line(&match arguments.client.output {
        Output::Json => serde_json::to_string_pretty(&status)?,
        Output::Text => in_words(&status).trim_end().to_owned(),
    })
}

/// The status of the first server that is a member and knows a leader. Asks the given servers and
/// those that the first server names. Without such a server, the best status found.
async fn best_view(args: &ClientArgs) -> anyhow::Result<ClusterStatus> {
    let first = args.client_of_these(Duration::ZERO)?.status().await?;
    let rank = |status: &ClusterStatus| (status.member, status.leader.is_some());
    if rank(&first) == (true, true) {
        return Ok(first);
    }
    let given = args.endpoints.iter().map(|endpoint| endpoint.address.clone());
    let named = first.leader.iter().chain(first.peers.iter().map(|peer| &peer.place));
    let named = named.filter_map(|place| place.client.parse::<Address>().ok());
    let mut servers: Vec<Address> = Vec::new();
    for server in given.chain(named) {
        if server.to_string() != first.node.place.client && !servers.contains(&server) {
            servers.push(server);
        }
    }
    let mut best = first;
    for server in servers {
        let asked = args.client_of(server)?.with_patience(ASIDE).status().await;
        if let Ok(status) = asked
            && rank(&status) > rank(&best)
        {
            best = status;
        }
        if rank(&best) == (true, true) {
            break;
        }
    }
    Ok(best)
}

/// The status as text: a few lines, and a table with a row per server.
pub(crate) fn in_words(status: &ClusterStatus) -> String {
    let leader = match &status.leader {
        Some(leader) => format!("{} leads ({})", leader.id, leader.client),
        None => "no server leads".to_owned(),
    };
    let outside = if status.member {
        ""
    } else {
        ", which is not a member of the cluster: it was removed or not added yet"
    };
    let mut text = format!(
        "cluster {}: {leader} in term {}, as {} sees it{outside}\n\
         committed {}, applied {}, snapshot at {}; log {} on disk\n\
         revision {}, {} keys, digest {}\n\n",
        status.cluster_id,
        status.term,
        status.node.place.id,
        status.commit_index,
        status.applied_index,
        status.snapshot_index,
        size(status.log.disk_bytes),
        status.state.revision,
        status.state.keys,
        status.state.digest,
    );
    let mut rows =
        vec![["", "ROLE", "ADDRESS", "INDEX", "LAG", "ROUND TRIP", "HEALTH"].map(String::from)];
    rows.extend(status.peers.iter().map(|peer| peer_row(status, peer)));
    rows.push(own_row(status));
    rows[1..].sort();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn own_row(status: &ClusterStatus) -> [String; 7] {
    let health = if status.halted {
        "stopped; see its log"
    } else if status.member {
        "good"
    } else {
        "not a member"
    };
    [
        status.node.place.id.to_string(),
        role(status.role).to_owned(),
        status.node.place.client.clone(),
        status.last_index.to_string(),
        "-".to_owned(),
        "-".to_owned(),
        health.to_owned(),
    ]
}

fn peer_row(status: &ClusterStatus, peer: &PeerStatus) -> [String; 7] {
    let leads = |id: NodeId| status.leader.as_ref().is_some_and(|leader| leader.id == id);
    let dash = || "-".to_owned();
    let progress = peer.progress.as_ref();
    [
        peer.place.id.to_string(),
        role(if leads(peer.place.id) { RoleName::Leader } else { RoleName::Follower }).to_owned(),
        peer.place.client.clone(),
        progress.map_or_else(dash, |progress| progress.match_index.to_string()),
        progress.map_or_else(dash, |progress| progress.lag.to_string()),
        peer.round_trip_ms.map_or_else(dash, |ms| format!("{ms:.2} ms")),
        peer.why.clone().unwrap_or_else(|| "good".to_owned()),
    ]
}

const fn role(role: RoleName) -> &'static str {
    match role {
        RoleName::Leader => "leader",
        RoleName::Follower => "follower",
        RoleName::PreCandidate => "pre-candidate",
        RoleName::Candidate => "candidate",
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn size(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    format!("{:.1} MiB", bytes as f64 / MIB)
}
