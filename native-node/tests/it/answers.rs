//! Large answers: a server holds a bounded amount of them, however small the requests are and
//! however slowly clients read, and keeps leading.

use std::time::Duration;

use api::address::Address;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::send;

/// Allowed memory growth of a server, in bytes: the bound on all answers, and as much again for the
/// system and the allocator. Far below what the clients request.
const MAX_GROWTH: u64 = 192 << 20;

const MIB: usize = 1 << 20;

async fn put(server: &Address, key: &str, value: Vec<u8>) {
    let answer = send("PUT", server, &format!("/kv/{key}"), &[], value).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

/// Sends requests on a connection and reads nothing.
async fn unread(server: &Address, requests: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
    let sending = stream.write_all(requests.as_bytes());
    // The server stops reading requests when the client reads no answers.
    drop(tokio::time::timeout(Duration::from_secs(2), sending).await);
    stream
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
}

async fn term(cluster: &Cluster, id: usize) -> u64 {
    let status = eventually("it answers", async || cluster.status(id).await).await;
    status.term.0
}

/// Guards memory and leadership against small requests whose answers would be a gigabyte: the
/// answer contains what fits and reports what does not.
#[tokio::test]
async fn an_answer_shows_so_much_and_no_more() {
    // Long enough for a busy machine, and far shorter than a gigabyte would take.
    let patient = ["--election-timeout-min=2s", "--election-timeout-max=3s"];
    let cluster = Cluster::start_with(3, &patient);
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    // JSON makes this value six times as long.
    put(&server, "big", vec![1; MIB]).await;
    for number in 0..80 {
        put(&server, &format!("many/{number:02}"), vec![b'v'; MIB]).await;
    }
    cluster.converged().await;
    let follower = cluster.follower().await;
    let (before, began) = (cluster.memory(leader).unwrap(), term(&cluster, leader).await);
    let most = async |id: usize, path: &str, body: Value| {
        let answer = send("POST", &cluster.address(id), path, &[], body.to_string()).await;
        assert_eq!(answer.status, 200, "{:?}", &answer.body[..answer.body.len().min(300)]);
        assert!(answer.body.len() < 16 * MIB, "{path}: {} bytes", answer.body.len());
        answer.json()["results"].as_array().unwrap().clone()
    };
    let gets = vec![json!({"get": {"key": "big"}}); 1000];
    let range = json!({"range": {"range": {"start": "many/", "end": "many0"}, "limit": 80}});
    for id in [leader, follower] {
        let results = most(id, "/batch", json!({ "operations": gets })).await;
        let shown = results.iter().filter(|it| it["found"]["value"].is_string()).count();
        let refused = results.iter().filter(|it| it["error"]["code"] == "answer_too_large").count();
        assert_eq!((shown, refused), (2, 998));
        let value = results[0]["found"]["value"].as_str().unwrap();
        assert!(value.len() == MIB && value.bytes().all(|byte| byte == 1));

        let write = json!({"put": {"key": "written", "value": "1"}});
        let mut operations = vec![range.clone(), json!({"get": {"key": "big"}}), write.clone()];
        operations.extend(vec![json!({"get": {"key": "big"}}); 100]);
        let transaction = json!({ "then": operations }).to_string();
        let answer = send("POST", &cluster.address(id), "/txn", &[], transaction).await;
        answer.assert_problem(413, "result_too_large");
        let written = send("GET", &cluster.address(id), "/get/written", &[], "").await;
        written.assert_problem(404, "key_not_found");

        let mut start = "many/".to_owned();
        let mut pairs = 0;
        loop {
            let page =
                send("GET", &cluster.address(id), &format!("/kv?start={start}"), &[], "").await;
            assert!(page.body.len() < 3 * MIB);
            let page = page.json();
            pairs += page["pairs"].as_array().unwrap().len();
            let Some(next) = page["next"].as_str() else { break };
            next.clone_into(&mut start);
        }
        assert_eq!(pairs, 80, "each key of the range, page by page");
    }
    let grown = cluster.memory(leader).unwrap().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "it grew by {grown} bytes");
    assert_eq!(term(&cluster, leader).await, began, "it was deposed");
}

/// Guards memory against clients that request much and read nothing: each connection and all
/// together hold a bounded amount, and other clients are served.
#[tokio::test]
async fn who_takes_nothing_holds_little() {
    let arguments = [&CALM[..], &["--client-write-timeout=2s", "--request-timeout=1s"]].concat();
    let cluster = Cluster::start_with(1, &arguments);
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    put(&server, "big", vec![1; MIB]).await;
    for number in 0..40 {
        put(&server, &format!("many/{number}"), vec![b'v'; MIB]).await;
    }
    let before = cluster.memory(leader).unwrap();
    let held = |what: &str| {
        let grown = cluster.memory(leader).unwrap().saturating_sub(before);
        assert!(grown < MAX_GROWTH, "{what}: it grew by {grown} bytes");
    };
    for (what, requests, connections) in [
        ("pipelined gets", get("/kv/big").repeat(1200), 1),
        ("pipelined gets in JSON", get("/get/big").repeat(1200), 1),
        ("pipelined pages", get("/kv?prefix=many/").repeat(1200), 1),
        ("pipelined heads", get("/kv/big").replace("GET", "HEAD").repeat(400_000), 1),
        ("a hundred gets", get("/kv/big"), 100),
        ("a hundred gets in JSON", get("/get/big"), 100),
        ("backups", get("/cluster/backup"), 2),
    ] {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(unread(&server, &requests).await);
        }
        for number in 0..5 {
            put(&server, &format!("small/{number}"), vec![b'v'; 100]).await;
            held(what);
        }
        if connections < 100 {
            // A single answer may fit into the system's buffers, which take a few MiB.
            eventually("they are cut", async || {
                let answer = send("GET", &server, "/metrics", &[], "").await;
                let text = String::from_utf8(answer.body.to_vec()).unwrap();
                text.contains("\nhttp_connections 1\n").then_some(())
            })
            .await;
        }
        drop(streams);
        held(what);
    }
    // The server keeps overwritten values while it sends them, but only a bounded amount.
    let mut streams = Vec::new();
    for number in 0..200 {
        put(&server, "old", vec![b'v'; MIB]).await;
        streams.push(unread(&server, &get("/kv/old")).await);
        if number % 20 == 0 {
            put(&server, "small", vec![b'v'; 100]).await;
        }
    }
    assert_eq!(send("GET", &server, "/kv/small", &[], "").await.status, 200);
    drop(streams);
    eventually("there is room again", async || {
        let answer = send("GET", &server, "/kv/big", &[], "").await;
        (answer.status == 200 && answer.body.len() == MIB).then_some(())
    })
    .await;
}

/// Guards answers through a follower: they arrive complete, and the follower holds little of them.
#[tokio::test]
async fn a_follower_passes_large_answers_on_piece_by_piece() {
    let cluster = Cluster::start_with(3, &CALM);
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    put(&cluster.address(leader), "big", vec![1; MIB]).await;
    let read = json!({"then": [{"get": {"key": "big"}}, {"get": {"key": "big"}}]}).to_string();
    let server = cluster.address(follower);
    let answer = send("POST", &server, "/txn", &[], read.clone()).await;
    assert_eq!(answer.header("x-raft-forwarded-by"), follower.to_string());
    assert!(answer.body.len() > 12 * MIB);
    assert_eq!(answer.json()["results"][1]["found"]["value"].as_str().unwrap().len(), MIB);
    cluster.converged().await;
    let before = cluster.memory(follower).unwrap();
    let request = format!(
        "POST /txn HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n{read}",
        read.len()
    );
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(unread(&server, &request).await);
    }
    put(&server, "small", vec![b'v'; 100]).await;
    let grown = cluster.memory(follower).unwrap().saturating_sub(before);
    assert!(grown < MAX_GROWTH / 2, "it grew by {grown} bytes");
}

/// Guards conditional writes: a refusal shows the key's current state in the same form as a read.
#[tokio::test]
async fn a_refused_write_shows_a_large_value() {
    let cluster = Cluster::start_with(1, &CALM);
    let server = cluster.address(cluster.leader().await);
    for value in [vec![1; MIB], b"small".to_vec(), vec![0xff; 100_000]] {
        put(&server, "k", value).await;
        let found = send("GET", &server, "/get/k", &[], "").await.json();
        let refused = send("PUT", &server, "/kv/k", &[("if-none-match", "*")], "v").await;
        let problem = refused.assert_problem(412, "condition_failed");
        assert_eq!(problem["found"], found);
        assert!(problem["detail"].as_str().unwrap().contains("revision"), "{}", problem["detail"]);
    }
    let refused = send("PUT", &server, "/kv/none", &[("if-match", "*")], "v").await;
    assert_eq!(refused.assert_problem(412, "condition_failed")["found"], Value::Null);
}
