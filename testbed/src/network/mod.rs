//! A user-space network between servers, and between clients and servers. Its links have bandwidth
//! and delay, can become silent, and can forget connections, all while the servers run.
//!
//! The members' addresses are those of proxies, and each server listens at another address. The
//! servers need no separate member lists, because the dialling server names itself in its
//! handshake. Two things differ from a real network:
//!
//! - A proxy always accepts a connection, even on a silent link. `hosts.rs` has routes that drop
//!   SYNs.
//! - Requests that a server forwards go to the other server's client address and bypass the
//!   proxies. `--allow-faults` cuts those too.

mod hello;
#[cfg(test)]
mod tests;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::address::Address;
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::Cluster;
pub use way::Quality;
use way::Way;

/// Stands for clients in place of a server's number.
pub const CLIENTS: usize = 0;

/// Timeout of a handshake's first message; longer than the servers' own timeout.
const INTRODUCTION: Duration = Duration::from_secs(30);

/// The proxies between servers, and between clients and servers. Dropping it stops them.
pub struct Network {
    links: Arc<Links>,
    accepting: JoinSet<()>,
}

/// Links by dialling and dialled end.
type Links = BTreeMap<(usize, usize), Link>;

/// All connections from a dialling end to another end.
#[derive(Clone)]
struct Link {
    there: Arc<Way>,
    back: Arc<Way>,
    fate: watch::Sender<Fate>,
}

/// Numbers of faults so far; a fault affects the connections that exist at that time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Fate {
    forgotten: u64,
    half_open: u64,
}

impl Network {
    /// Puts links of this quality between all servers and between servers and clients. No server
    /// may have been started yet.
    pub async fn between(cluster: &mut Cluster, quality: Quality) -> Self {
        let ends: Vec<usize> = cluster.ids().collect();
        let with_clients = || ends.iter().copied().chain([CLIENTS]);
        let pairs = || with_clients().flat_map(|from| with_clients().map(move |to| (from, to)));
        let ways: BTreeMap<_, _> =
            pairs().map(|pair| (pair, Arc::new(Way::new(quality)))).collect();
        let link = |(from, to): (usize, usize)| Link {
            there: Arc::clone(&ways[&(from, to)]),
            back: Arc::clone(&ways[&(to, from)]),
            fate: watch::Sender::default(),
        };
        let links: Links =
            pairs().filter(|(from, to)| from != to).map(|pair| (pair, link(pair))).collect();
        let links = Arc::new(links);
        let mut accepting = JoinSet::new();
        for id in ends {
            let listener = listener().await;
            let server = cluster.advertise(id, listener.local_addr().unwrap().into());
            let links = Arc::clone(&links);
            accepting.spawn(accept(listener, move |stream| {
                introduced(stream, server.clone(), id, Arc::clone(&links))
            }));
        }
        Self { links, accepting }
    }

    /// Client addresses of the servers over this network.
    pub async fn client_addresses(&mut self, cluster: &Cluster) -> Vec<Address> {
        let mut addresses = Vec::new();
        for id in cluster.ids() {
            let listener = listener().await;
            addresses.push(listener.local_addr().unwrap().into());
            let (server, link) = (cluster.address(id), self.links[&(CLIENTS, id)].clone());
            self.accepting.spawn(accept(listener, move |stream| {
                let (server, link) = (server.clone(), link.clone());
                async move {
                    if let Ok(server) = TcpStream::connect(server.to_string()).await {
                        link.pass(Vec::new(), stream, server).await;
                    }
                }
            }));
        }
        addresses
    }

    /// Changes the quality of the link from one end to another.
    pub fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Quality)) {
        self.links[&(from, to)].there.quality.send_modify(change);
    }

    /// The quality of the link from one end to another.
    pub fn quality(&self, from: usize, to: usize) -> Quality {
        *self.links[&(from, to)].there.quality.borrow()
    }

    /// All ordered pairs of different ends, including clients.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.links.keys().copied()
    }

    /// Makes all existing connections carry nothing without breaking them, like a firewall that
    /// lost its state. New connections work.
    pub fn forget_connections(&self) {
        for link in self.links.values() {
            link.fate.send_modify(|fate| fate.forgotten += 1);
        }
    }

    /// Closes the connections from `from` at `to` only; `from` is not notified.
    pub fn half_open(&self, from: usize, to: usize) {
        self.links[&(from, to)].fate.send_modify(|fate| fate.half_open += 1);
    }

    /// Total bytes carried on all links.
    pub fn carried(&self) -> u64 {
        self.links.values().map(|link| link.there.carried()).sum()
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Without file descriptors accepting fails; a later attempt may succeed.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(serve(stream));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// Serves a connection to a server once the dialer is identified.
async fn introduced(mut dialer: TcpStream, server: Address, to: usize, links: Arc<Links>) {
    let Ok(mut server) = TcpStream::connect(server.to_string()).await else { return };
    for stream in [&dialer, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let introduction = timeout(INTRODUCTION, hello::introduce(&mut dialer, &mut server));
    let Ok(Some((from, first))) = introduction.await else { return };
    if let Some(link) = links.get(&(from, to)) {
        link.pass(first, dialer, server).await;
    }
}

impl Link {
    /// Forwards a connection until it ends or a fault affects it.
    async fn pass(&self, first: Vec<u8>, dialer: TcpStream, server: TcpStream) {
        let mut fate = self.fate.subscribe();
        let born = *fate.borrow();
        for stream in [&dialer, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (mut from_dialer, mut to_dialer) = dialer.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let now = {
            let there = self.there.carry(first, &mut from_dialer, &mut to_server);
            let back = self.back.carry(Vec::new(), &mut from_server, &mut to_dialer);
            tokio::select! {
                _ = async { tokio::join!(there, back) } => return,
                changed = fate.wait_for(|fate| *fate != born) => {
                    *changed.expect("the link exists")
                }
            }
        };
        // Discard everything that the remaining ends send.
        let mut void = sink();
        let dialer = copy(&mut from_dialer, &mut void);
        if now.half_open == born.half_open {
            let mut void = sink();
            let server = copy(&mut from_server, &mut void);
            drop(tokio::join!(dialer, server));
        } else {
            drop((from_server, to_server));
            drop(dialer.await);
        }
    }
}
