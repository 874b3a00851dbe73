//! What the stage shows, as plain figures: places, shapes and words. Pure, so that every claim
//! that the picture makes is tested without a browser.

pub(crate) mod border;
pub(crate) mod drag;
pub(crate) mod grid;
pub(crate) mod lanes;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod marks;
pub(crate) mod server;
pub(crate) mod stroke;
pub(crate) mod tape;
pub(crate) mod traffic;

use raft_core::types::{EventId, Term, Time};

use crate::model::hand::Hand;
use crate::model::known::Known;
use crate::model::playback::Pace;
use border::Border;
use drag::{Drag, Pull};
use layout::{Layout, Point, Size};
use marks::Marks;

/// One picture of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scene {
    pub(crate) layout: Layout,
    pub(crate) term: Term,
    pub(crate) servers: Vec<server::ServerMark>,
    pub(crate) links: Vec<links::LinkMark>,
    /// Where a partition runs, if one line shows it.
    pub(crate) border: Option<Border>,
    pub(crate) flights: Vec<traffic::FlightMark>,
    pub(crate) hand: Option<HandMark>,
}

/// What a pointer on the stage is about, as drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HandMark {
    pub(crate) what: InHand,
    /// What letting go does.
    pub(crate) words: Option<String>,
}

/// See [`HandMark`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InHand {
    Stroke(Vec<Point>),
    /// A message, dragged from where it was to where it is drawn.
    Message {
        id: EventId,
        from: Point,
        at: Point,
        drag: Drag,
    },
}

/// What a scene is made of.
#[derive(Clone)]
pub(crate) struct Source<'a> {
    pub(crate) known: &'a Known,
    /// Where numbers are read off, see [`Reading`](crate::model::reading::Reading).
    pub(crate) read: &'a Known,
    pub(crate) now: Time,
    pub(crate) pace: Pace,
    pub(crate) size: Size,
    pub(crate) marks: &'a Marks,
    pub(crate) hand: &'a Hand,
    /// Why what the hand is about to do is not possible.
    pub(crate) refused: Option<String>,
}

impl Scene {
    /// The cluster as it is at `now`.
    pub(crate) fn of(source: Source<'_>) -> Self {
        let Source { known, read, now, pace, size, marks, hand, refused } = source;
        let layout = Layout::of(size, &known.roster);
        let servers = known
            .roster
            .iter()
            .map(|node| server::ServerMark::of(*node, (known, read), now, &layout, marks))
            .collect();
        let border = Border::of(known, &layout);
        let mut links = links::marks(known, &layout);
        for link in &mut links {
            let met = border.as_ref().and_then(|border| border.met(link.from, link.to));
            link.barred = met.is_none();
        }
        let ground = traffic::Ground { layout: &layout, border: border.as_ref() };
        let flights = traffic::marks(known, now, pace, ground, marks);
        let term = known.view.term();
        let mut scene = Self { term, layout, servers, links, border, flights, hand: None };
        match hand {
            Hand::Free => {}
            Hand::Stroke(path) => scene.draw_stroke(path, known),
            Hand::Message(held) => scene.drag(held.id, &held.pull),
        }
        if let Some(hand) = scene.hand.as_mut().filter(|_| refused.is_some()) {
            hand.words = refused;
        }
        scene
    }

    /// What lies at a place.
    pub(crate) fn hit(&self, at: Point, touch: bool) -> traffic::Hit {
        traffic::hit(&self.flights, &self.layout, at, touch)
    }

    fn draw_stroke(&mut self, path: &[Point], known: &Known) {
        // A press is no stroke yet.
        let [first, .., last] = path else { return };
        if path.len() < 3 && first.distance(*last) < 8.0 {
            return;
        }
        let cut = stroke::cut(path, known, &self.layout);
        for link in &mut self.links {
            link.doomed = cut.takes(link.ends);
        }
        let (what, words) = (InHand::Stroke(path.to_vec()), Some(cut.words()));
        self.hand = Some(HandMark { what, words });
    }

    fn drag(&mut self, id: EventId, pull: &Pull) {
        let (from, at) = (pull.place, pull.at());
        if let Some(mark) = self.flights.iter_mut().find(|mark| mark.id == id) {
            (mark.at, mark.tail) = (at, at);
        }
        let what = InHand::Message { id, from, at, drag: pull.meaning() };
        self.hand = Some(HandMark { what, words: pull.words() });
    }
}
