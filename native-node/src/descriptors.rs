//! How many file descriptors the system allows this process, and how many clients that leaves room
//! for. A server that has none left could not open the next file of its log.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is left to everything but clients: the log, snapshots and directories, the other servers'
/// connections, certificates and files of the web page, and the runtime.
const RESERVED: u64 = 100;

/// A client's connection may need another one to the leader.
const PER_CLIENT: u64 = 2;

/// Fewer connections of clients are of no use.
const FEWEST: u64 = 8;

/// Raises the soft limit to the hard one, and gives the connections of clients that may be open at
/// once: as many as are `wanted`, if the limit allows so many.
pub fn client_connections(wanted: usize) -> anyhow::Result<usize> {
    let limit = raise();
    let allowed = allowed(limit);
    ensure!(
        allowed >= FEWEST,
        "this process may have {limit} files open, and a server needs at least {}: raise the limit \
         (`ulimit -n`, or LimitNOFILE of the unit)",
        RESERVED + PER_CLIENT * FEWEST
    );
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if allowed < wanted {
        tracing::warn!(
            limit,
            "this process may have so many files open that {allowed} connections of clients fit \
             instead of {wanted} (--max-connections): raise the limit (`ulimit -n`, or LimitNOFILE \
             of the unit) if you need more"
        );
    }
    Ok(wanted.min(allowed))
}

const fn allowed(limit: u64) -> u64 {
    limit.saturating_sub(RESERVED) / PER_CLIENT
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

    /// Guards the storage: clients never get the descriptors that it needs.
    #[test]
    fn clients_leave_room_for_the_rest() {
        for limit in [0, 99, 100, 116, 200, 1024, 1 << 20, u64::MAX] {
            let clients = allowed(limit);
            assert!(clients == 0 || PER_CLIENT * clients + RESERVED <= limit, "{limit}");
        }
        assert_eq!(allowed(200), 50);
        let all = client_connections(1).expect("tests may open files");
        assert_eq!(all, 1);
    }
}
