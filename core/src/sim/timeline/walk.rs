//! A walk along a branch that does not change the timeline's present.

use super::super::{Moment, Simulation};
use super::{BranchId, Timeline};
use crate::event::Event;

/// The events of one branch, one by one, from a moment on.
pub(super) struct Walk {
    branch: BranchId,
    simulation: Simulation,
    events: std::vec::IntoIter<Event>,
}

impl Walk {
    pub(super) fn new(timeline: &Timeline, branch: BranchId, start: Moment) -> Self {
        let mut simulation = timeline.nearest(branch, |point| point.moment() < start).simulation;
        let journal = timeline.get(branch).map_or(&[][..], |branch| &branch.journal);
        let done = simulation.journal().len();
        for entry in journal.iter().skip(done).take_while(|entry| entry.at < start) {
            simulation.run_to(entry.at);
            let _ = simulation.act(entry.action.clone());
        }
        simulation.run_to(start);
        let _ = simulation.take_events();
        Self { branch, simulation, events: Vec::new().into_iter() }
    }

    pub(super) fn next(&mut self, timeline: &Timeline) -> Option<Event> {
        loop {
            if let Some(event) = self.events.next() {
                return Some(event);
            }
            let branch = timeline.get(self.branch)?;
            let done = self.simulation.journal().len();
            match branch.journal.get(done) {
                Some(entry) if entry.at.happened <= self.simulation.happened => {
                    self.simulation.run_to(entry.at);
                    let _ = self.simulation.act(entry.action.clone());
                }
                _ if self.simulation.happened >= branch.end.happened => return None,
                _ => {
                    if !self.simulation.step() {
                        return None;
                    }
                }
            }
            self.events = self.simulation.take_events().into_iter();
        }
    }
}
