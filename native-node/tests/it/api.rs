//! Batches, requests that take effect once, reads with a minimum freshness or of one revision, and
//! the API's own description.

use std::collections::BTreeSet;
use std::time::Instant;

use api::address::Address;
use serde_json::{Value, json};
use testbed::faults::Plan;

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::{Answer, send};

async fn put(server: &Address, key: &str, value: &'static str) -> u64 {
    let put = send("PUT", server, &format!("/kv/{key}"), &[], value).await;
    put.json()["revision"].as_u64().unwrap()
}

/// Guards batches through the leader and a follower: each operation has its own result, and an
/// invalid operation does not stop the others.
#[tokio::test]
async fn a_batch_carries_out_each_operation_by_itself() {
    let cluster = Cluster::start();
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for id in [leader, follower] {
        let server = cluster.address(id);
        put(&server, "there", "1").await;
        let batch = json!({"operations": [
            {"put": {"key": "a", "value": {"hex": "00ff"}}},
            {"get": {"key": "there"}},
            {"put": {"key": "", "value": "x"}},
            {"delete": {"key": "nobody"}},
            {"put": {"key": "b", "value": "2", "lease": 99_999}},
            {"get": {"key": "nobody"}},
        ]});
        let answer = send("POST", &server, "/batch", &[], batch.to_string()).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(answer.header("x-raft-node"), leader.to_string(), "writes are the leader's");
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), 6);
        assert_eq!(results[0]["written"]["existed"], id == follower);
        assert_eq!(results[1]["found"]["value"], "1");
        assert_eq!(results[2]["error"]["code"], "bad_key");
        assert_eq!(results[3]["written"]["existed"], false);
        assert_eq!(results[4]["error"]["code"], "no_such_lease");
        assert_eq!(results[5], json!({"found": null}));
        let raw = send("GET", &server, "/kv/a", &[], "").await;
        assert_eq!(raw.body, &b"\x00\xff"[..]);
        // The server that is asked answers a batch of reads itself.
        let reads = r#"{"operations": [{"get": {"key": "there"}}]}"#;
        let reads = send("POST", &server, "/batch", &[], reads).await;
        assert_eq!(reads.header("x-raft-node"), id.to_string());
    }
    let server = cluster.address(leader);
    let many = vec![r#"{"put": {"key": "n", "value": "v"}}"#; 1000].join(",");
    let many = send("POST", &server, "/batch", &[], format!(r#"{{"operations": [{many}]}}"#)).await;
    let many = many.json();
    let revisions = many["results"].as_array().unwrap().iter();
    let revisions: BTreeSet<u64> =
        revisions.map(|it| it["written"]["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions.len(), 1000, "each is a change of its own");
    let none = send("POST", &server, "/batch", &[("x-raft-session", "1")], "{}").await;
    none.assert_problem(400, "bad_session");
}

/// Guards `Idempotency-Key`: a repeated request takes effect once and gets the same answer, also
/// from the next leader. A different request with the same key is refused.
#[tokio::test]
async fn a_request_with_a_key_takes_effect_once_also_after_a_failover() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let named = |key: &'static str| [("idempotency-key", key)];
    let ask = async |id: usize, key, path: &str, body: Value| {
        send("POST", &cluster.address(id), path, &named(key), body.to_string()).await
    };
    let set = json!({"key": "n", "value": "1"});
    let transaction = json!({
        "compare": [{"key": "t", "target": {"version": 0}}],
        "then": [{"put": {"key": "t", "value": "1"}}],
        "else": [{"put": {"key": "t", "value": "twice"}}],
    });
    let batch = json!({"operations": [
        {"put": {"key": "m", "value": "1"}}, {"delete": {"key": "gone"}},
    ]});
    put(&cluster.address(leader), "gone", "x").await;
    let first = [
        ask(follower, "one", "/set", set.clone()).await.json(),
        ask(leader, "two", "/txn", transaction.clone()).await.json(),
        ask(leader, "three", "/batch", batch.clone()).await.json(),
    ];
    assert_eq!(first[1]["succeeded"], true);
    for key in ["n", "m"] {
        put(&cluster.address(leader), key, "2").await;
    }
    let other = ask(leader, "one", "/set", json!({"key": "n", "value": "3"})).await;
    other.assert_problem(422, "idempotency_key_reused");
    cluster.converged().await;
    cluster.kill(leader);
    let ask = async |key, path: &str, body: Value| {
        eventually("there is a leader again", async || {
            let body = body.to_string();
            let answer = send("POST", &cluster.address(follower), path, &named(key), body).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await
    };
    // Index and term belong to the last attempt; the rest of the answer is the same.
    let told = |mut answer: Value| {
        for part in ["index", "term"] {
            answer.as_object_mut().unwrap().remove(part);
            for result in answer["results"].as_array_mut().into_iter().flatten() {
                if let Some(written) = result["written"].as_object_mut() {
                    written.remove(part);
                }
            }
        }
        answer
    };
    let [set_first, transaction_first, batch_first] = first.map(told);
    assert_eq!(told(ask("one", "/set", set).await), set_first);
    assert_eq!(told(ask("two", "/txn", transaction).await), transaction_first);
    assert_eq!(told(ask("three", "/batch", batch).await), batch_first);
    for (key, value) in [("n", "2"), ("m", "2"), ("t", "1")] {
        let found = send("GET", &cluster.address(follower), &format!("/get/{key}"), &[], "").await;
        assert_eq!(found.json()["value"], value, "{key}");
    }
}

/// Guards `min_revision`: a read sees writes made at another server. A revision that does not
/// arrive within the request timeout causes a clear error.
#[tokio::test]
async fn a_read_waits_for_the_revision_that_it_needs() {
    let arguments = [CALM[0], CALM[1], "--request-timeout=2s"];
    let cluster = Cluster::start_with(3, &arguments);
    let leader = cluster.leader().await;
    for round in 0..20 {
        let revision = put(&cluster.address(leader), "n", "1").await;
        let id = cluster.ids().find(|id| *id != leader).unwrap();
        let path = format!("/get/n?consistency=stale&min_revision={revision}");
        let read = send("GET", &cluster.address(id), &path, &[], "").await;
        assert_eq!(read.json()["mod_revision"], revision, "round {round}");
        assert_eq!(read.header("x-raft-consistency"), "stale");
    }
    let server = cluster.address(leader);
    let next = put(&server, "n", "1").await + 1;
    let path = format!("/get/n?min_revision={next}");
    let waiting = send("GET", &server, &path, &[], "");
    let then = async {
        // A read that waits for a revision counts as a watcher.
        eventually("the read waits", async || {
            let metrics = send("GET", &server, "/metrics", &[], "").await;
            let text = String::from_utf8(metrics.body.to_vec()).unwrap();
            text.lines().any(|line| line == "kv_watchers 1").then_some(())
        })
        .await;
        put(&server, "n", "later").await
    };
    let (read, _) = tokio::join!(waiting, then);
    assert_eq!(read.json()["value"], "later", "it waits for what is yet to come");
    let path = format!("/get/n?min_revision={}", next + 1000);
    let never = send("GET", &server, &path, &[], "").await;
    assert_eq!(never.assert_problem(504, "revision_not_reached")["retryable"], true);
}

/// Guards `max_staleness`: an isolated server answers while its state is fresh enough, and then
/// refuses. The headers name the consistency in effect.
#[tokio::test]
async fn a_stale_read_is_never_older_than_it_may_be() {
    let cluster =
        Cluster::start_with(3, &[CALM[0], CALM[1], "--allow-faults", "--request-timeout=1s"]);
    let follower = cluster.follower().await;
    let server = cluster.address(follower);
    put(&server, "n", "1").await;
    let path = |limit: &str| format!("/get/n?consistency=stale&max_staleness={limit}");
    let read = async |limit: &str| send("GET", &server, &path(limit), &[], "").await;
    let begun = Instant::now();
    let first = read("1h").await;
    assert_eq!(first.header("x-raft-consistency"), "linearizable", "nothing was confirmed before");
    let second = read("1h").await;
    assert_eq!(second.header("x-raft-consistency"), "stale");
    let age: u64 = second.header("x-raft-staleness-ms").parse().unwrap();
    assert!(u128::from(age) <= begun.elapsed().as_millis() + 1, "{age}");
    let mut plan = Plan::default();
    plan.isolate(follower, 3);
    cluster.apply(&plan).await;
    assert_eq!(read("1h").await.json()["value"], "1", "it may be an hour old");
    let late = read("1us").await;
    assert!(
        matches!(late.status.as_u16(), 503 | 504),
        "what nobody confirms is no answer: {:?}",
        late.body
    );
    read("soon").await.assert_problem(400, "bad_query");
    let other = send("GET", &server, "/get/n?max_staleness=1s", &[], "").await;
    other.assert_problem(400, "bad_query");
}

/// Guards long reads: with `revision` all pages show one state despite new writes. A server that
/// does not hold that state reports an error.
#[tokio::test]
async fn the_pages_of_one_revision_show_one_state() {
    let cluster = Cluster::start();
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let server = cluster.address(leader);
    for key in ["p/1", "p/2", "p/3"] {
        put(&server, key, "old").await;
    }
    let first = send("GET", &server, "/kv?prefix=p/&limit=1", &[], "").await.json();
    let (revision, next) = (&first["revision"], first["next"].as_str().unwrap().to_owned());
    for key in ["p/2", "p/2a", "p/3"] {
        put(&server, key, "new").await;
    }
    let path = format!("/kv?prefix=p/&limit=1000&start={next}&revision={revision}");
    let rest = send("GET", &server, &path, &[], "").await;
    assert_eq!(rest.header("x-raft-consistency"), "snapshot");
    assert_eq!(rest.header("x-raft-revision"), revision.to_string());
    let rest = rest.json();
    let values: Vec<_> = rest["pairs"].as_array().unwrap().iter().collect();
    assert_eq!(values.len(), 2, "{rest}");
    assert!(values.iter().all(|pair| pair["value"] == "old"), "{rest}");
    let elsewhere = send("GET", &cluster.address(follower), &path, &[], "").await;
    elsewhere.assert_problem(410, "revision_not_held");
    let future = send("GET", &server, "/kv?revision=1000000", &[], "").await;
    future.assert_problem(400, "bad_query");
    // Any server can serve the newest revision.
    let newest = send("GET", &server, "/kv", &[], "").await.json()["revision"].to_string();
    let path = format!("/kv?revision={newest}");
    assert_eq!(send("GET", &cluster.address(follower), &path, &[], "").await.status, 200);
}

/// Guards HTTP itself: methods, conditions and unusual requests get the correct statuses.
#[tokio::test]
async fn odd_requests_get_the_right_status() {
    let cluster = Cluster::start();
    let server = cluster.address(cluster.leader().await);
    let revision = put(&server, "n", "1").await;
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)]| -> Answer {
        send(method, &server, path, headers, "").await
    };
    let tag = format!("\"{revision}\"");
    for known in [tag.clone(), format!("W/{tag}"), "\"1000\", ".to_owned() + &tag, "*".to_owned()] {
        let same = ask("GET", "/kv/n", &[("if-none-match", &known)]).await;
        assert_eq!((same.status.as_u16(), same.header("etag")), (304, &*tag), "{known}");
    }
    let changed = ask("GET", "/kv/n", &[("if-none-match", "\"1000\"")]).await;
    assert_eq!((changed.status.as_u16(), &changed.body[..]), (200, &b"1"[..]));
    for method in ["PUT", "DELETE"] {
        let weak = ask(method, "/kv/n", &[("if-match", &format!("W/{tag}"))]).await;
        weak.assert_problem(400, "bad_condition");
        let twice = ask(method, "/kv/n", &[("if-match", &tag), ("if-match", "\"1000\"")]).await;
        twice.assert_problem(400, "bad_condition");
    }
    let head = ask("HEAD", "/kv/n", &[]).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "1"));
    assert_eq!(ask("HEAD", "/kv/none", &[]).await.status, 404);
    for (method, path, allowed) in [
        ("OPTIONS", "/kv/n", "GET, HEAD, PUT, DELETE"),
        ("PATCH", "/kv/n", "GET, HEAD, PUT, DELETE"),
        ("GET", "/batch", "POST"),
        ("POST", "/kv", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
        ("DELETE", "/leases", "POST"),
    ] {
        let refused = ask(method, path, &[]).await;
        refused.assert_problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), allowed, "{method} {path}");
    }
    for path in ["/kv?prefix=%4", "/kv?limit=1&limit=2", "/watch?prefix=%zz", "/get/n?redirect=x"] {
        ask("GET", path, &[]).await.assert_problem(400, "bad_query");
    }
    ask("GET", "/get/%zz", &[]).await.assert_problem(400, "bad_key");
    let long = format!("/kv?prefix={}", "p".repeat(5_000));
    ask("GET", &long, &[]).await.assert_problem(413, "too_large");
    let twice = [("idempotency-key", "k"), ("idempotency-key", "l")];
    ask("DELETE", "/kv/n", &twice).await.assert_problem(400, "bad_idempotency_key");
}

/// Guards the status: it does not count the cluster's own keys, and it shows the asked server's
/// progress as the leader sees it.
#[tokio::test]
async fn the_status_counts_the_clients_keys() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    put(&cluster.address(leader), "n", "1").await;
    let body = format!(
        r#"{{"id": {leader}, "peer": "{}", "client": "{}"}}"#,
        cluster.peer_address(leader),
        cluster.address(leader)
    );
    send("POST", &cluster.address(leader), "/cluster/members", &[], body).await;
    let status = cluster.converged().await;
    assert_eq!(status.state.keys, 1);
    let asked = cluster.address(cluster.follower().await);
    eventually("the leader has told of the asked server", async || {
        let status = send("GET", &asked, "/cluster/status", &[], "").await.json();
        (status["own_progress"]["match_index"] == status["last_index"]).then_some(())
    })
    .await;
}

/// Guards the description and its page: the server serves them complete, without other hosts.
#[tokio::test]
async fn the_api_describes_itself() {
    let cluster = Cluster::start_with(1, &[]);
    let server = cluster.address(cluster.leader().await);
    let ask = async |path: &str| send("GET", &server, path, &[], "").await;
    let document = ask("/openapi.json").await;
    assert_eq!(document.json()["openapi"], "3.1.0");
    let moved = ask("/docs").await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/docs/"));
    let page = ask("/docs/").await;
    assert_eq!(page.header("content-type"), "text/html");
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!page.contains("http://") && !page.contains("https://"), "it needs a network: {page}");
    let files: Vec<_> =
        page.split('"').filter(|it| it.contains(".js") || it.contains(".css")).collect();
    assert!(files.len() >= 3, "{page}");
    for file in files {
        let answer = ask(&format!("/docs/{}", file.trim_start_matches("./"))).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.body.is_empty(), "{file}");
    }
    let settings = ask("/docs/swagger-initializer.js").await.body;
    assert!(String::from_utf8_lossy(&settings).contains("/openapi.json"));
    ask("/docs/nothing").await.assert_problem(404, "route_not_found");
}
