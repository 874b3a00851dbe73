//! The queue of one watcher: the dispatcher writes it, and the connection reads it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::End;
use super::event::{Event, Position, Underway, bookmark};

/// The maximum bytes in a queue, unless a single event is larger. Beyond it the watcher is behind:
/// nothing is queued until it has taken half, and then from the kept history.
pub(super) const MAX_QUEUE_BYTES: usize = 1 << 20;

/// The connection gets this many bytes at once.
const CHUNK_BYTES: usize = 16 << 10;

/// The first bytes of a stream, to show the client at once that it watches.
const GREETING: &[u8] = b": watching\n\n";

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The start of the stream, until it was sent.
    begins: Option<Position>,
    underway: Option<Underway>,
    events: VecDeque<Arc<Event>>,
    /// The memory of `events`, in bytes.
    bytes: usize,
    /// Sent after all events.
    bookmark: Option<Position>,
    /// When the watcher last took something, or asked for more.
    taken_at: Option<Instant>,
    /// Whether events are missing here, and the dispatcher waits for a request for them.
    behind: bool,
    end: Option<End>,
    /// Whether an event that has begun cannot be finished.
    broken: bool,
    waker: Option<Waker>,
}

/// What the connection gets.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    /// Whether to ask the dispatcher for more.
    pub(super) wants_more: bool,
    /// Why the stream ends after this.
    pub(super) end: Option<End>,
    /// Whether the stream ends in the middle of an event.
    pub(super) broken: bool,
}

impl Queue {
    /// An empty queue, for a watcher that gets all changes after a position.
    pub(super) fn after(begins: Position) -> Self {
        Self(Mutex::new(State { begins: Some(begins), ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The data is consistent after every single statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, if there is room; otherwise the watcher is behind from now on. Adds nothing
    /// once the stream is about to end.
    pub(super) fn push(&self, event: &Arc<Event>) -> Result<(), Full> {
        let mut state = self.state();
        if state.end.is_some() || state.broken {
            return Ok(());
        }
        if !state.events.is_empty() && state.bytes + event.cost > MAX_QUEUE_BYTES {
            state.behind = true;
            return Err(Full);
        }
        state.bytes += event.cost;
        state.bookmark = None;
        state.events.push_back(Arc::clone(event));
        state.wake();
        Ok(())
    }

    /// Queues a bookmark: nothing else happened up to a position.
    pub(super) fn tell(&self, at: Position) {
        let mut state = self.state();
        if state.end.is_none() {
            state.bookmark = Some(at);
            state.wake();
        }
    }

    /// Ends the stream, after the queued events.
    pub(super) fn end(&self, why: End) {
        let mut state = self.state();
        state.end.get_or_insert(why);
        state.wake();
    }

    /// Drops all events that have not begun, to save memory: the watcher is behind. Returns the
    /// revision of the first of them.
    pub(super) fn forget(&self) -> Option<u64> {
        let mut state = self.state();
        let first = state.events.front()?.position.revision;
        state.events.clear();
        // A bookmark would say that these events do not exist.
        state.bookmark = None;
        (state.bytes, state.behind) = (0, true);
        state.wake();
        Some(first)
    }

    /// Ends the stream in the middle of an event, to save memory.
    pub(super) fn break_off(&self) {
        let mut state = self.state();
        state.underway = None;
        state.events.clear();
        (state.bytes, state.broken) = (0, true);
        state.wake();
    }

    /// The memory of the events that have not begun.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// When the watcher last took something, or asked for more.
    pub(super) fn taken_at(&self) -> Option<Instant> {
        self.state().taken_at
    }

    /// The memory of the event that has begun.
    pub(super) fn begun_bytes(&self) -> usize {
        self.state().underway.as_ref().map_or(0, |underway| underway.event.cost)
    }

    /// The next part of the stream.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<Taken> {
        let mut state = self.state();
        let mut taken = state.take();
        if taken.bytes.is_empty() && !taken.wants_more && taken.end.is_none() && !taken.broken {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !taken.bytes.is_empty() && taken.end.is_some() {
            // Returned by the next call.
            state.end = taken.end.take();
        }
        Poll::Ready(taken)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take(&mut self) -> Taken {
        if self.broken {
            return Taken { broken: true, ..Taken::default() };
        }
        let bytes = self.next_chunk();
        let drained = self.behind && self.bytes <= MAX_QUEUE_BYTES / 2;
        let wants_more = drained && std::mem::take(&mut self.behind);
        if wants_more || !bytes.is_empty() {
            self.taken_at = Some(Instant::now());
        }
        let all_told = self.underway.is_none() && self.events.is_empty() && self.bookmark.is_none();
        let end = if all_told { self.end.take() } else { None };
        Taken { bytes, wants_more, end, broken: false }
    }

    fn next_chunk(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let Some(begins) = self.begins.take() {
            out.extend_from_slice(GREETING);
            // Gives the client an id to reconnect with before anything happens.
            bookmark(begins, &mut out);
        }
        while out.len() < CHUNK_BYTES {
            if let Some(mut underway) = self.underway.take() {
                if !underway.fill(&mut out, CHUNK_BYTES) {
                    self.underway = Some(underway);
                }
            } else if let Some(event) = self.events.pop_front() {
                self.bytes -= event.cost;
                if let (Some(text), true, true) =
                    (event.text(), out.is_empty(), self.events.is_empty())
                {
                    // The only event: its watchers share its bytes.
                    return text.clone();
                }
                self.underway = Some(Underway::new(event));
            } else if let Some(at) = self.bookmark.take() {
                bookmark(at, &mut out);
            } else {
                break;
            }
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use raft_core::kv::{Change, Versioned};

    use super::*;

    const START: Position = Position { revision: 0, digest: 0, bare: false };

    fn event(revision: u64, bytes: usize, held: &Arc<AtomicUsize>) -> Arc<Event> {
        let value = Versioned {
            value: vec![b'"'; bytes].into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: None,
        };
        let change = Change { revision, key: "k".into(), value: Some(value), before: 0 };
        Event::new(Position { revision, digest: 0, bare: false }, vec![change], held)
    }

    fn take(queue: &Queue) -> Option<Taken> {
        match queue.poll_take(&Context::from_waker(Waker::noop())) {
            Poll::Ready(taken) => Some(taken),
            Poll::Pending => None,
        }
    }

    /// Guards memory: a queue is bounded, also during a large event, and asks for missing events
    /// once half is taken.
    #[test]
    fn a_queue_is_bounded_and_asks_for_more() {
        let (queue, held) = (Queue::after(START), Arc::new(AtomicUsize::new(0)));
        let mut pushed = 0;
        while queue.push(&event(pushed + 1, 100 << 10, &held)).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, 10);
        assert!(held.load(Relaxed) <= MAX_QUEUE_BYTES);
        let mut text = String::new();
        let asked = std::iter::from_fn(|| take(&queue))
            .inspect(|taken| {
                assert!(taken.bytes.len() < 64 << 10);
                text += std::str::from_utf8(&taken.bytes).expect("text");
            })
            .filter(|taken| taken.wants_more)
            .count();
        assert_eq!(asked, 1);
        let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(ids.len(), 1 + 10);
        assert_eq!(held.load(Relaxed), 0);
    }

    /// Guards large events: an event that is larger than the bound is still delivered.
    #[test]
    fn a_single_large_event_has_room() {
        let (queue, held) = (Queue::after(START), Arc::new(AtomicUsize::new(0)));
        queue.push(&event(1, 2 * MAX_QUEUE_BYTES, &held)).expect("it is the only one");
        queue.push(&event(2, 1, &held)).expect_err("it is too much now");
        let length: usize = std::iter::from_fn(|| take(&queue)).map(|it| it.bytes.len()).sum();
        assert!(length > 4 * MAX_QUEUE_BYTES, "each byte is escaped");
    }

    /// Guards the order: bookmarks follow the events before them, and the end comes last.
    #[test]
    fn bookmarks_and_the_end_come_last() {
        let (queue, held) = (Queue::after(START), Arc::new(AtomicUsize::new(0)));
        queue.tell(Position { revision: 1, digest: 0, bare: false });
        queue.push(&event(2, 1, &held)).expect("room");
        queue.tell(Position { revision: 3, digest: 0, bare: false });
        queue.tell(Position { revision: 4, digest: 0, bare: false });
        queue.end(End::NoLeader);
        let first = take(&queue).expect("a part");
        let text = String::from_utf8(first.bytes.to_vec()).expect("text");
        let names: Vec<&str> = text.lines().filter(|line| line.starts_with("id: ")).collect();
        let id = |revision| format!("id: {}", Position { revision, digest: 0, bare: false });
        assert_eq!(names, [id(0), id(2), id(4)]);
        assert!(first.end.is_none());
        let last = take(&queue).expect("the end");
        assert!(matches!(last.end, Some(End::NoLeader)) && last.bytes.is_empty());
    }

    /// Guards the bound over all watchers: the dispatcher learns which events were dropped, and a
    /// broken stream sends nothing more.
    #[test]
    fn memory_is_given_back() {
        let (queue, held) = (Queue::after(START), Arc::new(AtomicUsize::new(0)));
        for revision in 5..8 {
            queue.push(&event(revision, 100 << 10, &held)).expect("room");
        }
        let first = take(&queue).expect("a part");
        assert!(!first.bytes.is_empty() && queue.begun_bytes() > 100 << 10);
        assert_eq!(queue.forget(), Some(6), "5 was begun");
        assert_eq!((queue.bytes(), held.load(Relaxed)), (0, queue.begun_bytes()));
        assert!(take(&queue).expect("a part").wants_more);
        queue.break_off();
        assert_eq!(held.load(Relaxed), 0);
        assert!(take(&queue).expect("a part").broken);
    }
}
