//! A server that was removed from the cluster or is isolated reports it.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use crate::cluster::{CALM, Cluster, eventually, program, run_to_end};
use crate::http::send;

/// Guards clients of a removed server that still runs. `/readyz` fails with the reason, reads fail
/// at once, stale reads are marked, and `status` finds the leader.
#[tokio::test]
async fn a_server_that_was_removed_says_so() {
    let cluster = Cluster::start();
    let (leader, out) = (cluster.leader().await, cluster.follower().await);
    let client = cluster.client(leader);
    client.put(b"k", Bytes::from_static(b"v")).await.unwrap();
    cluster.converged().await;
    eventually("it is removed", async || {
        let path = format!("/cluster/members/{out}");
        client.request(&Method::DELETE, &path, Bytes::new()).await.ok()
    })
    .await;
    let server = cluster.address(out);
    let ready = eventually("it knows", async || {
        let ready = send("GET", &server, "/readyz", &[], "").await;
        let text = String::from_utf8(ready.body.to_vec()).unwrap();
        text.contains("[-]member failed").then_some(ready.status)
    })
    .await;
    assert_eq!(ready, 503);
    assert_eq!(
        send("GET", &server, "/livez", &[], "").await.status,
        200,
        "nothing is wrong with it"
    );

    for (method, path, body) in [
        ("GET", "/kv/k", ""),
        ("GET", "/get/k", ""),
        ("GET", "/kv?prefix=k", ""),
        ("GET", "/cluster/backup", ""),
        ("GET", "/cluster/members", ""),
        ("POST", "/batch", r#"{"operations": [{"get": {"key": "k"}}]}"#),
    ] {
        let begun = std::time::Instant::now();
        let read = send(method, &server, path, &[], body).await;
        read.assert_problem(503, "not_a_member");
        assert!(begun.elapsed().as_secs() < 3, "{path} took {:?}", begun.elapsed());
    }
    let stale = send("GET", &server, "/kv/k?consistency=stale", &[], "").await;
    assert_eq!(stale.status, 200);
    assert_eq!(stale.header("x-raft-cut-off"), "not-a-member");
    let member = send("GET", &cluster.address(leader), "/kv/k?consistency=stale", &[], "").await;
    assert_eq!(member.headers.get("x-raft-cut-off"), None);

    // With other endpoints, and with this one alone.
    let address = |id| cluster.address(id).to_string();
    for endpoints in [format!("{},{}", address(out), address(leader)), address(out)] {
        let mut command = program();
        command.args(["status", "--output=json", "--endpoints", &endpoints]);
        let output = run_to_end(command).await;
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["leader"]["id"], leader, "{endpoints}: {status:#}");
        assert_eq!(status["member"], true);
    }
    let mut command = program();
    command.args(["get", "k", "--endpoints", &format!("{},{}", address(out), address(leader))]);
    let output = run_to_end(command).await;
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"v"[..]), "{output:?}");
    let mut command = program();
    command.args(["get", "k", "--stale", "--endpoints", &address(out)]);
    let output = run_to_end(command).await;
    let note = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.stdout == b"v" && note.contains("receives no updates (not-a-member)"),
        "{output:?}"
    );
    let mut cluster = cluster;
    for id in cluster.ids().filter(|id| *id != out) {
        cluster.kill(id);
    }
    let mut command = program();
    command.args(["status", "--endpoints", &cluster.address(out).to_string()]);
    let output = run_to_end(command).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("not a member of the cluster") && text.contains("not a member\n"),
        "{text}"
    );
}

/// Guards clients of a server that waits to be added: `/readyz` fails with the reason.
#[tokio::test]
async fn a_server_that_waits_to_be_let_in_says_so() {
    let mut cluster = Cluster::start_with(1, &CALM);
    cluster.leader().await;
    let newcomer = cluster.add();
    cluster.spawn(newcomer);
    let server = cluster.address(newcomer);
    eventually("it serves", async || cluster.status(newcomer).await).await;
    let ready = send("GET", &server, "/readyz", &[], "").await;
    assert!(
        ready.status == 503 && ready.body.windows(10).any(|it| it == b"[-]member "),
        "{:?}",
        ready.body
    );
    let read = send("GET", &server, "/kv/k", &[], "").await;
    assert_eq!(read.json()["code"], "not_a_member");
}

/// Guards clients of an isolated server: `/readyz` fails once no majority confirms a read. The
/// server marks stale reads once it knows no leader.
#[tokio::test]
async fn a_server_that_is_cut_off_says_so() {
    let arguments = [&CALM[..], &["--allow-faults"]].concat();
    let cluster = Cluster::start_with(3, &arguments);
    let (leader, out) = (cluster.leader().await, cluster.follower().await);
    cluster.client(leader).put(b"k", Bytes::from_static(b"v")).await.unwrap();
    let server = cluster.address(out);
    eventually("it is ready", async || {
        (send("GET", &server, "/readyz", &[], "").await.status == 200).then_some(())
    })
    .await;
    let links: serde_json::Map<String, Value> = cluster
        .ids()
        .filter(|id| *id != out)
        .map(|id| (id.to_string(), serde_json::json!({"cut_to": true, "cut_from": true})))
        .collect();
    let faults = serde_json::json!({"links": links}).to_string();
    assert_eq!(send("PUT", &server, "/faults", &[], faults).await.status, 200);
    eventually("it is not ready", async || {
        (send("GET", &server, "/readyz", &[], "").await.status == 503).then_some(())
    })
    .await;
    eventually("it says so with a stale read", async || {
        let stale = send("GET", &server, "/kv/k?consistency=stale", &[], "").await;
        let why = stale.headers.get("x-raft-cut-off")?;
        (why == "no-leader").then_some(())
    })
    .await;
}
