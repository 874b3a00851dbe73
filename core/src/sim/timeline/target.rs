//! How far a timeline is to be run.

use super::super::{Moment, Simulation};
use crate::types::Time;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Moment(Moment),
    Time(Time),
    /// So many happenings from the beginning.
    Happened(u64),
    /// Where a deed of the journal was about to be done, by its number and moment.
    Deed(usize, Moment),
}

impl Target {
    pub(super) fn is_ahead(self, simulation: &Simulation) -> bool {
        match self {
            Self::Moment(moment) | Self::Deed(_, moment) => simulation.happened < moment.happened,
            Self::Time(time) => simulation.next_at().is_some_and(|next| next <= time),
            Self::Happened(number) => simulation.happened < number,
        }
    }

    /// Whether the deed with this number lies beyond it, though its moment may not.
    pub(super) const fn precedes(self, deed: usize) -> bool {
        matches!(self, Self::Deed(first, _) if first <= deed)
    }

    /// Whether a deed lies on the way.
    pub(super) fn allows(self, at: Moment) -> bool {
        match self {
            Self::Moment(moment) | Self::Deed(_, moment) => at <= moment,
            Self::Time(time) => at.time <= time,
            Self::Happened(number) => at.happened < number,
        }
    }

    pub(super) const fn time(self) -> Time {
        match self {
            Self::Moment(moment) | Self::Deed(_, moment) => moment.time,
            Self::Time(time) => time,
            Self::Happened(_) => Time(0),
        }
    }
}
