//! Tests of the page as a person uses it, without a browser.

mod anybody;
mod live;
mod teaching;

use raft_core::event::{EventKind, RoleName};
use raft_core::types::{LogIndex, NodeId};

use raft_core::sim::BranchId;

use super::*;
use crate::address::Place;
use crate::domain::actions::ClusterAction;
use crate::domain::feed::{Filter, Weight};
use crate::domain::tape::MarkKind;
use crate::model::{FormAction, UiAction};
use crate::panel::scrub::geometry::TapeScene;
use crate::scene::grid::{Cell, EntryState, cell};

/// Runs the page frame by frame, as a browser does, until `done`. Panics after two minutes of
/// frames.
pub(crate) fn play(session: &mut Session, done: impl Fn(&Model) -> bool) {
    for _ in 0..60 * 120 {
        if done(&session.model) {
            return;
        }
        session.dispatch(Action::Frame { elapsed: 1000.0 / 60.0, wall: 0 });
    }
    panic!("not within two minutes at 60 frames a second: {:?}", session.model.story.caption);
}

/// The page with a new simulation.
pub(crate) fn opened(servers: u64) -> Session {
    let mut session = Session::default();
    session.dispatch(Action::Open(Place::Simulate(SimSetup {
        seed: 7,
        servers,
        ..SimSetup::default()
    })));
    session
}

/// Guards the first minute on the page. The cluster elects a leader, a button crashes it, the
/// next one wins, and the page shows how long that took.
#[test]
fn it_elects_survives_a_crash_and_says_how_long_that_took() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    let first = session.model.cluster.leader().unwrap();
    session.dispatch(Action::Cluster(ClusterAction::Crash(first)));
    assert_eq!(session.model.leaders.vacancy().map(|(lost, ..)| lost), Some(first));
    play(&mut session, |model| model.cluster.leader().is_some_and(|leader| leader != first));
    let failover = session.model.leaders.last.unwrap();
    assert!((150_000..2_000_000).contains(&failover.took), "{failover:?}");
    session.dispatch(Action::Cluster(ClusterAction::Restart(first)));
    play(&mut session, |model| {
        model
            .cluster
            .node(first)
            .is_some_and(|node| node.role == RoleName::Follower && node.term == failover.term)
    });
    assert!(session.model.violations.is_empty());
}

/// Guards the path of a write: from the form to every row of the matrix, and back as an answer.
#[test]
fn a_write_reaches_every_row_and_is_answered() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    session.dispatch(Action::ClientForm(FormAction::Key("colour".to_owned())));
    session.dispatch(Action::ClientForm(FormAction::Value("blue".to_owned())));
    session.dispatch(Action::Submit);
    play(&mut session, |model| {
        let applied = |node: u64| {
            (1..=9).any(|index| match cell(&model.cluster, NodeId(node), LogIndex(index)) {
                Cell::Entry(entry) => {
                    entry.words == "colour = blue" && entry.state == EntryState::Applied
                }
                Cell::Empty { .. } | Cell::Compacted | Cell::Untold => false,
            })
        };
        (1..=3).all(applied)
    });
    assert!(matches!(session.model.form.asks[0].state, AskState::Done(_)));
    session.dispatch(Action::ClientForm(FormAction::Op(crate::domain::form::Op::Get)));
    session.dispatch(Action::Submit);
    play(&mut session, |model| model.form.asks[0].state != AskState::Waiting);
    assert_eq!(session.model.form.asks[0].state, AskState::Done("colour = blue".to_owned()));
}

/// Guards that an action that is not possible gives the reason and changes nothing.
#[test]
fn what_is_not_permitted_says_why() {
    let mut session = opened(3);
    session.dispatch(Action::Cluster(ClusterAction::Restart(NodeId(1))));
    assert_eq!(session.model.notice.as_ref().unwrap().words, "S1 is running.");
    session.dispatch(Action::Dismiss);
    session.dispatch(Action::Cluster(ClusterAction::Isolate(NodeId(2))));
    assert!(session.model.cluster.isolated(NodeId(2)));
    session.dispatch(Action::Cluster(ClusterAction::Heal));
    assert!(session.model.cluster.view.cut_links.is_empty());
    assert_eq!(session.model.notice, None);
    session.dispatch(Action::SeedTyped("ten".to_owned()));
    assert!(session.model.notice.as_ref().unwrap().words.contains("“ten”"));
}

/// Guards that each step shows something, and that the clock stands between steps.
#[test]
fn a_step_lets_one_thing_happen_and_holds_the_clock() {
    let mut session = opened(3);
    session.dispatch(Action::Step);
    assert!(!session.model.playback.playing);
    let (now, events) = (session.model.playback.now, session.model.cluster.view.events);
    session.dispatch(Action::Frame { elapsed: 500.0, wall: 0 });
    assert_eq!(session.model.playback.now, now);
    session.dispatch(Action::Step);
    assert!(session.model.cluster.view.events > events);
    assert!(session.model.playback.now >= now);
}

/// Guards travel in time. Going back restores the caption, the event list and the client's
/// answers of that moment. Going forward again repeats the run without repeating requests.
#[test]
fn going_back_shows_what_was_shown() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    let before = session.model.clone();
    session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    session.dispatch(Action::Submit);
    play(&mut session, |model| model.cluster.committed() > before.cluster.committed());
    let leader = session.model.cluster.leader().unwrap();
    session.dispatch(Action::Cluster(ClusterAction::Crash(leader)));
    play(&mut session, |model| model.leaders.last.is_some());
    let end = session.model.clone();
    assert_eq!(end.history.run.actions, 2);

    session.dispatch(Action::Jump(Jump::Time(before.playback.now)));
    let shown = &session.model;
    assert!(!shown.playback.playing && shown.in_the_past());
    assert_eq!(shown.digest, before.digest);
    assert_eq!(shown.story.caption, before.story.caption);
    assert_eq!(shown.cluster.leader(), before.cluster.leader());
    assert!(shown.form.asks.is_empty(), "the write lies ahead");
    assert_eq!(numbers(shown), numbers(&before));

    session.dispatch(Action::TogglePlay);
    play(&mut session, |model| !model.in_the_past() && model.playback.now >= end.playback.now);
    session.dispatch(Action::Jump(Jump::Time(end.playback.now)));
    let shown = &session.model;
    assert_eq!((shown.digest, shown.history.run.actions), (end.digest, 2));
    assert_eq!(shown.leaders, end.leaders);
    assert_eq!(shown.form.asks, end.form.asks);
    assert_eq!(shown.history.run.branches.len(), 1);
}

/// The numbers of the listed events.
fn numbers(model: &Model) -> Vec<u64> {
    let all = Filter { least: Weight::Routine, ..Filter::default() };
    model.feed.lines(&all).iter().map(|line| line.number).collect()
}

/// Guards that acting in the past and undo start branches with their own tapes, and that the
/// first branch stays reachable.
#[test]
fn acting_in_the_past_and_undoing_begin_branches() {
    let mut session = opened(3);
    session.dispatch(Action::Jump(Jump::Undo));
    assert!(session.model.notice.as_ref().unwrap().words.contains("no action to undo"));
    play(&mut session, |model| model.cluster.leader().is_some());
    let (leader, elected) = (session.model.cluster.leader().unwrap(), session.model.playback.now);
    session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    session.dispatch(Action::Cluster(ClusterAction::Crash(leader)));
    play(&mut session, |model| model.leaders.last.is_some());
    let (digest, end) = (session.model.digest, session.model.playback.now);

    session.dispatch(Action::Jump(Jump::Time(elected)));
    session.dispatch(Action::Cluster(ClusterAction::Isolate(leader)));
    assert_eq!(session.model.history.run.current, BranchId(1));
    assert!(session.model.notice.as_ref().unwrap().words.contains("branch B begins here"));
    let scene = TapeScene::of(&session.model.history, 100);
    assert_eq!(scene.lanes.len(), 2);
    let kinds = |lane: usize| scene.lanes[lane].dots.iter().map(|dot| dot.kind);
    assert!(kinds(0).any(|kind| kind == MarkKind::Stop));
    assert!(kinds(1).all(|kind| kind != MarkKind::Stop));
    assert!(kinds(1).any(|kind| kind == MarkKind::Cut));

    session.dispatch(Action::Jump(Jump::Undo));
    assert_eq!(session.model.history.run.current, BranchId(2));
    assert!(!session.model.cluster.isolated(leader));
    // A comparison of two branches does not move the page.
    let (here, shown) = (session.model.digest, session.model.playback.now);
    session.dispatch(Action::Compare(Some((BranchId(0), BranchId(1)))));
    let comparison = session.model.comparison.clone().unwrap();
    let [left, right] = comparison.sides.each_ref().map(|side| side.first.as_ref().unwrap());
    assert_eq!(left.kind, EventKind::Crashed);
    assert!(matches!(right.kind, EventKind::LinkChanged { up: false, .. }), "{right}");
    session.dispatch(Action::Step);
    session.dispatch(Action::Jump(Jump::Back));
    assert_eq!(session.model.digest, here);
    assert!(session.model.playback.now <= shown);

    session.dispatch(Action::Jump(Jump::Branch(BranchId(0), end)));
    assert_eq!((session.model.digest, session.model.playback.now), (digest, end));
}

/// Guards that a link shows exactly the same run on a fresh page, also in the past of a branch
/// and with its future. A run that differs is reported.
#[test]
fn a_link_gives_the_exact_run() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    let leader = session.model.cluster.leader().unwrap();
    session.dispatch(Action::Submit);
    play(&mut session, |model| model.cluster.committed() > LogIndex(1));
    session.dispatch(Action::Cluster(ClusterAction::Crash(leader)));
    play(&mut session, |model| model.leaders.last.is_some());
    for jump in [Jump::End, Jump::Back, Jump::Undo, Jump::Time(Time(400_000)), Jump::Back] {
        session.dispatch(Action::Jump(jump));
        let outside = session.dispatch(Action::Ui(UiAction::Share(true)));
        let [Effect::Address(place)] = &outside[..] else { panic!("{outside:?}") };
        let mut fresh = Session::default();
        fresh.dispatch(Action::Open(Place::parse(&place.fragment()).unwrap()));
        let (there, here) = (&fresh.model, &session.model);
        assert_eq!(there.notice, None, "{jump:?}");
        assert_eq!((there.digest, there.playback.now), (here.digest, here.playback.now));
        assert_eq!(there.cluster.leader(), here.cluster.leader());
        assert!(!there.playback.playing);
        assert_eq!(there.history.run.actions, here.history.run.actions);
    }
    let Some(recall) = session.model.link.clone() else { panic!("there is a link") };
    let other = Recall { digest: 1, ..(*recall).clone() };
    let mut fresh = Session::default();
    fresh.dispatch(Action::Open(Place::Run(session.model.setup, Rc::new(other))));
    assert!(fresh.model.notice.as_ref().unwrap().words.contains("not the shared run"));
}

/// Guards shared links: the same setup and actions give the same run.
#[test]
fn the_same_run_has_the_same_digest() {
    let digest = || {
        let mut session = opened(5);
        play(&mut session, |model| model.cluster.leader().is_some());
        session.dispatch(Action::Ui(UiAction::Select(Some(NodeId(1)))));
        session.dispatch(Action::Cluster(ClusterAction::SplitLeader));
        play(&mut session, |model| model.leaders.last.is_some());
        session.model.digest
    };
    assert_eq!(digest(), digest());
}
