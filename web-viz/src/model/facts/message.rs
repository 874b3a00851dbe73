//! The facts about a message.

use raft_core::log::Entry;
use raft_core::message::{AppendResult, Body, Message, SnapshotChunk, SnapshotProgress};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::LogPosition;
use raft_core::view::{Flight, FlightEnd};

use super::{Fact, list, moment, yes_or_no};
use crate::domain::run::SourceKind;
use crate::num::span;

/// How many entries are listed one by one.
const TOLD: usize = 4;

/// All fields of a message, and its fate.
pub(super) fn facts(flight: &Flight, source: SourceKind) -> Vec<Fact> {
    // Without `..`, so a new field must be added here.
    let Flight { message, sent_at, due, held, end } = flight;
    let Message { from, to, seq, term, body } = message;
    let fate = match end {
        Some(FlightEnd::Received { at }) => format!("arrived after {}", span(at.since(*sent_at))),
        Some(FlightEnd::Dropped { why, .. }) => format!("lost: {why}"),
        None if *held => "held in transit".to_owned(),
        None => "in transit".to_owned(),
    };
    let due = due.map_or_else(|| "unknown".to_owned(), |due| moment(due, source));
    let mut facts = vec![
        Fact::new("from", from.to_string()),
        Fact::new("to", to.to_string()),
        Fact::new("term", term.to_string()),
    ];
    facts.extend(fields(body));
    facts.extend([
        Fact::new("event", seq.to_string()),
        Fact::new("sent", moment(*sent_at, source)),
        Fact::new("due", due),
        Fact::new("status", fate),
    ]);
    facts
}

fn position(index: &'static str, term: &'static str, at: LogPosition) -> [Fact; 2] {
    [Fact::new(index, at.index.to_string()), Fact::new(term, at.term.to_string())]
}

/// The fields of this kind of message, with the paper's names where it has them.
fn fields(body: &Body) -> Vec<Fact> {
    let number = |name, number: &u64| Fact::new(name, number.to_string());
    match body {
        Body::PreVote { next_term, last_log } => {
            let asked = Fact::new("next_term", next_term.to_string());
            let log = position("last_log_index", "last_log_term", *last_log);
            std::iter::once(asked).chain(log).collect()
        }
        Body::PreVoteReply { next_term, granted } => vec![
            Fact::new("next_term", next_term.to_string()),
            Fact::new("vote_granted", yes_or_no(*granted)),
        ],
        Body::RequestVote { last_log, transfer } => {
            let log = position("last_log_index", "last_log_term", *last_log);
            let asked = Fact::new("leader asked for it", yes_or_no(*transfer));
            log.into_iter().chain([asked]).collect()
        }
        Body::RequestVoteReply { granted } => vec![Fact::new("vote_granted", yes_or_no(*granted))],
        Body::AppendEntries { prev_log, entries, leader_commit, round } => {
            let log = position("prev_log_index", "prev_log_term", *prev_log);
            let rest = [
                Fact::new("entries", told(entries)),
                Fact::new("leader_commit", leader_commit.to_string()),
                number("round", round),
            ];
            log.into_iter().chain(rest).collect()
        }
        Body::AppendEntriesReply { round, result } => {
            let mut facts = match result {
                AppendResult::Accepted { match_index } => vec![
                    Fact::new("success", "yes"),
                    Fact::new("match_index", match_index.to_string()),
                ],
                AppendResult::Rejected { prev_log, hint } => {
                    let log = position("prev_log_index", "prev_log_term", *prev_log);
                    let hint = position("could match at", "of term", *hint);
                    let no = Fact::new("success", "no");
                    std::iter::once(no).chain(log).chain(hint).collect()
                }
            };
            facts.push(number("round", round));
            facts
        }
        Body::InstallSnapshot { chunk, round } => {
            let SnapshotChunk { meta, cursor, data, next } = &**chunk;
            let SnapshotMeta { last, membership } = meta;
            let log = position("last_included_index", "last_included_term", *last);
            let rest = [
                Fact::new("members", list(membership.members())),
                Fact::new("offset", format!("key of {} bytes", cursor.0.len())),
                Fact::new("data", format!("{} bytes", data.len())),
                Fact::new("done", yes_or_no(next.is_none())),
                number("round", round),
            ];
            log.into_iter().chain(rest).collect()
        }
        Body::InstallSnapshotReply { last, round, result } => {
            let log = position("last_included_index", "last_included_term", *last);
            let result = match result {
                SnapshotProgress::Wants(cursor) => {
                    Fact::new("wants from", format!("key of {} bytes", cursor.0.len()))
                }
                SnapshotProgress::Installed { match_index } => {
                    Fact::new("match_index", match_index.to_string())
                }
            };
            log.into_iter().chain([result, number("round", round)]).collect()
        }
        Body::TimeoutNow => Vec::new(),
        Body::ReadIndex { question } => vec![number("question", question)],
        Body::ReadIndexReply { question, read_index } => {
            vec![number("question", question), Fact::new("read_index", super::or_none(*read_index))]
        }
        Body::StateDigest { index, digest, reply } => vec![
            Fact::new("index", index.to_string()),
            Fact::new("digest", format!("{digest:016x}")),
            Fact::new("reply", yes_or_no(*reply)),
        ],
    }
}

/// For example `4: x = 1 (term 2); 5: y = 2 (term 2); and 3 more`.
fn told(entries: &[Entry]) -> String {
    let mut words: Vec<String> = entries
        .iter()
        .take(TOLD)
        .map(|entry| format!("{}: {} (term {})", entry.index, entry.payload, entry.term))
        .collect();
    if entries.is_empty() {
        return "none, a heartbeat".to_owned();
    }
    if let Some(more) = entries.len().checked_sub(TOLD).filter(|more| *more > 0) {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}
