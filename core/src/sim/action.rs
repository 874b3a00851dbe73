//! Every action that a person, a lesson or a random test can take on a simulated cluster.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFaults};
use super::{JournalEntry, NetworkConfig, Simulation};
use crate::event::RoleName;
use crate::kv::Command;
use crate::membership::MembershipChange;
use crate::replica::{Input, Proposal, Replica};
use crate::types::{EventId, Micros, NodeId, RequestId};

/// An action on the simulated cluster. The journal keeps every action that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Cuts the server's power. Data that its disk has not synced may be lost.
    Crash(NodeId),
    /// Starts the server from its disk.
    Restart(NodeId),
    /// Pauses the server's process.
    Freeze(NodeId),
    /// Resumes the server's process, which then handles all inputs that arrived meanwhile.
    Thaw(NodeId),
    /// Servers of different groups cannot communicate any more. Servers in no group form a group of
    /// their own.
    Partition(Vec<BTreeSet<NodeId>>),
    /// All links work again, and no message is lost, repeated or reordered.
    Heal,
    /// Cuts or restores one direction of one link.
    SetLink {
        /// The sending server.
        from: NodeId,
        /// The receiving server.
        to: NodeId,
        /// Whether messages pass.
        up: bool,
    },
    /// From now on, the network loses this many of 1000 messages.
    SetLoss {
        /// 0 to 1000.
        permille: u16,
    },
    /// From now on, the network delivers this many of 1000 messages twice.
    SetDuplication {
        /// 0 to 1000.
        permille: u16,
    },
    /// From now on, other messages of the same link may overtake this many of 1000 messages.
    SetReordering {
        /// 0 to 1000.
        permille: u16,
    },
    /// Changes how one direction of one link behaves, or resets it to the common behaviour.
    SetLinkQuality {
        /// The sending server.
        from: NodeId,
        /// The receiving server.
        to: NodeId,
        /// The new behaviour; `None` for the common one.
        quality: Option<NetworkConfig>,
    },
    /// Sets how long messages take from now on.
    SetDelay {
        /// The shortest delay, in µs.
        min: Micros,
        /// The longest delay, in µs.
        max: Micros,
    },
    /// Sets how long a sync of every disk takes from now on.
    SetDiskDelay {
        /// The shortest duration, in µs.
        min: Micros,
        /// The longest duration, in µs.
        max: Micros,
    },
    /// Sets how long a sync of this server's disk takes from now on.
    SlowDisk {
        /// The server.
        node: NodeId,
        /// The shortest duration, in µs.
        min: Micros,
        /// The longest duration, in µs.
        max: Micros,
    },
    /// The server's disk completes nothing until it is mended.
    StallDisk(NodeId),
    /// The server's disk works again, and all its planned faults are cancelled.
    MendDisk(NodeId),
    /// The server's next sync fails. Its data may or may not be durable.
    FailWrite(NodeId),
    /// The server cannot save its next snapshot.
    FailSnapshot(NodeId),
    /// Cuts the server's power while its disk writes a record. Earlier records may be durable. The
    /// checksum reveals the torn record, and the next start removes it.
    TearWrite(NodeId),
    /// Flips one bit of the durable data on the server's disk. The checksum reveals the damage, and
    /// the server refuses its next start.
    FlipBit(NodeId),
    /// Empties the disk of a server that is down. It comes back as a stranger that knows of no
    /// cluster. It has forgotten its promises, so it must be added again (pitfall 29).
    Wipe(NodeId),
    /// Makes the server's clock jump, and sets the rate at which it runs from now on.
    SetClock {
        /// The server.
        node: NodeId,
        /// How far the clock jumps, in µs.
        jump: i64,
        /// How many seconds the clock advances in 1000 true seconds, 1 to 100,000.
        rate_permille: u32,
    },
    /// A client asks a server to execute a command.
    Write {
        /// The server that the client asks.
        node: NodeId,
        /// The command.
        command: Command,
    },
    /// A client asks a server for a linearizable read.
    Read {
        /// The server that the client asks.
        node: NodeId,
        /// The key.
        #[serde(with = "crate::codec::text_or_bytes")]
        key: Bytes,
        /// Whether a leader may answer the read under its lease.
        #[serde(default)]
        lease: bool,
    },
    /// A client asks a server to change the membership (§6).
    ChangeMembership {
        /// The server that the client asks.
        node: NodeId,
        /// The change.
        change: MembershipChange,
    },
    /// A client asks a server to transfer leadership (dissertation §3.10).
    Transfer {
        /// The server that the client asks.
        node: NodeId,
        /// The next leader; `None` for any server.
        to: Option<NodeId>,
    },
    /// Starts a new server with an empty disk. It belongs to the cluster once a client adds it.
    AddServer(NodeId),
    /// The server's election timer expires now.
    Elect(NodeId),
    /// The server takes a snapshot and compacts its log.
    Compact(NodeId),
    /// A message in transit is lost. Like the other actions on messages, this one takes the
    /// message's id in transit, [`super::Flying::id`].
    Drop(EventId),
    /// A message stays in transit until it is released. Other messages overtake it.
    Hold(EventId),
    /// A message arrives now, whether it was held or not.
    Release(EventId),
    /// A message arrives later than planned. A held message arrives `by` µs from now.
    Delay {
        /// The message.
        message: EventId,
        /// The additional delay, in µs.
        by: Micros,
    },
    /// Copies a message. The copy arrives right after the message, or is held if the message is
    /// held.
    Duplicate(EventId),
    /// The server cannot save any snapshot until its disk is mended, as on a full disk.
    FailSnapshots(NodeId),
}

/// The highest number that an added server may have. The bound catches mistyped numbers.
pub const MAX_SERVERS: u64 = 99;

/// Why an action was refused. A refused action changes nothing and is not in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The server does not exist.
    #[error("there is no server {0}")]
    NoSuchServer(NodeId),
    /// A server with this number already exists.
    #[error("server {0} already exists; choose another number")]
    Exists(NodeId),
    /// The server number is not in 1 to [`MAX_SERVERS`].
    #[error("a server is S1 to S{MAX_SERVERS}")]
    ServerNumber,
    /// The server is down.
    #[error("{0} is down; restart it first")]
    Down(NodeId),
    /// The server is running.
    #[error("{0} is running; crash it first")]
    Running(NodeId),
    /// The server is frozen.
    #[error("{0} is frozen; thaw it first")]
    Frozen(NodeId),
    /// The server is not frozen.
    #[error("{0} is not frozen")]
    NotFrozen(NodeId),
    /// The server is the leader and has no election timer.
    #[error("{0} leads and has no election timer")]
    Leads(NodeId),
    /// The value is not in 0 to 1000.
    #[error("{0} in 1000 is not possible; use 0 to 1000")]
    Permille(u16),
    /// The minimum is larger than the maximum.
    #[error("a delay from {min} to {max} µs is not possible; give the shorter time first")]
    Delay {
        /// The given minimum, in µs.
        min: Micros,
        /// The given maximum, in µs.
        max: Micros,
    },
    /// The server's disk is damaged.
    #[error("the checksums on the disk of {0} show damage; wipe it and add the server again")]
    Damaged(NodeId),
    /// The server's disk holds no data that could be damaged.
    #[error("the disk of {0} holds no data to damage")]
    Empty(NodeId),
    /// The server's disk is already stalled.
    #[error("the disk of {0} is already stalled")]
    Stalled(NodeId),
    /// The server's disk has no fault.
    #[error("the disk of {0} has no fault")]
    Healthy(NodeId),
    /// The clock rate is not in 1 to 100,000 thousandths of true time.
    #[error("a clock cannot run at {0} thousandths of true time; use 1 to 100,000")]
    ClockRate(u32),
    /// The message is no longer in transit.
    #[error("message {0} is no longer in transit")]
    NotFlying(EventId),
    /// The message is already held.
    #[error("message {0} is already held")]
    Held(EventId),
}

impl Simulation {
    /// Takes an action on the cluster now. Returns the number of a client's request, which
    /// identifies its answer.
    pub fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError> {
        self.check(&action)?;
        self.journal.push(JournalEntry { at: self.moment(), action: action.clone() });
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

    /// Notes that the server owes the client an answer to this request from now on.
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

    /// Refuses an action on a disk that the disk's present state does not allow.
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

/// Refuses a link quality with impossible values.
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
