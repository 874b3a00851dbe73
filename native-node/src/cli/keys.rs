//! `glassraft get`, `put`, `delete` and `txn`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use api::headers::CUT_OFF_HEADER;
use api::kv::Consistency;
use bytes::Bytes;
use clap::Args;
use client::{Call, Client, escape, key_path};
use hyper::Method;
use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use raft_core::codec::text_or_bytes;
use raft_core::kv::{KeyRange, Operation};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::connect::{ClientArgs, Output, line};
use crate::logging;
use crate::output;

/// The number of pairs per request.
const PAGE: usize = 1000;

/// A key on the command line.
#[derive(Args)]
struct KeyArg {
    /// The key
    key: String,
    /// The key is given in hexadecimal digits, for keys that are not text
    #[arg(long)]
    hex: bool,
}

impl KeyArg {
    fn bytes(&self) -> anyhow::Result<Bytes> {
        if !self.hex {
            return Ok(Bytes::copy_from_slice(self.key.as_bytes()));
        }
        let digits = self.key.as_bytes();
        let pair = |two: &[u8]| {
            let text = std::str::from_utf8(two).ok().filter(|text| text.len() == 2)?;
            text.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
            u8::from_str_radix(text, 16).ok()
        };
        let bytes: Option<Bytes> = digits.chunks(2).map(pair).collect();
        bytes.with_context(|| {
            format!("`{}` is invalid: --hex needs an even number of hexadecimal digits", self.key)
        })
    }
}

/// Read a key.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft get greeting
  glassraft get greeting --stale               the server's own state, without a quorum
  glassraft get photo > photo.jpg              the value as raw bytes
  glassraft get users/ --prefix                all keys with this prefix
  glassraft get \"\" --prefix --output json      all keys, one per line
  glassraft get greeting --output json         with its revisions and lease
  glassraft get ff00 --hex                     a key that is not text")]
pub(super) struct GetArgs {
    #[command(flatten)]
    key: KeyArg,
    /// Read all keys with this prefix
    #[arg(long)]
    prefix: bool,
    /// Read the server's own state, even if it is old
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Set a key.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft put greeting hello
  glassraft put photo --file photo.jpg
  date | glassraft put now -                   the value from standard input, unchanged
  glassraft put lock me --if-absent            only if the key does not exist
  glassraft put greeting hi --if-revision 7    only if it last changed at revision 7
  glassraft put session data --lease 12        removed when lease 12 ends")]
pub(super) struct PutArgs {
    #[command(flatten)]
    key: KeyArg,
    /// The new value; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<String>,
    /// Read the value from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The lease that the key is attached to
    #[arg(long, value_name = "N")]
    lease: Option<u64>,
    /// Only if the key does not exist
    #[arg(long, conflicts_with = "if_revision")]
    if_absent: bool,
    /// Only if the key last changed at this revision
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Remove a key.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft delete greeting
  glassraft delete users/ --prefix             all keys with this prefix, in one change
  glassraft delete greeting --if-revision 7    only if it last changed at revision 7")]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    key: KeyArg,
    /// Remove all keys with this prefix, in one change
    #[arg(long, conflicts_with = "if_revision")]
    prefix: bool,
    /// Only if the key last changed at this revision
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn get(arguments: GetArgs) -> anyhow::Result<()> {
    let GetArgs { key, prefix, stale, client } = arguments;
    let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
    // A stale read goes to the given servers only.
    let cluster =
        if stale { client.client_of_these(std::time::Duration::ZERO) } else { client.client() }?;
    let bytes = key.bytes()?;
    if prefix {
        return get_all(&cluster, client.output, &bytes, consistency).await;
    }
    match client.output {
        Output::Text => {
            let path = format!("{}?consistency={}", key_path(&bytes), consistency.name());
            let found = match cluster.request(&Method::GET, &path, Bytes::new()).await {
                Err(error) if error.is_key_not_found() => bail!("there is no key `{}`", key.key),
                found => found?,
            };
            if let Some(why) = found.headers.get(CUT_OFF_HEADER).and_then(|why| why.to_str().ok()) {
                logging::say(&format!(
                    "note: this may be old, the server receives no updates ({why})"
                ));
            }
            output::bytes(&found.body)?;
            // End the line on a terminal; a file gets only the bytes.
            if output::is_terminal() { output::bytes(b"\n") } else { Ok(()) }
        }
        Output::Json => {
            let path = format!("/get/{}?consistency={}", escape(&bytes), consistency.name());
            let found = cluster.json(&Method::GET, &path, None).await;
            match found {
                Err(error) if error.is_key_not_found() => bail!("there is no key `{}`", key.key),
                found => line(&found?.to_string()),
            }
        }
    }
}

/// Prints all pages of keys with this prefix, at the revision of the first page.
async fn get_all(
    cluster: &Client,
    output: Output,
    prefix: &[u8],
    consistency: Consistency,
) -> anyhow::Result<()> {
    let prefix = escape(prefix);
    let consistency = consistency.name();
    let mut more = format!("consistency={consistency}");
    loop {
        let path = format!("/kv?prefix={prefix}&limit={PAGE}&{more}");
        let page = match cluster.json(&Method::GET, &path, None).await {
            Err(error) if error.has_code("revision_not_held") => {
                return Err(anyhow::Error::new(error).context(
                    "the output is incomplete: the server no longer holds the state at that \
                     revision; run the command again",
                ));
            }
            page => page?,
        };
        for pair in page["pairs"].as_array().into_iter().flatten() {
            match output {
                Output::Json => line(&pair.to_string())?,
                Output::Text => {
                    line(&format!("{} = {}", in_words(&pair["key"]), in_words(&pair["value"])))?;
                }
            }
        }
        if page["next"].is_null() {
            return Ok(());
        }
        let start = escape(&serde_json::from_value::<Key>(page["next"].clone())?.0);
        more = format!("start={start}&revision={}", page["revision"]);
    }
}

/// Bytes in JSON.
#[derive(serde::Deserialize)]
struct Key(#[serde(with = "text_or_bytes")] Bytes);

fn in_words(bytes: &Value) -> String {
    bytes.as_str().map_or_else(|| bytes.to_string(), str::to_owned)
}

pub(super) async fn put(arguments: PutArgs) -> anyhow::Result<()> {
    let PutArgs { key, value, file, lease, if_absent, if_revision, client } = arguments;
    let value = match (value, file) {
        (_, Some(path)) => Bytes::from(
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
        ),
        (Some(value), None) if value == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
            Bytes::from(bytes)
        }
        (value, None) => Bytes::from(value.unwrap_or_default()),
    };
    let lease = lease.map(|lease| format!("?lease={lease}")).unwrap_or_default();
    let call = Call::new(Method::PUT, key_path(&key.bytes()?) + &lease).body(value);
    let call = if if_absent {
        call.header(IF_NONE_MATCH, HeaderValue::from_static("*"))
    } else {
        unchanged_since(call, if_revision)?
    };
    write(&client, &call).await
}

pub(super) async fn delete(arguments: DeleteArgs) -> anyhow::Result<()> {
    let DeleteArgs { key, prefix, if_revision, client } = arguments;
    let bytes = key.bytes()?;
    if prefix {
        let body = json!({"then": [Operation::DeleteRange(KeyRange::prefix(bytes))]});
        let cluster = client.client()?;
        let answer = cluster.json(&Method::POST, "/txn", Some(&body)).await?;
        let removed = answer["results"][0]["removed"].clone();
        let answer = json!({"revision": answer["revision"], "removed": removed});
        cluster.close().await;
        return client.print(&answer, |answer| {
            let (removed, revision) = (&answer["removed"], &answer["revision"]);
            format!("removed {removed} keys; the store is at revision {revision}")
        });
    }
    write(&client, &unchanged_since(Call::new(Method::DELETE, key_path(&bytes)), if_revision)?)
        .await
}

/// Adds the condition that the key did not change since `revision`.
fn unchanged_since(call: Call, revision: Option<u64>) -> anyhow::Result<Call> {
    let Some(revision) = revision else { return Ok(call) };
    Ok(call.header(IF_MATCH, HeaderValue::from_str(&format!("\"{revision}\""))?))
}

/// Sends a write of one key and prints the response.
async fn write(client: &ClientArgs, call: &Call) -> anyhow::Result<()> {
    let cluster = client.client()?;
    let answer = cluster.send(call).await?;
    cluster.close().await;
    let answer = serde_json::from_slice(&answer.body).context("the server's answer is not JSON")?;
    client.print(&answer, |answer| {
        let there = if answer["existed"] == false { "; the key did not exist before" } else { "" };
        format!("done; the store is at revision {}{there}", answer["revision"])
    })
}

/// Read and change several keys atomically.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft txn '{\"then\": [{\"put\": {\"key\": \"a\", \"value\": \"1\"}}, {\"delete\": {\"key\": \"b\"}}]}'
  glassraft txn - < transaction.json
  glassraft txn '{\"compare\": [{\"key\": \"a\", \"target\": {\"value\": \"1\"}}],
                    \"then\": [{\"put\": {\"key\": \"a\", \"value\": \"2\"}}],
                    \"else\": [{\"get\": {\"key\": \"a\"}}]}'

The answer is JSON: whether the comparisons held, and a result for each operation. The exit code is
0 even if the comparisons did not hold.")]
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
    let _: IgnoredAny = serde_json::from_str(&body).context("the transaction is not JSON")?;
    let cluster = client.client()?;
    // Send the original text: parsing it into a value would drop the first of two equal fields.
    let answer = cluster.request(&Method::POST, "/txn", body.into()).await?;
    cluster.close().await;
    line(&String::from_utf8_lossy(&answer.body))
}

#[cfg(test)]
mod tests {
    use super::KeyArg;

    /// Guards keys that are not text: digits are parsed as bytes or rejected.
    #[test]
    fn keys_may_be_hexadecimal() {
        let read = |key: &str| KeyArg { key: key.to_owned(), hex: true }.bytes();
        assert_eq!(read("00fF0a").expect("bytes"), &b"\x00\xff\x0a"[..]);
        for bad in ["0", "0g", "+1", "é"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let text = KeyArg { key: "00".to_owned(), hex: false };
        assert_eq!(text.bytes().expect("text"), "00");
    }
}
