//! Responses of the demo's supervisor, which runs the servers as processes on one machine.

use serde::{Deserialize, Serialize};

use crate::faults::Faults;

/// The response to `GET /demo/nodes` and to each route that changes something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overview {
    /// The web page sends this token with each change, in the header `x-demo-token`.
    pub token: String,
    /// The servers, ordered by id.
    pub nodes: Vec<Process>,
    /// The latest measured recovery from a fault.
    pub failover: Option<Failover>,
}

/// A server's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// The server's id.
    pub id: u64,
    /// The address for clients.
    pub client: String,
    /// The address for other servers.
    pub peer: String,
    /// The process id, if the process exists.
    pub pid: Option<u32>,
    /// The state of the process.
    pub state: ProcessState,
    /// The faults that the server injects.
    #[serde(default)]
    pub faults: Faults,
}

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// The process runs.
    Running,
    /// SIGSTOP paused the process; its connections stay open.
    Frozen,
    /// There is no process.
    Stopped,
}

impl ProcessState {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Frozen => "frozen",
            Self::Stopped => "stopped",
        }
    }
}

/// A measured recovery from a fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failover {
    /// The server with the fault.
    pub node: u64,
    /// The action that caused the fault.
    pub deed: String,
    /// The time of the fault, in ms since 1970.
    pub at_ms: u64,
    /// The time from the fault to the first acknowledged write, in ms; none if no write succeeded
    /// in time.
    pub first_write_ms: Option<f64>,
    /// The leader after the recovery.
    pub leader: Option<u64>,
}
