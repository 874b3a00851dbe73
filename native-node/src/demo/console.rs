//! The demo's keyboard: one command a line.

use std::io::BufRead;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::supervisor::{Deed, Supervisor};

/// Listens to standard input for as long as it has lines; its end ends nothing.
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
        ["status"] => supervisor.view().iter().for_each(|node| println!("{}", node.in_words())),
        [name, id] => {
            let id = id.trim_start_matches(['S', 's']).parse().ok();
            match Deed::named(name).zip(id) {
                Some((deed, id)) => match supervisor.act(id, deed) {
                    Ok(()) => println!("{name} S{id}: done"),
                    Err(error) => println!("{error}"),
                },
                None => help(),
            }
        }
        _ => help(),
    }
}

fn help() {
    println!("commands: kill N, restart N, freeze N, resume N, status, quit");
}
