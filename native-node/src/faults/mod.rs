//! Faults on command: links to other servers that lose or delay what they carry, and a disk that
//! hangs or has no room. Exists only where the server was started with `--allow-faults`; without it
//! nothing of this is constructed, and the code on the way of a write sees a `None`.
//!
//! What a link carries are the protocol's messages and the requests of clients that one server
//! passes on to another. A connection stays open while its link is cut, as it does in a network
//! that swallows packets; whoever waits for an answer runs into its deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::storage::disk::{DiskFaults, DiskSwitch};

/// The longest delay of a link, in ms. Longer ones are what `cut_to` is for.
pub const MAX_DELAY_MS: u64 = 10_000;

/// All that is wrong with a server at one time; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// What is wrong with the links to other servers, by their numbers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<u64, LinkFaults>,
    /// What is wrong with this server's disk.
    pub disk: DiskFaults,
}

/// What is wrong with the link between this server and another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct LinkFaults {
    /// Nothing that this server sends arrives there.
    pub cut_to: bool,
    /// Nothing that is sent there arrives here.
    pub cut_from: bool,
    /// Messages that this server sends leave so much later, in ms.
    pub delay_ms: u64,
    /// So many of a thousand messages that this server sends are lost.
    pub drop_permille: u32,
}

/// Faults that make no sense.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// More than anybody waits.
    #[error("delay_ms is {0}, but at most {MAX_DELAY_MS}; use cut_to to stop a link")]
    Delay(u64),
    /// More than all.
    #[error("drop_permille is {0}, but at most 1000")]
    Drop(u32),
}

impl Faults {
    /// Whether they can be had.
    pub fn validate(&self) -> Result<(), FaultsError> {
        for link in self.links.values() {
            if link.delay_ms > MAX_DELAY_MS {
                return Err(FaultsError::Delay(link.delay_ms));
            }
            if link.drop_permille > 1000 {
                return Err(FaultsError::Drop(link.drop_permille));
            }
        }
        Ok(())
    }

    /// The link to a server, to be changed.
    pub fn link(&mut self, peer: u64) -> &mut LinkFaults {
        self.links.entry(peer).or_default()
    }

    /// Forgets links with which nothing is wrong.
    pub fn tidy(&mut self) {
        self.links.retain(|_, link| !link.is_none());
    }

    /// Whether nothing is wrong.
    pub fn is_none(&self) -> bool {
        self.disk == DiskFaults::default() && self.links.values().all(LinkFaults::is_none)
    }
}

impl LinkFaults {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to a message on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It leaves at once.
    Now,
    /// It leaves after this time.
    After(Duration),
    /// It is lost.
    Never,
}

/// What the parts of a server ask whether something is to go wrong, and where that is set.
#[derive(Debug, Default)]
pub struct Injector {
    faults: ArcSwap<Faults>,
    disk: Arc<DiskSwitch>,
}

impl Injector {
    /// The faults that hold now.
    pub fn faults(&self) -> Arc<Faults> {
        self.faults.load_full()
    }

    /// From now on exactly these hold.
    pub fn set(&self, faults: Faults) {
        if **self.faults.load() != faults {
            tracing::warn!(?faults, "faults were set by command");
        }
        self.disk.set(faults.disk);
        self.faults.store(Arc::new(faults));
    }

    /// The disk's part, for the disk.
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

    /// Whether what is sent to `peer` is lost.
    pub fn is_cut_to(&self, peer: NodeId) -> bool {
        self.faults.load().links.get(&peer.0).is_some_and(|link| link.cut_to)
    }

    /// Whether what `peer` sends is lost.
    pub fn is_cut_from(&self, peer: NodeId) -> bool {
        self.faults.load().links.get(&peer.0).is_some_and(|link| link.cut_from)
    }
}

/// A number below 1000. Without randomness nothing is lost.
fn draw() -> u32 {
    getrandom::u32().map_or(1000, |draw| draw % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the form in which faults are given: what is not said is in order, what is misspelt
    /// or out of range is refused.
    #[test]
    fn faults_are_read_and_checked() {
        let read = |text: &str| serde_json::from_str::<Faults>(text);
        let faults = read(r#"{"links": {"2": {"cut_to": true}}}"#).expect("well formed");
        assert!(faults.links[&2].cut_to && !faults.links[&2].cut_from);
        assert_eq!(faults.disk, DiskFaults::default());
        assert!(!faults.is_none() && read("{}").expect("well formed").is_none());
        assert!(read(r#"{"link": {}}"#).is_err(), "misspelt");
        for (text, name) in [
            (r#"{"links": {"2": {"delay_ms": 99999}}}"#, "delay_ms"),
            (r#"{"links": {"2": {"drop_permille": 1001}}}"#, "drop_permille"),
        ] {
            let error = read(text).expect("well formed").validate().expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    /// Guards what a link does to a message: its own faults and no other link's.
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
