//! The faults of a soak, each from its beginning to its end.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use tokio::time::sleep;

use super::figures::Figures;
use super::{fill_all, fill_leader, flip};
use crate::cluster::{Cluster, eventually};
use crate::faults::Plan;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// SIGKILL for some server, or for the leader.
    Kill,
    KillLeader,
    /// SIGKILL for all at once: a power cut.
    KillAll,
    /// SIGSTOP for some server, or for the leader.
    Freeze,
    FreezeLeader,
    /// SIGTERM for one after the other.
    RollingRestart,
    /// A link of two servers, both ways and one way.
    Cut,
    CutOneWay,
    /// All links of the leader, both ways, or only those to it or from it.
    IsolateLeader,
    DeafenLeader,
    MuteLeader,
    /// `fdatasync` hangs for a follower, or for the leader.
    Stall,
    StallLeader,
    /// No space for the leader, or for anybody.
    FillLeader,
    FillAll,
    /// A server loses all it had, is taken out and let in again.
    Wipe,
    /// A bit of a stopped server's log flips; it refuses to start and is let in anew.
    Corrupt,
    /// A member leaves and joins again with what it has.
    LeaveAndJoin,
    /// Leadership is handed over.
    Transfer,
}

impl Deed {
    const ALL: [Self; 19] = [
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
    ];

    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self::ALL[rng.usize(..Self::ALL.len())]
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
        }
    }

    /// Does it, and ends it. `base` is what is wrong with the links anyway.
    pub(super) async fn perform(
        self,
        cluster: &mut Cluster,
        rng: &mut Rng,
        base: &Plan,
        figures: &mut Figures,
    ) {
        let ids: Vec<usize> = cluster.ids().collect();
        let leader = cluster.leader().await;
        let some = ids[rng.usize(..ids.len())];
        let other = ids[(some + rng.usize(..ids.len() - 1)) % ids.len()];
        let follower = if some == leader { other } else { some };
        let time = Duration::from_millis(rng.u64(500..5000));
        let mut plan = base.clone();
        match self {
            Self::Kill => kill(cluster, some, time, base, figures).await,
            Self::KillLeader => kill(cluster, leader, time, base, figures).await,
            Self::KillAll => {
                for id in &ids {
                    cluster.kill(*id);
                }
                for id in &ids {
                    cluster.spawn(*id);
                }
                cluster.apply(base).await;
            }
            Self::Freeze => freeze(cluster, some, time, figures).await,
            Self::FreezeLeader => freeze(cluster, leader, time, figures).await,
            Self::RollingRestart => {
                for id in ids {
                    restart_in_order(cluster, id).await;
                    cluster.apply(base).await;
                }
            }
            Self::Cut => {
                plan.cut(some, other);
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::CutOneWay => {
                plan.cut_one_way(some, other);
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::IsolateLeader => {
                plan.isolate(leader, ids.len());
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::DeafenLeader => {
                ids.iter().filter(|id| **id != leader).for_each(|id| plan.cut_one_way(*id, leader));
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::MuteLeader => {
                ids.iter().filter(|id| **id != leader).for_each(|id| plan.cut_one_way(leader, *id));
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::Stall | Self::StallLeader => {
                let id = if self == Self::Stall { follower } else { leader };
                plan.of(id).disk.stalled = true;
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::FillLeader => {
                plan.of(leader).disk.full = true;
                cluster.apply(&plan).await;
                fill_leader(cluster, leader).await;
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::FillAll => {
                for id in &ids {
                    plan.of(*id).disk.full = true;
                }
                cluster.apply(&plan).await;
                fill_all(cluster, leader).await;
                hold(cluster, &plan, base, time, figures).await;
            }
            Self::Wipe => {
                cluster.kill(some);
                rejoin_empty(cluster, some).await;
                cluster.apply(base).await;
            }
            Self::Corrupt => {
                corrupt(cluster, some, rng).await;
                cluster.apply(base).await;
            }
            Self::LeaveAndJoin => {
                cluster.take_out(some).await;
                watch(cluster, time, figures).await;
                cluster.let_in(some).await;
            }
            Self::Transfer => cluster.transfer(follower).await,
        }
    }
}

/// Lets time pass and looks at the servers meanwhile.
async fn watch(cluster: &Cluster, time: Duration, figures: &mut Figures) {
    const GLANCE: Duration = Duration::from_millis(250);
    let mut left = time;
    while !left.is_zero() {
        figures.look(cluster);
        let step = left.min(GLANCE);
        sleep(step).await;
        left -= step;
    }
}

/// What is wrong with links and disks for a while.
async fn hold(cluster: &Cluster, plan: &Plan, base: &Plan, time: Duration, figures: &mut Figures) {
    cluster.apply(plan).await;
    watch(cluster, time, figures).await;
    cluster.apply(base).await;
}

async fn kill(
    cluster: &mut Cluster,
    id: usize,
    time: Duration,
    base: &Plan,
    figures: &mut Figures,
) {
    cluster.kill(id);
    watch(cluster, time, figures).await;
    cluster.spawn(id);
    cluster.apply(base).await;
}

async fn freeze(cluster: &Cluster, id: usize, time: Duration, figures: &mut Figures) {
    cluster.signal(id, Signal::STOP);
    watch(cluster, time, figures).await;
    cluster.signal(id, Signal::CONT);
}

async fn restart_in_order(cluster: &mut Cluster, id: usize) {
    cluster.signal(id, Signal::TERM);
    let status = cluster.ended(id).await;
    assert!(status.success(), "server {id} ended with {status}");
    cluster.spawn(id);
    cluster.caught_up(id).await;
}

/// A server that does not run starts with nothing, as its operator is told to let it.
async fn rejoin_empty(cluster: &mut Cluster, id: usize) {
    cluster.wipe(id);
    cluster.spawn(id);
    cluster.take_out(id).await;
    cluster.let_in(id).await;
    cluster.caught_up(id).await;
}

/// Damage is noticed, or it hit what nobody needs; never is it served.
async fn corrupt(cluster: &mut Cluster, id: usize, rng: &mut Rng) {
    // In order, so that the log is sealed: what a kill leaves behind its last complete write cannot
    // be told from a write that was under way.
    cluster.signal(id, Signal::TERM);
    assert!(cluster.ended(id).await.success());
    let files = std::fs::read_dir(cluster.data(id)).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    flip(&logs[rng.usize(..logs.len())], rng, 100_000);
    let before = std::fs::read_to_string(cluster.log(id)).unwrap().len();
    cluster.spawn(id);
    let refused = eventually("it starts or refuses to", async || {
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
            "a refusal must say where the damage is and what to do: {told}"
        );
        rejoin_empty(cluster, id).await;
    }
}
