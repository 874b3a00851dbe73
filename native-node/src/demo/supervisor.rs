//! Starts the demo's processes, ends them, and does to them what a user asks.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::failover::{self, Failover};
use crate::config::{Address, Members};

/// How often processes are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// How long a server may take to end when it is asked to; then it is killed.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// The cluster's name.
const CLUSTER: &str = "demo";

/// Which processes there are to be.
#[derive(Debug)]
pub(super) struct Plan {
    directory: PathBuf,
    executable: PathBuf,
    origins: String,
    members: Members,
    log_filter: String,
    nodes: Vec<NodePlan>,
}

/// One server to be.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) id: u64,
    pub(super) client: Address,
    pub(super) peer: Address,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

impl Plan {
    pub(super) fn new(
        directory: &Path,
        port: u16,
        nodes: u16,
        log_filter: &str,
    ) -> anyhow::Result<Self> {
        let address = |offset: u16| -> anyhow::Result<Address> {
            let port = port.checked_add(offset).context("--port leaves no room for the servers")?;
            Ok(format!("127.0.0.1:{port}").parse()?)
        };
        let node = |number: u16| -> anyhow::Result<NodePlan> {
            Ok(NodePlan {
                id: u64::from(number),
                client: address(number)?,
                peer: address(100 + number)?,
                data: directory.join(format!("node-{number}")),
                log: directory.join(format!("node-{number}.log")),
            })
        };
        let nodes = (1..=nodes).map(node).collect::<anyhow::Result<Vec<_>>>()?;
        let member = |node: &NodePlan| format!("{}={}/{}", node.id, node.peer, node.client);
        Ok(Self {
            directory: directory.to_owned(),
            executable: std::env::current_exe().context("cannot find this program's file")?,
            origins: format!("http://127.0.0.1:{port},http://localhost:{port}"),
            members: nodes.iter().map(member).collect::<Vec<_>>().join(",").parse()?,
            log_filter: log_filter.to_owned(),
            nodes,
        })
    }

    pub(super) fn nodes(&self) -> &[NodePlan] {
        &self.nodes
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn spawn(&self, node: &NodePlan, founded: bool) -> anyhow::Result<Child> {
        use std::os::unix::process::CommandExt;
        let open = || OpenOptions::new().create(true).append(true).open(&node.log);
        let log = open().with_context(|| format!("cannot write {}", node.log.display()))?;
        let mut command = Command::new(&self.executable);
        command.arg("serve");
        if !founded && !node.has_begun() {
            command.arg("--new-cluster");
        }
        command
            .args(["--id", &node.id.to_string(), "--cluster-id", CLUSTER])
            .arg("--data")
            .arg(&node.data)
            .args(["--members", &self.members.to_string()])
            .args(["--cors-origins", &self.origins, "--log", &self.log_filter])
            .arg("--exit-with-parent")
            // The pipe's other end closes with this process, however it ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C reaches this process alone, which then ends the servers in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start S{}", node.id))
    }
}

impl NodePlan {
    /// Whether it was part of a cluster before.
    fn has_begun(&self) -> bool {
        let is_snapshot =
            |name: &std::ffi::OsStr| Path::new(name).extension() == Some("snapshot".as_ref());
        fs::read_dir(&self.data)
            .is_ok_and(|entries| entries.flatten().any(|entry| is_snapshot(&entry.file_name())))
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Running,
    Frozen,
    Stopped,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// SIGKILL: it ends in the middle of whatever it does.
    Kill,
    /// It starts again on what its disk holds.
    Restart,
    /// SIGSTOP: it stands still, with its connections open.
    Freeze,
    /// SIGCONT: it goes on, and finds that time has passed.
    Resume,
}

/// Why a deed could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DeedError {
    /// Nothing to do it to.
    #[error("there is no server {0}")]
    NoSuchNode(u64),
    /// It makes no sense now.
    #[error("S{id} is {state}, so there is nothing to {deed}")]
    WrongState {
        /// The server.
        id: u64,
        /// What it does.
        state: &'static str,
        /// What was asked.
        deed: &'static str,
    },
    /// The process could not be started.
    #[error("{0:#}")]
    System(anyhow::Error),
}

/// A process as others see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NodeView {
    id: u64,
    client: String,
    peer: String,
    pid: Option<u32>,
    state: State,
}

struct Node {
    plan: NodePlan,
    child: Option<Child>,
    frozen: bool,
}

/// See the module. Its lock is held for a few system calls at most, never across an await.
pub(super) struct Supervisor {
    plan: Plan,
    /// Whether the cluster exists: who has nothing then must not found it anew.
    founded: AtomicBool,
    nodes: Mutex<Vec<Node>>,
    failover: Mutex<Option<Failover>>,
}

impl Supervisor {
    /// Starts all processes; if one cannot be started, none is left.
    pub(super) fn start(plan: Plan, founded: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(&plan.directory)?;
        let nodes =
            plan.nodes.iter().map(|node| Node { plan: node.clone(), child: None, frozen: false });
        let nodes = nodes.collect();
        let (nodes, failover) = (Mutex::new(nodes), Mutex::new(None));
        let supervisor = Self { plan, founded: AtomicBool::new(founded), nodes, failover };
        for node in supervisor.lock().iter_mut() {
            node.child = Some(supervisor.plan.spawn(&node.plan, founded)?);
        }
        Ok(supervisor)
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether each server has made its cluster durable.
    pub(super) fn have_all_begun(&self) -> bool {
        self.plan.nodes.iter().all(NodePlan::has_begun)
    }

    /// From now on nobody founds the cluster anew.
    pub(super) fn set_founded(&self) {
        self.founded.store(true, Ordering::Relaxed);
    }

    /// All processes as they are.
    pub(super) fn view(&self) -> Vec<NodeView> {
        self.lock().iter_mut().map(Node::view).collect()
    }

    /// The newest measured recovery.
    pub(super) fn last_failover(&self) -> Option<Failover> {
        self.failover.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does what is asked; a fault also starts a measurement of the recovery from it.
    pub(super) fn act(self: &Arc<Self>, id: u64, deed: Deed) -> Result<(), DeedError> {
        self.lock()
            .iter_mut()
            .find(|node| node.plan.id == id)
            .ok_or(DeedError::NoSuchNode(id))?
            .act(&self.plan, self.founded.load(Ordering::Relaxed), deed)?;
        if matches!(deed, Deed::Kill | Deed::Freeze) {
            let others = self.plan.nodes.iter().filter(|node| node.id != id);
            let others = others.map(|node| node.client.clone()).collect();
            let supervisor = Arc::clone(self);
            tokio::spawn(async move {
                let measured = failover::measure(id, deed, others).await;
                println!("{measured}");
                *supervisor.failover.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(measured);
            });
        }
        Ok(())
    }

    /// Tells of processes that ended without being told to, and takes their remains.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for node in self.lock().iter_mut() {
                if let Some(status) = node.reap() {
                    let log = node.plan.log.display();
                    println!("S{} has ended ({status}); {log} says why", node.plan.id);
                }
            }
            sleep(WATCH_INTERVAL).await;
        }
    }

    /// Why the demo cannot start, if a process ended at once.
    pub(super) fn failed_start(&self) -> Option<String> {
        let mut nodes = self.lock();
        let ended = nodes.iter_mut().find_map(|node| (!node.is_there()).then_some(node))?;
        let log = fs::read_to_string(&ended.plan.log).unwrap_or_default();
        let from = log.lines().count().saturating_sub(5);
        let tail = log.lines().skip(from).collect::<Vec<_>>().join("\n  ");
        Some(format!("S{} could not start:\n  {tail}", ended.plan.id))
    }

    /// Ends all processes: in order where they can, by force where they cannot.
    pub(super) async fn end_all(&self) {
        for node in self.lock().iter_mut() {
            // One that is frozen could not even hear that it should end.
            node.signal(Signal::CONT);
            node.signal(Signal::TERM);
        }
        let deadline = Instant::now() + END_PATIENCE;
        while Instant::now() < deadline && self.lock().iter_mut().any(Node::is_there) {
            sleep(Duration::from_millis(10)).await;
        }
        for node in self.lock().iter_mut() {
            node.kill();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for node in self.lock().iter_mut() {
            node.kill();
        }
    }
}

impl Node {
    fn view(&mut self) -> NodeView {
        NodeView {
            id: self.plan.id,
            client: self.plan.client.to_string(),
            peer: self.plan.peer.to_string(),
            state: self.state(),
            pid: self.child.as_ref().map(Child::id),
        }
    }

    fn state(&mut self) -> State {
        match (self.is_there(), self.frozen) {
            (false, _) => State::Stopped,
            (true, true) => State::Frozen,
            (true, false) => State::Running,
        }
    }

    /// Takes the remains of an ended process, so that its number is not used for a signal again.
    fn reap(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        (self.child, self.frozen) = (None, false);
        Some(status)
    }

    fn is_there(&mut self) -> bool {
        self.reap();
        self.child.is_some()
    }

    fn act(&mut self, plan: &Plan, founded: bool, deed: Deed) -> Result<(), DeedError> {
        match (self.state(), deed) {
            (State::Running | State::Frozen, Deed::Kill) => self.kill(),
            (State::Stopped, Deed::Restart) => {
                self.child = Some(plan.spawn(&self.plan, founded).map_err(DeedError::System)?);
            }
            (State::Running, Deed::Freeze) => {
                self.signal(Signal::STOP);
                self.frozen = true;
            }
            (State::Frozen, Deed::Resume) => {
                self.signal(Signal::CONT);
                self.frozen = false;
            }
            (state, deed) => {
                let (id, state, deed) = (self.plan.id, state.name(), deed.name());
                return Err(DeedError::WrongState { id, state, deed });
            }
        }
        Ok(())
    }

    /// Ends it by force, and waits for that.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Failing means that it has ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
        self.frozen = false;
    }

    fn signal(&mut self, signal: Signal) {
        if !self.is_there() {
            return;
        }
        let pid = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!("cannot signal S{}: {error}", self.plan.id);
        }
    }
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Frozen => "frozen",
            Self::Stopped => "stopped",
        }
    }
}

impl Deed {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Freeze => "freeze",
            Self::Resume => "resume",
        }
    }

    /// By its name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Kill, Self::Restart, Self::Freeze, Self::Resume]
            .into_iter()
            .find(|deed| deed.name() == name)
    }
}

impl NodeView {
    /// A line for people.
    pub(super) fn in_words(&self) -> String {
        let pid = self.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        format!("S{} at {} is {}{pid}", self.id, self.client, self.state.name())
    }
}
