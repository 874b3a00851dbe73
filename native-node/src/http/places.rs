//! Limits client connections, and chooses which connection to close when there is no place left.
//!
//! **Invariant:** Idle clients do not keep others out. When all places are taken, the connection
//! that has waited longest without a request is closed, unless it has shown an API token. A few
//! reserved places admit health checks, metrics, and requests that other servers forward. Other
//! requests are rejected there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::descriptors::Shares;
use crate::metrics::Connections;

/// How long a connection in a reserved place may stay before its first request. Otherwise fast
/// reconnects would evict all clients. While a client waits for a place, it can send its request.
const TURN: Duration = Duration::from_millis(10);

/// A connection that was opened or answered within this time is not closed.
const MOMENT: Duration = Duration::from_secs(1);

/// The number of connections that are chosen at once to make room.
const CHOSEN: usize = 64;

/// How soon after an empty choice the next choice is made.
const NEXT_CHOICE: Duration = Duration::from_millis(50);

/// What a connection does, in the lowest bits of its state. The higher bits are the start time in
/// µs.
const SILENT: u64 = 0;
const BUSY: u64 = 1;
const IDLE: u64 = 2;
/// Idle, and the client has shown a known API token.
const KNOWN: u64 = 3;

/// The places of one listener.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Room>);

#[derive(Debug)]
struct Room {
    most: usize,
    reserved: usize,
    /// A permit for each connection, including those that are being closed to make room.
    descriptors: Arc<Semaphore>,
    began: Instant,
    seats: Mutex<Seats>,
    /// Requests that other servers forward may take half of the reserved places.
    for_servers: Arc<Semaphore>,
    connections: Connections,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, Arc<Line>>,
    reserved: BTreeMap<u64, Arc<Line>>,
    /// The connections to close next.
    chosen: VecDeque<u64>,
    chosen_at: Option<Instant>,
}

/// The shared state of a connection.
#[derive(Debug)]
struct Line {
    state: AtomicU64,
    gives_way: CancellationToken,
}

/// A connection's place; it is free again when this is dropped.
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

    /// Waits until another connection may be open: at most until a closing connection has ended.
    pub(super) async fn descriptor(&self) -> OwnedSemaphorePermit {
        let descriptors = Arc::clone(&self.0.descriptors);
        descriptors.acquire_owned().await.expect("it is never closed")
    }

    /// A place for a connection from this address, if there is one. Waits until a connection in a
    /// reserved place has had its [`TURN`].
    pub(super) async fn take(
        &self,
        from: IpAddr,
        descriptor: OwnedSemaphorePermit,
    ) -> Option<Arc<Seat>> {
        let (number, line, is_reserved) = loop {
            match self.0.enter() {
                Entry::Place { number, line, is_reserved } => break (number, line, is_reserved),
                Entry::After(wait) => sleep(wait).await,
                Entry::Refused => return None,
            }
        };
        self.0.connections.open.inc();
        let room = Arc::clone(&self.0);
        let seat = Seat { room, number, line, from, is_reserved, _descriptor: descriptor };
        Some(Arc::new(seat))
    }
}

/// The outcome for a new connection.
enum Entry {
    Place {
        number: u64,
        line: Arc<Line>,
        is_reserved: bool,
    },
    /// There may be a place after this time.
    After(Duration),
    /// All reserved places are busy.
    Refused,
}

impl Room {
    /// Takes a place, and closes another connection for it if necessary.
    fn enter(&self) -> Entry {
        let now = self.now();
        let mut seats = self.seats();
        let is_reserved = seats.taken.len() >= self.most && !seats.make_room(now);
        if is_reserved && seats.reserved.len() >= self.reserved {
            let waiting = seats.reserved.iter();
            let waiting = waiting.filter_map(|(number, line)| Some((line.turn(now)?, *number)));
            match waiting.min() {
                None => return Entry::Refused,
                Some(((turn, _), _)) if !turn.is_zero() => return Entry::After(turn),
                Some((_, number)) => {
                    let line = seats.reserved.remove(&number).expect("it was just found");
                    line.gives_way.cancel();
                }
            }
        }
        let number = seats.next;
        seats.next += 1;
        let line = Arc::new(Line {
            state: AtomicU64::new(now << 2 | SILENT),
            gives_way: CancellationToken::new(),
        });
        let places = if is_reserved { &mut seats.reserved } else { &mut seats.taken };
        places.insert(number, Arc::clone(&line));
        Entry::Place { number, line, is_reserved }
    }

    /// µs since the listener began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX >> 2)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nothing panics under this lock, and the data is consistent in any case.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Closes a chosen connection; returns whether a candidate existed.
    fn make_room(&mut self, now: u64) -> bool {
        loop {
            while let Some(number) = self.chosen.pop_front() {
                let waits = |line: &Arc<Line>| line.waits(now).is_some();
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

    /// Chooses the connections that have waited longest, those without any request first.
    fn choose(&mut self, now: u64) {
        let waiting = self.taken.iter();
        let waiting = waiting.filter_map(|(number, line)| {
            let (activity, long) = line.waits(now)?;
            Some((activity, Reverse(long), *number))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        self.chosen = waiting.into_iter().map(|(.., number)| number).take(CHOSEN).collect();
    }
}

impl Line {
    /// What the connection does, and for how long.
    fn state(&self, now: u64) -> (u64, Duration) {
        let state = self.state.load(Relaxed);
        (state & 3, Duration::from_micros(now.saturating_sub(state >> 2)))
    }

    /// How long the connection may stay in a reserved place, and whether it has sent no request
    /// yet; `None` while it is served. After an answer it may not stay.
    fn turn(&self, now: u64) -> Option<(Duration, bool)> {
        match self.state(now) {
            (BUSY, _) => None,
            (SILENT, long) => Some((TURN.saturating_sub(long), true)),
            _ => Some((Duration::ZERO, false)),
        }
    }

    /// What the connection does and for how long, if it may be closed to make room.
    fn waits(&self, now: u64) -> Option<(u64, Duration)> {
        let (activity, long) = self.state(now);
        (long >= MOMENT && matches!(activity, SILENT | IDLE)).then_some((activity, long))
    }
}

impl Seat {
    /// The client's IP address.
    pub(super) const fn from(&self) -> IpAddr {
        self.from
    }

    /// Whether the place is a reserved place.
    pub(super) const fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Whether no request has arrived.
    pub(super) fn is_silent(&self) -> bool {
        self.line.state.load(Relaxed) & 3 == SILENT
    }

    /// Returns when the connection must close to make room.
    pub(super) async fn gives_way(&self) {
        self.line.gives_way.cancelled().await;
    }

    /// Marks the connection as busy: a request begins.
    pub(super) fn is_busy(&self) {
        self.line.state.store(BUSY, Relaxed);
    }

    /// Marks the connection as idle after an answer; `known` if the request had a known token.
    pub(super) fn is_idle(&self, known: bool) {
        let activity = if known { KNOWN } else { IDLE };
        self.line.state.store(self.room.now() << 2 | activity, Relaxed);
    }

    /// Whether no request is pending.
    pub(super) fn waits(&self) -> bool {
        self.line.state.load(Relaxed) & 3 != BUSY
    }

    /// Takes room in a reserved place for a request that another server forwards.
    pub(super) fn for_server(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room.for_servers).try_acquire_owned().ok()
    }

    /// Counts a request that was rejected because there was no room.
    pub(super) fn turned_away(&self) {
        self.room.connections.refused("limit");
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.room.seats();
        // A connection that was told to close is already removed.
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

    async fn take(places: &Places) -> Option<Arc<Seat>> {
        let descriptor = places.descriptor().await;
        places.take(HERE, descriptor).await
    }

    /// Pretends that the connection has done this for this long.
    fn since(seat: &Seat, activity: u64, long: Duration) {
        let long = u64::try_from(long.as_micros()).expect("short");
        seat.line.state.store((seat.room.now() - long) << 2 | activity, Relaxed);
    }

    /// A listener that started long ago.
    fn old(most: usize) -> Places {
        let Places(room) = places(most);
        let mut room = Arc::into_inner(room).expect("nobody else has it");
        room.began = Instant::now().checked_sub(100 * MOMENT).expect("the machine runs for long");
        Places(Arc::new(room))
    }

    /// Guards which connections are closed: those without any request first, longest first, then
    /// idle connections. A connection that is served, was recently served, or has shown a token
    /// stays.
    #[tokio::test]
    async fn the_silent_give_way() {
        let places = old(5);
        let take = async || take(&places).await.expect("a place");
        let mut seats = Vec::new();
        for _ in 0..5 {
            seats.push(take().await);
        }
        let gone = |number: usize| seats[number].line.gives_way.is_cancelled();
        since(&seats[0], IDLE, 50 * MOMENT);
        since(&seats[1], SILENT, 2 * MOMENT);
        since(&seats[2], SILENT, 3 * MOMENT);
        seats[3].is_busy();
        since(&seats[4], KNOWN, 90 * MOMENT);
        let mut late = Vec::new();
        for expected in [2, 1, 0] {
            assert!(!gone(expected));
            late.push(take().await);
            assert!(gone(expected) && !late.iter().any(|seat| seat.is_reserved()), "{expected}");
        }
        assert!(take().await.is_reserved(), "all others are busy, known or new");
        assert!(!gone(3) && !gone(4));
        drop(seats);
        assert!(!take().await.is_reserved(), "places come back");
    }

    /// Guards reserved places: they are few, and connections there are closed after their turn, or
    /// at once after an answer.
    #[tokio::test]
    async fn reserved_places_are_few() {
        let places = places(1);
        let first = take(&places).await.expect("a place");
        let mut reserved = Vec::new();
        for _ in 0..crate::descriptors::MAX_RESERVED {
            reserved.push(take(&places).await.expect("a place"));
        }
        assert!(!first.is_reserved() && reserved.iter().all(|seat| seat.is_reserved()));
        let gone = |number: usize| reserved[number].line.gives_way.is_cancelled();
        reserved[5].is_idle(false);
        let more = take(&places).await.expect("a place");
        assert!(gone(5) && !gone(0) && more.is_reserved());
        let begun = Instant::now();
        let last = take(&places).await.expect("a place");
        assert!(gone(0) && !gone(1), "the first one had its turn");
        since(&reserved[1], SILENT, Duration::ZERO);
        reserved[2..].iter().chain([&more, &last]).for_each(|seat| seat.is_busy());
        let next = take(&places).await.expect("a place");
        assert!(gone(1) && begun.elapsed() >= TURN, "it is waited for");
        next.is_busy();
        assert!(take(&places).await.is_none(), "all are served");
        drop(reserved);
        assert!(take(&places).await.is_some());
    }
}
