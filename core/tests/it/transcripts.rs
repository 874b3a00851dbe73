//! What happens in each lesson, for a reader: its commands and the events that they cause.
//!
//! The files in `tests/transcripts` hold one run each, with the rule in place (`kept`) or broken.
//! They leave out timers, disks and messages, except lost ones. `cargo xtask bless` records them
//! anew; the difference shows what a change of the protocol does to a run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use raft_core::event::{Event, EventKind};
use raft_core::scenario::{Arm, LIBRARY, Progress, Runner, Scenario, World};
use raft_core::sim::{Action, ActionError, Simulation};
use raft_core::types::{RequestId, Time};

/// A simulation that writes down what happens.
struct Recorded {
    simulation: Simulation,
    text: String,
}

impl World for Recorded {
    fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError> {
        self.simulation.act(action)
    }

    fn step(&mut self) {
        self.simulation.step();
    }

    fn rest_until(&mut self, time: Time) {
        self.simulation.run_until(time);
    }

    fn news(&mut self) -> Vec<Event> {
        let events = self.simulation.take_events();
        for event in events.iter().filter(|event| tells(&event.kind)) {
            self.line(format_args!("{:>12}  {event}", event.time.to_string()));
        }
        events
    }
}

impl Recorded {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("text can always grow");
    }
}

/// Whether an event belongs to the story of a run.
const fn tells(kind: &EventKind) -> bool {
    !matches!(
        kind,
        EventKind::TimerArmed { .. }
            | EventKind::TimerFired { .. }
            | EventKind::MessageSent(_)
            | EventKind::MessageInTransit { .. }
            | EventKind::MessageReceived { .. }
            | EventKind::WriteStarted { .. }
            | EventKind::WritePersisted { .. }
            | EventKind::ProgressChanged { .. }
            | EventKind::Applied { .. }
    )
}

/// Plays one arm and returns its transcript.
fn transcript(scenario: &Scenario, arm: Arm) -> String {
    let simulation = Simulation::new(scenario.config(arm));
    let mut world = Recorded { simulation, text: String::new() };
    let mut runner = Runner::new(scenario, arm);
    world.line(format_args!("{} ({arm})", scenario.title));
    let mut step = None;
    let mut begun = None;
    loop {
        if let Some((at, line)) = runner.next_line()
            && begun != Some(line.number)
        {
            begun = Some(line.number);
            if step.replace(at) != Some(at) {
                world.line(format_args!("\n{}", scenario.steps[at].title));
            }
            world.line(format_args!("> {}", line.text));
        }
        match runner.advance(&mut world, Time(u64::MAX)) {
            Ok(Progress::Finished) => break,
            Ok(Progress::Done | Progress::Waits) => {}
            Err(fault) => panic!("{fault}"),
        }
    }
    world.news();
    for violation in world.simulation.violations().to_vec() {
        world.line(format_args!("violated: {}", violation.property));
    }
    world.text
}

/// `08-figure-8.kept.txt`.
fn path(scenario: &Scenario, arm: Arm) -> PathBuf {
    let name = Path::new(&scenario.file).file_stem().expect("a file name").to_string_lossy();
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcripts/{name}.{arm}.txt"))
}

/// Guards every event of every lesson, in words.
#[test]
fn every_lesson_has_its_recorded_transcript() {
    let mut expected = Vec::new();
    for source in LIBRARY {
        let scenario = Scenario::parse(source.file, source.text).expect("it is well-formed");
        let arms = [Some(Arm::Kept), scenario.header.breaks.map(|_| Arm::Broken)];
        for arm in arms.into_iter().flatten() {
            let (path, now) = (path(&scenario, arm), transcript(&scenario, arm));
            if std::env::var_os("GLASSRAFT_BLESS").is_some() {
                std::fs::write(&path, &now).expect("the transcript can be written");
            }
            let recorded = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for (number, (now, recorded)) in (1..).zip(now.lines().zip(recorded.lines())) {
                assert_eq!(now, recorded, "{}:{number}", path.display());
            }
            assert_eq!(now.lines().count(), recorded.lines().count(), "{}", path.display());
            expected.push(path);
        }
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    for entry in std::fs::read_dir(directory).expect("the transcripts") {
        let path = entry.expect("a transcript").path();
        assert!(expected.contains(&path), "no lesson gives {}", path.display());
    }
}
