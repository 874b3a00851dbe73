//! Hashes the parts of a server that decide its behaviour. Exhaustive exploration must count two
//! servers that behave alike as one state.
//!
//! The hash leaves out event numbers, the clock, times, and the random generator. An exploration
//! that uses it lets every timer fire at any time instead. Disk batches are counted from the latest
//! durable batch, not from the start. Every struct is destructured in full, to force a decision
//! about each new field.

use std::hash::{Hash, Hasher};

use super::progress::{Mode, Progress, Transfer};
use super::role::{Candidate, Follower, Leader, Role};
use super::{ArmedTimer, Node};

impl Node {
    pub(crate) fn hash_behaviour<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            id,
            config: _,
            rules: _,
            random: _,
            now: _,
            hard_state,
            configurations: _,
            log,
            commit_index,
            role,
            timer: ArmedTimer { timer, due: _, span: _ },
            gate,
            promise: _,
            // Set only by leadership transfers, which are not explored.
            handed_over: _,
            refused: _,
            halted,
            recorder: _,
            outputs,
            chunk_requests,
            received_chunks,
            received_digests,
        } = self;
        let idle = outputs.is_empty() && chunk_requests.is_empty() && received_chunks.is_empty();
        assert!(idle && received_digests.is_empty(), "no work is left between two steps");
        (id, hard_state, self.membership(), commit_index, timer, halted).hash(hasher);
        log.base().hash(hasher);
        log.iter().for_each(|entry| entry.hash(hasher));
        gate.hash_behaviour(hasher);
        role.hash_behaviour(hasher);
        // Only the time of the promise is left out.
        self.leader_of_term().hash(hasher);
    }
}

impl Role {
    fn hash_behaviour<H: Hasher>(&self, hasher: &mut H) {
        self.name().hash(hasher);
        match self {
            Self::Follower(Follower { leader, verified, reads }) => {
                assert!(reads.is_empty(), "follower reads are not explored");
                (leader, verified).hash(hasher);
            }
            Self::Candidate(Candidate { pre, answers }) => (pre, answers).hash(hasher),
            Self::Leader(leader) => {
                let Leader {
                    progress,
                    round,
                    first_index,
                    reads,
                    lease: _,
                    change,
                    reconfiguring,
                    transfer,
                } = leader;
                let plain = reads.is_empty() && change.is_none() && transfer.is_none();
                assert!(plain, "reads, changes of members and transfers are not explored");
                (round, first_index, reconfiguring, progress.len()).hash(hasher);
                for (peer, progress) in progress {
                    peer.hash(hasher);
                    progress.hash_behaviour(hasher);
                }
            }
        }
    }
}

impl Progress {
    fn hash_behaviour<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            match_index,
            next_index,
            mode,
            acked_round,
            matched_round,
            heard_at: _,
            answered,
            told_commit,
            moved_at: _,
            owes_since: _,
            // Decides only when to promote a learner, and the model's members do not change.
            rounds: _,
        } = self;
        (match_index, next_index, acked_round, matched_round, answered, told_commit).hash(hasher);
        std::mem::discriminant(mode).hash(hasher);
        match mode {
            Mode::Probe { in_flight } => in_flight.hash(hasher),
            Mode::Replicate(window) => window.hash(hasher),
            Mode::Lost => {}
            Mode::Snapshot(Transfer { last, cursor, round, is_whole }) => {
                (last, cursor, round, is_whole).hash(hasher);
            }
        }
    }
}
