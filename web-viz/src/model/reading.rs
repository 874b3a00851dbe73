//! What there is to read: logs, stores, events, facts. While more happens than anybody could read, it
//! stands still for a moment, which leaves the browser time for what moves.

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
const STANDS: f64 = 333.0;

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
    /// Whether it stood still before, since much happens.
    pub(crate) crowded: bool,
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
            crowded: false,
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
        let crowded = news >= FEW && cause != Cause::Person && self.plays();
        if !crowded || self.reading.age >= STANDS {
            self.reading = Reading {
                known: self.known.clone(),
                feed: self.feed.clone(),
                clients: self.clients.clone(),
                now: self.playback.now,
                lag: self.lag(),
                left_out: self.left_out(),
                number: self.reading.number + 1,
                crowded,
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

#[cfg(test)]
mod tests {
    use super::super::playback::Speed;
    use super::*;
    use crate::address::Place;
    use crate::session::Session;
    use crate::source::sim::SimSetup;

    fn frames(session: &mut Session, count: usize, mut look: impl FnMut(&Model)) {
        for _ in 0..count {
            session.dispatch(Action::Frame { elapsed: 1000.0 / 60.0, wall: 0 });
            look(&session.model);
        }
    }

    /// Guards readers, and the frames, of a cluster in which very much happens: its texts change a few
    /// times a second. At rest, and for who acts, they are of the very moment; so they are always where
    /// little happens.
    #[test]
    fn texts_stand_still_while_very_much_happens() {
        let mut session = Session::default();
        let setup = SimSetup { seed: 7, servers: 5, ..SimSetup::default() };
        session.dispatch(Action::Open(Place::Simulate(setup)));
        frames(&mut session, 60, |model| assert!(model.reading.known == model.known));

        session.dispatch(Action::Speed(Speed::at(Speed::LAST)));
        frames(&mut session, 10, |_| ());
        let before = session.model.reading.number;
        let mut behind = 0;
        frames(&mut session, 60, |model| behind += usize::from(model.reading.known != model.known));
        let anew = session.model.reading.number - before;
        assert!((2..=4).contains(&anew), "{anew} times in a second");
        assert!(behind > 50, "{behind}");
        session.dispatch(Action::Dismiss);
        assert!(session.model.reading.known == session.model.known);
        frames(&mut session, 5, |_| ());
        session.dispatch(Action::TogglePlay);
        assert!(session.model.reading.known == session.model.known);
        assert_eq!(session.model.reading.now, session.model.playback.now);
    }
}
