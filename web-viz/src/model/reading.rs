//! The state behind the texts: logs, stores, events, facts. While too much happens to read, the
//! texts pause between updates. That leaves the browser time for animation.

use raft_core::types::{Micros, Time};

use super::live::Report;
use super::{Action, Model};
use crate::domain::clients::Clients;
use crate::domain::cluster::ClusterModel;
use crate::domain::feed::Feed;
use crate::shared::Shared;

/// With fewer new events than this, a few per frame, a person can follow each event.
const FEW: u64 = 20;

/// The longest pause between updates of the texts, in milliseconds of wall time.
const STANDS: f64 = 333.0;

/// A copy of the state at one moment, which is never later than the model's.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) cluster: Shared<ClusterModel>,
    pub(crate) feed: Shared<Feed>,
    pub(crate) clients: Shared<Clients>,
    pub(crate) now: Time,
    /// See [`Model::lag`].
    pub(crate) lag: Option<Micros>,
    /// See [`Model::left_out`].
    pub(crate) left_out: u64,
    /// Increments with each update.
    pub(crate) number: u64,
    /// Whether the texts pause because much happens.
    pub(crate) crowded: bool,
    /// Milliseconds since the last update.
    age: f64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            cluster: Shared::new(ClusterModel::default()),
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
    /// Updates the texts. Changes that come with frames or events may wait; changes by a person do
    /// not.
    pub(super) fn read_on(&mut self, cause: Cause) {
        self.reading.age += match cause {
            Cause::Frame(elapsed) => elapsed,
            Cause::Event | Cause::Person => 0.0,
        };
        let news = self.cluster.view.events.abs_diff(self.reading.cluster.view.events);
        let crowded = news >= FEW && cause != Cause::Person && self.plays();
        if !crowded || self.reading.age >= STANDS {
            self.reading = Reading {
                cluster: self.cluster.clone(),
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
    /// A frame, this many milliseconds after the previous one.
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
    use super::*;
    use crate::address::Place;
    use crate::domain::playback::Speed;
    use crate::domain::run::SimSetup;
    use crate::session::Session;

    fn frames(session: &mut Session, count: usize, mut look: impl FnMut(&Model)) {
        for _ in 0..count {
            session.dispatch(Action::Frame { elapsed: 1000.0 / 60.0, wall: 0 });
            look(&session.model);
        }
    }

    /// Guards that the texts of a very busy cluster change only a few times a second. When the
    /// clock stands, after an action of a person, and when little happens, they are current.
    #[test]
    fn texts_stand_still_while_very_much_happens() {
        let mut session = Session::default();
        let setup = SimSetup { seed: 7, servers: 5, ..SimSetup::default() };
        session.dispatch(Action::Open(Place::Simulate(setup)));
        frames(&mut session, 60, |model| assert!(model.reading.cluster == model.cluster));

        session.dispatch(Action::Speed(Speed::at(Speed::LAST)));
        frames(&mut session, 10, |_| ());
        let before = session.model.reading.number;
        let mut behind = 0;
        frames(&mut session, 60, |model| {
            behind += usize::from(model.reading.cluster != model.cluster);
        });
        let anew = session.model.reading.number - before;
        assert!((2..=4).contains(&anew), "{anew} times in a second");
        assert!(behind > 50, "{behind}");
        session.dispatch(Action::Dismiss);
        assert!(session.model.reading.cluster == session.model.cluster);
        frames(&mut session, 5, |_| ());
        session.dispatch(Action::TogglePlay);
        assert!(session.model.reading.cluster == session.model.cluster);
        assert_eq!(session.model.reading.now, session.model.playback.now);
    }
}
