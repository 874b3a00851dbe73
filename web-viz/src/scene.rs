//! What the stage shows, as plain data: positions, shapes and words. The module is pure, so tests
//! check the picture without a browser.

pub(crate) mod border;
pub(crate) mod drag;
pub(crate) mod grid;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod marks;
pub(crate) mod server;
pub(crate) mod stroke;
pub(crate) mod traffic;

use raft_core::types::{EventId, Term, Time};

use crate::domain::cluster::ClusterModel;
use crate::domain::playback::Pace;
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
    /// The line of a partition, if a line can show it.
    pub(crate) border: Option<Border>,
    pub(crate) flights: Vec<traffic::FlightMark>,
    pub(crate) gesture: Option<GestureMark>,
}

/// What the pointer on the stage does, as drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GestureMark {
    pub(crate) what: InHand,
    /// What releasing the pointer does.
    pub(crate) words: Option<String>,
}

/// What a [`GestureMark`] shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InHand {
    Stroke(Vec<Point>),
    /// A message, dragged from its former position to where it is drawn.
    Message {
        id: EventId,
        from: Point,
        at: Point,
        drag: Drag,
    },
}

/// What the pointer is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DrawnGesture<'a> {
    None,
    /// It draws a stroke.
    Stroke(&'a [Point]),
    /// It drags a message.
    Drag(EventId, &'a Pull),
}

/// The inputs of a [`Scene`].
#[derive(Clone)]
pub(crate) struct Source<'a> {
    pub(crate) cluster: &'a ClusterModel,
    /// The state that texts and numbers show, which may lag behind `cluster`.
    pub(crate) read: &'a ClusterModel,
    pub(crate) now: Time,
    pub(crate) pace: Pace,
    pub(crate) size: Size,
    pub(crate) marks: &'a Marks,
    pub(crate) gesture: DrawnGesture<'a>,
    /// Why the pointer's pending action is not permitted.
    pub(crate) refused: Option<String>,
}

impl Scene {
    /// The scene of the cluster at `now`.
    pub(crate) fn of(source: Source<'_>) -> Self {
        let Source { cluster, read, now, pace, size, marks, gesture, refused } = source;
        let layout = Layout::of(size, &cluster.roster);
        let servers = cluster
            .roster
            .iter()
            .map(|node| server::ServerMark::of(*node, (cluster, read), now, &layout, marks))
            .collect();
        let border = Border::of(cluster, &layout);
        let mut links = links::marks(cluster, &layout);
        for link in &mut links {
            let met = border.as_ref().and_then(|border| border.met(link.from, link.to));
            link.barred = met.is_none();
        }
        let ground = traffic::Ground { layout: &layout, border: border.as_ref() };
        let flights = traffic::marks(cluster, now, pace, ground, marks);
        let term = cluster.view.term();
        let mut scene = Self { term, layout, servers, links, border, flights, gesture: None };
        match gesture {
            DrawnGesture::None => {}
            DrawnGesture::Stroke(path) => scene.draw_stroke(path, cluster),
            DrawnGesture::Drag(id, pull) => scene.drag(id, pull),
        }
        if let Some(gesture) = scene.gesture.as_mut().filter(|_| refused.is_some()) {
            gesture.words = refused;
        }
        scene
    }

    /// What is drawn at a position.
    pub(crate) fn hit(&self, at: Point, touch: bool) -> traffic::Hit {
        traffic::hit(&self.flights, &self.layout, at, touch)
    }

    fn draw_stroke(&mut self, path: &[Point], cluster: &ClusterModel) {
        // A press without movement is not a stroke.
        let [first, .., last] = path else { return };
        if path.len() < 3 && first.distance(*last) < 8.0 {
            return;
        }
        let cut = stroke::cut(path, cluster, &self.layout);
        for link in &mut self.links {
            link.doomed = cut.takes(link.ends);
        }
        let (what, words) = (InHand::Stroke(path.to_vec()), Some(cut.words()));
        self.gesture = Some(GestureMark { what, words });
    }

    fn drag(&mut self, id: EventId, pull: &Pull) {
        let (from, at) = (pull.place, pull.at());
        if let Some(mark) = self.flights.iter_mut().find(|mark| mark.id == id) {
            (mark.at, mark.tail) = (at, at);
        }
        let what = InHand::Message { id, from, at, drag: pull.meaning() };
        self.gesture = Some(GestureMark { what, words: pull.words() });
    }
}
