//! What a healthy cluster must do, checked point by point. It answers requests, keeps its leader,
//! and lets every voter vote. Followers catch up at a fair cost, and an idle cluster rests.
//! Liveness of the cluster as a whole hides failures of each of these.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Action, Simulation};
use super::pace::{self, Calm};
use super::{Failure, Watch, judge_properties, recovery};
use crate::event::{Event, EventKind, Fault};
use crate::kv::Command;
use crate::membership::MembershipChange;
use crate::random::Random;
use crate::replica::Replica;
use crate::types::{MILLISECOND, Micros, NodeId, RequestId, SECOND};

pub(super) type Judged = Result<(), Failure>;

/// A situation that a healthy cluster handles.
type Trial = fn(&mut Obligations<'_>) -> Judged;

/// Checks a cluster's obligations after its recovery. The trials are drawn at random. Each trial
/// asks only for what the cluster can do under the drawn conditions.
pub(super) struct Obligations<'a> {
    pub(super) simulation: &'a mut Simulation,
    pub(super) watch: &'a mut Watch,
    pub(super) random: Random,
    pub(super) calm: Calm,
    /// The number of events so far.
    pub(super) events: u64,
}

impl Obligations<'_> {
    pub(super) fn judge(&mut self) -> Judged {
        self.every_request_is_answered()?;
        self.every_voter_votes()?;
        self.nothing_stays_pinned()?;
        self.rests()?;
        self.answers_reads_at_rest()?;
        let trials: [(u16, Trial); 6] = [
            (150, |it| it.catches_up_at_a_fair_price()),
            (150, |it| it.retries_snapshots_with_patience()),
            (150, |it| it.outlasts_a_busy_disk()),
            (150, |it| it.grows_under_load()),
            (150, |it| it.knows_when_nobody_leads()),
            (500, |it| it.finds_a_spoiled_state()),
        ];
        for (permille, trial) in trials {
            if self.random.chance(permille) {
                trial(self)?;
            }
        }
        self.every_request_is_answered()?;
        self.nothing_stays_pinned()
    }

    // Answers and rest

    /// A server answers every request that it accepted, if only with "unknown".
    fn every_request_is_answered(&mut self) -> Judged {
        let span = self.span(20_000).max(self.simulation.config().node.promotion_timeout);
        if self.wait(span, |simulation| simulation.unanswered().next().is_none())? {
            return Ok(());
        }
        let (request, node) = self.simulation.unanswered().next().expect("a request waits");
        fails(format!("{node} never answers {request:?}"))
    }

    /// Every voter can vote and be elected.
    fn every_voter_votes(&mut self) -> Judged {
        let Some(membership) = self.leader().map(|it| it.status().membership) else {
            return fails("there is no leader though nothing fails".to_owned());
        };
        let stranger =
            |simulation: &Simulation, id| simulation.replica(id).is_some_and(Replica::is_stranger);
        let voters: Vec<NodeId> = membership.all_voters().collect();
        let able = |simulation: &Simulation| voters.iter().all(|id| !stranger(simulation, *id));
        if self.wait(self.span(5_000), able)? {
            return Ok(());
        }
        let idle: Vec<_> = voters.iter().filter(|id| stranger(self.simulation, **id)).collect();
        fails(format!("the voters {idle:?} never become able to vote"))
    }

    /// A server releases the snapshot of a transfer once the follower has it.
    fn nothing_stays_pinned(&mut self) -> Judged {
        let free = |simulation: &Simulation| {
            let ids = simulation.ids();
            let mut replicas = ids.into_iter().filter_map(|id| simulation.replica(id));
            replicas.all(|replica| replica.transfers_under_way() == 0)
        };
        if self.wait(self.span(10_000), free)? {
            return Ok(());
        }
        fails("a snapshot stays pinned though its transfer should be over".to_owned())
    }

    /// In an idle cluster the leader and the term stay, and no server does more than heartbeats
    /// require.
    fn rests(&mut self) -> Judged {
        let leader = |it: &Self| it.leader().map(|it| (it.status().id, it.status().term));
        let stretch = self.random.between(1_000, 12_000);
        let span = self.span(stretch);
        let mut before = leader(self);
        let mut events = self.pass(span)?;
        // Messages from the time of the faults may still arrive on slow links, but not again and
        // again.
        for _ in 0..3 {
            let after = leader(self);
            if before == after {
                break;
            }
            before = after;
            events = self.pass(span)?;
        }
        let after = leader(self);
        if before != after {
            return fails(format!("the leader changes while idle, from {before:?} to {after:?}"));
        }
        let beats = span / self.simulation.config().node.heartbeat_interval + 1;
        let clocks = span / self.simulation.config().node.clock_interval + 1;
        let servers = self.simulation.ids().len() as u64;
        let most = 20 * servers * (beats + 2 * clocks) + 200;
        let events = events.len() as u64;
        if events > most {
            return fails(format!("{events} events while idle, but at most {most} are expected"));
        }
        Ok(())
    }

    /// Every member of an idle cluster answers reads, also several in a row.
    fn answers_reads_at_rest(&mut self) -> Judged {
        let beat = self.simulation.config().node.heartbeat_interval;
        let limit = 12 * (self.calm.round_trip() + beat);
        for node in self.members() {
            let mut asked: BTreeSet<RequestId> = BTreeSet::new();
            for _ in 0..self.random.between(1, 8) {
                let key = bytes::Bytes::from_static(b"end");
                let read = self.simulation.act(Action::Read { node, key, lease: false });
                asked.extend(read.ok().flatten());
                let pause = self.random.between(0, 2 * self.calm.round_trip());
                self.pass(pause)?;
            }
            let open = |simulation: &Simulation| {
                simulation.unanswered().any(|(request, _)| asked.contains(&request))
            };
            if !self.wait(limit, |simulation| !open(simulation))? {
                return fails(format!("{node} does not answer reads in an idle cluster"));
            }
            let done = self.simulation.readings().iter().rev().take(asked.len());
            if done.filter(|reading| asked.contains(&reading.request)).count() < asked.len() {
                return fails(format!("{node} refuses reads though nothing fails"));
            }
        }
        Ok(())
    }

    // Trials

    /// A follower that was down receives what it lacks once, and no queue overflows meanwhile.
    fn catches_up_at_a_fair_price(&mut self) -> Judged {
        let Some(leader) = self.leader_id() else { return Ok(()) };
        let Some(follower) = self.members().into_iter().find(|id| *id != leader) else {
            return Ok(());
        };
        // A damaged server stays down, and one more server down may be too many.
        if self.voters() < 3 || self.simulation.damaged() > 0 {
            return Ok(());
        }
        let _ = self.simulation.act(Action::Crash(follower));
        let writes = self.random.between(5, 200);
        let bytes = usize::try_from(self.random.between(1, 400)).expect("at most 400");
        for number in 0..writes {
            let command = Command::put(format!("c{}", number % 50), vec![b'c'; bytes]);
            let _ = self.simulation.act(Action::Write { node: leader, command });
            if number % 8 == 0 {
                self.pass(self.calm.round_trip())?;
            }
        }
        self.converges(Some(follower))?;
        let Some(lacking) = self.lacking(leader, follower) else { return Ok(()) };
        let log_end = |it: &Self| it.leader().map_or(0, |it| it.status().last.index.0);
        let end_before = log_end(self);
        let (sent, begun) = (self.simulation.sent_bytes(leader, follower), self.simulation.now());
        let _ = self.simulation.act(Action::Restart(follower));
        let events = self.converges(None)?;
        let lost = events.iter().filter(|event| {
            matches!(event.kind, EventKind::MessageDropped { .. }) && event.id.node == leader
        });
        if lost.count() > 0 {
            return fails(format!("{leader} overfills its queue to {follower}, which lags"));
        }
        let sent = self.simulation.sent_bytes(leader, follower) - sent;
        let beats =
            self.simulation.now().since(begun) / self.simulation.config().node.heartbeat_interval;
        // If the clock alone adds more entries meanwhile than the log keeps, the follower cannot
        // catch up. Each snapshot is too old when it arrives.
        if log_end(self) - end_before >= self.simulation.config().node.keep_entries {
            return Ok(());
        }
        // Allows for the other fields of frames, and for messages in transit when the follower came
        // back.
        let fair = 2 * lacking + 150 * beats + 4_000;
        if self.leader_id() == Some(leader) && sent > fair {
            return fails(format!(
                "{leader} sends {sent} bytes to {follower}, which lacked {lacking} (limit: {fair})"
            ));
        }
        Ok(())
    }

    /// How many bytes a follower that is down will need: entries, and the state if the log does not
    /// reach back far enough. `None` if the leader has changed.
    fn lacking(&self, leader: NodeId, follower: NodeId) -> Option<u64> {
        let replica = self.leader().filter(|it| it.status().id == leader)?;
        let known = replica.status().peers.get(&follower)?.match_index;
        let envelope = 100;
        let entries = replica.log().iter().filter(|entry| entry.index > known);
        let log: u64 = entries.map(|entry| entry.size() as u64 + envelope).sum();
        let state = replica.store().bytes() + envelope * replica.store().len() as u64 + 2_000;
        let needs_state = replica.status().base.index > known;
        Some(log + if needs_state { 2 * state } else { 0 })
    }

    /// If a disk cannot save snapshots, the server retries with pauses, and again once the disk is
    /// mended.
    fn retries_snapshots_with_patience(&mut self) -> Judged {
        let Some(node) = self.leader_id() else { return Ok(()) };
        let _ = self.simulation.act(Action::FailSnapshots(node));
        self.write_through(self.simulation.config().node.compact_after_entries + 1)?;
        let events = self.pass(self.span(3_000))?;
        let failures = events.iter().filter(|event| {
            matches!(&event.kind, EventKind::Fault(Fault::SnapshotNotSaved { node: at }) if *at == node)
        });
        let failures = failures.count();
        if failures > 30 {
            return fails(format!("{node} fails to save a snapshot too often: {failures} times"));
        }
        let saved =
            |simulation: &Simulation| simulation.replica(node).map(|it| it.status().snapshot_index);
        let before = saved(self.simulation);
        let _ = self.simulation.act(Action::MendDisk(node));
        self.write_through(1)?;
        let again = |simulation: &Simulation| saved(simulation) > before;
        if self.wait(self.span(1_000) + 120 * SECOND, again)? {
            return Ok(());
        }
        fails(format!("{node} takes no snapshot though its disk works again"))
    }

    /// A leader with a slow disk that still finishes writes is not deposed, however many writes
    /// wait.
    fn outlasts_a_busy_disk(&mut self) -> Judged {
        let config = self.simulation.config();
        let (speed, timeout) = (config.disk.bytes_per_second, config.node.election_timeout_min);
        // One piece takes 20 ms. Slow networks are judged elsewhere.
        if speed == 0 || config.network.bytes_per_second > 0 || timeout < 150 * MILLISECOND {
            return Ok(());
        }
        let Some(leader) = self.leader().map(|it| (it.status().id, it.status().term)) else {
            return Ok(());
        };
        let total = 3 * speed * timeout / SECOND;
        // With one message at a time, the trial would take too long.
        if total > 8 << 20 || self.simulation.config().node.max_in_flight == 1 {
            return Ok(());
        }
        let pieces = total.div_ceil(100 * 1024).max(50);
        let bytes = usize::try_from(total / pieces).expect("at most 100 KiB");
        for number in 0..pieces {
            let command = Command::put(format!("d{}", number % 4), vec![b'd'; bytes]);
            let _ = self.simulation.act(Action::Write { node: leader.0, command });
        }
        self.pass(5 * timeout)?;
        let now = self.leader().map(|it| (it.status().id, it.status().term));
        if now != Some(leader) {
            return fails(format!("{} is deposed because its disk is busy", leader.0));
        }
        self.converges(None).map(|_| ())
    }

    /// A server can be added while clients write without pause.
    fn grows_under_load(&mut self) -> Judged {
        let config = self.simulation.config();
        // The load alone fills limited links and disks. A log that keeps few entries is of no use
        // to a new server.
        let full = config.network.bytes_per_second > 0 || config.disk.bytes_per_second > 0;
        if full || config.node.keep_entries < 1_000 {
            return Ok(());
        }
        // Half of what a follower can receive in a round trip, at about 100 bytes per write.
        let pause = (self.calm.round_trip() * 400 / pace::window(&config.node)).max(self.span(4));
        let (Some(node), Some(last)) = (self.leader_id(), self.simulation.ids().last().copied())
        else {
            return Ok(());
        };
        let new = NodeId(last.0 + 1);
        let _ = self.simulation.act(Action::AddServer(new));
        let change = MembershipChange::AddVoter(new);
        let asked = self.simulation.act(Action::ChangeMembership { node, change });
        let Some(asked) = asked.ok().flatten() else { return Ok(()) };
        // The window carries twice the load, so copying takes twice as long as without load.
        let copying = 2 * self.calm.copying(self.simulation);
        let enough = self.span(12_000).max(12 * SECOND) + copying;
        let limit = self.simulation.now().after(enough);
        let mut number = 0;
        while self.simulation.unanswered().any(|(request, _)| request == asked) {
            if self.simulation.now() > limit {
                break;
            }
            for _ in 0..2 {
                number += 1;
                let command = Command::put(format!("g{}", number % 20), number.to_string());
                let _ = self.simulation.act(Action::Write { node, command });
            }
            self.pass(pause)?;
        }
        self.converges(None)?;
        let votes = self.leader().is_some_and(|it| it.status().membership.voters.contains(&new));
        if !votes {
            return fails(format!("{new} does not become a voter while clients write"));
        }
        self.every_voter_votes()
    }

    /// A server that lost the majority soon reports that there is no leader, also to waiting
    /// clients.
    fn knows_when_nobody_leads(&mut self) -> Judged {
        let members = self.members();
        if members.len() < 3 || self.simulation.damaged() > 0 {
            return Ok(());
        }
        let learner = self.simulation.ids().last().map(|last| NodeId(last.0 + 1));
        let mut left: Vec<NodeId> = members.iter().copied().take(1).collect();
        if let (Some(learner), Some(node), true) =
            (learner, self.leader_id(), self.random.chance(500))
        {
            let _ = self.simulation.act(Action::AddServer(learner));
            let change = MembershipChange::AddLearner(learner);
            let _ = self.simulation.act(Action::ChangeMembership { node, change });
            self.every_request_is_answered()?;
            self.converges(None)?;
            left = vec![learner];
        }
        for node in self.members() {
            if !left.contains(&node) {
                let _ = self.simulation.act(Action::Crash(node));
            }
        }
        let timeout = self.simulation.config().node.election_timeout_max;
        self.pass(4 * timeout + self.calm.round_trip())?;
        for node in left {
            let Some(replica) = self.simulation.replica(node) else { continue };
            if let Some(leader) = replica.status().leader {
                return fails(format!(
                    "{node} still names {leader} as the leader, long after it is gone"
                ));
            }
            let key = bytes::Bytes::from_static(b"end");
            let _ = self.simulation.act(Action::Read { node, key, lease: false });
        }
        if !self.wait(self.span(10_000), |simulation| simulation.unanswered().next().is_none())? {
            return fails("a read without a leader waits for ever".to_owned());
        }
        for node in self.simulation.ids() {
            let _ = self.simulation.act(Action::Restart(node));
        }
        self.converges(None).map(|_| ())
    }

    // Helpers

    pub(super) fn leader(&self) -> Option<&Replica> {
        self.simulation.leader().and_then(|leader| self.simulation.replica(leader))
    }

    fn leader_id(&self) -> Option<NodeId> {
        self.leader().map(|leader| leader.status().id)
    }

    fn voters(&self) -> usize {
        self.leader().map_or(0, |leader| leader.status().membership.voters.len())
    }

    /// The running members, the leader last.
    fn members(&self) -> Vec<NodeId> {
        let Some(leader) = self.leader() else { return Vec::new() };
        let mut members: Vec<NodeId> = leader.status().membership.members().into_iter().collect();
        members.retain(|id| self.simulation.replica(*id).is_some());
        members.sort_by_key(|id| *id == leader.status().id);
        members
    }

    fn span(&self, millis: u64) -> Micros {
        pace::span(self.simulation.config(), millis)
    }

    /// Lets time pass, and returns the events.
    fn pass(&mut self, span: Micros) -> Result<Vec<Event>, Failure> {
        self.simulation.run_until(self.simulation.now().after(span));
        let events = self.simulation.take_events();
        self.events += events.len() as u64;
        judge_properties(self.simulation)?;
        self.watch.observe(self.simulation.config(), &events)?;
        Ok(events)
    }

    /// Lets time pass until `holds` returns true, at most for `span`. Returns whether it did.
    fn wait(
        &mut self,
        span: Micros,
        mut holds: impl FnMut(&Simulation) -> bool,
    ) -> Result<bool, Failure> {
        let limit = self.simulation.now().after(span);
        let step = self.span(10);
        while !holds(self.simulation) {
            if self.simulation.now() >= limit {
                return Ok(false);
            }
            self.pass(step)?;
        }
        Ok(true)
    }

    /// Writes at the leader and waits until every request is answered.
    fn write_through(&mut self, writes: u64) -> Judged {
        for _ in 0..writes {
            if let Some(node) = self.leader_id() {
                let command = Command::put("w", "");
                let _ = self.simulation.act(Action::Write { node, command });
            }
        }
        self.every_request_is_answered()
    }

    /// Waits until all running members have the same state, except for `but`, which is down.
    fn converges(&mut self, but: Option<NodeId>) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        let limit = self.simulation.now().after(recovery::bound(self.simulation, self.calm));
        while !equal(self.simulation, but) {
            if self.simulation.now() > limit {
                return fails("the servers' states stay different".to_owned());
            }
            events.extend(self.pass(self.span(10))?);
        }
        Ok(events)
    }
}

/// Whether a leader has committed its whole log, and all members that should run have its state.
fn equal(simulation: &Simulation, but: Option<NodeId>) -> bool {
    let Some(leader) = simulation.leader().and_then(|id| simulation.replica(id)) else {
        return false;
    };
    let status = leader.status();
    let all = status.commit_index == status.last.index && status.last_applied.term == status.term;
    let damaged: BTreeMap<NodeId, bool> =
        simulation.ids().into_iter().map(|id| (id, simulation.is_damaged(id))).collect();
    let mut members = status.membership.members().into_iter();
    all && members.all(|id| {
        Some(id) == but
            || damaged.get(&id) == Some(&true)
            || simulation.replica(id).is_some_and(|it| it.last_applied() == leader.last_applied())
    })
}

pub(super) fn fails<T>(what: String) -> Result<T, Failure> {
    Err(Failure::Liveness(what))
}
