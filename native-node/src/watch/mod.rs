//! Watches of keys.
//!
//! One task, the [`Dispatcher`], owns the registry. The driver publishes the store's latest changes
//! after each batch. For each change, the dispatcher finds the watchers of its key, encodes the
//! change once, and appends it to their queues. A watcher whose keys did not change is not woken.
//!
//! **Bounds.** A queue holds [`queue::MAX_QUEUE_BYTES`] or a single larger event. All queues
//! together hold at most the configured limit, where shared bytes count once. A watcher whose queue
//! is full is behind: later it gets what it missed from the kept history. If the history does not
//! reach back so far, the stream ends with `compacted`.
//!
//! **Exactly once.** A watcher is in the index, or it is behind, with a revision up to which
//! everything was queued. Only the dispatcher moves it from one state to the other, between two
//! publications.

mod dispatcher;
mod event;
mod index;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use raft_core::kv::{Changes, Compacted, KeyRange, KvStore};
use raft_core::limits::Semantics;
use raft_core::replica::Replica;
use tokio::sync::{mpsc, oneshot, watch};

pub use dispatcher::Dispatcher;
pub use event::{From, Position};
use queue::Queue;

/// A server that has known no leader for this long, and for four election timeouts, ends its
/// watches. It may be partitioned, and a watcher would wait in vain.
const SILENCE: Duration = Duration::from_secs(5);

/// How long watches continue on a server that knows no leader.
pub(crate) fn silence_of(election_timeout: Duration) -> Duration {
    SILENCE.max(4 * election_timeout)
}

/// Why a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server stops.
    Stopping,
    /// The watcher needs changes that are compacted.
    Compacted(Compacted),
    /// The server has known no leader for too long, and may be partitioned.
    NoLeader,
    /// The server is not a member of the cluster.
    NotAMember,
}

/// Why a watch is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A reason that would also end a watch.
    Ended(End),
    /// The limit of watchers is reached.
    TooMany,
    /// This server does not know the revision. It may be behind.
    Ahead {
        /// The requested revision.
        asked: u64,
        /// The newest revision that this server knows.
        at: u64,
    },
    /// The revision belongs to another history, with different keys.
    OtherHistory {
        /// The requested revision.
        asked: u64,
    },
}

/// The parameters of a watch.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The keys to watch.
    pub range: KeyRange,
    /// What the client has seen already; `None` to begin with the present.
    pub from: Option<From>,
    /// Whether a server without a leader may serve the watch.
    pub stale: bool,
}

/// A handle to the dispatcher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The number of watchers, including those that are about to begin.
    count: AtomicUsize,
    max: usize,
    /// The bytes that all queues hold.
    held: Arc<AtomicUsize>,
    /// The dispatcher has read all changes up to this revision.
    read_to: AtomicU64,
    commands: mpsc::UnboundedSender<Command>,
}

/// The latest changes of a store, and its position.
#[derive(Clone, Debug)]
struct Published {
    changes: Changes,
    at: Position,
}

/// The driver's side.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    sender: watch::Sender<Option<Published>>,
    /// Revision and rules of the last publication; `None` without watchers.
    published: Option<(u64, Semantics)>,
}

#[derive(Debug)]
enum Command {
    Join {
        wanted: Wanted,
        reply: oneshot::Sender<Result<Watch, Refused>>,
    },
    /// A watcher that was behind has room again.
    Refill(u64),
    Leave(u64),
}

/// Connects the driver, the dispatcher and the request handlers.
pub fn channel(max: usize, max_bytes: usize) -> (Watchers, Feed, Dispatcher) {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (sender, published) = watch::channel(None);
    let shared = Arc::new(Shared {
        count: AtomicUsize::new(0),
        max,
        held: Arc::default(),
        read_to: AtomicU64::new(0),
        commands,
    });
    let feed = Feed { shared: Arc::clone(&shared), sender, published: None };
    let dispatcher = Dispatcher::new(Arc::clone(&shared), receiver, published, max_bytes);
    (Watchers(shared), feed, dispatcher)
}

impl Watchers {
    /// The number of watchers.
    pub fn count(&self) -> usize {
        self.0.count.load(Relaxed)
    }

    /// The bytes that all queues hold.
    pub fn held_bytes(&self) -> usize {
        self.0.held.load(Relaxed)
    }

    /// Begins a watch. `wake` makes the driver publish its changes.
    pub(crate) async fn join(&self, wanted: Wanted, wake: impl FnOnce()) -> Result<Watch, Refused> {
        let place = Place::take(&self.0).ok_or(Refused::TooMany)?;
        let (reply, answer) = oneshot::channel();
        wake();
        // If the dispatcher has ended, the reply's channel is dropped, and the wait below fails.
        drop(self.0.commands.send(Command::Join { wanted, reply }));
        let mut watch = answer.await.unwrap_or(Err(Refused::Ended(End::Stopping)))?;
        watch.place = Some(place);
        Ok(watch)
    }
}

/// The right to be a watcher.
#[derive(Debug)]
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        // Counted before the check, to prevent two watchers from sharing the last place.
        let others = shared.count.fetch_add(1, Relaxed);
        let place = Self(Arc::clone(shared));
        (others < shared.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

/// A watch; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    /// The stream contains the changes after this position.
    pub from: Position,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    place: Option<Place>,
}

/// A part of a watch's stream.
#[derive(Debug)]
pub enum Part {
    /// Bytes of the stream.
    Bytes(Bytes),
    /// The stream is over.
    End(End),
    /// The stream is over in the middle of an event: there was no memory for it.
    Broken,
}

impl Watch {
    /// The next part. After [`Part::End`] and [`Part::Broken`] there is none.
    pub fn poll_part(&self, cx: &Context<'_>) -> Poll<Part> {
        loop {
            let taken = std::task::ready!(self.queue.poll_take(cx));
            if taken.wants_more {
                drop(self.shared.commands.send(Command::Refill(self.id)));
            }
            if !taken.bytes.is_empty() {
                return Poll::Ready(Part::Bytes(taken.bytes));
            }
            if let Some(end) = taken.end {
                return Poll::Ready(Part::End(end));
            }
            if taken.broken {
                return Poll::Ready(Part::Broken);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.shared.commands.send(Command::Leave(self.id)));
        drop(self.place.take());
    }
}

impl Feed {
    /// Publishes the store's changes, if there are watchers. Without watchers it costs a
    /// comparison.
    pub(crate) fn publish(&mut self, replica: &mut Replica) {
        if self.shared.count.load(Relaxed) == 0 {
            if self.published.take().is_some() {
                self.sender.send_replace(None);
                replica.set_changes_unread_after(u64::MAX);
            }
            return;
        }
        let store = replica.store();
        let now = Some((store.revision(), store.semantics()));
        if std::mem::replace(&mut self.published, now) != now {
            self.sender.send_replace(Some(Published::of(store)));
        }
        replica.set_changes_unread_after(self.shared.read_to.load(Relaxed));
    }
}

impl Published {
    fn of(store: &KvStore) -> Self {
        let (revision, digest) = (store.revision(), store.pairs_digest());
        // Under these rules, the cluster may still have servers of the first release.
        let at = Position { revision, digest, bare: store.semantics() == Semantics::FIRST };
        Self { changes: store.changes().clone(), at }
    }
}
