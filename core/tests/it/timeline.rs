//! Time travel: any moment can be reached again unchanged, and acting in the past keeps the old
//! future.

use raft_core::kv::Command;
use raft_core::sim::{
    Action, BranchId, JournalEntry, Moment, SimConfig, Simulation, Swarm, Timeline,
};
use raft_core::types::{MILLISECOND, SECOND, Time};

use crate::lab::{S1, check, value_at};

/// The timeline of a random run, with its configuration and journal.
fn recorded(seed: u64) -> (Timeline, SimConfig, Vec<JournalEntry>) {
    let mut swarm = Swarm::new(seed, None);
    swarm.run().unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    let (config, journal) =
        (swarm.simulation().config().clone(), swarm.simulation().journal().to_vec());
    (Timeline::of(config.clone(), journal.clone()), config, journal)
}

/// Guards that seeking restores the exact state of the run.
#[check]
fn seeking_gives_the_same_run_as_replaying() {
    for seed in 0..10 {
        let (mut timeline, config, journal) = recorded(seed);
        let end = timeline.moment();
        let whole = timeline.simulation().digest();
        assert_eq!(whole, Simulation::replay(config.clone(), &journal, end).digest());
        // Moments at which something was done, and just before it.
        let mut moments: Vec<Moment> = journal.iter().step_by(17).map(|entry| entry.at).collect();
        let before =
            |moment: &Moment| Moment { happened: moment.happened.saturating_sub(1), ..*moment };
        let more: Vec<Moment> = moments.iter().map(before).collect();
        moments.extend(more);
        moments.reverse();
        for moment in moments {
            timeline.seek(moment);
            let replayed = Simulation::replay(config.clone(), &journal, moment);
            assert_eq!(timeline.simulation().digest(), replayed.digest(), "seed {seed} {moment:?}");
            assert_eq!(timeline.simulation().violations(), []);
        }
        timeline.seek(end);
        assert_eq!(timeline.simulation().digest(), whole, "seed {seed}");
        assert_eq!(timeline.branches().count(), 1, "looking changes nothing");
    }
}

/// Guards that stepping through the past repeats the run, including its actions.
#[check]
fn stepping_in_the_past_repeats_what_was_done() {
    let (mut timeline, _, _) = recorded(3);
    let (end, whole) = (timeline.moment(), timeline.simulation().digest());
    timeline.seek_time(Time(2 * SECOND));
    assert!(timeline.moment() < end && !timeline.at_end());
    while timeline.moment().happened < end.happened {
        assert!(timeline.step());
    }
    timeline.run_until(end.time);
    assert_eq!(timeline.simulation().digest(), whole);
    assert!(timeline.at_end());
}

fn write(value: &'static str) -> Action {
    Action::Write { node: S1, command: Command::put("x", value) }
}

/// Guards the fork: the new and the old future both stay, and `switch` moves between them.
#[check]
fn acting_in_the_past_parts_and_keeps_the_old_future() {
    let mut timeline = Timeline::new(SimConfig { manual_elections: true, ..SimConfig::default() });
    timeline.act(Action::Elect(S1)).expect("possible");
    timeline.run_until(Time(SECOND));
    timeline.act(write("old")).expect("possible");
    timeline.run_until(Time(2 * SECOND));
    let old = timeline.simulation().digest();
    timeline.seek_time(Time(SECOND / 2));
    assert_eq!(value_at(timeline.simulation(), S1, "x"), None);
    let parted = timeline.moment();
    assert!(timeline.act(Action::Thaw(S1)).is_err(), "what is refused parts nothing");
    assert_eq!(timeline.branches().count(), 1);
    timeline.act(write("new")).expect("possible");
    timeline.run_until(Time(3 * SECOND));
    assert_eq!(value_at(timeline.simulation(), S1, "x").as_deref(), Some("new"));
    let infos: Vec<_> = timeline.branches().collect();
    assert_eq!(infos.len(), 2);
    assert_eq!(infos[1].parted, Some((BranchId(0), parted)));
    assert_eq!((infos[0].actions, infos[1].actions), (2, 2));
    assert!(timeline.switch(BranchId(0)));
    assert_eq!(timeline.simulation().digest(), old);
    assert_eq!(value_at(timeline.simulation(), S1, "x").as_deref(), Some("old"));
    timeline.switch(BranchId(1));
    assert_eq!(value_at(timeline.simulation(), S1, "x").as_deref(), Some("new"));
    // Both branches share the past before the fork.
    timeline.seek_time(Time(100 * MILLISECOND));
    assert_eq!(timeline.current(), BranchId(1));
    assert!(!timeline.switch(BranchId(7)));
}

/// Guards undo: seeking reaches the state before an action, although the action has the same
/// moment. Continuing without the action keeps the old future.
#[check]
fn an_action_is_taken_back_by_parting_right_before_it() {
    let mut timeline = Timeline::new(SimConfig { manual_elections: true, ..SimConfig::default() });
    timeline.act(Action::Elect(S1)).expect("possible");
    timeline.run_until(Time(SECOND));
    assert!(timeline.step());
    // Both right after the last event, at the same moment.
    timeline.act(write("kept")).expect("possible");
    let before = timeline.simulation().digest();
    timeline.act(write("regretted")).expect("possible");
    timeline.run_until(Time(2 * SECOND));
    let old = timeline.simulation().digest();
    timeline.seek_before(2);
    assert_eq!(timeline.simulation().digest(), before);
    assert!(!timeline.take_lead_up().is_empty(), "what led there can be told");
    timeline.part();
    timeline.run_until(Time(3 * SECOND));
    assert_eq!(value_at(timeline.simulation(), S1, "x").as_deref(), Some("kept"));
    assert_eq!(timeline.journal().len(), 2);
    let own: Vec<_> = timeline.branches().map(|branch| branch.own_actions).collect();
    assert_eq!(own, [3, 0]);
    // The new branch finds its own past, not the other branch's checkpoint at the same moment.
    timeline.seek_time(Time(1500 * MILLISECOND));
    assert_eq!(value_at(timeline.simulation(), S1, "x").as_deref(), Some("kept"));
    assert!(timeline.switch(BranchId(0)));
    assert_eq!(timeline.simulation().digest(), old);
    timeline.part();
    assert_eq!(timeline.branches().count(), 2, "at the end there is nothing to part from");
}

/// Guards that comparing two futures names the first event that differs.
#[check]
fn two_branches_are_compared_by_their_first_difference() {
    let mut timeline = Timeline::new(SimConfig { manual_elections: true, ..SimConfig::default() });
    timeline.act(Action::Elect(S1)).expect("possible");
    timeline.run_until(Time(SECOND));
    timeline.act(write("old")).expect("possible");
    timeline.run_until(Time(2 * SECOND));
    timeline.seek_time(Time(900 * MILLISECOND));
    timeline.act(write("new")).expect("possible");
    timeline.run_until(Time(2 * SECOND));
    let difference = timeline.compare(BranchId(0), BranchId(1)).expect("they differ");
    let right = difference.right.expect("the new write").to_string();
    assert!(right.contains("receives a client's request"), "{right}");
    assert_ne!(difference.left.map(|it| it.to_string()), Some(right));
    assert_eq!(timeline.compare(BranchId(0), BranchId(0)), None);
    assert_eq!(timeline.compare(BranchId(0), BranchId(5)), None);
}
