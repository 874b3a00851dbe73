//! Tests of where messages are drawn.

use std::collections::BTreeSet;

use raft_core::message::AppendResult;
use raft_core::types::LogPosition;

use super::super::layout::Size;
use super::*;
use crate::domain::playback::Speed;

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

/// Guards that a mark is where its message is: half of the time, half of the way.
#[test]
fn a_mark_is_where_its_message_is() {
    let flight = Flight { due: Some(Time(21_000)), ..flight(heartbeat(), 1_000) };
    assert_eq!(progress(&flight, true, None, (Time(11_000), slow())), Some((0.5, Phase::Moving)));
    assert_eq!(progress(&flight, true, None, (Time(999), slow())), None);
    let received = Flight { end: Some(FlightEnd::Received { at: Time(21_000) }), ..flight };
    assert_eq!(
        progress(&received, true, None, (Time(21_000), slow())),
        Some((1.0, Phase::Arrived { share: 0.0 }))
    );
    assert_eq!(progress(&received, true, None, (Time(60_000), slow())), None);
}

/// Guards that, in real time, a message of a tenth of a millisecond is still visible.
#[test]
fn a_fast_message_takes_a_least_time_on_the_wall() {
    let end = Some(FlightEnd::Received { at: Time(1_100) });
    let flight = Flight { end, ..flight(heartbeat(), 1_000) };
    let (share, phase) =
        progress(&flight, true, None, (Time(1_000 + 210_000), Pace::REAL)).unwrap();
    assert!((share - 0.5).abs() < 0.01, "{share}");
    assert_eq!(phase, Phase::Moving);
}

/// Guards that a lost message ends on its way, and a message to a dead server ends just before it.
#[test]
fn a_doomed_message_visibly_ends() {
    let lost = |why| {
        let end = Some(FlightEnd::Dropped { at: Time(1_000), why });
        let flight = Flight { end, ..flight(heartbeat(), 1_000) };
        progress(&flight, true, None, (Time(1_000 + 8_500), slow())).unwrap()
    };
    assert!(matches!(lost(DropReason::Lost), (0.5, Phase::Lost { .. })));
    assert!(matches!(lost(DropReason::QueueFull), (0.12, Phase::Lost { .. })));
    let (share, phase) = lost(DropReason::ReceiverDown);
    assert!(share > 0.85, "{share}");
    assert!(matches!(phase, Phase::Lost { .. }));
}

/// Guards that a message dropped by the user, even a held one, is shown as lost at once and in
/// place while the clock stands.
#[test]
fn a_message_that_is_taken_away_ends_where_it_is() {
    let at = Time(3_000);
    let end = Some(FlightEnd::Dropped { at, why: DropReason::Lost });
    let flying = Flight { end, due: Some(Time(21_000)), ..flight(heartbeat(), 1_000) };
    let lost = |share| Some((share, Phase::Lost { share: 0.0 }));
    assert_eq!(progress(&flying, true, None, (at, slow())), lost(0.1));
    // The same holds at the moment of sending.
    let fresh = Flight { sent_at: at, ..flying.clone() };
    assert_eq!(progress(&fresh, true, None, (at, slow())), lost(0.1));
    let fresh = Flight { due: None, held: true, ..fresh };
    assert_eq!(progress(&fresh, true, None, (at, slow())), lost(0.5));
    let held = Flight { due: None, held: true, ..flying };
    assert_eq!(progress(&held, true, None, (at, slow())), lost(0.5));
    let still = Flight { end: None, ..held };
    assert_eq!(progress(&still, true, None, (Time(9_000_000), slow())), Some((0.5, Phase::Moving)));
}

/// Guards live clusters, which do not report lost messages. A message to a dead server ends there,
/// and a message to a server with late news fades on its way.
#[test]
fn a_message_without_news_does_not_hang_about() {
    let flight = flight(heartbeat(), 0);
    let at = |heard, milliseconds: u64| {
        progress(&flight, heard, None, (Time(milliseconds * 1_000), Pace::REAL))
    };
    assert!(matches!(at(true, 600), Some((_, Phase::Moving))));
    assert_eq!(at(true, 1_500), None);
    assert!(matches!(at(false, 600), Some((_, Phase::Lost { .. }))));
    assert_eq!(at(false, 1_500), None);
}

/// Guards legibility at high speed: of twenty heartbeats per second few are drawn, but every vote
/// is.
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
    // 100 heartbeats at 50 ms take 5 s; one per 900 ms is shown.
    assert_eq!(shown(Pace::REAL, MessageName::Heartbeat), 6);
    assert_eq!(shown(Pace::REAL, MessageName::AppendEntriesReply), 6);
    assert_eq!(shown(Pace::REAL, MessageName::RequestVote), 100);
}

/// Guards that marks lie between their two servers, and are not drawn if a server is unknown.
#[test]
fn marks_lie_on_their_lane() {
    let roster = BTreeSet::from([NodeId(1), NodeId(2)]);
    let layout = Layout::of(Size { width: 800.0, height: 400.0 }, &roster);
    let mut cluster = ClusterModel::default();
    let id = EventId { node: NodeId(1), seq: 0 };
    let due = Some(Time(20_000));
    cluster.view.messages.insert(id, Flight { due, ..flight(heartbeat(), 0) });
    let none = Marks::default();
    let marks = super::marks(
        &cluster,
        Time(10_000),
        slow(),
        Ground { layout: &layout, border: None },
        &none,
    );
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
    assert!(
        super::marks(
            &cluster,
            Time(10_000),
            slow(),
            Ground { layout: &alone, border: None },
            &none
        )
        .is_empty()
    );
}
