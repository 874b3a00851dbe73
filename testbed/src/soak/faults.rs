//! The faults of a soak, each with its start and end.

use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::links::Change;
use super::starved::{self, Reader};
use super::{Field, fill_all, fill_leader, flip, strangers};
use crate::cluster::{Cluster, eventually};
use crate::faults::Plan;
use crate::hostile::Kind;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL for a random server, or for the leader.
    Kill,
    KillLeader,
    /// SIGKILL for all servers at once, like a power failure.
    KillAll,
    /// SIGSTOP for a random server, or for the leader.
    Freeze,
    FreezeLeader,
    /// SIGTERM and restart for one server after another.
    RollingRestart,
    /// Cuts the link between two servers, in both directions or in a single one.
    Cut,
    CutOneWay,
    /// Cuts all links of the leader: in both directions, only to it, or only from it.
    IsolateLeader,
    DeafenLeader,
    MuteLeader,
    /// `fdatasync` hangs at a follower, or at the leader.
    Stall,
    StallLeader,
    /// No disk space at the leader, or at any server.
    FillLeader,
    FillAll,
    /// A server loses its data, is removed and added again.
    Wipe,
    /// A bit of a stopped server's log flips. If the server refuses to start, it joins again empty.
    Corrupt,
    /// A member is removed and added again with its data.
    LeaveAndJoin,
    /// Leadership is transferred.
    Transfer,
    /// A fault of links.
    Links(Change),
    /// Hostile clients attack all servers.
    Molest(Kind),
    /// The reader of a server's log stops reading, or closes the pipe.
    UnreadLog,
    BrokenLog,
    /// A server has few file descriptors, and many clients connect to it.
    FewFiles,
}

impl Fault {
    const ALL: [Self; 36] = [
        Self::Kill,
        Self::KillLeader,
        Self::KillAll,
        Self::Freeze,
        Self::FreezeLeader,
        Self::RollingRestart,
        Self::Cut,
        Self::CutOneWay,
        Self::IsolateLeader,
        Self::DeafenLeader,
        Self::MuteLeader,
        Self::Stall,
        Self::StallLeader,
        Self::FillLeader,
        Self::FillAll,
        Self::Wipe,
        Self::Corrupt,
        Self::LeaveAndJoin,
        Self::Transfer,
        Self::Links(Change::Narrow),
        Self::Links(Change::Lengthen),
        Self::Links(Change::Silence),
        Self::Links(Change::SilenceOneWay),
        Self::Links(Change::SilenceLeader),
        Self::Links(Change::SilenceClients),
        Self::Links(Change::Forget),
        Self::Links(Change::HalfOpen),
        Self::Molest(Kind::Slow),
        Self::Molest(Kind::Huge),
        Self::Molest(Kind::HalfOpen),
        Self::Molest(Kind::Flood),
        Self::Molest(Kind::Garbage),
        Self::Molest(Kind::Strangers),
        Self::UnreadLog,
        Self::BrokenLog,
        Self::FewFiles,
    ];

    /// All faults whose names contain `only` but not `skip`, unless `skip` is empty.
    pub(super) fn named(only: &str, skip: &str) -> Vec<Self> {
        let skipped = |name: &str| !skip.is_empty() && name.contains(skip);
        let meant = |fault: &Self| fault.name().contains(only) && !skipped(fault.name());
        Self::ALL.into_iter().filter(meant).collect()
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::KillLeader => "kill -9 the leader",
            Self::KillAll => "kill -9 all",
            Self::Freeze => "freeze",
            Self::FreezeLeader => "freeze the leader",
            Self::RollingRestart => "rolling restart",
            Self::Cut => "cut a link",
            Self::CutOneWay => "cut a link one way",
            Self::IsolateLeader => "isolate the leader",
            Self::DeafenLeader => "leader hears nothing",
            Self::MuteLeader => "leader says nothing",
            Self::Stall => "stall a follower's disk",
            Self::StallLeader => "stall the leader's disk",
            Self::FillLeader => "fill the leader's disk",
            Self::FillAll => "fill all disks",
            Self::Wipe => "wipe and let in again",
            Self::Corrupt => "flip a bit in a log",
            Self::LeaveAndJoin => "leave and join",
            Self::Transfer => "transfer leadership",
            Self::Links(change) => change.name(),
            Self::Molest(Kind::Slow) => "hostile clients: slow",
            Self::Molest(Kind::Huge) => "hostile clients: huge",
            Self::Molest(Kind::HalfOpen) => "hostile clients: half open",
            Self::Molest(Kind::Flood) => "hostile clients: flood",
            Self::Molest(Kind::Garbage) => "hostile clients: garbage between servers",
            Self::Molest(Kind::Strangers) => "hostile clients: wrong tokens",
            Self::UnreadLog => "a log that nobody reads",
            Self::BrokenLog => "a log whose reader ends",
            Self::FewFiles => "few file descriptors",
        }
    }

    /// Runs the fault from its start to its end.
    pub(super) async fn perform(self, field: &mut Field<'_>) {
        let Field { cluster, rng, base, .. } = field;
        let ids: Vec<usize> = cluster.ids().collect();
        let leader = cluster.leader().await;
        let some = ids[rng.usize(..ids.len())];
        let other = ids[(some + rng.usize(..ids.len() - 1)) % ids.len()];
        let follower = if some == leader { other } else { some };
        let time = Duration::from_millis(rng.u64(500..5000));
        let mut plan = base.plan.clone();
        match self {
            Self::Kill => kill(field, some, time).await,
            Self::KillLeader => kill(field, leader, time).await,
            Self::KillAll => {
                for id in &ids {
                    cluster.kill(*id);
                }
                for id in &ids {
                    cluster.spawn(*id);
                }
                cluster.apply(&base.plan).await;
            }
            Self::Freeze => freeze(field, some, time).await,
            Self::FreezeLeader => freeze(field, leader, time).await,
            Self::RollingRestart => {
                for id in ids {
                    restart_in_order(cluster, id, |_| ()).await;
                    cluster.apply(&base.plan).await;
                }
            }
            Self::Cut => {
                plan.cut(some, other);
                hold(field, &plan, time).await;
            }
            Self::CutOneWay => {
                plan.cut_one_way(some, other);
                hold(field, &plan, time).await;
            }
            Self::IsolateLeader => {
                plan.isolate(leader, ids.len());
                hold(field, &plan, time).await;
            }
            Self::DeafenLeader => {
                ids.iter().filter(|id| **id != leader).for_each(|id| plan.cut_one_way(*id, leader));
                hold(field, &plan, time).await;
            }
            Self::MuteLeader => {
                ids.iter().filter(|id| **id != leader).for_each(|id| plan.cut_one_way(leader, *id));
                hold(field, &plan, time).await;
            }
            Self::Stall | Self::StallLeader => {
                let id = if self == Self::Stall { follower } else { leader };
                plan.of(id).disk.stalled = true;
                hold(field, &plan, time).await;
            }
            Self::FillLeader => {
                plan.of(leader).disk.full = true;
                cluster.apply(&plan).await;
                fill_leader(cluster, leader).await;
                hold(field, &plan, time).await;
            }
            Self::FillAll => {
                for id in &ids {
                    plan.of(*id).disk.full = true;
                }
                cluster.apply(&plan).await;
                fill_all(cluster, leader).await;
                hold(field, &plan, time).await;
            }
            Self::Wipe => {
                cluster.kill(some);
                rejoin_empty(cluster, some).await;
                cluster.apply(&base.plan).await;
            }
            Self::Corrupt => {
                corrupt(cluster, some, rng).await;
                cluster.apply(&base.plan).await;
            }
            Self::LeaveAndJoin => {
                cluster.take_out(some).await;
                field.watch(time).await;
                field.cluster.let_in(some).await;
            }
            Self::Transfer => cluster.transfer(follower).await,
            Self::Links(change) => change.perform(field, [some, other, leader], time).await,
            Self::Molest(kind) => strangers::molest(field, kind, &ids, time).await,
            Self::UnreadLog => starved::log(field, some, Reader::Stops, time).await,
            Self::BrokenLog => starved::log(field, some, Reader::Ends, time).await,
            Self::FewFiles => starved::files(field, some, time).await,
        }
    }
}

/// Applies faults of links and disks for `time`.
async fn hold(field: &mut Field<'_>, plan: &Plan, time: Duration) {
    field.cluster.apply(plan).await;
    field.watch(time).await;
    field.cluster.apply(&field.base.plan).await;
}

async fn kill(field: &mut Field<'_>, id: usize, time: Duration) {
    field.cluster.kill(id);
    field.watch(time).await;
    field.cluster.spawn(id);
    field.cluster.apply(&field.base.plan).await;
}

async fn freeze(field: &mut Field<'_>, id: usize, time: Duration) {
    field.cluster.signal(id, Signal::STOP);
    field.watch(time).await;
    field.cluster.signal(id, Signal::CONT);
}

/// Stops a server with SIGTERM and restarts it; `change` may modify the command first.
pub(super) async fn restart_in_order(
    cluster: &mut Cluster,
    id: usize,
    change: impl FnOnce(&mut Command),
) {
    cluster.signal(id, Signal::TERM);
    let status = cluster.ended(id).await;
    assert!(status.success(), "server {id} ended with {status}");
    cluster.spawn_with(id, change);
    cluster.caught_up(id).await;
}

/// Restarts a stopped server with an empty directory, by the documented procedure for operators.
async fn rejoin_empty(cluster: &mut Cluster, id: usize) {
    cluster.wipe(id);
    cluster.spawn(id);
    cluster.take_out(id).await;
    cluster.let_in(id).await;
    cluster.caught_up(id).await;
}

/// Damages a server's log: the server must refuse to start or be unaffected.
async fn corrupt(cluster: &mut Cluster, id: usize, rng: &mut Rng) {
    // Stop cleanly, to seal the log. After a kill, damage behind the last complete write looks like
    // a write in progress.
    cluster.signal(id, Signal::TERM);
    assert!(cluster.ended(id).await.success());
    let files = std::fs::read_dir(cluster.data(id)).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    flip(&logs[rng.usize(..logs.len())], rng, 100_000);
    let before = std::fs::read_to_string(cluster.log(id)).unwrap().len();
    cluster.spawn(id);
    let refused = eventually("the server starts or refuses to start", async || {
        if cluster.has_ended(id) {
            return Some(true);
        }
        cluster.status(id).await.map(|_| false)
    })
    .await;
    if refused {
        let log = std::fs::read_to_string(cluster.log(id)).unwrap();
        let told = &log[before..];
        assert!(
            told.contains(".log") && told.contains("member remove"),
            "the server must say where the damage is and what to do: {told}"
        );
        rejoin_empty(cluster, id).await;
    }
}
