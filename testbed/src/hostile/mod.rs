//! Clients that mean no good: slow, huge, half open, far too many, without a token that holds, or
//! speaking nonsense where servers speak with each other. They go on until they are stopped.

mod peers;
mod requests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use native_node::config::Address;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::Cluster;

/// With what all keys begin that they write.
pub const PREFIX: &str = "hostile/";

/// The pause before a connection that has ended is made anew.
const PAUSE: Duration = Duration::from_millis(20);

/// What kind they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They send headers and bodies, and read answers, a byte at a time.
    Slow,
    /// They send bodies at the limits and above, and read ranges of everything.
    Huge,
    /// They connect and say nothing, to both ports.
    HalfOpen,
    /// They ask for more than is let in at once, without waiting.
    Flood,
    /// They speak to the port for servers: nonsense, other programs' languages, other versions.
    Garbage,
    /// They show tokens that do not hold, or none.
    Strangers,
}

/// A server to be molested.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where clients reach it.
    pub client: Address,
    /// Where it listens for other servers.
    pub peer: Address,
    /// A token that holds.
    pub token: String,
}

impl Target {
    /// Some server of a cluster that asks for this token.
    pub fn of(cluster: &Cluster, id: usize, token: &str) -> Self {
        let (client, peer) = (cluster.address(id), cluster.own_peer_address(id));
        Self { client, peer, token: token.to_owned() }
    }
}

/// Hostile clients at work. Dropping it stops them.
pub struct Hostile {
    clients: JoinSet<()>,
    tally: Arc<Tally>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
}

impl Tally {
    fn answered(&self, status: u16) {
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
    }

    /// How many connections they made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many answers had such a status.
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
    /// Starts clients of this kind at these servers.
    pub fn start(kind: Kind, targets: &[Target]) -> Self {
        let mut hostile = Self { clients: JoinSet::new(), tally: Arc::default() };
        if let (Kind::Huge, [target, ..]) = (kind, targets) {
            // What is let in has to go over all links, where judged clients' writes wait behind it.
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

    /// So many clients that connect, do this, and begin anew when the connection ends.
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
                        // Being cut is what they deserve.
                        drop(act(stream, Visit { number: visit, target, tally }).await);
                    }
                    sleep(PAUSE).await;
                }
            });
        }
    }

    /// Stops them and gives what became of them.
    pub async fn stop(mut self) -> Arc<Tally> {
        self.clients.shutdown().await;
        self.tally
    }
}

/// One connection.
struct Visit {
    /// Another one each time, and for each client.
    number: u64,
    target: Target,
    tally: Arc<Tally>,
}

/// Says nothing until it is cut.
async fn silence(mut stream: TcpStream, _: Visit) -> std::io::Result<()> {
    stream.read(&mut [0]).await.map(drop)
}
