//! `glassraft member`, `transfer-leader` and `snapshot`.

use std::time::Duration;

use anyhow::{Context, bail};
use api::members::{MemberInfo, MemberList, MemberRole, Members};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::connect::{ClientArgs, Output, line};
use super::progress;

/// The timeout for a joining server to catch up; longer than the servers' own timeout.
const JOIN_PATIENCE: Duration = Duration::from_secs(90);

/// Show, add, promote or remove members.
#[derive(Args)]
pub(super) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Subcommand)]
enum MemberCommand {
    /// Show the members and their addresses
    #[command(after_help = "Examples:
  glassraft member list
  glassraft member list --output json")]
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Add a server; returns when it has caught up and is a voter
    #[command(after_help = "Examples:
  glassraft member add 4=127.0.0.1:8004/127.0.0.1:7004
  glassraft member add 4=127.0.0.1:8004/127.0.0.1:7004 --learner

Start the new server with an empty directory and without --new-cluster. List the members and the new
server in its --members.")]
    Add {
        /// The server's id and addresses
        #[arg(value_name = "ID=PEER/CLIENT")]
        server: Members,
        /// Add it as a learner, without a vote
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a learner a voter; returns when it has caught up and is a voter
    #[command(after_help = "Examples:
  glassraft member promote 4")]
    Promote {
        /// The server's id
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove a server from the cluster
    #[command(after_help = "Examples:
  glassraft member remove 4

The leader can be removed too; another server then becomes leader. The removed server runs until you
stop it, and can be added again.")]
    Remove {
        /// The server's id
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Transfer leadership to another server.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft transfer-leader          to the server with the most complete log
  glassraft transfer-leader 2")]
pub(super) struct TransferArgs {
    /// The new leader's id [default: the server with the most complete log]
    to: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Make a server take a snapshot and compact its log.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft snapshot --endpoints 127.0.0.1:7002     on server 2")]
pub(super) struct SnapshotArgs {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn member(arguments: MemberArgs) -> anyhow::Result<()> {
    const MEMBERS: &str = "/cluster/members";
    let (client, answer) = match arguments.command {
        MemberCommand::List { client } => {
            let answer = client.client()?.json(&Method::GET, MEMBERS, None).await?;
            (client, answer)
        }
        MemberCommand::Add { server, learner, client } => {
            let mut servers = server.iter();
            let (Some((id, member)), None) = (servers.next(), servers.next()) else {
                bail!("add one server at a time");
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
        MemberCommand::Promote { id, client } => {
            let patient = client.patient_client(JOIN_PATIENCE)?;
            let bar = progress::spinner(format!("S{id} catches up"));
            let answer = patient.json(&Method::POST, MEMBERS, Some(&json!({"id": id}))).await;
            bar.finish_and_clear();
            let answer = answer?;
            (client, answer)
        }
        MemberCommand::Remove { id, client } => {
            let path = format!("{MEMBERS}/{id}");
            let answer = client.client()?.json(&Method::DELETE, &path, None).await?;
            (client, answer)
        }
    };
    match client.output {
        Output::Json => line(&answer.to_string()),
        Output::Text => {
            let list = serde_json::from_value(answer)
                .context("the server's answer is not a list of members")?;
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
    // Send the request to the given servers only, in this order: each server has its own snapshots.
    let these = client.client_of_these(Duration::ZERO)?;
    let answer = these.json(&Method::POST, "/cluster/snapshot", None).await?;
    client.print(&answer, |it| {
        format!("the newest snapshot contains all entries up to {}", it["snapshot_index"])
    })
}

/// The members as text, one line each, and the list in the format of `--members`.
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
