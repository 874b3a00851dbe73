//! What dragging a message does.

use raft_core::types::Micros;

use super::layout::Point;
use crate::domain::actions::MessageAction;
use crate::num::{real, whole};

/// A pointer that moved less than this, in pixels, only pressed.
const STILL: f64 = 7.0;

/// A message dragged farther than this from its lane, in pixels, is dropped.
const OFF: f64 = 64.0;

/// A pull faster than this, in pixels per millisecond, and longer than `FLICK_WAY` drops the
/// message.
const FLICK: f64 = 1.1;
const FLICK_WAY: f64 = 36.0;

/// A message that is being dragged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pull {
    /// From the edge of the sender to the edge of the receiver.
    pub(crate) lane: (Point, Point),
    /// Where the message was when it was grabbed.
    pub(crate) place: Point,
    /// Where the pointer grabbed the message, and where the pointer is now.
    pub(crate) pointer: (Point, Point),
    /// The pointer's speed, in pixels per millisecond.
    pub(crate) speed: f64,
    /// Whether the drag makes a copy.
    pub(crate) copy: bool,
    /// The message's travel time along its lane, in µs.
    pub(crate) span: Micros,
}

/// What a [`Pull`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drag {
    /// The pointer only pressed.
    Press,
    /// The message is released unchanged.
    Nothing,
    /// The message is changed.
    Message(MessageAction),
}

impl Pull {
    /// How far the message was dragged forward along its lane, and how far sideways, in pixels.
    fn way(&self) -> (f64, f64) {
        let angle = self.lane.0.bearing(self.lane.1);
        let (from, to) = self.pointer;
        let (x, y) = (to.x - from.x, to.y - from.y);
        (x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin())
    }

    pub(crate) fn meaning(&self) -> Drag {
        let (along, aside) = self.way();
        let far = along.hypot(aside);
        if self.copy {
            return Drag::Message(MessageAction::Duplicate);
        }
        if far < STILL {
            return Drag::Press;
        }
        if aside.abs() > OFF || (self.speed > FLICK && far > FLICK_WAY) {
            return Drag::Message(MessageAction::Drop);
        }
        // The delay is proportional: a pull over the whole lane adds the whole travel time. Delays
        // above 2 ms are rounded to whole milliseconds, which read better.
        let share = -along / self.lane.0.distance(self.lane.1).max(1.0);
        let later = whole(share * real(self.span));
        let later = if later > 2_000 { (later + 500) / 1_000 * 1_000 } else { later };
        if along > -STILL || later == 0 {
            Drag::Nothing
        } else {
            Drag::Message(MessageAction::Delay(later))
        }
    }

    /// Where the message is drawn.
    pub(crate) fn at(&self) -> Point {
        let (from, to) = self.pointer;
        let free = Point { x: self.place.x + to.x - from.x, y: self.place.y + to.y - from.y };
        match self.meaning() {
            Drag::Press => self.place,
            Drag::Message(MessageAction::Drop | MessageAction::Duplicate) => free,
            Drag::Message(
                MessageAction::Delay(_) | MessageAction::Hold | MessageAction::Release,
            )
            | Drag::Nothing => {
                // It stays on its lane and stops at the sender.
                let (along, _) = self.way();
                let most = self.place.distance(self.lane.0);
                self.place.at(self.lane.0.bearing(self.lane.1), along.clamp(-most, 0.0))
            }
        }
    }

    /// What releasing the pointer does, in words; `None` if it does nothing.
    pub(crate) fn words(&self) -> Option<String> {
        match self.meaning() {
            Drag::Press | Drag::Message(MessageAction::Hold | MessageAction::Release) => None,
            Drag::Nothing => Some("pull it back to delay it, off its lane to lose it".to_owned()),
            Drag::Message(MessageAction::Drop) => Some("is lost".to_owned()),
            Drag::Message(MessageAction::Duplicate) => Some("arrives twice".to_owned()),
            Drag::Message(MessageAction::Delay(by)) => Some(match by {
                0..1_000 => format!("arrives {by} µs later"),
                1_000..2_000_000 => format!("arrives {} ms later", by / 1_000),
                _ => format!("arrives {} later", crate::num::span(by)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message in the middle of a 200 px lane from left to right, dragged by `(x, y)`.
    fn pull(x: f64, y: f64) -> Pull {
        let at = |x, y| Point { x, y };
        Pull {
            lane: (at(100.0, 50.0), at(300.0, 50.0)),
            place: at(200.0, 50.0),
            pointer: (at(205.0, 52.0), at(205.0 + x, 52.0 + y)),
            speed: 0.1,
            copy: false,
            span: 80_000,
        }
    }

    /// Guards that each way to drag a message has its own effect, and that the page names it
    /// meanwhile.
    #[test]
    fn each_way_to_drag_has_its_meaning() {
        let meaning = |x, y| pull(x, y).meaning();
        assert_eq!(meaning(2.0, 3.0), Drag::Press);
        assert_eq!(meaning(60.0, 0.0), Drag::Nothing, "it cannot be pushed");
        assert_eq!(meaning(-100.0, 20.0), Drag::Message(MessageAction::Delay(40_000)));
        assert_eq!(pull(-100.0, 0.0).words().unwrap(), "arrives 40 ms later");
        assert_eq!(meaning(-30.0, 70.0), Drag::Message(MessageAction::Drop));
        assert_eq!(pull(0.0, -70.0).words().unwrap(), "is lost");
        let flick = Pull { speed: 2.0, ..pull(40.0, 10.0) };
        assert_eq!(flick.meaning(), Drag::Message(MessageAction::Drop));
        let twitch = Pull { speed: 2.0, ..pull(3.0, 1.0) };
        assert_eq!(twitch.meaning(), Drag::Press);
        let copy = Pull { copy: true, ..pull(-100.0, 0.0) };
        assert_eq!(copy.meaning(), Drag::Message(MessageAction::Duplicate));
    }

    /// Guards that a delayed message is drawn on its lane and a dropped message follows the
    /// pointer.
    #[test]
    fn the_mark_goes_with_the_hand() {
        assert_eq!(pull(-100.0, 20.0).at(), Point { x: 100.0, y: 50.0 });
        assert_eq!(pull(-30.0, 70.0).at(), Point { x: 170.0, y: 120.0 });
        assert_eq!(pull(2.0, 3.0).at(), Point { x: 200.0, y: 50.0 });
        assert_eq!(pull(50.0, 0.0).at(), Point { x: 200.0, y: 50.0 });
    }
}
