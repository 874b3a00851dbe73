//! Starts and stops the demo's processes and carries out the user's commands.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::demo::{Action, Failover, Process};
use api::faults::Faults;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::failover;
use super::faults::{self, Wanted};
use super::plan::{NodePlan, Plan};
use super::process::{ActionError, Node};
use crate::output::tell;

/// How often the supervisor checks the processes.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// The timeout for a server to stop after SIGTERM; then the supervisor kills it.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// The demo's processes and their faults. The lock is held for a few system calls at most, never
/// across an await.
pub(super) struct Supervisor {
    plan: Plan,
    /// Whether the cluster exists. A server with an empty directory must then not create it again.
    founded: AtomicBool,
    nodes: Mutex<Vec<Node>>,
    /// The intended faults of links and disks.
    wanted: Mutex<Wanted>,
    /// The faults that each process knows, by process id.
    told: Mutex<BTreeMap<u32, Faults>>,
    failover: Mutex<Option<Failover>>,
}

impl Supervisor {
    /// Starts all processes; if a process cannot be started, all are killed.
    pub(super) fn start(plan: Plan, founded: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(plan.directory())?;
        let nodes = plan.nodes().iter().cloned().map(Node::new).collect();
        let wanted = Wanted::none(plan.nodes().iter().map(|node| node.id));
        let supervisor = Self {
            plan,
            founded: AtomicBool::new(founded),
            nodes: Mutex::new(nodes),
            wanted: Mutex::new(wanted),
            told: Mutex::default(),
            failover: Mutex::new(None),
        };
        for node in supervisor.lock().iter_mut() {
            node.start(&supervisor.plan, founded)?;
        }
        Ok(supervisor)
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether each server has stored its initial snapshot.
    pub(super) fn have_all_begun(&self) -> bool {
        self.plan.nodes().iter().all(NodePlan::has_begun)
    }

    /// From now on no server creates the cluster again.
    pub(super) fn set_founded(&self) {
        self.founded.store(true, Ordering::Relaxed);
    }

    /// The state of all processes.
    pub(super) fn view(&self) -> Vec<Process> {
        let faults = |node: &Node| self.wanted().of(node.plan.id);
        self.lock().iter_mut().map(|node| node.view(faults(node))).collect()
    }

    /// The latest measured recovery.
    pub(super) fn last_failover(&self) -> Option<Failover> {
        self.failover.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Carries out an action; after an interruption, also measures the recovery.
    pub(super) fn act(self: &Arc<Self>, action: &Action) -> Result<(), ActionError> {
        if let Action::Process(id, change) = *action {
            self.lock()
                .iter_mut()
                .find(|node| node.plan.id == id)
                .ok_or(ActionError::NoSuchNode(id))?
                .act(&self.plan, self.founded.load(Ordering::Relaxed), change)?;
        } else {
            self.wanted().change(action)?;
        }
        if let Some(id) = action.interrupts() {
            self.measure(id, action.name());
        }
        Ok(())
    }

    /// Measures how long the other servers are unavailable.
    fn measure(self: &Arc<Self>, id: u64, name: &'static str) {
        let others = self.plan.nodes().iter().filter(|node| node.id != id);
        let others = others.map(|node| node.client.clone()).collect();
        let supervisor = Arc::clone(self);
        tokio::spawn(async move {
            supervisor.tell_all().await;
            let measured = failover::measure(id, name, others).await;
            tell(&failover::in_words(&measured));
            *supervisor.failover.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
        });
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends each running process its faults, unless it knows them.
    async fn tell_all(&self) {
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<_> = self
            .lock()
            .iter_mut()
            .filter_map(|node| Some((node.running()?, node.plan.id, node.plan.client.clone())))
            .collect();
        told().retain(|pid, _| running.iter().any(|(running, ..)| running == pid));
        for (pid, id, client) in running {
            let wanted = self.wanted().of(id);
            let known = told().get(&pid).map_or_else(|| wanted.is_none(), |told| *told == wanted);
            if !known && faults::tell(&client, &wanted).await {
                told().insert(pid, wanted);
            }
        }
    }

    /// Repeats this, because a restarted process has no faults.
    pub(super) async fn keep_telling(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.tell_all().await;
            sleep(WATCH_INTERVAL).await;
        }
    }

    /// Reports processes that ended unexpectedly, and reaps them.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for node in self.lock().iter_mut() {
                if let Some(status) = node.reap() {
                    let log = node.plan.log.display();
                    tell(&format!("S{} has ended ({status}); see {log}", node.plan.id));
                }
            }
            sleep(WATCH_INTERVAL).await;
        }
    }

    /// The reason why the demo cannot start, if a process ended at once.
    pub(super) fn failed_start(&self) -> Option<String> {
        let mut nodes = self.lock();
        let ended = nodes.iter_mut().find_map(|node| (!node.is_there()).then_some(node))?;
        let log = fs::read_to_string(&ended.plan.log).unwrap_or_default();
        let from = log.lines().count().saturating_sub(5);
        let tail = log.lines().skip(from).collect::<Vec<_>>().join("\n  ");
        Some(format!("S{} could not start:\n  {tail}", ended.plan.id))
    }

    /// Stops all processes: with SIGTERM first, with SIGKILL after the timeout.
    pub(super) async fn end_all(&self) {
        for node in self.lock().iter_mut() {
            // A frozen process cannot handle SIGTERM.
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
