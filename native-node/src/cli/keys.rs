//! `native-node get`, `put`, `delete` and `txn`.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use hyper::Method;
use raft_core::codec::text_or_bytes;
use serde::Serialize;

use super::{ClientArgs, Output};
use crate::client::{escape, key_path};
use crate::http::request::Consistency;

/// Read a key.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node get greeting
  native-node get greeting --stale               what the server has, without asking a majority
  native-node get photo > photo.jpg              bytes come as they are
  native-node get users/ --prefix                all keys that begin so
  native-node get greeting --output json")]
pub(super) struct GetArgs {
    /// The key
    key: String,
    /// Read all keys that begin so
    #[arg(long)]
    prefix: bool,
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
    /// The lease with which the key ends
    #[arg(long, value_name = "N")]
    lease: Option<u64>,
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
    let GetArgs { key, prefix, stale, client } = arguments;
    let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
    if prefix {
        return get_all(&client, &key, consistency).await;
    }
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
    let PutArgs { key, value, lease, client } = arguments;
    let value = if value == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        Bytes::from(bytes)
    } else {
        Bytes::from(value)
    };
    let lease = lease.map(|lease| format!("?lease={lease}")).unwrap_or_default();
    let path = key_path(key.as_bytes()) + &lease;
    let answer = client.client().request(&Method::PUT, &path, value).await?;
    print_written(&client, &answer.body)
}

pub(super) async fn delete(arguments: DeleteArgs) -> anyhow::Result<()> {
    let DeleteArgs { key, client } = arguments;
    let answer = client.client().delete(key.as_bytes()).await?;
    print_written(&client, &answer.body)
}

/// Every page of the keys that begin so.
async fn get_all(
    client: &ClientArgs,
    prefix: &str,
    consistency: Consistency,
) -> anyhow::Result<()> {
    let prefix = escape(prefix.as_bytes());
    let mut start = prefix.clone();
    loop {
        let consistency = consistency.name();
        let path = format!("/kv?prefix={prefix}&start={start}&consistency={consistency}");
        let page = client.client().json(&Method::GET, &path, None).await?;
        for pair in page["pairs"].as_array().into_iter().flatten() {
            match client.output {
                Output::Json => println!("{pair}"),
                Output::Text => {
                    println!("{} = {}", in_words(&pair["key"]), in_words(&pair["value"]));
                }
            }
        }
        if page["next"].is_null() {
            return Ok(());
        }
        start = escape(&serde_json::from_value::<Key>(page["next"].clone())?.0);
    }
}

/// Bytes in JSON.
#[derive(serde::Deserialize)]
struct Key(#[serde(with = "text_or_bytes")] Bytes);

fn in_words(bytes: &serde_json::Value) -> String {
    bytes.as_str().map_or_else(|| bytes.to_string(), str::to_owned)
}

/// Read and change several keys as one.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node txn '{\"then\": [{\"put\": {\"key\": \"a\", \"value\": \"1\"}}, {\"delete\": {\"key\": \"b\"}}]}'
  native-node txn - < transaction.json
  native-node txn '{\"compare\": [{\"key\": \"a\", \"target\": {\"value\": \"1\"}}],
                    \"then\": [{\"put\": {\"key\": \"a\", \"value\": \"2\"}}],
                    \"else\": [{\"get\": {\"key\": \"a\"}}]}'")]
pub(super) struct TxnArgs {
    /// The transaction as JSON; `-` reads it from standard input
    transaction: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn txn(arguments: TxnArgs) -> anyhow::Result<()> {
    let TxnArgs { transaction, client } = arguments;
    let body = if transaction == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        transaction
    };
    let body = serde_json::from_str(&body).context("the transaction is no JSON")?;
    let answer = client.client().json(&Method::POST, "/txn", Some(&body)).await?;
    println!("{answer}");
    Ok(())
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
