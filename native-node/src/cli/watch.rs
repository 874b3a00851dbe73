//! `native-node watch`.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::sleep;

use super::connect::{ClientArgs, Output, line};
use crate::client::escape;
use crate::http::REVISION_HEADER;

/// Before a stream that has ended is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// Follow the changes of keys as they happen.
///
/// When a server ends or breaks off, another one goes on where it ended: nothing is missed and
/// nothing comes twice.
#[derive(Args)]
#[command(after_help = "Examples:
  native-node watch                        all keys
  native-node watch users/                 those that begin so
  native-node watch users/ --from 17       first what happened after revision 17
  native-node watch --output json | jq .   a line a revision")]
pub(super) struct WatchArgs {
    /// What the keys begin with
    #[arg(default_value = "")]
    prefix: String,
    /// Begin with what happened after this revision [default: with what happens from now on]
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(arguments: WatchArgs) -> anyhow::Result<()> {
    let WatchArgs { prefix, mut from, client } = arguments;
    let cluster = client.client()?;
    loop {
        let after = from.map(|from| format!("&from={from}")).unwrap_or_default();
        let path = format!("/watch?prefix={}{after}", escape(prefix.as_bytes()));
        let answer = cluster.open(&path).await?;
        let revision = answer.headers().get(REVISION_HEADER);
        from = from.or_else(|| revision?.to_str().ok()?.parse().ok());
        // When the stream breaks off, another server goes on where it ended.
        follow(answer.into_body(), &mut from, client.output).await?;
        sleep(PAUSE).await;
    }
}

/// Shows what comes until the stream ends; `from` is how far it got.
async fn follow(mut body: Incoming, from: &mut Option<u64>, output: Output) -> anyhow::Result<()> {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            show(&event, output)?;
            let id = event.lines().find_map(|line| line.strip_prefix("id: ")?.parse().ok());
            *from = id.or(*from);
        }
    }
    Ok(())
}

fn show(event: &str, output: Output) -> anyhow::Result<()> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let (Some(name), Some(data)) = (field("event: "), field("data: ")) else { return Ok(()) };
    let value: Value = serde_json::from_str(data).context("the server's event is no JSON")?;
    match (name, output) {
        ("error", _) => bail!("{} ({})", value["detail"], value["code"]),
        ("change", Output::Json) => line(&value.to_string()),
        ("change", Output::Text) => {
            let changes = value["changes"].as_array().into_iter().flatten();
            changes.map(|change| in_words(&value["revision"], change)).try_for_each(|it| line(&it))
        }
        _ => Ok(()),
    }
}

fn in_words(revision: &Value, change: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let key = text(&change["key"]);
    match change["type"].as_str() {
        Some("put") => format!("{revision}: {key} = {}", text(&change["value"])),
        _ => format!("{revision}: {key} is gone"),
    }
}
