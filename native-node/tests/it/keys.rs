//! Operations on keys beyond setting and reading them.

use serde_json::{Value, json};

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::{Answer, send};

/// Guards races: if many clients create the same key at once through all servers, exactly one
/// succeeds. If many increment a counter, no increment is lost.
#[tokio::test]
async fn exactly_one_of_many_that_race_wins() {
    let cluster = Cluster::start();
    cluster.leader().await;
    let create = (0..12_usize).map(|number| {
        let server = cluster.address(1 + number % 3);
        let value = number.to_string();
        async move { send("PUT", &server, "/kv/race", &[("if-none-match", "*")], value).await }
    });
    let answers: Vec<Answer> = futures_util::future::join_all(create).await;
    let won: Vec<usize> = (0..12).filter(|number| answers[*number].status == 200).collect();
    assert_eq!(won.len(), 1, "{won:?}");
    for (number, answer) in answers.iter().enumerate().filter(|(number, _)| *number != won[0]) {
        let problem = answer.assert_problem(412, "condition_failed");
        assert_eq!(problem["found"]["value"], won[0].to_string(), "seen by {number}");
    }

    send("PUT", &cluster.address(1), "/kv/count", &[], "0").await;
    let count = (0..4_usize).map(|number| {
        let server = cluster.address(1 + number % 3);
        async move {
            for _ in 0..5 {
                loop {
                    let read = send("GET", &server, "/kv/count", &[], "").await;
                    let tag = read.header("etag").to_owned();
                    let next = String::from_utf8_lossy(&read.body).parse::<u32>().unwrap() + 1;
                    let condition = [("if-match", tag.as_str())];
                    let put = send("PUT", &server, "/kv/count", &condition, next.to_string()).await;
                    if put.status == 200 {
                        break;
                    }
                    put.assert_problem(412, "condition_failed");
                }
            }
        }
    });
    futures_util::future::join_all(count).await;
    let read = send("GET", &cluster.address(2), "/kv/count", &[], "").await;
    assert_eq!(&read.body[..], b"20");

    let gone = [("if-match", "\"1\"")];
    let delete = send("DELETE", &cluster.address(2), "/kv/count", &gone, "").await;
    delete.assert_problem(412, "condition_failed");
    let there = [("if-match", "*")];
    assert_eq!(send("DELETE", &cluster.address(2), "/kv/count", &there, "").await.status, 200);
    let delete = send("DELETE", &cluster.address(2), "/kv/count", &there, "").await;
    assert_eq!(delete.assert_problem(412, "condition_failed")["found"], Value::Null);
    let bad = [("if-match", "7")];
    let put = send("PUT", &cluster.address(2), "/kv/count", &bad, "1").await;
    put.assert_problem(400, "bad_condition");
    cluster.converged().await;
}

/// Guards transactions and ranges, through a follower.
#[tokio::test]
async fn transactions_and_ranges_work_through_any_server() {
    let cluster = Cluster::start();
    let server = cluster.address(cluster.follower().await);
    for (key, value) in [("a/1", "x"), ("a/2", "y"), ("a/3", "z"), ("b", "w")] {
        send("PUT", &server, &format!("/kv/{key}"), &[], value).await;
    }
    let transaction = json!({
        "compare": [{"key": "a/1", "target": {"value": "x"}}],
        "then": [
            {"put": {"key": "a/4", "value": "new"}},
            {"delete": {"key": "a/2"}},
            {"range": {"range": {"start": "a/", "end": "a0"}, "limit": 10}},
        ],
        "else": [{"get": {"key": "a/1"}}],
    });
    let first = send("POST", &server, "/txn", &[], transaction.to_string()).await;
    assert_eq!(first.status, 200, "{}", first.json());
    assert_eq!(first.json()["succeeded"], true);
    assert_eq!(first.json()["results"][1], json!({"existed": true}));
    assert_eq!(first.json()["results"][2]["pairs"].as_array().unwrap().len(), 3);
    send("PUT", &server, "/kv/a/1", &[], "other").await;
    let second = send("POST", &server, "/txn", &[], transaction.to_string()).await.json();
    assert_eq!(second["succeeded"], false);
    assert_eq!(second["results"][0]["found"]["value"], "other");

    let keys = |page: &Value| -> Vec<String> {
        let pairs = page["pairs"].as_array().unwrap();
        pairs.iter().map(|pair| pair["key"].as_str().unwrap().to_owned()).collect()
    };
    let page = send("GET", &server, "/kv?prefix=a/&limit=2", &[], "").await;
    assert_eq!(page.header("x-raft-consistency"), "linearizable");
    assert_eq!(keys(&page.json()), ["a/1", "a/3"]);
    assert_eq!(page.json()["next"], "a/4");
    let page = send("GET", &server, "/kv?prefix=a/&start=a/4", &[], "").await.json();
    assert_eq!((keys(&page), &page["next"]), (vec!["a/4".to_owned()], &Value::Null));
    let page = send("GET", &server, "/kv?consistency=stale", &[], "").await.json();
    assert_eq!(keys(&page).len(), 4, "the cluster's own keys are not shown");
    send("GET", &server, "/kv?limit=0", &[], "").await.assert_problem(400, "bad_query");
    send("GET", &server, "/kv/%FF%FFmembers", &[], "").await.assert_problem(400, "bad_key");
    send("POST", &server, "/txn", &[], "{}x").await.assert_problem(400, "bad_json");
    cluster.converged().await;
}

/// Guards leases: their keys exist while the lease is kept alive, and disappear on all servers when
/// it ends.
#[tokio::test]
async fn keys_go_on_all_servers_when_their_lease_ends() {
    let cluster = Cluster::start();
    let server = cluster.address(cluster.follower().await);
    let grant = send("POST", &server, "/leases", &[], r#"{"ttl_ms": 1500}"#).await.json();
    let lease = grant["lease"].as_u64().unwrap();
    let put = format!("/kv/short?lease={lease}");
    assert_eq!(send("PUT", &server, &put, &[], "1").await.status, 200);
    send("PUT", &server, "/kv/long", &[], "1").await;
    let path = format!("/leases/{lease}");
    let shown = send("GET", &server, &path, &[], "").await.json();
    assert_eq!((&shown["ttl_ms"], &shown["keys"]), (&json!(1500), &json!(["short"])));
    for _ in 0..3 {
        let kept = send("POST", &server, &format!("{path}/keep-alive"), &[], "").await;
        assert_eq!(kept.json(), json!({"lease": lease, "ttl_ms": 1500}));
    }
    for id in cluster.ids() {
        eventually("the key is gone here too", async || {
            let path = "/kv/short?consistency=stale";
            let read = send("GET", &cluster.address(id), path, &[], "").await;
            (read.status == 404).then_some(())
        })
        .await;
    }
    assert_eq!(send("GET", &server, "/kv/long", &[], "").await.status, 200);
    send("PUT", &server, &put, &[], "1").await.assert_problem(404, "no_such_lease");
    send("GET", &server, &path, &[], "").await.assert_problem(404, "no_such_lease");

    let grant = send("POST", &server, "/leases", &[], r#"{"ttl_ms": 60000}"#).await.json();
    let path = format!("/leases/{}", grant["lease"]);
    send("PUT", &server, &format!("/kv/k?lease={}", grant["lease"]), &[], "1").await;
    assert_eq!(send("DELETE", &server, &path, &[], "").await.json(), json!({"keys": 1}));
    send("DELETE", &server, &path, &[], "").await.assert_problem(404, "no_such_lease");
    send("POST", &server, "/leases", &[], r#"{"ttl_ms": 0}"#).await.assert_problem(400, "bad_ttl");
    send("POST", &server, "/leases", &[], "{}").await.assert_problem(400, "bad_json");
    send("PUT", &server, "/leases/1", &[], "").await.assert_problem(405, "method_not_allowed");
    cluster.converged().await;
}

/// Guards a delete that takes longer than an election timeout on each server: under any later
/// leader each key is deleted once on all servers.
#[tokio::test]
async fn a_delete_of_very_many_keys_loses_nothing() {
    const KEYS: usize = 40_000;
    let cluster = Cluster::start_with(3, &[]);
    cluster.leader().await;
    let server = cluster.address(1);
    let sent = async |path: &str, body: String, name: &str| {
        eventually("it is carried out", async || {
            let headers = [("idempotency-key", name)];
            let answer = send("POST", &server, path, &headers, body.clone()).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await
    };
    for batch in (0..KEYS).collect::<Vec<_>>().chunks(1000) {
        let put = |number: &usize| json!({"put": {"key": format!("many/{number}"), "value": "v"}});
        let operations: Vec<Value> = batch.iter().map(put).collect();
        let body = json!({"operations": operations}).to_string();
        sent("/batch", body, &format!("batch-{}", batch[0])).await;
    }
    let all = json!({"then": [{"delete_range": {"start": "many/", "end": "many0"}}]});
    let deleted = sent("/txn", all.to_string(), "all").await;
    assert_eq!(deleted["results"][0]["removed"], KEYS, "{deleted}");
    assert_eq!(cluster.converged().await.state.keys, 0);
    let put = json!({"operations": [{"put": {"key": "k", "value": "v"}}]});
    sent("/batch", put.to_string(), "last").await;
    assert_eq!(cluster.converged().await.state.keys, 1);
}

/// Guards pitfall 34 in the server: a write that is retried in its session, even at another leader,
/// counts once.
#[tokio::test]
async fn pitfall_34_a_retried_write_in_a_session_counts_once() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    let opened = send("POST", &server, "/sessions", &[], r#"{"ttl_ms": 60000}"#).await.json();
    let session = opened["session"].to_string();
    let write = async |id: usize, sequence: &str| {
        let headers = [("x-raft-session", session.as_str()), ("x-raft-sequence", sequence)];
        send("PUT", &cluster.address(id), "/kv/x", &headers, "1").await
    };
    let first = write(1, "1").await.json();
    for id in cluster.ids() {
        let again = write(id, "1").await.json();
        assert_eq!(again["revision"], first["revision"], "through {id}");
    }
    let second = write(2, "2").await.json();
    write(3, "1").await.assert_problem(409, "superseded_request");
    let half = [("x-raft-session", session.as_str())];
    send("PUT", &server, "/kv/x", &half, "1").await.assert_problem(400, "bad_session");
    cluster.kill(leader);
    let next = cluster.ids().find(|id| *id != leader).unwrap();
    let write = async |sequence: &str| {
        let headers = [("x-raft-session", session.as_str()), ("x-raft-sequence", sequence)];
        send("PUT", &cluster.address(next), "/kv/x", &headers, "1").await
    };
    let third = eventually("another one leads", async || {
        let again = write("2").await;
        (again.status == 200).then(|| again.json())
    })
    .await;
    assert_eq!(third["revision"], second["revision"]);
    let server = cluster.address(next);
    let read = send("GET", &server, "/get/x", &[], "").await.json();
    assert_eq!(read["version"], 2, "written twice, however often it was sent: {read}");
    let path = format!("/sessions/{session}");
    assert_eq!(send("DELETE", &server, &path, &[], "").await.status, 200);
    write("3").await.assert_problem(410, "no_such_session");
}

/// Guards the reported consistency: a follower's read is as fresh as the leader's, and `lease` is
/// reported only by a leader with lease reads.
#[tokio::test]
async fn reads_say_what_they_rest_on() {
    let [min, max] = CALM;
    for (arguments, at_leader) in
        [(&[min, max, "--lease-reads"][..], "lease"), (&[min, max][..], "linearizable")]
    {
        let cluster = Cluster::start_with(3, arguments);
        let leader = cluster.leader().await;
        for round in 0..20 {
            let value = round.to_string();
            let put = send("PUT", &cluster.address(leader), "/kv/k", &[], value.clone()).await;
            assert_eq!(put.status, 200);
            for id in cluster.ids() {
                let server = cluster.address(id);
                let read = send("GET", &server, "/kv/k?consistency=lease", &[], "").await;
                assert_eq!(read.body, value.as_bytes(), "read at {id}");
                assert_eq!(read.header("x-raft-node"), id.to_string());
                let in_effect = if id == leader { at_leader } else { "linearizable" };
                assert_eq!(read.header("x-raft-consistency"), in_effect);
            }
        }
    }
}
