//! The facts of what is chosen, in the paper's names, and which of them have just changed.

mod entry;
mod message;
mod server;

use raft_core::types::{NodeId, Time};

use super::Model;
use super::selection::Selection;
use crate::num::span;
use crate::shared::Shared;
use crate::source::SourceKind;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// The server of a row in a table; `None` for what is said of the chosen thing itself.
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

/// What stands for nothing.
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

/// A fact that is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) fact: Fact,
    /// What it was, and when on the wall it changed, where that was just now.
    changed: Option<(String, f64)>,
}

impl Shown {
    pub(crate) fn was(&self) -> Option<&str> {
        self.changed.as_ref().map(|(was, _)| was.as_str())
    }
}

/// What changes with every moment is no news.
const FLOWS: [&str; 1] = ["contact"];

/// How long a change is marked while the clock runs, in milliseconds on the wall.
const RECENT_MS: f64 = 600.0;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inspected {
    of: Selection,
    /// After how many events.
    events: u64,
    pub(crate) facts: Vec<Shown>,
}

impl Inspected {
    /// Takes in what the facts are now. Of the same thing, what differs from before is marked: while
    /// the clock runs for a while, else until something else happens.
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

    /// Whether a mark has been shown for long enough.
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
    /// Looks at what is chosen again, if anything happened since.
    pub(super) fn inspect_again(&mut self) {
        let (events, playing) = (self.reading.known.view.events, self.playback.playing);
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
        let known = &self.reading.known;
        match &self.ui.selection {
            Selection::Nothing | Selection::Event(_) => Vec::new(),
            Selection::Servers(servers) => match servers.as_slice() {
                [node] => server::facts(known, *node),
                _ => server::several(known, servers),
            },
            Selection::Message(message) => {
                let flight = known.view.messages.get(message);
                flight.map(|flight| message::facts(flight, self.source)).unwrap_or_default()
            }
            Selection::Entry(index) => entry::facts(known, *index),
        }
    }

    /// What flows by itself, with no event: how much is left of the chosen server's timer, or until
    /// the chosen message arrives.
    pub(crate) fn flowing(&self) -> Option<(&'static str, String)> {
        let now = self.playback.now;
        match &self.ui.selection {
            Selection::Servers(servers) if servers.len() == 1 => {
                let timer = self.known.node(*servers.first()?)?.timer;
                let words = timer.map(|it| format!("{}, {} left", it.timer, left(it.due, now)));
                Some(("timer", or_none(words)))
            }
            Selection::Message(message) => {
                let flight = self.known.view.messages.get(message)?;
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

/// In steps that an eye can follow.
fn left(due: Time, now: Time) -> String {
    match due.since(now) {
        micros @ 0..1_000 => span(micros),
        micros => format!("{} ms", micros / 1_000),
    }
}

/// A simulated moment since the start of the run, a real one against the last full minute.
fn moment(time: Time, source: SourceKind) -> String {
    let micros = match source {
        SourceKind::Simulate | SourceKind::Replay => time.0,
        SourceKind::Live => time.0 % 60_000_000,
    };
    format!("{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000)
}

/// The facts of what is chosen.
pub(crate) type Facts = Shared<Inspected>;

#[cfg(test)]
mod tests;
