//! Load from clients in a closed loop: each sends its next request after the response. All clients
//! run on a single thread.

mod grouped;
mod grpc;
pub mod http;
mod http_client;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::cluster::{Cluster, Contender, SERVERS};

/// Bytes of each value.
pub const VALUE_BYTES: usize = 256;

/// Duration of the load before measuring begins.
const WARM_UP: Duration = Duration::from_secs(1);

/// Delay of a client after an error.
const PAUSE: Duration = Duration::from_millis(10);

/// Kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Durable writes, sent to the leader.
    Put,
    /// Linearizable reads, sent to the leader.
    Get,
    /// Stale reads ("serializable" in etcd), sent to all servers in turn.
    StaleGet,
    /// Nine linearizable reads for each write.
    Mix,
}

impl Work {
    /// All kinds of load.
    pub const ALL: [Self; 4] = [Self::Put, Self::Get, Self::StaleGet, Self::Mix];

    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "linearizable get",
            Self::StaleGet => "stale get",
            Self::Mix => "90% get, 10% put",
        }
    }
}

/// An operation on a key.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Put(u64),
    Get(u64),
    StaleGet(u64),
}

/// How clients talk to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// This project's HTTP API: a connection for each client, a request for each operation.
    Http,
    /// This project's Rust client. All clients are tasks of the same program, and their concurrent
    /// operations share requests.
    Grouped,
    /// etcd's gRPC API: clients share connections, and concurrent requests share packets.
    Grpc,
}

impl Interface {
    /// All interfaces.
    pub const ALL: [Self; 3] = [Self::Http, Self::Grouped, Self::Grpc];

    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "glassraft, HTTP",
            Self::Grouped => "glassraft, grouped",
            Self::Grpc => "etcd, gRPC",
        }
    }

    /// The project whose servers the interface reaches.
    pub const fn contender(self) -> Contender {
        match self {
            Self::Http | Self::Grouped => Contender::Glassraft,
            Self::Grpc => Contender::Etcd,
        }
    }

    /// The interface for everything but throughput measurements.
    pub const fn usual(contender: Contender) -> Self {
        match contender {
            Contender::Glassraft => Self::Http,
            Contender::Etcd => Self::Grpc,
        }
    }

    /// Whether the interface supports a kind of load.
    pub const fn can(self, work: Work) -> bool {
        !matches!((self, work), (Self::Grouped, Work::StaleGet))
    }
}

/// The load to run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What each client does.
    pub work: Work,
    /// Number of clients.
    pub clients: usize,
    /// Duration of the measurement.
    pub lasting: Duration,
    /// Number of keys that are written and read.
    pub keys: u64,
}

/// Result of a load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Successful operations per second.
    pub throughput: f64,
    /// Median latency, in milliseconds.
    pub p50: f64,
    /// 99th percentile of latency, in milliseconds.
    pub p99: f64,
    /// 99.9th percentile of latency, in milliseconds.
    pub p999: f64,
    /// Number of failed operations.
    pub errors: u64,
    /// CPU seconds of all servers per second of the run.
    pub cpu: f64,
    /// Resident memory of all servers at the end, in bytes.
    pub memory: u64,
}

/// What the clients of a run share.
struct Tally {
    latencies: Histogram<u64>,
    errors: u64,
    /// Start of the measurement.
    from: Instant,
    /// End of the measurement and of the clients.
    until: Instant,
}

impl Tally {
    fn new(lasting: Duration) -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, 120_000_000, 3).context("bounds")?;
        let from = Instant::now() + WARM_UP;
        Ok(Self { latencies, errors: 0, from, until: from + lasting })
    }

    fn count(&mut self, start: Instant, succeeded: bool) {
        let now = Instant::now();
        // Count operations that end within the measurement.
        if now < self.from || now > self.until {
            return;
        }
        if succeeded {
            let microseconds = u64::try_from((now - start).as_micros()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(microseconds);
        } else {
            self.errors += 1;
        }
    }
}

/// A client's random numbers, the same in every run.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // The generator from Numerical Recipes; its high bits are good enough to choose keys.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A client of any interface.
enum Client {
    Http(http_client::HttpClient),
    Grouped(grouped::GroupedClient),
    Grpc(Box<grpc::GrpcClient>),
}

impl Client {
    async fn perform(&mut self, operation: Operation) -> Result<()> {
        match self {
            Self::Http(client) => client.perform(operation).await,
            Self::Grouped(client) => client.perform(operation).await,
            Self::Grpc(client) => client.perform(operation).await,
        }
    }
}

/// Writes every key once. Must run on a [`tokio::task::LocalSet`], like everything in this module.
pub async fn fill(cluster: &Cluster, keys: u64) -> Result<()> {
    let leader = cluster.address(cluster.leader().await?);
    let next = Rc::new(RefCell::new(0..keys));
    let mut tasks = JoinSet::new();
    for mut client in connect(Interface::usual(cluster.contender()), &[leader], 256).await? {
        let next = Rc::clone(&next);
        tasks.spawn_local(async move {
            loop {
                let Some(key) = next.borrow_mut().next() else { return anyhow::Ok(()) };
                client.perform(Operation::Put(key)).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a client panicked")?.context("cannot write the keys")?;
    }
    Ok(())
}

/// Runs a load.
///
/// # Errors
/// When no client can connect, or no operation succeeds.
pub async fn run(cluster: &Cluster, interface: Interface, load: Load) -> Result<Measured> {
    let Load { work, clients, lasting, .. } = load;
    let addresses: Vec<String> = match work {
        Work::StaleGet => (0..SERVERS).map(|server| cluster.address(server)).collect(),
        Work::Put | Work::Get | Work::Mix => {
            vec![cluster.address(cluster.leader().await?)]
        }
    };
    let clients = connect(interface, &addresses, clients).await?;
    let tally = Rc::new(RefCell::new(Tally::new(lasting)?));
    let (from, until) = (tally.borrow().from, tally.borrow().until);
    let mut tasks = JoinSet::new();
    for (number, client) in (1..).zip(clients) {
        tasks.spawn_local(work_until(client, load, Dice(number), Rc::clone(&tally), until));
    }
    sleep_until(from.into()).await;
    let before = cluster.usage();
    sleep_until(until.into()).await;
    let after = cluster.usage();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a client panicked")?;
    }
    let tally = tally.borrow();
    let succeeded = tally.latencies.len();
    ensure!(succeeded > 0, "no {} succeeded", work.name());
    let milliseconds = |quantile| tally.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Measured {
        throughput: succeeded as f64 / lasting.as_secs_f64(),
        p50: milliseconds(0.5),
        p99: milliseconds(0.99),
        p999: milliseconds(0.999),
        errors: tally.errors,
        cpu: (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / lasting.as_secs_f64(),
        memory: after.memory,
    })
}

/// A client that writes to find out whether a server accepts writes.
pub struct Prober(Client);

impl Prober {
    /// Connects to a server.
    pub async fn connect(contender: Contender, address: &str) -> Result<Self> {
        let mut clients = connect(Interface::usual(contender), &[address.to_owned()], 1).await?;
        Ok(Self(clients.pop().context("there is no client")?))
    }

    /// Writes a key; fails if the write is not acknowledged.
    pub async fn put(&mut self) -> Result<()> {
        self.0.perform(Operation::Put(0)).await
    }
}

async fn connect(
    interface: Interface,
    addresses: &[String],
    how_many: usize,
) -> Result<Vec<Client>> {
    match interface {
        Interface::Grouped => {
            let clients = grouped::connect(addresses, how_many)?;
            Ok(clients.into_iter().map(Client::Grouped).collect())
        }
        Interface::Http => {
            let clients = http_client::connect(addresses, how_many).await?;
            Ok(clients.into_iter().map(Client::Http).collect())
        }
        Interface::Grpc => {
            let clients = grpc::connect(addresses, how_many).await?;
            Ok(clients.into_iter().map(|client| Client::Grpc(Box::new(client))).collect())
        }
    }
}

async fn work_until(
    mut client: Client,
    load: Load,
    mut dice: Dice,
    tally: Rc<RefCell<Tally>>,
    until: Instant,
) {
    while Instant::now() < until {
        let key = dice.below(load.keys);
        let operation = match load.work {
            Work::Put => Operation::Put(key),
            Work::StaleGet => Operation::StaleGet(key),
            Work::Mix if dice.below(10) == 0 => Operation::Put(key),
            Work::Get | Work::Mix => Operation::Get(key),
        };
        let start = Instant::now();
        let succeeded = client.perform(operation).await.is_ok();
        tally.borrow_mut().count(start, succeeded);
        if !succeeded {
            sleep(PAUSE).await;
        }
    }
}

fn key_name(key: u64) -> String {
    format!("key-{key:05}")
}
