//! Injected faults: where they are allowed, and their effects on a real cluster.

use std::time::Duration;

use api::kv::Consistency;
use bytes::Bytes;
use client::Client;
use testbed::faults::{ALLOW_FAULTS, Plan};

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::http::send;

/// Guards production servers: without the flag the route does not exist, and with it only known
/// faults are accepted.
#[tokio::test]
async fn faults_exist_only_where_they_are_allowed() {
    let cluster = Cluster::start_with(1, &[]);
    cluster.leader().await;
    let address = cluster.address(1);
    for (method, body) in [("GET", ""), ("PUT", "{}"), ("DELETE", "")] {
        let answer = send(method, &address, "/faults", &[], body).await;
        answer.assert_problem(404, "route_not_found");
    }
    let cluster = Cluster::start_with(1, &[ALLOW_FAULTS]);
    cluster.leader().await;
    let address = cluster.address(1);
    for wrong in ["", "{", r#"{"disks": {}}"#, r#"{"links": {"2": {"delay_ms": 3600000}}}"#] {
        let answer = send("PUT", &address, "/faults", &[], wrong).await;
        answer.assert_problem(400, "bad_json");
    }
    send("POST", &address, "/faults", &[], "{}").await.assert_problem(405, "method_not_allowed");
    let stall = r#"{"disk":{"stalled":true,"full":false}}"#;
    assert_eq!(send("PUT", &address, "/faults", &[], stall).await.status, 200);
    let shown = send("GET", &address, "/faults", &[], "").await;
    assert_eq!(String::from_utf8_lossy(&shown.body), stall);
    let healed = send("DELETE", &address, "/faults", &[], "").await;
    assert_eq!(healed.json()["disk"]["stalled"], false);
    cluster.client(1).put(b"x", Bytes::from_static(b"1")).await.unwrap();
}

/// Guards the effect of an isolated leader: the others replace it, it serves no stale read, and it
/// follows once the links are restored.
#[tokio::test]
async fn a_leader_that_is_cut_off_is_replaced_and_reads_nothing_old() {
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, "--request-timeout=1s"]);
    let leader = cluster.leader().await;
    cluster.client(leader).put(b"x", Bytes::from_static(b"1")).await.unwrap();
    let mut plan = Plan::default();
    plan.isolate(leader, 3);
    cluster.apply(&plan).await;
    let others = cluster.ids().filter(|id| *id != leader).map(|id| cluster.address(id)).collect();
    let others = Client::new(others, PATIENCE);
    eventually("the others take writes", async || {
        others.put(b"x", Bytes::from_static(b"2")).await.ok()
    })
    .await;
    let hasty = Client::new(vec![cluster.address(leader)], Duration::from_millis(1500));
    let read = hasty.get(b"x", Consistency::Linearizable).await;
    assert!(read.is_err(), "a server that is cut off cannot know what is newest: {read:?}");
    cluster.heal().await;
    let read = cluster.client(leader).get(b"x", Consistency::Linearizable).await.unwrap();
    assert_eq!(read, Some(Bytes::from_static(b"2")));
    cluster.converged().await;
}
