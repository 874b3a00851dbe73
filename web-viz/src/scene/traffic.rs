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

/// All marks at `now`.
pub(crate) fn marks(
    known: &Known,
    now: Time,
    pace: Pace,
    layout: &Layout,
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
        let (share, phase) = progress(flight, heard, now, pace)?;
        let mark = mark(*id, flight, (share, phase), layout)?;
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
        | Body::ReadIndexReply { .. } => None,
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
/// `heard` tells whether the receiver takes part.
fn progress(flight: &Flight, heard: bool, now: Time, pace: Pace) -> Option<(f64, Phase)> {
    let sent = flight.sent_at;
    if now < sent {
        return None;
    }
    let least = pace.span(if too_fast(pace) { LEAST_MS } else { LEAST_SLOW_MS });
    let (lane_end, stop, lost) = match (flight.end, flight.due) {
        (Some(FlightEnd::Received { at }), _) => (at.max(sent.after(least)), 1.0, false),
        (Some(FlightEnd::Dropped { at, why }), due) => {
            // Where every message can be followed, it ends when it does.
            let followed = !too_fast(pace) && at > sent;
            let (end, share) = doomed(sent, at, due, why, if followed { 1 } else { least });
            (end, share, true)
        }
        (None, Some(due)) => (due.max(sent.after(least)), 1.0, false),
        // Where on its way it is held, nobody knows.
        (None, None) if flight.held => return Some((0.5, Phase::Moving)),
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
        DropReason::ReceiverDown => (at.max(sent.after(least)), 0.97),
        DropReason::QueueFull => (sent.after(least / 4), 0.12),
        DropReason::LinkCut | DropReason::Lost => match due {
            Some(due) if at > sent && due > sent => {
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
mod tests {
    use std::collections::BTreeSet;

    use raft_core::message::AppendResult;
    use raft_core::types::LogPosition;

    use super::super::layout::Size;
    use super::*;
    use crate::model::playback::Speed;

    fn flight(body: Body, sent_at: u64) -> Flight {
        let (from, to) = (NodeId(1), NodeId(2));
        let message = Message { from, to, seq: 0, term: Term(1), body };
        Flight { message, sent_at: Time(sent_at), due: None, held: false, end: None }
    }

    fn heartbeat() -> Body {
        let prev_log = LogPosition::ZERO;
        Body::AppendEntries {
            prev_log,
            entries: Vec::new().into(),
            leader_commit: LogIndex(0),
            round: 1,
        }
    }

    fn acknowledgement() -> Body {
        let result = AppendResult::Accepted { match_index: LogIndex(0) };
        Body::AppendEntriesReply { round: 1, result }
    }

    fn slow() -> Pace {
        Pace::of(Speed::default())
    }

    /// Guards the promise that a message is where the mark is: half of the time, half of the way.
    #[test]
    fn a_mark_is_where_its_message_is() {
        let flight = Flight { due: Some(Time(21_000)), ..flight(heartbeat(), 1_000) };
        assert_eq!(progress(&flight, true, Time(11_000), slow()), Some((0.5, Phase::Moving)));
        assert_eq!(progress(&flight, true, Time(999), slow()), None);
        let received = Flight { end: Some(FlightEnd::Received { at: Time(21_000) }), ..flight };
        assert_eq!(
            progress(&received, true, Time(21_000), slow()),
            Some((1.0, Phase::Arrived { share: 0.0 }))
        );
        assert_eq!(progress(&received, true, Time(60_000), slow()), None);
    }

    /// Guards real time: what takes a tenth of a millisecond is still seen.
    #[test]
    fn a_fast_message_takes_a_least_time_on_the_wall() {
        let end = Some(FlightEnd::Received { at: Time(1_100) });
        let flight = Flight { end, ..flight(heartbeat(), 1_000) };
        let (share, phase) = progress(&flight, true, Time(1_000 + 210_000), Pace::REAL).unwrap();
        assert!((share - 0.5).abs() < 0.01, "{share}");
        assert_eq!(phase, Phase::Moving);
    }

    /// Guards the sight of loss: a lost message ends on its way, one to a dead server in front of
    /// it.
    #[test]
    fn a_doomed_message_visibly_ends() {
        let lost = |why| {
            let end = Some(FlightEnd::Dropped { at: Time(1_000), why });
            let flight = Flight { end, ..flight(heartbeat(), 1_000) };
            progress(&flight, true, Time(1_000 + 8_500), slow()).unwrap()
        };
        assert!(matches!(lost(DropReason::Lost), (0.5, Phase::Lost { .. })));
        assert!(matches!(lost(DropReason::QueueFull), (0.12, Phase::Lost { .. })));
        let (share, phase) = lost(DropReason::ReceiverDown);
        assert!(share > 0.85, "{share}");
        assert!(matches!(phase, Phase::Lost { .. }));
    }

    /// Guards what a person does to a message while the clock stands: it is seen to be lost at once, where
    /// it was, also one that was held.
    #[test]
    fn a_message_that_is_taken_away_ends_where_it_is() {
        let at = Time(3_000);
        let end = Some(FlightEnd::Dropped { at, why: DropReason::Lost });
        let flying = Flight { end, due: Some(Time(21_000)), ..flight(heartbeat(), 1_000) };
        let lost = |share| Some((share, Phase::Lost { share: 0.0 }));
        assert_eq!(progress(&flying, true, at, slow()), lost(0.1));
        let held = Flight { due: None, held: true, ..flying };
        assert_eq!(progress(&held, true, at, slow()), lost(0.5));
        let still = Flight { end: None, ..held };
        assert_eq!(progress(&still, true, Time(9_000_000), slow()), Some((0.5, Phase::Moving)));
    }

    /// Guards Live, where nobody tells that a message was lost: it ends at a server that is down,
    /// and fades on the way to one whose news are late.
    #[test]
    fn a_message_without_news_does_not_hang_about() {
        let flight = flight(heartbeat(), 0);
        let at = |heard, milliseconds: u64| {
            progress(&flight, heard, Time(milliseconds * 1_000), Pace::REAL)
        };
        assert!(matches!(at(true, 600), Some((_, Phase::Moving))));
        assert_eq!(at(true, 1_500), None);
        assert!(matches!(at(false, 600), Some((_, Phase::Lost { .. }))));
        assert_eq!(at(false, 1_500), None);
    }

    /// Guards legibility at high speed: of twenty heartbeats a second few are drawn, but every
    /// vote is.
    #[test]
    fn routine_is_sampled_only_when_it_is_too_fast() {
        let mut view = raft_core::view::ClusterView::default();
        for beat in 0..100_u64 {
            for (part, body) in [
                heartbeat(),
                acknowledgement(),
                Body::RequestVote { last_log: LogPosition::ZERO, transfer: false },
            ]
            .into_iter()
            .enumerate()
            {
                let id = EventId { node: NodeId(1), seq: beat * 3 + part as u64 };
                view.messages.insert(id, flight(body, beat * 50_000));
            }
        }
        let shown = |pace: Pace, name: MessageName| {
            let mut sampler = Sampler::new(pace);
            let flights = view.messages.values().filter(|flight| sampler.shows(flight));
            flights.filter(|flight| flight.message.body.name() == name).count()
        };
        assert_eq!(shown(slow(), MessageName::Heartbeat), 100);
        // 100 beats of 50 ms are 5 s: one in 900 ms.
        assert_eq!(shown(Pace::REAL, MessageName::Heartbeat), 6);
        assert_eq!(shown(Pace::REAL, MessageName::AppendEntriesReply), 6);
        assert_eq!(shown(Pace::REAL, MessageName::RequestVote), 100);
    }

    /// Guards the marks' places: between the two servers, and gone when one is unknown.
    #[test]
    fn marks_lie_on_their_lane() {
        let roster = BTreeSet::from([NodeId(1), NodeId(2)]);
        let layout = Layout::of(Size { width: 800.0, height: 400.0 }, &roster);
        let mut known = Known::default();
        let id = EventId { node: NodeId(1), seq: 0 };
        let due = Some(Time(20_000));
        known.view.messages.insert(id, Flight { due, ..flight(heartbeat(), 0) });
        let none = Marks::default();
        let marks = super::marks(&known, Time(10_000), slow(), &layout, &none);
        assert_eq!(marks.len(), 1);
        assert!((marks[0].at.x - layout.centre.x).abs() < 1.0, "{:?}", marks[0].at);
        assert_eq!(marks[0].words(), "Heartbeat S1 to S2, term 1");
        let at = marks[0].at;
        assert_eq!(hit(&marks, &layout, at.at(0.5, 12.0), false), Hit::Message(id, at));
        assert_eq!(hit(&marks, &layout, at.at(0.5, 24.0), false), Hit::Ground);
        assert_eq!(hit(&marks, &layout, at.at(0.5, 24.0), true), Hit::Message(id, at));
        let server = layout.spot(NodeId(2)).unwrap().at;
        assert_eq!(hit(&marks, &layout, server, false), Hit::Server(NodeId(2)));
        let alone = Layout::of(layout.size, &BTreeSet::from([NodeId(1)]));
        assert!(super::marks(&known, Time(10_000), slow(), &alone, &none).is_empty());
    }
}
