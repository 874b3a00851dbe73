//! The owner of the registry of watchers.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use api::watch::BOOKMARK_INTERVAL;
use arc_swap::ArcSwap;
use raft_core::kv::{Change, Compacted, KeyRange};
use raft_core::replica::Status;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::index::Index;
use super::queue::Queue;
use super::{Command, End, From, Position, Published, Refused, Shared, Wanted, Watch};

/// How often watchers without changes are checked.
const GLANCE: Duration = Duration::from_millis(100);

/// The maximum number of bookmarks that are queued at once.
const REMINDERS: usize = 512;

/// When all queues hold too much, they are reduced to this part of the limit, in percent.
const RELIEF_PERCENT: usize = 75;

/// A watcher as the dispatcher knows it.
#[derive(Debug)]
struct Watcher {
    range: KeyRange,
    stale: bool,
    queue: Arc<Queue>,
    /// If the watcher is behind: all changes up to this revision were queued.
    behind: Option<u64>,
    /// The last revision that was queued for the watcher, and when.
    told: u64,
    told_at: Instant,
}

/// Finds the watchers of each change, and fills their queues.
#[derive(Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    publications: watch::Receiver<Option<Published>>,
    max_bytes: usize,
    /// The last publication that was dispatched; `None` without watchers.
    now: Option<Published>,
    watchers: BTreeMap<u64, Watcher>,
    index: Index,
    last_id: u64,
    /// Watchers that joined before the first publication.
    early: Vec<(Wanted, oneshot::Sender<Result<Watch, Refused>>)>,
    /// The watcher that got a bookmark last.
    reminded: u64,
    /// Since when this server knows no leader.
    leaderless: Option<Instant>,
    /// Why watches are not served at present, except stale watches.
    out_of_service: Option<End>,
    stopping: bool,
}

impl Dispatcher {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::UnboundedReceiver<Command>,
        publications: watch::Receiver<Option<Published>>,
        max_bytes: usize,
    ) -> Self {
        Self {
            shared,
            commands,
            publications,
            max_bytes,
            now: None,
            watchers: BTreeMap::new(),
            index: Index::default(),
            last_id: 0,
            early: Vec::new(),
            reminded: 0,
            leaderless: None,
            out_of_service: None,
            stopping: false,
        }
    }

    /// Runs until the server ends. Watches end when `draining` is cancelled, and when no leader was
    /// known for the time `silence`.
    pub async fn run(
        mut self,
        status: Arc<ArcSwap<Status>>,
        silence: Duration,
        draining: CancellationToken,
    ) {
        let mut glances = interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = draining.cancelled(), if !self.stopping => self.stop(),
                _ = glances.tick() => {
                    self.look_at(&status.load(), silence);
                    self.remind(Instant::now());
                }
                command = self.commands.recv() => match command {
                    Some(command) => {
                        self.look_at(&status.load(), silence);
                        self.obey(command);
                    }
                    None => return,
                },
                published = self.publications.changed() => match published {
                    Ok(()) => self.catch_up(),
                    Err(_) => return,
                },
            }
            // Dispatching may take long; other tasks run in between.
            yield_now().await;
        }
    }

    /// Does all pending work.
    #[cfg(test)]
    pub(super) fn work_off(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        self.catch_up();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join { wanted, reply } => {
                // A watch begins with the latest publication.
                self.catch_up();
                if self.now.is_none() && !self.stopping {
                    self.early.push((wanted, reply));
                } else {
                    // The client may have given up; then the watch ends at once.
                    drop(reply.send(self.join(&wanted)));
                }
            }
            Command::Refill(id) => self.refill(id),
            Command::Leave(id) => {
                if let Some(watcher) = self.watchers.remove(&id)
                    && watcher.behind.is_none()
                {
                    self.index.remove(&watcher.range, id);
                }
                self.catch_up();
            }
        }
    }

    fn join(&mut self, wanted: &Wanted) -> Result<Watch, Refused> {
        if self.stopping {
            return Err(Refused::Ended(End::Stopping));
        }
        if let (Some(end), false) = (self.out_of_service, wanted.stale) {
            return Err(Refused::Ended(end));
        }
        let now = self.now.as_ref().expect("something was published");
        let from = match wanted.from {
            Some(from) => now.position(from)?,
            None => now.at,
        };
        let (range, stale) = (wanted.range.clone(), wanted.stale);
        self.last_id += 1;
        let (id, queue) = (self.last_id, Arc::new(Queue::after(from)));
        let (told, told_at) = (from.revision, Instant::now());
        let (behind, shared) = (Some(from.revision), Arc::clone(&queue));
        let entry = Watcher { range, stale, queue: shared, behind, told, told_at };
        let at = now.at;
        self.watchers.insert(id, entry);
        self.refill(id);
        // Otherwise a watcher that reconnects every few seconds would never get a later revision.
        if let Some(watcher) = self.watchers.get_mut(&id)
            && watcher.behind.is_none()
            && watcher.told < at.revision
        {
            watcher.queue.tell(at);
            watcher.told = at.revision;
        }
        Ok(Watch { id, from, queue, shared: Arc::clone(&self.shared), place: None })
    }

    /// Dispatches the changes since the last publication.
    fn catch_up(&mut self) {
        let Some(published) = self.publications.borrow_and_update().clone() else {
            if self.watchers.is_empty() {
                self.now = None;
            }
            return;
        };
        let Some(before) = self.now.replace(published.clone()) else {
            self.shared.read_to.store(published.at.revision, Relaxed);
            for (wanted, reply) in std::mem::take(&mut self.early) {
                // The client may have given up.
                drop(reply.send(self.join(&wanted)));
            }
            return;
        };
        if before.at.revision == published.at.revision {
            return;
        }
        match published.revisions_after(before.at.revision) {
            Ok(revisions) => {
                let now = Instant::now();
                for (position, changes) in revisions {
                    self.dispatch(position, &changes, now);
                }
            }
            Err(compacted) => self.end_all_but_behind(End::Compacted(compacted)),
        }
        self.shared.read_to.store(published.at.revision, Relaxed);
    }

    /// Queues the changes of one revision for their watchers.
    fn dispatch(&mut self, position: Position, changes: &[&Change], now: Instant) {
        if let [change] = changes {
            let mut concerned = Vec::new();
            self.index.find(&change.key, |watchers| concerned.extend(watchers));
            if !concerned.is_empty() {
                let changes = vec![Change::clone(change)];
                let event = Event::new(position, changes, &self.shared.held);
                for id in concerned {
                    self.hand_over(id, &event, now);
                }
                drop(event);
                self.relieve();
            }
            return;
        }
        // Watchers with the same changes share an event.
        let mut concerned: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (number, change) in (0..).zip(changes) {
            self.index.find(&change.key, |watchers| {
                for id in watchers {
                    concerned.entry(*id).or_default().push(number);
                }
            });
        }
        let mut events: BTreeMap<Vec<u32>, Arc<Event>> = BTreeMap::new();
        for (id, numbers) in concerned {
            let event = events.entry(numbers).or_insert_with_key(|numbers| {
                let of = |number: &u32| changes[*number as usize].clone();
                Event::new(position, numbers.iter().map(of).collect(), &self.shared.held)
            });
            let event = Arc::clone(event);
            self.hand_over(id, &event, now);
        }
        drop(events);
        self.relieve();
    }

    fn hand_over(&mut self, id: u64, event: &Arc<Event>, now: Instant) {
        let watcher = self.watchers.get_mut(&id).expect("the index names watchers");
        let revision = event.position.revision;
        if watcher.queue.push(event).is_ok() {
            (watcher.told, watcher.told_at) = (revision, now);
        } else {
            watcher.behind = Some(revision - 1);
            self.index.remove(&watcher.range, id);
        }
    }

    /// Queues kept changes for a watcher that is behind, while there is room.
    fn refill(&mut self, id: u64) {
        let Some(now) = self.now.clone() else { return };
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        let Some(behind) = watcher.behind else { return };
        let revisions = match now.revisions_after(behind) {
            Ok(revisions) => revisions,
            Err(compacted) => {
                watcher.queue.end(End::Compacted(compacted));
                return;
            }
        };
        for (position, changes) in revisions {
            let concerns = |change: &&Change| watcher.range.contains(&change.key);
            let changes: Vec<Change> = changes.into_iter().filter(concerns).cloned().collect();
            if changes.is_empty() {
                continue;
            }
            let event = Event::new(position, changes, &self.shared.held);
            if watcher.queue.push(&event).is_err() {
                watcher.behind = Some(position.revision - 1);
                drop(event);
                self.relieve();
                return;
            }
            (watcher.told, watcher.told_at) = (position.revision, Instant::now());
        }
        watcher.behind = None;
        self.index.insert(&watcher.range, id);
        self.relieve();
    }

    /// If all queues together hold too much, the queues whose watchers have taken nothing for
    /// longest are emptied. These watchers later read from the kept history. If that is not enough,
    /// those streams are broken off that are in the middle of an event.
    fn relieve(&mut self) {
        let held = || self.shared.held.load(Relaxed);
        if held() <= self.max_bytes {
            return;
        }
        let enough = self.max_bytes / 100 * RELIEF_PERCENT;
        for id in self.by_idleness(Queue::bytes) {
            if held() <= enough {
                return;
            }
            let watcher = self.watchers.get_mut(&id).expect("it is one of them");
            if let Some(first) = watcher.queue.forget()
                && watcher.behind.replace(first - 1).is_none()
            {
                self.index.remove(&watcher.range, id);
            }
        }
        let held = || self.shared.held.load(Relaxed);
        for id in self.by_idleness(Queue::begun_bytes) {
            if held() <= enough {
                return;
            }
            tracing::warn!(
                "disconnected a watcher that reads a large event too slowly (--max-watch-bytes)"
            );
            self.watchers[&id].queue.break_off();
        }
    }

    /// Watchers that hold something, those first that have taken nothing for longest.
    fn by_idleness(&self, held: impl Fn(&Queue) -> usize) -> Vec<u64> {
        let holding = self.watchers.iter().filter(|(_, watcher)| held(&watcher.queue) > 0);
        let mut holding: Vec<_> =
            holding.map(|(id, watcher)| (watcher.queue.taken_at(), *id)).collect();
        holding.sort_unstable();
        holding.into_iter().map(|(_, id)| id).collect()
    }

    /// Queues bookmarks for watchers without changes: at intervals, and before the kept history
    /// drops the last revision that they know. Only some at a time: thousands at once would block
    /// the driver.
    pub(super) fn remind(&mut self, now: Instant) {
        let Some(published) = &self.now else { return };
        let safe = published.changes.safe();
        let (before, after) = (..=self.reminded, (Excluded(self.reminded), Unbounded));
        let mut due: Vec<u64> = Vec::new();
        for (id, watcher) in self.watchers.range(after).chain(self.watchers.range(before)) {
            let waited = now.duration_since(watcher.told_at) >= BOOKMARK_INTERVAL;
            if watcher.behind.is_none() && (watcher.told < safe || waited) {
                due.push(*id);
                if due.len() == REMINDERS {
                    break;
                }
            }
        }
        for id in due {
            let watcher = self.watchers.get_mut(&id).expect("it is one of them");
            watcher.queue.tell(published.at);
            (watcher.told, watcher.told_at) = (published.at.revision, now);
            self.reminded = id;
        }
    }

    /// Checks whether this server may continue to serve watches, and ends them if not.
    fn look_at(&mut self, status: &Status, silence: Duration) {
        match status.leader {
            Some(_) => self.leaderless = None,
            None => drop(self.leaderless.get_or_insert_with(Instant::now)),
        }
        let members = &status.membership;
        self.out_of_service = if !members.voters.is_empty() && !members.contains(status.id) {
            Some(End::NotAMember)
        } else if self.leaderless.is_some_and(|since| since.elapsed() >= silence) {
            Some(End::NoLeader)
        } else {
            None
        };
        if let Some(end) = self.out_of_service {
            for watcher in self.watchers.values().filter(|watcher| !watcher.stale) {
                watcher.queue.end(end);
            }
        }
    }

    fn end_all_but_behind(&self, end: End) {
        for watcher in self.watchers.values().filter(|watcher| watcher.behind.is_none()) {
            watcher.queue.end(end);
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        for watcher in self.watchers.values() {
            watcher.queue.end(End::Stopping);
        }
        for (_, reply) in std::mem::take(&mut self.early) {
            // The client may have given up.
            drop(reply.send(Err(Refused::Ended(End::Stopping))));
        }
    }
}

impl Published {
    /// The position that a client names, if it is in this history.
    fn position(&self, from: From) -> Result<Position, Refused> {
        let From { revision, digest } = from;
        if revision > self.at.revision {
            return Err(Refused::Ahead { asked: revision, at: self.at.revision });
        }
        let known = self
            .changes
            .digest_after(revision, self.at.digest)
            .map_err(|compacted| Refused::Ended(End::Compacted(compacted)))?;
        if digest.is_some_and(|digest| digest != known) {
            return Err(Refused::OtherHistory { asked: revision });
        }
        Ok(Position { revision, digest: known, ..self.at })
    }

    /// The revisions after this revision, each with all its changes.
    fn revisions_after(
        &self,
        revision: u64,
    ) -> Result<impl Iterator<Item = (Position, Vec<&Change>)>, Compacted> {
        let mut pending = self.changes.after(revision)?.peekable();
        Ok(std::iter::from_fn(move || {
            let first = pending.next()?;
            let mut changes = vec![first];
            while let Some(change) = pending.next_if(|it| it.revision == first.revision) {
                changes.push(change);
            }
            let digest = pending.peek().map_or(self.at.digest, |next| next.before);
            Some((Position { revision: first.revision, digest, ..self.at }, changes))
        }))
    }
}
