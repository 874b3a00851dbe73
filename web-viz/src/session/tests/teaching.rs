//! Tests of faults, lessons and other actions, through the page's model.

use raft_core::rules::Mutation;
use raft_core::types::{LogIndex, NodeId};
use raft_core::view::FlightEnd;

use super::{opened, play};
use crate::address::Place;
use crate::domain::actions::{
    ClockAction, ClusterAction, DiskAction, LinkAction, MemberAction, MessageAction,
};
use crate::domain::lessons;
use crate::domain::playback::Speed;
use crate::model::LessonAction;
use crate::model::course::Page;
use crate::scene::layout::Size;
use crate::scene::marks::Marks;
use crate::scene::{Scene, Source};
use crate::session::*;

/// Guards membership changes by buttons: a new server joins, votes, and leads after a transfer. It
/// leaves the ring once it was removed and switched off.
#[test]
fn members_join_lead_and_leave() {
    let member = |action| Action::Cluster(ClusterAction::Member(action));
    let mut session = opened(3);
    session.dispatch(member(MemberAction::AddVoter));
    assert_eq!(session.model.notice.as_ref().unwrap().words, "There is no leader now.");
    play(&mut session, |model| model.cluster.committed() > LogIndex(0));
    session.dispatch(member(MemberAction::AddVoter));
    let four = NodeId(4);
    play(&mut session, |model| model.cluster.voters().contains(&four));
    assert_eq!(session.model.cluster.majority(), 3);
    play(&mut session, |model| matches!(model.form.asks[0].state, AskState::Done(_)));
    session.dispatch(member(MemberAction::Transfer(four)));
    let before = session.model.cluster.committed();
    play(&mut session, |model| {
        model.cluster.leader() == Some(four) && model.cluster.committed() > before
    });
    session.dispatch(member(MemberAction::AddLearner));
    let learns = |model: &Model| {
        model.cluster.membership().is_some_and(|it| it.learners.contains(&NodeId(5)))
    };
    play(&mut session, learns);
    assert_eq!(session.model.cluster.majority(), 3, "a learner does not count");
    let size = Size { width: 800.0, height: 600.0 };
    let model = &session.model;
    let marks = Marks::default();
    let scene = Scene::of(Source {
        cluster: &model.cluster,
        read: &model.reading.cluster,
        now: model.playback.now,
        pace: model.pace(),
        size,
        marks: &marks,
        gesture: model.ui.gesture.drawn(),
        refused: None,
    });
    let mark = |node| scene.servers.iter().find(|mark| mark.id == NodeId(node)).unwrap();
    assert_eq!(mark(5).title, "learner");
    assert!(mark(5).disc < mark(4).disc, "it is drawn smaller");
    play(&mut session, |model| matches!(model.form.asks[0].state, AskState::Done(_)));
    session.dispatch(member(MemberAction::Promote(NodeId(5))));
    play(&mut session, |model| model.cluster.voters().len() == 5);
    play(&mut session, |model| matches!(model.form.asks[0].state, AskState::Done(_)));
    session.dispatch(member(MemberAction::Remove(four)));
    play(&mut session, |model| model.cluster.leader().is_some_and(|leader| leader != four));
    play(&mut session, |model| !model.cluster.voters().contains(&four));
    assert!(session.model.cluster.roster.contains(&four), "it still runs");
    session.dispatch(Action::Cluster(ClusterAction::Crash(four)));
    assert!(!session.model.cluster.roster.contains(&four));
    assert!(session.model.violations.is_empty());
}

/// Guards that the simulator accepts each disk, clock, link and network fault of the fault panel.
/// Each can be undone, and the cluster survives it.
#[test]
fn every_fault_of_the_panel_is_taken_and_can_be_taken_back() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    let leader = session.model.cluster.leader().unwrap();
    let [one, other] =
        [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader).collect::<Vec<_>>()[..]
    else {
        unreachable!()
    };
    let actions = [
        ClusterAction::Disk(one, DiskAction::Stall),
        ClusterAction::Disk(one, DiskAction::Mend),
        ClusterAction::Disk(one, DiskAction::Slow),
        ClusterAction::Disk(one, DiskAction::Quicken),
        ClusterAction::Disk(one, DiskAction::FailSnapshot),
        ClusterAction::Member(MemberAction::Snapshot(leader)),
        ClusterAction::Disk(one, DiskAction::Mend),
        ClusterAction::Clock(one, ClockAction::Rate(500)),
        ClusterAction::Clock(one, ClockAction::Jump(500_000)),
        ClusterAction::Clock(one, ClockAction::Rate(1000)),
        ClusterAction::Link(leader, one, LinkAction::Cut),
        ClusterAction::Link(leader, one, LinkAction::Mend),
        ClusterAction::Link(leader, one, LinkAction::Slow),
        ClusterAction::Link(leader, one, LinkAction::Quicken),
        ClusterAction::Loss(50),
        ClusterAction::Repeat(50),
        ClusterAction::Overtake(50),
        ClusterAction::Delay(20_000),
        ClusterAction::Sync(10_000),
        ClusterAction::Heal,
        ClusterAction::Disk(other, DiskAction::Tear),
        ClusterAction::Restart(other),
        ClusterAction::Disk(one, DiskAction::FlipBit),
        ClusterAction::Crash(one),
    ];
    for action in actions {
        session.dispatch(Action::Cluster(action));
        assert_eq!(session.model.notice, None, "{action:?}");
        for _ in 0..200 {
            session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
        }
    }
    assert!(!session.model.conditions.disturbed());
    session.dispatch(Action::Cluster(ClusterAction::Restart(one)));
    let words = &session.model.notice.as_ref().unwrap().words;
    assert!(words.contains("Wipe it first"), "{words}");
    session.dispatch(Action::Dismiss);
    session.dispatch(Action::Cluster(ClusterAction::Disk(one, DiskAction::Wipe)));
    session.dispatch(Action::Cluster(ClusterAction::Restart(one)));
    assert_eq!(session.model.notice, None);
    assert!(session.model.violations.is_empty());
}

/// Guards the rule switches: the same run, with its actions, continues without the rule. It stops
/// at the first violation and names it. With the rule kept again, it is the original run.
#[test]
fn a_broken_rule_is_seen_in_the_same_run() {
    let mut session = opened(4);
    play(&mut session, |model| model.cluster.leader().is_some());
    session.dispatch(Action::Cluster(ClusterAction::SplitLeader));
    let digest = session.model.digest;
    let now = session.model.playback.now;
    session.dispatch(Action::Break(Some(Mutation::HalfIsMajority)));
    assert_eq!(session.model.broken_rule(), Some(Mutation::HalfIsMajority));
    assert_eq!(session.model.playback.now, now);
    assert!(!session.model.cluster.view.cut_links.is_empty(), "it was cut again");
    session.dispatch(Action::Break(None));
    assert_eq!((session.model.digest, session.model.breach.clone()), (digest, None));

    let mut session = opened(4);
    session.dispatch(Action::Break(Some(Mutation::HalfIsMajority)));
    play(&mut session, |model| model.cluster.leader().is_some());
    let halves = [[1, 2], [3, 4]].map(|half| half.map(NodeId).into());
    session.simulate(SimEffect::Act(sim::Action::Partition(halves.to_vec())));
    play(&mut session, |model| model.breach.is_some());
    assert!(!session.model.playback.playing, "the clock stops where it happens");
    let headline = &session.model.story.caption.headline;
    assert!(headline.ends_with("is violated."), "{headline}");
}

/// Goes through a lesson page by page, and plays each step to its end.
fn study(session: &mut Session, number: usize) {
    session.dispatch(Action::Lesson(LessonAction::Open(number)));
    session.dispatch(Action::Speed(Speed::at(9)));
    let fails = loop {
        let course = session.model.course.clone().unwrap();
        if session.model.playback.playing {
            assert!(matches!(course.page(), Page::Play { .. }), "{}", course.scenario.file);
            play(session, |model| !model.playback.playing);
        }
        let course = session.model.course.clone().unwrap();
        if let Some(Err(why)) = &course.script.end {
            panic!("{why}");
        }
        if !course.has_next() {
            break course.scenario.header.fails;
        }
        if *course.page() == Page::Answers {
            assert!(session.model.violations.is_empty(), "{}", course.scenario.file);
        }
        session.dispatch(Action::Lesson(LessonAction::Next));
    };
    let course = session.model.course.clone().unwrap();
    assert_eq!(course.script.end, Some(Ok(())), "{}", course.scenario.file);
    let fails = fails.map(|fails| fails.to_string());
    assert!(fails.is_none_or(|fails| course.script.broken.iter().any(|(it, _)| *it == fails)));
}

/// Guards that every lesson plays on the page in both arms and ends as its file says, with the
/// expected failure.
#[test]
fn every_lesson_can_be_gone_through() {
    let mut session = Session::default();
    for number in 0..lessons::all().len() {
        study(&mut session, number);
    }
}

/// Guards that a page shows the same however it was reached, and that a learner who did something
/// else can return to the step.
#[test]
fn a_page_shows_the_same_whichever_way_it_was_reached() {
    let mut session = Session::default();
    session.dispatch(Action::Open(Place::parse("#lesson=8").unwrap()));
    assert_eq!(session.model.cluster.roster.len(), 5);
    let turn = |session: &mut Session, action| {
        session.dispatch(Action::Lesson(action));
        if session.model.playback.playing {
            play(session, |model| !model.playback.playing);
        }
        (session.model.digest, session.model.playback.now)
    };
    let seen: Vec<_> = (0..6).map(|_| turn(&mut session, LessonAction::Next)).collect();
    assert_eq!(turn(&mut session, LessonAction::Back), seen[4]);
    assert_eq!(turn(&mut session, LessonAction::Next), seen[5]);
    session.dispatch(Action::Cluster(ClusterAction::Crash(NodeId(2))));
    assert!(session.model.course.as_ref().unwrap().astray);
    assert_eq!(turn(&mut session, LessonAction::Again), seen[5]);
    // Skipping a step has the same result as watching it.
    turn(&mut session, LessonAction::Page(0));
    for _ in 0..5 {
        session.dispatch(Action::Lesson(LessonAction::Next));
    }
    assert_eq!(turn(&mut session, LessonAction::Next), seen[5]);
    session.dispatch(Action::Lesson(LessonAction::Leave));
    assert!(session.model.course.is_none());
    play(&mut session, |model| model.cluster.leader().is_some());
}

/// Guards the verdict on what clients saw: a write with concurrent reads is linearizable, and the
/// stale read of lesson 10 is not.
#[test]
fn the_verdict_follows_what_clients_saw() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    session.dispatch(Action::Burst);
    assert_eq!(session.model.form.asks.len(), 4);
    play(&mut session, |model| model.form.asks.iter().all(|ask| ask.state != AskState::Waiting));
    assert!(session.model.clients.operations.len() >= 2);
    assert_eq!(session.model.clients.wrong, None);
    study(&mut session, lessons::named("10").unwrap());
    assert!(session.model.clients.wrong.is_some());
}

/// Guards that each action on a single message is accepted and visible.
#[test]
fn a_message_is_held_doubled_released_and_lost() {
    let mut session = opened(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    let flying = |model: &Model| {
        let mut flights = model.cluster.view.messages.iter();
        flights.find(|(_, flight)| flight.end.is_none()).map(|(id, _)| *id)
    };
    play(&mut session, |model| flying(model).is_some());
    let message = flying(&session.model).unwrap();
    let copies = |model: &Model| model.cluster.view.messages.len();
    let before = copies(&session.model);
    for action in [MessageAction::Delay(50_000), MessageAction::Hold, MessageAction::Duplicate] {
        session.dispatch(Action::Cluster(ClusterAction::Message(message, action)));
        assert_eq!(session.model.notice, None, "{action:?}");
        let flight = &session.model.cluster.view.messages[&message];
        assert!(action != MessageAction::Hold || flight.held);
    }
    assert!(copies(&session.model) > before);
    // A released message arrives at once, even while the clock stands. After that it cannot be
    // changed.
    session.dispatch(Action::TogglePlay);
    session.dispatch(Action::Cluster(ClusterAction::Message(message, MessageAction::Release)));
    let end = |model: &Model, message| model.cluster.view.messages[&message].end;
    assert!(matches!(end(&session.model, message), Some(FlightEnd::Received { .. })));
    let copy = flying(&session.model).unwrap();
    session.dispatch(Action::Cluster(ClusterAction::Message(copy, MessageAction::Drop)));
    assert!(matches!(end(&session.model, copy), Some(FlightEnd::Dropped { .. })));
    assert_eq!(session.model.notice, None);
    session.dispatch(Action::Cluster(ClusterAction::Message(message, MessageAction::Drop)));
    assert!(session.model.notice.as_ref().unwrap().words.contains("no longer in transit"));
}
