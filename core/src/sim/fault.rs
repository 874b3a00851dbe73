//! Faults that the environment causes in servers, disks, clocks and links.

use std::collections::BTreeSet;

use super::disk::{Disk, DiskFaults};
use super::server::{Server, Wiped};
use super::{Simulation, pairs_apart};
use crate::event::{EventKind, Fault};
use crate::replica::Input;
use crate::types::NodeId;

impl Simulation {
    pub(super) fn crash(&mut self, node: NodeId) {
        self.note(node, EventKind::Crashed);
        let Some(server) = self.servers.get_mut(&node) else { return };
        if let Some(replica) = server.replica.take() {
            server.next_seq = replica.next_seq();
        }
        server.disk.crash(&mut self.random);
    }

    pub(super) fn freeze(&mut self, node: NodeId) {
        self.note(node, EventKind::Frozen);
        if let Some(server) = self.servers.get_mut(&node) {
            server.frozen = true;
        }
    }

    pub(super) fn thaw(&mut self, node: NodeId) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.frozen = false;
        let inbox = std::mem::take(&mut server.inbox);
        self.note(node, EventKind::Thawed);
        for (arrived, mut input) in inbox {
            if let Input::ReceiveAged { age, .. } = &mut input
                && self.config.message_ages
            {
                *age += self.now.since(arrived);
            }
            self.input(node, input);
        }
    }

    /// Records an action on a server among the server's own events.
    pub(super) fn note(&mut self, node: NodeId, kind: EventKind) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        if let Some(replica) = &mut server.replica {
            replica.note(server.clock.local(self.now), kind);
            self.after_step(node);
        }
    }

    pub(super) fn partition(&mut self, groups: &[BTreeSet<NodeId>]) {
        let ids = self.ids();
        let apart = pairs_apart(groups, &ids);
        for from in &ids {
            for to in ids.iter().filter(|to| *to != from) {
                self.set_link(*from, *to, !apart.contains(&(*from, *to)));
            }
        }
    }

    pub(super) fn heal(&mut self) {
        for (from, to) in self.network.cut_links() {
            self.set_link(from, to, true);
        }
        self.network.heal();
    }

    pub(super) fn set_link(&mut self, from: NodeId, to: NodeId, up: bool) {
        if self.network.set_link(from, to, up) {
            self.record(None, EventKind::LinkChanged { from, to, up });
        }
    }

    // Disks

    pub(super) fn plant(&mut self, node: NodeId, fault: impl FnOnce(&mut Disk)) {
        if let Some(server) = self.servers.get_mut(&node) {
            fault(&mut server.disk);
        }
    }

    pub(super) fn stall_disk(&mut self, node: NodeId) {
        self.plant(node, |disk| disk.faults.stalled = true);
        self.record(None, EventKind::Fault(Fault::DiskStalled { node }));
    }

    /// Ends all faults of the disk. The completions that it held back happen now.
    pub(super) fn mend_disk(&mut self, node: NodeId) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.disk.faults = DiskFaults::default();
        let late = std::mem::take(&mut server.disk.late);
        self.record(None, EventKind::Fault(Fault::DiskMended { node }));
        for happening in late {
            self.queue.push(self.now, happening);
        }
    }

    pub(super) fn tear_write(&mut self, node: NodeId) {
        let torn = match self.servers.get_mut(&node) {
            Some(server) => server.disk.tear(&mut self.random),
            None => None,
        };
        self.crash(node);
        if let Some((write, entries)) = torn {
            self.record(None, EventKind::Fault(Fault::RecordTorn { node, write, entries }));
        }
    }

    pub(super) fn flip_bit(&mut self, node: NodeId) {
        if let Some(server) = self.servers.get_mut(&node) {
            server.disk.flip_bit(&mut self.random);
        }
        self.record(None, EventKind::Fault(Fault::BitFlipped { node }));
    }

    pub(super) fn wipe(&mut self, node: NodeId) {
        let longest = self.servers.values().map(Server::last_index).max().unwrap_or_default();
        if let Some(server) = self.servers.get_mut(&node) {
            server.disk = Disk::new(server.disk.config);
            server.stranger = true;
            server.wiped = Some(Wiped { at: longest, left: false });
        }
        self.record(None, EventKind::Fault(Fault::Wiped { node }));
    }

    // Clocks

    pub(super) fn set_clock(&mut self, node: NodeId, jump: i64, rate_permille: u32) {
        let Some(server) = self.servers.get_mut(&node) else { return };
        server.clock.set(self.now, jump, rate_permille);
        let time = server.clock.local(self.now);
        // The queued tick was computed with the clock's old settings.
        server.tick_at = None;
        self.record(None, EventKind::Fault(Fault::ClockSet { node, time, rate_permille }));
        self.after_step(node);
    }
}
