//! Which servers there are and in which order to ask them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raft_core::types::NodeId;
use tokio::time::Instant;

use crate::config::Address;
use crate::http::members::MemberList;

/// The list of members is asked for again after this time, at the next request.
const REFRESH_AFTER: Duration = Duration::from_secs(30);

/// And at most so often, when something hints that it has changed.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// The servers that a client was given, and what it has learned since.
#[derive(Debug)]
pub(super) struct Servers {
    given: Vec<Address>,
    /// Whether others than those are asked.
    follow: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where clients reach the members; empty until they are learned.
    members: BTreeMap<NodeId, Address>,
    leader: Option<Address>,
    /// Who answered last.
    preferred: Option<Address>,
    /// When the members were last asked for.
    asked: Option<Instant>,
    /// Whether something hints that the members have changed.
    doubtful: bool,
}

impl Servers {
    pub(super) fn new(given: Vec<Address>, follow: bool) -> Self {
        Self { given, follow, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What it guards is right after every single statement.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask, in this order: for a change the leader, then who answered last, the members,
    /// and in the end those given at first that are no members any more, in case they know better.
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

    /// A server answered; `leader` is who leads, if the answer tells.
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

    /// An error named the leader.
    pub(super) fn leads(&self, leader: Address) {
        if self.follow {
            self.known().leader = Some(leader);
        }
    }

    /// A server could not be reached, or gave no answer.
    pub(super) fn failed(&self, server: &Address) {
        let mut known = self.known();
        known.doubtful = true;
        known.leader.take_if(|leader| leader == server);
        known.preferred.take_if(|preferred| preferred == server);
    }

    /// Whether it is time to ask for the members, which counts as done with this. Not before the
    /// first answer: whoever sends a single request needs no list.
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

    /// Takes over a list of members: who is not in it is forgotten.
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
    use super::*;
    use crate::config::Member;
    use crate::http::members::{MemberInfo, MemberRole};

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

    /// Guards the way to the leader, to servers that joined, and away from those that left.
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

    /// Guards tests and tools that speak of one server: it alone is asked.
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
