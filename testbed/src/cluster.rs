//! A cluster of real processes on free ports, in a directory that goes away with it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use native_node::client::Client;
use native_node::config::Address;
use native_node::http::status::ClusterStatus;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::hosts::Hosts;

/// How long a condition may take before a test fails: long, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long one request may take.
pub const REQUEST: Duration = Duration::from_secs(8);

/// Three servers unless said otherwise. Dropping it ends all of them.
pub struct Cluster {
    directory: TempDir,
    nodes: Vec<Node>,
    arguments: Vec<String>,
    /// How many servers there were at first.
    originals: usize,
    /// How many of them found the cluster when their directory is empty.
    founders: usize,
    name: String,
    /// Where a server finds another one, if not at that one's own address.
    routes: BTreeMap<(usize, usize), Address>,
    /// How many files a server may have open, where that is limited.
    files: Option<u64>,
}

struct Node {
    /// The program that it runs, if not the one under test.
    program: Option<PathBuf>,
    client: Address,
    peer: Address,
    /// The network namespace in which it runs, if not in ours.
    namespace: Option<String>,
    child: Option<Child>,
}

impl Node {
    /// On this machine's loopback.
    fn here() -> Self {
        let (client, peer) = (free_address(), free_address());
        Self { program: None, client, peer, namespace: None, child: None }
    }
}

/// Timeouts for tests that are not about elections: on a busy machine the usual ones may pass while
/// a leader waits for its turn, and then another one leads in the middle of the test.
pub const CALM: [&str; 2] = ["--election-timeout-min=600ms", "--election-timeout-max=1s"];

impl Cluster {
    /// Starts three servers that keep their leader.
    pub fn start() -> Self {
        Self::start_with(3, &CALM)
    }

    /// Starts servers with more arguments, in which `{id}` stands for a server's number.
    pub fn start_with(nodes: u16, arguments: &[&str]) -> Self {
        let mut cluster = Self::prepare(nodes, arguments);
        cluster.start_all();
        cluster
    }

    /// Starts all servers; none runs.
    pub fn start_all(&mut self) {
        for id in self.ids() {
            self.spawn(id);
        }
    }

    /// Chooses addresses, but starts nothing.
    pub fn prepare(nodes: u16, arguments: &[&str]) -> Self {
        let nodes = (0..nodes).map(|_| Node::here()).collect();
        Self::of(tempfile::tempdir().unwrap(), nodes, arguments)
    }

    /// The same in a directory of the caller's choice.
    pub fn prepare_in(directory: TempDir, nodes: u16, arguments: &[&str]) -> Self {
        Self::of(directory, (0..nodes).map(|_| Node::here()).collect(), arguments)
    }

    /// The same with a server on each of these hosts, at its real address.
    pub fn prepare_on(hosts: &Hosts, arguments: &[&str]) -> Self {
        let node = |host| Node {
            program: None,
            client: format!("{}:7001", hosts.address(host)).parse().unwrap(),
            peer: format!("{}:8001", hosts.address(host)).parse().unwrap(),
            namespace: Some(hosts.namespace(host)),
            child: None,
        };
        let nodes = (1..=hosts.count()).map(node).collect();
        Self::of(tempfile::tempdir().unwrap(), nodes, arguments)
    }

    fn of(directory: TempDir, nodes: Vec<Node>, arguments: &[&str]) -> Self {
        let (originals, founders) = (nodes.len(), nodes.len());
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let name = "test".to_owned();
        let routes = BTreeMap::new();
        Self { directory, nodes, arguments, originals, founders, name, routes, files: None }
    }

    /// From now on servers are started that may have so many files open.
    pub fn limit_files(&mut self, count: u64) {
        self.files = Some(count);
    }

    /// From its next start on a server runs this program; the one under test without.
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

    /// The process number of a server that runs.
    pub fn pid(&self, id: usize) -> u32 {
        self.nodes[id - 1].child.as_ref().expect("it runs").id()
    }

    /// Gives the cluster another name than `test`.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Chooses addresses for one more server, which is to join.
    pub fn add(&mut self) -> usize {
        self.nodes.push(Node::here());
        self.nodes.len()
    }

    /// A server loses all that it had.
    pub fn wipe(&mut self, id: usize) {
        std::fs::remove_dir_all(self.data(id)).unwrap();
        // Whoever starts it again knows that it is not the first time.
        self.founders = 0;
    }

    fn node(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    /// Where clients reach a server.
    pub fn address(&self, id: usize) -> Address {
        self.nodes[id - 1].client.clone()
    }

    /// Where the other servers reach a server.
    pub fn peer_address(&self, id: usize) -> Address {
        self.nodes[id - 1].peer.clone()
    }

    /// A client of one server.
    pub fn client(&self, id: usize) -> Client {
        Client::new(vec![self.address(id)], REQUEST)
    }

    /// A client of all servers.
    pub fn any_client(&self) -> Client {
        Client::new(self.ids().map(|id| self.address(id)).collect(), REQUEST)
    }

    /// A server's data directory.
    pub fn data(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("data-{id}"))
    }

    /// A server's log.
    pub fn log(&self, id: usize) -> PathBuf {
        self.directory.path().join(format!("{id}.log"))
    }

    /// The list of members as `--members` takes it.
    pub fn members(&self) -> String {
        self.ids().map(|id| self.member(id)).collect::<Vec<_>>().join(",")
    }

    /// The list for one server: founders do not know who joins later.
    fn members_for(&self, id: usize) -> String {
        let known = self.ids().filter(|other| *other <= self.originals || *other == id);
        let member = |other| {
            let own = || self.peer_address(other);
            let peer = self.routes.get(&(id, other)).cloned().unwrap_or_else(own);
            format!("{other}={peer}/{}", self.address(other))
        };
        known.map(member).collect::<Vec<_>>().join(",")
    }

    /// From its next start on a server finds another one at this address.
    pub fn route(&mut self, from: usize, to: usize, address: Address) {
        self.routes.insert((from, to), address);
    }

    /// A server as it stands there.
    pub fn member(&self, id: usize) -> String {
        format!("{id}={}/{}", self.peer_address(id), self.address(id))
    }

    /// The command that starts a server.
    pub fn command(&self, id: usize) -> Command {
        let node = &self.nodes[id - 1];
        let file = node.program.as_deref().unwrap_or_else(|| program_file());
        let mut command = started(file, node.namespace.as_deref());
        command
            .args(["serve", "--cluster-id", &self.name, "--id"])
            .arg(id.to_string())
            .arg("--data")
            .arg(self.data(id))
            .args(["--members", &self.members_for(id)])
            .args((id <= self.founders && !self.data(id).exists()).then_some("--new-cluster"))
            .args(self.arguments.iter().map(|it| it.replace("{id}", &id.to_string())))
            .stdin(Stdio::null());
        command
    }

    /// Starts a server that does not run.
    pub fn spawn(&mut self, id: usize) {
        let log = OpenOptions::new().create(true).append(true).open(self.log(id)).unwrap();
        let mut command = self.command(id);
        if let Some(files) = self.files {
            command = limited(&command, files);
        }
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let node = self.node(id);
        assert!(node.child.is_none(), "server {id} runs already");
        node.child = Some(command.spawn().unwrap());
    }

    /// SIGKILL.
    pub fn kill(&mut self, id: usize) {
        let mut child = self.node(id).child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, id: usize, signal: Signal) {
        let child = self.nodes[id - 1].child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Waits until a server has ended by itself.
    pub async fn ended(&mut self, id: usize) -> ExitStatus {
        let child = self.node(id).child.as_mut().expect("it runs");
        let status = eventually("it ends", async || child.try_wait().unwrap()).await;
        self.node(id).child = None;
        status
    }

    /// Whether a server that was started has ended; its remains are taken.
    pub fn has_ended(&mut self, id: usize) -> bool {
        let node = self.node(id);
        let ended = node.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            node.child = None;
        }
        ended
    }

    /// Servers that were started and have ended without being told to.
    pub fn ended_by_themselves(&mut self) -> Vec<usize> {
        let running = self.running();
        running.into_iter().filter(|id| self.has_ended(*id)).collect()
    }

    /// How much memory a server uses (its resident set), in bytes, where the system tells.
    pub fn memory(&self, id: usize) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid(id))).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    }

    /// What a server says of itself, if it answers.
    pub async fn status(&self, id: usize) -> Option<ClusterStatus> {
        let client = Client::new(vec![self.address(id)], Duration::from_secs(1));
        let path = "/cluster/status?progress=local";
        let answer = client.request(&Method::GET, path, Bytes::new()).await.ok()?;
        Some(serde_json::from_slice(&answer.body).unwrap())
    }

    /// Waits for a leader that it and a majority agree on.
    pub async fn leader(&self) -> usize {
        eventually("a leader is known to a majority", async || {
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

    /// Some server that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.ids().find(|id| *id != leader).unwrap()
    }

    /// Waits until all servers have applied the same entries, and checks that they hold the same.
    pub async fn converged(&self) -> ClusterStatus {
        self.converged_but(None).await
    }

    /// The same for all but one.
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

/// The same command with a limit on open files. It becomes the program, so signals reach that.
fn limited(command: &Command, files: u64) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// The program under test.
pub fn program() -> Command {
    started(program_file(), None)
}

fn program_file() -> &'static Path {
    PROGRAM.get_or_init(beside_this_one)
}

fn started(file: &Path, namespace: Option<&str>) -> Command {
    let mut command = Command::new(if namespace.is_some() { "ip".as_ref() } else { file });
    if let Some(namespace) = namespace {
        // It becomes the program, so signals reach that.
        command.args(["netns", "exec", namespace]).arg(file);
    }
    // Settings of whoever runs the tests must not reach the servers.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GLASSRAFT_") {
            command.env_remove(name);
        }
    }
    command
}

/// The file of the program under test.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the file of the program under test; too late once one was started.
pub fn set_program(file: PathBuf) {
    PROGRAM.set(file).expect("named before the first server is started");
}

/// Where Cargo puts the program: tests are in a directory below it.
fn beside_this_one() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let directory = this.parent().unwrap();
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap() } else { directory };
    let file = directory.join(format!("native-node{}", std::env::consts::EXE_SUFFIX));
    assert!(file.is_file(), "{} is not built", file.display());
    file
}

/// What a program that ends by itself prints; one that does not is ended and fails the test.
pub async fn run_to_end(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    if let Ok(output) = tokio::time::timeout(PATIENCE, ended).await {
        return output.unwrap();
    }
    kill_process(pid, Signal::KILL).unwrap();
    panic!("it goes on running: {command:?}");
}

/// An address that nobody uses. Ports that the system gives to outgoing connections are left out:
/// one of those could take it before the server does.
pub fn free_address() -> Address {
    format!("127.0.0.1:{}", free_port()).parse().unwrap()
}

/// See [`free_address`].
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many ports in a row that nobody uses and that no other test will be given.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin at different places.
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

/// Waits until a condition holds and gives what it found.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The size of all files below a directory.
pub fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        // A file may go while it is looked at.
        entry.metadata().map_or(0, |metadata| metadata.len())
    });
    sizes.sum()
}
