//! `native-node watch`.

use std::io::Write as _;

use anyhow::{Context, bail};
use clap::Args;
use http_body_util::BodyExt;
use serde_json::Value;

use super::{ClientArgs, Output};
use crate::client::escape;

/// Follow the changes of keys as they happen.
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
    let WatchArgs { prefix, from, client } = arguments;
    let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
    let path = format!("/watch?prefix={}{from}", escape(prefix.as_bytes()));
    let mut body = client.client().open(&path).await?.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.context("the server's stream broke off; watch again from the last revision")?;
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            show(&String::from_utf8_lossy(&event), client.output)?;
        }
    }
    bail!("the server has ended the stream; watch again from the last revision")
}

fn show(event: &str, output: Output) -> anyhow::Result<()> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let (Some(name), Some(data)) = (field("event: "), field("data: ")) else { return Ok(()) };
    let value: Value = serde_json::from_str(data).context("the server's event is no JSON")?;
    match (name, output) {
        ("error", _) => bail!("{} ({})", value["detail"], value["code"]),
        ("change", Output::Json) => println!("{value}"),
        ("change", Output::Text) => {
            for change in value["changes"].as_array().into_iter().flatten() {
                println!("{}", in_words(&value["revision"], change));
            }
        }
        _ => {}
    }
    std::io::stdout().flush()?;
    Ok(())
}

fn in_words(revision: &Value, change: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let key = text(&change["key"]);
    match change["type"].as_str() {
        Some("put") => format!("{revision}: {key} = {}", text(&change["value"])),
        _ => format!("{revision}: {key} is gone"),
    }
}
