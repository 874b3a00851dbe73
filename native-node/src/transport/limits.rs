//! All limits of the transport: times, bytes and connections.
//!
//! One peer uses at most this much of the server's memory, in bytes:
//!
//! | where | limit |
//! | --- | --- |
//! | messages that wait to be sent | [`MAX_BULK_BYTES`] + [`MAX_CONTROL_BYTES`] per lane |
//! | the frame being sent, per bulk lane | [`MAX_FRAME_BYTES`](super::frame::MAX_FRAME_BYTES) |
//! | the frame being received | [`frame::max_bytes`](super::frame::max_bytes) of its lane |
//! | received messages that wait for the driver | [`max_undelivered`] of their lane |
//!
//! At most [`MAX_HALF_OPEN`](crate::descriptors::MAX_HALF_OPEN) connections have no authenticated peer. Each holds at most a greeting.

use std::time::Duration;

use raft_core::config::{Config, PEER_QUEUE_BYTES};

use super::Lane;

/// The minimum timeout of connection and handshake together.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout of connection and handshake in election timeouts, if that is longer. They take five
/// round trips, seven with TLS, and a round trip is shorter than an election timeout.
const CONNECT_ELECTION_TIMEOUTS: u32 = 8;

/// The minimum time after which a new SYN replaces an unanswered one.
const MIN_TCP_TIMEOUT: Duration = Duration::from_millis(500);

/// The maximum time until the system accepts one piece of a frame.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an otherwise idle connection is pinged.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The accepting side closes a connection on which nothing arrives for this long.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The system closes a connection when sent data is unacknowledged for this long.
pub(super) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// The minimum time without an answer before the sender reconnects. Shorter pauses occur on busy
/// machines.
const MIN_SILENCE: Duration = Duration::from_millis(500);

/// The same for a bulk lane, whose answers wait behind the sent data.
const MIN_BULK_SILENCE: Duration = Duration::from_secs(2);

/// How many heartbeat intervals without an answer count as silence.
const SILENT_HEARTBEATS: u32 = 4;

/// The first backoff after a failed attempt. It doubles up to [`Timings::backoff_max`].
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// How long a connection must last to reset the backoff.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(1);

/// How long the connection to a removed server stays open to send the remaining messages.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// The first backoff after a failed accept, most likely for lack of file descriptors …
pub(super) const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// … and the maximum, up to which it doubles.
pub(super) const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The minimum time between two log lines about refused connections.
pub(super) const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The maximum bytes of entries or snapshot chunks that wait for one peer on one lane. A single
/// message may be larger. The core keeps less than this in flight to one follower.
pub const MAX_BULK_BYTES: usize = PEER_QUEUE_BYTES;

/// The maximum bytes of all other messages that wait for one peer on one lane.
pub const MAX_CONTROL_BYTES: usize = 256 << 10;

/// The maximum bytes of one connection, besides one frame, that the driver has not processed. Above
/// it the server stops reading, and TCP flow control slows the sender.
pub(super) const fn max_undelivered(lane: Lane) -> u32 {
    match lane {
        Lane::Log | Lane::Snapshot => 32 << 20,
        Lane::Control => 2 << 20,
    }
}

/// … and of those from one address without a known member.
pub const MAX_HALF_OPEN_STRANGER: usize = 16;

/// … and of those from one member address. Only handshakes older than [`HANDSHAKE_GRACE`] are cut
/// for this limit.
pub const MAX_HALF_OPEN_MEMBER: usize = 64;

/// How long a handshake is exempt from [`MAX_HALF_OPEN_MEMBER`].
pub(super) const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

/// The maximum number of remembered addresses where a member was found or a server authenticated.
pub(super) const MAX_MEMBER_ADDRESSES: usize = 64;

/// The maximum number of connected servers. Members may always connect.
pub(super) const MAX_PEERS: usize = 64;

/// The timeouts that follow from the Raft settings.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// The heartbeat interval.
    pub(super) heartbeat: Duration,
    /// The maximum election timeout. A control message that waited longer is not sent: its sender
    /// has long given up waiting for it.
    pub(super) stale_after: Duration,
    /// The timeout of TCP connection and handshake together.
    pub(super) connect: Duration,
    /// The timeout of the TCP connection alone.
    pub(super) tcp_connect: Duration,
    /// The maximum backoff between attempts.
    pub(super) backoff_max: Duration,
    silence: Duration,
    bulk_silence: Duration,
}

impl Timings {
    /// The timeouts for these Raft settings.
    pub fn of(config: &Config) -> Self {
        let heartbeat = Duration::from_micros(config.heartbeat_interval);
        let election = Duration::from_micros(config.election_timeout_max);
        let silence = (SILENT_HEARTBEATS * heartbeat).max(MIN_SILENCE);
        Self {
            heartbeat,
            stale_after: election,
            connect: (CONNECT_ELECTION_TIMEOUTS * election).max(MIN_CONNECT_TIMEOUT),
            tcp_connect: election.max(MIN_TCP_TIMEOUT),
            backoff_max: election.clamp(Duration::from_millis(250), Duration::from_secs(1)),
            silence,
            bulk_silence: (SILENT_HEARTBEATS * silence).max(MIN_BULK_SILENCE),
        }
    }

    /// How long a connection may stay without an answer before the sender reconnects.
    pub(super) fn silence(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Control => self.silence,
            Lane::Log | Lane::Snapshot => self.bulk_silence,
        }
    }
}
