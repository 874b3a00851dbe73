//! One simulated server: a replica while the server runs, and a disk that outlives the replica.

use super::clock::Clock;
use super::disk::{Disk, DiskConfig};
use crate::config::Config;
use crate::durable::Bootstrap;
use crate::limits::Semantics;
use crate::replica::{Input, Replica, Start};
use crate::rules::Rules;
use crate::types::{LogIndex, NodeId, Time};

/// A server that lost its disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wiped {
    /// The end of the longest log in the cluster when the server lost its disk.
    pub(super) at: LogIndex,
    /// Whether the cluster has since committed a configuration in which the server does not vote.
    pub(super) left: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    id: NodeId,
    /// `None` while the server is down.
    pub(super) replica: Option<Replica>,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    /// Whether the server was added later or its disk was wiped. It then starts without any known
    /// member.
    pub(super) stranger: bool,
    /// Set once the server has lost its disk.
    pub(super) wiped: Option<Wiped>,
    pub(super) frozen: bool,
    /// The inputs that arrived while the server was frozen, with their times.
    pub(super) inbox: Vec<(Time, Input)>,
    /// When the next tick is queued, in true time.
    pub(super) tick_at: Option<Time>,
    /// How often the server was started.
    pub(super) run: u64,
    /// The number of the server's next event, over all runs.
    pub(super) next_seq: u64,
}

impl Server {
    pub(super) fn new(id: NodeId, disk: DiskConfig) -> Self {
        Self {
            id,
            replica: None,
            disk: Disk::new(disk),
            clock: Clock::TRUE,
            stranger: false,
            wiped: None,
            frozen: false,
            inbox: Vec::new(),
            tick_at: None,
            run: 0,
            next_seq: 1,
        }
    }

    /// The last index of the server's log.
    pub(super) fn last_index(&self) -> LogIndex {
        let durable = self.disk.last_index();
        self.replica.as_ref().map_or(durable, |it| it.log().last().index.max(durable))
    }

    pub(super) fn start(
        &mut self,
        config: Config,
        bootstrap: Bootstrap,
        semantics: Semantics,
        rules: Rules,
        seed: u64,
        now: Time,
    ) {
        let (recovered, snapshot) = self.disk.recover();
        let (id, first_seq) = (self.id, self.next_seq);
        let start =
            Start { id, config, bootstrap, recovered, snapshot, semantics, seed, first_seq };
        self.replica = Some(Replica::with_rules(start, rules, self.clock.local(now), true));
        self.run += 1;
        self.tick_at = None;
        self.frozen = false;
        self.inbox.clear();
    }
}
