//! Tests of gestures, from the pointer to the effect on the cluster.

use raft_core::types::NodeId;
use raft_core::view::FlightEnd;

use super::*;
use crate::domain::history::Jump;
use crate::model::Action;
use crate::scene::layout::Size;
use crate::session::Session;
use crate::session::tests::{opened, play};

/// The page with a new simulation and a stage to point at.
fn staged(servers: u64) -> Session {
    let mut session = opened(servers);
    session
        .dispatch(Action::Ui(crate::model::UiAction::Stage(Size { width: 800.0, height: 600.0 })));
    session
}

fn pointer(at: Point, time: f64) -> Pointer {
    Pointer { at, time, copy: false, touch: false }
}

fn gesture(session: &mut Session, action: GestureAction) {
    session.dispatch(Action::Gesture(action));
}

/// Draws a straight stroke.
fn stroke(session: &mut Session, from: Point, to: Point) {
    gesture(session, GestureAction::Press(pointer(from, 0.0)));
    for step in 1..=10 {
        let at = from.towards(to, f64::from(step) / 10.0);
        gesture(session, GestureAction::Move(pointer(at, f64::from(step) * 16.0)));
    }
    gesture(session, GestureAction::Release(pointer(to, 200.0)));
}

/// A stroke that separates this server from all others.
fn around(session: &Session, node: u64) -> (Point, Point) {
    let layout = Layout::of(session.model.ui.stage, &session.model.cluster.roster);
    let at = layout.spot(NodeId(node)).unwrap().at;
    let middle = at.towards(layout.centre, 0.45);
    let across = at.bearing(layout.centre) + std::f64::consts::FRAC_PI_2;
    (middle.at(across, -260.0), middle.at(across, 260.0))
}

/// A message in flight, its position, and its lane.
fn flying(session: &Session) -> (EventId, Point, (Point, Point)) {
    let model = &session.model;
    let layout = Layout::of(model.ui.stage, &model.cluster.roster);
    let (now, pace) = (model.playback.now, model.pace());
    let marks = traffic::marks(
        &model.cluster,
        now,
        pace,
        traffic::Ground { layout: &layout, border: None },
        &Marks::default(),
    );
    let mark = marks
        .iter()
        .find(|mark| {
            model.cluster.view.messages[&mark.id].due.is_some_and(|due| due > now.after(4_000))
        })
        .expect("something is on its way");
    (mark.id, mark.at, layout.lane(mark.from, mark.to).unwrap())
}

fn in_the_air(model: &Model) -> bool {
    let now = model.playback.now;
    let layout = Layout::of(model.ui.stage, &model.cluster.roster);
    let marks = traffic::marks(
        &model.cluster,
        now,
        model.pace(),
        traffic::Ground { layout: &layout, border: None },
        &Marks::default(),
    );
    let flies = |id: &EventId| {
        let flight = &model.cluster.view.messages[id];
        flight.end.is_none()
            && flight.due.is_some_and(|due| due > now.after(4_000))
            && now.since(flight.sent_at) > 3_000
    };
    marks.iter().any(|mark| flies(&mark.id))
}

/// Guards that a stroke is a single action, which one undo reverts.
#[test]
fn a_stroke_is_one_action_and_one_undo_takes_it_back() {
    let mut session = staged(5);
    play(&mut session, |model| model.cluster.leader().is_some());
    let actions = session.model.history.run.actions;
    let (from, to) = around(&session, 1);
    stroke(&mut session, from, to);
    assert!(session.model.cluster.isolated(NodeId(1)), "{:?}", session.model.notice);
    assert_eq!(session.model.cluster.view.cut_links.len(), 8);
    assert_eq!(session.model.history.run.actions, actions + 1);
    assert_eq!(session.model.ui.gesture, Gesture::Free);
    session.dispatch(Action::Jump(Jump::Undo));
    assert!(session.model.cluster.view.cut_links.is_empty());
}

/// Guards that a stroke cuts nothing if it crosses no link, is cancelled, or happens in a
/// recording, and that a refusal gives the reason.
#[test]
fn a_stroke_that_is_none_cuts_nothing() {
    let mut session = staged(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    stroke(&mut session, Point { x: 5.0, y: 5.0 }, Point { x: 90.0, y: 5.0 });
    let (from, to) = around(&session, 1);
    gesture(&mut session, GestureAction::Press(pointer(from, 0.0)));
    gesture(&mut session, GestureAction::Move(pointer(to, 100.0)));
    session.dispatch(crate::keys::action("Escape", &session.model).unwrap());
    gesture(&mut session, GestureAction::Release(pointer(to, 120.0)));
    assert!(session.model.cluster.view.cut_links.is_empty());
    assert_eq!((session.model.history.run.actions, &session.model.notice), (0, &None));
    session.model.source = SourceKind::Replay;
    gesture(&mut session, GestureAction::Press(pointer(from, 0.0)));
    gesture(&mut session, GestureAction::Move(pointer(to, 100.0)));
    assert!(session.model.hand_refused().unwrap().contains("recording"), "it is said meanwhile");
    gesture(&mut session, GestureAction::GiveUp);
    stroke(&mut session, from, to);
    assert!(session.model.notice.as_ref().unwrap().words.contains("recording"));
    assert_eq!(session.model.history.run.actions, 0);
}

/// Guards dragging: the clock stands meanwhile. Pulling a message back delays it, a flick drops it,
/// and the copy key duplicates it.
#[test]
fn a_held_message_is_delayed_lost_or_copied() {
    let mut session = staged(3);
    play(&mut session, |model| model.cluster.leader().is_some());
    play(&mut session, in_the_air);
    let (id, at, (start, end)) = flying(&session);
    let due = session.model.cluster.view.messages[&id].due.unwrap();
    gesture(&mut session, GestureAction::Press(pointer(at, 0.0)));
    let now = session.model.playback.now;
    session.dispatch(Action::Frame { elapsed: 100.0, wall: 0 });
    assert_eq!(session.model.playback.now, now, "the clock stands");
    let back = at.towards(start, 0.8);
    gesture(&mut session, GestureAction::Move(pointer(back, 500.0)));
    gesture(&mut session, GestureAction::Release(pointer(back, 900.0)));
    assert!(session.model.playback.playing, "it goes on");
    let later = session.model.cluster.view.messages[&id].due.unwrap();
    assert!(later > due.after(2_000), "{later} {due}, {at:?} of {start:?} to {end:?}");

    play(&mut session, in_the_air);
    let (id, at, _) = flying(&session);
    gesture(&mut session, GestureAction::Press(Pointer { copy: true, ..pointer(at, 0.0) }));
    gesture(&mut session, GestureAction::Release(Pointer { copy: true, ..pointer(at, 50.0) }));
    let name = session.model.cluster.view.messages[&id].message.id();
    let twins = session.model.cluster.view.messages.values().filter(|it| it.message.id() == name);
    assert_eq!(twins.count(), 2, "{:?}", session.model.notice);

    play(&mut session, in_the_air);
    let (id, at, _) = flying(&session);
    gesture(&mut session, GestureAction::Press(pointer(at, 0.0)));
    let aside = Point { x: at.x + 40.0, y: at.y + 30.0 };
    gesture(&mut session, GestureAction::Move(pointer(aside, 20.0)));
    gesture(&mut session, GestureAction::Release(pointer(aside, 25.0)));
    play(&mut session, |model| model.cluster.view.messages[&id].end.is_some());
    let end = session.model.cluster.view.messages[&id].end;
    assert!(matches!(end, Some(FlightEnd::Dropped { .. })), "{end:?}");
    assert_eq!(session.model.history.run.actions, 3);
}

/// Guards that pressing a message selects it, pressing it again deselects it, and neither changes
/// it.
#[test]
fn a_press_chooses_a_message() {
    let mut session = staged(3);
    play(&mut session, in_the_air);
    session.dispatch(Action::TogglePlay);
    let (id, at, _) = flying(&session);
    for chosen in [Selection::Message(id), Selection::Nothing] {
        gesture(&mut session, GestureAction::Press(pointer(at, 0.0)));
        gesture(&mut session, GestureAction::Release(pointer(at, 80.0)));
        assert_eq!(session.model.ui.selection, chosen);
    }
    assert_eq!(session.model.history.run.actions, 0);
    assert!(!session.model.playback.playing, "it stood before");
}
