//! All that a person, a lesson or a random test can do to a simulated cluster.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::queue::Happening;
use super::{Deed, Simulation, pairs_apart};
use crate::event::{DropReason, EventKind, RoleName};
use crate::kv::Command;
use crate::replica::{Input, Proposal, Replica};
use crate::types::{EventId, Micros, NodeId, RequestId};

/// See the module. Every action that was taken stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The server's power is cut: what its disk had not synced is gone.
    Crash(NodeId),
    /// The server starts from its disk.
    Restart(NodeId),
    /// The server's process is paused.
    Freeze(NodeId),
    /// The server's process goes on, with all that came in meanwhile.
    Thaw(NodeId),
    /// Servers of different groups cannot talk any more; those in no group form one of their own.
    Partition(Vec<BTreeSet<NodeId>>),
    /// All links work again and nothing is lost.
    Heal,
    /// One direction of one link is cut or mended.
    SetLink {
        /// The sending side.
        from: NodeId,
        /// The receiving side.
        to: NodeId,
        /// Whether messages pass.
        up: bool,
    },
    /// From now on this many of 1000 messages are lost.
    SetLoss {
        /// 0 to 1000.
        permille: u16,
    },
    /// From now on messages take this long, in µs.
    SetDelay {
        /// At least.
        min: Micros,
        /// At most.
        max: Micros,
    },
    /// From now on a sync of any disk takes this long, in µs.
    SetDiskDelay {
        /// At least.
        min: Micros,
        /// At most.
        max: Micros,
    },
    /// A client asks a server for a change.
    Write {
        /// Whom it asks.
        node: NodeId,
        /// For what.
        command: Command,
    },
    /// A client asks a server for a linearizable read.
    Read {
        /// Whom it asks.
        node: NodeId,
        /// The key.
        #[serde(with = "crate::codec::text_or_bytes")]
        key: Bytes,
    },
    /// The server's election timer runs out now.
    Elect(NodeId),
    /// The server takes a snapshot and shortens its log.
    Compact(NodeId),
    /// A message on its way is lost.
    Drop(EventId),
}

/// Why an action was not possible. Nothing happened, and it is not in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// See its text.
    #[error("there is no server {0}")]
    NoSuchServer(NodeId),
    /// See its text.
    #[error("{0} is down; restart it first")]
    Down(NodeId),
    /// See its text.
    #[error("{0} is running; crash it first")]
    Running(NodeId),
    /// See its text.
    #[error("{0} is frozen; thaw it first")]
    Frozen(NodeId),
    /// See its text.
    #[error("{0} is not frozen")]
    NotFrozen(NodeId),
    /// See its text.
    #[error("{0} leads and has no election timer")]
    Leads(NodeId),
    /// See its text.
    #[error("a loss of {0} in 1000 is not possible; give 0 to 1000")]
    Loss(u16),
    /// See its text.
    #[error("a delay from {min} to {max} µs is not possible; the first must not be the larger")]
    Delay {
        /// The minimum given.
        min: Micros,
        /// The maximum given.
        max: Micros,
    },
    /// See its text.
    #[error("the message {0} is not on its way any more")]
    NotFlying(EventId),
}

impl Simulation {
    /// Does something to the cluster, now. A client's request gets a number, by which its answer
    /// will be known.
    pub fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError> {
        self.check(&action)?;
        self.journal.push(Deed { at: self.moment(), action: action.clone() });
        match action {
            Action::Crash(node) => self.crash(node),
            Action::Restart(node) => self.start(node),
            Action::Freeze(node) => self.freeze(node),
            Action::Thaw(node) => self.thaw(node),
            Action::Partition(groups) => self.partition(&groups),
            Action::Heal => self.heal(),
            Action::SetLink { from, to, up } => self.set_link(from, to, up),
            Action::SetLoss { permille } => self.network.config.loss_permille = permille,
            Action::SetDelay { min, max } => {
                (self.network.config.delay_min, self.network.config.delay_max) = (min, max);
            }
            Action::SetDiskDelay { min, max } => {
                for server in self.servers.values_mut() {
                    (server.disk.config.sync_min, server.disk.config.sync_max) = (min, max);
                }
            }
            Action::Write { node, command } => {
                let request = self.clients.write(self.now, &command);
                let proposal = Proposal { request, command: command.encode() };
                self.input(node, Input::Propose(vec![proposal]));
                return Ok(Some(request));
            }
            Action::Read { node, key } => {
                let request = self.clients.read(self.now, node, key);
                self.input(node, Input::Read(request));
                return Ok(Some(request));
            }
            Action::Elect(node) => {
                let replica = self.servers.get_mut(&node).and_then(|it| it.replica.as_mut());
                if let Some(replica) = replica {
                    replica.expire_timer(self.now);
                }
                self.input(node, Input::Tick);
            }
            Action::Compact(node) => self.input(node, Input::Compact),
            Action::Drop(message) => {
                self.network.take(message);
                self.queue.push(self.now, Happening::Vanish { message, why: DropReason::Lost });
            }
        }
        Ok(None)
    }

    fn check(&self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::Crash(node) => self.require_up(*node),
            Action::Freeze(node)
            | Action::Write { node, .. }
            | Action::Read { node, .. }
            | Action::Compact(node) => self.require_awake(*node),
            Action::Elect(node) => {
                self.require_awake(*node)?;
                let leads = |replica: &Replica| replica.status().role == RoleName::Leader;
                if self.replica(*node).is_some_and(leads) {
                    return Err(ActionError::Leads(*node));
                }
                Ok(())
            }
            Action::Restart(node) => match self.require_up(*node) {
                Err(ActionError::Down(_)) => Ok(()),
                Err(error) => Err(error),
                Ok(()) => Err(ActionError::Running(*node)),
            },
            Action::Thaw(node) => match self.require_awake(*node) {
                Err(ActionError::Frozen(_)) => Ok(()),
                Err(error) => Err(error),
                Ok(()) => Err(ActionError::NotFrozen(*node)),
            },
            Action::Partition(groups) => {
                groups.iter().flatten().try_for_each(|node| self.require_known(*node))
            }
            Action::SetLink { from, to, .. } => {
                self.require_known(*from)?;
                self.require_known(*to)
            }
            Action::SetLoss { permille } if *permille > 1000 => Err(ActionError::Loss(*permille)),
            Action::SetDelay { min, max } | Action::SetDiskDelay { min, max } if min > max => {
                Err(ActionError::Delay { min: *min, max: *max })
            }
            Action::Heal
            | Action::SetLoss { .. }
            | Action::SetDelay { .. }
            | Action::SetDiskDelay { .. } => Ok(()),
            Action::Drop(message) if self.network.is_flying(*message) => Ok(()),
            Action::Drop(message) => Err(ActionError::NotFlying(*message)),
        }
    }

    fn require_known(&self, node: NodeId) -> Result<(), ActionError> {
        if self.servers.contains_key(&node) { Ok(()) } else { Err(ActionError::NoSuchServer(node)) }
    }

    fn require_up(&self, node: NodeId) -> Result<(), ActionError> {
        self.require_known(node)?;
        if self.replica(node).is_some() { Ok(()) } else { Err(ActionError::Down(node)) }
    }

    fn require_awake(&self, node: NodeId) -> Result<(), ActionError> {
        self.require_up(node)?;
        let frozen = self.servers.get(&node).is_some_and(|server| server.frozen);
        if frozen { Err(ActionError::Frozen(node)) } else { Ok(()) }
    }

    fn crash(&mut self, node: NodeId) {
        self.note(node, EventKind::Crashed);
        let Some(server) = self.servers.get_mut(&node) else { return };
        if let Some(replica) = server.replica.take() {
            server.next_seq = replica.next_seq();
        }
        server.disk.crash(&mut self.random);
    }

    fn freeze(&mut self, node: NodeId) {
        self.note(node, EventKind::Frozen);
        if let Some(server) = self.servers.get_mut(&node) {
            server.frozen = true;
        }
    }

    fn thaw(&mut self, node: NodeId) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.frozen = false;
        let inbox = std::mem::take(&mut server.inbox);
        self.note(node, EventKind::Thawed);
        for input in inbox {
            self.input(node, input);
        }
    }

    /// Records something that was done to a server among its own events.
    fn note(&mut self, node: NodeId, kind: EventKind) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        if let Some(replica) = &mut server.replica {
            replica.note(self.now, kind);
            self.after_step(node);
        }
    }

    fn partition(&mut self, groups: &[BTreeSet<NodeId>]) {
        let ids = self.ids();
        let apart = pairs_apart(groups, &ids);
        for from in &ids {
            for to in ids.iter().filter(|to| *to != from) {
                self.set_link(*from, *to, !apart.contains(&(*from, *to)));
            }
        }
    }

    fn heal(&mut self) {
        for (from, to) in self.network.cut_links() {
            self.set_link(from, to, true);
        }
        self.network.config.loss_permille = 0;
    }

    fn set_link(&mut self, from: NodeId, to: NodeId, up: bool) {
        if self.network.set_link(from, to, up) {
            self.record(None, EventKind::LinkChanged { from, to, up });
        }
    }
}
