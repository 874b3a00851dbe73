//! The facts about the selection, with the paper's names, and which of them have just changed.

mod entry;
mod message;
mod server;

use raft_core::types::{NodeId, Time};

use super::Model;
use crate::domain::run::SourceKind;
use crate::domain::selection::Selection;
use crate::num::span;
use crate::shared::Shared;

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// The server of a table row; `None` for a fact about the selection itself.
    pub(crate) of: Option<NodeId>,
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

impl Fact {
    fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { of: None, name, value: value.into() }
    }

    fn at(of: NodeId, name: &'static str, value: impl Into<String>) -> Self {
        Self { of: Some(of), name, value: value.into() }
    }
}

/// The value of an absent fact.
const NONE: &str = "–";

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn list(nodes: impl IntoIterator<Item = NodeId>) -> String {
    let names: Vec<String> = nodes.into_iter().map(|node| node.to_string()).collect();
    if names.is_empty() { NONE.to_owned() } else { names.join(" ") }
}

/// A fact and its last change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) fact: Fact,
    /// The previous value, and the wall time of the change in milliseconds, if the change is
    /// recent.
    changed: Option<(String, f64)>,
}

impl Shown {
    pub(crate) fn was(&self) -> Option<&str> {
        self.changed.as_ref().map(|(was, _)| was.as_str())
    }
}

/// Facts that change all the time. Their changes are not marked.
const FLOWS: [&str; 1] = ["contact"];

/// How long a change stays marked while the clock runs, in milliseconds of wall time.
const RECENT_MS: f64 = 600.0;

#[derive(Clone, Debug, Default)]
pub(crate) struct Inspected {
    of: Selection,
    /// The number of events when the facts were read.
    events: u64,
    pub(crate) facts: Vec<Shown>,
}

impl Inspected {
    /// Replaces the facts, and marks what changed if the selection is the same. While the clock
    /// runs a mark expires; otherwise it stays until the next event.
    fn take(&mut self, of: &Selection, facts: Vec<Fact>, wall: f64, playing: bool) {
        let same = self.of == *of;
        let old = std::mem::take(&mut self.facts);
        let before =
            |fact: &Fact| old.iter().find(|it| it.fact.of == fact.of && it.fact.name == fact.name);
        let show = |fact: Fact| {
            let before = before(&fact).filter(|_| same);
            let changed = match before {
                Some(before) if before.fact.value != fact.value && !FLOWS.contains(&fact.name) => {
                    Some((before.fact.value.clone(), wall))
                }
                Some(before) => before.changed.clone().filter(|_| playing),
                None => None,
            };
            Shown { fact, changed }
        };
        self.facts = facts.into_iter().map(show).collect();
        if !same {
            self.of = of.clone();
        }
    }

    /// Whether a mark has expired.
    fn has_old(&self, wall: f64) -> bool {
        let old = |it: &Shown| it.changed.as_ref().is_some_and(|(_, at)| wall - at > RECENT_MS);
        self.facts.iter().any(old)
    }

    fn forget_old(&mut self, wall: f64) {
        for it in &mut self.facts {
            it.changed = it.changed.take().filter(|(_, at)| wall - at <= RECENT_MS);
        }
    }
}

impl Model {
    /// Reads the facts again if the selection or the number of events changed.
    pub(super) fn inspect_again(&mut self) {
        let (events, playing) = (self.reading.cluster.view.events, self.playback.playing);
        let seen = &self.inspected;
        if seen.events != events || seen.of != self.ui.selection {
            let facts = self.facts();
            let selection = self.ui.selection.clone();
            let inspected = self.inspected.change();
            inspected.events = events;
            inspected.take(&selection, facts, self.wall, playing);
        }
        if playing && self.inspected.has_old(self.wall) {
            self.inspected.change().forget_old(self.wall);
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let cluster = &self.reading.cluster;
        match &self.ui.selection {
            Selection::Nothing | Selection::Event(_) => Vec::new(),
            Selection::Servers(servers) => match servers.as_slice() {
                [node] => server::facts(cluster, *node),
                _ => server::several(cluster, servers),
            },
            Selection::Message(message) => {
                let flight = cluster.view.messages.get(message);
                flight.map(|flight| message::facts(flight, self.source)).unwrap_or_default()
            }
            Selection::Entry(index) => entry::facts(cluster, *index),
        }
    }

    /// A value that changes without events: the time left of the selected server's timer, or until
    /// the selected message arrives.
    pub(crate) fn flowing(&self) -> Option<(&'static str, String)> {
        let now = self.playback.now;
        match &self.ui.selection {
            Selection::Servers(servers) if servers.len() == 1 => {
                let timer = self.cluster.node(*servers.first()?)?.timer;
                let words = timer.map(|it| format!("{}, {} left", it.timer, left(it.due, now)));
                Some(("timer", or_none(words)))
            }
            Selection::Message(message) => {
                let flight = self.cluster.view.messages.get(message)?;
                let due = flight.due.filter(|_| flight.end.is_none());
                Some(("arrives", or_none(due.map(|due| format!("in {}", left(due, now))))))
            }
            Selection::Nothing
            | Selection::Servers(_)
            | Selection::Event(_)
            | Selection::Entry(_) => None,
        }
    }
}

/// Formats the remaining time in whole milliseconds, which an eye can follow, and below 1 ms in µs.
fn left(due: Time, now: Time) -> String {
    match due.since(now) {
        micros @ 0..1_000 => span(micros),
        micros => format!("{} ms", micros / 1_000),
    }
}

/// Formats a simulated time since the start of the run, or a real time since the last full minute.
fn moment(time: Time, source: SourceKind) -> String {
    let micros = match source {
        SourceKind::Simulate | SourceKind::Replay => time.0,
        SourceKind::Live => time.0 % 60_000_000,
    };
    format!("{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000)
}

pub(crate) type Facts = Shared<Inspected>;

#[cfg(test)]
mod tests;
