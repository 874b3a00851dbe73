//! The demo's console: one command per line.

use std::io::BufRead;
use std::sync::Arc;

use api::demo::Action;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::process::{self, ActionError};
use super::supervisor::Supervisor;
use crate::output::tell;

/// Reads commands from standard input. The demo continues after the end of the input.
pub(super) fn start(supervisor: Arc<Supervisor>, stop: CancellationToken) {
    let (sender, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            obey(&supervisor, &stop, &line);
        }
    });
}

fn obey(supervisor: &Arc<Supervisor>, stop: &CancellationToken, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [] => {}
        ["quit" | "exit" | "q"] => stop.cancel(),
        ["status"] => supervisor.view().iter().for_each(|node| tell(&process::in_words(node))),
        _ => match act(supervisor, &words) {
            Some(Ok(())) => tell(&format!("{}: done", shown(&words))),
            Some(Err(error)) => tell(&error.to_string()),
            None => help(),
        },
    }
}

/// Executes a command; `None` if the command is unknown.
fn act(supervisor: &Arc<Supervisor>, words: &[&str]) -> Option<Result<(), ActionError>> {
    let (name, servers) = match *words {
        ["cut", way] if way.contains('>') => ("cut-one-way", way.split('>').collect()),
        ["split", apart] => ("split", apart.split(',').collect()),
        [name, ref servers @ ..] => (name, servers.to_vec()),
        [] => return None,
    };
    let servers: Option<Vec<u64>> = servers.into_iter().map(number).collect();
    Some(supervisor.act(&Action::named(name, &servers?)?))
}

/// Parses `1`, `S1` or `s1`.
fn number(word: &str) -> Option<u64> {
    word.trim_start_matches(['S', 's']).parse().ok()
}

/// The command with the servers' usual names.
fn shown(words: &[&str]) -> String {
    let shown = words.iter().map(|word| match number(word) {
        Some(id) => format!("S{id}"),
        None => (*word).to_owned(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn help() {
    tell(&format!("unknown command; the commands are {COMMANDS}"));
}

/// The commands, for the help text.
pub(super) const COMMANDS: &str = "kill N, restart N, freeze N, resume N. For links: \
    cut N M, cut N>M, isolate N, split N,M. For disks: stall N, full N, mend-disk N. For all: \
    heal [N [M]], status, quit";
