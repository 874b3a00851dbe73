//! Links that drop messages in one or both directions under load: a majority that stays connected
//! continues, and clients see one consistent store.

use testbed::faults::{ALLOW_FAULTS, Plan};
use testbed::load::{Load, judge};

use crate::cluster::{Cluster, eventually};

/// Cuts links of three servers by a plan for (leader, follower, follower), under load at all
/// servers. Returns the leader before the cut and during it.
async fn serves_through(plan: impl FnOnce(usize, [usize; 2]) -> Plan) -> (usize, usize) {
    // Clients of an isolated server need an answer soon.
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, "--request-timeout=1s"]);
    let leader = cluster.leader().await;
    let followers: Vec<usize> = cluster.ids().filter(|id| *id != leader).collect();
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let load = Load::start(4, &servers);
    load.more_writes(50).await;
    cluster.apply(&plan(leader, [followers[0], followers[1]])).await;
    load.more_writes(50).await;
    let then = cluster.leader().await;
    cluster.heal().await;
    load.more_writes(50).await;
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
    (leader, then)
}

/// Guards a majority that is cut off from its leader.
#[tokio::test]
async fn an_isolated_leader_is_replaced() {
    let (before, then) = serves_through(|leader, _| {
        let mut plan = Plan::default();
        plan.isolate(leader, 3);
        plan
    })
    .await;
    assert_ne!(before, then);
}

/// Guards pitfall 38 among real processes: a leader that can send but not receive must not stay
/// leader through its heartbeats.
#[tokio::test]
async fn pitfall_38_a_leader_that_hears_nobody_is_replaced() {
    let (before, then) = serves_through(|leader, followers| {
        let mut plan = Plan::default();
        for follower in followers {
            plan.cut_one_way(follower, leader);
        }
        plan
    })
    .await;
    assert_ne!(before, then);
}

/// Guards the other direction: a leader that receives but cannot send is replaced.
#[tokio::test]
async fn a_leader_that_nobody_hears_is_replaced() {
    let (before, then) = serves_through(|leader, followers| {
        let mut plan = Plan::default();
        for follower in followers {
            plan.cut_one_way(leader, follower);
        }
        plan
    })
    .await;
    assert_ne!(before, then);
}

/// Guards against partial cuts that stop nobody: between two followers, from the leader to a
/// follower, and from a follower to the leader.
#[tokio::test]
async fn a_link_that_is_missing_to_some_stops_nobody() {
    serves_through(|_, [one, other]| {
        let mut plan = Plan::default();
        plan.cut(one, other);
        plan
    })
    .await;
    serves_through(|leader, [follower, _]| {
        let mut plan = Plan::default();
        plan.cut_one_way(leader, follower);
        plan
    })
    .await;
    serves_through(|leader, [follower, _]| {
        let mut plan = Plan::default();
        plan.cut_one_way(follower, leader);
        plan
    })
    .await;
}

/// Guards slow links that lose messages: they only cost time.
#[tokio::test]
async fn slow_links_that_lose_messages_only_cost_time() {
    serves_through(|leader, followers| {
        let mut plan = Plan::default();
        for follower in followers {
            for (from, to) in [(leader, follower), (follower, leader)] {
                let link = plan.of(from).link(to as u64);
                (link.delay_ms, link.drop_permille) = (20, 100);
            }
        }
        plan
    })
    .await;
}

/// Guards a cluster without a majority: no write is acknowledged, and the cluster continues once
/// two servers are connected.
#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged() {
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, "--request-timeout=500ms"]);
    cluster.leader().await;
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let load = Load::start(4, &servers);
    load.more_writes(50).await;
    let mut plan = Plan::default();
    for id in cluster.ids() {
        plan.isolate(id, 3);
    }
    cluster.apply(&plan).await;
    eventually("nobody leads", async || {
        for id in cluster.ids() {
            if cluster.status(id).await?.leader.is_some() {
                return None;
            }
        }
        Some(())
    })
    .await;
    let acknowledged = load.acknowledged();
    let client = cluster.any_client().with_patience(std::time::Duration::from_millis(700));
    assert!(client.put(b"alone", "1".into()).await.is_err());
    assert_eq!(load.acknowledged(), acknowledged, "acknowledged by a minority");
    cluster.heal().await;
    load.more_writes(50).await;
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
}
