//! Every bound of the transport, in one place: time, bytes and connections.
//!
//! One peer costs at most, in bytes of this server's memory:
//!
//! | where | bound |
//! | --- | --- |
//! | messages that wait to be sent, on all lanes | [`MAX_BULK_BYTES`] + [`MAX_CONTROL_BYTES`] a lane |
//! | the frame that is being sent, on each bulk lane | [`MAX_FRAME_BYTES`](super::frame::MAX_FRAME_BYTES) |
//! | the frame that is being received | [`frame::max_bytes`](super::frame::max_bytes) of its lane |
//! | messages that were received and wait for the driver | [`max_undelivered`] of their lane |
//!
//! Connections without a proven peer hold a greeting at most, and there are [`MAX_HALF_OPEN`].

use std::time::Duration;

use raft_core::config::{Config, PEER_QUEUE_BYTES};

use super::Lane;

/// The shortest time in which a connection and a handshake must be made, together.
const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The handshake takes this many election timeouts at most, if that is longer: it is five round
/// trips, seven with TLS, and a round trip is shorter than an election timeout.
const CONNECT_ELECTION_TIMEOUTS: u32 = 8;

/// The shortest time after which a SYN that was not answered is given up for a new one.
const MIN_TCP_TIMEOUT: Duration = Duration::from_millis(500);

/// How long one piece of a frame may take to be taken by the system.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an otherwise quiet connection is tried.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);

/// A connection on which nothing came in for this long is dead, for the side that accepted it.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The system gives a connection up when it sent for this long without an acknowledgement.
pub(super) const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest silence after which a connection that was sent to is made anew. Shorter pauses are
/// those of a busy machine.
const MIN_SILENCE: Duration = Duration::from_millis(500);

/// The same for a lane of bulk, whose answers wait behind what it sends.
const MIN_BULK_SILENCE: Duration = Duration::from_secs(2);

/// So many heartbeats without an answer are a silence.
const SILENT_HEARTBEATS: u32 = 4;

/// The pause after a failed attempt starts here, and doubles up to [`Timings::backoff_max`].
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// A connection that lived shorter does not end the growth of the pause.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(1);

/// For how long a connection to a server that left stays: the last words to it may still wait.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted, most likely for want of file descriptors,
/// starts here …
pub(super) const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// … and doubles up to here.
pub(super) const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// At most one log line about those who are refused in this time.
pub(super) const LOG_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of entries or of a snapshot that wait for one peer on one lane at most, unless a single
/// message is larger. The core keeps less than this under way to one follower.
pub const MAX_BULK_BYTES: usize = PEER_QUEUE_BYTES;

/// Bytes of all other messages that wait for one peer on one lane at most.
pub const MAX_CONTROL_BYTES: usize = 256 << 10;

/// Bytes of one connection that the driver has not worked off yet, at most and beside one frame;
/// then the connection is not read, and the other side notices by TCP's means.
pub(super) const fn max_undelivered(lane: Lane) -> u32 {
    match lane {
        Lane::Log | Lane::Snapshot => 32 << 20,
        Lane::Control => 2 << 20,
    }
}

/// Connections in the middle of their handshake at most.
pub const MAX_HALF_OPEN: usize = 256;

/// … and from one address that no member is known by.
pub const MAX_HALF_OPEN_STRANGER: usize = 16;

/// … and from one address that a member is known by, of those that are older than
/// [`HANDSHAKE_GRACE`].
pub const MAX_HALF_OPEN_MEMBER: usize = 64;

/// For so long a handshake from a member's address is left alone.
pub(super) const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

/// Addresses that are remembered because a member was found there, or proved who it is.
pub(super) const MAX_MEMBER_ADDRESSES: usize = 64;

/// Servers that are connected to this one at once, at most. Members always find room.
pub(super) const MAX_PEERS: usize = 64;

/// What follows from the protocol's timings.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// How often a leader sends heartbeats.
    pub(super) heartbeat: Duration,
    /// The longest election timeout. A message of the control lane that waited longer is not sent:
    /// its sender has long decided without it.
    pub(super) stale_after: Duration,
    /// How long a TCP connection and a handshake may take, together.
    pub(super) connect: Duration,
    /// How long TCP alone may take.
    pub(super) tcp_connect: Duration,
    /// The longest pause between attempts.
    pub(super) backoff_max: Duration,
    silence: Duration,
    bulk_silence: Duration,
}

impl Timings {
    /// For servers that are run with these figures.
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

    /// After how long without an answer a connection that was sent to is made anew.
    pub(super) fn silence(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Control => self.silence,
            Lane::Log | Lane::Snapshot => self.bulk_silence,
        }
    }
}
