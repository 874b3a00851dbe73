//! The view is computed from events alone, and must agree with the servers.

use raft_core::codec;
use raft_core::event::Event;
use raft_core::sim::{Action, SimConfig, Simulation};
use raft_core::types::{NodeId, SECOND, Time};
use raft_core::view::{ClusterView, Liveness};

use crate::lab::{Cluster, S1, S2, S3, check};

/// Compares the view with each server, field by field.
fn assert_agrees(view: &ClusterView, sim: &Simulation) {
    for id in sim.ids() {
        let node = &view.nodes[&id];
        let Some(replica) = sim.replica(id) else {
            assert_eq!(node.liveness, Liveness::Down, "{id}");
            continue;
        };
        let status = replica.status();
        assert_eq!(node.role, status.role, "{id}");
        assert_eq!(node.term, status.term, "{id}");
        assert_eq!(node.voted_for, status.voted_for, "{id}");
        assert_eq!(node.leader, status.leader, "{id}");
        assert_eq!(node.base, status.base, "{id}");
        assert_eq!(node.last, status.last, "{id}");
        assert_eq!(node.durable_index, status.durable_index, "{id}");
        assert_eq!(node.commit_index, status.commit_index, "{id}");
        assert_eq!(node.last_applied, status.last_applied.index, "{id}");
        assert_eq!(node.digest, status.digest, "{id}");
        assert_eq!(node.store.digest(), status.digest, "{id}: pairs");
        assert_eq!(node.timer.map(|timer| timer.due), replica.deadline(), "{id}");
        for (peer, progress) in &status.peers {
            assert_eq!(node.progress[peer].match_index, progress.match_index, "{id}: {peer}");
        }
    }
}

/// Guards that the view shows the state of the servers through elections, crashes, divergent logs
/// and snapshots.
#[check]
fn the_view_agrees_with_the_servers_after_every_step() {
    for seed in 0..5 {
        let mut config = SimConfig { seed, ..SimConfig::default() };
        config.node.compact_after_entries = 15;
        config.node.keep_entries = 3;
        let mut sim = Simulation::new(config);
        let mut view = ClusterView::default();
        let actions = [
            (2, Action::Crash(S1)),
            (3, Action::Partition(vec![[S2].into()])),
            (5, Action::Heal),
            (6, Action::Restart(S1)),
            (7, Action::Crash(S3)),
            (9, Action::Restart(S3)),
        ];
        let mut writes = 0_u32;
        for tenth in 0..120 {
            for (_, action) in actions.iter().filter(|(second, _)| second * 10 == tenth) {
                sim.act(action.clone()).expect("the script is possible");
            }
            for node in [S1, S2, S3] {
                writes += 1;
                let command = raft_core::kv::Command::put(format!("k{}", writes % 7), "v");
                // Servers that are down refuse.
                let _ = sim.act(Action::Write { node, command });
            }
            let until = Time(tenth * SECOND / 10);
            while sim.next_at().is_some_and(|next| next <= until) {
                sim.step();
                sim.take_events().iter().for_each(|event| view.observe(event));
                assert_agrees(&view, &sim);
            }
        }
        assert!(view.nodes[&S1].base.index.0 > 0, "seed {seed}: the log was never compacted");
    }
}

/// Guards that an event survives encoding and decoding, in JSON and in the codec.
#[check]
fn events_survive_json_and_the_codec() {
    let mut cluster = Cluster::led(3, 1);
    cluster.put("key", "value");
    cluster.act(Action::Crash(NodeId(1)));
    cluster.pass(SECOND);
    for event in &cluster.events {
        let text = serde_json::to_string(event).expect("events are serialisable");
        let back: Event = serde_json::from_str(&text).expect("and back");
        assert_eq!(&back, event, "{text}");
        let back: Event = codec::decode(&codec::encode(event)).expect("and back");
        assert_eq!(&back, event);
    }
}

/// Guards that the view of a page that stays open does not grow without bound.
#[check]
fn a_view_forgets_old_messages() {
    let mut cluster = Cluster::led(5, 1);
    cluster.pass(60 * SECOND);
    let mut view = ClusterView::default();
    cluster.events.iter().for_each(|event| view.observe(event));
    assert!(view.events > 20_000, "{}", view.events);
    assert!(view.messages.len() <= 2_000);
}
