//! A network between servers, and between clients and servers, in user space: links with bandwidth
//! and delay that fall silent and forget connections, all while the servers run.
//!
//! Each server listens where nobody looks for it, and the members' addresses are those of proxies. So
//! servers need no list of their own: whoever dials says in its handshake who it is. Two things are
//! not as on a real network. A connection to a proxy is always made, and falls silent after that;
//! `hosts.rs` has routes that swallow SYNs. And clients' requests that one server passes on to another
//! go to that one's address for clients, past the proxies; `--allow-faults` cuts those too.

mod hello;
#[cfg(test)]
mod tests;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use native_node::config::Address;
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::Cluster;
pub use way::Quality;
use way::Way;

/// In place of a server's number: the clients that come over the network.
pub const CLIENTS: usize = 0;

/// How long an introduction may take: longer than servers wait for it.
const INTRODUCTION: Duration = Duration::from_secs(30);

/// The proxies between all ends. Dropping it ends them.
pub struct Network {
    links: Arc<Links>,
    accepting: JoinSet<()>,
}

/// By who dials and who is dialled.
type Links = BTreeMap<(usize, usize), Link>;

/// The connections that one end has made to another.
#[derive(Clone)]
struct Link {
    there: Arc<Way>,
    back: Arc<Way>,
    fate: watch::Sender<Fate>,
}

/// What has happened to connections, counted: it happens to those that stand then.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Fate {
    forgotten: u64,
    half_open: u64,
}

impl Network {
    /// Puts links like this between any two servers, none of which is started yet, and between them
    /// and clients.
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

    /// Where clients reach these servers over the network.
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

    /// Changes what the way from one end to another is like, from now on.
    pub fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Quality)) {
        self.links[&(from, to)].there.quality.send_modify(change);
    }

    /// What the way is like.
    pub fn quality(&self, from: usize, to: usize) -> Quality {
        *self.links[&(from, to)].there.quality.borrow()
    }

    /// All pairs of different ends, those with clients included.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.links.keys().copied()
    }

    /// From now on the connections that stand carry nothing, and do not break either: as when a
    /// firewall has forgotten them. New ones work.
    pub fn forget_connections(&self) {
        for link in self.links.values() {
            link.fate.send_modify(|fate| fate.forgotten += 1);
        }
    }

    /// The connections that `from` made to `to` end at `to`, and `from` never hears of it.
    pub fn half_open(&self, from: usize, to: usize) {
        self.links[&(from, to)].fate.send_modify(|fate| fate.half_open += 1);
    }

    /// The bytes carried on all of it.
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
                // Without descriptors there is nothing to serve; the next one may work.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(serve(stream));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// Serves a connection to a server once it is known who made it.
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
    /// Carries a connection until it ends or something happens to it.
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
                    *changed.expect("the link is there")
                }
            }
        };
        // Whoever is still there may send as much as it likes: nobody hears it.
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
