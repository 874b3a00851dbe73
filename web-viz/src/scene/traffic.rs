//! Messages in transit. A mark moves with its message: it starts when the message is sent and ends
//! when and where the message ends.
//!
//! If the cluster is too fast to follow (real time, or a simulation at high speed), a mark has a
//! minimum duration on the screen. Of a link's routine messages, only one is then shown at a time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use raft_core::event::DropReason;
use raft_core::message::{Body, Message, MessageName};
use raft_core::types::{EventId, LogIndex, Micros, NodeId, Term, Time};
use raft_core::view::{Flight, FlightEnd};

use super::border::Border;
use super::layout::{Layout, Point};
use super::marks::{Marks, carried};
use crate::domain::cluster::ClusterModel;
use crate::domain::playback::Pace;
use crate::num::real;

/// The minimum duration of a message on the screen if the cluster is too fast to follow, in
/// milliseconds.
const LEAST_MS: f64 = 420.0;

/// The minimum if every message can be followed.
const LEAST_SLOW_MS: f64 = 120.0;

/// How long the end of a message is shown, in milliseconds.
const END_MS: f64 = 480.0;

/// If there are too many routine messages, each link shows one per this period, in milliseconds.
const SAMPLE_MS: f64 = 900.0;

/// A message, as drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FlightMark {
    pub(crate) id: EventId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) term: Term,
    pub(crate) name: MessageName,
    /// Whether a reply is positive; `None` for requests.
    pub(crate) reply: Option<bool>,
    /// The number of entries that the message carries.
    pub(crate) entries: usize,
    pub(crate) first: LogIndex,
    pub(crate) at: Point,
    /// The end of its short trail.
    pub(crate) tail: Point,
    pub(crate) phase: Phase,
    /// Whether the message is held until the user releases it.
    pub(crate) held: bool,
    pub(crate) chosen: bool,
    /// Whether it carries the chosen index.
    pub(crate) carries: bool,
}

impl FlightMark {
    /// A description for screen readers. It is too expensive to build for every message in every
    /// frame.
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

    /// The key of `words`: equal labels mean equal words, which allows caching.
    pub(crate) const fn label(&self) -> Label {
        (self.id, self.to, self.term, self.first, self.held)
    }
}

/// The cache key that [`FlightMark::label`] returns.
pub(crate) type Label = (EventId, NodeId, Term, LogIndex, bool);

/// What lies under a pointer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hit {
    /// A message and its position.
    Message(EventId, Point),
    Server(NodeId),
    Ground,
}

/// How far beside a message a mouse or a finger may press, in pixels.
const NEAR: f64 = 7.0;
const NEAR_TOUCH: f64 = 16.0;

/// What is drawn at a position: the disc of a server, otherwise the nearest moving message,
/// otherwise a server's surroundings.
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
    /// It arrived; `share` is the elapsed fraction of the time that the arrival is shown.
    Arrived {
        share: f64,
    },
    /// It was lost here.
    Lost {
        share: f64,
    },
}

/// Classes of routine messages. Each link shows one message per class if there are too many.
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
    /// Where a message ends on a cut link, as a fraction of its lane: just before the bar or line
    /// that shows the cut.
    fn wall(self, from: NodeId, to: NodeId, cluster: &ClusterModel) -> Option<f64> {
        if !cluster.view.cut_links.contains(&(from, to)) {
            return None;
        }
        let (start, end) = self.layout.lane(from, to)?;
        let met = self.border.and_then(|border| border.met(start, end)).unwrap_or(0.5);
        let room = (self.layout.mark + 3.0) / start.distance(end).max(1.0);
        Some((met - room).max(0.02))
    }
}

/// The marks of all messages at `now`.
pub(crate) fn marks(
    cluster: &ClusterModel,
    now: Time,
    pace: Pace,
    ground: Ground<'_>,
    chosen: &Marks,
) -> Vec<FlightMark> {
    let mut sampler = Sampler::new(pace);
    // Chosen messages are always shown.
    let is_chosen = |id: &EventId| chosen.message == Some(*id) || chosen.carriers.contains(id);
    let visible = cluster
        .view
        .messages
        .iter()
        .filter(|(id, flight)| sampler.shows(flight) || flight.held || is_chosen(id));
    let draw = |(id, flight): (&EventId, &Flight)| {
        let heard = cluster.presence(flight.message.to).runs();
        let wall = ground.wall(flight.message.from, flight.message.to, cluster);
        let (share, phase) = progress(flight, heard, wall, (now, pace))?;
        let mark = mark(*id, flight, (share, phase), ground.layout)?;
        let chosen = (chosen.message == Some(*id), chosen.carriers.contains(id));
        Some(FlightMark { chosen: chosen.0, carries: chosen.1, ..mark })
    };
    visible.filter_map(draw).collect()
}

/// The travel time of a message along its lane on the screen, in µs of the source's clock.
pub(crate) fn span(flight: &Flight, now: Time, pace: Pace) -> Micros {
    let least = pace.span(if too_fast(pace) { LEAST_MS } else { LEAST_SLOW_MS });
    flight.due.unwrap_or(now).since(flight.sent_at).max(least)
}

/// Samples routine messages. The choice depends only on sending times, so it is stable from frame
/// to frame.
struct Sampler {
    bucket: Option<Micros>,
    last: BTreeMap<(NodeId, NodeId, Class), u64>,
}

/// Whether messages are too fast to follow: faster than a fifth of real time.
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
        // Digests are as regular as heartbeats, and as uninteresting while the states agree.
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

/// The message's position on its lane as a fraction, and its phase; `None` if it is not visible.
/// `heard` is whether the receiver runs. `wall` is where the lane ends if its link is cut now.
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
            // If every message can be followed, a lost message ends when it is lost. A message lost
            // while it is sent was never in transit, and is shown as lost there.
            let under_way = at > sent || due.is_some() || flight.held;
            let followed = !too_fast(pace) && under_way;
            let (end, share) = doomed(sent, at, due, why, if followed { 1 } else { least });
            // A message sent into a cut link ends at the visible cut.
            let wall = wall.filter(|_| why == DropReason::LinkCut && at <= sent);
            (end, wall.unwrap_or(share), true)
        }
        (None, Some(due)) => (due.max(sent.after(least)), 1.0, false),
        // The position of a held message is unknown.
        (None, None) if flight.held => return Some((0.5, Phase::Moving)),
        // Real servers do not report this loss.
        (None, None) if wall.is_some() => (sent.after(least / 2), wall.unwrap_or(0.5), true),
        (None, None) if heard => {
            // The arrival time is unknown, so the message slows down on its way. After a while it
            // was probably lost, or its arrival was not reported.
            let waited = real(now.since(sent)) / real(least);
            return (waited < 3.0).then(|| (0.94 * (1.0 - (-waited).exp()), Phase::Moving));
        }
        // The receiver does not run.
        (None, None) => (sent.after(least), 0.97, true),
    };
    if now < lane_end {
        let share = stop * real(now.since(sent)) / real(lane_end.since(sent).max(1));
        return Some((share, Phase::Moving));
    }
    let share = real(now.since(lane_end)) / real(pace.span(END_MS));
    let phase = if lost { Phase::Lost { share } } else { Phase::Arrived { share } };
    if flight.end.is_none() && !lost {
        // It is due, but its arrival is not reported yet.
        return Some((1.0, Phase::Moving));
    }
    (share < 1.0).then_some((stop, phase))
}

/// When, and at which fraction of its way, a lost message ends on the screen.
pub(crate) fn doomed(
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
            // The network lost it at once; on the screen it ends half-way.
            _ => (sent.after(least / 2), 0.5),
        },
    }
}

#[cfg(test)]
mod tests;
