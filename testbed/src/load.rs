//! Clients that write and read concurrently and record what they see.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::address::Address;
use api::kv::Consistency;
use bytes::Bytes;
use client::{Client, ClientError, ClientOptions, Token, escape};
use hyper::Method;
use raft_core::history::{self, Effect, NotLinearizable, Operation};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::eventually;

/// Number of shared keys; few, to make clients conflict.
const KEYS: u64 = 5;

/// Default timeout of a request. It is short because unknown outcomes make the history search
/// longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum number of pairs in a page of a range.
const PAGE: usize = 1000;

/// Behaviour of the clients.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Number of clients.
    pub clients: u64,
    /// Consistency of their reads.
    pub consistency: Consistency,
    /// Prefix of all keys. No such key may exist at the start.
    pub prefix: String,
    /// Delay of each client after a request.
    pub pause: Duration,
    /// Which clients write in a session, and so may retry a write.
    pub sessions: InSession,
    /// The API token that they send.
    pub token: Option<Token>,
    /// Addresses that far clients, the last `far_clients`, use instead.
    pub far: Vec<Address>,
    /// Number of far clients.
    pub far_clients: u64,
    /// Timeout of a request.
    pub patience: Duration,
}

/// Which clients use sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InSession {
    /// No client: a write stays in doubt if its connection breaks.
    Nobody,
    /// Every second client.
    Half,
    /// All clients.
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
    /// Options for `clients` clients without delay.
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

/// Running clients.
pub struct Load {
    clients: JoinSet<Seen>,
    prefix: String,
    shared: Arc<Shared>,
}

/// Counters that the clients share.
struct Shared {
    start: Instant,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    /// Requests with a response, including reads, and requests without.
    answered: AtomicU64,
    failed: AtomicU64,
    /// Time of the latest acknowledged write, in ns since the start.
    latest: AtomicU64,
    /// Longest time between two acknowledged writes, in ns.
    longest_gap: AtomicU64,
}

/// What the clients recorded.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// All operations on the shared keys.
    pub operations: Vec<Operation>,
    /// Keys that were written once and acknowledged; the cluster must still have them.
    pub kept: Vec<Bytes>,
    /// Prefix of all keys.
    pub prefix: String,
}

impl Load {
    /// Starts clients. Each request goes to a varying server first, and to the others if the first
    /// cannot help.
    pub fn start(clients: u64, servers: &[Address]) -> Self {
        Self::with(LoadOptions::new(clients), servers)
    }

    /// Like [`Self::start`], with this consistency of reads.
    pub fn reading(clients: u64, servers: &[Address], consistency: Consistency) -> Self {
        Self::with(LoadOptions { consistency, ..LoadOptions::new(clients) }, servers)
    }

    /// Starts clients with these options.
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

    /// Number of acknowledged writes so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `count` more writes are acknowledged.
    pub async fn more_writes(&self, count: u64) {
        let goal = self.acknowledged() + count;
        eventually("clients succeed with writes", async || {
            (self.acknowledged() >= goal).then_some(())
        })
        .await;
    }

    /// Number of writes with unknown outcome.
    pub fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// Numbers of answered and failed requests so far. A request fails if no server responds in
    /// time or if its outcome is unknown.
    pub fn answered_and_failed(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.shared.answered), count(&self.shared.failed))
    }

    /// Longest time without an acknowledged write since the last call, or since the start.
    pub fn take_longest_gap(&self) -> Duration {
        let latest = self.shared.latest.load(Ordering::Relaxed);
        let running = self.shared.now().saturating_sub(latest);
        Duration::from_nanos(self.shared.longest_gap.swap(0, Ordering::Relaxed).max(running))
    }

    /// Stops the clients and returns what they recorded.
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
            // A cheap pseudorandom sequence of keys and servers, different for each client.
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

    /// Reads or writes a shared key; `None` if it had no effect.
    async fn act(&self, server: &Client, key: Bytes, number: u64) -> Option<Operation> {
        let called = self.shared.now();
        let (effect, known) = if number.is_multiple_of(2) {
            // A read without a response saw nothing.
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

/// Prefix, after that of all keys, of keys that are written once.
const KEPT: &str = "kept/";

/// Whether the outcome of a write is known; `None` if it certainly had no effect.
fn written<T>(result: &Result<T, ClientError>) -> Option<bool> {
    match result {
        Ok(_) => Some(true),
        Err(ClientError::Unknown(why)) => {
            println!("a write with unknown outcome: {why}");
            Some(false)
        }
        Err(ClientError::Unavailable(_)) => None,
        // The session ended while no server was reachable: an earlier attempt may have succeeded.
        Err(refused) if refused.has_code("no_such_session") => Some(false),
        Err(refused @ ClientError::Refused { .. }) => panic!("valid write was refused: {refused}"),
    }
}

impl Seen {
    /// Adds linearizable reads of the final values.
    pub async fn read_the_end(&mut self, client: &Client) {
        let end = self.operations.iter().filter_map(|it| it.returned).max().unwrap_or(0) + 1;
        for key in 0..KEYS {
            let key = Bytes::from(format!("{}key-{key}", self.prefix));
            let value = client.get(&key, Consistency::Linearizable).await.unwrap();
            let effect = Effect::Read(value);
            self.operations.push(Operation { key, called: end, returned: Some(end + 1), effect });
        }
    }

    /// Checks that the history is linearizable.
    pub fn check(&self) -> Result<(), Box<NotLinearizable>> {
        history::check(&self.operations)
    }

    /// Returns the acknowledged writes that the cluster lacks. None may be missing.
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

    /// Removes all keys of these clients; the prefix must end with a slash.
    pub async fn remove_all(&self, client: &Client) {
        remove_all(client, &self.prefix).await;
    }
}

/// Removes all keys with a prefix that ends with a slash.
pub async fn remove_all(client: &Client, prefix: &str) {
    let start = prefix.strip_suffix('/').expect("the prefix ends with a slash");
    // The byte after a slash is `0`.
    let range = json!({"start": prefix, "end": format!("{start}0")});
    let body = json!({"then": [{"delete_range": range}]});
    // A retry does no harm.
    eventually("the keys are removed", async || {
        client.json(&Method::POST, "/txn", Some(&body)).await.ok()
    })
    .await;
}

/// Adds reads of the final values, then checks the history and that no acknowledged write is
/// missing.
pub async fn judge(mut seen: Seen, client: &Client) {
    seen.read_the_end(client).await;
    if let Err(violation) = seen.check() {
        panic!("{violation}");
    }
    let missing = seen.missing(client).await;
    assert!(missing.is_empty(), "acknowledged writes are missing: {missing:?}");
    let (operations, kept) = (seen.operations.len(), seen.kept.len());
    println!("{operations} operations are linearizable; {kept} acknowledged writes are found");
}
