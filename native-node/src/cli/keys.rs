//! `native-node get`, `put` and `delete`.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use raft_core::codec::text_or_bytes;
use serde::Serialize;

use super::{ClientArgs, Output};
use crate::http::request::Consistency;

/// Read a key.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node get greeting
  native-node get greeting --stale               what the server has, without asking a majority
  native-node get photo > photo.jpg              bytes come as they are
  native-node get greeting --output json")]
pub(super) struct GetArgs {
    /// The key
    key: String,
    /// Read what the server has, even if it may be old
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Set a key.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node put greeting hello
  native-node put photo - < photo.jpg            the value from standard input
  native-node put greeting hello --output json")]
pub(super) struct PutArgs {
    /// The key
    key: String,
    /// Its new value; `-` reads it from standard input
    value: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Remove a key.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node delete greeting")]
pub(super) struct DeleteArgs {
    /// The key
    key: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// A pair as JSON.
#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    #[serde(with = "text_or_bytes")]
    value: &'a Bytes,
}

pub(super) async fn get(arguments: GetArgs) -> anyhow::Result<()> {
    let GetArgs { key, stale, client } = arguments;
    let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
    let Some(value) = client.client().get(key.as_bytes(), consistency).await? else {
        bail!("there is no key `{key}`");
    };
    let mut out = std::io::stdout().lock();
    match client.output {
        Output::Text => {
            out.write_all(&value)?;
            // A terminal wants the line to end; a file gets the bytes alone.
            if std::io::IsTerminal::is_terminal(&out) {
                out.write_all(b"\n")?;
            }
        }
        Output::Json => {
            let pair = Pair { key: &key, value: &value };
            writeln!(out, "{}", serde_json::to_string(&pair)?)?;
        }
    }
    out.flush()?;
    Ok(())
}

pub(super) async fn put(arguments: PutArgs) -> anyhow::Result<()> {
    let PutArgs { key, value, client } = arguments;
    let value = if value == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        Bytes::from(bytes)
    } else {
        Bytes::from(value)
    };
    let answer = client.client().put(key.as_bytes(), value).await?;
    print_written(&client, &answer.body)
}

pub(super) async fn delete(arguments: DeleteArgs) -> anyhow::Result<()> {
    let DeleteArgs { key, client } = arguments;
    let answer = client.client().delete(key.as_bytes()).await?;
    print_written(&client, &answer.body)
}

/// The server's answer in words, or as it came.
fn print_written(client: &ClientArgs, body: &[u8]) -> anyhow::Result<()> {
    let answer: serde_json::Value =
        serde_json::from_slice(body).context("the server's answer is no JSON")?;
    match client.output {
        Output::Json => println!("{answer}"),
        Output::Text => println!("done; the store is at revision {}", answer["revision"]),
    }
    Ok(())
}
