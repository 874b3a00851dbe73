//! The space-time diagram: one lane per server, one arrow per message from its sending to its
//! arrival. Time runs from left to right, up to the playhead.
//!
//! Past events keep their positions; as time passes, the whole diagram shifts to the left.

use std::collections::BTreeMap;

use raft_core::event::RoleName;
use raft_core::message::MessageName;
use raft_core::types::{EventId, MILLISECOND, Micros, NodeId, Term, Time};
use raft_core::view::{Flight, FlightEnd};

use crate::domain::cluster::{ClusterModel, Presence};
use crate::domain::lanes::{Lanes, LanesUi, Sign, State};
use crate::num::{len, real, span};
use crate::scene::layout::{Point, Size};
use crate::scene::marks::Marks;
use crate::scene::traffic::doomed;

/// The maximum number of arrows. Beyond it the oldest heartbeats and their replies are left out
/// first, then the oldest of all messages.
const MOST: usize = 800;

/// The room between the playhead and the right edge, for arrowheads.
const MARGIN: f64 = 12.0;

/// The distance of arrows from the middle of a lane.
const CLEAR: f64 = 5.0;

/// The length, to the right, of an arrow without a known end.
const STUB: f64 = 14.0;

/// The room for the axis below the lanes.
const AXIS: f64 = 20.0;

/// The content of the diagram, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LanesScene {
    pub(crate) size: Size,
    /// The height of a lane.
    pub(crate) lane: f64,
    /// How far everything is shifted to the right.
    pub(crate) shift: f64,
    /// The position of the playhead.
    pub(crate) head: f64,
    pub(crate) rows: Vec<Row>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) signs: Vec<SignMark>,
    /// Ended messages, in the order of their sending.
    pub(crate) arrows: Vec<Arrow>,
    /// Messages that have not ended.
    pub(crate) moving: Vec<Arrow>,
    /// Positions on the axis, which are not shifted, and their labels.
    pub(crate) ticks: Vec<(f64, String)>,
    /// Whether some messages are left out.
    pub(crate) thinned: bool,
    pub(crate) picked: Option<Picked>,
    /// Messages that carry the chosen index.
    pub(crate) carriers: Vec<EventId>,
    /// The messages before and after the picked message; if none is picked, the newest and `None`.
    pub(crate) beside: [Option<EventId>; 2],
}

/// The label of a server's lane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) node: NodeId,
    pub(crate) y: f64,
    pub(crate) selected: bool,
    /// Its present state; `None` if nothing is known about it.
    pub(crate) state: Option<State>,
    pub(crate) words: String,
}

/// A period in which a server's state does not change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) from: f64,
    pub(crate) until: f64,
    pub(crate) y: f64,
    pub(crate) look: Look,
    pub(crate) term: Term,
    pub(crate) words: String,
}

/// How a lane is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Leader,
    Candidate,
    PreCandidate,
    Follower,
    Learner,
    Frozen,
    Down,
    Unseen,
}

/// A sign on a lane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SignMark {
    pub(crate) sign: Sign,
    pub(crate) at: Point,
    pub(crate) words: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrow {
    pub(crate) id: EventId,
    pub(crate) name: MessageName,
    /// Whether a reply is positive; `None` for requests.
    pub(crate) reply: Option<bool>,
    pub(crate) from: Point,
    pub(crate) to: Point,
    pub(crate) end: End,
    sent: Time,
}

/// How an arrow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Arrived,
    Lost,
    /// It is in transit at the playhead.
    Flying,
    /// No server has reported the end yet.
    Untold,
}

/// The message that the diagram describes in words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picked {
    pub(crate) id: EventId,
    pub(crate) sent: Time,
    pub(crate) words: String,
}

impl State {
    pub(crate) const fn look(self) -> Look {
        match self.presence {
            Presence::Down => Look::Down,
            Presence::Frozen => Look::Frozen,
            Presence::Unreachable => Look::Unseen,
            Presence::Up => match self.role {
                RoleName::Leader => Look::Leader,
                RoleName::Candidate => Look::Candidate,
                RoleName::PreCandidate => Look::PreCandidate,
                RoleName::Follower if self.votes => Look::Follower,
                RoleName::Follower => Look::Learner,
            },
        }
    }

    fn words(self) -> String {
        let name = match self.look() {
            Look::Leader => "leader",
            Look::Candidate => "candidate",
            Look::PreCandidate => "pre-candidate",
            Look::Follower => "follower",
            Look::Learner => "learner",
            Look::Frozen => "frozen",
            Look::Down => "down",
            Look::Unseen => "unreachable",
        };
        format!("{name}, term {}", self.term)
    }
}

/// The inputs of a [`LanesScene`].
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) cluster: &'a ClusterModel,
    pub(crate) lanes: &'a Lanes,
    pub(crate) now: Time,
    pub(crate) ui: &'a LanesUi,
    pub(crate) marks: &'a Marks,
}

/// Maps times and servers to positions.
struct Plot<'a> {
    source: Source<'a>,
    start: Time,
    /// The time at position 0. It changes rarely.
    epoch: Time,
    width: f64,
    rows: BTreeMap<NodeId, f64>,
}

impl LanesScene {
    pub(crate) fn of(source: Source<'_>) -> Self {
        let Source { cluster, ui, now, marks, .. } = source;
        let lane = match cluster.roster.len() {
            _ if ui.width < 600.0 => 48.0,
            0..=5 => 40.0,
            _ => 30.0,
        };
        let place = |row: usize| lane * (len(row) + 0.5);
        let rows =
            cluster.roster.iter().enumerate().map(|(row, node)| (*node, place(row))).collect();
        let epoch = Time(now.0 / ui.window * ui.window);
        let start = Time(now.0.saturating_sub(ui.window));
        let plot = Plot { source, start, epoch, width: (ui.width - MARGIN).max(1.0), rows };
        let mut all: Vec<Arrow> =
            cluster.view.messages.iter().filter_map(|(id, it)| plot.arrow(*id, it)).collect();
        all.sort_unstable_by_key(|arrow| (arrow.sent, arrow.id));
        let thinned = thin(&mut all);
        let beside = beside(&all, marks.message);
        let (arrows, moving) =
            all.into_iter().partition(|it| matches!(it.end, End::Arrived | End::Lost));
        Self {
            size: Size { width: ui.width, height: lane * len(cluster.roster.len()) + AXIS },
            lane,
            shift: plot.width - plot.x(now),
            head: plot.width,
            rows: plot
                .rows
                .iter()
                .map(|(node, y)| plot.row(*node, *y, marks.servers.contains(node)))
                .collect(),
            bars: plot.rows.iter().flat_map(|(node, y)| plot.bars(*node, *y)).collect(),
            signs: plot.signs(),
            arrows,
            moving,
            ticks: plot.ticks(),
            thinned,
            picked: marks.message.and_then(|id| plot.picked(id)),
            carriers: marks.carriers.clone(),
            beside,
        }
    }
}

impl Plot<'_> {
    fn x(&self, time: Time) -> f64 {
        let since = real(time.since(self.epoch)) - real(self.epoch.since(time));
        since / real(self.source.ui.window) * self.width
    }

    fn row(&self, node: NodeId, y: f64, selected: bool) -> Row {
        let (cluster, number) = (self.source.cluster, self.source.cluster.view.events);
        let now = self.source.now;
        let last = self.source.lanes.stretches(node, number, (now, now.after(1))).pop();
        let state = last.map(|(stretch, _)| stretch.state);
        let state = state.map(|it| State { presence: cluster.presence(node), ..it });
        let words = state.map_or_else(String::new, |it| format!(", {}", it.words()));
        Row { node, y, selected, state, words: format!("{node}{words}") }
    }

    fn bars(&self, node: NodeId, y: f64) -> Vec<Bar> {
        let Source { cluster, lanes, now, .. } = self.source;
        let all = lanes.stretches(node, cluster.view.events, (self.start, now));
        all.into_iter()
            .map(|(stretch, end)| Bar {
                from: self.x(stretch.from.max(self.start)),
                until: self.x(end.min(now)),
                y,
                look: stretch.state.look(),
                term: stretch.state.term,
                words: format!("{node}: {}", stretch.state.words()),
            })
            .collect()
    }

    fn signs(&self) -> Vec<SignMark> {
        let Source { cluster, lanes, now, .. } = self.source;
        let all = lanes.signs(cluster.view.events, (self.start, now));
        let mark = |(sign, node, at): (Sign, NodeId, Time)| {
            let words = match sign {
                Sign::Win => format!("{node} wins the election"),
                Sign::Stop => format!("{node} stops"),
                Sign::Return => format!("{node} runs again"),
                Sign::Decide(to) => format!("{node} sees a majority: committed up to {to}"),
                Sign::Learn(to) => format!("{node} learns: committed up to {to}"),
            };
            Some(SignMark { sign, at: Point { x: self.x(at), y: *self.rows.get(&node)? }, words })
        };
        all.iter().map(|it| (it.sign, it.node, it.at)).filter_map(mark).collect()
    }

    /// When a message was sent, when it ended, at which fraction of its way, and how.
    fn course(&self, flight: &Flight) -> (Time, Time, f64, End) {
        let Source { cluster, lanes, now, ui, .. } = self.source;
        let (from, to) = (flight.message.from, flight.message.to);
        let sent = lanes.truly(from, flight.sent_at, now).min(flight.due.unwrap_or(now));
        let least = crate::num::whole(STUB / self.width * real(ui.window)).max(1);
        let (at, share, end) = match (flight.end, flight.due) {
            (Some(FlightEnd::Received { at }), due) => {
                let told = || lanes.truly(to, at, now);
                (due.filter(|due| *due <= now).unwrap_or_else(told), 1.0, End::Arrived)
            }
            (Some(FlightEnd::Dropped { at, why }), due) => {
                let (at, share) = doomed(sent, at, due, why, least);
                (at, share, End::Lost)
            }
            (None, Some(due)) if due > now => {
                let share = real(now.since(sent)) / real(due.since(sent).max(1));
                (now, share, End::Flying)
            }
            // It is due, but the receiver has not processed it yet.
            (None, Some(due)) => (due, 1.0, End::Flying),
            (None, None) if flight.held => (now, 0.5, End::Flying),
            (None, None) if cluster.presence(to).runs() => (sent.after(least), 0.35, End::Untold),
            (None, None) => (sent.after(least), 0.9, End::Lost),
        };
        (sent, at.clamp(sent, now.max(sent)), share, end)
    }

    fn arrow(&self, id: EventId, flight: &Flight) -> Option<Arrow> {
        let (from, to) = (flight.message.from, flight.message.to);
        let (top, bottom) = (*self.rows.get(&from)?, *self.rows.get(&to)?);
        let (sent, at, share, end) = self.course(flight);
        if at < self.start || sent > self.source.now {
            return None;
        }
        let clear = if bottom > top { CLEAR } else { -CLEAR };
        let start = Point { x: self.x(sent), y: top + clear };
        let reach = start.y + (bottom - clear - start.y) * share;
        let (name, reply) = (flight.message.body.name(), flight.message.body.reply());
        Some(Arrow {
            id,
            name,
            reply,
            from: start,
            to: Point { x: self.x(at), y: reach },
            end,
            sent,
        })
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let window = self.source.ui.window;
        let parts = if self.width < 600.0 { 2 } else { 4 };
        let label = |part: Micros| match window / parts * (parts - part) {
            0 => "now".to_owned(),
            ago if window <= 500 * MILLISECOND => format!("−{} ms", ago / MILLISECOND),
            ago => format!("−{} s", real(ago) / 1e6),
        };
        (0..=parts).map(|part| (real(part) / real(parts) * self.width, label(part))).collect()
    }

    fn picked(&self, id: EventId) -> Option<Picked> {
        let flight = self.source.cluster.view.messages.get(&id)?;
        let (sent, at, _, end) = self.course(flight);
        Some(Picked {
            id,
            sent,
            words: format!("{} {}", words(flight), outcome(flight, end, sent, at)),
        })
    }
}

/// Describes a message in words, without its end.
pub(crate) fn words(flight: &Flight) -> String {
    format!("{} sends {}.", flight.message.from, flight.message)
}

fn outcome(flight: &Flight, end: End, sent: Time, at: Time) -> String {
    match flight.end {
        Some(FlightEnd::Received { .. }) => format!("It arrives after {}.", span(at.since(sent))),
        Some(FlightEnd::Dropped { why, .. }) => format!("It is lost: {why}."),
        None if flight.held => "It is held in transit.".to_owned(),
        None => match end {
            End::Lost => "Its receiver is unavailable.".to_owned(),
            End::Untold => "No server has reported its arrival yet.".to_owned(),
            End::Flying | End::Arrived => "It is in transit.".to_owned(),
        },
    }
}

/// Leaves out routine messages, then the oldest, if there are too many.
fn thin(all: &mut Vec<Arrow>) -> bool {
    if all.len() <= MOST {
        return false;
    }
    let mut excess = all.len() - MOST;
    all.retain(|it| {
        let leave = excess > 0 && is_routine(it);
        excess -= usize::from(leave);
        !leave
    });
    all.drain(..excess);
    true
}

fn is_routine(arrow: &Arrow) -> bool {
    let answer = arrow.name == MessageName::AppendEntriesReply && arrow.reply == Some(true);
    let regular = matches!(arrow.name, MessageName::Heartbeat | MessageName::StateDigest);
    arrow.end != End::Lost && (answer || regular)
}

/// The messages before and after the picked message.
fn beside(all: &[Arrow], picked: Option<EventId>) -> [Option<EventId>; 2] {
    let id = |place: Option<usize>| Some(all.get(place?)?.id);
    match all.iter().position(|it| Some(it.id) == picked) {
        Some(place) => [id(place.checked_sub(1)), id(Some(place + 1))],
        None => [id(all.len().checked_sub(1)), None],
    }
}

#[cfg(test)]
mod tests;
