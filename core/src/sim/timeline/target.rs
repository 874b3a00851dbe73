//! How far a timeline runs.

use super::super::{Moment, Simulation};
use crate::types::Time;

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Moment(Moment),
    Time(Time),
    /// This many happenings from the start.
    Happened(u64),
    /// Just before an action of the journal, given by its number and moment.
    BeforeAction(usize, Moment),
}

impl Target {
    pub(super) fn is_ahead(self, simulation: &Simulation) -> bool {
        match self {
            Self::Moment(moment) | Self::BeforeAction(_, moment) => {
                simulation.happened < moment.happened
            }
            Self::Time(time) => simulation.next_at().is_some_and(|next| next <= time),
            Self::Happened(number) => simulation.happened < number,
        }
    }

    /// Whether the action with this number lies beyond the target, even if its moment does not.
    pub(super) const fn precedes(self, number: usize) -> bool {
        matches!(self, Self::BeforeAction(first, _) if first <= number)
    }

    /// Whether the way to the target includes an action at this moment.
    pub(super) fn allows(self, at: Moment) -> bool {
        match self {
            Self::Moment(moment) | Self::BeforeAction(_, moment) => at <= moment,
            Self::Time(time) => at.time <= time,
            Self::Happened(number) => at.happened < number,
        }
    }

    pub(super) const fn time(self) -> Time {
        match self {
            Self::Moment(moment) | Self::BeforeAction(_, moment) => moment.time,
            Self::Time(time) => time,
            Self::Happened(_) => Time(0),
        }
    }
}
