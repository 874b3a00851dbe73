//! The Raft settings of a server. All servers of a cluster should use the same settings.

use serde::{Deserialize, Serialize};

use crate::types::{MILLISECOND, Micros, SECOND};

/// The maximum size of the transport's queue to one peer, in bytes. [`Config::validate`] limits
/// [`Config::max_in_flight_bytes`] to half of it: a leader never sends what the queue would drop.
/// The other half has room for messages that a leader sent before it lost and regained leadership.
pub const PEER_QUEUE_BYTES: usize = 16 << 20;

/// The Raft settings of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The minimum election timeout, in µs: the time without a leader after which a follower
    /// campaigns (§5.2).
    pub election_timeout_min: Micros,
    /// The maximum election timeout, in µs. Each wait is drawn at random between the two.
    pub election_timeout_max: Micros,
    /// How often a leader sends heartbeats, in µs (§5.2).
    pub heartbeat_interval: Micros,
    /// The approximate maximum size of the entries in one AppendEntries message, in bytes.
    pub max_batch_bytes: usize,
    /// The maximum number of unanswered AppendEntries messages with entries per follower.
    pub max_in_flight: usize,
    /// The maximum size of unanswered entries per follower, in bytes. A single larger entry is sent
    /// alone. At most half of [`PEER_QUEUE_BYTES`].
    pub max_in_flight_bytes: usize,
    /// The approximate maximum size of the state in one InstallSnapshot message, in bytes (§7).
    pub max_chunk_bytes: usize,
    /// The server takes a snapshot after this many applied entries …
    pub compact_after_entries: u64,
    /// … or after applied entries of this many bytes, whichever comes first.
    pub compact_after_bytes: u64,
    /// How many entries before the snapshot stay in the log. A slightly lagging follower then needs
    /// no snapshot.
    pub keep_entries: u64,
    /// The approximate maximum size of the applied entries in memory, in bytes. It overrides every
    /// reason to keep entries. A follower that lacks older entries gets a snapshot.
    pub keep_bytes: usize,
    /// How long a joining learner may make no progress before it is removed, in µs (dissertation
    /// §4.2.1). After the same time without progress, a snapshot transfer ends and its snapshot is
    /// released.
    pub promotion_timeout: Micros,
    /// Whether a leader may answer reads by its lease, without a heartbeat round (dissertation
    /// §6.4.1). Must be the same on all servers: a restarted voter waits out the promises that it
    /// may have forgotten.
    pub lease_reads: bool,
    /// For leases: the maximum difference between the clock rates of any two servers, in
    /// thousandths. The clocks count the time during which a machine sleeps.
    pub max_clock_drift_permille: u64,
    /// How often a leader appends the current time to the log while leases or sessions may expire,
    /// in µs.
    pub clock_interval: Micros,
    /// Servers keep a digest of the state after every this many entries and compare their digests.
    /// Should be the same on all servers: only digests after the same entry can be compared.
    pub digest_every: u64,
    /// How long a read may wait for confirmation before it is given up, in µs.
    pub read_timeout: Micros,
}

impl Default for Config {
    /// The paper's 150-300 ms timeouts, for servers on one network.
    fn default() -> Self {
        Self {
            election_timeout_min: 150 * MILLISECOND,
            election_timeout_max: 300 * MILLISECOND,
            heartbeat_interval: 50 * MILLISECOND,
            max_batch_bytes: 1 << 20,
            max_in_flight: 32,
            max_in_flight_bytes: PEER_QUEUE_BYTES / 2,
            max_chunk_bytes: 512 << 10,
            compact_after_entries: 50_000,
            compact_after_bytes: 64 << 20,
            keep_entries: 5_000,
            keep_bytes: 64 << 20,
            promotion_timeout: 60 * SECOND,
            lease_reads: false,
            max_clock_drift_permille: 100,
            clock_interval: 250 * MILLISECOND,
            digest_every: 256,
            read_timeout: 2 * SECOND,
        }
    }
}

/// Settings with which no cluster can work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The maximum election timeout is not above the minimum.
    #[error(
        "the maximum election timeout ({max} µs) must be above the minimum ({min} µs). With equal \
         timeouts, candidates may split the votes for ever"
    )]
    EmptyElectionRange {
        /// The minimum given.
        min: Micros,
        /// The maximum given.
        max: Micros,
    },
    /// The heartbeat interval is 0 or above half of the minimum election timeout.
    #[error(
        "the heartbeat interval ({heartbeat} µs) must be above 0. It must be at most half of the \
         minimum election timeout ({election} µs). Otherwise a single late heartbeat deposes a \
         healthy leader"
    )]
    SlowHeartbeat {
        /// The interval given.
        heartbeat: Micros,
        /// The minimum election timeout given.
        election: Micros,
    },
    /// The named setting is 0.
    #[error("{0} must be above 0")]
    Zero(&'static str),
    /// `max_in_flight_bytes` is above half of [`PEER_QUEUE_BYTES`].
    #[error(
        "max_in_flight_bytes ({0}) must be at most {max}, half of the queue to a peer. A full \
         queue drops messages, and the leader must send them again",
        max = PEER_QUEUE_BYTES / 2
    )]
    Window(usize),
    /// The clock drift leaves no time for a lease.
    #[error("a clock drift of {0} in 1000 leaves no time for a lease; use less than 1000")]
    Drift(u64),
}

impl Config {
    /// Checks that a cluster can work with these settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (min, max) = (self.election_timeout_min, self.election_timeout_max);
        if max <= min {
            return Err(ConfigError::EmptyElectionRange { min, max });
        }
        if self.heartbeat_interval == 0 || self.heartbeat_interval > min / 2 {
            let heartbeat = self.heartbeat_interval;
            return Err(ConfigError::SlowHeartbeat { heartbeat, election: min });
        }
        for (name, zero) in [
            ("max_batch_bytes", self.max_batch_bytes == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("max_in_flight_bytes", self.max_in_flight_bytes == 0),
            ("max_chunk_bytes", self.max_chunk_bytes == 0),
            ("compact_after_entries", self.compact_after_entries == 0),
            ("compact_after_bytes", self.compact_after_bytes == 0),
            ("promotion_timeout", self.promotion_timeout == 0),
            ("clock_interval", self.clock_interval == 0),
            ("digest_every", self.digest_every == 0),
            ("read_timeout", self.read_timeout == 0),
        ] {
            if zero {
                return Err(ConfigError::Zero(name));
            }
        }
        if self.max_in_flight_bytes > PEER_QUEUE_BYTES / 2 {
            return Err(ConfigError::Window(self.max_in_flight_bytes));
        }
        if self.max_clock_drift_permille >= 1000 {
            return Err(ConfigError::Drift(self.max_clock_drift_permille));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError, PEER_QUEUE_BYTES};

    /// Guards against settings that never elect a leader, or depose a healthy leader.
    #[test]
    fn only_workable_timeouts_pass() {
        assert_eq!(Config::default().validate(), Ok(()));
        let fixed = Config { election_timeout_max: 150_000, ..Config::default() };
        assert!(matches!(fixed.validate(), Err(ConfigError::EmptyElectionRange { .. })));
        let slow = Config { heartbeat_interval: 100_000, ..Config::default() };
        assert!(matches!(slow.validate(), Err(ConfigError::SlowHeartbeat { .. })));
        let silent = Config { heartbeat_interval: 0, ..Config::default() };
        assert!(matches!(silent.validate(), Err(ConfigError::SlowHeartbeat { .. })));
        let stuck = Config { max_in_flight: 0, ..Config::default() };
        assert_eq!(stuck.validate(), Err(ConfigError::Zero("max_in_flight")));
        let full = Config { max_in_flight_bytes: PEER_QUEUE_BYTES / 2, ..Config::default() };
        assert_eq!(full.validate(), Ok(()));
        let over = Config { max_in_flight_bytes: PEER_QUEUE_BYTES / 2 + 1, ..Config::default() };
        assert!(matches!(over.validate(), Err(ConfigError::Window(_))));
    }
}
