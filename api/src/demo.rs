//! Requests to the demo's supervisor, which runs the servers as processes on one machine, and its
//! responses.

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
    /// The name of the action that caused the fault.
    pub action: String,
    /// The time of the fault, in ms since 1970.
    pub at_ms: u64,
    /// The time from the fault to the first acknowledged write, in ms; none if no write succeeded
    /// in time.
    pub first_write_ms: Option<f64>,
    /// The leader after the recovery.
    pub leader: Option<u64>,
}

/// An action on the demo's processes, disks and links. The web page sends its [`Action::path`] with
/// `POST`; the console reads its name and the ids of its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An action on a server's process.
    Process(u64, ProcessAction),
    /// Each sync to the server's disk blocks.
    Stall(u64),
    /// The server's disk is full.
    Fill(u64),
    /// The server's disk works again and has space.
    MendDisk(u64),
    /// All links of the server are cut.
    Isolate(u64),
    /// The link is cut in both directions.
    Cut(u64, u64),
    /// The link is cut from the first to the second server.
    CutOneWay(u64, u64),
    /// All links between these servers and the others are cut. The recovery is measured for the
    /// first.
    Split(Vec<u64>),
    /// The link works again in both directions.
    HealLink(u64, u64),
    /// The link works again from the first to the second server.
    HealOneWay(u64, u64),
    /// The server's disk and links work again.
    Heal(u64),
    /// All disks and links work again.
    HealAll,
}

/// An action on a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessAction {
    /// SIGKILL: the process ends immediately.
    Kill,
    /// Starts the process again with the data on its disk.
    Restart,
    /// SIGSTOP: the process pauses; its connections stay open.
    Freeze,
    /// SIGCONT: the process continues.
    Resume,
}

impl ProcessAction {
    /// The name in paths and on the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Freeze => "freeze",
            Self::Resume => "resume",
        }
    }
}

impl Action {
    /// The action with this name on these servers.
    pub fn named(name: &str, servers: &[u64]) -> Option<Self> {
        Some(match (name, servers) {
            ("kill", &[id]) => Self::Process(id, ProcessAction::Kill),
            ("restart", &[id]) => Self::Process(id, ProcessAction::Restart),
            ("freeze", &[id]) => Self::Process(id, ProcessAction::Freeze),
            ("resume", &[id]) => Self::Process(id, ProcessAction::Resume),
            ("stall", &[id]) => Self::Stall(id),
            ("full", &[id]) => Self::Fill(id),
            ("mend-disk", &[id]) => Self::MendDisk(id),
            ("isolate", &[id]) => Self::Isolate(id),
            ("cut", &[one, other]) => Self::Cut(one, other),
            ("cut-one-way", &[from, to]) => Self::CutOneWay(from, to),
            ("split", apart @ [_, ..]) => Self::Split(apart.to_vec()),
            ("heal", &[one, other]) => Self::HealLink(one, other),
            ("heal-one-way", &[from, to]) => Self::HealOneWay(from, to),
            ("heal", &[id]) => Self::Heal(id),
            ("heal", []) => Self::HealAll,
            _ => return None,
        })
    }

    /// The action's name, which [`Action::named`] reads.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Process(_, action) => action.name(),
            Self::Stall(_) => "stall",
            Self::Fill(_) => "full",
            Self::MendDisk(_) => "mend-disk",
            Self::Isolate(_) => "isolate",
            Self::Cut(..) => "cut",
            Self::CutOneWay(..) => "cut-one-way",
            Self::Split(_) => "split",
            Self::HealOneWay(..) => "heal-one-way",
            Self::HealLink(..) | Self::Heal(_) | Self::HealAll => "heal",
        }
    }

    /// The server for which the recovery is measured, if the action can interrupt the service.
    pub fn interrupts(&self) -> Option<u64> {
        match *self {
            Self::Process(id, ProcessAction::Kill | ProcessAction::Freeze)
            | Self::Stall(id)
            | Self::Isolate(id)
            | Self::Cut(id, _)
            | Self::CutOneWay(id, _) => Some(id),
            Self::Split(ref apart) => apart.first().copied(),
            Self::Process(_, ProcessAction::Restart | ProcessAction::Resume)
            | Self::Fill(_)
            | Self::MendDisk(_)
            | Self::HealLink(..)
            | Self::HealOneWay(..)
            | Self::Heal(_)
            | Self::HealAll => None,
        }
    }

    /// The path of the action's request.
    pub fn path(&self) -> String {
        let name = self.name();
        match self {
            Self::Process(id, _)
            | Self::Stall(id)
            | Self::Fill(id)
            | Self::MendDisk(id)
            | Self::Isolate(id)
            | Self::Heal(id) => format!("/demo/nodes/{id}/{name}"),
            Self::Cut(from, to)
            | Self::CutOneWay(from, to)
            | Self::HealLink(from, to)
            | Self::HealOneWay(from, to) => format!("/demo/links/{from}/{to}/{name}"),
            Self::Split(apart) => {
                let apart: Vec<String> = apart.iter().map(u64::to_string).collect();
                format!("/demo/split/{}", apart.join(","))
            }
            Self::HealAll => "/demo/heal".to_owned(),
        }
    }

    /// The action whose request has this path.
    pub fn of_path(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix("/demo/")?.split('/').collect();
        let (name, servers) = match parts[..] {
            ["nodes", id, name] => (name, vec![id]),
            ["links", from, to, name] => (name, vec![from, to]),
            ["split", apart] => ("split", apart.split(',').collect()),
            [name] => (name, Vec::new()),
            _ => return None,
        };
        let servers: Option<Vec<u64>> = servers.into_iter().map(|id| id.parse().ok()).collect();
        Self::named(name, &servers?).filter(|action| action.path() == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the supervisor reads each path that the page can send, and no other.
    #[test]
    fn paths_are_read_as_they_are_written() {
        for (path, action) in [
            ("/demo/nodes/3/kill", Action::Process(3, ProcessAction::Kill)),
            ("/demo/nodes/3/restart", Action::Process(3, ProcessAction::Restart)),
            ("/demo/nodes/3/freeze", Action::Process(3, ProcessAction::Freeze)),
            ("/demo/nodes/3/resume", Action::Process(3, ProcessAction::Resume)),
            ("/demo/nodes/3/stall", Action::Stall(3)),
            ("/demo/nodes/3/full", Action::Fill(3)),
            ("/demo/nodes/3/mend-disk", Action::MendDisk(3)),
            ("/demo/nodes/3/isolate", Action::Isolate(3)),
            ("/demo/nodes/3/heal", Action::Heal(3)),
            ("/demo/links/1/2/cut", Action::Cut(1, 2)),
            ("/demo/links/1/2/cut-one-way", Action::CutOneWay(1, 2)),
            ("/demo/links/1/2/heal", Action::HealLink(1, 2)),
            ("/demo/links/1/2/heal-one-way", Action::HealOneWay(1, 2)),
            ("/demo/split/3,1", Action::Split(vec![3, 1])),
            ("/demo/heal", Action::HealAll),
        ] {
            assert_eq!(action.path(), path);
            assert_eq!(Action::of_path(path), Some(action));
        }
        for path in [
            "/demo/nodes",
            "/demo/nodes/3",
            "/demo/nodes/3/explode",
            "/demo/nodes/three/kill",
            "/demo/nodes/03/kill",
            "/demo/nodes/3/cut",
            "/demo/nodes/3/split",
            "/demo/links/1/2/kill",
            "/demo/links/1/2/split",
            "/demo/split/",
            "/demo/split/1,",
            "/demo/kill",
            "/demo/",
            "/other/heal",
        ] {
            assert_eq!(Action::of_path(path), None, "{path}");
        }
    }
}
