//! Shares out the file descriptors that the system allows this process. Without a free descriptor,
//! a server could not open the next file of its log.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptors for everything except connections that anybody can open: log, snapshots,
/// directories, connections between servers, certificates, web page files and the runtime.
const RESERVED: u64 = 100;

/// The maximum number of slots for health checks, in addition to all other client connections.
pub const MAX_RESERVED: usize = 64;

/// The maximum number of pending handshakes at the peer address.
pub const MAX_HALF_OPEN: usize = 256;

/// A client's connection may need another connection to the leader.
const PER_CLIENT: u64 = 2;

/// A slot for health checks may also have a connection that is just ending.
const PER_RESERVED: u64 = 2;

/// The minimum number of client connections; a server with fewer is of no use.
const FEWEST: u64 = 8;

/// The minimum number of concurrent handshakes. With fewer, servers would cut each other's.
const FEWEST_HANDSHAKES: u64 = 12;

/// The smallest limit that leaves room for [`FEWEST`].
const LEAST: u64 = 136;

/// The maximum numbers of open connections that anybody can open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Client connections.
    pub clients: usize,
    /// Connections for health checks while all other slots are taken.
    pub reserved: usize,
    /// Pending handshakes at the peer address.
    pub handshakes: usize,
}

impl Shares {
    /// The shares of a listener for this many clients, without any other listener.
    pub const fn of_clients(clients: usize) -> Self {
        Self { clients, reserved: MAX_RESERVED, handshakes: 0 }
    }
}

/// Raises the soft limit to the hard limit and shares it out. Gives `wanted` client connections, or
/// fewer if the limit does not allow them.
pub fn share(wanted: usize) -> anyhow::Result<Shares> {
    let limit = raise();
    let shares = shares(limit);
    ensure!(
        shares.clients as u64 >= FEWEST,
        "this process may open {limit} files, but a server needs at least {LEAST}. Raise the \
         limit (`ulimit -n`, or LimitNOFILE of the systemd unit)"
    );
    let allowed = shares.clients;
    if allowed < wanted {
        tracing::warn!(
            limit,
            "the limit on open files allows {allowed} client connections instead of {wanted} \
             (--max-connections). If you need more, raise the limit (`ulimit -n`, or LimitNOFILE \
             of the systemd unit)"
        );
    }
    Ok(Shares { clients: wanted.min(allowed), ..shares })
}

fn shares(limit: u64) -> Shares {
    let room = limit.saturating_sub(RESERVED);
    let handshakes = (room / 8).clamp(FEWEST_HANDSHAKES, MAX_HALF_OPEN as u64);
    let reserved = (room / 8).min(MAX_RESERVED as u64);
    let clients = room.saturating_sub(handshakes + PER_RESERVED * reserved) / PER_CLIENT;
    let [clients, reserved, handshakes] =
        [clients, reserved, handshakes].map(|share| usize::try_from(share).unwrap_or(usize::MAX));
    Shares { clients, reserved, handshakes }
}

/// Raises the soft limit and returns the limit in effect.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let holds = if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        maximum
    } else {
        current
    };
    // `None` means no limit.
    holds.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the storage: connections never get the descriptors that it needs.
    #[test]
    fn connections_leave_room_for_the_rest() {
        for limit in [LEAST, 140, 200, 1024, 1 << 20, u64::MAX] {
            let Shares { clients, reserved, handshakes } = shares(limit);
            let [clients, reserved, handshakes] =
                [clients, reserved, handshakes].map(|it| it as u64);
            assert!(clients >= FEWEST && reserved > 0, "{limit}");
            let all = PER_CLIENT * clients + PER_RESERVED * reserved + handshakes;
            assert!(all <= limit - RESERVED, "{limit}");
        }
        for limit in [0, 99, 100, LEAST - 1] {
            assert!((shares(limit).clients as u64) < FEWEST, "{limit}");
        }
        let usual = shares(1 << 20);
        assert_eq!((usual.reserved, usual.handshakes), (MAX_RESERVED, MAX_HALF_OPEN));
        assert_eq!(share(1).expect("tests may open files").clients, 1);
    }
}
