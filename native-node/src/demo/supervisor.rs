//! Starts the demo's processes, ends them, and does to them what a user asks.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::failover::{self, Failover};
use super::faults::{self, Disturbance, Wanted};
use super::plan::{NodePlan, Plan};
use super::process::{Deed, DeedError, Node, NodeView};
use crate::cli::output::tell;
use crate::faults::Faults;

/// How often processes are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// How long a server may take to end when it is asked to; then it is killed.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// See the module. Its lock is held for a few system calls at most, never across an await.
pub(super) struct Supervisor {
    plan: Plan,
    /// Whether the cluster exists: who has nothing then must not found it anew.
    founded: AtomicBool,
    nodes: Mutex<Vec<Node>>,
    /// What is to be wrong with links and disks.
    wanted: Mutex<Wanted>,
    /// What the processes were told of it.
    told: Mutex<BTreeMap<u32, Faults>>,
    failover: Mutex<Option<Failover>>,
}

impl Supervisor {
    /// Starts all processes; if one cannot be started, none is left.
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

    /// Whether each server has made its cluster durable.
    pub(super) fn have_all_begun(&self) -> bool {
        self.plan.nodes().iter().all(NodePlan::has_begun)
    }

    /// From now on nobody founds the cluster anew.
    pub(super) fn set_founded(&self) {
        self.founded.store(true, Ordering::Relaxed);
    }

    /// All processes as they are.
    pub(super) fn view(&self) -> Vec<NodeView> {
        let faults = |node: &Node| self.wanted().of(node.plan.id);
        self.lock().iter_mut().map(|node| node.view(faults(node))).collect()
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
            self.measure(id, deed.name());
        }
        Ok(())
    }

    /// Changes what is wrong with links and disks; a fault also starts a measurement.
    pub(super) fn disturb(self: &Arc<Self>, change: Disturbance) -> Result<(), DeedError> {
        let measured = change.measured();
        self.wanted().change(change)?;
        if let Some((id, name)) = measured {
            self.measure(id, name);
        }
        Ok(())
    }

    /// Measures how long the other servers cannot serve.
    fn measure(self: &Arc<Self>, id: u64, name: &'static str) {
        let others = self.plan.nodes().iter().filter(|node| node.id != id);
        let others = others.map(|node| node.client.clone()).collect();
        let supervisor = Arc::clone(self);
        tokio::spawn(async move {
            supervisor.tell_all().await;
            let measured = failover::measure(id, name, others).await;
            tell(&measured.to_string());
            *supervisor.failover.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
        });
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells each process that runs what is wrong with it, unless it knows.
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

    /// Goes on telling: who is started anew knows of nothing.
    pub(super) async fn keep_telling(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.tell_all().await;
            sleep(WATCH_INTERVAL).await;
        }
    }

    /// Tells of processes that ended without being told to, and takes their remains.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for node in self.lock().iter_mut() {
                if let Some(status) = node.reap() {
                    let log = node.plan.log.display();
                    tell(&format!("S{} has ended ({status}); {log} says why", node.plan.id));
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
