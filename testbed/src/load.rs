//! Clients that write and read at the same time and write down what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use native_node::client::{Client, ClientError, ClientOptions};
use native_node::config::Address;
use native_node::http::request::Consistency;
use raft_core::history::{self, Effect, Operation};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::eventually;

/// Keys are few, so that clients meet on them.
const KEYS: u64 = 5;

/// How long one request may take. Whatever is unknown after it makes the search longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clients at work.
pub struct Load {
    clients: JoinSet<Vec<Operation>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    unknown: Arc<AtomicU64>,
}

impl Load {
    /// Starts so many clients. Each asks a server of its own choice first, and the others when that
    /// one cannot help.
    pub fn start(clients: u64, servers: &[Address]) -> Self {
        Self::reading(clients, servers, Consistency::Linearizable)
    }

    /// The same with reads of this kind.
    pub fn reading(clients: u64, servers: &[Address], consistency: Consistency) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (acknowledged, unknown) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let start = Instant::now();
        let mut set = JoinSet::new();
        for client in 0..clients {
            let beginning_with = |first| {
                let mut order = servers.to_vec();
                order.rotate_left(first);
                let sessions = Some(ClientOptions::SESSION_TTL);
                Client::with(ClientOptions { sessions, ..ClientOptions::new(order, PATIENCE) })
            };
            let worker = Worker {
                client,
                consistency,
                servers: (0..servers.len()).map(beginning_with).collect(),
                start,
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
                unknown: Arc::clone(&unknown),
            };
            set.spawn(worker.run());
        }
        Self { clients: set, stop, acknowledged, unknown }
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
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
        self.unknown.load(Ordering::Relaxed)
    }

    /// Ends the clients and gives what they saw.
    pub async fn finish(self) -> Vec<Operation> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

struct Worker {
    client: u64,
    consistency: Consistency,
    servers: Vec<Client>,
    start: Instant,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    unknown: Arc<AtomicU64>,
}

impl Worker {
    async fn run(self) -> Vec<Operation> {
        let mut seen = Vec::new();
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            // A cheap walk over keys, servers and kinds, different for each client.
            let draw = (number * 2_654_435_761 + self.client * 40_503) >> 7;
            let key = Bytes::from(format!("key-{}", draw % KEYS));
            let server = usize::try_from(draw / KEYS).unwrap() % self.servers.len();
            let server = &self.servers[server];
            let called = self.now();
            let effect = if number % 3 == 0 {
                let read = server.get(&key, self.consistency).await;
                // A read without an answer saw nothing.
                let Ok(value) = read else { continue };
                Some((Effect::Read(value), true))
            } else {
                let value = Bytes::from(format!("{}-{number}", self.client));
                let write = server.put(&key, value.clone()).await;
                written(&write).map(|known| (Effect::Write(Some(value)), known))
            };
            let Some((effect, known)) = effect else { continue };
            if known && matches!(effect, Effect::Write(_)) {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            if !known {
                self.unknown.fetch_add(1, Ordering::Relaxed);
            }
            let returned = known.then(|| self.now());
            seen.push(Operation { key, called, returned, effect });
        }
        seen
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }
}

/// Whether the outcome of a write is known; nothing when it certainly did not happen.
fn written<T>(result: &Result<T, ClientError>) -> Option<bool> {
    match result {
        Ok(_) => Some(true),
        Err(ClientError::Unknown(why)) => {
            println!("a write of unknown outcome: {why}");
            Some(false)
        }
        Err(ClientError::Unavailable(_)) => None,
        Err(refused @ ClientError::Refused { .. }) => panic!("a good write was refused: {refused}"),
    }
}

/// Adds what the cluster holds in the end and judges the whole.
pub async fn judge(mut operations: Vec<Operation>, client: &Client) {
    let end = operations.iter().filter_map(|it| it.returned).max().unwrap_or(0) + 1;
    for key in 0..KEYS {
        let key = Bytes::from(format!("key-{key}"));
        let value = client.get(&key, Consistency::Linearizable).await.unwrap();
        let effect = Effect::Read(value);
        operations.push(Operation { key, called: end, returned: Some(end + 1), effect });
    }
    if let Err(violation) = history::check(&operations) {
        panic!("{violation}");
    }
}
