//! Faults of disks and clocks do what they claim.

use raft_core::event::{Event, EventKind, Fault};
use raft_core::invariant::Property;
use raft_core::kv::Command;
use raft_core::membership::Membership;
use raft_core::sim::{Action, ActionError, DiskConfig, SimConfig, Simulation};
use raft_core::types::{LogIndex, MILLISECOND, NodeId, SECOND, Time};

use crate::lab::{Cluster, S1, S2, S3, check, value_at};

fn last_index(sim: &Simulation, node: NodeId) -> LogIndex {
    sim.replica(node).expect("it runs").status().last.index
}

fn faults(events: &[Event]) -> Vec<&Fault> {
    events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Fault(fault) => Some(fault),
            _ => None,
        })
        .collect()
}

/// Guards that nothing becomes durable on a stalled disk until it is mended, and then all does.
#[check]
fn a_stalled_disk_finishes_when_it_is_mended() {
    let mut cluster = Cluster::led(3, 2);
    let leader = cluster.sim.leader().expect("led");
    let others = cluster.others(leader);
    for node in &others {
        cluster.act(Action::StallDisk(*node));
    }
    assert_eq!(cluster.sim.act(Action::StallDisk(others[0])), Err(ActionError::Stalled(others[0])));
    cluster.act(Action::Write { node: leader, command: Command::put("x", "1") });
    cluster.pass(SECOND);
    assert_eq!(value_at(&cluster.sim, leader, "x"), None, "no majority holds it durably");
    cluster.act(Action::MendDisk(others[0]));
    assert_eq!(cluster.sim.act(Action::MendDisk(others[0])), Err(ActionError::Healthy(others[0])));
    cluster.await_value(&[leader, others[0]], "x", "1");
}

/// Guards that the slow disk of one server does not slow the others.
#[check]
fn one_slow_disk_does_not_slow_the_majority() {
    let mut cluster = Cluster::led(3, 2);
    let leader = cluster.sim.leader().expect("led");
    let slow = cluster.others(leader)[0];
    let (min, max) = (SECOND, SECOND);
    cluster.act(Action::SlowDisk { node: slow, min, max });
    let before = cluster.sim.now();
    cluster.put("x", "1");
    assert!(cluster.sim.now().since(before) < 100 * MILLISECOND);
    let durable = |sim: &Simulation| sim.replica(slow).expect("it runs").status().durable_index;
    let behind = durable(&cluster.sim);
    cluster.pass(3 * SECOND);
    assert!(durable(&cluster.sim) > behind);
}

/// Guards that a failed write halts only its server, and that this server catches up after a
/// restart.
#[check]
fn a_failed_write_stops_the_server_until_it_is_restarted() {
    let mut cluster = Cluster::led(3, 2);
    let leader = cluster.sim.leader().expect("led");
    let failing = cluster.others(leader)[0];
    cluster.act(Action::FailWrite(failing));
    cluster.put("x", "1");
    cluster.pass(SECOND);
    let halted = |sim: &Simulation| sim.replica(failing).expect("it runs").status().halted;
    assert!(halted(&cluster.sim));
    assert_eq!(value_at(&cluster.sim, failing, "x"), None);
    cluster.act(Action::Crash(failing));
    cluster.act(Action::Restart(failing));
    cluster.await_value(&[failing], "x", "1");
}

/// Guards that the log stays after a failed snapshot, and that a later snapshot succeeds.
#[check]
fn a_snapshot_that_cannot_be_saved_is_tried_again_later() {
    let mut cluster = Cluster::led(3, 2);
    cluster.put("x", "1");
    let leader = cluster.sim.leader().expect("led");
    let base = |sim: &Simulation| sim.replica(leader).expect("it runs").status().snapshot_index;
    cluster.act(Action::FailSnapshot(leader));
    cluster.act(Action::Compact(leader));
    cluster.pass(SECOND);
    assert!(faults(&cluster.events).contains(&&Fault::SnapshotNotSaved { node: leader }));
    assert_eq!(base(&cluster.sim), LogIndex(0));
    cluster.act(Action::Compact(leader));
    cluster.pass(SECOND);
    assert!(base(&cluster.sim) > LogIndex(0));
}

/// Three servers led by S1. The disk of S3 is slow, so the write of three entries is pending.
fn with_a_record_under_way(checksums: bool) -> (Cluster, LogIndex) {
    let disk = DiskConfig { checksums, ..DiskConfig::default() };
    let config = SimConfig { manual_elections: true, disk, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.act(Action::Elect(S1));
    cluster.await_leader();
    cluster.isolate(S2);
    cluster.pass(100 * MILLISECOND);
    let durable = last_index(&cluster.sim, S3);
    cluster.act(Action::SlowDisk { node: S3, min: 10 * SECOND, max: 10 * SECOND });
    for value in ["1", "2", "3"] {
        cluster.act(Action::Write { node: S1, command: Command::put("x", value) });
    }
    cluster.pass(50 * MILLISECOND);
    (cluster, durable)
}

/// Guards that a checksum detects a torn record: a restart drops the record and keeps everything
/// before it.
#[check]
fn a_torn_record_is_cut() {
    let (mut cluster, durable) = with_a_record_under_way(true);
    assert!(last_index(&cluster.sim, S3) > durable);
    cluster.act(Action::TearWrite(S3));
    cluster.act(Action::Partition(vec![[S1].into(), [S2].into(), [S3].into()]));
    cluster.act(Action::Restart(S3));
    cluster.pass(0);
    let torn = |fault: &&Fault| matches!(fault, Fault::RecordTorn { node: S3, entries: 0, .. });
    assert!(faults(&cluster.events).iter().any(torn));
    let now = last_index(&cluster.sim, S3);
    assert!(now >= durable && now < last_index(&cluster.sim, S1));
}

/// Guards that a checksum detects damage: the server starts only after its disk is wiped, and then
/// it is a stranger.
#[check]
fn a_flipped_bit_keeps_a_server_from_starting_until_it_is_wiped() {
    let mut cluster = Cluster::led(3, 2);
    cluster.put("x", "1");
    let leader = cluster.sim.leader().expect("led");
    let node = cluster.others(leader)[0];
    cluster.act(Action::FlipBit(node));
    cluster.pass(SECOND);
    assert_eq!(cluster.sim.act(Action::Wipe(node)), Err(ActionError::Running(node)));
    cluster.act(Action::Crash(node));
    assert_eq!(cluster.sim.act(Action::Restart(node)), Err(ActionError::Damaged(node)));
    cluster.act(Action::Wipe(node));
    assert_eq!(cluster.sim.act(Action::FlipBit(node)), Err(ActionError::Empty(node)));
    cluster.act(Action::Restart(node));
    let status = cluster.sim.replica(node).expect("it runs").status();
    assert_eq!((status.last.index, status.membership), (LogIndex(0), Membership::default()));
    cluster.put("y", "2");
}

/// Guards the checker with a planted fault: without checksums a flipped bit makes states differ,
/// and the checker reports it.
#[check]
fn without_checksums_a_flipped_bit_violates_state_agreement() {
    let disk = DiskConfig { checksums: false, ..DiskConfig::default() };
    let mut sim = Simulation::new(SimConfig { disk, ..SimConfig::default() });
    sim.run_until(Time(SECOND));
    let leader = sim.leader().expect("a second is enough with this seed");
    let act = |sim: &mut Simulation, action| sim.act(action).expect("possible");
    act(&mut sim, Action::Write { node: leader, command: Command::put("x", "1") });
    sim.run_until(Time(2 * SECOND));
    let node = sim.ids().into_iter().find(|it| *it != leader).expect("three servers");
    act(&mut sim, Action::FlipBit(node));
    act(&mut sim, Action::Crash(node));
    act(&mut sim, Action::Restart(node));
    sim.run_until(Time(4 * SECOND));
    let found: Vec<Property> = sim.violations().iter().map(|it| it.property).collect();
    assert!(found.contains(&Property::StateAgreement), "{found:?}");
}

/// Guards that each server uses its own clock, and that a follower with a fast clock campaigns
/// early.
#[check]
fn servers_live_by_their_own_clocks() {
    let config = SimConfig { seed: 4, servers: 3, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    let leader = cluster.await_leader();
    let fast = cluster.others(leader)[0];
    let rate_permille = 10_000;
    assert_eq!(
        cluster.sim.act(Action::SetClock { node: fast, jump: 0, rate_permille: 0 }),
        Err(ActionError::ClockRate(0))
    );
    cluster.events.clear();
    cluster.act(Action::SetClock { node: fast, jump: 5_000_000, rate_permille });
    cluster.pass(SECOND);
    let shown = cluster.events.iter().filter(|it| it.id.node == fast).map(|it| it.time);
    let (first, last) = (shown.clone().min().expect("it lives"), shown.max().expect("it lives"));
    assert!(first >= Time(5 * SECOND));
    assert!(last.since(first) > 9 * SECOND);
    let campaigns = |event: &&Event| {
        event.id.node == fast
            && matches!(
                event.kind,
                EventKind::TimerFired { timer: raft_core::event::Timer::Election }
            )
    };
    assert!(cluster.events.iter().filter(campaigns).count() > 5, "heartbeats come too rarely");
}
