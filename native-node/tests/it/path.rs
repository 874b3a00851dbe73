//! A network between servers with a bandwidth and a delay, in user space: TCP connections are passed
//! on piece by piece, and all pieces from one server to another wait in the same line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use native_node::config::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;

/// What a path carries at once, as Ethernet does.
const PIECE: usize = 1460;

/// So much waits in line before a path at most, in bytes; then senders wait. Networks have such
/// queues, and longer ones.
const LINE: f64 = 256.0 * 1024.0;

/// All paths of a cluster.
pub(crate) struct Paths {
    ways: BTreeMap<(usize, usize), Arc<Way>>,
    /// Connections that were made before this became larger carry nothing any more.
    frozen: Arc<AtomicU64>,
    _accepting: JoinSet<()>,
}

/// From one server to another.
struct Way {
    bytes_per_second: f64,
    delay: Duration,
    free_at: Mutex<Instant>,
    carried: AtomicU64,
}

impl Paths {
    /// Puts a path between any two servers that are not started yet.
    pub(crate) async fn between(cluster: &mut Cluster, mbit: f64, delay: Duration) -> Self {
        let mut ways = BTreeMap::new();
        for (from, to) in pairs(cluster) {
            let way = Way {
                bytes_per_second: mbit * 1e6 / 8.0,
                delay,
                free_at: Mutex::new(Instant::now()),
                carried: AtomicU64::new(0),
            };
            ways.insert((from, to), Arc::new(way));
        }
        let frozen = Arc::<AtomicU64>::default();
        let mut accepting = JoinSet::new();
        for (from, to) in pairs(cluster) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            cluster.route(from, to, listener.local_addr().unwrap().into());
            let (there, back) = (Arc::clone(&ways[&(from, to)]), Arc::clone(&ways[&(to, from)]));
            let (server, frozen) = (cluster.peer_address(to), Arc::clone(&frozen));
            accepting.spawn(accept(listener, server, there, back, frozen));
        }
        Self { ways, frozen, _accepting: accepting }
    }

    /// From now on the connections that stand carry nothing, and do not break either: as when a
    /// firewall has forgotten them. New ones work.
    pub(crate) fn freeze_connections(&self) {
        self.frozen.fetch_add(1, Ordering::Relaxed);
    }

    /// The bytes carried on all of them.
    pub(crate) fn carried(&self) -> u64 {
        self.ways.values().map(|way| way.carried.load(Ordering::Relaxed)).sum()
    }
}

fn pairs(cluster: &Cluster) -> Vec<(usize, usize)> {
    let from = |from| cluster.ids().filter(move |to| *to != from).map(move |to| (from, to));
    cluster.ids().flat_map(from).collect()
}

async fn accept(
    listener: TcpListener,
    server: Address,
    there: Arc<Way>,
    back: Arc<Way>,
    frozen: Arc<AtomicU64>,
) {
    let mut passing = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let Ok(server) = TcpStream::connect(server.to_string()).await else { continue };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        passing.spawn(carry(from_client, to_server, Arc::clone(&there), Arc::clone(&frozen)));
        passing.spawn(carry(from_server, to_client, Arc::clone(&back), Arc::clone(&frozen)));
    }
}

/// Carries one direction of a connection.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Arc<Way>,
    frozen: Arc<AtomicU64>,
) {
    let made = frozen.load(Ordering::Relaxed);
    let (sender, mut flying) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let arriving = async {
        while let Some((at, piece)) = flying.recv().await {
            sleep_until(at).await;
            if frozen.load(Ordering::Relaxed) > made {
                std::future::pending::<()>().await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let leaving = async {
        let mut piece = [0; PIECE];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            if frozen.load(Ordering::Relaxed) > made {
                std::future::pending::<()>().await;
            }
            let at = way.pass(read).await;
            if sender.send((at, piece[..read].to_vec())).is_err() {
                return;
            }
        }
        drop(sender);
    };
    tokio::join!(arriving, leaving);
}

impl Way {
    /// Waits in line, and gives when so many bytes arrive.
    async fn pass(&self, bytes: usize) -> Instant {
        let mut free_at = self.free_at.lock().await;
        let line = Duration::from_secs_f64(LINE / self.bytes_per_second);
        sleep_until(*free_at - line.min(free_at.saturating_duration_since(Instant::now()))).await;
        let leaves = (*free_at).max(Instant::now());
        let span = f64::from(u32::try_from(bytes).unwrap()) / self.bytes_per_second;
        *free_at = leaves + Duration::from_secs_f64(span);
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        *free_at + self.delay
    }
}
