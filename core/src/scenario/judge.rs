//! Checks whether a condition holds.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each condition is about one kind of event or state; all others are not it"
)]

use std::fmt::Write as _;

use super::command::{Kind, MessageQuery};
use super::condition::{AtLeast, Condition, Refusal, Reply};
use super::runner::Record;
use crate::event::{Event, EventKind, Outcome, RoleName, RoleReason};
use crate::kv;
use crate::message::{Body, Message};
use crate::replica::{Replica, Status};
use crate::rules::VoteRefusal;
use crate::sim::{Flying, Simulation};
use crate::types::{LogIndex, LogPosition, NodeId, Term};

/// The data for checking a condition.
pub(super) struct Scene<'a> {
    pub(super) simulation: &'a Simulation,
    pub(super) record: &'a Record,
}

impl Scene<'_> {
    /// Whether the condition holds, or why it cannot be checked.
    pub(super) fn holds(&self, condition: &Condition) -> Result<bool, String> {
        Ok(match condition {
            Condition::Not(opposite) => !self.holds(opposite)?,
            Condition::NoLeader => self.simulation.leader().is_none(),
            Condition::Down(node) => {
                self.require(*node)?;
                self.simulation.replica(*node).is_none()
            }
            Condition::Flying(query) => query.among(self.simulation).next().is_some(),
            Condition::Arrived(query) => self.arrived(query),
            Condition::Violated(guarantee) => {
                self.record.broken(self.simulation).iter().any(|(it, _)| it == guarantee)
            }
            Condition::Answer { request, answer } => self.answer(request)? == *answer,
            Condition::Leads(node, _)
            | Condition::Follows(node, _)
            | Condition::Is(node, _)
            | Condition::InTerm(node, _)
            | Condition::Terms(node, _)
            | Condition::EndsAt(node, _)
            | Condition::Holds(node, _, _)
            | Condition::Commits(node, _, _)
            | Condition::KnowsMatch { leader: node, .. }
            | Condition::Has(node, _, _)
            | Condition::Voters(node, _)
            | Condition::Learners(node, _)
            | Condition::Joint(node) => {
                self.require(*node)?;
                // A server that is down satisfies none of these.
                self.simulation.replica(*node).is_some_and(|it| state_is(it, condition))
            }
            Condition::Votes { voter: node, .. }
            | Condition::Refuses { voter: node, .. }
            | Condition::StepsDown(node, _)
            | Condition::Wins(node, _)
            | Condition::Truncates(node, _)
            | Condition::Installs(node, _)
            | Condition::Ignores(node, _)
            | Condition::Event(node, _) => {
                self.require(*node)?;
                let mut events = self.record.events_of_step().iter();
                events.any(|event| event.id.node == *node && happens(event, condition))
            }
        })
    }

    fn require(&self, node: NodeId) -> Result<(), String> {
        if self.simulation.ids().contains(&node) {
            Ok(())
        } else {
            Err(format!("there is no server {node}"))
        }
    }

    fn arrived(&self, query: &MessageQuery) -> bool {
        self.record.events_of_step().iter().any(|event| match &event.kind {
            EventKind::MessageReceived { message, .. } => {
                self.record.message(*message).is_some_and(|message| query.matches(message))
            }
            _ => false,
        })
    }

    /// The answer to the latest request with these words.
    fn answer(&self, request: &str) -> Result<Reply, String> {
        let id = self.record.request(request).ok_or_else(|| {
            format!("no client has sent `{request}` yet; sent so far: {}", self.record.asked())
        })?;
        let Some(outcome) = self.record.outcome(id) else { return Ok(Reply::Open) };
        let reading = self.simulation.readings().iter().find(|reading| reading.request == id);
        if let Some(reading) = reading {
            let text = |value: &bytes::Bytes| String::from_utf8_lossy(value).into_owned();
            return Ok(Reply::Value(reading.value.as_ref().map(text)));
        }
        Ok(match outcome {
            Outcome::Applied { applied, .. } => match &applied.answer {
                kv::Answer::Refused(_) => Reply::Refused,
                kv::Answer::Compared { succeeded: false, .. }
                | kv::Answer::Transaction { succeeded: false, .. } => Reply::Failed,
                _ => Reply::Done,
            },
            Outcome::ReadReady { .. }
            | Outcome::MembershipChanged { .. }
            | Outcome::Transferred { .. } => Reply::Done,
            Outcome::Unknown => Reply::Unknown,
            Outcome::NotLeader { .. }
            | Outcome::Halted
            | Outcome::Malformed
            | Outcome::Refused(_) => Reply::Refused,
        })
    }

    /// All servers in a few words each, for the message about an unmet expectation.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("at {}:", self.simulation.now());
        for id in self.simulation.ids() {
            let line = match self.simulation.replica(id) {
                None => format!("{id} is down"),
                Some(replica) => in_words(replica),
            };
            let _ = write!(text, "\n  {line}");
        }
        for (guarantee, _) in self.record.broken(self.simulation) {
            let _ = write!(text, "\n  violated: {guarantee}");
        }
        text
    }
}

fn in_words(replica: &Replica) -> String {
    let status: Status = replica.status();
    let terms: Vec<String> =
        terms(replica, status.base.index).iter().map(ToString::to_string).collect();
    format!(
        "{} is {} in term {}, log after index {} with terms [{}], committed {}, members {}",
        status.id,
        status.role,
        status.term,
        status.base.index,
        terms.join(" "),
        status.commit_index,
        status.membership
    )
}

fn terms(replica: &Replica, base: LogIndex) -> Vec<Term> {
    replica.state().entries.iter().filter(|it| it.index > base).map(|it| it.term).collect()
}

fn state_is(replica: &Replica, condition: &Condition) -> bool {
    let status = replica.status();
    match condition {
        Condition::Leads(_, term) => {
            status.role == RoleName::Leader && term.is_none_or(|term| term == status.term)
        }
        Condition::Follows(_, leader) => {
            status.role == RoleName::Follower && status.leader == *leader
        }
        Condition::Is(_, role) => status.role == *role,
        Condition::InTerm(_, term) => status.term == *term,
        Condition::Terms(_, expected) => terms(replica, LogIndex(0)) == *expected,
        Condition::EndsAt(_, position) => status.last == *position,
        Condition::Holds(_, position, content) => holds_entry(replica, *position, content.as_ref()),
        Condition::Commits(_, index, AtLeast::Exactly) => status.commit_index == *index,
        Condition::Commits(_, index, AtLeast::OrMore) => status.commit_index >= *index,
        Condition::KnowsMatch { peer, index, .. } => {
            status.peers.get(peer).is_some_and(|progress| progress.match_index >= *index)
        }
        Condition::Voters(_, voters) => {
            !status.membership.is_joint() && status.membership.voters == *voters
        }
        Condition::Learners(_, learners) => status.membership.learners == *learners,
        Condition::Joint(_) => status.membership.is_joint(),
        Condition::Has(_, key, value) => {
            let found = replica.store().get(key.as_bytes());
            found.map(|it| String::from_utf8_lossy(&it.value).into_owned()) == *value
        }
        _ => false,
    }
}

fn holds_entry(replica: &Replica, position: LogPosition, content: Option<&String>) -> bool {
    replica.state().entries.iter().any(|entry| {
        entry.position() == position
            && content.is_none_or(|content| entry.payload.to_string() == *content)
    })
}

fn happens(event: &Event, condition: &Condition) -> bool {
    match (condition, &event.kind) {
        (
            Condition::Votes { candidate, term, pre, .. },
            EventKind::VoteGranted { candidate: by, term: of, pre: asked },
        ) => candidate == by && pre == asked && term.is_none_or(|term| term == *of),
        (
            Condition::Refuses { candidate, term, why, pre, .. },
            EventKind::VoteRefused { candidate: by, term: of, pre: asked, why: reason },
        ) => {
            let named = why.is_none_or(|why| why == refusal(*reason));
            candidate == by && pre == asked && named && term.is_none_or(|term| term == *of)
        }
        (
            Condition::StepsDown(_, why),
            EventKind::RoleChanged { role: RoleName::Follower, why: reason, .. },
        ) => why.is_none_or(|why| why == *reason),
        (
            Condition::Wins(_, term),
            EventKind::RoleChanged { role: RoleName::Leader, why: RoleReason::VotesWon, term: of },
        ) => term == of,
        (Condition::Truncates(_, from), EventKind::LogTruncated { from: first, .. }) => {
            from.is_none_or(|from| from == *first)
        }
        (Condition::Installs(_, index), EventKind::SnapshotInstalled { meta, .. }) => {
            meta.last.index == *index
        }
        (Condition::Ignores(_, index), EventKind::SnapshotIgnored { last, .. }) => {
            last.index == *index
        }
        (Condition::Event(_, text), _) => event.to_string().contains(text),
        _ => false,
    }
}

const fn refusal(reason: VoteRefusal) -> Refusal {
    match reason {
        VoteRefusal::StaleTerm => Refusal::StaleTerm,
        VoteRefusal::AlreadyVoted(_) => Refusal::AlreadyVoted,
        VoteRefusal::LogBehind { .. } => Refusal::LogBehind,
        VoteRefusal::LeaderAlive(_) => Refusal::LeaderAlive,
        VoteRefusal::Stranger => Refusal::Stranger,
        VoteRefusal::JustStarted => Refusal::JustStarted,
    }
}

impl MessageQuery {
    /// The messages in transit that the query selects.
    pub fn among<'a>(&'a self, simulation: &'a Simulation) -> impl Iterator<Item = &'a Flying> {
        let flying = simulation.flying().filter(|it| self.matches(&it.message));
        flying.filter(|it| (it.id != it.message.id()) == self.copy)
    }

    /// Whether the query selects this message, apart from `copy`.
    pub fn matches(&self, message: &Message) -> bool {
        let kind = match self.kind {
            Kind::Any => true,
            Kind::Named(name) => message.body.name() == name,
        };
        let carried = |index: LogIndex| match &message.body {
            Body::AppendEntries { entries, .. } => entries.iter().any(|it| it.index == index),
            _ => false,
        };
        kind && message.from == self.from && message.to == self.to && self.with.is_none_or(carried)
    }
}
