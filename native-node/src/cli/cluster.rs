//! `native-node member`, `transfer-leader` and `snapshot`.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::connect::{ClientArgs, Output, line};
use super::progress;
use crate::config::Members;
use crate::http::members::{MemberInfo, MemberList, MemberRole};

/// How long a server that joins may take to catch up: longer than the servers wait for it.
const JOIN_PATIENCE: Duration = Duration::from_secs(90);

/// Show the members, or let servers join and leave.
#[derive(Args)]
pub(super) struct MemberArgs {
    #[command(subcommand)]
    deed: MemberDeed,
}

#[derive(Subcommand)]
enum MemberDeed {
    /// Show who belongs to the cluster and where each is found
    #[command(after_help = "Examples:
  native-node member list
  native-node member list --output json")]
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a server in; returns once it has caught up and votes
    #[command(after_help = "Examples:
  native-node member add 4=127.0.0.1:8004/127.0.0.1:7004
  native-node member add 4=127.0.0.1:8004/127.0.0.1:7004 --learner

The server itself is started with an empty directory and without --new-cluster, with the members
and itself in --members.")]
    Add {
        /// Its number and addresses
        #[arg(value_name = "ID=PEER/CLIENT")]
        server: Members,
        /// Let it replicate without a vote
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a learner a vote; returns once it has caught up and votes
    #[command(after_help = "Examples:
  native-node member promote 4")]
    Promote {
        /// Its number
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a server out of the cluster
    #[command(after_help = "Examples:
  native-node member remove 4

The leader can be removed too: another one leads then. The server itself goes on running until it is
ended, and can be added again.")]
    Remove {
        /// Its number
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Hand leadership over.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node transfer-leader          to whoever is furthest
  native-node transfer-leader 2")]
pub(super) struct TransferArgs {
    /// Who is to lead [default: whose log is furthest]
    to: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Let a server take a snapshot and shorten its log.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node snapshot --endpoints 127.0.0.1:7002     of server 2")]
pub(super) struct SnapshotArgs {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn member(arguments: MemberArgs) -> anyhow::Result<()> {
    const MEMBERS: &str = "/cluster/members";
    let (client, answer) = match arguments.deed {
        MemberDeed::List { client } => {
            let answer = client.client()?.json(&Method::GET, MEMBERS, None).await?;
            (client, answer)
        }
        MemberDeed::Add { server, learner, client } => {
            let mut servers = server.iter();
            let (Some((id, member)), None) = (servers.next(), servers.next()) else {
                bail!("servers join one at a time");
            };
            let body = json!({
                "id": id, "peer": member.peer, "client": member.client, "learner": learner,
            });
            let patient = client.patient_client(JOIN_PATIENCE)?;
            let bar = progress::spinner(format!("{id} catches up"));
            let answer = patient.json(&Method::POST, MEMBERS, Some(&body)).await;
            bar.finish_and_clear();
            let answer = answer?;
            (client, answer)
        }
        MemberDeed::Promote { id, client } => {
            let patient = client.patient_client(JOIN_PATIENCE)?;
            let bar = progress::spinner(format!("S{id} catches up"));
            let answer = patient.json(&Method::POST, MEMBERS, Some(&json!({"id": id}))).await;
            bar.finish_and_clear();
            let answer = answer?;
            (client, answer)
        }
        MemberDeed::Remove { id, client } => {
            let path = format!("{MEMBERS}/{id}");
            let answer = client.client()?.json(&Method::DELETE, &path, None).await?;
            (client, answer)
        }
    };
    match client.output {
        Output::Json => line(&answer.to_string()),
        Output::Text => {
            let list = serde_json::from_value(answer).context("the answer lists no members")?;
            line(in_words(&list).trim_end())
        }
    }
}

pub(super) async fn transfer(arguments: TransferArgs) -> anyhow::Result<()> {
    let TransferArgs { to, client } = arguments;
    let body = json!({"to": to});
    let answer = client.client()?.json(&Method::POST, "/cluster/leader", Some(&body)).await?;
    client.print(&answer, |answer| format!("S{} leads", answer["leader"]))
}

pub(super) async fn snapshot(arguments: SnapshotArgs) -> anyhow::Result<()> {
    let client = arguments.client;
    // The servers that were named, in this order: each has snapshots of its own.
    let these = client.client_of_these(Duration::ZERO)?;
    let answer = these.json(&Method::POST, "/cluster/snapshot", None).await?;
    client.print(&answer, |it| format!("a snapshot holds all up to {}", it["snapshot_index"]))
}

/// A line a member, and the list as `--members` takes it.
fn in_words(list: &MemberList) -> String {
    let line = |member: &MemberInfo| {
        let role = match member.role {
            MemberRole::Voter if list.leader == Some(member.id) => "leader",
            MemberRole::Voter => "voter",
            MemberRole::Leaving => "leaving",
            MemberRole::Learner => "learner",
            MemberRole::Joining => "joining",
        };
        let places = member.addresses.as_ref().map_or_else(
            || "addresses unknown".to_owned(),
            |it| format!("peers at {}, clients at {}", it.peer, it.client),
        );
        format!("{:<4} {role:<8} {places}\n", member.id.to_string())
    };
    let text: String = list.members.iter().map(line).collect();
    let known = list.members.iter().filter_map(|it| Some((it.id, it.addresses.as_ref()?)));
    let flags: Vec<_> =
        known.map(|(id, it)| format!("{}={}/{}", id.0, it.peer, it.client)).collect();
    text + "--members " + &flags.join(",") + "\n"
}
