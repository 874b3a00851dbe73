//! `glassraft session`.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::connect::ClientArgs;

/// List and end sessions, in which a write takes effect only once.
#[derive(Args)]
pub(super) struct SessionArgs {
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Subcommand)]
enum SessionCommand {
    /// List all sessions
    #[command(after_help = "Examples:
  glassraft session list
  glassraft session list --output json | jq '.sessions[] | select(.sequence == 0).session'")]
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End a session; its client gets an error at the next write
    #[command(after_help = "Examples:
  glassraft session end 12")]
    End {
        /// The session's id
        session: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) async fn run(arguments: SessionArgs) -> anyhow::Result<()> {
    match arguments.command {
        SessionCommand::List { client } => {
            let sessions = all(&client).await?;
            client.print(&json!({"sessions": sessions}), |it| {
                let line = |it: &Value| {
                    format!(
                        "session {}: sequence {}, {} s of {} s left\n",
                        it["session"],
                        it["sequence"],
                        seconds(it, "remaining_ms"),
                        seconds(it, "ttl_ms"),
                    )
                };
                let sessions = it["sessions"].as_array().into_iter().flatten();
                let lines: String = sessions.map(line).collect();
                if lines.is_empty() { "no sessions".to_owned() } else { lines.trim().to_owned() }
            })
        }
        SessionCommand::End { session, client } => {
            let cluster = client.client()?;
            let path = format!("/sessions/{session}");
            let answer = cluster.json(&Method::DELETE, &path, None).await?;
            cluster.close().await;
            client.print(&answer, |_| format!("session {session} has ended"))
        }
    }
}

async fn all(client: &ClientArgs) -> anyhow::Result<Vec<Value>> {
    let cluster = client.client()?;
    let (mut sessions, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/sessions?limit=1000&after={after}");
        let page = cluster.json(&Method::GET, &path, None).await?;
        sessions.extend(page["sessions"].as_array().into_iter().flatten().cloned());
        let last = sessions.last().and_then(|last: &Value| last["session"].as_u64());
        match last {
            Some(last) if page["more"] == true => after = last,
            Some(_) | None => return Ok(sessions),
        }
    }
}

fn seconds(session: &Value, field: &str) -> u64 {
    session[field].as_u64().unwrap_or_default() / 1000
}
