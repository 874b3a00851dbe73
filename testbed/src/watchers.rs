//! Clients that watch keys and reconnect to random servers. They must see every change once and in
//! order, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::address::Address;
use bytes::Bytes;
use client::{Client, ClientError, ClientOptions, Token, Told, Watching, escape};
use fastrand::Rng;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cluster::eventually;

/// Timeout for a server to start a watch.
const PATIENCE: Duration = Duration::from_secs(2);

/// Delay before the next server is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// Running watchers.
pub struct Watchers {
    watchers: JoinSet<Vec<Sequence>>,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    /// The revision after the latest one of each watcher; 0 before it starts.
    beyond: Vec<AtomicU64>,
}

/// What a watcher saw without a gap.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The prefix of the keys.
    pub prefix: String,
    /// The watcher must see all changes after this revision; `None` if its first event was no
    /// bookmark.
    pub began: Option<u64>,
    /// The latest revision that it reached.
    pub reached: u64,
    /// The changes that it saw.
    pub changes: Vec<Seen>,
    /// Number of reconnects.
    pub returns: u64,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The revision.
    pub revision: u64,
    /// The key.
    pub key: String,
    /// Its value, version and creation revision; `None` if it was removed.
    pub value: Option<(String, u64, u64)>,
}

impl Watchers {
    /// Starts `count` watchers of all keys with this prefix. A seed decides when they leave and
    /// where they reconnect. They send the token, if any.
    pub fn start(
        count: usize,
        prefix: &str,
        servers: &[Address],
        token: Option<&Token>,
        seed: u64,
    ) -> Self {
        let beyond = (0..count).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), beyond });
        let mut watchers = JoinSet::new();
        for number in 0..count {
            let watcher = Watcher {
                number,
                prefix: prefix.to_owned(),
                servers: servers.to_vec(),
                token: token.cloned(),
                rng: Rng::with_seed(seed ^ number as u64),
                shared: Arc::clone(&shared),
            };
            watchers.spawn(watcher.run());
        }
        Self { watchers, shared }
    }

    /// Waits until all watchers have started and reached a revision.
    pub async fn reach(&self, revision: u64) {
        eventually("all watchers reach the revision", async || {
            let reached = |it: &AtomicU64| it.load(Ordering::Relaxed) > revision;
            self.shared.beyond.iter().all(reached).then_some(())
        })
        .await;
    }

    /// Stops the watchers and returns what they saw.
    pub async fn finish(self) -> Vec<Sequence> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.watchers.join_all().await.into_iter().flatten().collect()
    }
}

struct Watcher {
    number: usize,
    prefix: String,
    servers: Vec<Address>,
    token: Option<Token>,
    rng: Rng,
    shared: Arc<Shared>,
}

impl Watcher {
    async fn run(mut self) -> Vec<Sequence> {
        let mut all = Vec::new();
        let (mut sequence, mut from) = (self.begin(), None);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let server = self.servers[self.rng.usize(..self.servers.len())].clone();
            let parameters = format!("prefix={}", escape(self.prefix.as_bytes()));
            let options = ClientOptions::new(vec![server], PATIENCE);
            let client = Client::with(ClientOptions { token: self.token.clone(), ..options });
            let mut watching = client.watch(&parameters, from.clone());
            match self.follow(&mut watching, &mut sequence).await {
                Ok(()) | Err(ClientError::Unavailable(_)) => {
                    from = watching.last().map(str::to_owned);
                    sequence.returns += 1;
                }
                // The watcher was away for too long.
                Err(error) if error.has_code("compacted") => {
                    all.push(std::mem::replace(&mut sequence, self.begin()));
                    from = None;
                }
                Err(error) => panic!("watcher {}: {error}", self.number),
            }
            sleep(PAUSE).await;
        }
        all.push(sequence);
        all
    }

    fn begin(&self) -> Sequence {
        Sequence { prefix: self.prefix.clone(), ..Sequence::default() }
    }

    /// Receives a random number of events, or until an event takes too long.
    async fn follow(
        &mut self,
        watching: &mut Watching,
        sequence: &mut Sequence,
    ) -> Result<(), ClientError> {
        for _ in 0..self.rng.u32(1..60) {
            let patience = Duration::from_millis(self.rng.u64(50..1500));
            let Ok(told) = timeout(patience, watching.next()).await else { return Ok(()) };
            sequence.add(told?);
            self.shared.beyond[self.number].store(sequence.reached + 1, Ordering::Relaxed);
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }
}

impl Sequence {
    fn add(&mut self, told: Told) {
        let revision = match &told {
            Told::Change(change) => change["revision"].as_u64().unwrap(),
            Told::Bookmark(revision) => *revision,
        };
        assert!(revision >= self.reached, "revision {revision} comes after {}", self.reached);
        match told {
            // A server of the first release sends no bookmark before the first change.
            Told::Bookmark(_) if self.changes.is_empty() => {
                self.began.get_or_insert(revision);
            }
            Told::Bookmark(_) => {}
            Told::Change(change) => {
                let again = self.changes.last().is_some_and(|last| last.revision == revision);
                assert!(!again, "revision {revision} comes twice");
                let changes = change["changes"].as_array().unwrap();
                self.changes.extend(changes.iter().map(|change| Seen::of(revision, change)));
            }
        }
        self.reached = revision;
    }
}

impl Seen {
    fn of(revision: u64, change: &Value) -> Self {
        let key = change["key"].as_str().unwrap().to_owned();
        let number = |field: &str| change[field].as_u64().unwrap();
        let value = (change["type"] == "put").then(|| {
            let value = change["value"].as_str().unwrap().to_owned();
            assert_eq!(number("mod_revision"), revision, "{change}");
            (value, number("version"), number("create_revision"))
        });
        Self { revision, key, value }
    }
}

/// Checks what watchers saw:
///
/// - The versions of a key are consecutive, so no change is missing or duplicate.
/// - All watchers that watched at the time saw the same changes.
/// - A watcher saw each key in `kept`, whose write was acknowledged.
///
/// # Panics
/// When a check fails.
pub fn judge(sequences: &[Sequence], kept: &[Bytes]) {
    let mut agreed: BTreeMap<(u64, &str), &Seen> = BTreeMap::new();
    for sequence in sequences {
        let mut latest: BTreeMap<&str, &Seen> = BTreeMap::new();
        let mut before = sequence.began.unwrap_or_default();
        for seen in &sequence.changes {
            assert!(seen.key.starts_with(&sequence.prefix), "{seen:?} is outside the prefix");
            assert!(seen.revision >= before, "{seen:?} comes after revision {before}");
            before = seen.revision;
            if let Some(previous) = latest.insert(&seen.key, seen) {
                assert!(
                    follows(previous, seen),
                    "between {previous:?} and {seen:?} a change is missing"
                );
            }
            let same = *agreed.entry((seen.revision, &seen.key)).or_insert(seen);
            assert_eq!(same, seen, "two watchers saw different changes");
        }
    }
    // A change that a watcher saw must be seen by all that watched at the time.
    for sequence in sequences {
        let Some(began) = sequence.began else { continue };
        let saw: BTreeSet<(u64, &str)> =
            sequence.changes.iter().map(|seen| (seen.revision, &seen.key[..])).collect();
        let during = agreed.range((began + 1, "")..(sequence.reached + 1, ""));
        for ((revision, key), _) in during.filter(|((_, key), _)| key.starts_with(&sequence.prefix))
        {
            let seen = saw.contains(&(*revision, *key));
            assert!(seen, "{key} at revision {revision} is missing after {began}");
        }
    }
    for key in kept {
        let key = std::str::from_utf8(key).unwrap();
        let seen = agreed.keys().any(|(_, seen)| *seen == key);
        assert!(seen, "{key} was acknowledged, but no watcher saw it");
    }
}

/// Whether the key did not change between two changes that a watcher saw in sequence.
fn follows(previous: &Seen, next: &Seen) -> bool {
    match (&previous.value, &next.value) {
        (Some((_, version, created)), Some((_, next_version, next_created))) => {
            *next_version == version + 1 && next_created == created
        }
        (None, Some((_, version, created))) => *version == 1 && *created == next.revision,
        (Some(_), None) => true,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(revision: u64, version: u64, created: u64) -> Value {
        json!({"revision": revision, "changes": [{
            "type": "put", "key": "k", "value": "v", "mod_revision": revision,
            "version": version, "create_revision": created,
        }]})
    }

    fn sequence(began: u64, events: &[Value]) -> Sequence {
        let mut sequence = Sequence::default();
        sequence.add(Told::Bookmark(began));
        for event in events {
            sequence.add(Told::Change(event.clone()));
        }
        sequence
    }

    fn is_good(sequences: &[Sequence], kept: &'static [&'static str]) -> bool {
        let kept: Vec<Bytes> = kept.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        std::panic::catch_unwind(|| judge(sequences, &kept)).is_ok()
    }

    /// Guards that the check finds missing, duplicate, unordered and different changes.
    #[test]
    fn the_judge_finds_what_is_wrong() {
        let gone = json!({"revision": 3, "changes": [{"type": "delete", "key": "k"}]});
        let good = [put(1, 1, 1), put(2, 2, 1), gone.clone(), put(4, 1, 4)];
        assert!(is_good(&[sequence(0, &good), sequence(1, &good[1..])], &["k"]));
        assert!(!is_good(&[sequence(0, &good)], &["other"]));
        assert!(!is_good(&[sequence(0, &[put(1, 1, 1), gone, put(4, 2, 1)])], &[]));
        assert!(!is_good(&[sequence(0, &[put(1, 1, 1), put(4, 3, 1)])], &[]));
        assert!(!is_good(&[sequence(0, &good), sequence(0, &good[1..])], &[]));
        assert!(!is_good(&[sequence(0, &good), sequence(0, &[put(1, 1, 1), put(5, 2, 1)])], &[]));
        for bad in [[put(2, 1, 2), put(1, 1, 1)], [put(2, 1, 2), put(2, 1, 2)]] {
            assert!(std::panic::catch_unwind(|| sequence(0, &bad)).is_err());
        }
    }
}
