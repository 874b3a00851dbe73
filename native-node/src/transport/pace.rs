//! Limits the bulk data in flight on one connection to what the path carries without a queue.
//!
//! Heartbeats have their own connection, but share the path with bulk data. Bulk data in a network
//! queue delays them, and a path can queue seconds of data. Bulk data is therefore sent in pieces,
//! and a window limits the unconfirmed bytes. The window follows the delay, as in LEDBAT (RFC
//! 6817): it grows while answers take about as long as on the idle path. It shrinks when they take
//! longer by more than a [`Pace::target`].

use std::time::{Duration, Instant};

/// The window of a new connection, in bytes: half a heartbeat interval at 1 Mbit/s.
const INITIAL_WINDOW: u64 = 4 << 10;

/// The smallest window, in bytes. At 256 kbit/s it takes 64 ms.
const MIN_WINDOW: u64 = 2 << 10;

/// The largest window, in bytes. At a round trip of 100 ms it allows 40 MB/s.
const MAX_WINDOW: u64 = 4 << 20;

/// Up to this window, in bytes, each piece is confirmed separately. Otherwise a narrow path would
/// alternate between sending and confirming.
const SMALL_WINDOW: u64 = 16 << 10;

/// The smallest piece of a frame, in bytes.
const MIN_PIECE: u64 = 512;

/// The largest piece of a frame, in bytes.
const MAX_PIECE: u64 = 64 << 10;

/// How long a round trip counts as that of the idle path. Then the path is left idle for a moment
/// and measured again, because routes change.
const BASE_LIFETIME: Duration = Duration::from_secs(10);

/// The send window of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// How much longer than on the idle path an answer may take.
    target: Duration,
    window: u64,
    /// Bytes sent and confirmed since the connection was made.
    sent: u64,
    confirmed: u64,
    /// The value of `sent` at the last ping.
    pinged: u64,
    /// Whether a piece had to wait for the window since its last change.
    limited: bool,
    /// The value of `sent` at the last change of the window. Earlier data does not measure it.
    changed_at: u64,
    base: Base,
}

/// The round trip of the idle path.
#[derive(Debug)]
struct Base {
    /// The shortest round trip in the current lifetime and in the previous one.
    current: Duration,
    previous: Duration,
    began: Instant,
    /// The window to restore after the path was measured.
    resume: Option<u64>,
}

impl Pace {
    pub(super) const fn new(target: Duration, now: Instant) -> Self {
        let base =
            Base { current: Duration::MAX, previous: Duration::MAX, began: now, resume: None };
        Self {
            target,
            window: INITIAL_WINDOW,
            sent: 0,
            confirmed: 0,
            pinged: 0,
            limited: false,
            changed_at: 0,
            base,
        }
    }

    /// How many bytes of a frame with `left` remaining bytes may be sent now: one piece, or none.
    pub(super) fn piece(&mut self, left: usize) -> usize {
        let piece = (self.window / 8).clamp(MIN_PIECE, MAX_PIECE).min(left as u64);
        if self.sent - self.confirmed + piece > self.window {
            self.limited = true;
            return 0;
        }
        usize::try_from(piece).unwrap_or(left)
    }

    /// Records sent bytes. Returns whether a ping must follow.
    pub(super) fn sent(&mut self, bytes: usize) -> bool {
        self.sent += bytes as u64;
        let due = self.window <= SMALL_WINDOW || self.sent - self.pinged >= self.window / 4;
        due && self.sent - self.confirmed >= self.window / 2
    }

    /// Records a ping. Returns the number that it carries and that its answer confirms.
    pub(super) const fn ping(&mut self) -> u64 {
        self.pinged = self.sent;
        self.sent
    }

    /// Whether a ping must be sent before waiting, because no ping in flight would confirm all
    /// bytes.
    pub(super) const fn owes_ping(&self) -> bool {
        self.pinged < self.sent
    }

    /// Processes the answer to a ping.
    pub(super) fn confirmed(&mut self, number: u64, round_trip: Duration, now: Instant) {
        // A peer is not trusted to confirm only what was sent.
        self.confirmed = self.confirmed.max(number.min(self.sent));
        self.base.current = self.base.current.min(round_trip);
        if number <= self.changed_at {
            return;
        }
        if let Some(window) = self.base.resume.take() {
            self.set_window(window);
        } else if now.saturating_duration_since(self.base.began) >= BASE_LIFETIME {
            let base = &mut self.base;
            (base.previous, base.current, base.began) = (base.current, round_trip, now);
            base.resume = Some(self.window);
            self.set_window(MIN_WINDOW);
        } else {
            let base = self.base.current.min(self.base.previous);
            let delay = round_trip.saturating_sub(base);
            if delay > self.target {
                // The data in flight is bandwidth times round trip, so this leaves a queue of half
                // the target.
                let (wanted, took) = ((base + self.target / 2).as_micros(), round_trip.as_micros());
                let window = u128::from(self.window) * wanted / took.max(1);
                let window = u64::try_from(window).unwrap_or(MAX_WINDOW);
                self.set_window(window.max(self.window / 2));
            } else if self.limited && delay <= self.target / 2 {
                self.set_window(self.window * 2);
            }
        }
    }

    fn set_window(&mut self, window: u64) {
        self.window = window.clamp(MIN_WINDOW, MAX_WINDOW);
        self.limited = false;
        self.changed_at = self.sent;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const TARGET: Duration = Duration::from_millis(25);

    const AWAY_EVERY: Duration = Duration::from_millis(200);

    /// The result of a simulated transfer.
    struct Transfer {
        took: Duration,
        longest_queue: Duration,
    }

    /// Simulates a transfer over a path that queues without limit. `bandwidth` is in bytes per
    /// second; `delay` is one way.
    ///
    /// In each [`AWAY_EVERY`] the processor is busy for `away`, and answers wait.
    fn transfer(bytes: usize, bandwidth: f64, delay: Duration, away: Duration) -> Transfer {
        let start = Instant::now();
        let mut now = start;
        let span = |bytes: usize| {
            let bytes = u32::try_from(bytes).expect("less than 4 GiB");
            Duration::from_secs_f64(f64::from(bytes) / bandwidth)
        };
        let mut pace = Pace::new(TARGET, now);
        let mut free_at = now;
        let mut longest_queue = Duration::ZERO;
        // Pending answers: arrival time, confirmed number, time of the ping.
        let mut answers: VecDeque<(Instant, u64, Instant)> = VecDeque::new();
        pace.confirmed(0, 2 * delay, now);
        let mut left = bytes;
        while left > 0 || pace.confirmed < pace.sent {
            let piece = if left > 0 { pace.piece(left) } else { 0 };
            if piece > 0 {
                left -= piece;
                free_at = free_at.max(now) + span(piece);
                longest_queue = longest_queue.max(free_at - now);
            }
            if (piece > 0 && pace.sent(piece)) || (piece == 0 && pace.owes_ping()) {
                answers.push_back((free_at.max(now) + 2 * delay, pace.ping(), now));
            }
            if piece == 0 {
                let (at, number, sent_at) = answers.pop_front().expect("all is confirmed in time");
                now = now.max(at);
                let into = (now - start).as_nanos() % AWAY_EVERY.as_nanos();
                now += away.saturating_sub(Duration::from_nanos_u128(into));
                pace.confirmed(number, now - sent_at, now);
            }
        }
        Transfer { took: now - start, longest_queue }
    }

    /// Guards heartbeats on narrow paths and throughput on all. The queue stays within two
    /// heartbeat intervals plus what the path itself holds, and the path is used.
    #[test]
    fn a_path_is_used_and_not_queued_up() {
        let ms = Duration::from_millis;
        for (bytes, mbit, delay) in [
            (1_u32 << 20, 1.0, ms(5)),
            (1 << 20, 1.0, ms(50)),
            (8 << 20, 10.0, ms(5)),
            (8 << 20, 10.0, ms(50)),
            (64 << 20, 100.0, ms(1)),
            (256 << 20, 10_000.0, Duration::from_micros(100)),
        ] {
            let bandwidth = mbit * 1e6 / 8.0;
            let ideal = Duration::from_secs_f64(f64::from(bytes) / bandwidth) + 10 * delay;
            let Transfer { took, longest_queue } =
                transfer(bytes as usize, bandwidth, delay, Duration::ZERO);
            let what = format!(
                "{bytes} bytes at {mbit} Mbit/s and {delay:?}: {took:?}, queue {longest_queue:?}"
            );
            assert!(longest_queue <= 4 * TARGET + 2 * delay, "{what}");
            println!("{what}");
            assert!(took < ideal.mul_f64(1.5), "{what}, ideal {ideal:?}");
        }
    }

    /// Guards throughput on busy machines: a late answer costs its delay, but not the window. If
    /// the processor is busy half the time, a transfer takes about twice as long.
    #[test]
    fn a_busy_processor_is_no_queue() {
        let took = |away| transfer(640 << 20, 1e8, Duration::from_micros(100), away).took;
        let (calm, busy) = (took(Duration::ZERO), took(4 * TARGET));
        assert!(busy < calm.mul_f64(2.1), "{busy:?}, and {calm:?} on a calm one");
    }

    /// Guards against answers that confirm data that was never sent.
    #[test]
    fn a_peer_confirms_no_more_than_was_sent() {
        let now = Instant::now();
        let mut pace = Pace::new(TARGET, now);
        pace.sent(1000);
        pace.confirmed(u64::MAX, Duration::ZERO, now);
        assert_eq!(pace.confirmed, 1000);
        pace.confirmed(0, Duration::ZERO, now);
        assert_eq!(pace.confirmed, 1000);
    }

    /// Guards a route that became longer: after a while its round trip counts as that of the idle
    /// path, and the window grows again.
    #[test]
    fn a_longer_route_is_learned() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TARGET, now);
        let round = |pace: &mut Pace, now: &mut Instant, round_trip| {
            while let piece @ 1.. = pace.piece(usize::MAX) {
                pace.sent(piece);
            }
            *now += round_trip;
            let number = pace.ping();
            pace.confirmed(number, round_trip, *now);
            pace.window
        };
        for _ in 0..20 {
            round(&mut pace, &mut now, Duration::from_millis(1));
        }
        assert_eq!(pace.window, MAX_WINDOW);
        let longer = Duration::from_millis(200);
        let windows: Vec<u64> = (0..400).map(|_| round(&mut pace, &mut now, longer)).collect();
        assert!(windows.contains(&MIN_WINDOW), "it is taken for a queue at first");
        assert!(windows[300..].contains(&MAX_WINDOW), "{:?}", &windows[300..]);
    }
}
