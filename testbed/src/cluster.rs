//! A cluster of real processes on free ports, in a temporary directory.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use api::address::Address;
use api::status::ClusterStatus;
use bytes::Bytes;
use client::{Client, ClientOptions, Token};
use hyper::Method;
use native_node::auth::{self, Scope};
use raft_core::limits::Semantics;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::hosts::Hosts;
use crate::program::program_in;
pub use crate::program::{Limits, program, run_to_end, set_program};

/// Timeout of a condition, after which a test fails; long, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Timeout of a request.
pub const REQUEST: Duration = Duration::from_secs(8);

/// A cluster of server processes, three by default. Dropping it ends all of them.
pub struct Cluster {
    directory: TempDir,
    nodes: Vec<Node>,
    arguments: Vec<String>,
    /// Number of servers at first.
    originals: usize,
    /// Number of servers that bootstrap the cluster if their directory is empty.
    founders: usize,
    name: String,
    /// The administrator's API token, if the servers require tokens.
    token: Option<Token>,
}

struct Node {
    /// The program to run instead of the program under test.
    program: Option<PathBuf>,
    client: Address,
    /// The address that other servers connect to.
    peer: Address,
    /// The address where it listens for other servers, if different.
    listens: Option<Address>,
    limits: Limits,
    /// The network namespace to run in, if not ours.
    namespace: Option<String>,
    child: Option<Child>,
}

impl Node {
    /// A server on this machine's loopback interface.
    fn here() -> Self {
        Self::at(free_address(), free_address(), None)
    }

    fn at(client: Address, peer: Address, namespace: Option<String>) -> Self {
        let (program, listens, limits, child) = (None, None, Limits::default(), None);
        Self { program, client, peer, listens, limits, namespace, child }
    }
}

/// Long election timeouts for tests that are not about elections. On a busy machine the default
/// ones may expire while the leader waits for the CPU. The leader would then change during the
/// test.
pub const CALM: [&str; 2] = ["--election-timeout-min=600ms", "--election-timeout-max=1s"];

impl Cluster {
    /// Starts three servers with long election timeouts.
    pub fn start() -> Self {
        Self::start_with(3, &CALM)
    }

    /// Starts servers with extra arguments, in which `{id}` stands for a server's number.
    pub fn start_with(nodes: u16, arguments: &[&str]) -> Self {
        let mut cluster = Self::prepare(nodes, arguments);
        cluster.start_all();
        cluster
    }

    /// Starts all servers; none may run yet.
    pub fn start_all(&mut self) {
        for id in self.ids() {
            self.spawn(id);
        }
    }

    /// Chooses addresses but starts nothing.
    pub fn prepare(nodes: u16, arguments: &[&str]) -> Self {
        let nodes = (0..nodes).map(|_| Node::here()).collect();
        Self::of(tempfile::tempdir().unwrap(), nodes, arguments)
    }

    /// Like [`Self::prepare`], in the given directory.
    pub fn prepare_in(directory: TempDir, nodes: u16, arguments: &[&str]) -> Self {
        Self::of(directory, (0..nodes).map(|_| Node::here()).collect(), arguments)
    }

    /// Like [`Self::prepare`], with a server on each of these hosts, at the host's address.
    pub fn prepare_on(hosts: &Hosts, arguments: &[&str]) -> Self {
        let address = |host, port| format!("{}:{port}", hosts.address(host)).parse().unwrap();
        let node =
            |host| Node::at(address(host, 7001), address(host, 8001), Some(hosts.namespace(host)));
        let nodes = (1..=hosts.count()).map(node).collect();
        Self::of(tempfile::tempdir().unwrap(), nodes, arguments)
    }

    fn of(directory: TempDir, nodes: Vec<Node>, arguments: &[&str]) -> Self {
        let (originals, founders) = (nodes.len(), nodes.len());
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let name = "test".to_owned();
        Self { directory, nodes, arguments, originals, founders, name, token: None }
    }

    /// Sets the limits of a server from its next start on.
    pub fn limit(&mut self, id: usize, limits: Limits) {
        self.node(id).limits = limits;
    }

    /// The limits of a server from its next start on.
    pub fn limits(&self, id: usize) -> Limits {
        self.nodes[id - 1].limits.clone()
    }

    /// Makes servers require tokens from their next start on, and makes their clients send a token.
    /// Returns that token.
    pub fn ask_for_tokens(&mut self) -> String {
        let token = auth::Token::generate().unwrap();
        let file = self.directory.path().join("tokens");
        std::fs::write(&file, token.line("harness", Scope::Admin)).unwrap();
        self.arguments.push(format!("--tokens-file={}", file.display()));
        self.token = Some(Token::new(token.reveal()).unwrap());
        token.reveal().to_owned()
    }

    /// The administrator's API token, if the servers require tokens.
    pub const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Sets the program of a server from its next start on; `None` means the program under test.
    pub fn run(&mut self, id: usize, program: Option<&Path>) {
        self.node(id).program = program.map(Path::to_owned);
    }

    /// The servers' numbers.
    pub fn ids(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.nodes.len()
    }

    /// The numbers of the servers that were started and not ended since.
    pub fn running(&self) -> Vec<usize> {
        self.ids().filter(|id| self.nodes[id - 1].child.is_some()).collect()
    }

    /// The process ID of a running server.
    pub fn pid(&self, id: usize) -> u32 {
        self.nodes[id - 1].child.as_ref().expect("it runs").id()
    }

    /// Changes the cluster ID, which is `test` by default.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Chooses addresses for another server, which is to join. Returns its number.
    pub fn add(&mut self) -> usize {
        self.nodes.push(Node::here());
        self.nodes.len()
    }

    /// Deletes a server's data directory.
    pub fn wipe(&mut self, id: usize) {
        std::fs::remove_dir_all(self.data(id)).unwrap();
        // From now on servers start without `--new-cluster`: the cluster exists already.
        self.founders = 0;
    }

    fn node(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    /// A server's address for clients.
    pub fn address(&self, id: usize) -> Address {
        self.nodes[id - 1].client.clone()
    }

    /// A server's address for other servers.
    pub fn peer_address(&self, id: usize) -> Address {
        self.nodes[id - 1].peer.clone()
    }

    /// A client of a single server.
    pub fn client(&self, id: usize) -> Client {
        self.client_of(vec![self.address(id)], REQUEST)
    }

    /// A client of all servers.
    pub fn any_client(&self) -> Client {
        self.client_of(self.ids().map(|id| self.address(id)).collect(), REQUEST)
    }

    /// A client of these servers with this timeout.
    pub fn client_of(&self, servers: Vec<Address>, patience: Duration) -> Client {
        let token = self.token.clone();
        Client::with(ClientOptions { token, ..ClientOptions::new(servers, patience) })
    }

    /// A server's data directory.
    pub fn data(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("data-{id}"))
    }

    /// A server's log.
    pub fn log(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("{id}.log"))
    }

    /// The member list for `--members`.
    pub fn members(&self) -> String {
        self.ids().map(|id| self.member(id)).collect::<Vec<_>>().join(",")
    }

    /// The member list for a server. Servers that join later appear only in their own list.
    fn members_for(&self, id: usize) -> String {
        let known = self.ids().filter(|other| *other <= self.originals || *other == id);
        known.map(|other| self.member(other)).collect::<Vec<_>>().join(",")
    }

    /// Sets the address that other servers use for a server, from its next start on. Returns the
    /// address where it listens.
    pub fn advertise(&mut self, id: usize, address: Address) -> Address {
        let node = self.node(id);
        let own = node.listens.take().unwrap_or_else(|| node.peer.clone());
        node.listens = Some(own.clone());
        node.peer = address;
        own
    }

    /// The address where a server listens for other servers.
    pub fn own_peer_address(&self, id: usize) -> Address {
        let node = &self.nodes[id - 1];
        node.listens.clone().unwrap_or_else(|| node.peer.clone())
    }

    /// A server's entry in the member list.
    pub fn member(&self, id: usize) -> String {
        format!("{id}={}/{}", self.peer_address(id), self.address(id))
    }

    /// The command that starts a server.
    pub fn command(&self, id: usize) -> Command {
        let node = &self.nodes[id - 1];
        let mut command = program_in(node.program.as_deref(), node.namespace.as_deref());
        command
            .args(["serve", "--cluster-id", &self.name, "--id"])
            .arg(id.to_string())
            .arg("--data")
            .arg(self.data(id))
            .args(["--members", &self.members_for(id)])
            .args(node.listens.iter().map(|own| format!("--peer={own}")))
            .args((id <= self.founders && !self.data(id).exists()).then_some("--new-cluster"))
            .args(self.arguments.iter().map(|it| it.replace("{id}", &id.to_string())))
            .stdin(Stdio::null());
        command
    }

    /// Starts a stopped server.
    pub fn spawn(&mut self, id: usize) {
        self.spawn_with(id, |_| ());
    }

    /// Starts a stopped server; `change` may modify the command first.
    pub fn spawn_with(&mut self, id: usize, change: impl FnOnce(&mut Command)) {
        let log = OpenOptions::new().create(true).append(true).open(self.log(id)).unwrap();
        let mut command = self.nodes[id - 1].limits.around(self.command(id));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        change(&mut command);
        let node = self.node(id);
        assert!(node.child.is_none(), "server {id} already runs");
        node.child = Some(command.spawn().unwrap());
    }

    /// Sends SIGKILL and waits for the process to end.
    pub fn kill(&mut self, id: usize) {
        let mut child = self.node(id).child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to a running server.
    pub fn signal(&self, id: usize, signal: Signal) {
        let child = self.nodes[id - 1].child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Waits until a server ends by itself.
    pub async fn ended(&mut self, id: usize) -> ExitStatus {
        let child = self.node(id).child.as_mut().expect("it runs");
        let status = eventually("the server ends", async || child.try_wait().unwrap()).await;
        self.node(id).child = None;
        status
    }

    /// Whether a server is not running; reaps a process that has ended.
    pub fn has_ended(&mut self, id: usize) -> bool {
        let node = self.node(id);
        let ended = node.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            node.child = None;
        }
        ended
    }

    /// Servers that were started and then ended by themselves.
    pub fn ended_by_themselves(&mut self) -> Vec<usize> {
        let running = self.running();
        running.into_iter().filter(|id| self.has_ended(*id)).collect()
    }

    /// A server's status, if it responds within a second.
    pub async fn status(&self, id: usize) -> Option<ClusterStatus> {
        let client = self.client_of(vec![self.address(id)], Duration::from_secs(1));
        let path = "/cluster/status?progress=local";
        let answer = client.request(&Method::GET, path, Bytes::new()).await.ok()?;
        Some(serde_json::from_slice(&answer.body).unwrap())
    }

    /// Waits until a majority names the same leader, and returns it.
    pub async fn leader(&self) -> usize {
        eventually("a majority knows the leader", async || {
            let mut named = Vec::new();
            for id in self.ids() {
                let leader = self.status(id).await.and_then(|status| status.leader);
                named.extend(leader.map(|leader| usize::try_from(leader.id.0).unwrap()));
            }
            let votes = |id: &usize| named.iter().filter(|named| *named == id).count();
            self.ids().find(|id| votes(id) > self.nodes.len() / 2)
        })
        .await
    }

    /// Returns a server that is not the leader.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.ids().find(|id| *id != leader).unwrap()
    }

    /// Waits until a server follows the latest rules. A new cluster starts with the rules of the
    /// first release and raises them when all members support later ones.
    pub async fn follows_latest_rules(&self, id: usize) {
        let latest =
            async || (self.status(id).await?.state.rules == Semantics::LATEST.0).then_some(());
        eventually("a server follows the latest rules", latest).await;
    }

    /// Waits until all servers have applied the same entries, and checks that their states are
    /// equal.
    pub async fn converged(&self) -> ClusterStatus {
        self.converged_but(None).await
    }

    /// Like [`Self::converged`], without the server `out`.
    pub async fn converged_but(&self, out: Option<usize>) -> ClusterStatus {
        eventually("all servers have applied the same entries", async || {
            let mut all = Vec::new();
            for id in self.ids().filter(|id| Some(*id) != out) {
                all.push(self.status(id).await?);
            }
            let first = &all[0];
            let same = all.iter().all(|it| {
                (it.applied_index, it.commit_index) == (first.applied_index, first.last_index)
            });
            if !same {
                return None;
            }
            for status in &all {
                assert_eq!(status.state.digest, first.state.digest, "replicas differ: {all:#?}");
            }
            Some(first.clone())
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                drop(child.kill());
                drop(child.wait());
            }
        }
        if std::thread::panicking() {
            for id in self.ids() {
                let log = std::fs::read_to_string(self.log(id)).unwrap_or_default();
                eprintln!("--- the log of server {id}\n{log}");
            }
        }
    }
}

/// Returns an unused address. Its port is outside the ephemeral range: an outgoing connection could
/// take an ephemeral port before the server does.
pub fn free_address() -> Address {
    format!("127.0.0.1:{}", free_port()).parse().unwrap()
}

/// Returns an unused port; see [`free_address`].
pub fn free_port() -> u16 {
    free_ports(1)
}

/// Returns the first of `count` consecutive unused ports that no other caller in this process gets.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Concurrent test processes start at different ports.
    let start = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap();
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + (start + offset % COUNT) % COUNT;
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// Waits until a condition holds and returns its value. Panics after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Total size of the files in a directory, in bytes.
pub fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        // A file may disappear during the scan.
        entry.metadata().map_or(0, |metadata| metadata.len())
    });
    sizes.sum()
}
