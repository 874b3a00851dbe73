//! The client library: its guarantees when connections break and servers fail.

use api::address::Address;
use api::kv::Consistency;
use bytes::Bytes;
use client::{Call, Client, ClientError, ClientOptions};

use hyper::Method;
use hyper::header::{ETAG, IF_MATCH};

use crate::cluster::{Cluster, REQUEST, eventually};
use crate::proxy::Proxy;

fn with_sessions(servers: Vec<Address>) -> Client {
    let sessions = Some(ClientOptions::SESSION_TTL);
    Client::with(ClientOptions { sessions, ..ClientOptions::new(servers, REQUEST) })
}

/// The number of writes to a key.
async fn version(client: &Client, key: &str) -> u64 {
    let answer = client.json(&Method::GET, &format!("/get/{key}"), None).await.unwrap();
    answer["version"].as_u64().unwrap()
}

/// Guards sessions: the client retries a write whose answer is lost; the write takes effect exactly
/// once, and its outcome is known.
#[tokio::test]
async fn writes_take_effect_once_over_a_network_that_loses_answers() {
    const WRITES: u64 = 60;
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let direct = cluster.client(leader);
    let proxy = Proxy::start(cluster.address(leader), 3).await;
    let client = with_sessions(vec![proxy.address.clone()]);
    for number in 0..WRITES {
        client.put(b"counted", Bytes::from(number.to_string())).await.unwrap();
    }
    assert!(proxy.cuts() >= WRITES / 3, "only {} answers were lost", proxy.cuts());
    assert_eq!(version(&direct, "counted").await, WRITES);

    // A retried compare-and-set gets the answer of its first attempt, not a conflict.
    let mut tag =
        client.send(&Call::new(Method::GET, "/kv/counted")).await.unwrap().headers[ETAG].clone();
    for number in 0..WRITES / 2 {
        let call = Call::new(Method::PUT, "/kv/counted")
            .header(IF_MATCH, tag)
            .body(format!("again {number}"));
        let answer = client.send(&call).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        tag = format!("\"{}\"", answer["revision"]).parse().unwrap();
    }
    assert_eq!(version(&direct, "counted").await, WRITES + WRITES / 2);
}

/// Guards that without a session the client retries no write and reports the unknown outcome.
#[tokio::test]
async fn without_a_session_a_lost_answer_leaves_the_outcome_unknown() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let proxy = Proxy::start(cluster.address(leader), 1).await;
    let client = Client::new(vec![proxy.address.clone()], REQUEST);
    let lost = client.put(b"once", Bytes::from_static(b"1")).await;
    assert!(matches!(lost, Err(ClientError::Unknown(_))), "{lost:?}");
    let applied = eventually("it took effect", async || {
        cluster.client(leader).get(b"once", Consistency::Linearizable).await.unwrap()
    });
    assert_eq!(applied.await, "1");
    assert_eq!(version(&cluster.client(leader), "once").await, 1);
}

/// Guards concurrent use: each pending write has its own session.
#[tokio::test]
async fn many_writers_share_a_client() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 10;
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let proxy = Proxy::start(cluster.address(leader), 7).await;
    let client = with_sessions(vec![proxy.address.clone()]);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            for number in 0..EACH {
                let value = Bytes::from(format!("{writer}-{number}"));
                client.put(b"shared", value).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    assert!(proxy.cuts() > 0);
    assert_eq!(version(&cluster.client(leader), "shared").await, WRITERS * EACH);
    let opened = sessions(&cluster, leader).await;
    assert!((1..=WRITERS).contains(&opened), "{opened} sessions for {WRITERS} writers");
    client.close().await;
    assert_eq!(sessions(&cluster, leader).await, 0, "the client closes what it opened");
}

/// Counts the open sessions with IDs 1 to 64: a write in a session that does not exist is refused.
async fn sessions(cluster: &Cluster, server: usize) -> u64 {
    let mut open = 0;
    for id in 1..=64 {
        let call = Call::new(Method::PUT, "/kv/probe")
            .header("x-raft-session".parse().unwrap(), id.into())
            .header("x-raft-sequence".parse().unwrap(), u64::from(u32::MAX).into());
        match cluster.client(server).send(&call).await {
            Ok(_) => open += 1,
            Err(error) => assert!(error.has_code("no_such_session"), "{error}"),
        }
    }
    open
}

/// Guards discovery: from one address the client finds the other servers, sends to the leader, and
/// works without the server that it was given.
#[tokio::test]
async fn a_client_learns_the_other_servers_and_goes_on_without_the_first() {
    let mut cluster = Cluster::start();
    let given = cluster.follower().await;
    let servers = vec![cluster.address(given)];
    let sessions = Some(ClientOptions::SESSION_TTL);
    let options = ClientOptions { follow: true, sessions, ..ClientOptions::new(servers, REQUEST) };
    let client = Client::with(options);
    client.put(b"first", Bytes::from_static(b"1")).await.unwrap();
    let leader = cluster.leader().await;
    eventually("writes go straight to the leader", async || {
        let answer = client.put(b"second", Bytes::from_static(b"2")).await.unwrap();
        let forwarded = answer.headers.contains_key("x-raft-forwarded-by");
        let by = answer.headers["x-raft-node"].to_str().unwrap().to_owned();
        (!forwarded && by == leader.to_string()).then_some(())
    })
    .await;
    cluster.kill(given);
    client.put(b"third", Bytes::from_static(b"3")).await.unwrap();
    let read = client.get(b"third", Consistency::Linearizable).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"3"[..]));
}

/// Guards against servers that do not answer: the client retries with increasing pauses and counts
/// the retries.
#[tokio::test]
async fn attempts_are_paced_and_counted() {
    let nobody = vec!["127.0.0.1:9".parse().unwrap()];
    let client = Client::new(nobody, std::time::Duration::from_millis(700));
    let error = client.put(b"k", Bytes::new()).await.unwrap_err();
    // The time may be over in the middle of an attempt.
    let failed = matches!(error, ClientError::Unavailable(_) | ClientError::Unknown(_));
    assert!(failed, "{error}");
    assert!((1..=8).contains(&client.retries()), "{} retries", client.retries());
}
