//! Operations that share requests.

use std::time::Duration;

use bytes::Bytes;
use client::{Client, ClientOptions};
use hyper::Method;

use crate::cluster::{Cluster, PATIENCE};

const OPERATIONS: usize = 500;

fn key(number: usize) -> Bytes {
    // Some keys are not UTF-8.
    Bytes::from(if number.is_multiple_of(7) {
        [&b"\xff\xfe"[..], &number.to_le_bytes()].concat()
    } else {
        format!("key {number}").into_bytes()
    })
}

/// Guards the grouped client: many operations need few requests, each gets its own answer, and a
/// refused operation does not affect the others.
#[tokio::test]
async fn operations_share_exchanges_and_have_answers_of_their_own() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let grouped = cluster.client(leader).with_patience(PATIENCE).grouped();
    let puts = (0..OPERATIONS).map(|number| {
        let (grouped, value) = (&grouped, Bytes::from(format!("value {number}")));
        async move { grouped.put(key(number), value).await }
    });
    let refused = grouped.put(Bytes::new(), Bytes::from_static(b"x"));
    let (written, refused) = tokio::join!(futures_util::future::join_all(puts), refused);
    assert!(refused.is_err_and(|error| error.has_code("bad_key")));
    let mut revisions: Vec<u64> = written.into_iter().map(|it| it.unwrap().revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), OPERATIONS, "each write has a revision of its own");

    let gets = (0..OPERATIONS).map(|number| {
        let grouped = &grouped;
        async move { grouped.get(key(number)).await }
    });
    for (number, found) in futures_util::future::join_all(gets).await.into_iter().enumerate() {
        assert_eq!(found.unwrap().unwrap(), format!("value {number}"));
    }
    let deleted = grouped.delete(key(1)).await.unwrap();
    assert!(deleted.existed);
    assert_eq!(grouped.get(key(1)).await.unwrap(), None);

    let metrics = cluster.client(leader).request(&Method::GET, "/metrics", Bytes::new()).await;
    let metrics = String::from_utf8(metrics.unwrap().body.to_vec()).unwrap();
    let exchanges = metrics.lines().find_map(|line| {
        let labels = r#"http_requests_total{route="/batch",method="POST",status="200"} "#;
        line.strip_prefix(labels)?.parse::<usize>().ok()
    });
    let exchanges = exchanges.expect("they are counted");
    assert!(exchanges < OPERATIONS / 4, "{exchanges} exchanges for {} operations", 2 * OPERATIONS);
}

/// Guards retries: when the leader dies, each operation of a client with sessions gets a known
/// outcome and takes effect once.
#[tokio::test]
async fn a_group_is_sent_again_without_taking_effect_twice() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let client = Client::with(ClientOptions {
        follow: true,
        sessions: Some(Duration::from_mins(1)),
        ..ClientOptions::new(cluster.ids().map(|id| cluster.address(id)).collect(), PATIENCE)
    });
    let grouped = client.grouped();
    let writers = (0..32).map(|writer| {
        let grouped = grouped.clone();
        tokio::spawn(async move {
            let key = Bytes::from(format!("writer {writer}"));
            for _ in 0..40 {
                grouped.put(key.clone(), Bytes::from_static(b"v")).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    cluster.kill(leader);
    for writer in futures_util::future::join_all(writers).await {
        writer.unwrap();
    }
    cluster.spawn(leader);
    for writer in 0..32 {
        let found = client.json(&Method::GET, &format!("/get/writer%20{writer}"), None).await;
        assert_eq!(found.unwrap()["version"], 40, "writer {writer}");
    }
}
