//! Clients that watch keys.

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use native_node::config::Address;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cluster::{CALM, Cluster, PATIENCE, eventually};
use crate::http::send;

/// An event stream.
struct Watch {
    response: Response<Incoming>,
    text: String,
}

/// One event.
#[derive(Debug)]
struct Event {
    id: u64,
    name: String,
    data: Value,
}

impl Watch {
    async fn start(server: &Address, path: &str, last: Option<u64>) -> Self {
        let pool: Pool<HttpConnector, Empty<Bytes>> =
            Pool::builder(TokioExecutor::new()).build_http();
        let mut request = Request::get(format!("http://{server}{path}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = pool.request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event that is no bookmark; nothing when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let Some(name) = field("event: ") else { continue };
                if name != "bookmark" {
                    let id = field("id: ").unwrap().parse().unwrap();
                    let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                    return Some(Event { id, name, data });
                }
            }
            let frame = timeout(PATIENCE, self.response.frame()).await.expect("something comes")?;
            let Ok(frame) = frame else { return None };
            self.text += std::str::from_utf8(frame.data_ref()?).unwrap();
        }
    }
}

/// Writes a key: each third is none of those that are watched.
async fn write(cluster: &Cluster, at: usize, number: u32) {
    let prefix = if number.is_multiple_of(3) { "b" } else { "a" };
    let path = format!("/kv/{prefix}/{number}");
    eventually("it is written", async || {
        let put = send("PUT", &cluster.address(at), &path, &[], "v").await;
        (put.status == 200).then_some(())
    })
    .await;
}

/// Guards watching: every change under the prefix once and in order, also over a restart of the
/// server that is watched, and nothing of other keys.
#[tokio::test]
async fn a_watch_goes_on_where_it_was_after_a_restart() {
    let mut cluster = Cluster::start();
    let watched = cluster.follower().await;
    let other = cluster.ids().find(|id| *id != watched).unwrap();
    write(&cluster, other, 1).await;
    let mut watch = Watch::start(&cluster.address(watched), "/watch?prefix=a/&from=0", None).await;
    let mut seen = Vec::new();
    for number in 2..=10 {
        write(&cluster, other, number).await;
    }
    while seen.len() < 7 {
        seen.push(watch.next().await.expect("an event"));
    }
    cluster.signal(watched, Signal::TERM);
    assert!(watch.next().await.is_none(), "the stream ends with the server");
    assert!(cluster.ended(watched).await.success());
    for number in 11..=15 {
        write(&cluster, other, number).await;
    }
    cluster.spawn(watched);
    eventually("it serves", async || cluster.status(watched).await).await;
    let last = seen.last().unwrap().id;
    let path = "/watch?prefix=a/&from=0";
    let mut watch = Watch::start(&cluster.address(watched), path, Some(last)).await;
    while seen.len() < 10 {
        seen.push(watch.next().await.expect("an event"));
    }
    let keys: Vec<_> = seen.iter().map(|event| event.data["changes"][0]["key"].clone()).collect();
    let expected: Vec<_> = (1..=15)
        .filter(|number: &u32| !number.is_multiple_of(3))
        .map(|it| json!(format!("a/{it}")))
        .collect();
    assert_eq!(keys, expected);
    assert!(seen.iter().all(|event| event.name == "change"));
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id), "{seen:?}");

    let batch = json!({"then": [
        {"delete": {"key": "a/1"}}, {"put": {"key": "a/2", "value": "new"}},
        {"put": {"key": "b/1", "value": "x"}}]});
    send("POST", &cluster.address(other), "/txn", &[], batch.to_string()).await;
    let event = watch.next().await.expect("an event");
    let changes = &event.data["changes"];
    assert_eq!(changes[0], json!({"type": "delete", "key": "a/1"}));
    assert_eq!((&changes[1]["type"], &changes[1]["value"]), (&json!("put"), &json!("new")));
    assert_eq!(changes.as_array().unwrap().len(), 2, "one event a revision: {event:?}");
}

/// Guards a client that comes back too late: it is told, and told what to do.
#[tokio::test]
async fn changes_that_are_not_kept_any_more_are_refused() {
    let [min, max] = CALM;
    let mut cluster = Cluster::start_with(1, &[min, max]);
    cluster.leader().await;
    for number in 0..5 {
        send("PUT", &cluster.address(1), &format!("/kv/k{number}"), &[], "v").await;
    }
    let saved = send("POST", &cluster.address(1), "/cluster/snapshot", &[], "").await;
    assert_eq!(saved.status, 200);
    cluster.kill(1);
    cluster.spawn(1);
    cluster.leader().await;
    let server = cluster.address(1);
    let late = send("GET", &server, "/watch?from=2", &[], "").await;
    assert_eq!(late.assert_problem(410, "compacted")["kept"], 5);
    let mut watch = Watch::start(&server, "/watch?from=5", None).await;
    send("PUT", &server, "/kv/k", &[], "v").await;
    assert_eq!(watch.next().await.expect("an event").id, 6);
    send("GET", &server, "/watch?from=x", &[], "").await.assert_problem(400, "bad_query");
    send("GET", &server, "/watch?form=1", &[], "").await.assert_problem(400, "bad_query");
    send("POST", &server, "/watch", &[], "").await.assert_problem(405, "method_not_allowed");
}
