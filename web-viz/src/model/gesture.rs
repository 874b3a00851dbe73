//! Pointer gestures on the stage: a stroke cuts links, and a message can be dragged. While a
//! message is dragged the clock stands.

use raft_core::types::{EventId, NodeId};

use super::{Effect, Model, Notice};
use crate::domain::actions::{ClusterAction, Groups, LinkAction};
use crate::domain::run::SourceKind;
use crate::domain::selection::Selection;
use crate::scene::DrawnGesture;
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
pub(crate) enum Gesture {
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
pub(crate) enum GestureAction {
    Press(Pointer),
    Move(Pointer),
    Release(Pointer),
    /// The person cancelled the gesture, or the browser took over the pointer.
    GiveUp,
}

impl Gesture {
    /// The gesture, as the scene draws it.
    pub(crate) fn drawn(&self) -> DrawnGesture<'_> {
        match self {
            Self::Free => DrawnGesture::None,
            Self::Stroke(path) => DrawnGesture::Stroke(path),
            Self::Message(held) => DrawnGesture::Drag(held.id, &held.pull),
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
        self.pull.pointer.1 = at;
        self.pull.copy = copy;
    }
}

impl Model {
    pub(super) fn gesture(&mut self, action: GestureAction) -> Vec<Effect> {
        match action {
            GestureAction::Press(pointer) => self.press(pointer),
            GestureAction::Move(pointer) => match &mut self.ui.gesture {
                Gesture::Free => {}
                Gesture::Stroke(path) => extend(path, pointer.at),
                Gesture::Message(held) => held.moved(pointer),
            },
            GestureAction::Release(pointer) => return self.release(pointer),
            GestureAction::GiveUp => {
                self.let_go();
            }
        }
        Vec::new()
    }

    fn press(&mut self, pointer: Pointer) {
        if self.ui.gesture != Gesture::Free {
            return;
        }
        let (layout, flights) = self.drawn();
        self.ui.gesture = match traffic::hit(&flights, &layout, pointer.at, pointer.touch) {
            Hit::Server(_) => Gesture::Free,
            Hit::Ground => Gesture::Stroke(vec![pointer.at]),
            Hit::Message(id, spot) => {
                let Some(flight) = self.cluster.view.messages.get(&id) else { return };
                let (from, to) = (flight.message.from, flight.message.to);
                let Some(lane) = layout.lane(from, to) else { return };
                let resumes = self.playback.playing;
                let grabbed = (pointer.at, pointer.at);
                let span = traffic::span(flight, self.playback.now, self.pace());
                let pull = Pull {
                    lane,
                    place: spot,
                    pointer: grabbed,
                    speed: 0.0,
                    copy: pointer.copy,
                    span,
                };
                // A live cluster cannot be paused.
                self.playback.playing &= self.source == SourceKind::Live;
                Gesture::Message(Held {
                    id,
                    pull,
                    trail: vec![(pointer.at, pointer.time)],
                    resumes,
                })
            }
        };
    }

    fn release(&mut self, pointer: Pointer) -> Vec<Effect> {
        match self.let_go() {
            Gesture::Free => Vec::new(),
            Gesture::Stroke(mut path) => {
                extend(&mut path, pointer.at);
                let actions = self.cuts(&path);
                self.attempt(&actions)
            }
            Gesture::Message(mut held) => {
                held.moved(pointer);
                match held.pull.meaning() {
                    Drag::Press => {
                        let again = self.ui.selection == Selection::Message(held.id);
                        self.ui.selection =
                            if again { Selection::Nothing } else { Selection::Message(held.id) };
                        Vec::new()
                    }
                    Drag::Nothing => Vec::new(),
                    Drag::Message(action) => {
                        self.attempt(&[ClusterAction::Message(held.id, action)])
                    }
                }
            }
        }
    }

    /// The layout and the messages that are drawn on the stage, for hit tests.
    fn drawn(&self) -> (Layout, Vec<FlightMark>) {
        let layout = Layout::of(self.ui.stage, &self.cluster.roster);
        let marks = Marks::of(&self.ui.selection, &self.cluster);
        let border = Border::of(&self.cluster, &layout);
        let ground = Ground { layout: &layout, border: border.as_ref() };
        let (now, pace) = (self.playback.now, self.pace());
        let flights = traffic::marks(&self.cluster, now, pace, ground, &marks);
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
    fn let_go(&mut self) -> Gesture {
        let gesture = std::mem::take(&mut self.ui.gesture);
        if let Gesture::Message(held) = &gesture {
            self.playback.playing |= held.resumes;
        }
        gesture
    }

    /// Why the action of releasing the pointer now is not possible.
    pub(crate) fn hand_refused(&self) -> Option<String> {
        let action = match &self.ui.gesture {
            Gesture::Free => return None,
            Gesture::Stroke(path) => self.cuts(path).first().copied()?,
            Gesture::Message(held) => match held.pull.meaning() {
                Drag::Press | Drag::Nothing => return None,
                Drag::Message(action) => ClusterAction::Message(held.id, action),
            },
        };
        self.permits(action).err()
    }

    /// The actions that cut what a stroke crosses.
    fn cuts(&self, path: &[Point]) -> Vec<ClusterAction> {
        let layout = Layout::of(self.ui.stage, &self.cluster.roster);
        match cut(path, &self.cluster, &layout) {
            Cut::Nothing => Vec::new(),
            Cut::Apart(groups) => vec![ClusterAction::Partition(Groups::of(&groups))],
            Cut::Links(links) => {
                let whole =
                    |from: NodeId, to: NodeId| !self.cluster.view.cut_links.contains(&(from, to));
                links
                    .into_iter()
                    .flat_map(|(one, other)| [(one, other), (other, one)])
                    .filter(|(from, to)| whole(*from, *to))
                    .map(|(from, to)| ClusterAction::Link(from, to, LinkAction::Cut))
                    .collect()
            }
        }
    }

    /// Carries out these actions, or shows why the first of them is not possible.
    fn attempt(&mut self, actions: &[ClusterAction]) -> Vec<Effect> {
        if let Some(Err(words)) = actions.first().map(|action| self.permits(*action)) {
            self.notice = Some(Notice { words });
            return Vec::new();
        }
        actions.iter().flat_map(|action| self.perform(*action)).collect()
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
