//! Tests of the space-time diagram.

use std::collections::BTreeSet;

use raft_core::event::DropReason;
use raft_core::message::{Body, Message};
use raft_core::sim::BranchId;
use raft_core::types::LogPosition;

use super::*;
use crate::address::Place;
use crate::domain::actions::ClusterAction;
use crate::domain::history::Jump;
use crate::domain::run::SimSetup;
use crate::domain::testing::Script;
use crate::model::Action;
use crate::session::Session;

const WIDTH: f64 = 1000.0 + MARGIN;

fn flight(from: u64, to: u64, sent: u64) -> (EventId, Flight) {
    let id = EventId { node: NodeId(from), seq: sent };
    let body = Body::RequestVote { last_log: LogPosition::ZERO, transfer: false };
    let (from, to) = (NodeId(from), NodeId(to));
    let message = Message { from, to, seq: sent, term: Term(1), body };
    let flight = Flight { message, sent_at: Time(sent), due: None, held: false, end: None };
    (id, flight)
}

fn scene(cluster: &ClusterModel, lanes: &Lanes, now: u64, picked: Option<EventId>) -> LanesScene {
    let ui = LanesUi { open: true, window: 1_000, width: WIDTH };
    let servers = BTreeSet::from([NodeId(2)]);
    let marks = Marks { message: picked, servers, ..Marks::default() };
    LanesScene::of(Source { cluster, lanes, now: Time(now), ui: &ui, marks: &marks })
}

fn drawn(flights: Vec<(EventId, Flight)>, now: u64) -> LanesScene {
    let mut cluster = Script::new(3).cluster();
    cluster.view.messages.extend(flights);
    scene(&cluster, &Lanes::default(), now, None)
}

/// Guards that an arrow goes from the sender's lane at the sending time to the receiver's lane at
/// the arrival time. The playhead is at the right edge.
#[test]
fn an_arrow_goes_from_sending_to_arrival() {
    let (id, sent) = flight(1, 3, 2_200);
    let end = Some(FlightEnd::Received { at: Time(2_300) });
    let scene = drawn(vec![(id, Flight { due: Some(Time(2_300)), end, ..sent })], 2_500);
    let [arrow] = &scene.arrows[..] else { panic!("{:?}", scene.arrows) };
    assert_eq!(arrow.from, Point { x: 200.0, y: 20.0 + CLEAR });
    assert_eq!(arrow.to, Point { x: 300.0, y: 100.0 - CLEAR });
    assert_eq!((scene.shift, scene.head), (500.0, 1000.0), "2,500 is at the right edge");
    assert!(scene.moving.is_empty());
    assert_eq!(scene.ticks.last().unwrap(), &(1000.0, "now".to_owned()));
}

/// Guards that a lost message ends between the lanes, and a message in transit at the playhead, as
/// far as it has come.
#[test]
fn what_is_lost_or_on_its_way_ends_between_the_lanes() {
    let (lost, first) = flight(1, 2, 2_000);
    let dropped = FlightEnd::Dropped { at: Time(2_000), why: DropReason::LinkCut };
    let (flying, second) = flight(3, 2, 2_400);
    let scene = drawn(
        vec![
            (lost, Flight { end: Some(dropped), ..first }),
            (flying, Flight { due: Some(Time(2_600)), ..second }),
        ],
        2_500,
    );
    assert_eq!(scene.arrows[0].end, End::Lost);
    assert!((scene.arrows[0].to.y - 40.0).abs() < 0.1, "{:?}", scene.arrows[0]);
    let moving = &scene.moving[0];
    assert_eq!((moving.end, moving.to.x + scene.shift), (End::Flying, scene.head));
    assert!((moving.to.y - 80.0).abs() < 0.1, "half of the way: {moving:?}");
}

/// Guards that messages that ended before the window are not drawn, and messages that reach into it
/// are.
#[test]
fn the_window_ends_at_the_playhead() {
    let received = |from, at| {
        let (id, sent) = flight(1, 2, from);
        (id, Flight { end: Some(FlightEnd::Received { at: Time(at) }), ..sent })
    };
    let all = vec![received(100, 400), received(1_400, 1_600), received(2_000, 2_100)];
    let scene = drawn(all, 2_500);
    assert_eq!(scene.arrows.len(), 2);
    assert_eq!(scene.beside, [Some(scene.arrows[1].id), None]);
}

/// Guards that, in a busy cluster, heartbeats are left out before other messages, and the page says
/// so.
#[test]
fn too_many_messages_are_thinned() {
    let mut cluster = Script::new(3).cluster();
    for beat in 0..1_000 {
        let (id, mut sent) = flight(1, 2, 1_500 + beat);
        if beat % 10 > 0 {
            let (prev_log, leader_commit) = (LogPosition::ZERO, raft_core::types::LogIndex(0));
            let entries = Vec::new().into();
            sent.message.body = Body::AppendEntries { prev_log, entries, leader_commit, round: 1 };
        }
        cluster.view.messages.insert(id, sent);
    }
    let scene = scene(&cluster, &Lanes::default(), 2_500, None);
    assert!(scene.thinned);
    let all: Vec<_> = scene.arrows.iter().chain(&scene.moving).collect();
    assert_eq!(all.len(), MOST);
    assert_eq!(all.iter().filter(|it| it.name == MessageName::RequestVote).count(), 100);
    assert!(all.iter().any(|it| it.sent == Time(2_499)), "the newest stay");
}

/// Guards the description of a picked message, and that its neighbours can be reached without a
/// mouse.
#[test]
fn a_picked_message_is_told() {
    let mut cluster = Script::new(3).cluster();
    let (id, sent) = flight(1, 2, 2_000);
    let end = Some(FlightEnd::Received { at: Time(2_200) });
    cluster.view.messages.extend([(id, Flight { end, ..sent }), flight(2, 1, 2_300)]);
    let scene = scene(&cluster, &Lanes::default(), 2_500, Some(id));
    let picked = scene.picked.unwrap();
    assert!(picked.words.starts_with("S1 sends RequestVote to S2"), "{}", picked.words);
    assert!(picked.words.ends_with("It arrives after 200 µs."), "{}", picked.words);
    assert_eq!(scene.beside, [None, Some(EventId { node: NodeId(2), seq: 2_300 })]);
    let gone = Script::new(3).crash(2);
    let mut cluster = gone.cluster();
    cluster.view.messages.extend([flight(1, 2, 2_000)]);
    let picked = self::scene(&cluster, &Lanes::default(), 2_500, Some(id)).picked.unwrap();
    assert!(picked.words.ends_with("Its receiver is unavailable."), "{}", picked.words);
}

/// Guards that lanes show role, term and signs at their times, and mark the selected server.
#[test]
fn lanes_tell_roles_and_turns() {
    let script = Script::new(2).wait(1_800).leader(1, 1).wait(400).crash(1);
    let (mut cluster, mut lanes) = (ClusterModel::default(), Lanes::default());
    for event in script.events() {
        cluster.view.observe(event);
        cluster.widen_roster();
        lanes.observe(event, &cluster, Time(5_000));
    }
    let scene = scene(&cluster, &lanes, 2_500, None);
    let bars: Vec<_> = scene.bars.iter().filter(|bar| bar.y < 30.0).collect();
    let looks: Vec<_> = bars.iter().map(|bar| (bar.look, bar.from, bar.until)).collect();
    assert_eq!(
        looks,
        [
            (Look::Follower, -500.0, -200.0),
            (Look::Leader, -200.0, 200.0),
            (Look::Down, 200.0, 500.0)
        ]
    );
    assert_eq!(scene.signs.len(), 2);
    assert_eq!(scene.rows[0].words, "S1, down, term 1");
    assert!(scene.rows[1].selected && !scene.rows[0].selected);
    assert!(!scene.bars.iter().any(|bar| matches!(bar.look, Look::Unseen)));
}

fn shown(session: &Session) -> LanesScene {
    let model = &session.model;
    let (lanes, now, ui) = (model.history.lanes(), model.playback.now, &model.ui.lanes);
    let marks = Marks::default();
    LanesScene::of(Source { cluster: &model.cluster, lanes: &lanes, now, ui, marks: &marks })
}

/// Runs the page until another leader is elected.
fn elect(session: &mut Session, old: Option<NodeId>) -> NodeId {
    for _ in 0..10_000 {
        session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
        if let Some(leader) = session.model.cluster.leader().filter(|it| Some(*it) != old) {
            return leader;
        }
    }
    panic!("nobody is elected");
}

/// Guards that going back in time shows the former diagram, a branch has its own lanes, and the
/// other branch keeps its lanes.
#[test]
fn lanes_follow_the_way_back_and_branches() {
    let mut session = Session::default();
    session.dispatch(Action::Open(Place::Simulate(SimSetup::default())));
    let leader = elect(&mut session, None);
    let (elected, then) = (session.model.playback.now, shown(&session));
    assert!(then.signs.iter().any(|mark| mark.sign == Sign::Win) && !then.arrows.is_empty());
    session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    session.dispatch(Action::Cluster(ClusterAction::Crash(leader)));
    elect(&mut session, Some(leader));
    let (end, last) = (session.model.playback.now, shown(&session));
    assert!(last.bars.iter().any(|bar| bar.look == Look::Down));

    session.dispatch(Action::Jump(Jump::Time(elected)));
    assert_eq!(shown(&session), then);
    session.dispatch(Action::Cluster(ClusterAction::Isolate(leader)));
    session.dispatch(Action::TogglePlay);
    elect(&mut session, Some(leader));
    let branch = shown(&session);
    assert!(branch.bars.iter().all(|bar| bar.look != Look::Down));
    assert!(branch.signs.len() > then.signs.len());
    session.dispatch(Action::Jump(Jump::Branch(BranchId(0), end)));
    assert_eq!(shown(&session), last);
}
