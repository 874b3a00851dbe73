//! Who has a place among the client connections, and who gives way when there is none left.
//!
//! Whoever says nothing keeps nobody out: when all places are taken, the connection that has waited
//! longest without a request gives way, unless it has shown a token. A few more places let in those
//! who ask how the server is, and requests that other servers pass on; anybody else is told there
//! that there is no room.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::descriptors::Shares;
use crate::metrics::Connections;

/// Places for those who ask how the server is, beside all others, at most.
pub const MAX_RESERVED: usize = 64;

/// A connection that came or was answered a moment ago does not give way.
const MOMENT: Duration = Duration::from_secs(1);

/// Connections that are chosen at once to give way.
const CHOSEN: usize = 64;

/// How soon after a choice of nobody the next one is made.
const NEXT_CHOICE: Duration = Duration::from_millis(50);

/// What a connection does, in the lowest bits of its state; above is since when, in µs.
const SILENT: u64 = 0;
const BUSY: u64 = 1;
const IDLE: u64 = 2;
/// As idle, and it has shown a token.
const KNOWN: u64 = 3;

/// The places of one listener.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Room>);

#[derive(Debug)]
struct Room {
    most: usize,
    reserved: usize,
    /// One for each connection, those included that are ending because they gave way.
    descriptors: Arc<Semaphore>,
    began: Instant,
    seats: Mutex<Seats>,
    /// Half of the reserved places may be taken by requests that other servers pass on.
    for_servers: Arc<Semaphore>,
    connections: Connections,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, Arc<Line>>,
    reserved: BTreeMap<u64, Arc<Line>>,
    /// Who is to give way next.
    chosen: VecDeque<u64>,
    chosen_at: Option<Instant>,
}

/// A connection as the others' places see it.
#[derive(Debug)]
struct Line {
    state: AtomicU64,
    gives_way: CancellationToken,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<Room>,
    number: u64,
    line: Arc<Line>,
    from: IpAddr,
    is_reserved: bool,
    _descriptor: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(shares: Shares, connections: Connections) -> Self {
        let Shares { clients: most, reserved, .. } = shares;
        let (began, seats) = (Instant::now(), Mutex::default());
        let all = most.saturating_add(2 * reserved).min(Semaphore::MAX_PERMITS);
        let descriptors = Arc::new(Semaphore::new(all));
        let for_servers = Arc::new(Semaphore::new(reserved / 2));
        Self(Arc::new(Room { most, reserved, descriptors, began, seats, for_servers, connections }))
    }

    /// Waits until one more connection may be open: at most until one that gave way has ended.
    pub(super) async fn descriptor(&self) -> OwnedSemaphorePermit {
        let descriptors = Arc::clone(&self.0.descriptors);
        descriptors.acquire_owned().await.expect("it is never closed")
    }

    /// A place for a connection from this address, if there is one.
    pub(super) fn take(&self, from: IpAddr, descriptor: OwnedSemaphorePermit) -> Option<Arc<Seat>> {
        let room = &self.0;
        let now = room.now();
        let mut seats = room.seats();
        let line = Arc::new(Line {
            state: AtomicU64::new(now << 2 | SILENT),
            gives_way: CancellationToken::new(),
        });
        let is_reserved = seats.taken.len() >= room.most && !seats.make_room(now);
        if is_reserved && seats.reserved.len() >= room.reserved {
            // Who is answered there has nothing more to say.
            let waits = |(_, line): &(&u64, &Arc<Line>)| line.state.load(Relaxed) & 3 != BUSY;
            let number = *seats.reserved.iter().find(waits)?.0;
            seats.reserved.remove(&number)?.gives_way.cancel();
        }
        let number = seats.next;
        seats.next += 1;
        let places = if is_reserved { &mut seats.reserved } else { &mut seats.taken };
        places.insert(number, Arc::clone(&line));
        drop(seats);
        room.connections.open.inc();
        let room = Arc::clone(room);
        let seat = Seat { room, number, line, from, is_reserved, _descriptor: descriptor };
        Some(Arc::new(seat))
    }
}

impl Room {
    /// µs since the listener began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX >> 2)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nothing in here panics; and what is noted is whole in any case.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Lets somebody give way; whether there was anybody.
    fn make_room(&mut self, now: u64) -> bool {
        loop {
            while let Some(number) = self.chosen.pop_front() {
                let waits = |line: &Arc<Line>| line.waits_since(now).is_some();
                if self.taken.get(&number).is_some_and(waits)
                    && let Some(line) = self.taken.remove(&number)
                {
                    line.gives_way.cancel();
                    return true;
                }
            }
            if self.chosen_at.is_some_and(|at| at.elapsed() < NEXT_CHOICE) {
                return false;
            }
            self.choose(now);
            if self.chosen.is_empty() {
                self.chosen_at = Some(Instant::now());
                return false;
            }
        }
    }

    /// Chooses those who have waited longest, the silent ones first.
    fn choose(&mut self, now: u64) {
        let waiting = self.taken.iter();
        let waiting = waiting.filter_map(|(number, line)| Some((line.waits_since(now)?, *number)));
        let mut waiting: Vec<((u64, u64), u64)> = waiting.collect();
        waiting.sort_unstable();
        self.chosen = waiting.into_iter().map(|(_, number)| number).take(CHOSEN).collect();
    }
}

impl Line {
    /// What it does and since when, if it may give way.
    fn waits_since(&self, now: u64) -> Option<(u64, u64)> {
        let state = self.state.load(Relaxed);
        let (since, deed) = (state >> 2, state & 3);
        let long = Duration::from_micros(now.saturating_sub(since)) >= MOMENT;
        (long && matches!(deed, SILENT | IDLE)).then_some((deed, since))
    }
}

impl Seat {
    /// Where the connection comes from.
    pub(super) const fn from(&self) -> IpAddr {
        self.from
    }

    /// Whether it is one of those for who asks how the server is.
    pub(super) const fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Whether no request has come.
    pub(super) fn is_silent(&self) -> bool {
        self.line.state.load(Relaxed) & 3 == SILENT
    }

    /// Ends when the connection is to give way.
    pub(super) async fn gives_way(&self) {
        self.line.gives_way.cancelled().await;
    }

    /// A request begins.
    pub(super) fn is_busy(&self) {
        self.line.state.store(BUSY, Relaxed);
    }

    /// It is answered; `known` if it showed a token that is known.
    pub(super) fn is_idle(&self, known: bool) {
        let deed = if known { KNOWN } else { IDLE };
        self.line.state.store(self.room.now() << 2 | deed, Relaxed);
    }

    /// Whether it does nothing at present.
    pub(super) fn waits(&self) -> bool {
        self.line.state.load(Relaxed) & 3 != BUSY
    }

    /// Room in a reserved place for a request that another server passes on.
    pub(super) fn for_server(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room.for_servers).try_acquire_owned().ok()
    }

    /// Counts that there was no room.
    pub(super) fn turned_away(&self) {
        self.room.connections.refused("limit");
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.room.seats();
        // Whoever gave way is not there any more.
        seats.taken.remove(&self.number);
        seats.reserved.remove(&self.number);
        drop(seats);
        self.room.connections.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn places(clients: usize) -> Places {
        Places::new(Shares::of_clients(clients), Connections::default())
    }

    fn take(places: &Places) -> Option<Arc<Seat>> {
        let descriptors = Arc::clone(&places.0.descriptors);
        places.take(HERE, descriptors.try_acquire_owned().expect("a descriptor"))
    }

    /// Makes it look as if the connection had done this for so long.
    fn since(seat: &Seat, deed: u64, long: Duration) {
        let long = u64::try_from(long.as_micros()).expect("short");
        seat.line.state.store((seat.room.now() - long) << 2 | deed, Relaxed);
    }

    /// A listener that began long ago.
    fn old(most: usize) -> Places {
        let Places(room) = places(most);
        let mut room = Arc::into_inner(room).expect("nobody else has it");
        room.began = Instant::now().checked_sub(100 * MOMENT).expect("the machine runs for long");
        Places(Arc::new(room))
    }

    /// Guards those who have something to say: the silent give way to them, longest first, then
    /// those without a request; never who is served, was a moment ago, or has shown a token.
    #[test]
    fn the_silent_give_way() {
        let places = old(5);
        let take = || take(&places).expect("a place");
        let seats: Vec<_> = (0..5).map(|_| take()).collect();
        let gone = |number: usize| seats[number].line.gives_way.is_cancelled();
        since(&seats[0], IDLE, 50 * MOMENT);
        since(&seats[1], SILENT, 2 * MOMENT);
        since(&seats[2], SILENT, 3 * MOMENT);
        seats[3].is_busy();
        since(&seats[4], KNOWN, 90 * MOMENT);
        let mut late = Vec::new();
        for expected in [2, 1, 0] {
            assert!(!gone(expected));
            late.push(take());
            assert!(gone(expected) && !late.iter().any(|seat| seat.is_reserved()), "{expected}");
        }
        assert!(take().is_reserved(), "all others are busy, known or new");
        assert!(!gone(3) && !gone(4));
        drop(seats);
        assert!(!take().is_reserved(), "places come back");
    }

    /// Guards the places of who asks how the server is: they are few, and the silent give way there
    /// at once.
    #[test]
    fn reserved_places_are_few() {
        let places = places(1);
        let first = take(&places).expect("a place");
        let reserved: Vec<_> = (0..MAX_RESERVED).map(|_| take(&places).expect("a place")).collect();
        assert!(!first.is_reserved() && reserved.iter().all(|seat| seat.is_reserved()));
        let more = take(&places).expect("a place");
        assert!(reserved[0].line.gives_way.is_cancelled() && more.is_reserved());
        for seat in reserved.iter().chain([&more]) {
            seat.is_busy();
        }
        assert!(take(&places).is_none());
        drop(reserved);
        assert!(take(&places).is_some());
    }
}
