//! Three server processes on this machine, of this project or of etcd. They use free ports and a
//! directory under `target/`. Dropping a cluster ends them.

mod etcd;
mod ours;
mod usage;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::time::sleep;

pub use usage::Usage;

/// Number of servers in each cluster.
pub const SERVERS: usize = 3;

/// Maximum wait for a condition before a measurement fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// The project that the servers belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// This project.
    Glassraft,
    /// etcd.
    Etcd,
}

impl Contender {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Glassraft => "glassraft",
            Self::Etcd => "etcd",
        }
    }
}

/// How to run the servers.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The project that the servers belong to.
    pub contender: Contender,
    /// Path of the server program.
    pub program: PathBuf,
    /// Directory for data and logs; emptied first.
    pub directory: PathBuf,
    /// The minimum election timeout; the maximum is twice that. `None` leaves each project's
    /// default.
    pub election_timeout: Option<Duration>,
}

/// A running cluster of three servers.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
    started_before: bool,
}

impl Cluster {
    /// Starts three servers and waits until they have a leader.
    pub async fn start(setup: Setup) -> Result<Self> {
        let directory = &setup.directory;
        if directory.exists() {
            std::fs::remove_dir_all(directory)
                .with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let mut servers = Vec::new();
        // Hold all ports until the last one is chosen, to get different ports.
        let mut held = Vec::new();
        for _ in 0..SERVERS {
            let mut port = || -> Result<u16> {
                let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
                let port = listener.local_addr()?.port();
                held.push(listener);
                Ok(port)
            };
            let (client_port, peer_port) = (port()?, port()?);
            servers.push(Server { client_port, peer_port, child: None, started_before: false });
        }
        drop(held);
        let mut cluster = Self { setup, servers };
        for server in 0..SERVERS {
            cluster.spawn(server)?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The project that the servers belong to.
    pub const fn contender(&self) -> Contender {
        self.setup.contender
    }

    /// A server's address for clients.
    pub fn address(&self, server: usize) -> String {
        format!("127.0.0.1:{}", self.servers[server].client_port)
    }

    /// A server's data directory.
    pub fn data(&self, server: usize) -> PathBuf {
        self.setup.directory.join(format!("data-{}", server + 1))
    }

    /// Starts a stopped server.
    pub fn spawn(&mut self, server: usize) -> Result<()> {
        let mut command = match self.setup.contender {
            Contender::Glassraft => ours::command(self, server),
            Contender::Etcd => etcd::command(self, server),
        };
        let log = self.setup.directory.join(format!("{}.log", server + 1));
        let log = File::options().create(true).append(true).open(log).context("no log file")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = self.setup.program.display();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let server = &mut self.servers[server];
        server.child = Some(child);
        server.started_before = true;
        Ok(())
    }

    /// Sends SIGKILL and returns the time just after it.
    pub fn kill(&mut self, server: usize) -> Result<Instant> {
        let Some(mut child) = self.servers[server].child.take() else {
            bail!("server {} does not run", server + 1);
        };
        child.kill().context("cannot stop a server")?;
        let at = Instant::now();
        child.wait().context("cannot wait for the end of a server")?;
        Ok(at)
    }

    /// Waits until a majority names the same running leader, and returns it.
    pub async fn leader(&self) -> Result<usize> {
        eventually("a leader", async || {
            let mut named = Vec::new();
            for server in 0..SERVERS {
                let answer = match self.setup.contender {
                    Contender::Glassraft => ours::leader(self, server).await,
                    Contender::Etcd => etcd::leader(self, server).await,
                };
                named.extend(answer);
            }
            let first = *named.first()?;
            let agreed = named.iter().filter(|other| **other == first).count();
            (agreed > SERVERS / 2 && self.servers[first].child.is_some()).then_some(first)
        })
        .await
    }

    /// Waits until a server has applied everything that the cluster has committed.
    pub async fn caught_up(&self, server: usize) -> Result<()> {
        let what = format!("server {} has caught up", server + 1);
        eventually(&what, async || {
            let (mine, best) = match self.setup.contender {
                Contender::Glassraft => ours::progress(self, server).await?,
                Contender::Etcd => etcd::progress(self, server).await?,
            };
            (mine >= best && best > 0).then_some(())
        })
        .await
    }

    /// CPU time and memory of all running servers.
    pub fn usage(&self) -> Usage {
        let pids = self.servers.iter().filter_map(|server| server.child.as_ref());
        pids.map(|child| Usage::of(child.id())).sum()
    }

    /// CPU time and memory of a server.
    pub fn usage_of(&self, server: usize) -> Usage {
        self.servers[server].child.as_ref().map(|child| Usage::of(child.id())).unwrap_or_default()
    }

    /// Bytes that a server's data directory occupies on disk.
    pub fn disk(&self, server: usize) -> u64 {
        directory_bytes(&self.data(server))
    }

    fn client_ports(&self) -> impl Iterator<Item = (usize, u16)> {
        self.servers.iter().map(|server| server.client_port).enumerate()
    }

    fn command(&self) -> Command {
        Command::new(&self.setup.program)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.servers.iter_mut().filter_map(|server| server.child.as_mut()) {
            // The process may have ended already; ignore errors.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Polls a condition until it holds; fails after a minute.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = condition().await {
            return Ok(it);
        }
        if Instant::now() > deadline {
            bail!("timed out after {} s waiting for: {what}", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn directory_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
        // Count blocks instead of length: space is preallocated, and files may have holes.
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
