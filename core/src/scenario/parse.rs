//! Parses the words of a line into a [`Command`]. Errors say what was expected at which word.

mod condition;
mod cursor;

use std::collections::BTreeSet;

use super::command::{Command, Kind, MessageAction, MessageQuery};
use super::condition::Condition;
use super::words;
use super::{Arm, Line};
use crate::kv::{Command as Change, Expected};
use crate::membership::MembershipChange;
use crate::message::MessageName;
use crate::types::{MILLISECOND, Micros, NodeId, SECOND};
use cursor::Cursor;

/// How long `wait until` waits without `within`, in µs.
const PATIENCE: Micros = 5 * SECOND;

/// How long a session lasts after each request, in µs.
const SESSION: Micros = 60 * SECOND;

/// The words that can begin a line.
const COMMANDS: [&str; 34] = [
    "elect",
    "wait",
    "expect",
    "partition",
    "heal",
    "cut",
    "mend",
    "crash",
    "restart",
    "freeze",
    "thaw",
    "put",
    "delete",
    "get",
    "cas",
    "lease",
    "add",
    "remove",
    "set",
    "transfer",
    "open",
    "wipe",
    "clock",
    "drop",
    "hold",
    "release",
    "duplicate",
    "slow",
    "compact",
    "delay",
    "disk",
    "loss",
    "kept:",
    "broken:",
];

/// Parses the lines of a `raft` block. The first of them is line `first` of the file. Skips
/// comments and empty lines.
pub(super) fn lines(first: usize, block: &str) -> Result<Vec<Line>, (usize, String)> {
    let mut lines = Vec::new();
    for (offset, text) in block.lines().enumerate() {
        let text = text.split('#').next().unwrap_or_default().trim();
        if !text.is_empty() {
            let number = first + offset;
            lines.push(line(number, text).map_err(|message| (number, message))?);
        }
    }
    Ok(lines)
}

fn line(number: usize, text: &str) -> Result<Line, String> {
    let (only, text) = match text.split_once(':') {
        Some(("kept", rest)) => (Some(Arm::Kept), rest.trim()),
        Some(("broken", rest)) => (Some(Arm::Broken), rest.trim()),
        Some(_) | None => (None, text),
    };
    let mut words = Cursor::new(text)?;
    let command = command(&mut words)?;
    words.end()?;
    Ok(Line { number, text: words.text(), only, command })
}

fn command(words: &mut Cursor) -> Result<Command, String> {
    let word = words.next("a command")?;
    Ok(match word.as_str() {
        "elect" => Command::Elect(words.node()?),
        "crash" => Command::Crash(words.node()?),
        "restart" => Command::Restart(words.node()?),
        "freeze" => Command::Freeze(words.node()?),
        "thaw" => Command::Thaw(words.node()?),
        "compact" => Command::Compact(words.node()?),
        "heal" => Command::Heal,
        "wait" => return wait(words),
        "expect" => Command::Expect(condition::condition(words)?),
        "partition" => Command::Partition(groups(words)?),
        "cut" => return link(words, false),
        "mend" => return link(words, true),
        "put" => {
            let (key, (), value) = (words.next("a key")?, words.word("=")?, words.next("a value")?);
            return change(words, Change::put(key, value));
        }
        "cas" => {
            let (key, (), from) = (words.next("a key")?, words.word("from")?, old(words)?);
            let ((), to) = (words.word("to")?, words.next("a value")?);
            return change(words, Change::compare_and_set(key, from, to));
        }
        "delete" => {
            let key = words.next("a key")?;
            return change(words, Change::delete(key));
        }
        "get" => return read(words, false),
        "lease" => {
            words.word("get")?;
            return read(words, true);
        }
        "add" => return add(words),
        "remove" => {
            let change = MembershipChange::Remove(words.node()?);
            Command::ChangeMembership { change, node: at(words)? }
        }
        "set" => {
            words.word("voters")?;
            let change = MembershipChange::SetVoters(servers(words, "at")?);
            Command::ChangeMembership { change, node: at(words)? }
        }
        "transfer" => {
            words.word("to")?;
            Command::Transfer { to: words.node()?, node: at(words)? }
        }
        "open" => {
            words.word("session")?;
            let change = Change::OpenSession { ttl: SESSION };
            Command::Write { change, node: at(words)? }
        }
        "wipe" => Command::Wipe(words.node()?),
        "clock" => {
            words.word("of")?;
            let node = words.node()?;
            words.word("at")?;
            let percent = words.number("a percentage")?;
            words.word("%")?;
            let permille = percent.checked_mul(10).and_then(|it| u32::try_from(it).ok());
            Command::Clock { node, permille: permille.ok_or_else(|| words.fault("a rate"))? }
        }
        "drop" => Command::Message(MessageAction::Drop, message(words)?),
        "hold" => Command::Message(MessageAction::Hold, message(words)?),
        "release" => Command::Message(MessageAction::Release, message(words)?),
        "duplicate" => Command::Message(MessageAction::Duplicate, message(words)?),
        "slow" => {
            let (from, (), to) = (words.node()?, words.word("->")?, words.node()?);
            words.word("to")?;
            Command::Slow { from, to, delay: time(words)? }
        }
        "delay" => Command::Delay(time(words)?),
        "disk" => Command::Disk(time(words)?),
        "loss" => {
            let percent = words.number("a percentage")?;
            words.word("%")?;
            let permille = percent.checked_mul(10).filter(|it| *it <= 1000);
            let permille = permille.ok_or_else(|| words.fault("0 to 100 %"))?;
            Command::Loss(u16::try_from(permille).map_err(|_| words.fault("0 to 100 %"))?)
        }
        _ => return Err(words::unknown("command", &word, COMMANDS).to_string()),
    })
}

fn at(words: &mut Cursor) -> Result<NodeId, String> {
    words.word("at")?;
    words.node()
}

/// `at S1`, or `as request 1 at S1` in a session.
fn change(words: &mut Cursor, change: Change) -> Result<Command, String> {
    if words.take_all("as request") {
        let sequence = words.number("the number of a request")?;
        return Ok(Command::InSession { change, sequence, node: at(words)? });
    }
    Ok(Command::Write { change, node: at(words)? })
}

/// What a compare-and-set expects: a value, or `nothing`.
fn old(words: &mut Cursor) -> Result<Expected, String> {
    let word = words.next("a value, or `nothing`")?;
    Ok(if word == "nothing" { Expected::Absent } else { Expected::Value(word.into()) })
}

fn read(words: &mut Cursor, lease: bool) -> Result<Command, String> {
    Ok(Command::Read { key: words.next("a key")?, node: at(words)?, lease })
}

fn add(words: &mut Cursor) -> Result<Command, String> {
    let what = words.next("`server`, `voter` or `learner`")?;
    let node = words.node()?;
    let change = match what.as_str() {
        "server" => return Ok(Command::AddServer(node)),
        "voter" => MembershipChange::AddVoter(node),
        "learner" => MembershipChange::AddLearner(node),
        _ => return Err(Cursor::unknown("member", &what, &["server", "voter", "learner"])),
    };
    Ok(Command::ChangeMembership { change, node: at(words)? })
}

/// One or more servers, up to `stop` or the end.
fn servers(words: &mut Cursor, stop: &str) -> Result<BTreeSet<NodeId>, String> {
    let mut servers = BTreeSet::from([words.node()?]);
    while !words.is_at_end() && !words.sees(stop) {
        servers.insert(words.node()?);
    }
    Ok(servers)
}

fn wait(words: &mut Cursor) -> Result<Command, String> {
    if !words.take("until") {
        return Ok(Command::Wait(time(words)?));
    }
    let condition: Condition = condition::condition(words)?;
    let within = if words.take("within") { time(words)? } else { PATIENCE };
    Ok(Command::WaitUntil { condition, within })
}

/// `S1 S2 | S3`: groups of servers.
fn groups(words: &mut Cursor) -> Result<Vec<BTreeSet<NodeId>>, String> {
    let mut groups = vec![BTreeSet::from([words.node()?])];
    while !words.is_at_end() {
        if words.take("|") {
            groups.push(BTreeSet::from([words.node()?]));
        } else if let Some(group) = groups.last_mut() {
            group.insert(words.node()?);
        }
    }
    Ok(groups)
}

/// `S1 -> S2`, or `S1 <-> S2` for both directions.
fn link(words: &mut Cursor, up: bool) -> Result<Command, String> {
    let from = words.node()?;
    let both = words.take("<->");
    if !both {
        words.word("->")?;
    }
    Ok(Command::SetLink { from, to: words.node()?, both, up })
}

/// `AppendEntries S1 -> S2 with index 3`, `copy of InstallSnapshot S1 -> S2`.
fn message(words: &mut Cursor) -> Result<MessageQuery, String> {
    let copy = words.take_all("copy of");
    let kind = kind(&words.next("a kind of message")?)?;
    let from = words.node()?;
    words.word("->")?;
    let to = words.node()?;
    let with = if words.take("with") { Some(words.index()?) } else { None };
    Ok(MessageQuery { kind, from, to, with, copy })
}

fn kind(word: &str) -> Result<Kind, String> {
    if word == "message" {
        return Ok(Kind::Any);
    }
    let known = words::variants::<MessageName>().iter();
    let known = known.filter_map(|it| words::variant::<MessageName>("message", it).ok());
    let mut names: Vec<MessageName> = known.collect();
    names.retain(|name| name.to_string() == word);
    names.first().map(|name| Kind::Named(*name)).ok_or_else(|| {
        let all = words::variants::<MessageName>().iter();
        let all = all.filter_map(|it| words::variant::<MessageName>("message", it).ok());
        let all = all.map(|it| it.to_string()).chain(["message".to_owned()]);
        words::unknown("kind of message", word, all).to_string()
    })
}

/// `10 ms`, `2 s`, `500 us`.
fn time(words: &mut Cursor) -> Result<Micros, String> {
    let number = words.next("a time such as `200 ms`")?;
    let unit = words.next("a unit: `us`, `ms` or `s`")?;
    span(&format!("{number} {unit}"))
}

/// Parses a time of a header or a line. Returns µs.
pub(super) fn span(text: &str) -> Result<Micros, String> {
    let fault = || format!("expected a time such as `200 ms`, found `{text}`");
    let (number, unit) = text.trim().split_once(' ').ok_or_else(fault)?;
    let number: u64 = number.parse().map_err(|_| fault())?;
    let unit = match unit.trim() {
        "us" => 1,
        "ms" => MILLISECOND,
        "s" => SECOND,
        _ => return Err(fault()),
    };
    number.checked_mul(unit).ok_or_else(fault)
}
