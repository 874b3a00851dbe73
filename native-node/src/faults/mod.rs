//! Injected faults: links to other servers that lose or delay messages, and a disk that hangs or is
//! full. They exist only if the server was started with `--allow-faults`. Otherwise nothing of this
//! is constructed, and the write path sees a `None`.
//!
//! A link carries the protocol's messages and the client requests that servers forward to each
//! other. A connection stays open while its link is cut, as in a network that drops packets. A
//! request over it then runs into its deadline.
//!
//! **Invariant:** Faults act at three places only: where a message enters or leaves its connection,
//! where a request is forwarded, and in the disk's trait.

use std::sync::Arc;
use std::time::Duration;

use api::faults::Faults;
use arc_swap::ArcSwap;
use raft_core::types::NodeId;
use storage::disk::DiskSwitch;

/// What happens to an outgoing message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is sent at once.
    Now,
    /// It is sent after this delay.
    After(Duration),
    /// It is lost.
    Never,
}

/// Holds the injected faults, and tells the parts of a server whether an operation must fail.
#[derive(Debug, Default)]
pub struct Injector {
    faults: ArcSwap<Faults>,
    disk: Arc<DiskSwitch>,
}

impl Injector {
    /// The current faults.
    pub fn faults(&self) -> Arc<Faults> {
        self.faults.load_full()
    }

    /// Replaces the current faults.
    pub fn set(&self, faults: Faults) {
        if **self.faults.load() != faults {
            tracing::warn!(?faults, "the injected faults changed");
        }
        self.disk.stall(faults.disk.stalled);
        self.disk.fill(faults.disk.full);
        self.faults.store(Arc::new(faults));
    }

    /// The switch of the disk's faults, for the storage.
    pub fn disk(&self) -> Arc<DiskSwitch> {
        Arc::clone(&self.disk)
    }

    /// What happens to a message to `peer`.
    pub fn passage_to(&self, peer: NodeId) -> Passage {
        let faults = self.faults.load();
        let Some(link) = faults.links.get(&peer.0) else { return Passage::Now };
        if link.cut_to || (link.drop_permille > 0 && draw() < link.drop_permille) {
            Passage::Never
        } else if link.delay_ms > 0 {
            Passage::After(Duration::from_millis(link.delay_ms))
        } else {
            Passage::Now
        }
    }

    /// Whether messages to `peer` are lost.
    pub fn is_cut_to(&self, peer: NodeId) -> bool {
        self.faults.load().links.get(&peer.0).is_some_and(|link| link.cut_to)
    }

    /// Whether messages from `peer` are lost.
    pub fn is_cut_from(&self, peer: NodeId) -> bool {
        self.faults.load().links.get(&peer.0).is_some_and(|link| link.cut_from)
    }
}

/// A random number below 1000. Without random bytes it is 1000, and nothing is lost.
fn draw() -> u32 {
    getrandom::u32().map_or(1000, |draw| draw % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a message suffers only the faults of its own link.
    #[test]
    fn each_link_has_its_own_faults() {
        let injector = Injector::default();
        let mut faults = Faults::default();
        faults.link(2).cut_to = true;
        faults.link(3).delay_ms = 5;
        faults.link(4).drop_permille = 1000;
        injector.set(faults);
        assert_eq!(injector.passage_to(NodeId(2)), Passage::Never);
        assert!(injector.is_cut_to(NodeId(2)) && !injector.is_cut_from(NodeId(2)));
        assert_eq!(injector.passage_to(NodeId(3)), Passage::After(Duration::from_millis(5)));
        assert_eq!(injector.passage_to(NodeId(4)), Passage::Never);
        assert_eq!(injector.passage_to(NodeId(5)), Passage::Now);
        injector.set(Faults::default());
        assert_eq!(injector.passage_to(NodeId(2)), Passage::Now);
    }
}
