//! `glassraft lease`.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::connect::ClientArgs;
use crate::config::Span;
use crate::output;

/// Grant, keep alive, revoke and show leases. When a lease ends, its keys are removed.
#[derive(Args)]
pub(super) struct LeaseArgs {
    #[command(subcommand)]
    command: LeaseCommand,
}

#[derive(Subcommand)]
enum LeaseCommand {
    /// Grant a lease that expires after its time to live unless it is kept alive
    #[command(after_help = "Examples:
  glassraft lease grant 30s
  LEASE=$(glassraft lease grant 30s --output json | jq .lease)
  glassraft put workers/7 here --lease $LEASE
  glassraft lease keep-alive $LEASE &")]
    Grant {
        /// The time to live, for instance 30s
        ttl: Span,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Keep a lease alive until this command ends
    #[command(after_help = "Examples:
  glassraft lease keep-alive 12
  glassraft lease keep-alive 12 --once")]
    KeepAlive {
        /// The lease's id
        lease: u64,
        /// Renew the lease only once
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End a lease now and remove its keys
    #[command(after_help = "Examples:
  glassraft lease revoke 12")]
    Revoke {
        /// The lease's id
        lease: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a lease, its remaining time and its keys
    #[command(after_help = "Examples:
  glassraft lease show 12 --output json")]
    Show {
        /// The lease's id
        lease: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) async fn run(arguments: LeaseArgs) -> anyhow::Result<()> {
    match arguments.command {
        LeaseCommand::Grant { ttl, client } => {
            let body = json!({"ttl_ms": u64::try_from(ttl.0.as_millis()).unwrap_or(u64::MAX)});
            let answer = ask(&client, Method::POST, "/leases", Some(&body)).await?;
            client.print(&answer, |it| format!("lease {} for {}", it["lease"], time(it, "ttl_ms")))
        }
        LeaseCommand::KeepAlive { lease, once, client } => keep_alive(&client, lease, once).await,
        LeaseCommand::Revoke { lease, client } => {
            let answer = ask(&client, Method::DELETE, &format!("/leases/{lease}"), None).await?;
            client.print(&answer, |it| {
                format!("the lease has ended; {} keys were removed", it["keys"])
            })
        }
        LeaseCommand::Show { lease, client } => {
            let path = format!("/leases/{lease}");
            let answer = client.client()?.json(&Method::GET, &path, None).await?;
            client.print(&answer, |it| {
                let keys = it["keys"].as_array().into_iter().flatten().map(|key| {
                    "\n  ".to_owned() + &key.as_str().map_or_else(|| key.to_string(), str::to_owned)
                });
                let (left, ttl) = (time(it, "remaining_ms"), time(it, "ttl_ms"));
                format!(
                    "lease {lease} has {left} of {ttl} left; its keys:{}",
                    keys.collect::<String>()
                )
            })
        }
    }
}

async fn keep_alive(client: &ClientArgs, lease: u64, once: bool) -> anyhow::Result<()> {
    let cluster = client.client()?;
    let path = format!("/leases/{lease}/keep-alive");
    loop {
        let answer = cluster.json(&Method::POST, &path, None).await?;
        let told =
            client.print(&answer, |it| format!("lease {lease} renewed for {}", time(it, "ttl_ms")));
        if once {
            cluster.close().await;
            return told;
        }
        // The keys need the lease even if the output cannot be written. Only a closed pipe ends the
        // command.
        if let Err(error) = told
            && output::reader_has_ended(&error)
        {
            return Err(error);
        }
        // Early enough for two retries.
        let ttl = Duration::from_millis(answer["ttl_ms"].as_u64().unwrap_or_default());
        tokio::time::sleep((ttl / 3).max(Duration::from_millis(50))).await;
    }
}

async fn ask(
    client: &ClientArgs,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let cluster = client.client()?;
    let answer = cluster.json(&method, path, body).await?;
    cluster.close().await;
    Ok(answer)
}

fn time(answer: &Value, field: &str) -> String {
    Span(Duration::from_millis(answer[field].as_u64().unwrap_or_default())).to_string()
}
