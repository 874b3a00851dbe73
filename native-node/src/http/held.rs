//! States that are held for a while, to let all pages of one long read show one state.
//!
//! A state is an immutable map that shares structure with earlier and later states. Holding it
//! costs what has changed since. Number and time are bounded; a client that comes too late gets an
//! error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raft_core::kv::KvStore;
use tokio::time::sleep;

/// How long a state is held after a page of it was read.
const HOLD: Duration = Duration::from_mins(1);

/// The maximum number of held states. Beyond it, the state that was read longest ago is dropped.
const MAX_HELD: usize = 64;

/// The maximum bytes of keys and values in all held states, unless only a few are held. All of them
/// may have been overwritten since.
const MAX_HELD_BYTES: u64 = 256 << 20;

/// This many states are held, whatever their size.
const FEW: usize = 4;

/// The held states of this server.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<States>>);

#[derive(Debug, Default)]
struct States {
    by_revision: BTreeMap<u64, State>,
    /// Whether a task runs that drops expired states.
    is_tended: bool,
}

#[derive(Debug)]
struct State {
    store: KvStore,
    read_at: Instant,
}

impl Held {
    /// Holds a state for later pages.
    pub(super) fn hold(&self, store: &KvStore) {
        let mut states = self.states();
        let state = State { store: store.clone(), read_at: Instant::now() };
        states.by_revision.insert(store.revision(), state);
        states.shrink();
        if !std::mem::replace(&mut states.is_tended, true) {
            drop(states);
            tokio::spawn(self.clone().tend());
        }
    }

    /// The state at this revision, if it is held. Restarts its time.
    pub(super) fn get(&self, revision: u64) -> Option<KvStore> {
        let mut states = self.states();
        let state = states.by_revision.get_mut(&revision)?;
        state.read_at = Instant::now();
        Some(state.store.clone())
    }

    /// Drops expired states, until none is left.
    async fn tend(self) {
        loop {
            sleep(HOLD / 4).await;
            let mut states = self.states();
            states.by_revision.retain(|_, state| state.read_at.elapsed() < HOLD);
            if states.by_revision.is_empty() {
                states.is_tended = false;
                return;
            }
        }
    }

    fn states(&self) -> MutexGuard<'_, States> {
        // Nothing panics under this lock, and the states are consistent in any case.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl States {
    fn shrink(&mut self) {
        let bytes = |states: &Self| states.by_revision.values().map(|it| it.store.bytes()).sum();
        let is_too_much = |bytes: u64| bytes > MAX_HELD_BYTES;
        while self.by_revision.len() > MAX_HELD
            || self.by_revision.len() > FEW && is_too_much(bytes(self))
        {
            let oldest = self.by_revision.iter().min_by_key(|(_, state)| state.read_at);
            let Some(revision) = oldest.map(|(revision, _)| *revision) else { return };
            self.by_revision.remove(&revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::kv::Command;

    use super::*;

    /// Guards memory, and long reads: the newest states are held, and they do not change.
    #[tokio::test]
    async fn so_many_states_are_held_as_they_were() {
        let (held, mut store) = (Held::default(), KvStore::default());
        for number in 0..=MAX_HELD {
            store.apply(Command::put("n", number.to_string()));
            held.hold(&store);
        }
        assert!(held.get(1).is_none(), "it was read longest ago");
        let second = held.get(2).expect("it is held");
        assert_eq!(second.get(b"n").expect("a value").value, "1");
        assert_eq!(held.states().by_revision.len(), MAX_HELD);
    }

    /// Guards memory: few large states are held, since all of each may be overwritten.
    #[tokio::test]
    async fn of_large_states_few_are_held() {
        let (held, mut store) = (Held::default(), KvStore::default());
        let value = bytes::Bytes::from(vec![b'v'; 1 << 20]);
        let most = MAX_HELD_BYTES >> 20;
        for number in 0..most / 16 {
            store.apply(Command::put(format!("k{number}"), value.clone()));
        }
        for number in 0..2 * FEW {
            store.apply(Command::put("n", number.to_string()));
            held.hold(&store);
        }
        assert_eq!(held.states().by_revision.len(), 2 * FEW, "half of what there may be");
        for number in most / 16..most {
            store.apply(Command::put(format!("k{number}"), value.clone()));
        }
        for number in 0..2 * FEW {
            store.apply(Command::put("n", number.to_string()));
            held.hold(&store);
        }
        assert_eq!(held.states().by_revision.len(), FEW);
    }
}
