//! Captions for a load under which servers leave out events. They show the commit rate, because
//! single events would be unreadable.

use raft_core::event::{Event, EventKind, Timer};
use raft_core::types::{LogIndex, Micros, SECOND, Time};

use super::{Caption, Rank, calm};
use crate::domain::cluster::ClusterModel;
use crate::num::{grouped, real, whole};

/// How often the caption is updated.
const COUNTED: Micros = 2 * SECOND;

/// The flood is over when no server left out events for this long.
const CALM: Micros = SECOND;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flood {
    /// The time and the commit index when the count began.
    from: Option<(Time, LogIndex)>,
    /// When a server last left out events.
    latest: Time,
}

impl Flood {
    /// Applies an event that `cluster` already contains. Returns a caption when a count is
    /// complete.
    pub(super) fn observe(&mut self, event: &Event, cluster: &ClusterModel) -> Option<Caption> {
        if !matches!(event.kind, EventKind::Summarised { .. }) {
            return None;
        }
        let here = (event.time, cluster.committed());
        let (since, began) = match self.from {
            Some(from) if self.lasts(event.time) => from,
            Some(_) | None => *self.from.insert(here),
        };
        self.latest = event.time;
        let passed = event.time.since(since);
        if passed < COUNTED {
            return None;
        }
        self.from = Some(here);
        let count = here.1.0.saturating_sub(began.0);
        Some(told(real(count) * 1e6 / real(passed)))
    }

    /// Whether the flood hides this event.
    pub(super) fn drowns(&self, event: &Event) -> bool {
        self.lasts(event.time)
            && matches!(
                event.kind,
                EventKind::EntriesAppended { .. }
                    | EventKind::CommitAdvanced { .. }
                    | EventKind::MessageReceived { .. }
                    | EventKind::TimerFired { timer: Timer::Heartbeat }
            )
    }

    fn lasts(&self, now: Time) -> bool {
        self.latest > Time(0) && now.since(self.latest) < CALM
    }
}

fn told(per_second: f64) -> Caption {
    // Two digits are enough; more would only flicker.
    let mut unit = 1;
    while per_second >= real(unit * 100) {
        unit *= 10;
    }
    let count = grouped(whole((per_second / real(unit)).round()) * unit);
    calm(
        Rank::Step,
        format!("About {count} entries a second are committed."),
        "That is too much to show one by one. Servers leave out events and report how many. Each \
         server is shown as it was at most 0.2 s ago.",
    )
}
