//! Tests of the registry, without a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use api::watch::BOOKMARK_INTERVAL;
use proptest::prelude::*;
use raft_core::kv::{Command, KeyRange, KvStore};
use tokio::time::Instant;

use super::*;

/// A store whose changes are watched.
struct Stage {
    store: KvStore,
    watchers: Watchers,
    feed: Feed,
    dispatcher: Dispatcher,
}

impl Stage {
    fn new(max: usize, max_bytes: usize) -> Self {
        let (watchers, feed, dispatcher) = channel(max, max_bytes);
        Self { store: KvStore::default(), watchers, feed, dispatcher }
    }

    /// Does what the driver does after a batch, and then all pending work of the dispatcher.
    fn publish(&mut self) {
        self.feed.sender.send_replace(Some(Published::of(&self.store)));
        self.store.set_changes_unread_after(self.watchers.0.read_to.load(Relaxed));
        self.dispatcher.work_off();
    }

    async fn join(&mut self, range: KeyRange, from: Option<From>) -> Result<Watch, Refused> {
        let wanted = Wanted { range, from, stale: false };
        let (joined, ()) =
            tokio::join!(self.watchers.join(wanted, || {}), async { self.dispatcher.work_off() });
        joined
    }
}

/// Takes one part, if there is one.
fn part(watch: &Watch) -> Option<Part> {
    match watch.poll_part(&Context::from_waker(Waker::noop())) {
        Poll::Ready(part) => Some(part),
        Poll::Pending => None,
    }
}

fn at(revision: u64) -> From {
    From { revision, digest: None }
}

#[derive(Default)]
struct Wakings(AtomicUsize);

impl Wake for Wakings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Guards writes: they do not wake the watchers of other keys.
#[tokio::test]
async fn a_change_wakes_whom_it_concerns() {
    const WATCHERS: u32 = 1000;
    let mut stage = Stage::new(WATCHERS as usize, 1 << 20);
    stage.publish();
    let wakings = Arc::new(Wakings::default());
    let waker = Waker::from(Arc::clone(&wakings));
    let mut watches = Vec::new();
    for number in 0..WATCHERS {
        let prefix = KeyRange::prefix(format!("{number}/"));
        let watch = stage.join(prefix, None).await.expect("there is room");
        while watch.poll_part(&Context::from_waker(&waker)).is_ready() {}
        watches.push(watch);
    }
    assert!(matches!(stage.join(KeyRange::all(), None).await, Err(Refused::TooMany)));
    for number in 0..100 {
        stage.store.apply(Command::put(format!("elsewhere/{number}"), "v"));
        stage.store.apply(Command::put(format!("{}/k", number % 2), "v"));
        stage.publish();
    }
    assert_eq!(wakings.0.load(Relaxed), 2, "the rest waits in their queues");
    drop(watches);
    stage.dispatcher.work_off();
    assert_eq!((stage.watchers.count(), stage.watchers.held_bytes()), (0, 0));
}

/// Guards a watcher that reconnects often and whose keys do not change. It gets the latest revision
/// at once, and does not fall behind the kept history.
#[tokio::test]
async fn who_comes_back_hears_how_far_everything_is() {
    let mut stage = Stage::new(8, 1 << 20);
    for value in ["1", "2", "3"] {
        stage.store.apply(Command::put("elsewhere", value));
    }
    stage.publish();
    let watch = stage.join(KeyRange::prefix("k"), Some(at(1))).await.expect("it is kept");
    let text = std::iter::from_fn(|| part(&watch)).map(|part| match part {
        Part::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other @ (Part::End(_) | Part::Broken) => panic!("{other:?}"),
    });
    let text: String = text.collect();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    let revisions: Vec<&str> = ids.filter_map(|id| id.split('-').next()).collect();
    assert_eq!(revisions, ["1", "3"], "{text}");
}

/// Guards the beginning of a watch: before the first publication, at a past revision, at a future
/// revision, and in another history.
#[tokio::test]
async fn a_watch_begins_where_it_is_known_what_follows() {
    let mut stage = Stage::new(8, 1 << 20);
    for value in ["1", "2", "3"] {
        stage.store.apply(Command::put("k", value));
    }
    let wanted = Wanted { range: KeyRange::all(), from: Some(at(1)), stale: false };
    let (joined, ()) = tokio::join!(stage.watchers.join(wanted, || {}), async {
        stage.dispatcher.work_off();
        stage.feed.sender.send_replace(Some(Published::of(&stage.store)));
        stage.dispatcher.work_off();
    });
    let from = joined.expect("it waited").from;
    assert_eq!(from.revision, 1);
    let known = From { revision: 1, digest: Some(from.digest) };
    assert_eq!(stage.join(KeyRange::all(), Some(known)).await.expect("the same").from, from);
    let other = From { revision: 1, digest: Some(from.digest ^ 1) };
    let refused = stage.join(KeyRange::all(), Some(other)).await;
    assert_eq!(refused.err(), Some(Refused::OtherHistory { asked: 1 }));
    let refused = stage.join(KeyRange::all(), Some(at(4))).await;
    assert_eq!(refused.err(), Some(Refused::Ahead { asked: 4, at: 3 }));
    let now = stage.join(KeyRange::all(), None).await.expect("now").from;
    assert_eq!((now.revision, now.digest), (3, stage.store.pairs_digest()));
}

/// A step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    DeleteAll,
    Publish,
    /// A watcher takes some parts.
    Take(usize, u8),
    /// A watcher disconnects and reconnects.
    Return(usize),
    /// Time passes: watchers without changes get bookmarks.
    Remind,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8, 1..100_000_usize).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        1 => Just(Step::DeleteAll),
        4 => Just(Step::Publish),
        4 => (0..RANGES.len(), 1..40_u8).prop_map(|(watcher, parts)| Step::Take(watcher, parts)),
        1 => (0..RANGES.len()).prop_map(Step::Return),
        1 => Just(Step::Remind),
    ]
}

/// The prefixes of the watchers in a random run; keys are `k0` to `k5`.
const RANGES: [&str; 4] = ["", "k", "k1", "k5"];

/// One watcher of a random run.
struct Runner {
    range: KeyRange,
    watch: Watch,
    text: String,
    /// The revisions that were seen, with the number of changes.
    seen: Vec<(u64, usize)>,
    last: Option<From>,
}

impl Runner {
    /// Takes a part. Returns whether there was one.
    fn take(&mut self) -> bool {
        match part(&self.watch) {
            None => return false,
            Some(Part::Bytes(bytes)) => {
                self.text += std::str::from_utf8(&bytes).expect("pieces of ASCII");
            }
            Some(ended) => panic!("{ended:?}"),
        }
        while let Some((event, rest)) = self.text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let Some(id) = field("id: ") {
                self.last = Some(id.parse().expect("an id"));
            }
            if field("event: ") == Some("change") {
                let data: serde_json::Value =
                    serde_json::from_str(field("data: ").expect("data")).expect("JSON");
                let changes = data["changes"].as_array().expect("changes").len();
                self.seen.push((data["revision"].as_u64().expect("a revision"), changes));
            }
            self.text = rest.to_owned();
        }
        true
    }
}

async fn run(steps: Vec<Step>) {
    const MAX_BYTES: usize = 3 << 19;
    let mut stage = Stage::new(8, MAX_BYTES);
    stage.publish();
    let mut runners = Vec::new();
    for prefix in RANGES {
        let range = KeyRange::prefix(prefix);
        let watch = stage.join(range.clone(), None).await.expect("room");
        runners.push(Runner { range, watch, text: String::new(), seen: vec![], last: None });
    }
    for step in steps {
        match step {
            Step::Put(key, bytes) => {
                stage.store.apply(Command::put(format!("k{key}"), vec![b'v'; bytes]));
            }
            Step::DeleteAll => {
                stage.store.apply(Command::DeleteRange(KeyRange::all()));
            }
            Step::Publish => stage.publish(),
            Step::Take(watcher, parts) => {
                for _ in 0..parts {
                    runners[watcher].take();
                }
                stage.dispatcher.work_off();
            }
            Step::Remind => stage.dispatcher.remind(Instant::now() + BOOKMARK_INTERVAL),
            Step::Return(watcher) => {
                let runner = &mut runners[watcher];
                let from = runner.last.or(Some(at(0)));
                runner.watch = stage.join(runner.range.clone(), from).await.expect("it is kept");
                runner.text.clear();
            }
        }
        assert!(stage.watchers.held_bytes() <= MAX_BYTES);
    }
    stage.publish();
    for runner in &mut runners {
        loop {
            // Taking a part may make room for more.
            let took = runner.take();
            stage.dispatcher.work_off();
            if !took && !runner.take() {
                break;
            }
        }
        let mut wanted: Vec<(u64, usize)> = Vec::new();
        for change in stage.store.changes().after(0).expect("all is kept") {
            match wanted.last_mut() {
                _ if !runner.range.contains(&change.key) => {}
                Some((revision, count)) if *revision == change.revision => *count += 1,
                _ => wanted.push((change.revision, 1)),
            }
        }
        assert_eq!(runner.seen, wanted, "{}", runner.range);
    }
    drop(runners);
    stage.dispatcher.work_off();
    assert_eq!((stage.watchers.count(), stage.watchers.held_bytes()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Guards every watcher: it gets each change once and in order, and all queues together stay
    /// within their bound. It may take parts at any time, its queue may overflow or be emptied, and
    /// it may reconnect.
    #[test]
    fn every_change_is_told_once(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(run(steps));
    }
}
