//! A server process of the demo, and the actions on it.

use std::process::Child;

use api::demo::{Process, ProcessAction, ProcessState};
use api::faults::Faults;
use rustix::process::{Pid, Signal, kill_process};

use super::faults;
use super::plan::{NodePlan, Plan};

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionError {
    /// There is no such server.
    #[error("there is no server {0}")]
    NoSuchNode(u64),
    /// The link would connect a server to itself.
    #[error("S{0} has no link to itself")]
    NoSuchLink(u64),
    /// The action is not possible in the current state.
    #[error("S{id} is {state}, so {action} is not possible")]
    WrongState {
        /// The server's id.
        id: u64,
        /// The state of the process.
        state: &'static str,
        /// The action.
        action: &'static str,
    },
    /// The process could not be started.
    #[error("{0:#}")]
    System(anyhow::Error),
}

/// A server and its process, if it is started.
pub(super) struct Node {
    pub(super) plan: NodePlan,
    child: Option<Child>,
    frozen: bool,
}

impl Node {
    /// A server without a process.
    pub(super) const fn new(plan: NodePlan) -> Self {
        Self { plan, child: None, frozen: false }
    }

    /// Starts the process.
    pub(super) fn start(&mut self, plan: &Plan, founded: bool) -> anyhow::Result<()> {
        self.child = Some(plan.spawn(&self.plan, founded)?);
        Ok(())
    }

    /// The process id, if the process runs and is not frozen.
    pub(super) fn running(&mut self) -> Option<u32> {
        (self.state() == ProcessState::Running)
            .then(|| self.child.as_ref().map(Child::id))
            .flatten()
    }

    pub(super) fn view(&mut self, faults: Faults) -> Process {
        Process {
            id: self.plan.id,
            client: self.plan.client.to_string(),
            peer: self.plan.peer.to_string(),
            state: self.state(),
            pid: self.child.as_ref().map(Child::id),
            faults,
        }
    }

    fn state(&mut self) -> ProcessState {
        match (self.is_there(), self.frozen) {
            (false, _) => ProcessState::Stopped,
            (true, true) => ProcessState::Frozen,
            (true, false) => ProcessState::Running,
        }
    }

    /// Reaps an ended process. Its id is then not used for a signal again.
    pub(super) fn reap(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        (self.child, self.frozen) = (None, false);
        Some(status)
    }

    pub(super) fn is_there(&mut self) -> bool {
        self.reap();
        self.child.is_some()
    }

    pub(super) fn act(
        &mut self,
        plan: &Plan,
        founded: bool,
        action: ProcessAction,
    ) -> Result<(), ActionError> {
        match (self.state(), action) {
            (ProcessState::Running | ProcessState::Frozen, ProcessAction::Kill) => self.kill(),
            (ProcessState::Stopped, ProcessAction::Restart) => {
                self.start(plan, founded).map_err(ActionError::System)?;
            }
            (ProcessState::Running, ProcessAction::Freeze) => {
                self.signal(Signal::STOP);
                self.frozen = true;
            }
            (ProcessState::Frozen, ProcessAction::Resume) => {
                self.signal(Signal::CONT);
                self.frozen = false;
            }
            (state, action) => {
                let (id, state, action) = (self.plan.id, state.name(), action.name());
                return Err(ActionError::WrongState { id, state, action });
            }
        }
        Ok(())
    }

    /// Kills the process and waits for its end.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that the process has already ended.
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
            tracing::warn!("cannot send a signal to S{}: {error}", self.plan.id);
        }
    }
}

/// The process as text, in one line.
pub(super) fn in_words(process: &Process) -> String {
    let Process { id, client, pid, state, faults, .. } = process;
    let pid = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    let mut line = format!("S{id} at {client} is {}{pid}", state.name());
    if !faults.is_none() {
        line += "; ";
        line += &faults::in_words(faults);
    }
    line
}
