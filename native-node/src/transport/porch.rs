//! Limits the connections with a pending handshake, and decides which is cut for a new connection.
//!
//! A new connection is always accepted. If there is no room, the oldest is cut: of the same address
//! if that address has its share, otherwise a stranger before a member. An honest handshake takes a
//! few round trips. A client that opens silent connections therefore takes room only from itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::limits::{
    HANDSHAKE_GRACE, MAX_HALF_OPEN_MEMBER, MAX_HALF_OPEN_STRANGER, MAX_MEMBER_ADDRESSES,
};

/// The pending connections, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Porch {
    most: usize,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// Addresses of members, the latest last.
    members: VecDeque<IpAddr>,
}

#[derive(Debug)]
struct Waiting {
    from: IpAddr,
    member: bool,
    since: Instant,
    /// Closes the connection.
    cut: CancellationToken,
}

impl Porch {
    /// Creates a porch for at most `most` connections. Each address is limited further.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, waiting: BTreeMap::new(), next: 0, members: VecDeque::new() }
    }

    /// Adds a connection and returns its number. `cut` ends it to make room for another one.
    pub(super) fn enter(&mut self, from: IpAddr, cut: CancellationToken, now: Instant) -> u64 {
        let member = self.members.contains(&from);
        let most = if member { MAX_HALF_OPEN_MEMBER } else { MAX_HALF_OPEN_STRANGER };
        let same = |waiting: &Waiting| waiting.from == from;
        let mut victim = None;
        if self.waiting.values().filter(|waiting| same(waiting)).count() >= most {
            let left_alone = |waiting: &Waiting| {
                member && now.saturating_duration_since(waiting.since) < HANDSHAKE_GRACE
            };
            victim = self.oldest(|waiting| same(waiting) && !left_alone(waiting));
        }
        if victim.is_none() && self.waiting.len() >= self.most {
            victim = self.oldest(|waiting| !waiting.member).or_else(|| self.oldest(|_| true));
        }
        if let Some(waiting) = victim.and_then(|victim| self.waiting.remove(&victim)) {
            waiting.cut.cancel();
        }
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, Waiting { from, member, since: now, cut });
        number
    }

    fn oldest(&self, meant: impl Fn(&Waiting) -> bool) -> Option<u64> {
        self.waiting.iter().find(|(_, waiting)| meant(waiting)).map(|(number, _)| *number)
    }

    /// Removes a connection whose handshake succeeded or failed.
    pub(super) fn leave(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// Records that a member has this address, or that a server authenticated from it.
    pub(super) fn know(&mut self, address: IpAddr) {
        if self.members.back() == Some(&address) {
            return;
        }
        self.members.retain(|known| *known != address);
        if self.members.len() >= MAX_MEMBER_ADDRESSES {
            self.members.pop_front();
        }
        self.members.push_back(address);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::descriptors::MAX_HALF_OPEN;

    fn address(number: usize) -> IpAddr {
        let [high, low] = u16::try_from(number).expect("a small number").to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    fn enter(porch: &mut Porch, from: usize, now: Instant) -> CancellationToken {
        let cut = CancellationToken::new();
        porch.enter(address(from), cut.clone(), now);
        cut
    }

    fn left(guests: &[CancellationToken]) -> usize {
        guests.iter().filter(|guest| !guest.is_cancelled()).count()
    }

    /// Guards members against strangers: any number of silent connections from any number of
    /// addresses does not end a member's handshake.
    #[test]
    fn strangers_never_cut_a_member() {
        let (mut porch, now) = (Porch::new(MAX_HALF_OPEN), Instant::now());
        (0..8).for_each(|member| porch.know(address(member)));
        let members: Vec<_> = (0..8).map(|member| enter(&mut porch, member, now)).collect();
        let later = now + HANDSHAKE_GRACE;
        let strangers: Vec<_> =
            (0..10_000).map(|number| enter(&mut porch, 100 + number % 500, later)).collect();
        assert_eq!(left(&members), members.len());
        assert_eq!(left(&members) + left(&strangers), MAX_HALF_OPEN);
        assert!(!strangers.last().expect("many").is_cancelled(), "the newest is in");
    }

    /// Guards all other addresses against one address.
    #[test]
    fn one_address_has_its_share() {
        let (mut porch, now) = (Porch::new(MAX_HALF_OPEN), Instant::now());
        let others: Vec<_> = (1..20).map(|other| enter(&mut porch, other, now)).collect();
        let many: Vec<_> = (0..1000).map(|_| enter(&mut porch, 0, now)).collect();
        assert_eq!((left(&others), left(&many)), (others.len(), MAX_HALF_OPEN_STRANGER));
        assert!(!many.last().expect("many").is_cancelled(), "the newest is in");
    }

    /// Guards a member when somebody else opens connections from its address without end. The
    /// member's handshake has its time, and silent connections are cut after it.
    #[test]
    fn a_handshake_from_a_members_address_has_its_time() {
        let (mut porch, start) = (Porch::new(MAX_HALF_OPEN), Instant::now());
        porch.know(address(0));
        let honest = enter(&mut porch, 0, start);
        let silent: Vec<_> = (0..150).map(|_| enter(&mut porch, 0, start)).collect();
        assert!(!honest.is_cancelled());
        assert_eq!(left(&silent), silent.len());
        let later = start + HANDSHAKE_GRACE + Duration::from_millis(1);
        let newer: Vec<_> = (0..151).map(|_| enter(&mut porch, 0, later)).collect();
        assert_eq!((left(&silent), left(&newer)), (0, newer.len()));
        assert_eq!(porch.waiting.len(), newer.len());
    }

    /// Guards memory: the numbers of connections and of remembered addresses are limited.
    #[test]
    fn all_is_bounded() {
        let (mut porch, now) = (Porch::new(MAX_HALF_OPEN), Instant::now());
        for number in 0..1000 {
            porch.know(address(number));
            enter(&mut porch, number, now);
        }
        assert_eq!(porch.waiting.len(), MAX_HALF_OPEN);
        assert_eq!(porch.members.len(), MAX_MEMBER_ADDRESSES);
        let number = porch.enter(address(0), CancellationToken::new(), now);
        porch.leave(number);
        assert_eq!(porch.waiting.len(), MAX_HALF_OPEN - 1);
    }
}
