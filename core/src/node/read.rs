//! Linearizable reads without a log entry (§8; dissertation §6.4, ReadIndex).
//!
//! A read may be answered from the leader's state once a majority has acknowledged a heartbeat
//! round that began after the read came: then no newer leader had been elected by that time, and
//! everything committed before is in this leader's log. One round confirms all the reads that
//! waited for it.

use super::Node;
use super::role::{PendingRead, Role};
use crate::event::{EventKind, Outcome};
use crate::types::{NodeId, RequestId};

impl Node {
    pub(crate) fn read(&mut self, request: RequestId) {
        let Role::Leader(leader) = &mut self.role else {
            self.respond(request, Outcome::NotLeader { leader: self.leader() });
            return;
        };
        let round = leader.round + 1;
        leader.reads.push_back(PendingRead { request, round });
        if self.rules.confirms_reads() {
            self.answer_confirmed_reads();
        } else {
            self.answer_reads_up_to(u64::MAX);
        }
    }

    /// Answers the reads that a majority has confirmed. When others wait for a round that has not
    /// begun, and none is under way, begins it. Before the first commit of its term a leader does
    /// not know what is committed, so until then all reads wait (§8).
    pub(super) fn answer_confirmed_reads(&mut self) {
        loop {
            let Role::Leader(leader) = &self.role else { return };
            if leader.reads.is_empty() || !leader.knows_commit(self.commit_index) {
                return;
            }
            let (begun, confirmed) = (leader.round, self.confirmed_round());
            let waiting = leader.reads.back().is_some_and(|read| read.round > begun);
            self.answer_reads_up_to(confirmed);
            if !waiting || confirmed < begun {
                return;
            }
            self.begin_round();
        }
    }

    /// The latest round that a majority has acknowledged; the leader acknowledges its own.
    fn confirmed_round(&self) -> u64 {
        let Role::Leader(leader) = &self.role else { return 0 };
        self.rules.majority_value(&self.membership, |voter: NodeId| {
            leader.progress.get(&voter).map_or(leader.round, |peer| peer.acked_round)
        })
    }

    fn answer_reads_up_to(&mut self, round: u64) {
        let Role::Leader(leader) = &mut self.role else { return };
        let confirmed = leader.reads.iter().take_while(|read| read.round <= round).count();
        if confirmed == 0 {
            return;
        }
        let safe: Vec<PendingRead> = leader.reads.drain(..confirmed).collect();
        let reads = safe.len() as u64;
        self.recorder.emit(|| EventKind::ReadsConfirmed { round, reads });
        for read in safe {
            self.respond(read.request, Outcome::ReadReady { read_index: self.commit_index });
        }
    }
}
