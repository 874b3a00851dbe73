//! Messages on their way. A mark moves because a message is moving: it starts when the message was
//! sent and ends when and where the message ended.
//!
//! Where the cluster is too fast to be followed (real time, or a simulation at high speed), a mark
//! takes a least time on the wall, and of the routine messages of a link only one is shown at a
//! time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use raft_core::event::DropReason;
use raft_core::message::{Body, Message, MessageName};
use raft_core::types::{EventId, LogIndex, Micros, NodeId, Term, Time};
use raft_core::view::{Flight, FlightEnd};

use super::border::Border;
use super::layout::{Layout, Point};
use super::marks::{Marks, carried};
use crate::model::known::Known;
use crate::model::playback::Pace;
use crate::num::real;

/// The least time that a message is on its way on the screen, where the cluster is too fast …
const LEAST_MS: f64 = 420.0;

/// … and where it is slow enough for every message to be where it is.
const LEAST_SLOW_MS: f64 = 120.0;

/// How long the end of a message is shown.
const END_MS: f64 = 480.0;

/// Of routine messages on one link, one in this time is shown when all would be too many.
const SAMPLE_MS: f64 = 900.0;

/// A message, as drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FlightMark {
    pub(crate) id: EventId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) term: Term,
    pub(crate) name: MessageName,
    /// For a reply, whether it agrees.
    pub(crate) reply: Option<bool>,
    /// Entries that it carries, and the index of the first.
    pub(crate) entries: usize,
    pub(crate) first: LogIndex,
    pub(crate) at: Point,
    /// The end of its short trail.
    pub(crate) tail: Point,
    pub(crate) phase: Phase,
    /// Whether it stays in the air until it is released.
    pub(crate) held: bool,
    pub(crate) chosen: bool,
    /// Whether it carries the chosen index.
    pub(crate) carries: bool,
}

impl FlightMark {
    /// For those who cannot see it. Costs too much to be made for every message in every frame.
    pub(crate) fn words(&self) -> String {
        let Self { name, from, to, term, first, .. } = self;
        let mut words = format!("{name} {from} to {to}");
        let last = first.0 + self.entries as u64;
        let _ = match (self.entries, self.reply) {
            (1, _) => write!(words, ", entry {first}"),
            (2.., _) => write!(words, ", entries {first}-{}", last - 1),
            (0, Some(true)) => write!(words, ", yes"),
            (0, Some(false)) => write!(words, ", no"),
            (0, None) => Ok(()),
        };
        let _ = write!(words, ", term {term}");
        if self.held {
            words.push_str(", held");
        }
        words
    }

    /// All that its words are made of; who keeps them by this need not make them again.
    pub(crate) const fn label(&self) -> Label {
        (self.id, self.to, self.term, self.first, self.held)
    }
}

/// See [`FlightMark::label`].
pub(crate) type Label = (EventId, NodeId, Term, LogIndex, bool);

/// What lies under a pointer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hit {
    /// A message, and where it is.
    Message(EventId, Point),
    Server(NodeId),
    Ground,
}

/// How far beside a message a mouse or a finger may come down.
const NEAR: f64 = 7.0;
const NEAR_TOUCH: f64 = 16.0;

/// What lies at a place: the disc of a server, else the nearest message that moves, else a server's
/// surroundings.
pub(crate) fn hit(flights: &[FlightMark], layout: &Layout, at: Point, touch: bool) -> Hit {
    let server = |reach: f64| {
        let found = layout.spots().find(|(_, spot)| spot.at.distance(at) <= reach);
        found.map(|(node, _)| Hit::Server(node))
    };
    let reach = layout.mark * 1.3 + if touch { NEAR_TOUCH } else { NEAR };
    let moving = flights.iter().filter(|mark| mark.phase == Phase::Moving);
    let near = moving.map(|mark| (mark.at.distance(at), mark)).filter(|(far, _)| *far <= reach);
    let nearest = near.min_by(|(one, _), (other, _)| one.total_cmp(other));
    let message = nearest.map(|(_, mark)| Hit::Message(mark.id, mark.at));
    server(layout.disc).or(message).or_else(|| server(layout.rim())).unwrap_or(Hit::Ground)
}

/// What a message is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    Moving,
    /// It arrived; `share` of the time in which that is shown has passed.
    Arrived {
        share: f64,
    },
    /// It was lost here.
    Lost {
        share: f64,
    },
}

/// How routine a message is; of each class one per link is shown when there are too many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Heartbeat,
    Acknowledgement,
    Entries,
}

/// Where messages move, and where a partition stops them.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) border: Option<&'a Border>,
}

impl Ground<'_> {
    /// At which share of its lane a message ends where its link is cut: in front of what shows that.
    fn wall(self, from: NodeId, to: NodeId, known: &Known) -> Option<f64> {
        if !known.view.cut_links.contains(&(from, to)) {
            return None;
        }
        let (start, end) = self.layout.lane(from, to)?;
        let met = self.border.and_then(|border| border.met(start, end)).unwrap_or(0.5);
        let room = (self.layout.mark + 3.0) / start.distance(end).max(1.0);
        Some((met - room).max(0.02))
    }
}

/// All marks at `now`.
pub(crate) fn marks(
    known: &Known,
    now: Time,
    pace: Pace,
    ground: Ground<'_>,
    chosen: &Marks,
) -> Vec<FlightMark> {
    let mut sampler = Sampler::new(pace);
    // What is chosen is shown whatever else is not.
    let is_chosen = |id: &EventId| chosen.message == Some(*id) || chosen.carriers.contains(id);
    let visible = known
        .view
        .messages
        .iter()
        .filter(|(id, flight)| sampler.shows(flight) || flight.held || is_chosen(id));
    let draw = |(id, flight): (&EventId, &Flight)| {
        let heard = known.presence(flight.message.to).runs();
        let wall = ground.wall(flight.message.from, flight.message.to, known);
        let (share, phase) = progress(flight, heard, wall, (now, pace))?;
        let mark = mark(*id, flight, (share, phase), ground.layout)?;
        let chosen = (chosen.message == Some(*id), chosen.carriers.contains(id));
        Some(FlightMark { chosen: chosen.0, carries: chosen.1, ..mark })
    };
    visible.filter_map(draw).collect()
}

/// How long a message takes for its lane on the screen, in µs of the source.
pub(crate) fn span(flight: &Flight, now: Time, pace: Pace) -> Micros {
    let least = pace.span(if too_fast(pace) { LEAST_MS } else { LEAST_SLOW_MS });
    flight.due.unwrap_or(now).since(flight.sent_at).max(least)
}

/// Chooses among routine messages. Looks at sending times alone, so a message once chosen stays
/// chosen from frame to frame.
struct Sampler {
    bucket: Option<Micros>,
    last: BTreeMap<(NodeId, NodeId, Class), u64>,
}

/// Up to a fifth of real time every message can be followed.
fn too_fast(pace: Pace) -> bool {
    pace.span(1.0) > 200
}

impl Sampler {
    fn new(pace: Pace) -> Self {
        Self { bucket: too_fast(pace).then(|| pace.span(SAMPLE_MS)), last: BTreeMap::new() }
    }

    fn shows(&mut self, flight: &Flight) -> bool {
        let (Some(bucket), Some(class)) = (self.bucket, class(&flight.message.body)) else {
            return true;
        };
        let key = (flight.message.from, flight.message.to, class);
        let period = flight.sent_at.0 / bucket;
        self.last.insert(key, period) != Some(period)
    }
}

const fn class(body: &Body) -> Option<Class> {
    match body {
        Body::AppendEntries { entries, .. } if entries.is_empty() => Some(Class::Heartbeat),
        // As regular, and as little of interest while states agree.
        Body::StateDigest { reply: false, .. } => Some(Class::Heartbeat),
        Body::AppendEntriesReply { .. } if matches!(body.reply(), Some(true)) => {
            Some(Class::Acknowledgement)
        }
        Body::AppendEntries { .. }
        | Body::InstallSnapshot { .. }
        | Body::InstallSnapshotReply { .. } => Some(Class::Entries),
        Body::AppendEntriesReply { .. }
        | Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::RequestVoteReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::StateDigest { .. } => None,
    }
}

fn mark(
    id: EventId,
    flight: &Flight,
    (share, phase): (f64, Phase),
    layout: &Layout,
) -> Option<FlightMark> {
    let (start, end) = layout.lane(flight.message.from, flight.message.to)?;
    let at = start.towards(end, share);
    let length = start.distance(end).max(1.0);
    let tail = start.towards(end, (share - 26.0 / length).max(0.0));
    let (first, last) = carried(flight).unwrap_or((LogIndex(1), LogIndex(0)));
    let entries = usize::try_from((last.0 + 1).saturating_sub(first.0)).unwrap_or(usize::MAX);
    let Message { from, to, term, .. } = flight.message;
    let (name, reply) = (flight.message.body.name(), flight.message.body.reply());
    let (held, chosen, carries) = (flight.held, false, false);
    Some(FlightMark {
        id,
        from,
        to,
        term,
        name,
        reply,
        entries,
        first,
        at,
        tail,
        phase,
        held,
        chosen,
        carries,
    })
}

/// How far along its lane a message is, and what it is doing; `None` when there is nothing to see.
/// `heard` tells whether the receiver takes part, `wall` where its link ends now, if it is cut.
fn progress(
    flight: &Flight,
    heard: bool,
    wall: Option<f64>,
    (now, pace): (Time, Pace),
) -> Option<(f64, Phase)> {
    let sent = flight.sent_at;
    if now < sent {
        return None;
    }
    let least = pace.span(if too_fast(pace) { LEAST_MS } else { LEAST_SLOW_MS });
    let (lane_end, stop, lost) = match (flight.end, flight.due) {
        (Some(FlightEnd::Received { at }), _) => (at.max(sent.after(least)), 1.0, false),
        (Some(FlightEnd::Dropped { at, why }), due) => {
            // Where every message can be followed, it ends when it does. What is lost as it is sent
            // never was on its way, and is shown to be lost there.
            let under_way = at > sent || due.is_some() || flight.held;
            let followed = !too_fast(pace) && under_way;
            let (end, share) = doomed(sent, at, due, why, if followed { 1 } else { least });
            // What was sent into a cut link ends where that is seen.
            let wall = wall.filter(|_| why == DropReason::LinkCut && at <= sent);
            (end, wall.unwrap_or(share), true)
        }
        (None, Some(due)) => (due.max(sent.after(least)), 1.0, false),
        // Where on its way it is held, nobody knows.
        (None, None) if flight.held => return Some((0.5, Phase::Moving)),
        // Real servers do not tell that it came to nothing.
        (None, None) if wall.is_some() => (sent.after(least / 2), wall.unwrap_or(0.5), true),
        (None, None) if heard => {
            // Nobody knows yet when it will arrive: it slows down on its way. After a while it was
            // lost, or its arrival went untold.
            let waited = real(now.since(sent)) / real(least);
            return (waited < 3.0).then(|| (0.94 * (1.0 - (-waited).exp()), Phase::Moving));
        }
        // Its receiver is not there.
        (None, None) => (sent.after(least), 0.97, true),
    };
    if now < lane_end {
        let share = stop * real(now.since(sent)) / real(lane_end.since(sent).max(1));
        return Some((share, Phase::Moving));
    }
    let share = real(now.since(lane_end)) / real(pace.span(END_MS));
    let phase = if lost { Phase::Lost { share } } else { Phase::Arrived { share } };
    if flight.end.is_none() && !lost {
        // Due, but its arrival is not told yet.
        return Some((1.0, Phase::Moving));
    }
    (share < 1.0).then_some((stop, phase))
}

/// When and at which share of its way a lost message ends on the screen.
pub(super) fn doomed(
    sent: Time,
    at: Time,
    due: Option<Time>,
    why: DropReason,
    least: Micros,
) -> (Time, f64) {
    match why {
        DropReason::ReceiverDown | DropReason::Refused(_) => (at.max(sent.after(least)), 0.97),
        DropReason::QueueFull => (sent.after(least / 4), 0.12),
        DropReason::LinkCut | DropReason::Lost => match due {
            Some(due) if due > sent => {
                let share = real(at.since(sent)) / real(due.since(sent));
                (at.max(sent.after(least / 2)), share.clamp(0.1, 0.97))
            }
            // It was held in the middle until then.
            None if at > sent => (at, 0.5),
            // Lost at once as far as the network is concerned; on the screen half-way.
            _ => (sent.after(least / 2), 0.5),
        },
    }
}

#[cfg(test)]
mod tests;
