//! A simulated person who uses keys, buttons, gestures, lessons, links and branches in random
//! order. The page must not break, and must show the same as after a direct way to that moment.

use raft_core::rules::Mutation;
use raft_core::types::{EventId, LogIndex, NodeId};

use crate::address::Place;
use crate::domain::actions::{ClusterAction, MessageAction};
use crate::domain::form::Op;
use crate::domain::lessons;
use crate::domain::playback::Speed;
use crate::keys;
use crate::model::gesture::{GestureAction, Pointer};
use crate::model::{FaultPanel, FormAction, LessonAction, UiAction};
use crate::panel::act::faults::offers;
use crate::scene::grid::{Cell, cell};
use crate::scene::layout::{Point, Size};
use crate::scene::marks::Marks;
use crate::scene::{Scene, Source};
use crate::session::*;

/// The number of actions per person, and the number of persons.
const STEPS: usize = 400;
const PERSONS: u64 = 24;

/// The keys with a function, and a key without one.
const KEYS: &[&str] = &[
    "ContextMenu",
    " ",
    "ArrowRight",
    "ArrowLeft",
    "Home",
    "End",
    "z",
    "b",
    "=",
    "[",
    "]",
    "1",
    "2",
    "3",
    "5",
    "9",
    "x",
    "f",
    "p",
    "d",
    "l",
    "Shift+ArrowRight",
    "Shift+ArrowLeft",
    "c",
    "s",
    "?",
    ",",
    ".",
    "m",
    "Shift+M",
    "Delete",
    "h",
    "w",
    "t",
    "Escape",
];

/// A deterministic random number generator.
struct Dice(u64);

impl Dice {
    /// Marsaglia's xorshift; the seed must not be zero.
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most.max(1)
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::try_from(self.below(all.len() as u64)).ok()?).cloned()
    }

    fn point(&mut self) -> Point {
        let mut coordinate = |most| f64::from(u32::try_from(self.below(most)).unwrap());
        Point { x: coordinate(800), y: coordinate(520) }
    }
}

/// A random action.
fn anything(model: &Model, dice: &mut Dice) -> Option<Action> {
    let time = |dice: &mut Dice| Time(dice.below(model.history.run.end().0 + 1));
    let flying: Vec<EventId> = model.cluster.view.messages.keys().copied().collect();
    Some(match dice.below(24) {
        0..=6 => Action::Frame { elapsed: 16.0, wall: 0 },
        7..=10 => return keys::action(dice.pick(KEYS)?, model),
        11 => Action::Cluster(dice.pick(&offers(model))?),
        12 => Action::Ui(UiAction::FaultPanel(dice.pick(&FaultPanel::ALL)?)),
        13 => Action::Cluster(ClusterAction::Message(
            dice.pick(&flying)?,
            dice.pick(&[
                MessageAction::Drop,
                MessageAction::Hold,
                MessageAction::Release,
                MessageAction::Delay(30_000),
                MessageAction::Duplicate,
            ])?,
        )),
        14 => Action::Jump(Jump::Time(time(dice))),
        15 => {
            let branches: Vec<_> = model.history.run.branches.iter().map(|it| it.id).collect();
            Action::Jump(Jump::Branch(dice.pick(&branches)?, time(dice)))
        }
        16 => Action::Cluster(dice.pick(&[
            ClusterAction::Loss(200),
            ClusterAction::Repeat(300),
            ClusterAction::Overtake(300),
            ClusterAction::Delay(60_000),
            ClusterAction::Sync(30_000),
            ClusterAction::SplitLeader,
            ClusterAction::Heal,
        ])?),
        17 => gesture(dice),
        18 => Action::Ui(UiAction::Column(Some(LogIndex(dice.below(9))))),
        19 => {
            let lines = model.feed.lines(&model.ui.filter);
            Action::Ui(UiAction::Inspect(dice.pick(&lines).map(|line| line.event.id)))
        }
        20 => Action::ClientForm(match dice.below(4) {
            0 => FormAction::Op(dice.pick(&[Op::Put, Op::Get, Op::Delete])?),
            1 => FormAction::Key(format!("k{}", dice.below(3))),
            2 => FormAction::Value(dice.below(100).to_string()),
            _ => FormAction::Target(dice.pick(&[None, Some(NodeId(1)), Some(NodeId(3))])?),
        }),
        21 => Action::Speed(Speed::at(usize::try_from(dice.below(16)).ok()?)),
        22 => match dice.below(6) {
            0 => {
                let most = lessons::all().len() as u64;
                Action::Lesson(LessonAction::Open(usize::try_from(dice.below(most)).ok()?))
            }
            1 => Action::Lesson(LessonAction::Leave),
            2 => Action::Lesson(LessonAction::Alone),
            3 => Action::Break(Some(Mutation::VoteTwice)),
            4 => Action::Again,
            _ => Action::Burst,
        },
        _ => Action::Lesson(LessonAction::Next),
    })
}

fn gesture(dice: &mut Dice) -> Action {
    let at = dice.point();
    let time = f64::from(u32::try_from(dice.below(10_000)).unwrap());
    let pointer = Pointer { at, time, copy: dice.below(4) == 0, touch: dice.below(3) == 0 };
    Action::Gesture(match dice.below(4) {
        0 => GestureAction::Press(pointer),
        1 => GestureAction::Release(pointer),
        2 => GestureAction::Move(pointer),
        _ => GestureAction::GiveUp,
    })
}

/// Computes everything that the page would draw.
fn draw(model: &Model) {
    let marks = Marks::of(&model.ui.selection, &model.reading.cluster);
    let _ = Scene::of(Source {
        cluster: &model.cluster,
        read: &model.reading.cluster,
        now: model.playback.now,
        pace: model.pace(),
        size: Size { width: 800.0, height: 520.0 },
        marks: &marks,
        gesture: model.ui.gesture.drawn(),
        refused: None,
    });
    for node in &model.cluster.roster {
        let row = (0..12).map(|index| cell(&model.cluster, *node, LogIndex(index)));
        assert!(row.into_iter().any(|cell| !matches!(cell, Cell::Untold)));
    }
}

/// Guards that no sequence of actions breaks the page. A link made at the end shows the same run at
/// the same moment on another page.
#[test]
fn nothing_that_a_person_does_breaks_the_page() {
    for person in 1..=PERSONS {
        // Shown only if the test fails.
        println!("person {person}");
        let mut dice = Dice(person * 0x9E37_79B9);
        let mut session = opened_by(&mut dice);
        for _ in 0..STEPS {
            let Some(action) = anything(&session.model, &mut dice) else { continue };
            let words = format!("{action:?}");
            session.dispatch(action);
            draw(&session.model);
            let sim = session.sim.as_ref().expect("it is simulated");
            let (shown, is) = (session.model.cluster.view.events, sim.view().events);
            assert_eq!(shown, is, "person {person}, after {words}");
        }
        if session.model.course.is_some() {
            session.dispatch(Action::Lesson(LessonAction::Alone));
        }
        session.dispatch(Action::Ui(UiAction::Share(true)));
        let (shown, digest) = (session.model.cluster.view.events, session.model.digest);
        let link = session.model.place().fragment();
        let mut other = Session::default();
        other.dispatch(Action::Open(Place::parse(&link).unwrap()));
        assert_eq!(
            (other.model.cluster.view.events, other.model.digest),
            (shown, digest),
            "{link}"
        );
    }
}

fn opened_by(dice: &mut Dice) -> Session {
    let mut session = Session::default();
    let servers = 1 + dice.below(SimSetup::MOST);
    let setup = SimSetup { seed: dice.below(1_000), servers, ..SimSetup::default() };
    session.dispatch(Action::Open(Place::Simulate(setup)));
    session
}

/// Guards a link from within a lesson: its cluster is the same, each event is there once, and it
/// plays on without the lesson's script.
#[test]
fn a_link_from_a_lesson_goes_on() {
    let mut session = Session::default();
    session.dispatch(Action::Lesson(LessonAction::Open(lessons::named("4").unwrap())));
    for _ in 0..30 {
        session.dispatch(Action::Lesson(LessonAction::Next));
    }
    session.dispatch(Action::Ui(UiAction::Share(true)));
    let mut other = Session::default();
    other.dispatch(Action::Open(Place::parse(&session.model.place().fragment()).unwrap()));
    assert_eq!(other.model.cluster.view.events, session.model.cluster.view.events);
    let then = other.model.playback.now;
    other.dispatch(Action::TogglePlay);
    for _ in 0..60 {
        other.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
    }
    assert!(other.model.playback.now > then, "time stands still at {then}");
}
