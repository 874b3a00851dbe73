//! Hostile clients. They send slow or huge requests, open half-open or too many connections, use
//! invalid tokens, or send garbage to the peer port. They continue until they are stopped.

mod peers;
mod requests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::address::Address;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::Cluster;

/// Prefix of all keys that hostile clients write.
pub const PREFIX: &str = "hostile/";

/// Delay before a client connects again.
const PAUSE: Duration = Duration::from_millis(20);

/// Kind of hostile clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They send headers and bodies, and read responses, byte by byte.
    Slow,
    /// They send bodies at and above the limits, and read large ranges.
    Huge,
    /// They connect to both ports and send nothing.
    HalfOpen,
    /// They send more concurrent requests than a server accepts, without waiting.
    Flood,
    /// They send garbage, other protocols and other versions to the peer port.
    Garbage,
    /// They send invalid tokens, or none.
    Strangers,
}

/// A server to attack.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address for clients.
    pub client: Address,
    /// The address where it listens for other servers.
    pub peer: Address,
    /// A valid token.
    pub token: String,
}

impl Target {
    /// A server of a cluster that requires this token.
    pub fn of(cluster: &Cluster, id: usize, token: &str) -> Self {
        let (client, peer) = (cluster.address(id), cluster.own_peer_address(id));
        Self { client, peer, token: token.to_owned() }
    }
}

/// Running hostile clients. Dropping it stops them.
pub struct Hostile {
    clients: JoinSet<()>,
    tally: Arc<Tally>,
}

/// Connections and responses of hostile clients.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
}

impl Tally {
    fn answered(&self, status: u16) {
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
    }

    /// Number of connections.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Number of responses with a matching status.
    pub fn with_status(&self, meant: impl Fn(u16) -> bool) -> u64 {
        let statuses = self.statuses.lock().unwrap();
        statuses.iter().filter(|(status, _)| meant(**status)).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.connections())?;
        for (status, count) in &*self.statuses.lock().unwrap() {
            write!(f, ", {count} times {status}")?;
        }
        Ok(())
    }
}

impl Hostile {
    /// Starts clients of this kind against these servers.
    pub fn start(kind: Kind, targets: &[Target]) -> Self {
        let mut hostile = Self { clients: JoinSet::new(), tally: Arc::default() };
        if let (Kind::Huge, [target, ..]) = (kind, targets) {
            // Only a single such client: accepted values use all links, and judged clients' writes
            // wait behind them.
            hostile.add(1, &target.client, target, requests::largest);
        }
        for target in targets {
            let (client, peer) = (&target.client, &target.peer);
            match kind {
                Kind::Slow => {
                    hostile.add(20, client, target, requests::slow_header);
                    hostile.add(20, client, target, requests::slow_body);
                    hostile.add(10, client, target, requests::slow_reader);
                }
                Kind::Huge => hostile.add(4, client, target, requests::huge),
                Kind::HalfOpen => {
                    hostile.add(300, client, target, silence);
                    hostile.add(100, peer, target, silence);
                }
                Kind::Flood => hostile.add(60, client, target, requests::flood),
                Kind::Garbage => hostile.add(10, peer, target, peers::garbage),
                Kind::Strangers => hostile.add(10, client, target, requests::stranger),
            }
        }
        hostile
    }

    /// Adds `count` clients that connect, run `act`, and reconnect when the connection ends.
    fn add<F>(
        &mut self,
        count: u64,
        at: &Address,
        target: &Target,
        act: impl Fn(TcpStream, Visit) -> F + Copy + Send + 'static,
    ) where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        for number in 0..count {
            let (at, target, tally) = (at.to_string(), target.clone(), Arc::clone(&self.tally));
            self.clients.spawn(async move {
                for visit in number.. {
                    if let Ok(stream) = TcpStream::connect(&at).await {
                        tally.connections.fetch_add(1, Ordering::Relaxed);
                        let (target, tally) = (target.clone(), Arc::clone(&tally));
                        // Servers may cut these connections.
                        drop(act(stream, Visit { number: visit, target, tally }).await);
                    }
                    sleep(PAUSE).await;
                }
            });
        }
    }

    /// Stops the clients and returns their counts.
    pub async fn stop(mut self) -> Arc<Tally> {
        self.clients.shutdown().await;
        self.tally
    }
}

/// A connection.
struct Visit {
    /// Differs for each connection and initially for each client.
    number: u64,
    target: Target,
    tally: Arc<Tally>,
}

/// Sends nothing until the server closes the connection.
async fn silence(mut stream: TcpStream, _: Visit) -> std::io::Result<()> {
    stream.read(&mut [0]).await.map(drop)
}
