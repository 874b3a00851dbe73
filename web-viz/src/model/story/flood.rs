//! A cluster under such a load that its servers leave out events: told by how much it does, since
//! nobody could read what.

use raft_core::event::{Event, EventKind, Timer};
use raft_core::types::{LogIndex, Micros, SECOND, Time};

use super::{Caption, Rank, calm};
use crate::model::known::Known;
use crate::num::{grouped, real, whole};

/// How often the caption counts anew.
const COUNTED: Micros = 2 * SECOND;

/// The load is over when no server left anything out for so long.
const CALM: Micros = SECOND;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flood {
    /// Where the count began.
    from: Option<(Time, LogIndex)>,
    /// When a server last left something out.
    latest: Time,
}

impl Flood {
    /// Takes in an event that `known` already holds. What is to be said of the flood, if anything.
    pub(super) fn observe(&mut self, event: &Event, known: &Known) -> Option<Caption> {
        if !matches!(event.kind, EventKind::Summarised { .. }) {
            return None;
        }
        let here = (event.time, known.committed());
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

    /// Whether this is one of very many events of its kind.
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
    // Two digits say it; more would only flicker.
    let mut unit = 1;
    while per_second >= real(unit * 100) {
        unit *= 10;
    }
    let count = grouped(whole((per_second / real(unit)).round()) * unit);
    calm(
        Rank::Step,
        format!("About {count} entries a second are committed."),
        "That is more than can be told one by one. Servers leave out what no screen could show, and \
         say how much; each is shown as of a moment within the last fifth of a second.",
    )
}
