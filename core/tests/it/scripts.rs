//! The rules of figure 2 as scripts: what reaches one server of three, and each event that follows.
//!
//! The test is server S1; the script plays its disk, its network and its clock. A script in
//! `tests/scripts` holds commands and, below `---`, the events that they cause. Lines in brackets
//! prepare; their events are not shown. `cargo xtask bless` records the events anew.
//!
//! | command | meaning |
//! | --- | --- |
//! | `server` | S1 starts with an empty disk; a script begins so |
//! | `leader` | the same, elected in term 1, with its no-op committed |
//! | `PreVote S2 term=1 next=2 last=1@1` | a message of S2 arrives; the names are those of the paper |
//! | `accept S2 3` | S2 accepts up to index 3 in the latest round |
//! | `propose x=1` | a client sets a key |
//! | `read` | a client asks for a linearizable read |
//! | `transfer [S2]` | an operator asks for a leadership transfer |
//! | `disk` | all pending writes become durable |
//! | `disk-fails` | the first pending write fails |
//! | `timer` | time passes until the next timer expires |
//! | `wait 160` | so many milliseconds pass |
//! | `status` | prints what S1 knows |
//!
//! `3@2` is index 3 of term 2.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Command, Context};
use raft_core::log::{Entry, Payload};
use raft_core::message::{AppendResult, Body};
use raft_core::replica::Input;
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, NodeId, RequestId, Term};

use crate::lab::Alone;

type Parsed<T> = Result<T, Box<dyn Error>>;

/// S1, and how many requests it has got.
struct Runner {
    server: Alone,
    requests: u64,
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Parsed<String> {
        let mut args = command.consume_args();
        let output = self.perform(&command.name, &mut args)?;
        args.reject_next()?;
        Ok(output)
    }
}

impl Runner {
    fn new() -> Self {
        Self { server: Alone::new(), requests: 0 }
    }

    /// Runs one command and returns the events in words, a line each.
    fn perform(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Parsed<String> {
        match name {
            "server" => *self = Self::new(),
            "leader" => *self = Self { server: Alone::leader(), requests: 0 },
            "accept" => self.server.accept(node(args)?, next(args, "an index")?),
            "propose" => {
                let (key, value) = args.next_key().ok_or("`key=value` is missing")?;
                let request = self.request().0;
                self.server.propose(request, key.to_owned().leak(), value.to_owned().leak());
            }
            "read" => {
                let request = self.request();
                self.server.step(Input::Read { request, lease: false });
            }
            "transfer" => {
                let to = args.next_pos().map(server).transpose()?;
                let request = self.request();
                self.server.step(Input::TransferLeadership { request, to });
            }
            "disk" => self.server.persist_all(),
            "disk-fails" => {
                if self.server.writes.is_empty() {
                    return Err("no write is pending".into());
                }
                let write = self.server.writes.remove(0).id;
                self.server.step(Input::PersistFailed(write));
            }
            "timer" => self.server.time_out(),
            "wait" => {
                let span: u64 = next(args, "milliseconds")?;
                self.server.pass(span * MILLISECOND);
            }
            "status" => return Ok(self.status()),
            message => self.receive(message, args)?,
        }
        Ok(self.events())
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn receive(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Parsed<()> {
        let from = node(args)?;
        let term = key(args, "term")?;
        let body = match name {
            "PreVote" => Body::PreVote {
                next_term: Term(key(args, "next")?),
                last_log: position(args, "last")?,
            },
            "PreVoteReply" => {
                Body::PreVoteReply { next_term: Term(key(args, "next")?), granted: granted(args)? }
            }
            "RequestVote" => Body::RequestVote {
                last_log: position(args, "last")?,
                transfer: optional(args, "transfer")?.unwrap_or(false),
            },
            "RequestVoteReply" => Body::RequestVoteReply { granted: granted(args)? },
            "AppendEntries" => Body::AppendEntries {
                prev_log: position(args, "after")?,
                leader_commit: LogIndex(key(args, "commit")?),
                round: optional(args, "round")?.unwrap_or(1),
                entries: std::iter::from_fn(|| args.next_pos())
                    .map(|text| {
                        let LogPosition { index, term } = parse_position(text)?;
                        Ok(Entry { index, term, payload: Payload::Noop })
                    })
                    .collect::<Parsed<Vec<_>>>()?
                    .into(),
            },
            "AppendEntriesReply" => Body::AppendEntriesReply {
                round: optional(args, "round")?.unwrap_or(1),
                result: match optional(args, "agrees")? {
                    Some(index) => AppendResult::Accepted { match_index: LogIndex(index) },
                    None => AppendResult::Rejected {
                        prev_log: position(args, "lacks")?,
                        hint: position(args, "perhaps")?,
                    },
                },
            },
            "TimeoutNow" => Body::TimeoutNow,
            "ReadIndexReply" => Body::ReadIndexReply {
                question: key(args, "question")?,
                read_index: optional(args, "index")?.map(LogIndex),
            },
            unknown => return Err(format!("no such command or message: {unknown}").into()),
        };
        self.server.receive(from, term, body);
        Ok(())
    }

    /// The events since the last call, a line each.
    fn events(&mut self) -> String {
        let mut text = String::new();
        for event in self.server.events.drain(..) {
            writeln!(text, "{event}").expect("text can always grow");
        }
        text
    }

    fn status(&self) -> String {
        let status = self.server.replica.status();
        let or_nobody =
            |node: Option<NodeId>| node.map_or("nobody".to_owned(), |it| it.to_string());
        let mut text = format!(
            "{} in term {}, voted for {}, leader {}, log up to index {}, committed up to {}\n",
            status.role,
            status.term,
            or_nobody(status.voted_for),
            or_nobody(status.leader),
            status.last,
            status.commit_index
        );
        for (id, peer) in &status.peers {
            writeln!(
                text,
                "  {id} holds index {}, next is {} ({}, {} in flight)",
                peer.match_index, peer.next_index, peer.mode, peer.in_flight
            )
            .expect("text can always grow");
        }
        text
    }
}

fn next<T: FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    what: &str,
) -> Parsed<T> {
    Ok(args.next_pos().ok_or_else(|| format!("{what} is missing"))?.parse()?)
}

fn optional<T: FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    name: &str,
) -> Parsed<Option<T>> {
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

fn key<T: FromStr<Err: Error + 'static>>(args: &mut ArgumentConsumer<'_>, name: &str) -> Parsed<T> {
    optional(args, name)?.ok_or_else(|| format!("`{name}=` is missing").into())
}

/// `S2`.
fn server(text: &str) -> Parsed<NodeId> {
    let number = text.strip_prefix('S').ok_or_else(|| format!("not a server: {text}"))?;
    Ok(NodeId(number.parse()?))
}

fn node(args: &mut ArgumentConsumer<'_>) -> Parsed<NodeId> {
    server(args.next_pos().ok_or("the server is missing, for instance S2")?)
}

/// `3@2`: index 3 of term 2.
fn parse_position(text: &str) -> Parsed<LogPosition> {
    let (index, term) = text.split_once('@').ok_or_else(|| format!("not INDEX@TERM: {text}"))?;
    Ok(LogPosition::new(term.parse()?, index.parse()?))
}

fn position(args: &mut ArgumentConsumer<'_>, name: &str) -> Parsed<LogPosition> {
    parse_position(args.take_key(name).ok_or_else(|| format!("`{name}=` is missing"))?)
}

/// `yes` or `no`.
fn granted(args: &mut ArgumentConsumer<'_>) -> Parsed<bool> {
    match args.next_pos() {
        Some("yes") => Ok(true),
        Some("no") => Ok(false),
        _ => Err("`yes` or `no` is missing".into()),
    }
}

/// Guards the rules of figure 2 that the scripts name, each with all events that follow from it.
#[test]
fn every_script_causes_its_recorded_events() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(&directory)
        .expect("the scripts")
        .map(|entry| entry.expect("a script").path())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 5, "{scripts:?}");
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut Runner::new(), &script).expect("the script runs");
    }
}
