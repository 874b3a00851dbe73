//! The HTTP API as clients see it: answers, errors, forwarding, health, metrics.

use api::address::Address;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{CALM, Cluster, PATIENCE, eventually, program, run_to_end};

/// An answer with its complete body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that the answer is an error with this code and a hint, and returns it.
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), &problem["code"]), (status, &code.into()), "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail", "hint"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        assert!(problem["retryable"].is_boolean(), "{problem}");
        problem
    }
}

/// Sends one request and follows no redirect.
pub(crate) async fn send(
    method: &str,
    server: &Address,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    try_send(method, server, path, headers, body.into()).await.unwrap()
}

/// Like [`send`], for a server that may not run.
pub(crate) async fn try_send(
    method: &str,
    server: &Address,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Answer, hyper_util::client::legacy::Error> {
    let pool: Pool<HttpConnector, Full<Bytes>> = Pool::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{server}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = pool.request(request.body(Full::new(body)).unwrap()).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// Guards the JSON routes and the raw ones, through the leader and through a follower.
#[tokio::test]
async fn keys_are_set_read_and_removed_through_any_server() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    for id in cluster.ids() {
        let server = cluster.address(id);
        let by = if id == leader { String::new() } else { id.to_string() };
        let set = send("POST", &server, "/set", &[], r#"{"key":"a b/ü","value":"1"}"#).await;
        assert_eq!(set.status, 200);
        assert_eq!(set.header("x-raft-node"), leader.to_string());
        assert_eq!(set.header("x-raft-forwarded-by"), by);
        let revision = set.json()["revision"].as_u64().unwrap();

        let get = send("GET", &server, "/get/a%20b/%C3%BC", &[], "").await;
        assert_eq!(get.status, 200);
        assert_eq!(get.header("x-raft-forwarded-by"), "", "reads are answered here");
        assert_eq!(get.header("x-raft-node"), id.to_string());
        assert_eq!(get.header("x-raft-consistency"), "linearizable");
        let found = get.json();
        assert_eq!((&found["key"], &found["value"]), (&"a b/ü".into(), &"1".into()));
        assert_eq!(found["mod_revision"], revision);

        let raw = send("PUT", &server, "/kv/raw%FF", &[], &b"\x00\xff"[..]).await;
        assert_eq!(raw.status, 200);
        let raw = send("GET", &server, "/kv/raw%FF", &[], "").await;
        assert_eq!(raw.body, &b"\x00\xff"[..]);
        assert_eq!(raw.header("x-content-type-options"), "nosniff");
        assert_eq!(raw.header("etag"), format!("\"{}\"", revision + 1));
        let hex = send("GET", &server, "/get/raw%FF", &[], "").await.json();
        assert_eq!(hex["value"]["hex"], "00ff");

        let gone = send("DELETE", &server, "/kv/raw%FF", &[], "").await;
        assert_eq!(gone.json()["existed"], true);
        let gone = send("DELETE", &server, "/kv/raw%FF", &[], "").await;
        assert_eq!(gone.json()["existed"], false);
        send("GET", &server, "/get/raw%FF", &[], "").await.assert_problem(404, "key_not_found");
    }
    cluster.converged().await;
    for id in cluster.ids() {
        let path = "/get/a%20b/%C3%BC?consistency=stale";
        let stale = send("GET", &cluster.address(id), path, &[], "").await;
        assert_eq!(stale.header("x-raft-node"), id.to_string(), "a stale read stays here");
        assert_eq!(stale.header("x-raft-consistency"), "stale");
    }
}

/// Guards each error that a client can cause: its status, its code, and its hint.
#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    let ask = async |method: &str, path: &str, body: Vec<u8>| {
        send(method, &server, path, &[], body).await
    };
    ask("POST", "/set", b"{".to_vec()).await.assert_problem(400, "bad_json");
    ask("POST", "/set", br#"{"key":"","value":""}"#.to_vec()).await.assert_problem(400, "bad_key");
    ask("GET", "/get/", vec![]).await.assert_problem(400, "bad_key");
    ask("GET", "/get/%f", vec![]).await.assert_problem(400, "bad_key");
    ask("GET", "/get/none", vec![]).await.assert_problem(404, "key_not_found");
    ask("GET", "/get/a?consistency=maybe", vec![]).await.assert_problem(400, "bad_query");
    for path in [
        "/get/a?limit=1",
        "/kv?start=p&end=",
        "/kv?prefix=a&prefix=b",
        "/get/a?redirect=true&redirect=false",
        "/cluster/backup?consistency=stale&consistency=linearizable",
        "/cluster/members?id=1",
    ] {
        ask("GET", path, vec![]).await.assert_problem(400, "bad_query");
    }
    ask("POST", "/cluster/leader?to=9", vec![]).await.assert_problem(400, "bad_query");
    ask("POST", "/cluster/snapshot?x", vec![]).await.assert_problem(400, "bad_query");
    let odd = format!(r#"{{"{}": 1}}"#, "n".repeat(1 << 20));
    let odd = ask("POST", "/set", odd.into_bytes()).await;
    odd.assert_problem(400, "bad_json");
    assert!(odd.body.len() < 4096, "the answer repeats the question");
    ask("GET", "/nowhere", vec![]).await.assert_problem(404, "route_not_found");
    ask("GET", "/trace", vec![]).await.assert_problem(426, "websocket_only");
    let wrong = ask("GET", "/set", vec![]).await;
    wrong.assert_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "POST");

    let long = format!("/kv/{}", "k".repeat(4097));
    ask("PUT", &long, b"v".to_vec()).await.assert_problem(413, "too_large");
    ask("PUT", "/kv/k", vec![b'v'; 1 << 20]).await.json()["revision"].as_u64().unwrap();
    ask("PUT", "/kv/k", vec![b'v'; (1 << 20) + 1]).await.assert_problem(413, "too_large");
    ask("POST", "/set", vec![b' '; 4 << 20]).await.assert_problem(413, "too_large");
    cluster.converged().await;
}

/// Guards a cluster without a majority: no request hangs, and no write is acknowledged.
#[tokio::test]
async fn without_a_majority_requests_are_refused_or_unknown() {
    let mut cluster = Cluster::start_with(3, &["--request-timeout=1s"]);
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    let followers: Vec<_> = cluster.ids().filter(|id| *id != leader).collect();
    send("PUT", &server, "/kv/k", &[], "old").await;
    cluster.converged().await;
    for id in &followers {
        cluster.kill(*id);
    }
    // At first the leader still believes that it leads; then CheckQuorum makes it step down.
    let first = send("PUT", &server, "/kv/k", &[], "new").await;
    first.assert_problem(504, "outcome_unknown");
    assert_eq!(first.json()["retryable"], false);
    let refused = eventually("it steps down", async || {
        let answer = send("PUT", &server, "/kv/k", &[], "new").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    refused.assert_problem(503, "no_leader");
    assert_eq!(refused.header("retry-after"), "1");
    send("GET", &server, "/get/k", &[], "").await.assert_problem(503, "no_leader");
    let stale = send("GET", &server, "/get/k?consistency=stale", &[], "").await;
    assert_eq!(stale.json()["value"], "old");
    let ready = send("GET", &server, "/readyz", &[], "").await;
    assert_eq!(ready.status, 503);
    assert!(String::from_utf8_lossy(&ready.body).contains("[-]leader failed"), "{:?}", ready.body);
    assert_eq!(send("GET", &server, "/livez", &[], "").await.status, 200);
}

/// Guards forwarding: one hop at most, a redirect on request, and a correct error when the leader
/// does not answer.
#[tokio::test]
async fn requests_reach_the_leader_in_one_hop_or_not_at_all() {
    let [min, max] = CALM;
    let cluster = Cluster::start_with(3, &["--request-timeout=1s", min, max]);
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let server = cluster.address(follower);
    let target = format!("http://{}/kv/k?redirect=true", cluster.address(leader));
    let redirect = send("PUT", &server, "/kv/k?redirect=true", &[], "1").await;
    let problem = redirect.assert_problem(307, "redirect");
    assert_eq!(redirect.header("location"), target);
    assert_eq!(problem["leader"]["id"], leader);

    let hop = [("x-raft-forwarded-by", "9")];
    let again = send("PUT", &server, "/kv/k", &hop, "1").await;
    let problem = again.assert_problem(503, "not_leader");
    assert_eq!(problem["leader"]["client"], cluster.address(leader).to_string());

    cluster.signal(leader, Signal::STOP);
    let frozen = send("PUT", &server, "/kv/k", &[], "1").await;
    if frozen.status != StatusCode::OK {
        // The frozen leader may execute the request after it resumes.
        let code = frozen.json()["code"].as_str().unwrap().to_owned();
        assert!(code == "outcome_unknown" || code == "no_leader", "{code}");
    }
    cluster.signal(leader, Signal::CONT);
}

/// Guards requests to a dead leader: a request that was never sent is not "unknown".
#[tokio::test]
async fn a_leader_that_is_gone_is_told_from_one_that_is_silent() {
    // With long timeouts the followers remember their leader.
    let long = ["--election-timeout-min=5s", "--election-timeout-max=6s"];
    let mut cluster = Cluster::start_with(3, &long);
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    cluster.kill(leader);
    let answer = send("PUT", &cluster.address(follower), "/kv/k", &[], "1").await;
    let problem = answer.assert_problem(503, "leader_unreachable");
    assert_eq!(problem["leader"]["id"], leader);
    assert_eq!(problem["retryable"], true);
}

/// Guards memory: requests beyond the bound are rejected at once.
#[tokio::test]
async fn too_much_at_once_is_turned_away() {
    let cluster = Cluster::start_with(1, &["--max-requests=4"]);
    cluster.leader().await;
    let server = cluster.address(1);
    let mut open = Vec::new();
    for _ in 0..4 {
        // A request without its body stays pending for as long as it may take.
        let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
        let head = "PUT /kv/k HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    let refused = eventually("all four are under way", async || {
        let answer = send("PUT", &server, "/kv/k", &[], "1").await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    refused.assert_problem(429, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    for stream in &mut open {
        stream.write_all(b"value").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    assert_eq!(send("PUT", &server, "/kv/k", &[], "1").await.status, 200);
}

/// Guards against slow clients: header and body both have a time limit.
#[tokio::test]
async fn slow_clients_are_cut() {
    let cluster = Cluster::start_with(1, &["--client-read-timeout=300ms"]);
    cluster.leader().await;
    let server = cluster.address(1).to_string();
    let read_all = async |head: &str| {
        let mut stream = TcpStream::connect(&server).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE, reading).await.expect("it is cut").unwrap();
        String::from_utf8(answer).unwrap()
    };
    let header = read_all("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n").await;
    assert!(!header.contains("200 OK"), "{header}");
    let body = read_all(
        "PUT /kv/k HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\nconnection: close\r\n\r\nab",
    )
    .await;
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("slow_body"), "{body}");
}

/// Guards a user's machine against web pages in its browser; see `http::origin`.
#[tokio::test]
async fn foreign_pages_are_refused_and_configured_ones_let_in() {
    let cluster = Cluster::start_with(1, &["--cors-origins=http://localhost:1234"]);
    cluster.leader().await;
    let server = cluster.address(1);
    let foreign = [("origin", "http://evil.example")];
    let answer = send("PUT", &server, "/kv/k", &foreign, "1").await;
    answer.assert_problem(403, "origin_not_allowed");
    let rebound = [("host", "evil.example")];
    send("GET", &server, "/get/k", &rebound, "").await.assert_problem(403, "origin_not_allowed");
    let allowed = [("origin", "http://localhost:1234")];
    let answer = send("PUT", &server, "/kv/k", &allowed, "1").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:1234");
    let preflight = [
        ("origin", "http://localhost:1234"),
        ("access-control-request-method", "DELETE"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = send("OPTIONS", &server, "/kv/k", &preflight, "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("access-control-allow-methods").contains("DELETE"));
}

/// Guards the status: any server reports the leader and each server's progress correctly.
#[tokio::test]
async fn the_status_shows_the_whole_cluster_from_any_server() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    cluster.any_client().put(b"k", Bytes::from_static(b"1")).await.unwrap();
    cluster.converged().await;
    for id in cluster.ids() {
        let status = eventually(
            "the leader's view arrives, which is that all have everything",
            async || {
                let status = cluster.client(id).status().await.unwrap();
                let followers = status.peers.iter().filter(|peer| peer.place.id.0 != leader as u64);
                let are_told = followers.map(|peer| peer.progress.as_ref()).all(|progress| {
                    progress.is_some_and(|it| (it.lag, it.match_index) == (0, status.last_index))
                });
                (status.progress_from?.0 == leader as u64 && are_told).then_some(status)
            },
        )
        .await;
        assert_eq!(status.node.place.id.0, id as u64);
        assert_eq!(status.leader.as_ref().unwrap().client, cluster.address(leader).to_string());
        assert_eq!(status.peers.len(), 2);
        for peer in status.peers.iter().filter(|peer| peer.place.id.0 != leader as u64) {
            assert!(peer.healthy && peer.voter, "{peer:?}");
        }
    }
    let dead = cluster.follower().await;
    cluster.kill(dead);
    let why = eventually("the dead server is noticed", async || {
        let status = cluster.client(leader).status().await.unwrap();
        let peer = status.peers.into_iter().find(|peer| peer.place.id.0 == dead as u64).unwrap();
        peer.why
    })
    .await;
    assert!(why.contains("no connection") || why.contains("not answered"), "{why}");
}

/// Guards the metrics for Prometheus: the usual names, and values that change.
#[tokio::test]
async fn metrics_follow_what_happens() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    for _ in 0..10 {
        send("PUT", &server, "/kv/k", &[], "1").await;
        send("GET", &server, "/kv/k", &[], "").await;
    }
    let answer = send("GET", &server, "/metrics", &[], "").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let value = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!((value("raft_is_leader") - 1.0).abs() < f64::EPSILON);
    assert!(value("raft_term") >= 1.0);
    assert!(value("raft_proposals_total") >= 10.0);
    assert!(value("raft_reads_total") >= 10.0);
    assert!(value("raft_commit_duration_seconds_count") >= 10.0);
    assert!(value("raft_wal_fsync_duration_seconds_count") >= 1.0);
    assert!(value("raft_wal_written_bytes_total") >= 10.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    let puts = r#"http_requests_total{route="/kv/{key}",method="PUT",status="200"}"#;
    assert!(value(puts) >= 10.0);
    for name in ["raft_commit_index", "raft_applied_index", "raft_leader_changes_total"] {
        value(name);
    }
    assert!(text.contains("raft_peer_match_index{peer="), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

/// Guards the command line's client: it finds the leader, prints values unchanged, and exits with
/// an error on failure.
#[tokio::test]
async fn the_command_line_reads_and_writes() {
    let cluster = Cluster::start();
    cluster.leader().await;
    let endpoints: Vec<_> = cluster.ids().map(|id| cluster.address(id).to_string()).collect();
    let run = async |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).env("GLASSRAFT_ENDPOINTS", endpoints.join(","));
        run_to_end(command).await
    };
    let put = run(&["put", "greeting", "hello"]).await;
    assert!(put.status.success(), "{put:?}");
    let get = run(&["get", "greeting"]).await;
    assert_eq!(get.stdout, b"hello");
    let json = run(&["get", "greeting", "--output=json"]).await;
    let pair: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(pair["value"], "hello");
    let status = run(&["status"]).await;
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("leads") && text.lines().count() >= 8, "{text}");
    for number in 0..3 {
        assert!(run(&["put", &format!("many/{number}"), "v"]).await.status.success());
    }
    let all = run(&["get", "many/", "--prefix"]).await;
    assert_eq!(all.stdout, b"many/0 = v\nmany/1 = v\nmany/2 = v\n", "{all:?}");
    let change = r#"{"then": [{"put": {"key": "many/0", "value": "w"}}]}"#;
    let txn = run(&["txn", change]).await;
    assert!(String::from_utf8_lossy(&txn.stdout).contains(r#""succeeded":true"#), "{txn:?}");
    let orphan = run(&["put", "k", "v", "--lease=99"]).await;
    assert!(String::from_utf8_lossy(&orphan.stderr).contains("no_such_lease"), "{orphan:?}");
    let members = run(&["member", "list"]).await;
    let text = String::from_utf8(members.stdout).unwrap();
    assert!(text.contains("leader") && text.contains(&cluster.members()), "{text}");
    assert!(run(&["snapshot"]).await.status.success());
    let heir = cluster.follower().await.to_string();
    let handed = run(&["transfer-leader", &heir]).await;
    assert_eq!(handed.stdout, format!("S{heir} leads\n").as_bytes(), "{handed:?}");
    assert!(run(&["delete", "greeting"]).await.status.success());
    let gone = run(&["get", "greeting"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("there is no key `greeting`"));
    let nobody = run(&["get", "x", "--endpoints=127.0.0.1:9", "--timeout=1s"]).await;
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("Connection refused"), "{nobody:?}");
}
