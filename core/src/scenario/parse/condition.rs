//! Parses the conditions after `expect` and `wait until`.

use super::super::condition::{AtLeast, Condition, Refusal, Reply};
use super::super::guarantee::Guarantee;
use super::super::words;
use super::cursor::Cursor;
use super::{command, message, servers};
use crate::event::{RoleName, RoleReason};
use crate::types::{LogPosition, NodeId, Term};

/// What can begin a condition.
const SUBJECTS: [&str; 7] = [
    "a server such as `S1`",
    "`not`",
    "`no leader`",
    "`answer to`",
    "`flying`",
    "`arrived`",
    "`violated`",
];

/// The verbs that can follow a server.
const VERBS: [&str; 21] = [
    "leads",
    "follows",
    "is",
    "is in",
    "has",
    "has terms",
    "has voters",
    "has learners",
    "ends at",
    "holds",
    "commits",
    "knows",
    "votes for",
    "would vote for",
    "refuses",
    "would refuse",
    "steps down",
    "wins",
    "truncates",
    "installs",
    "ignores",
];

pub(super) fn condition(words: &mut Cursor) -> Result<Condition, String> {
    if words.take("not") {
        return Ok(Condition::Not(Box::new(condition(words)?)));
    }
    if words.take("no") {
        words.word("leader")?;
        return Ok(Condition::NoLeader);
    }
    if words.take("leader") {
        return Ok(Condition::Not(Box::new(Condition::NoLeader)));
    }
    if words.take("violated") {
        let name = words.until("within", "the name of a guarantee")?;
        return Guarantee::named(&name).map(Condition::Violated).map_err(|it| it.to_string());
    }
    if words.take("flying") {
        return Ok(Condition::Flying(message(words)?));
    }
    if words.take("arrived") {
        return Ok(Condition::Arrived(message(words)?));
    }
    if words.take("answer") {
        return answer(words);
    }
    let node = words.node().map_err(|_| words.fault(&format!("one of {}", SUBJECTS.join(", "))))?;
    of_server(node, words)
}

fn of_server(node: NodeId, words: &mut Cursor) -> Result<Condition, String> {
    let verb = words.next("what the server does")?;
    Ok(match verb.as_str() {
        "leads" => Condition::Leads(node, optional_term(words)?),
        "follows" => {
            let nobody = words.take("nobody");
            Condition::Follows(node, if nobody { None } else { Some(words.node()?) })
        }
        "is" => return is(node, words),
        "has" => return has(node, words),
        "ends" => {
            words.word("at")?;
            Condition::EndsAt(node, position(words)?)
        }
        "holds" => {
            let position = position(words)?;
            let content =
                if words.take("as") { Some(words.until("within", "an entry")?) } else { None };
            Condition::Holds(node, position, content)
        }
        "commits" => {
            let at_least = words.take_all("at least");
            let how = if at_least { AtLeast::OrMore } else { AtLeast::Exactly };
            Condition::Commits(node, words.index()?, how)
        }
        "knows" => {
            let peer = words.node()?;
            words.word("holds")?;
            Condition::KnowsMatch { leader: node, peer, index: words.index()? }
        }
        "votes" => return votes(node, false, words),
        "refuses" => return refuses(node, false, words),
        "would" if words.take("vote") => return votes(node, true, words),
        "would" => {
            words.word("refuse")?;
            return refuses(node, true, words);
        }
        "steps" => {
            words.word("down")?;
            let why = if words.take("since") {
                let name = words.until("within", "a reason")?;
                Some(words::variant::<RoleReason>("reason", &name).map_err(|it| it.to_string())?)
            } else {
                None
            };
            Condition::StepsDown(node, why)
        }
        "wins" => Condition::Wins(node, words.term()?),
        "truncates" => {
            let from = if words.take("from") { Some(words.index()?) } else { None };
            Condition::Truncates(node, from)
        }
        "installs" => {
            words.word("the snapshot at")?;
            Condition::Installs(node, words.index()?)
        }
        "ignores" => {
            words.word("the snapshot at")?;
            Condition::Ignores(node, words.index()?)
        }
        "event" => Condition::Event(node, words.next("words of the event in quotes")?),
        _ => return Err(Cursor::unknown("verb", &verb, &VERBS)),
    })
}

fn optional_term(words: &mut Cursor) -> Result<Option<Term>, String> {
    if words.take("in") || words.sees("term") { words.term().map(Some) } else { Ok(None) }
}

/// `index 2 of term 1`.
fn position(words: &mut Cursor) -> Result<LogPosition, String> {
    let index = words.index()?;
    words.word("of")?;
    Ok(LogPosition { term: words.term()?, index })
}

fn is(node: NodeId, words: &mut Cursor) -> Result<Condition, String> {
    if words.take("down") {
        return Ok(Condition::Down(node));
    }
    if words.take("joint") {
        return Ok(Condition::Joint(node));
    }
    if words.take("in") {
        return Ok(Condition::InTerm(node, words.term()?));
    }
    let word = words.next("a role, `down`, or `in term …`")?;
    let role = words::variant::<RoleName>("role", &word).map_err(|it| it.to_string())?;
    Ok(Condition::Is(node, role))
}

fn has(node: NodeId, words: &mut Cursor) -> Result<Condition, String> {
    if words.take("terms") {
        let mut terms = vec![Term(words.number("a term")?)];
        while !words.is_at_end() && !words.sees("within") {
            terms.push(Term(words.number("a term")?));
        }
        return Ok(Condition::Terms(node, terms));
    }
    if words.take("voters") {
        return Ok(Condition::Voters(node, servers(words, "within")?));
    }
    if words.take("learners") {
        return Ok(Condition::Learners(node, servers(words, "within")?));
    }
    if words.take("no") {
        return Ok(Condition::Has(node, words.next("a key")?, None));
    }
    let key = words.next("a key")?;
    words.word("=")?;
    Ok(Condition::Has(node, key, Some(words.next("a value")?)))
}

fn votes(voter: NodeId, pre: bool, words: &mut Cursor) -> Result<Condition, String> {
    words.word("for")?;
    let candidate = words.node()?;
    Ok(Condition::Votes { voter, candidate, term: optional_term(words)?, pre })
}

fn refuses(voter: NodeId, pre: bool, words: &mut Cursor) -> Result<Condition, String> {
    let candidate = words.node()?;
    let term = optional_term(words)?;
    let why = if words.take("since") {
        let name = words.until("within", "a reason")?;
        Some(words::variant::<Refusal>("reason", &name).map_err(|it| it.to_string())?)
    } else {
        None
    };
    Ok(Condition::Refuses { voter, candidate, term, why, pre })
}

/// `to get x at S1 is 1`: the request has the words of its own line.
fn answer(words: &mut Cursor) -> Result<Condition, String> {
    words.word("to")?;
    let start = words.position();
    command(words)?;
    let request = words.text_from(start);
    words.word("is")?;
    let word = words.next("an answer")?;
    let answer = match word.as_str() {
        "open" => Reply::Open,
        "done" => Reply::Done,
        "refused" => Reply::Refused,
        "unknown" => Reply::Unknown,
        "failed" => Reply::Failed,
        "nothing" => Reply::Value(None),
        _ => Reply::Value(Some(word)),
    };
    Ok(Condition::Answer { request, answer })
}
