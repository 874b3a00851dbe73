//! The known servers, and the order in which the client tries them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::address::Address;
use api::members::MemberList;
use raft_core::types::NodeId;
use tokio::time::Instant;

/// The list of members is refreshed after this time, at the next request.
const REFRESH_AFTER: Duration = Duration::from_secs(30);

/// The minimum time between refreshes, if the list may have changed.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// The servers that the user configured, and the servers that the client learned.
#[derive(Debug)]
pub(super) struct Servers {
    given: Vec<Address>,
    /// Whether the client also uses servers that it learned.
    follow: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The members' addresses for clients; empty until the client learns them.
    members: BTreeMap<NodeId, Address>,
    leader: Option<Address>,
    /// The server that answered last.
    preferred: Option<Address>,
    /// When the client last requested the list of members.
    asked: Option<Instant>,
    /// Whether the list of members may be outdated.
    doubtful: bool,
}

impl Servers {
    pub(super) fn new(given: Vec<Address>, follow: bool) -> Self {
        Self { given, follow, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // The data is valid after each statement, so a panic cannot corrupt it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers to try, in this order: the leader if `change`, the server that answered last,
    /// and the members. Given servers that are not members come last; their information may be
    /// newer.
    pub(super) fn order(&self, change: bool) -> Vec<Address> {
        if !self.follow {
            return self.given.clone();
        }
        let known = self.known();
        let is_member = |server: &&Address| {
            known.members.is_empty() || known.members.values().any(|member| member == *server)
        };
        let leader = known.leader.iter().filter(|_| change);
        let candidates = leader
            .chain(&known.preferred)
            .chain(self.given.iter().filter(is_member))
            .chain(known.members.values())
            .chain(&self.given);
        let mut order = Vec::new();
        for server in candidates {
            if !order.contains(server) {
                order.push(server.clone());
            }
        }
        order
    }

    /// Records that a server answered; `leader` is known if the response names it.
    pub(super) fn answered(&self, server: &Address, leader: Option<NodeId>, forwarded: bool) {
        if !self.follow {
            return;
        }
        let mut known = self.known();
        known.preferred = Some(server.clone());
        match leader {
            Some(_) if !forwarded => known.leader = Some(server.clone()),
            Some(id) => {
                let address = known.members.get(&id).cloned();
                known.doubtful |= address.is_none();
                known.leader = address;
            }
            None => {}
        }
    }

    /// Records the leader that an error response named.
    pub(super) fn leads(&self, leader: Address) {
        if self.follow {
            self.known().leader = Some(leader);
        }
    }

    /// Records that a server was unreachable or did not respond.
    pub(super) fn failed(&self, server: &Address) {
        let mut known = self.known();
        known.doubtful = true;
        known.leader.take_if(|leader| leader == server);
        known.preferred.take_if(|preferred| preferred == server);
    }

    /// Whether to request the list of members now; if so, records the request. Never due before the
    /// first response, because a client with a single request needs no list.
    pub(super) fn refresh_is_due(&self) -> bool {
        if !self.follow {
            return false;
        }
        let mut known = self.known();
        if known.preferred.is_none() && known.asked.is_none() {
            return false;
        }
        let pause = if known.doubtful { REFRESH_PAUSE } else { REFRESH_AFTER };
        let due = known.asked.is_none_or(|asked| asked.elapsed() >= pause);
        if due {
            known.asked = Some(Instant::now());
        }
        due
    }

    /// Replaces the list of members. Forgets servers that are not in the new list.
    pub(super) fn learn(&self, list: &MemberList) {
        let members: BTreeMap<NodeId, Address> = list
            .members
            .iter()
            .filter_map(|it| Some((it.id, it.addresses.as_ref()?.client.clone())))
            .collect();
        if members.is_empty() {
            return;
        }
        let mut known = self.known();
        let belongs = |server: &mut Address| !members.values().any(|member| member == server);
        known.preferred.take_if(belongs);
        known.leader = list.leader.and_then(|id| members.get(&id).cloned());
        known.members = members;
        known.doubtful = false;
    }
}

#[cfg(test)]
mod tests {
    use api::members::Member;
    use api::members::{MemberInfo, MemberRole};

    use super::*;

    fn address(port: u16) -> Address {
        format!("127.0.0.1:{port}").parse().expect("an address")
    }

    fn list(leader: u64, ids: &[u16]) -> MemberList {
        let info = |id: &u16| MemberInfo {
            id: NodeId(u64::from(*id)),
            role: MemberRole::Voter,
            addresses: Some(Member { peer: address(8000 + id), client: address(7000 + id) }),
        };
        let members = ids.iter().map(info).collect();
        MemberList { leader: Some(NodeId(leader)), joint: false, members }
    }

    fn ports(servers: &Servers, change: bool) -> Vec<u16> {
        servers.order(change).iter().map(Address::port).collect()
    }

    /// Guards that the client finds the leader and new servers, and avoids removed servers.
    #[test]
    fn the_order_follows_what_is_learned() {
        let servers = Servers::new(vec![address(7001), address(7002)], true);
        assert_eq!(ports(&servers, true), [7001, 7002]);
        assert!(!servers.refresh_is_due(), "nobody answered yet");
        servers.answered(&address(7002), Some(NodeId(3)), true);
        assert_eq!(ports(&servers, true), [7002, 7001], "the leader's address is not known");
        assert!(servers.refresh_is_due() && !servers.refresh_is_due());
        servers.learn(&list(3, &[2, 3, 4]));
        assert_eq!(ports(&servers, true), [7003, 7002, 7004, 7001]);
        assert_eq!(ports(&servers, false), [7002, 7003, 7004, 7001]);
        servers.failed(&address(7003));
        assert_eq!(ports(&servers, true), [7002, 7003, 7004, 7001]);
        servers.leads(address(7004));
        assert_eq!(ports(&servers, true), [7004, 7002, 7003, 7001]);
    }

    /// Guards tests and tools that need a specific server: the client uses no other.
    #[test]
    fn a_client_that_does_not_follow_asks_the_given_servers_alone() {
        let servers = Servers::new(vec![address(7001)], false);
        servers.answered(&address(7001), Some(NodeId(2)), true);
        servers.leads(address(7002));
        servers.learn(&list(2, &[1, 2]));
        assert_eq!(ports(&servers, true), [7001]);
        assert!(!servers.refresh_is_due());
    }
}
