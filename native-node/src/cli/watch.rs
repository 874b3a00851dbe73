//! `glassraft watch`.

use clap::Args;
use client::{Told, escape};
use serde_json::Value;

use super::connect::{ClientArgs, Output, line};
use crate::watch::From;

/// Follow the changes of keys.
///
/// If a server stops, disconnects or sends nothing for 15 seconds, the watch continues at another
/// server. No event is lost or repeated.
#[derive(Args)]
#[command(after_help = "Examples:
  glassraft watch                        all keys
  glassraft watch users/                 keys with this prefix
  glassraft watch users/ --from 17       also changes after revision 17
  glassraft watch --output json | jq .   one line per revision")]
pub(super) struct WatchArgs {
    /// The prefix of the keys
    #[arg(default_value = "")]
    prefix: String,
    /// Begin after this revision, or after the event with this id [default: begin with new events]
    #[arg(long, value_name = "REVISION", value_parser = position)]
    from: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

fn position(text: &str) -> Result<String, String> {
    let read: Result<From, _> = text.parse();
    read.map(|_| text.to_owned())
        .map_err(|_| "neither a revision nor the id of an event".to_owned())
}

pub(super) async fn run(arguments: WatchArgs) -> anyhow::Result<()> {
    let WatchArgs { prefix, from, client } = arguments;
    let parameters = format!("prefix={}", escape(prefix.as_bytes()));
    let mut watching = client.client()?.watch(&parameters, from);
    loop {
        if let Told::Change(change) = watching.next().await? {
            show(&change, client.output)?;
        }
    }
}

fn show(event: &Value, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => line(&event.to_string()),
        Output::Text => {
            let changes = event["changes"].as_array().into_iter().flatten();
            changes.map(|change| in_words(&event["revision"], change)).try_for_each(|it| line(&it))
        }
    }
}

fn in_words(revision: &Value, change: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let key = text(&change["key"]);
    match change["type"].as_str() {
        Some("put") => format!("{revision}: {key} = {}", text(&change["value"])),
        _ => format!("{revision}: {key} was removed"),
    }
}
