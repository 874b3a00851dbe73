//! All that a person, a lesson or a random test can do to a simulated cluster.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFaults};
use super::{Deed, NetworkConfig, Simulation};
use crate::event::RoleName;
use crate::kv::Command;
use crate::membership::MembershipChange;
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
    /// All links work again and nothing is lost, repeated or reordered.
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
    /// From now on this many of 1000 messages arrive twice.
    SetDuplication {
        /// 0 to 1000.
        permille: u16,
    },
    /// From now on this many of 1000 messages may be overtaken by others of their link.
    SetReordering {
        /// 0 to 1000.
        permille: u16,
    },
    /// One direction of one link behaves differently from all others, or again like them.
    SetLinkQuality {
        /// The sending side.
        from: NodeId,
        /// The receiving side.
        to: NodeId,
        /// How; `None` for "like all others".
        quality: Option<NetworkConfig>,
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
    /// From now on a sync of this server's disk takes this long, in µs.
    SlowDisk {
        /// Whose.
        node: NodeId,
        /// At least.
        min: Micros,
        /// At most.
        max: Micros,
    },
    /// The server's disk finishes nothing any more until it is mended.
    StallDisk(NodeId),
    /// The server's disk goes on, and nothing on it is going to fail any more.
    MendDisk(NodeId),
    /// The server's next sync fails; what it was to make durable may be there or not.
    FailWrite(NodeId),
    /// The server's next snapshot cannot be saved.
    FailSnapshot(NodeId),
    /// The server's power is cut in the middle of a record that its disk is writing. Records before
    /// it may be there; its checksum tells that it is torn, and the next start cuts it.
    TearWrite(NodeId),
    /// One bit of what is durable on the server's disk changes. Its checksum tells, and the server
    /// refuses its next start.
    FlipBit(NodeId),
    /// The disk of a server that is down is emptied. It comes back as a stranger that knows of no
    /// cluster, and must be added to it again: it has forgotten what it promised (pitfall 29).
    Wipe(NodeId),
    /// The server's clock jumps, and from now on runs faster or slower than true time.
    SetClock {
        /// Whose.
        node: NodeId,
        /// How far it jumps, in µs.
        jump: i64,
        /// How many of its seconds pass in 1000 true ones, 1 to 100,000.
        rate_permille: u32,
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
        /// Whether a leader may answer by its lease.
        #[serde(default)]
        lease: bool,
    },
    /// A client asks a server for other members (§6).
    ChangeMembership {
        /// Whom it asks.
        node: NodeId,
        /// For what.
        change: MembershipChange,
    },
    /// A client asks a server to hand over leadership (dissertation §3.10).
    Transfer {
        /// Whom it asks.
        node: NodeId,
        /// Who should lead; `None` for any.
        to: Option<NodeId>,
    },
    /// A new server starts with nothing on its disk. It belongs to the cluster once it is added.
    AddServer(NodeId),
    /// The server's election timer runs out now.
    Elect(NodeId),
    /// The server takes a snapshot and shortens its log.
    Compact(NodeId),
    /// A message on its way is lost. Like the actions below, this one takes the message's name in
    /// the air, [`super::Flying::id`].
    Drop(EventId),
    /// A message stays in the air until it is released, and others overtake it.
    Hold(EventId),
    /// A message arrives now, whether it was held or not.
    Release(EventId),
    /// A message arrives later than it would have; one that was held, later than now.
    Delay {
        /// Which.
        message: EventId,
        /// By how much, in µs.
        by: Micros,
    },
    /// A copy of a message flies beside it and arrives right after it. Where the message is held,
    /// so is the copy.
    Duplicate(EventId),
    /// None of the server's snapshots can be saved until its disk is mended, as when it is full.
    FailSnapshots(NodeId),
}

/// The most servers that a simulation may have, so that a mistyped number does not look like one.
pub const MAX_SERVERS: u64 = 99;

/// Why an action was not possible. Nothing happened, and it is not in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// See its text.
    #[error("there is no server {0}")]
    NoSuchServer(NodeId),
    /// See its text.
    #[error("there is a server {0} already; choose another number")]
    Exists(NodeId),
    /// See its text.
    #[error("servers count from S1 to S{MAX_SERVERS}")]
    ServerNumber,
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
    #[error("{0} in 1000 is not possible; give 0 to 1000")]
    Permille(u16),
    /// See its text.
    #[error("a delay from {min} to {max} µs is not possible; the first must not be the larger")]
    Delay {
        /// The minimum given.
        min: Micros,
        /// The maximum given.
        max: Micros,
    },
    /// See its text.
    #[error("the disk of {0} is damaged, as its checksums tell; wipe it and add the server again")]
    Damaged(NodeId),
    /// See its text.
    #[error("the disk of {0} holds nothing that could be damaged")]
    Empty(NodeId),
    /// See its text.
    #[error("the disk of {0} has stalled already")]
    Stalled(NodeId),
    /// See its text.
    #[error("nothing ails the disk of {0}")]
    Healthy(NodeId),
    /// See its text.
    #[error("a clock cannot run at {0} thousandths of true time; give 1 to 100,000")]
    ClockRate(u32),
    /// See its text.
    #[error("the message {0} is not on its way any more")]
    NotFlying(EventId),
    /// See its text.
    #[error("the message {0} is held already")]
    Held(EventId),
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
            Action::SetDuplication { permille } => {
                self.network.config.duplicate_permille = permille;
            }
            Action::SetReordering { permille } => self.network.config.reorder_permille = permille,
            Action::SetLinkQuality { from, to, quality } => {
                self.network.set_quality(from, to, quality);
            }
            Action::SetDelay { min, max } => {
                (self.network.config.delay_min, self.network.config.delay_max) = (min, max);
            }
            Action::SetDiskDelay { min, max } => {
                for server in self.servers.values_mut() {
                    (server.disk.config.sync_min, server.disk.config.sync_max) = (min, max);
                }
            }
            Action::SlowDisk { node, min, max } => {
                if let Some(server) = self.servers.get_mut(&node) {
                    (server.disk.config.sync_min, server.disk.config.sync_max) = (min, max);
                }
            }
            Action::StallDisk(node) => self.stall_disk(node),
            Action::MendDisk(node) => self.mend_disk(node),
            Action::FailWrite(node) => self.plant(node, |disk| disk.faults.fails_sync = true),
            Action::FailSnapshot(node) => {
                self.plant(node, |disk| disk.faults.fails_snapshot = true);
            }
            Action::FailSnapshots(node) => {
                self.plant(node, |disk| disk.faults.fails_snapshots = true);
            }
            Action::TearWrite(node) => self.tear_write(node),
            Action::FlipBit(node) => self.flip_bit(node),
            Action::Wipe(node) => self.wipe(node),
            Action::SetClock { node, jump, rate_permille } => {
                self.set_clock(node, jump, rate_permille);
            }
            Action::Write { node, command } => {
                let request = self.clients.write(self.now, &command);
                let proposal = Proposal { request, command: command.encode() };
                self.owes(node, request);
                self.input(node, Input::Propose(vec![proposal]));
                return Ok(Some(request));
            }
            Action::Read { node, key, lease } => {
                let request = self.clients.read(self.now, node, key);
                self.owes(node, request);
                self.input(node, Input::Read { request, lease });
                return Ok(Some(request));
            }
            Action::ChangeMembership { node, change } => {
                let request = self.clients.other(self.now);
                self.owes(node, request);
                self.input(node, Input::ChangeMembership { request, change });
                return Ok(Some(request));
            }
            Action::Transfer { node, to } => {
                let request = self.clients.other(self.now);
                self.owes(node, request);
                self.input(node, Input::TransferLeadership { request, to });
                return Ok(Some(request));
            }
            Action::AddServer(node) => self.add_server(node),
            Action::Elect(node) => {
                if let Some(server) = self.servers.get_mut(&node)
                    && let Some(replica) = &mut server.replica
                {
                    replica.expire_timer(server.clock.local(self.now));
                }
                self.input(node, Input::Tick);
            }
            Action::Compact(node) => self.input(node, Input::Compact),
            Action::Drop(message) => self.drop_message(message),
            Action::Hold(message) => self.hold(message),
            Action::Release(message) => self.reschedule(message, self.now),
            Action::Delay { message, by } => {
                let due = self.network.get(message).and_then(|flying| flying.due);
                self.reschedule(message, due.unwrap_or(self.now).after(by));
            }
            Action::Duplicate(message) => self.duplicate(message),
        }
        Ok(None)
    }

    /// The server takes a request in, and owes its client an answer from now on.
    fn owes(&mut self, node: NodeId, request: RequestId) {
        if let Some(server) = self.servers.get(&node) {
            self.waiting.insert(request, (node, server.run));
        }
    }

    fn check(&self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::Crash(node) | Action::TearWrite(node) => self.require_up(*node),
            Action::Freeze(node)
            | Action::Write { node, .. }
            | Action::Read { node, .. }
            | Action::ChangeMembership { node, .. }
            | Action::Transfer { node, .. }
            | Action::Compact(node) => self.require_awake(*node),
            Action::Elect(node) => {
                self.require_awake(*node)?;
                let leads = |replica: &Replica| replica.status().role == RoleName::Leader;
                if self.replica(*node).is_some_and(leads) {
                    return Err(ActionError::Leads(*node));
                }
                Ok(())
            }
            Action::Restart(node) => {
                self.require_down(*node)?;
                refuse_if(self.disk(*node, Disk::is_damaged), ActionError::Damaged(*node))
            }
            Action::Wipe(node) => self.require_down(*node),
            Action::FailWrite(node)
            | Action::FailSnapshot(node)
            | Action::FailSnapshots(node)
            | Action::FlipBit(node)
            | Action::StallDisk(node)
            | Action::MendDisk(node)
            | Action::SlowDisk { node, .. } => self.check_disk(*node, action),
            Action::SetClock { node, rate_permille, .. } => {
                self.require_known(*node)?;
                let possible = (1..=100_000).contains(rate_permille);
                refuse_if(!possible, ActionError::ClockRate(*rate_permille))
            }
            Action::Thaw(node) => match self.require_awake(*node) {
                Err(ActionError::Frozen(_)) => Ok(()),
                Err(error) => Err(error),
                Ok(()) => Err(ActionError::NotFrozen(*node)),
            },
            Action::AddServer(node) if self.servers.contains_key(node) => {
                Err(ActionError::Exists(*node))
            }
            Action::AddServer(NodeId(1..=MAX_SERVERS)) => Ok(()),
            Action::AddServer(_) => Err(ActionError::ServerNumber),
            Action::Partition(groups) => {
                groups.iter().flatten().try_for_each(|node| self.require_known(*node))
            }
            Action::SetLink { from, to, .. } => {
                self.require_known(*from)?;
                self.require_known(*to)
            }
            Action::SetLoss { permille }
            | Action::SetDuplication { permille }
            | Action::SetReordering { permille }
                if *permille > 1000 =>
            {
                Err(ActionError::Permille(*permille))
            }
            Action::SetLinkQuality { from, to, quality } => {
                self.require_known(*from)?;
                self.require_known(*to)?;
                quality.map_or(Ok(()), possible)
            }
            Action::SetDelay { min, max } | Action::SetDiskDelay { min, max } if min > max => {
                Err(ActionError::Delay { min: *min, max: *max })
            }
            Action::Heal
            | Action::SetLoss { .. }
            | Action::SetDuplication { .. }
            | Action::SetReordering { .. }
            | Action::SetDelay { .. }
            | Action::SetDiskDelay { .. } => Ok(()),
            Action::Drop(message)
            | Action::Hold(message)
            | Action::Release(message)
            | Action::Delay { message, .. }
            | Action::Duplicate(message) => match self.network.get(*message) {
                Some(flying) if flying.due.is_none() && matches!(action, Action::Hold(_)) => {
                    Err(ActionError::Held(*message))
                }
                Some(_) => Ok(()),
                None => Err(ActionError::NotFlying(*message)),
            },
        }
    }

    /// Whether a disk can take this action, which is about its own faults.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller chose the few that come here")]
    fn check_disk(&self, node: NodeId, action: &Action) -> Result<(), ActionError> {
        self.require_known(node)?;
        let stalled = self.disk(node, |disk| disk.faults.stalled);
        match *action {
            Action::FlipBit(_) => {
                refuse_if(self.disk(node, Disk::is_empty), ActionError::Empty(node))
            }
            Action::StallDisk(_) => refuse_if(stalled, ActionError::Stalled(node)),
            Action::MendDisk(_) => {
                let healthy = self.disk(node, |disk| disk.faults == DiskFaults::default());
                refuse_if(healthy, ActionError::Healthy(node))
            }
            Action::SlowDisk { min, max, .. } => {
                refuse_if(min > max, ActionError::Delay { min, max })
            }
            _ => Ok(()),
        }
    }

    fn require_known(&self, node: NodeId) -> Result<(), ActionError> {
        if self.servers.contains_key(&node) { Ok(()) } else { Err(ActionError::NoSuchServer(node)) }
    }

    fn require_up(&self, node: NodeId) -> Result<(), ActionError> {
        self.require_known(node)?;
        if self.replica(node).is_some() { Ok(()) } else { Err(ActionError::Down(node)) }
    }

    fn require_down(&self, node: NodeId) -> Result<(), ActionError> {
        match self.require_up(node) {
            Err(ActionError::Down(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(ActionError::Running(node)),
        }
    }

    fn disk(&self, node: NodeId, is: impl Fn(&Disk) -> bool) -> bool {
        self.servers.get(&node).is_some_and(|server| is(&server.disk))
    }

    fn require_awake(&self, node: NodeId) -> Result<(), ActionError> {
        self.require_up(node)?;
        let frozen = self.servers.get(&node).is_some_and(|server| server.frozen);
        if frozen { Err(ActionError::Frozen(node)) } else { Ok(()) }
    }
}

fn refuse_if(impossible: bool, error: ActionError) -> Result<(), ActionError> {
    if impossible { Err(error) } else { Ok(()) }
}

/// Whether a link can behave like that.
fn possible(quality: NetworkConfig) -> Result<(), ActionError> {
    let NetworkConfig {
        delay_min: min,
        delay_max: max,
        loss_permille,
        duplicate_permille,
        reorder_permille,
        bytes_per_second: _,
        queue_bytes: _,
    } = quality;
    if min > max {
        return Err(ActionError::Delay { min, max });
    }
    match [loss_permille, duplicate_permille, reorder_permille].into_iter().find(|it| *it > 1000) {
        Some(permille) => Err(ActionError::Permille(permille)),
        None => Ok(()),
    }
}
