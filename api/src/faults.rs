//! Faults that a server injects on request (`--allow-faults`), on its disk and on its links to
//! other servers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The maximum delay of a link, in ms. Use `cut_to` to stop a link.
pub const MAX_DELAY_MS: u64 = 10_000;

/// All faults of a server; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Faults of the links to other servers, by server id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<u64, LinkFaults>,
    /// Faults of this server's disk.
    pub disk: DiskFaults,
}

/// Faults of a server's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiskFaults {
    /// Each sync to disk blocks until this fault ends.
    pub stalled: bool,
    /// The disk is full: files cannot be created or grow. Files keep the space that is already
    /// allocated.
    pub full: bool,
}

/// Faults of the link between this server and another server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFaults {
    /// All messages from this server to the other server are lost.
    pub cut_to: bool,
    /// All messages from the other server to this server are lost.
    pub cut_from: bool,
    /// The delay of each message from this server to the other server, in ms.
    pub delay_ms: u64,
    /// How many of 1000 messages from this server to the other server are lost.
    pub drop_permille: u32,
}

/// The error for fault settings that are out of range.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// The delay is above [`MAX_DELAY_MS`].
    #[error("delay_ms is {0}, but must be at most {MAX_DELAY_MS}; use cut_to to stop a link")]
    Delay(u64),
    /// The drop rate is above 1000 per mille.
    #[error("drop_permille is {0}, but must be at most 1000")]
    Drop(u32),
}

impl Faults {
    /// Checks that all values are in range.
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

    /// The faults of the link to `peer`, to be changed.
    pub fn link(&mut self, peer: u64) -> &mut LinkFaults {
        self.links.entry(peer).or_default()
    }

    /// Removes links without faults.
    pub fn tidy(&mut self) {
        self.links.retain(|_, link| !link.is_none());
    }

    /// Whether there are no faults.
    pub fn is_none(&self) -> bool {
        self.disk == DiskFaults::default() && self.links.values().all(LinkFaults::is_none)
    }
}

impl LinkFaults {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the JSON form of faults: missing fields mean no fault, and unknown fields and values
    /// out of range are rejected.
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
}
