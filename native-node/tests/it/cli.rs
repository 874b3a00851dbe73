//! The command line against real servers: what it prints, and how it ends.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, eventually, program, run_to_end};

fn command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let endpoints: Vec<_> = cluster.ids().map(|id| cluster.address(id).to_string()).collect();
    let mut command = program();
    command.args(arguments).env("GLASSRAFT_ENDPOINTS", endpoints.join(","));
    command
}

async fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    run_to_end(command(cluster, arguments)).await
}

/// Runs a command that must have success, and gives what it printed.
async fn done(cluster: &Cluster, arguments: &[&str]) -> Vec<u8> {
    let output = run(cluster, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

async fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let printed = done(cluster, &[arguments, &["--output=json"]].concat()).await;
    serde_json::from_slice(&printed).unwrap()
}

/// Guards scripts: bytes go in and come out as they are, conditions hold, and the exit code tells
/// what happened.
#[tokio::test]
async fn keys_are_set_read_and_removed() {
    let cluster = Cluster::start();
    cluster.leader().await;
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n\0").collect();
    let mut put = command(&cluster, &["put", "photo", "-"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    put.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(put.wait().unwrap().success());
    assert_eq!(done(&cluster, &["get", "photo"]).await, bytes);
    let file = cluster.data(1).with_file_name("value");
    std::fs::write(&file, &bytes).unwrap();
    let written = json(&cluster, &["put", "00ff", "--hex", "--file", file.to_str().unwrap()]).await;
    assert_eq!((&written["revision"], &written["existed"]), (&2.into(), &false.into()));
    assert_eq!(done(&cluster, &["get", "00ff", "--hex"]).await, bytes);

    let first = json(&cluster, &["put", "lock", "me", "--if-absent"]).await;
    let taken = run(&cluster, &["put", "lock", "you", "--if-absent"]).await;
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    let revision = first["revision"].to_string();
    done(&cluster, &["put", "lock", "still me", "--if-revision", &revision]).await;
    let found = json(&cluster, &["get", "lock"]).await;
    assert_eq!((&found["value"], &found["version"]), (&"still me".into(), &2.into()));
    assert_eq!(run(&cluster, &["get", "nothing"]).await.status.code(), Some(1));
    assert_eq!(run(&cluster, &["get"]).await.status.code(), Some(2));

    let removed = json(&cluster, &["delete", "lo", "--prefix"]).await;
    assert_eq!(removed["removed"], 1);
    assert_eq!(run(&cluster, &["get", "lock"]).await.status.code(), Some(1));
    let gone = json(&cluster, &["delete", "photo"]).await;
    assert_eq!(gone["existed"], true);
}

/// Guards pages: all keys of a prefix come, each once, in order.
#[tokio::test]
async fn a_prefix_is_read_to_its_end() {
    let cluster = Cluster::start();
    let client = cluster.client(cluster.leader().await);
    for from in (0..1200).step_by(60) {
        let puts: Vec<_> = (from..from + 60)
            .map(|number| serde_json::json!({"put": {"key": format!("k/{number:04}"), "value": "v"}}))
            .collect();
        let body = serde_json::json!({"then": puts});
        client.json(&hyper::Method::POST, "/txn", Some(&body)).await.unwrap();
    }
    let printed = done(&cluster, &["get", "k/", "--prefix", "--output=json"]).await;
    let keys: Vec<String> = String::from_utf8(printed)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected: Vec<String> = (0..1200).map(|number| format!("k/{number:04}")).collect();
    assert_eq!(keys, expected);
}

/// Guards leases, and a keep-alive that goes on until it is ended.
#[tokio::test]
async fn leases_are_granted_kept_and_ended() {
    let cluster = Cluster::start();
    cluster.leader().await;
    let lease = json(&cluster, &["lease", "grant", "1min"]).await["lease"].to_string();
    done(&cluster, &["put", "tied", "1", "--lease", &lease]).await;
    let shown = json(&cluster, &["lease", "show", &lease]).await;
    assert_eq!(shown["keys"], serde_json::json!(["tied"]));
    assert_eq!(json(&cluster, &["lease", "keep-alive", &lease, "--once"]).await["ttl_ms"], 60_000);
    let mut keeping = command(&cluster, &["lease", "keep-alive", &lease]);
    let mut keeping = keeping.stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(json(&cluster, &["lease", "revoke", &lease]).await["keys"], 1);
    assert_eq!(run(&cluster, &["get", "tied"]).await.status.code(), Some(1));
    keeping.kill().unwrap();
    keeping.wait().unwrap();
    let over = run(&cluster, &["lease", "keep-alive", &lease, "--once"]).await;
    assert_eq!(over.status.code(), Some(1), "{over:?}");
}

/// Guards the exit codes for a cluster that cannot help, and the client's way to servers that it
/// was not told of.
#[tokio::test]
async fn a_cluster_without_a_majority_is_told_from_a_refusal() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    for id in cluster.ids().filter(|id| *id != leader) {
        cluster.kill(id);
    }
    eventually("the leader has noticed", async || {
        cluster.status(leader).await?.leader.is_none().then_some(())
    })
    .await;
    let put = run(&cluster, &["put", "a", "1", "--timeout=500ms"]).await;
    assert_eq!(put.status.code(), Some(3), "{put:?}");
    let read = run(&cluster, &["get", "a", "--timeout=500ms"]).await;
    assert_eq!(read.status.code(), Some(3), "{read:?}");
    let one = cluster.address(leader).to_string();
    let stale = run(&cluster, &["get", "a", "--stale", "--endpoints", &one]).await;
    assert_eq!(stale.status.code(), Some(1), "nothing there, but an answer: {stale:?}");
}

/// Guards the load generator and the completions: they do what they say, and leave nothing behind.
#[tokio::test]
async fn bench_measures_and_completions_complete() {
    let cluster = Cluster::start();
    cluster.leader().await;
    let bench =
        ["bench", "--clients=4", "--duration=300ms", "--reads=50", "--keys=10", "--value-size=16"];
    let figures = json(&cluster, &bench).await;
    for kind in ["reads", "writes"] {
        assert!(figures[kind]["requests"].as_u64().unwrap() > 0, "{figures}");
        assert!(figures[kind]["p99_9_ms"].as_f64().unwrap() > 0.0, "{figures}");
    }
    // A rate holds back fast clients, and does not keep rare ones beyond the end.
    let paced = ["bench", "--clients=4", "--duration=1s", "--rate=40"];
    let figures = json(&cluster, &paced).await;
    let requests = figures["writes"]["requests"].as_u64().unwrap();
    assert!((1..=41).contains(&requests), "{figures}");
    let rare = ["bench", "--clients=64", "--duration=300ms", "--rate=1"];
    let figures = json(&cluster, &rare).await;
    assert!(figures["seconds"].as_f64().unwrap() < 60.0, "{figures}");
    assert!(done(&cluster, &["get", "", "--prefix"]).await.is_empty());
    for shell in ["bash", "zsh", "fish"] {
        let script = done(&cluster, &["completions", shell]).await;
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("transfer-leader"), "{script}");
    }
}

/// Guards who watches: when the server that tells is killed, another one goes on where it ended.
#[tokio::test]
async fn a_watch_goes_on_at_another_server() {
    let mut cluster = Cluster::start();
    cluster.leader().await;
    let seen = cluster.data(1).with_file_name("seen");
    let mut watch = command(&cluster, &["watch", "k/", "--from=0"]);
    let mut watch = watch.stdout(std::fs::File::create(&seen).unwrap()).spawn().unwrap();
    let shows = async |lines: &str| {
        eventually("what happened is shown", async || {
            (std::fs::read_to_string(&seen).unwrap() == lines).then_some(())
        })
        .await;
    };
    done(&cluster, &["put", "k/1", "a"]).await;
    done(&cluster, &["put", "other", "a"]).await;
    shows("1: k/1 = a\n").await;
    // The first of the endpoints, which is asked first.
    cluster.kill(1);
    done(&cluster, &["put", "k/2", "b", "--timeout=20s"]).await;
    done(&cluster, &["delete", "k/1", "--timeout=20s"]).await;
    shows("1: k/1 = a\n3: k/2 = b\n4: k/1 is gone\n").await;
    watch.kill().unwrap();
    watch.wait().unwrap();
}
