//! Bounds on requests: what is refused, and that no accepted request creates a state that cannot be
//! saved, sent, or read again.

use std::time::{Duration, Instant};

use native_node::backup;
use serde_json::{Value, json};

use crate::cluster::{CALM, Cluster, eventually, program, run_to_end};
use crate::http::{Answer, send};

async fn post(cluster: &Cluster, id: usize, path: &str, body: &Value) -> Answer {
    send("POST", &cluster.address(id), path, &[], body.to_string()).await
}

async fn open_session(cluster: &Cluster, id: usize) -> String {
    let answer = post(cluster, id, "/sessions", &json!({"ttl_ms": 600_000})).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["session"].to_string()
}

/// Takes a snapshot on each server, after one more write.
async fn snapshots(cluster: &Cluster, leader: usize, round: u32) {
    let body = round.to_string();
    let put = send("PUT", &cluster.address(leader), "/kv/round", &[], body).await;
    assert_eq!(put.status, 200);
    cluster.converged().await;
    for id in cluster.ids() {
        let applied = cluster.status(id).await.unwrap().applied_index;
        let answer = post(cluster, id, "/cluster/snapshot", &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        eventually("a snapshot", async || {
            (cluster.status(id).await?.snapshot_index >= applied).then_some(())
        })
        .await;
    }
}

/// Guards the cluster against one small write: a transaction in a session that reads very much. The
/// state can still be saved, loaded, backed up, restored and sent to a new server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_write_with_a_large_answer_costs_nothing_but_a_refusal() {
    let mut cluster = Cluster::start_with(3, &CALM);
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let large = vec![b'v'; 1 << 20];
    assert_eq!(send("PUT", &address, "/kv/a", &[], large.clone()).await.status, 200);
    let pairs: Vec<Value> = (0..60)
        .map(|number| json!({"put": {"key": format!("p{number}"), "value": "v".repeat(17_000)}}))
        .collect();
    for _ in 0..2 {
        let batch = post(&cluster, leader, "/batch", &json!({"operations": pairs})).await;
        assert_eq!(batch.status, 200);
    }
    let session = open_session(&cluster, leader).await;
    let gets = |count: usize| json!({"then": vec![json!({"get": {"key": "a"}}); count]});
    let range = json!({"range": {"range": {"start": "p", "end": "q"}, "limit": 300}});
    let all = json!({"then": [range.clone()]});
    let many = json!({"then": vec![range; 3]});
    for (sequence, transaction, fits) in
        [("1", gets(70), false), ("2", gets(20), false), ("3", many, false), ("4", all, true)]
    {
        let headers = [("x-raft-session", session.as_str()), ("x-raft-sequence", sequence)];
        for _ in 0..2 {
            let body = transaction.to_string();
            let answer = send("POST", &address, "/txn", &headers, body).await;
            if fits {
                assert_eq!(answer.status, 200, "{}", answer.json());
            } else {
                answer.assert_problem(413, "result_too_large");
            }
        }
    }
    let headers = [("x-raft-session", session.as_str()), ("x-raft-sequence", "5")];
    let body = gets(1).to_string();
    assert_eq!(send("POST", &address, "/txn", &headers, body).await.status, 200);

    snapshots(&cluster, leader, 1).await;
    snapshots(&cluster, leader, 2).await;
    let revision = cluster.converged().await.state.revision;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let mut command = program();
    command.arg("backup").arg(&file).args(["--endpoints", &address.to_string()]);
    let output = run_to_end(command).await;
    assert!(output.status.success(), "{output:?}");
    let (_, restored) = backup::load(&file, &mut |_| {}).unwrap();
    assert_eq!(restored.get(b"a").unwrap().value, large);

    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids() {
        cluster.spawn(id);
    }
    let leader = cluster.leader().await;
    let state = cluster.converged().await.state;
    assert_eq!((state.keys, state.revision), (62, revision), "nothing was lost");

    let fourth = cluster.add();
    cluster.spawn(fourth);
    let (peer, client) = (cluster.peer_address(fourth), cluster.address(fourth));
    let body = json!({"id": fourth, "peer": peer.to_string(), "client": client.to_string()});
    let joined = post(&cluster, leader, "/cluster/members", &body).await;
    assert_eq!(joined.status, 200, "{}", joined.json());
    assert_eq!(cluster.converged().await.state.keys, 62);
    let path = "/kv/a?consistency=stale";
    assert_eq!(send("GET", &client, path, &[], "").await.body, large);
}

/// Guards leases on a healthy cluster: no lease ends before its TTL has passed since the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_ends_early() {
    let cluster = Cluster::start_with(3, &CALM);
    let leader = cluster.leader().await;
    open_session(&cluster, leader).await;
    let leases = (0..24_u64).map(|number| {
        let cluster = &cluster;
        async move {
            // Each lease starts at a different phase of the log's clock.
            tokio::time::sleep(Duration::from_millis(number * 41)).await;
            let ttl_ms = if number % 2 == 0 { 200 } else { 1000 };
            let ttl = Duration::from_millis(ttl_ms);
            // The server answered at some time after this. How late a busy machine shows the answer
            // to this test says nothing about the lease.
            let asked = Instant::now();
            let granted = post(cluster, leader, "/leases", &json!({"ttl_ms": ttl_ms})).await;
            assert_eq!(granted.status, 200);
            let path = format!("/leases/{}", granted.json()["lease"]);
            let lived = eventually("its end", async || {
                let gone = send("GET", &cluster.address(leader), &path, &[], "").await.status;
                (gone == 404).then(|| asked.elapsed())
            })
            .await;
            assert!(lived >= ttl, "{lived:?} of {ttl:?}");
            lived
        }
    });
    let all = futures_util::future::join_all(leases).await;
    println!("{all:?}");
}

/// Guards the way out of a state that has used up its quota: requests that enlarge it are refused,
/// and deletes make room again.
#[tokio::test]
async fn a_full_state_takes_deletes_and_is_open_again() {
    let cluster = Cluster::start_with(3, &["--quota-bytes=3000000", CALM[0], CALM[1]]);
    cluster.leader().await;
    let server = cluster.address(cluster.follower().await);
    let large = vec![b'v'; 1 << 20];
    for key in ["a", "b", "c"] {
        let put = send("PUT", &server, &format!("/kv/{key}"), &[], large.clone()).await;
        assert_eq!(put.status, 200);
    }
    let put = send("PUT", &server, "/kv/d", &[], "1").await;
    put.assert_problem(507, "quota_exceeded");
    let put = json!({"put": {"key": "d", "value": "1"}});
    let txn = json!({"then": [put.clone()]}).to_string();
    send("POST", &server, "/txn", &[], txn).await.assert_problem(507, "quota_exceeded");
    let ttl = json!({"ttl_ms": 1000}).to_string();
    send("POST", &server, "/leases", &[], ttl).await.assert_problem(507, "quota_exceeded");
    let both = json!({"operations": [put.clone(), {"get": {"key": "b"}}]}).to_string();
    let both = send("POST", &server, "/batch", &[], both).await.json();
    assert_eq!(both["results"][0]["error"]["code"], "quota_exceeded", "{both}");
    assert!(both["results"][1]["found"].is_object(), "the read is answered");
    let key = [("idempotency-key", "k")];
    let named = send("PUT", &server, "/kv/d", &key, "1").await;
    named.assert_problem(507, "quota_exceeded");
    let metrics = send("GET", &server, "/metrics", &[], "").await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("kv_quota_exceeded 1"));
    let batch = json!({"operations": [put, {"delete": {"key": "a"}}, {"get": {"key": "b"}}]});
    let batch = send("POST", &server, "/batch", &[], batch.to_string()).await.json();
    assert_eq!(batch["results"][0]["error"]["code"], "quota_exceeded", "{batch}");
    assert_eq!(batch["results"][1]["written"]["existed"], true, "{batch}");
    // The command line deletes in a session.
    let mut command = program();
    command.args(["delete", "b", "--endpoints", &server.to_string()]);
    let deleted = run_to_end(command).await;
    assert!(deleted.status.success(), "{deleted:?}");
    eventually("room", async || {
        let put = send("PUT", &server, "/kv/d", &[], "1").await;
        (put.status == 200).then_some(())
    })
    .await;
}

/// Guards administrators: they can list sessions, page by page, and end them.
#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let cluster = Cluster::start_with(1, &CALM);
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(open_session(&cluster, leader).await);
    }
    let headers = [("x-raft-session", opened[1].as_str()), ("x-raft-sequence", "7")];
    assert_eq!(send("PUT", &address, "/kv/a", &headers, "1").await.status, 200);
    let list = async |query: &str| {
        let answer = send("GET", &address, &format!("/sessions{query}"), &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    };
    let page = list("?limit=2").await;
    assert_eq!((&page["total"], &page["more"]), (&json!(3), &json!(true)));
    assert_eq!(page["sessions"][1]["session"].to_string(), opened[1]);
    assert_eq!(page["sessions"][1]["sequence"], 7);
    assert_eq!(page["sessions"][1]["ttl_ms"], 600_000);
    let left = page["sessions"][1]["remaining_ms"].as_u64().unwrap();
    assert!((500_000..=600_000).contains(&left), "{left}");
    let page = list(&format!("?after={}", opened[1])).await;
    assert_eq!(page["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(page["more"], false);
    let much = send("GET", &address, "/sessions?limit=1001", &[], "").await;
    much.assert_problem(413, "too_many");
    let mut command = program();
    command.args(["session", "end", &opened[0], "--endpoints", &address.to_string()]);
    assert!(run_to_end(command).await.status.success());
    let mut command = program();
    command.args(["session", "list", "--output=json", "--endpoints", &address.to_string()]);
    let output = run_to_end(command).await;
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers: Vec<String> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session"].to_string())
        .collect();
    assert_eq!(numbers, opened[1..]);
    let day = json!({"ttl_ms": 24 * 3600 * 1000 + 1});
    post(&cluster, leader, "/sessions", &day).await.assert_problem(400, "bad_ttl");
}
