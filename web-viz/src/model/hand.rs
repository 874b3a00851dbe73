//! Pointer gestures on the stage: a stroke cuts links, and a message can be dragged. While a
//! message is dragged the clock stands.

use raft_core::types::{EventId, NodeId};

use super::{Effect, Model, Notice};
use crate::domain::deeds::{Deed, Groups, LinkDeed};
use crate::domain::run::SourceKind;
use crate::domain::selection::Selection;
use crate::scene::Gesture;
use crate::scene::border::Border;
use crate::scene::drag::{Drag, Pull};
use crate::scene::layout::{Layout, Point};
use crate::scene::marks::Marks;
use crate::scene::stroke::{Cut, cut};
use crate::scene::traffic::{self, FlightMark, Ground, Hit, Phase};

/// The maximum number of points of a stroke.
const LONGEST: usize = 600;

/// The minimum distance between two points of a stroke, in pixels.
const APART: f64 = 3.0;

/// The period over which the pointer's speed is measured, in milliseconds.
const RECENT_MS: f64 = 70.0;

/// What the pointer is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Hand {
    #[default]
    Free,
    Stroke(Vec<Point>),
    Message(Held),
}

/// A message that is dragged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) id: EventId,
    pub(crate) pull: Pull,
    /// Recent pointer positions, with their times in milliseconds.
    trail: Vec<(Point, f64)>,
    /// Whether the clock continues after the release.
    resumes: bool,
}

/// The state of a pointer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pointer {
    /// Its position on the stage.
    pub(crate) at: Point,
    /// In milliseconds since an arbitrary start.
    pub(crate) time: f64,
    /// Whether the key for a copy is pressed.
    pub(crate) copy: bool,
    /// Whether it is a finger, which is less precise.
    pub(crate) touch: bool,
}

/// Pointer events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HandAction {
    Press(Pointer),
    Move(Pointer),
    Release(Pointer),
    /// The person cancelled the gesture, or the browser took over the pointer.
    GiveUp,
}

impl Hand {
    /// The gesture, as the scene draws it.
    pub(crate) fn gesture(&self) -> Gesture<'_> {
        match self {
            Self::Free => Gesture::None,
            Self::Stroke(path) => Gesture::Stroke(path),
            Self::Message(held) => Gesture::Drag(held.id, &held.pull),
        }
    }
}

impl Held {
    fn moved(&mut self, pointer: Pointer) {
        let Pointer { at, time, copy, .. } = pointer;
        self.trail.push((at, time));
        self.trail.retain(|(_, then)| time - then <= RECENT_MS);
        let (first, then) = self.trail.first().copied().unwrap_or((at, time));
        self.pull.speed = first.distance(at) / (time - then).max(1.0);
        self.pull.hand.1 = at;
        self.pull.copy = copy;
    }
}

impl Model {
    pub(super) fn hand(&mut self, action: HandAction) -> Vec<Effect> {
        match action {
            HandAction::Press(pointer) => self.press(pointer),
            HandAction::Move(pointer) => match &mut self.ui.hand {
                Hand::Free => {}
                Hand::Stroke(path) => extend(path, pointer.at),
                Hand::Message(held) => held.moved(pointer),
            },
            HandAction::Release(pointer) => return self.release(pointer),
            HandAction::GiveUp => {
                self.let_go();
            }
        }
        Vec::new()
    }

    fn press(&mut self, pointer: Pointer) {
        if self.ui.hand != Hand::Free {
            return;
        }
        let (layout, flights) = self.drawn();
        self.ui.hand = match traffic::hit(&flights, &layout, pointer.at, pointer.touch) {
            Hit::Server(_) => Hand::Free,
            Hit::Ground => Hand::Stroke(vec![pointer.at]),
            Hit::Message(id, spot) => {
                let Some(flight) = self.known.view.messages.get(&id) else { return };
                let (from, to) = (flight.message.from, flight.message.to);
                let Some(lane) = layout.lane(from, to) else { return };
                let resumes = self.playback.playing;
                let hand = (pointer.at, pointer.at);
                let span = traffic::span(flight, self.playback.now, self.pace());
                let pull = Pull { lane, place: spot, hand, speed: 0.0, copy: pointer.copy, span };
                // A live cluster cannot be paused.
                self.playback.playing &= self.source == SourceKind::Live;
                Hand::Message(Held { id, pull, trail: vec![(pointer.at, pointer.time)], resumes })
            }
        };
    }

    fn release(&mut self, pointer: Pointer) -> Vec<Effect> {
        match self.let_go() {
            Hand::Free => Vec::new(),
            Hand::Stroke(mut path) => {
                extend(&mut path, pointer.at);
                let deeds = self.cuts(&path);
                self.attempt(&deeds)
            }
            Hand::Message(mut held) => {
                held.moved(pointer);
                match held.pull.meaning() {
                    Drag::Press => {
                        let again = self.ui.selection == Selection::Message(held.id);
                        self.ui.selection =
                            if again { Selection::Nothing } else { Selection::Message(held.id) };
                        Vec::new()
                    }
                    Drag::Nothing => Vec::new(),
                    Drag::Deed(deed) => self.attempt(&[Deed::Message(held.id, deed)]),
                }
            }
        }
    }

    /// The layout and the messages that are drawn on the stage, for hit tests.
    fn drawn(&self) -> (Layout, Vec<FlightMark>) {
        let layout = Layout::of(self.ui.stage, &self.known.roster);
        let marks = Marks::of(&self.ui.selection, &self.known);
        let border = Border::of(&self.known, &layout);
        let ground = Ground { layout: &layout, border: border.as_ref() };
        let (now, pace) = (self.playback.now, self.pace());
        let flights = traffic::marks(&self.known, now, pace, ground, &marks);
        (layout, flights)
    }

    /// The message after or before the selected one among those in flight. Without a selection, the
    /// first or the last.
    pub(crate) fn message_beside(&self, next: bool) -> Option<EventId> {
        let (_, flights) = self.drawn();
        let moving = flights.iter().filter(|mark| mark.phase == Phase::Moving);
        let all: Vec<EventId> = moving.map(|mark| mark.id).collect();
        let place = all.iter().position(|id| Some(*id) == self.ui.selection.message());
        let beside = match (place, next) {
            (Some(place), true) => all.get(place + 1).or(all.first()),
            (Some(place), false) => all[..place].last().or(all.last()),
            (None, true) => all.first(),
            (None, false) => all.last(),
        };
        beside.copied()
    }

    /// Ends the gesture, lets the clock continue, and returns the gesture.
    fn let_go(&mut self) -> Hand {
        let hand = std::mem::take(&mut self.ui.hand);
        if let Hand::Message(held) = &hand {
            self.playback.playing |= held.resumes;
        }
        hand
    }

    /// Why the action of releasing the pointer now is not possible.
    pub(crate) fn hand_refused(&self) -> Option<String> {
        let deed = match &self.ui.hand {
            Hand::Free => return None,
            Hand::Stroke(path) => self.cuts(path).first().copied()?,
            Hand::Message(held) => match held.pull.meaning() {
                Drag::Press | Drag::Nothing => return None,
                Drag::Deed(deed) => Deed::Message(held.id, deed),
            },
        };
        self.permits(deed).err()
    }

    /// The actions that cut what a stroke crosses.
    fn cuts(&self, path: &[Point]) -> Vec<Deed> {
        let layout = Layout::of(self.ui.stage, &self.known.roster);
        match cut(path, &self.known, &layout) {
            Cut::Nothing => Vec::new(),
            Cut::Apart(groups) => vec![Deed::Partition(Groups::of(&groups))],
            Cut::Links(links) => {
                let whole =
                    |from: NodeId, to: NodeId| !self.known.view.cut_links.contains(&(from, to));
                links
                    .into_iter()
                    .flat_map(|(one, other)| [(one, other), (other, one)])
                    .filter(|(from, to)| whole(*from, *to))
                    .map(|(from, to)| Deed::Link(from, to, LinkDeed::Cut))
                    .collect()
            }
        }
    }

    /// Carries out these actions, or shows why the first of them is not possible.
    fn attempt(&mut self, deeds: &[Deed]) -> Vec<Effect> {
        if let Some(Err(words)) = deeds.first().map(|deed| self.permits(*deed)) {
            self.notice = Some(Notice { words });
            return Vec::new();
        }
        deeds.iter().flat_map(|deed| self.perform(*deed)).collect()
    }
}

fn extend(path: &mut Vec<Point>, at: Point) {
    let far = path.last().is_none_or(|last| last.distance(at) >= APART);
    if far && path.len() < LONGEST {
        path.push(at);
    }
}

#[cfg(test)]
mod tests;
