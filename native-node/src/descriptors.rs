//! How many file descriptors the system allows this process, and how many connections that leaves room
//! for. A server that has none left could not open the next file of its log.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::MAX_RESERVED;
use crate::transport::limits::MAX_HALF_OPEN;

/// What is left to everything but connections that anybody can make: the log, snapshots and
/// directories, the connections between servers, certificates and files of the web page, and the
/// runtime.
const RESERVED: u64 = 100;

/// A client's connection may need another one to the leader.
const PER_CLIENT: u64 = 2;

/// A place for who asks how the server is may have a connection that is just ending.
const PER_RESERVED: u64 = 2;

/// Fewer connections of clients are of no use.
const FEWEST: u64 = 8;

/// With fewer handshakes at once servers would cut each other's.
const FEWEST_HANDSHAKES: u64 = 12;

/// The least limit that leaves room for [`FEWEST`].
const LEAST: u64 = 136;

/// How many connections that anybody can make may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of clients.
    pub clients: usize,
    /// Of those who ask how the server is while all other places are taken.
    pub reserved: usize,
    /// Of servers, or of whoever says so, in the middle of their handshake.
    pub handshakes: usize,
}

impl Shares {
    /// Of a listener for so many clients, where no other one listens.
    pub const fn of_clients(clients: usize) -> Self {
        Self { clients, reserved: MAX_RESERVED, handshakes: 0 }
    }
}

/// Raises the soft limit to the hard one, and shares it out: as many clients as are `wanted`, if it
/// allows so many.
pub fn share(wanted: usize) -> anyhow::Result<Shares> {
    let limit = raise();
    let shares = shares(limit);
    ensure!(
        shares.clients as u64 >= FEWEST,
        "this process may have {limit} files open, and a server needs at least {LEAST}: raise the \
         limit (`ulimit -n`, or LimitNOFILE of the unit)"
    );
    let allowed = shares.clients;
    if allowed < wanted {
        tracing::warn!(
            limit,
            "this process may have so many files open that {allowed} connections of clients fit \
             instead of {wanted} (--max-connections): raise the limit (`ulimit -n`, or LimitNOFILE \
             of the unit) if you need more"
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

/// The limit that holds from now on.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let holds = if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        maximum
    } else {
        current
    };
    // `None` stands for no limit.
    holds.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the storage: who connects never gets the descriptors that it needs.
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
