//! Measures the memory of a server, in bytes requested from the allocator.
//!
//! Servers of a cluster in the same process share the bytes of commands. So the size of an entry is
//! measured on a single server.

use bytes::Bytes;
use raft::prelude::{ConfState, Entry};
use raft::storage::MemStorage;
use raft::{Config as RaftRsConfig, RawNode};
use raft_core::config::Config;
use raft_core::consensus::Consensus;
use raft_core::durable::{Bootstrap, Recovered};
use raft_core::kv::{Command, KvStore};
use raft_core::membership::Membership;
use raft_core::replica::{Output, Replica, Start};
use raft_core::sim::{SimConfig, Simulation};
use raft_core::types::{NodeId, Time};
use serde::{Deserialize, Serialize};

use crate::consensus::{COMMAND_BYTES, command};

/// Returns the number of bytes that are allocated now.
pub type Allocated = fn() -> usize;

/// Memory figures, in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// A new replica of a cluster of three, with an empty log and state.
    pub idle_replica: f64,
    /// A new raft-rs server of a cluster of three, with an empty `MemStorage`.
    pub idle_raft_rs: f64,
    /// A server of a simulated cluster of five, with disk and network, after a simulated minute.
    pub simulated_server: f64,
    /// A committed log entry with its 64-byte command.
    pub entry: f64,
    /// The same in raft-rs's `MemStorage`.
    pub entry_raft_rs: f64,
    /// A key of 8 bytes in the state, with its value of 51 bytes.
    pub key: f64,
}

const ENTRIES: usize = 100_000;

/// Measures all figures.
pub fn measure(allocated: Allocated) -> Memory {
    Memory {
        idle_replica: grown(allocated, replica),
        idle_raft_rs: grown(allocated, raft_rs),
        simulated_server: grown(allocated, simulation) / 5.0,
        entry: per(
            ENTRIES,
            grown(allocated, || consensus(ENTRIES)) - grown(allocated, || consensus(0)),
        ),
        entry_raft_rs: per(ENTRIES, grown(allocated, storage)),
        key: per(ENTRIES, grown(allocated, store)),
    }
}

/// Returns how much `make` adds to the allocated bytes.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn grown<T>(allocated: Allocated, make: impl FnOnce() -> T) -> f64 {
    let before = allocated();
    // Boxed, to count the value itself too.
    let kept = Box::new(make());
    let after = allocated();
    drop(kept);
    after as f64 - before as f64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per(count: usize, bytes: f64) -> f64 {
    bytes / count as f64
}

fn replica() -> Replica {
    let start = Start {
        id: NodeId(1),
        config: Config::default(),
        bootstrap: Bootstrap { membership: Membership::of((1..=3).map(NodeId)) },
        recovered: Recovered::default(),
        snapshot: None,
        semantics: raft_core::limits::Semantics::LATEST,
        seed: 1,
        first_seq: 1,
    };
    Replica::new(start, Time(0), false)
}

fn raft_rs() -> RawNode<MemStorage> {
    let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&RaftRsConfig::new(1), storage, &logger).expect("a valid configuration")
}

fn simulation() -> Simulation {
    let mut simulation = Simulation::new(SimConfig { servers: 5, ..SimConfig::default() });
    for second in 1..=60 {
        simulation.run_until(Time(second * raft_core::types::SECOND));
        simulation.take_events();
    }
    simulation
}

/// A single server that has committed this many entries, in batches of 100.
fn consensus(entries: usize) -> Consensus {
    let membership = Membership::of([NodeId(1)]);
    let mut alone = Consensus::new(NodeId(1), membership, Config::default(), 1);
    let now = alone.deadline().expect("a timer runs");
    alone.tick(now);
    persist(&mut alone, now);
    let commands: Vec<usize> = (0..entries).collect();
    for batch in commands.chunks(100) {
        let batch = batch.iter().map(|number| Bytes::from(command(*number))).collect();
        assert!(alone.propose(now, batch), "the only server leads");
        persist(&mut alone, now);
        alone.take_committed().for_each(drop);
    }
    alone
}

/// Reports every write as durable immediately and stores nothing.
fn persist(alone: &mut Consensus, now: Time) {
    loop {
        let written = alone.outputs().filter_map(|output| match output {
            Output::Persist(write) => Some(write.id),
            Output::Send(_) | Output::Respond(..) | Output::SaveSnapshot(_) => None,
        });
        let Some(last) = written.last() else { return };
        alone.persisted(now, last);
    }
}

fn storage() -> MemStorage {
    let storage = MemStorage::new_with_conf_state(ConfState::from((vec![1], vec![])));
    for number in 0..ENTRIES {
        let index = u64::try_from(number).expect("small") + 1;
        let entry = Entry { index, term: 1, data: command(number), ..Entry::default() };
        storage.wl().append(&[entry]).expect("entries follow each other");
    }
    storage
}

fn store() -> KvStore {
    let mut store = KvStore::default();
    for number in 0..ENTRIES {
        // As in a server, key and value are slices of a decoded command.
        let encoded = Command::put(format!("k{number:07}"), vec![0; COMMAND_BYTES - 13]).encode();
        store.apply(Command::decode(&encoded).expect("just encoded"));
    }
    store
}
