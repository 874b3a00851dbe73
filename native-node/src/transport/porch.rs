//! Connections whose handshake is not finished: how many there may be, and which of them goes when
//! another one comes.
//!
//! A newcomer always gets in. Where there is no room the oldest is cut: of the newcomer's own
//! address if that has its share, else a stranger before a member. An honest handshake is over
//! within a few round trips. So whoever opens connections and says nothing takes room from itself
//! alone, as often as it opens them anew.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::limits::{
    HANDSHAKE_GRACE, MAX_HALF_OPEN_MEMBER, MAX_HALF_OPEN_STRANGER, MAX_MEMBER_ADDRESSES,
};

/// The connections, in the order in which they came.
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
    /// Ends it.
    cut: CancellationToken,
}

impl Porch {
    /// For so many connections, of which one address gets its share.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, waiting: BTreeMap::new(), next: 0, members: VecDeque::new() }
    }

    /// Takes a connection in, which `cut` ends when it has to go for another one. Gives its number.
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

    /// A handshake is over, one way or the other.
    pub(super) fn leave(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// A member is found at this address, or a server proved from there who it is.
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

    use super::super::limits::MAX_HALF_OPEN;
    use super::*;

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

    /// Guards members against strangers: however many connect and say nothing, from however many
    /// addresses, a member's handshake goes on.
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

    /// Guards everybody else against one address.
    #[test]
    fn one_address_has_its_share() {
        let (mut porch, now) = (Porch::new(MAX_HALF_OPEN), Instant::now());
        let others: Vec<_> = (1..20).map(|other| enter(&mut porch, other, now)).collect();
        let many: Vec<_> = (0..1000).map(|_| enter(&mut porch, 0, now)).collect();
        assert_eq!((left(&others), left(&many)), (others.len(), MAX_HALF_OPEN_STRANGER));
        assert!(!many.last().expect("many").is_cancelled(), "the newest is in");
    }

    /// Guards a member at whose address somebody else opens connections without end: its handshake
    /// has its time, and what is silent is cut after that.
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

    /// Guards memory: neither connections nor addresses are remembered without bound.
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
