//! Clients that watch keys.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use api::address::Address;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::faults::{ALLOW_FAULTS, Plan};
use testbed::watchers::{Watchers, judge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cluster::{CALM, Cluster, PATIENCE, eventually, program, run_to_end};
use crate::http::{Answer, send};
use crate::load::{InSession, Load, LoadOptions};

/// An open event stream.
struct Watch {
    response: Response<Incoming>,
    text: String,
}

/// An event.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Event {
    fn revision(&self) -> u64 {
        self.data["revision"].as_u64().expect("a revision")
    }
}

impl Watch {
    async fn start(server: &Address, path: &str, last: Option<&str>) -> Self {
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

    /// The next event that is not a bookmark, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.next_of_any_kind().await?;
            if event.name != "bookmark" {
                return Some(event);
            }
        }
    }

    /// Waits until bookmarks reach a revision; fails on any other event.
    async fn told_of(&mut self, revision: u64) -> Event {
        loop {
            let event = self.next_of_any_kind().await.expect("the stream goes on");
            assert_eq!(event.name, "bookmark", "{event:?}");
            if event.revision() >= revision {
                return event;
            }
        }
    }

    async fn next_of_any_kind(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let Some(name) = field("event: ") else { continue };
                let id = field("id: ").unwrap_or_default();
                let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                return Some(Event { id, name, data });
            }
            let frame = timeout(PATIENCE, self.response.frame()).await.expect("something comes")?;
            let Ok(frame) = frame else { return None };
            self.text += std::str::from_utf8(frame.data_ref()?).unwrap();
        }
    }
}

/// Writes a key; every third one is outside the watched prefix.
async fn write(cluster: &Cluster, at: usize, number: u32) {
    let prefix = if number.is_multiple_of(3) { "b" } else { "a" };
    let path = format!("/kv/{prefix}/{number}");
    eventually("it is written", async || {
        let put = send("PUT", &cluster.address(at), &path, &[], "v").await;
        (put.status == 200).then_some(())
    })
    .await;
}

/// Guards watching: every change under the prefix arrives once and in order, even across a restart
/// of the watched server, and no other change arrives.
#[tokio::test]
async fn a_watch_goes_on_where_it_was_after_a_restart() {
    let mut cluster = Cluster::start();
    let watched = cluster.follower().await;
    let other = cluster.ids().find(|id| *id != watched).unwrap();
    // Under the first release's rules, event IDs have no digest.
    cluster.follows_latest_rules(watched).await;
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
    let last = seen.last().unwrap().id.clone();
    let path = "/watch?prefix=a/&from=0";
    let mut watch = Watch::start(&cluster.address(watched), path, Some(&last)).await;
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
    assert!(seen.windows(2).all(|pair| pair[0].revision() < pair[1].revision()), "{seen:?}");
    let ids = |event: &Event| event.id.starts_with(&format!("{}-", event.revision()));
    assert!(seen.iter().all(ids), "{seen:?}");

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

/// Guards a client that returns too late: the error says where it can continue.
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
    assert_eq!(watch.next().await.expect("an event").revision(), 6);
    send("GET", &server, "/watch?from=x", &[], "").await.assert_problem(400, "bad_query");
    send("GET", &server, "/watch?form=1", &[], "").await.assert_problem(400, "bad_query");
    send("POST", &server, "/watch", &[], "").await.assert_problem(405, "method_not_allowed");
}

/// Writes so many keys in batches; returns the last revision.
async fn write_many(cluster: &Cluster, prefix: &str, count: usize) -> u64 {
    write_tied(cluster, prefix, count, None).await
}

/// Like [`write_many`], with keys attached to a lease.
async fn write_tied(cluster: &Cluster, prefix: &str, count: usize, lease: Option<u64>) -> u64 {
    let server = cluster.address(cluster.leader().await);
    let mut revision = 0;
    for batch in (0..count).collect::<Vec<_>>().chunks(1000) {
        let put = |number: &usize| json!({"put": {"key": format!("{prefix}{number}"), "value": "v", "lease": lease}});
        let operations: Vec<Value> = batch.iter().map(put).collect();
        let body = json!({"operations": operations}).to_string();
        let answer = send("POST", &server, "/batch", &[], body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        revision = answer.header("x-raft-revision").parse().unwrap();
    }
    revision
}

/// Guards watchers of a rarely changed prefix in a busy store: they get bookmarks often enough to
/// resume after any number of other changes.
#[tokio::test]
async fn a_watcher_of_a_quiet_prefix_never_falls_behind() {
    let cluster = Cluster::start();
    let server = cluster.address(cluster.follower().await);
    let mut watch = Watch::start(&server, "/watch?prefix=quiet/", None).await;
    let newest = write_many(&cluster, "busy/", 11_000).await;
    let last = watch.told_of(newest).await.id;
    drop(watch);
    write_many(&cluster, "busy/", 1_000).await;
    send("PUT", &server, "/kv/quiet/1", &[], "v").await;
    let mut watch = Watch::start(&server, "/watch?prefix=quiet/", Some(&last)).await;
    assert_eq!(watch.next().await.expect("an event").data["changes"][0]["key"], "quiet/1");
}

/// Guards large changes: a change larger than the kept history reaches the watchers of its keys. No
/// watcher is cut, on any server, and all can resume.
#[tokio::test]
async fn a_change_larger_than_what_is_kept_reaches_its_watchers() {
    const KEYS: usize = 13_000;
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    write_many(&cluster, "many/", KEYS).await;
    // Watches begin with what their server has applied.
    cluster.converged().await;
    let (mut watching, mut others) = (Vec::new(), Vec::new());
    for id in cluster.ids() {
        let server = cluster.address(id);
        watching.push(Watch::start(&server, "/watch?prefix=many/", None).await);
        others.push(Watch::start(&server, "/watch?prefix=other/", None).await);
    }
    let all = json!({"then": [{"delete_range": {"start": "many/", "end": "many0"}}]});
    let answer = send("POST", &cluster.address(leader), "/txn", &[], all.to_string()).await;
    let revision = answer.json()["revision"].as_u64().unwrap();
    for watch in &mut watching {
        let event = watch.next().await.expect("an event");
        assert_eq!((event.revision(), event.name.as_str()), (revision, "change"));
        assert_eq!(event.data["changes"].as_array().unwrap().len(), KEYS);
    }
    let mut last = String::new();
    for watch in &mut others {
        last = watch.told_of(revision).await.id;
    }
    send("PUT", &cluster.address(leader), "/kv/other/1", &[], "v").await;
    for watch in &mut others {
        assert_eq!(watch.next().await.expect("an event").revision(), revision + 1);
    }
    for id in cluster.ids() {
        let mut watch =
            Watch::start(&cluster.address(id), "/watch?prefix=other/", Some(&last)).await;
        assert_eq!(watch.next().await.expect("an event").revision(), revision + 1);
    }
}

/// Guards the same for an expiring lease: the end of very many keys reaches their watchers as one
/// event, and cuts no watcher.
#[tokio::test]
async fn the_end_of_a_lease_with_very_many_keys_cuts_nobody() {
    const KEYS: usize = 11_000;
    let cluster = Cluster::start();
    let leader = cluster.address(cluster.leader().await);
    let ttl = json!({"ttl_ms": 5_000}).to_string();
    let granted = send("POST", &leader, "/leases", &[], ttl).await;
    let lease = granted.json()["lease"].as_u64().unwrap();
    // A task keeps the lease alive until all watchers are connected.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let keep_alive = {
        let leader = leader.clone();
        let path = format!("/leases/{lease}/keep-alive");
        async move {
            while timeout(Duration::from_millis(500), &mut stopped).await.is_err() {
                assert_eq!(send("POST", &leader, &path, &[], "").await.status, 200);
            }
        }
    };
    let keep_alive = tokio::spawn(keep_alive);
    write_tied(&cluster, "many/", KEYS, Some(lease)).await;
    let revision = cluster.converged().await.state.revision;
    let (mut watching, mut others) = (Vec::new(), Vec::new());
    for id in cluster.ids() {
        let server = cluster.address(id);
        let many = format!("/watch?prefix=many/&from={revision}");
        watching.push(Watch::start(&server, &many, None).await);
        others.push(Watch::start(&server, "/watch?prefix=other/", None).await);
    }
    drop(stop);
    keep_alive.await.unwrap();
    for watch in &mut watching {
        let event = watch.next().await.expect("an event");
        assert_eq!((event.revision(), event.name.as_str()), (revision + 1, "change"));
        let changes = event.data["changes"].as_array().unwrap();
        assert_eq!(changes.len(), KEYS);
        assert!(changes.iter().all(|change| change["type"] == "delete"));
    }
    for watch in &mut others {
        watch.told_of(revision + 1).await;
    }
    send("PUT", &leader, "/kv/other/1", &[], "v").await;
    for watch in &mut others {
        assert_eq!(watch.next().await.expect("an event").revision(), revision + 2);
    }
}

async fn refused(server: &Address, from: &str, last: Option<&str>) -> Answer {
    let headers: Vec<_> = last.iter().map(|last| ("last-event-id", *last)).collect();
    send("GET", server, &format!("/watch{from}"), &headers, "").await
}

/// Guards against revisions from elsewhere: a future revision, at a leader and at a follower, and
/// IDs of a history that a restore ended. Watches from a shared revision continue.
#[tokio::test]
async fn revisions_of_another_history_are_refused() {
    let old = Cluster::start();
    let (leader, follower) = (old.address(old.leader().await), old.address(old.follower().await));
    send("PUT", &leader, "/kv/k", &[], "0").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let mut watch = Watch::start(&leader, "/watch?from=0", None).await;
    let shared = watch.next().await.expect("an event").id;
    let mut command = program();
    command.arg("backup").arg(&file).args(["--endpoints", &leader.to_string()]);
    assert!(run_to_end(command).await.status.success());
    for value in ["1", "2"] {
        send("PUT", &leader, "/kv/k", &[], value).await;
    }
    assert_eq!(watch.next().await.expect("an event").revision(), 2);
    let lost = watch.next().await.expect("an event").id;
    for server in [&leader, &follower] {
        refused(server, "?from=1000000", None).await.assert_problem(400, "revision_unknown");
        refused(server, "?from=0", Some("3-0")).await.assert_problem(410, "history_changed");
        let mut watch = Watch::start(server, "/watch?from=3", Some(&shared)).await;
        assert_eq!(watch.next().await.expect("an event").revision(), 2);
    }
    drop((watch, old));

    // Two restores of the same backup, with the same cluster ID and number of changes: two more
    // histories.
    let mut lost = vec![lost];
    for value in ["a", "b"] {
        let mut new = Cluster::prepare(1, &CALM);
        let mut command = program();
        command.arg("restore").arg(&file).arg("--data").arg(new.data(1)).args(["--id=1"]);
        command.args(["--cluster-id=test", "--reuse-cluster-id", "--members", &new.members()]);
        assert!(run_to_end(command).await.status.success());
        new.spawn(1);
        new.leader().await;
        let server = new.address(1);
        refused(&server, "", Some(&lost[0])).await.assert_problem(400, "revision_unknown");
        for number in 0..2 {
            send("PUT", &server, "/kv/k", &[], format!("{value}{number}")).await;
        }
        for id in &lost {
            refused(&server, "", Some(id)).await.assert_problem(410, "history_changed");
        }
        let mut watch = Watch::start(&server, "/watch", Some(&shared)).await;
        assert_eq!(watch.next().await.expect("an event").revision(), 2);
        lost.push(watch.next().await.expect("an event").id);
    }
}

/// The problem that ends a stream.
async fn end_of(watch: &mut Watch) -> Value {
    let event = watch.next().await.expect("a word before the end");
    assert_eq!(event.name, "error", "{event:?}");
    assert!(watch.next().await.is_none());
    event.data
}

/// Guards watchers at an isolated server: their streams end with an error, and new ones are
/// rejected unless they accept stale data. The command line continues at another server.
#[tokio::test]
async fn watches_end_at_a_server_that_is_cut_off() {
    let [min, max] = CALM;
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, min, max]);
    let (leader, away) = (cluster.leader().await, cluster.follower().await);
    let server = cluster.address(away);
    let mut watch = Watch::start(&server, "/watch", None).await;
    let mut stale = Watch::start(&server, "/watch?consistency=stale", None).await;
    let mut shown = Shown::at(&[&server, &cluster.address(leader)]);
    shown.is_watching(&cluster, leader).await;
    let mut plan = Plan::default();
    plan.isolate(away, 3);
    cluster.apply(&plan).await;
    send("PUT", &cluster.address(leader), "/kv/k", &[], "cut").await;
    let line = shown.next().await;
    assert!(line.ends_with("k = cut"), "{line}");
    while watch.next_of_any_kind().await.expect("an end").name != "error" {}
    refused(&server, "", None).await.assert_problem(503, "no_leader");
    refused(&server, "?from=1000000&consistency=stale", None)
        .await
        .assert_problem(503, "no_leader");
    drop(Watch::start(&server, "/watch?consistency=stale", None).await);
    cluster.heal().await;
    eventually("it knows a leader again", async || cluster.status(away).await?.leader).await;
    while stale.next().await.expect("it goes on").data["changes"][0]["value"] != "cut" {}
    drop(Watch::start(&server, "/watch", None).await);
}

/// A running `glassraft watch`.
struct Shown {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Shown {
    fn at(servers: &[&Address]) -> Self {
        let endpoints: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let mut command = program();
        command.args(["watch", "--endpoints", &endpoints.join(",")]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                drop(sender.send(line.unwrap()));
            }
        });
        Self { child, lines }
    }

    async fn next(&mut self) -> String {
        timeout(PATIENCE, self.lines.recv()).await.expect("it shows something").expect("it runs")
    }

    /// Writes until the command shows a change, because it may not watch yet. Afterwards no change
    /// is pending.
    async fn is_watching(&mut self, cluster: &Cluster, at: usize) {
        let server = cluster.address(at);
        let mut last: u64 = 0;
        eventually("the command line watches", async || {
            last = send("PUT", &server, "/kv/k", &[], "1")
                .await
                .header("x-raft-revision")
                .parse()
                .unwrap();
            timeout(Duration::from_millis(50), self.lines.recv()).await.ok()
        })
        .await;
        send("PUT", &server, "/kv/k", &[], "last").await;
        while !self.next().await.starts_with(&format!("{}: ", last + 1)) {}
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Guards the command line: after a while it leaves a frozen server.
#[tokio::test]
async fn the_command_line_leaves_a_frozen_server() {
    let cluster = Cluster::start();
    let (leader, frozen) = (cluster.leader().await, cluster.follower().await);
    let mut shown = Shown::at(&[&cluster.address(frozen), &cluster.address(leader)]);
    shown.is_watching(&cluster, leader).await;
    cluster.signal(frozen, Signal::STOP);
    send("PUT", &cluster.address(leader), "/kv/k", &[], "frozen").await;
    let line = shown.next().await;
    assert!(line.ends_with("k = frozen"), "{line}");
    cluster.signal(frozen, Signal::CONT);
}

/// Guards watchers at a server that was removed from the cluster.
#[tokio::test]
async fn watches_end_at_a_server_that_was_removed() {
    let cluster = Cluster::start();
    let out = cluster.follower().await;
    let server = cluster.address(out);
    let mut watch = Watch::start(&server, "/watch", None).await;
    let client = cluster.any_client();
    client
        .request(&Method::DELETE, &format!("/cluster/members/{out}"), Bytes::new())
        .await
        .unwrap();
    let code = end_of(&mut watch).await["code"].clone();
    assert!(code == "not_a_member" || code == "no_leader", "{code}");
    let answer = refused(&server, "", None).await;
    assert_eq!(answer.status.as_u16(), 503, "{:?}", answer.body);
}

/// Guards memory: watchers that read nothing hold a bounded number of bytes, however large values
/// are, even with JSON escapes. A watcher that reads is not affected.
#[tokio::test]
async fn watchers_that_take_nothing_hold_little() {
    const STALLED: usize = 8;
    let [min, max] = CALM;
    let limit = "--max-watch-bytes=8388608";
    let small = ["--compact-after-bytes=1048576", "--keep-entries=1"];
    let cluster = Cluster::start_with(1, &[limit, small[0], small[1], min, max]);
    let server = cluster.address(cluster.leader().await);
    // Fill what is in memory anyway: state, log, history.
    let write = async |rounds: usize| {
        for number in 0..rounds {
            let value = vec![if number % 2 == 0 { 1 } else { 0xff }; 1 << 20];
            let path = format!("/kv/k{}", number % 4);
            assert_eq!(send("PUT", &server, &path, &[], value).await.status, 200);
        }
    };
    write(40).await;
    let before = cluster.memory(1).unwrap();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut socket = TcpStream::connect(server.to_string()).await.unwrap();
        let request = format!("GET /watch HTTP/1.1\r\nhost: {server}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stalled.push(socket);
    }
    let mut reading = Watch::start(&server, "/watch", None).await;
    let mut seen = 0;
    for _ in 0..10 {
        write(4).await;
        for _ in 0..4 {
            assert_eq!(reading.next().await.expect("an event").name, "change");
            seen += 1;
        }
    }
    let grown = cluster.memory(1).unwrap().saturating_sub(before);
    println!("{STALLED} stalled watchers, {seen} events of 1 MiB: {} MiB more", grown >> 20);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert!(stalled.len() == STALLED);
}

/// Guards memory: the number of watchers is limited. The next one is rejected, and accepted once
/// another ends.
#[tokio::test]
async fn watchers_are_bounded_in_number() {
    let [min, max] = CALM;
    let cluster = Cluster::start_with(1, &["--max-watchers=2", min, max]);
    let server = cluster.address(cluster.leader().await);
    let watch = async || {
        let mut socket = TcpStream::connect(server.to_string()).await.unwrap();
        let request = format!("GET /watch HTTP/1.1\r\nhost: {server}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        timeout(PATIENCE, socket.read_exact(&mut status)).await.expect("an answer").unwrap();
        (socket, status)
    };
    let mut watching = Vec::new();
    for _ in 0..2 {
        let (socket, status) = watch().await;
        assert_eq!(&status, b"HTTP/1.1 200");
        watching.push(socket);
    }
    refused(&server, "", None).await.assert_problem(429, "overloaded");
    watching.pop();
    eventually("there is room", async || (&watch().await.1 == b"HTTP/1.1 200").then_some(())).await;
}

/// Guards the whole promise: while leaders are killed and servers end, watchers that reconnect at
/// random servers see every change once and in order.
#[tokio::test]
async fn watchers_miss_nothing_and_see_nothing_twice() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut cluster = Cluster::start_with(3, &[]);
    cluster.leader().await;
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let watchers = Watchers::start(8, "w/", &servers, None, seed);
    watchers.reach(0).await;
    let options = LoadOptions {
        prefix: "w/".to_owned(),
        pause: Duration::from_millis(5),
        sessions: InSession::Half,
        ..LoadOptions::new(6)
    };
    let load = Load::with(options, &servers);
    load.more_writes(50).await;
    for round in 0..4 {
        let victim = cluster.leader().await;
        if round % 2 == 0 {
            cluster.kill(victim);
        } else {
            cluster.signal(victim, Signal::TERM);
            assert!(cluster.ended(victim).await.success());
        }
        load.more_writes(50).await;
        cluster.spawn(victim);
        load.more_writes(50).await;
    }
    let history = load.finish().await;
    watchers.reach(cluster.converged().await.state.revision).await;
    let sequences = watchers.finish().await;
    let (changes, returns): (usize, u64) = sequences
        .iter()
        .map(|it| (it.changes.len(), it.returns))
        .fold((0, 0), |(changes, returns), it| (changes + it.0, returns + it.1));
    println!("{} sequences, {changes} changes seen, {returns} returns", sequences.len());
    assert!(sequences.len() == 8 && returns > 8, "nobody was away for too long");
    judge(&sequences, &history.kept);
}
