//! How servers start and end.

use std::process::Stdio;

use api::kv::Consistency;
use bytes::Bytes;
use rustix::process::Signal;

use crate::cluster::{Cluster, eventually, program, run_to_end};

/// Guards SIGTERM and Ctrl-C: accepted requests are finished and synced, and the exit code is 0.
#[tokio::test]
async fn a_server_that_is_told_to_end_ends_in_order() {
    let mut cluster = Cluster::start();
    cluster.leader().await;
    cluster.client(1).put(b"x", Bytes::from_static(b"1")).await.unwrap();
    for (id, signal) in [(1, Signal::TERM), (2, Signal::INT), (3, Signal::TERM)] {
        cluster.signal(id, signal);
        let status = cluster.ended(id).await;
        assert!(status.success(), "server {id} ended with {status}");
    }
    for id in cluster.ids() {
        cluster.spawn(id);
    }
    let read = cluster.any_client().get(b"x", Consistency::Linearizable).await.unwrap();
    assert_eq!(read, Some(Bytes::from_static(b"1")));
}

/// Guards a data directory against a second process, and against another server or cluster.
#[tokio::test]
async fn a_data_directory_belongs_to_one_process_of_one_server() {
    let mut cluster = Cluster::start();
    cluster.leader().await;
    let refuse = async |arguments: &[&str]| {
        let mut command = cluster.command(1);
        // Free addresses: only the directory can be refused.
        command.args(["--client=127.0.0.1:0", "--peer=127.0.0.1:0"]).args(arguments);
        let output = run_to_end(command).await;
        assert!(!output.status.success(), "it started with {arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refuse(&[]).await;
    assert!(text.contains("error: ") && text.contains("data-1"), "{text}");
    cluster.kill(1);
    let refuse = async |arguments: &[&str]| {
        let mut command = program();
        command.args(["serve", "--data"]).arg(cluster.data(1)).args(arguments);
        command.args(["--client=127.0.0.1:0", "--peer=127.0.0.1:0"]);
        let output = run_to_end(command).await;
        assert!(!output.status.success(), "it started with {arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let members = format!("--members={}", cluster.members());
    let text = refuse(&["--cluster-id=other", "--id=1", &members]).await;
    assert!(text.contains("test") && text.contains("other"), "{text}");
    let text = refuse(&["--cluster-id=test", "--id=2", &members]).await;
    assert!(text.contains("error: "), "{text}");
    let text = refuse(&["--cluster-id=test", "--id=1", &members, "--new-cluster"]).await;
    assert!(text.contains("Start it without --new-cluster"), "{text}");
}

/// Guards start-up on a port in use: the error names it, and the flag that changes it.
#[tokio::test]
async fn a_port_in_use_is_named() {
    let cluster = Cluster::prepare(3, &[]);
    let taken = std::net::TcpListener::bind(cluster.address(1).to_string()).unwrap();
    let output = run_to_end(cluster.command(1)).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&cluster.address(1).to_string()) && text.contains("--client"), "{text}");
    drop(taken);
}

/// Guards `--exit-with-parent`: a server ends when its parent ends.
#[tokio::test]
async fn a_server_ends_with_its_parent_when_told_so() {
    let cluster = Cluster::prepare(1, &["--exit-with-parent"]);
    let mut child = cluster.command(1).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    eventually("it serves", async || cluster.status(1).await).await;
    // When a parent ends in any way, its child's standard input ends.
    drop(child.stdin.take());
    let status = eventually("it ends", async || child.try_wait().unwrap()).await;
    assert!(status.success(), "{status}");
}

/// Guards a cluster with a single server.
#[tokio::test]
async fn a_single_server_serves() {
    let cluster = Cluster::start_with(1, &[]);
    cluster.leader().await;
    cluster.client(1).put(b"x", Bytes::from_static(b"1")).await.unwrap();
    let read = cluster.client(1).get(b"x", Consistency::Linearizable).await.unwrap();
    assert_eq!(read, Some(Bytes::from_static(b"1")));
}

/// Guards `serve --print-config` and the configuration file: a server can start from the output.
#[tokio::test]
async fn the_printed_configuration_starts_the_same_server() {
    let cluster = Cluster::prepare(1, &["--log=warn", "--heartbeat-interval=30ms"]);
    let mut command = cluster.command(1);
    command.arg("--print-config");
    let output = run_to_end(command).await;
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("heartbeat_interval = \"30ms\""), "{printed}");
    let file = cluster.data(1).with_extension("toml");
    std::fs::write(&file, &printed).unwrap();
    let mut command = program();
    command.args(["serve", "--print-config", "--config"]).arg(&file);
    // Flags take precedence over the environment, and the environment over the file.
    command.env("GLASSRAFT_LOG", "debug").env("GLASSRAFT_CLUSTER_ID", "env").arg("--log=error");
    let output = run_to_end(command).await;
    let again = String::from_utf8(output.stdout).unwrap();
    let expected = printed
        .replace("log = \"warn\"", "log = \"error\"")
        .replace("cluster_id = \"test\"", "cluster_id = \"env\"");
    assert_eq!(again, expected);
    let mut child =
        program().args(["serve", "--config"]).arg(&file).stdin(Stdio::null()).spawn().unwrap();
    eventually("it serves", async || cluster.status(1).await).await;
    child.kill().unwrap();
    child.wait().unwrap();
}
