//! The command line against real servers: output and exit codes.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
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

/// Runs a command that must succeed, and returns its output.
async fn done(cluster: &Cluster, arguments: &[&str]) -> Vec<u8> {
    let output = run(cluster, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

async fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let printed = done(cluster, &[arguments, &["--output=json"]].concat()).await;
    serde_json::from_slice(&printed).unwrap()
}

/// Guards against a transaction with a duplicate field: a JSON parser would drop the first, and a
/// comparison with it.
#[tokio::test]
async fn a_transaction_is_sent_as_it_is_written() {
    let cluster = Cluster::start();
    cluster.leader().await;
    let text = r#"{"compare": [{"key": "a", "target": {"value": "1"}}], "compare": [],
        "then": [{"put": {"key": "b", "value": "1"}}]}"#;
    let refused = run(&cluster, &["txn", text]).await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && why.contains("duplicate"), "{refused:?}");
    assert_eq!(run(&cluster, &["get", "b"]).await.status.code(), Some(1));
}

/// Guards scripts: values pass unchanged, conditions hold, and the exit code tells the result.
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

/// Guards pages: all keys of a prefix are printed once, in order.
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

/// Guards leases, and that keep-alive runs until it is stopped.
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

/// Guards the exit codes of commands on a cluster without a majority.
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
    let bench = run(&cluster, &["bench", "--endpoints", &one, "--timeout=500ms"]).await;
    assert_eq!(bench.status.code(), Some(3), "{bench:?}");
    let stale = run(&cluster, &["get", "a", "--stale", "--endpoints", &one]).await;
    assert_eq!(stale.status.code(), Some(1), "nothing there, but an answer: {stale:?}");
}

/// Guards the load generator, which leaves no keys behind, and the shell completions.
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
    // `--rate` slows fast clients, and does not prolong the run for slow ones.
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

/// Guards watchers: when the watched server is killed, the command continues at another server from
/// the same revision.
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
    // The client asks this endpoint first.
    cluster.kill(1);
    done(&cluster, &["put", "k/2", "b", "--timeout=20s"]).await;
    done(&cluster, &["delete", "k/1", "--timeout=20s"]).await;
    shows("1: k/1 = a\n3: k/2 = b\n4: k/1 was removed\n").await;
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Guards long reads: all pages have one revision. A key that moves between the first and the last
/// page is printed once.
#[tokio::test]
async fn the_pages_of_a_prefix_are_of_one_revision() {
    let cluster = Cluster::start();
    let client = cluster.client(cluster.leader().await);
    for from in (0..1200).step_by(60) {
        let puts: Vec<_> = (from..from + 60)
            .map(|number| serde_json::json!({"put": {"key": format!("k/{number:04}"), "value": "v"}}))
            .collect();
        let body = serde_json::json!({"then": puts});
        client.json(&hyper::Method::POST, "/txn", Some(&body)).await.unwrap();
    }
    client.put(b"k/0000-moves", "v".into()).await.unwrap();
    let moving = tokio::spawn(async move {
        for from in
            [["k/0000-moves", "k/1199-moves"], ["k/1199-moves", "k/0000-moves"]].iter().cycle()
        {
            let body = serde_json::json!({"then": [
                {"delete": {"key": from[0]}}, {"put": {"key": from[1], "value": "v"}},
            ]});
            client.json(&hyper::Method::POST, "/txn", Some(&body)).await.unwrap();
        }
    });
    for _ in 0..10 {
        let printed = done(&cluster, &["get", "k/", "--prefix"]).await;
        let printed = String::from_utf8(printed).unwrap();
        let shown = printed.lines().filter(|line| line.contains("-moves")).count();
        assert_eq!((shown, printed.lines().count()), (1, 1201));
    }
    moving.abort();
}

/// Guards interrupted backups: no partial file remains, and the exit code names the signal.
#[tokio::test]
async fn an_interrupted_backup_leaves_nothing_behind() {
    // A server that never completes its answer.
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut clients = Vec::new();
        while let Ok((mut stream, _)) = server.accept().await {
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsecret";
            tokio::io::AsyncWriteExt::write_all(&mut stream, begun).await.unwrap();
            clients.push(stream);
        }
    });
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = program();
        command.arg("backup").arg(directory.path().join("file")).args(["--endpoints", &address]);
        let mut backup = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let files = || std::fs::read_dir(directory.path()).unwrap().count();
        eventually("it has begun", async || (files() > 0).then_some(())).await;
        kill_process(Pid::from_child(&backup), signal).unwrap();
        let ended = eventually("it ends", async || backup.try_wait().unwrap()).await;
        assert_eq!(ended.code(), Some(128 + signal.as_raw()));
        assert_eq!(files(), 0, "nothing is left");
    }
}

/// Guards scripts: the exit code tells the result even if the output cannot be written, and no
/// command panics.
#[tokio::test]
async fn exit_codes_hold_whatever_the_output_is() {
    let cluster = Cluster::start_with(1, &crate::cluster::CALM);
    cluster.leader().await;
    done(&cluster, &["put", "k", "v"]).await;
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let broken = || Stdio::from(std::io::pipe().unwrap().1);
    let run = |arguments: &[&str], out: Stdio, err: Stdio| {
        let mut command = command(&cluster, arguments);
        command.stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap().code()
    };
    for err in [full, broken] {
        assert_eq!(run(&["get", "nothing"], Stdio::null(), err()), Some(1));
        assert_eq!(run(&["get"], Stdio::null(), err()), Some(2));
        let nobody = ["get", "k", "--endpoints=127.0.0.1:9", "--timeout=100ms"];
        assert_eq!(run(&nobody, Stdio::null(), err()), Some(3));
        assert_eq!(run(&["get", "k"], Stdio::null(), err()), Some(0));
        assert_eq!(run(&["serve", "--id=1"], Stdio::null(), err()), Some(1));
    }
    let certificates = tempfile::tempdir().unwrap();
    let certificates = certificates.path().to_str().unwrap();
    let commands: &[&[&str]] = &[
        &["put", "written", "v"],
        &["get", "k"],
        &["get", "k", "--prefix"],
        &["get", "k", "--output=json"],
        &["delete", "gone"],
        &["delete", "gone", "--prefix"],
        &["txn", "{}"],
        &["status"],
        &["member", "list"],
        &["snapshot"],
        &["lease", "grant", "1s"],
        &["token", "new", "--scope=read", "--name=n"],
        &["completions", "bash"],
        &["cert", "--out", certificates, "--cluster-id=c", "--members=1=a:1/a:2"],
        &[
            "serve",
            "--print-config",
            "--id=1",
            "--cluster-id=c",
            "--data=d",
            "--members=1=127.0.0.1:1/127.0.0.1:2",
        ],
    ];
    for arguments in commands {
        assert_eq!(run(arguments, full(), full()), Some(5), "{arguments:?}");
        assert_eq!(run(arguments, broken(), Stdio::null()), Some(141), "{arguments:?}");
    }
    assert_eq!(done(&cluster, &["get", "written"]).await, b"v");
    // The command keeps the lease alive although it cannot write its output.
    let lease = json(&cluster, &["lease", "grant", "3s"]).await["lease"].to_string();
    let mut keeping = command(&cluster, &["lease", "keep-alive", &lease]);
    let mut keeping = keeping.stdout(full()).stderr(full()).spawn().unwrap();
    let (mut last, mut renewed) = (0, 0);
    eventually("it is kept alive again and again", async || {
        assert_eq!(keeping.try_wait().unwrap(), None, "it has ended");
        let shown = json(&cluster, &["lease", "show", &lease]).await;
        let remaining = shown["remaining_ms"].as_u64().unwrap();
        renewed += u32::from(remaining > last);
        last = remaining;
        (renewed > 3).then_some(())
    })
    .await;
    keeping.kill().unwrap();
    keeping.wait().unwrap();
}

/// Guards tokens: without `--insecure` no token is sent in plain text over a network. Addresses are
/// checked before anything is sent.
#[tokio::test]
async fn tokens_and_addresses_are_checked_before_anything_is_sent() {
    let far = ["get", "k", "--endpoints=192.0.2.1:7001", "--timeout=200ms"];
    let run = async |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).env("GLASSRAFT_TOKEN", "secret");
        let output = run_to_end(command).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, why) = run(&far).await;
    assert!(code == Some(1) && why.contains("in the clear"), "{why}");
    let (code, why) = run(&[&far[..], &["--insecure"]].concat()).await;
    assert!(code == Some(3), "{why}");
    let (code, why) = run(&["get", "k", "--endpoints=127.0.0.1:9", "--timeout=100ms"]).await;
    assert!(code == Some(3), "{why}");
    for bad in ["\u{e4}.example:1", "a\"b:1", "a<b:1", "a%b:1", "a\\b:1", "0.0.0.0:1", "[::]:1"] {
        let (code, why) = run(&["member", "add", &format!("2=127.0.0.1:1/{bad}")]).await;
        assert!(code == Some(2), "{bad}: {why}");
    }
}
