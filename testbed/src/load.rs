//! Clients that write and read at the same time and write down what they saw.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use native_node::client::{Client, ClientError, ClientOptions, Token, escape};
use native_node::config::Address;
use native_node::http::request::Consistency;
use raft_core::history::{self, Effect, NotLinearizable, Operation};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::eventually;

/// Keys are few, so that clients meet on them.
const KEYS: u64 = 5;

/// How long one request may take, unless said otherwise. Whatever is unknown after it makes the search longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many pairs a page of a range holds at most.
const PAGE: usize = 1000;

/// How clients behave.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How many there are.
    pub clients: u64,
    /// How they read.
    pub consistency: Consistency,
    /// How all keys begin. A history starts without any keys.
    pub prefix: String,
    /// How long each rests after a request.
    pub pause: Duration,
    /// Who writes in a session, and so may send a write again.
    pub sessions: InSession,
    /// What they show to the servers.
    pub token: Option<Token>,
    /// Where the last ones reach the servers instead, if they are far away.
    pub far: Vec<Address>,
    /// How many are.
    pub far_clients: u64,
    /// How long one request may take.
    pub patience: Duration,
}

/// Which clients use sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InSession {
    /// Nobody: a write that meets the end of a connection stays in doubt.
    Nobody,
    /// Every second one.
    Half,
    /// All of them.
    All,
}

impl InSession {
    const fn includes(self, client: u64) -> bool {
        match self {
            Self::Nobody => false,
            Self::Half => client % 2 == 1,
            Self::All => true,
        }
    }
}

impl LoadOptions {
    /// So many clients that never rest.
    pub fn new(clients: u64) -> Self {
        Self {
            clients,
            consistency: Consistency::Linearizable,
            prefix: String::new(),
            pause: Duration::ZERO,
            sessions: InSession::Nobody,
            token: None,
            far: Vec::new(),
            far_clients: 0,
            patience: PATIENCE,
        }
    }
}

/// Clients at work.
pub struct Load {
    clients: JoinSet<Seen>,
    prefix: String,
    shared: Arc<Shared>,
}

/// What the clients count together.
struct Shared {
    start: Instant,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    /// Requests with an answer, reads included, and those without.
    answered: AtomicU64,
    failed: AtomicU64,
    /// When the latest write was acknowledged, in ns since the start.
    latest: AtomicU64,
    /// The longest time between two acknowledged writes, in ns.
    longest_gap: AtomicU64,
}

/// What clients saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Everything that they did to the keys that they share.
    pub operations: Vec<Operation>,
    /// Keys that were written once, with an acknowledgement: all of them must be found.
    pub kept: Vec<Bytes>,
    /// How all keys begin.
    pub prefix: String,
}

impl Load {
    /// Starts so many clients. Each asks a server of its own choice first, and the others when that
    /// one cannot help.
    pub fn start(clients: u64, servers: &[Address]) -> Self {
        Self::with(LoadOptions::new(clients), servers)
    }

    /// The same with reads of this kind.
    pub fn reading(clients: u64, servers: &[Address], consistency: Consistency) -> Self {
        Self::with(LoadOptions { consistency, ..LoadOptions::new(clients) }, servers)
    }

    /// Starts clients that behave so.
    pub fn with(options: LoadOptions, servers: &[Address]) -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            longest_gap: AtomicU64::new(0),
        });
        let mut set = JoinSet::new();
        for client in 0..options.clients {
            let is_far = client + options.far_clients >= options.clients;
            let servers: &[Address] = if is_far { &options.far } else { servers };
            let beginning_with = |first| {
                let mut order = servers.to_vec();
                order.rotate_left(first);
                let mut settings = ClientOptions::new(order, options.patience);
                settings.sessions =
                    options.sessions.includes(client).then_some(ClientOptions::SESSION_TTL);
                settings.token.clone_from(&options.token);
                Client::with(settings)
            };
            let worker = Worker {
                client,
                options: options.clone(),
                servers: (0..servers.len()).map(beginning_with).collect(),
                shared: Arc::clone(&shared),
            };
            set.spawn(worker.run());
        }
        Self { clients: set, prefix: options.prefix, shared }
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until this many more writes were acknowledged.
    pub async fn more_writes(&self, count: u64) {
        let goal = self.acknowledged() + count;
        eventually("clients get writes through", async || {
            (self.acknowledged() >= goal).then_some(())
        })
        .await;
    }

    /// Writes whose outcome the clients do not know.
    pub fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// Requests that were answered so far, and those that were not: no server could in time, or
    /// nobody knows what came of them.
    pub fn answered_and_failed(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.shared.answered), count(&self.shared.failed))
    }

    /// The longest time without an acknowledged write since this was last asked, or the start.
    pub fn take_longest_gap(&self) -> Duration {
        let latest = self.shared.latest.load(Ordering::Relaxed);
        let running = self.shared.now().saturating_sub(latest);
        Duration::from_nanos(self.shared.longest_gap.swap(0, Ordering::Relaxed).max(running))
    }

    /// Ends the clients and gives what they saw.
    pub async fn finish(self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Seen { prefix: self.prefix, ..Seen::default() };
        for seen in self.clients.join_all().await {
            all.operations.extend(seen.operations);
            all.kept.extend(seen.kept);
        }
        all
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    fn count(&self, known: bool) {
        if known {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            let now = self.now();
            let gap = now.saturating_sub(self.latest.fetch_max(now, Ordering::Relaxed));
            self.longest_gap.fetch_max(gap, Ordering::Relaxed);
        } else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Worker {
    client: u64,
    options: LoadOptions,
    servers: Vec<Client>,
    shared: Arc<Shared>,
}

impl Worker {
    async fn run(self) -> Seen {
        let mut seen = Seen::default();
        for number in 0.. {
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            // A cheap walk over keys, servers and kinds, different for each client.
            let draw = (number * 2_654_435_761 + self.client * 40_503) >> 7;
            let server = usize::try_from(draw / KEYS).unwrap() % self.servers.len();
            let server = &self.servers[server];
            let answered = if number % 4 == 3 {
                let key = format!("{}{}{}-{number}", self.options.prefix, KEPT, self.client);
                let write = server.put(key.as_bytes(), Bytes::from_static(b"kept")).await;
                let known = written(&write);
                if let Some(known) = known {
                    self.shared.count(known);
                    seen.kept.extend(known.then(|| Bytes::from(key)));
                }
                known == Some(true)
            } else {
                let key = Bytes::from(format!("{}key-{}", self.options.prefix, draw % KEYS));
                let operation = self.act(server, key, number).await;
                let answered = operation.as_ref().is_some_and(|it| it.returned.is_some());
                seen.operations.extend(operation);
                answered
            };
            let counter = if answered { &self.shared.answered } else { &self.shared.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            if !self.options.pause.is_zero() {
                sleep(self.options.pause).await;
            }
        }
        for client in &self.servers {
            client.close().await;
        }
        seen
    }

    /// Reads or writes a key that others use at the same time; nothing when nothing came of it.
    async fn act(&self, server: &Client, key: Bytes, number: u64) -> Option<Operation> {
        let called = self.shared.now();
        let (effect, known) = if number.is_multiple_of(2) {
            // A read without an answer saw nothing.
            let value = server.get(&key, self.options.consistency).await.ok()?;
            (Effect::Read(value), true)
        } else {
            let value = Bytes::from(format!("{}-{number}", self.client));
            let known = written(&server.put(&key, value.clone()).await)?;
            self.shared.count(known);
            (Effect::Write(Some(value)), known)
        };
        let returned = known.then(|| self.shared.now());
        Some(Operation { key, called, returned, effect })
    }
}

/// After the prefix, what keys begin with that are written once.
const KEPT: &str = "kept/";

/// Whether the outcome of a write is known; nothing when it certainly did not happen.
fn written<T>(result: &Result<T, ClientError>) -> Option<bool> {
    match result {
        Ok(_) => Some(true),
        Err(ClientError::Unknown(why)) => {
            println!("a write of unknown outcome: {why}");
            Some(false)
        }
        Err(ClientError::Unavailable(_)) => None,
        // The session ended while no server could be reached: an earlier try may have worked.
        Err(refused) if refused.has_code("no_such_session") => Some(false),
        Err(refused @ ClientError::Refused { .. }) => panic!("a good write was refused: {refused}"),
    }
}

impl Seen {
    /// Adds what the cluster holds in the end.
    pub async fn read_the_end(&mut self, client: &Client) {
        let end = self.operations.iter().filter_map(|it| it.returned).max().unwrap_or(0) + 1;
        for key in 0..KEYS {
            let key = Bytes::from(format!("{}key-{key}", self.prefix));
            let value = client.get(&key, Consistency::Linearizable).await.unwrap();
            let effect = Effect::Read(value);
            self.operations.push(Operation { key, called: end, returned: Some(end + 1), effect });
        }
    }

    /// Judges the history.
    pub fn check(&self) -> Result<(), Box<NotLinearizable>> {
        history::check(&self.operations)
    }

    /// Which acknowledged writes the cluster does not hold. None may be missing.
    pub async fn missing(&self, client: &Client) -> Vec<Bytes> {
        let mut missing: BTreeSet<&[u8]> = self.kept.iter().map(|key| &key[..]).collect();
        let prefix = escape(format!("{}{KEPT}", self.prefix).as_bytes());
        let mut start = String::new();
        loop {
            let path = format!("/kv?prefix={prefix}&limit={PAGE}{start}");
            let page = client.json(&Method::GET, &path, None).await.unwrap();
            for pair in page["pairs"].as_array().unwrap() {
                missing.remove(pair["key"].as_str().unwrap().as_bytes());
            }
            let Some(next) = page["next"].as_str() else { break };
            start = format!("&start={}", escape(next.as_bytes()));
        }
        missing.into_iter().map(Bytes::copy_from_slice).collect()
    }

    /// Removes all keys of these clients, which have a prefix that ends with a slash.
    pub async fn remove_all(&self, client: &Client) {
        remove_all(client, &self.prefix).await;
    }
}

/// Removes all keys with a prefix that ends with a slash.
pub async fn remove_all(client: &Client, prefix: &str) {
    let start = prefix.strip_suffix('/').expect("a prefix of its own");
    // What follows a slash in the order of bytes.
    let range = json!({"start": prefix, "end": format!("{start}0")});
    let body = json!({"then": [{"delete_range": range}]});
    // Removing twice does no harm.
    eventually("the keys are removed", async || {
        client.json(&Method::POST, "/txn", Some(&body)).await.ok()
    })
    .await;
}

/// Adds what the cluster holds in the end and judges the whole: the history, and that all
/// acknowledged writes are found again.
pub async fn judge(mut seen: Seen, client: &Client) {
    seen.read_the_end(client).await;
    if let Err(violation) = seen.check() {
        panic!("{violation}");
    }
    let missing = seen.missing(client).await;
    assert!(missing.is_empty(), "acknowledged, and not found again: {missing:?}");
    let (operations, kept) = (seen.operations.len(), seen.kept.len());
    println!("{operations} operations are linearizable; {kept} acknowledged writes are found");
}
