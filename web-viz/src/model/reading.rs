//! What there is to read: logs, stores, events, facts. While more happens than anybody could
//! read, it stands still for a moment, and the drawing machine with it; what moves moves on.

use raft_core::types::{Micros, Time};

use super::clients::Clients;
use super::feed::Feed;
use super::known::Known;
use super::live::Report;
use super::{Action, Model};
use crate::shared::Shared;

/// Events between two looks that can be followed one by one: some a frame.
const FEW: u64 = 20;

/// How long a text stands still at most, in milliseconds of the wall.
const STANDS: f64 = 200.0;

/// See the module. It is of one moment, which is never later than the model's.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) known: Shared<Known>,
    pub(crate) feed: Shared<Feed>,
    pub(crate) clients: Shared<Clients>,
    pub(crate) now: Time,
    /// See [`Model::lag`].
    pub(crate) lag: Option<Micros>,
    /// See [`Model::left_out`].
    pub(crate) left_out: u64,
    /// Grows each time that it is taken anew.
    pub(crate) number: u64,
    /// Milliseconds since it was taken.
    age: f64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            known: Shared::new(Known::default()),
            feed: Shared::new(Feed::default()),
            clients: Shared::default(),
            now: Time(0),
            lag: None,
            left_out: 0,
            number: 0,
            age: STANDS,
        }
    }
}

impl Model {
    /// Lets the texts follow. What comes of the clock alone may have to wait; a person does not.
    pub(super) fn read_on(&mut self, cause: Cause) {
        self.reading.age += match cause {
            Cause::Frame(elapsed) => elapsed,
            Cause::Event | Cause::Person => 0.0,
        };
        let news = self.known.view.events.abs_diff(self.reading.known.view.events);
        let readable = news < FEW || self.reading.age >= STANDS;
        if readable || matches!(cause, Cause::Person) || !self.plays() {
            self.reading = Reading {
                known: self.known.clone(),
                feed: self.feed.clone(),
                clients: self.clients.clone(),
                now: self.playback.now,
                lag: self.lag(),
                left_out: self.left_out(),
                number: self.reading.number + 1,
                age: 0.0,
            };
        }
    }
}

/// What changed the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// A frame, so many milliseconds after the one before.
    Frame(f64),
    /// Something happened in the cluster.
    Event,
    /// Anything else.
    Person,
}

impl Cause {
    pub(super) const fn of(action: &Action) -> Self {
        if let Action::Frame { elapsed, .. } = action {
            Self::Frame(*elapsed)
        } else if matches!(action, Action::Happened(_) | Action::Live(Report::Events(..))) {
            Self::Event
        } else {
            Self::Person
        }
    }
}
