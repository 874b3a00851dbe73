//! One of the demo's processes, and what can be done to it.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::faults;
use super::plan::{NodePlan, Plan};
use crate::faults::Faults;

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
    /// A link of a server to itself.
    #[error("S{0} has no link to itself")]
    NoSuchLink(u64),
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
    /// What else is wrong with it.
    faults: Faults,
}

/// A server's process, while there is one.
pub(super) struct Node {
    pub(super) plan: NodePlan,
    child: Option<Child>,
    frozen: bool,
}

impl Node {
    /// One that is not started yet.
    pub(super) const fn new(plan: NodePlan) -> Self {
        Self { plan, child: None, frozen: false }
    }

    /// Starts it.
    pub(super) fn start(&mut self, plan: &Plan, founded: bool) -> anyhow::Result<()> {
        self.child = Some(plan.spawn(&self.plan, founded)?);
        Ok(())
    }

    /// Its process, if it can be spoken to.
    pub(super) fn running(&mut self) -> Option<u32> {
        (self.state() == State::Running).then(|| self.child.as_ref().map(Child::id)).flatten()
    }

    pub(super) fn view(&mut self, faults: Faults) -> NodeView {
        NodeView {
            id: self.plan.id,
            client: self.plan.client.to_string(),
            peer: self.plan.peer.to_string(),
            state: self.state(),
            pid: self.child.as_ref().map(Child::id),
            faults,
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
    pub(super) fn reap(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        (self.child, self.frozen) = (None, false);
        Some(status)
    }

    pub(super) fn is_there(&mut self) -> bool {
        self.reap();
        self.child.is_some()
    }

    pub(super) fn act(&mut self, plan: &Plan, founded: bool, deed: Deed) -> Result<(), DeedError> {
        match (self.state(), deed) {
            (State::Running | State::Frozen, Deed::Kill) => self.kill(),
            (State::Stopped, Deed::Restart) => {
                self.start(plan, founded).map_err(DeedError::System)?;
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
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Failing means that it has ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
        self.frozen = false;
    }

    pub(super) fn signal(&mut self, signal: Signal) {
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
        let mut line = format!("S{} at {} is {}{pid}", self.id, self.client, self.state.name());
        if !self.faults.is_none() {
            line += "; ";
            line += &faults::in_words(&self.faults);
        }
        line
    }
}
