//! Backups of a running cluster, and new clusters restored from them.

use std::path::Path;

use api::kv::Consistency;
use bytes::Bytes;
use hyper::Method;
use native_node::backup;

use crate::cluster::{CALM, Cluster, eventually, program, run_to_end};
use crate::load::Load;

/// Restores a backup for each server of a cluster that has not started.
async fn restore(cluster: &Cluster, file: &Path, name: &str) {
    for id in cluster.ids() {
        let mut command = program();
        command.arg("restore").arg(file).arg("--data").arg(cluster.data(id));
        command.args(["--cluster-id", name, "--members", &cluster.members(), "--id"]);
        command.arg(id.to_string());
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{output:?}");
    }
}

/// Guards backup and restore: a backup under load has one revision. A new cluster restored from it
/// has every key, lease and revision, and accepts writes.
#[tokio::test]
async fn a_backup_under_load_becomes_a_new_cluster() {
    let old = Cluster::start();
    let leader = old.leader().await;
    let client = old.client(leader);
    let binary: Vec<u8> = (0..=255).collect();
    for (key, value) in
        [(&b"greeting"[..], &b"hello"[..]), (&[0, 0xfe, b'/'], &binary), (b"e", b"")]
    {
        client.put(key, Bytes::copy_from_slice(value)).await.unwrap();
    }
    let ttl = serde_json::json!({"ttl_ms": 600_000});
    let lease = client.json(&Method::POST, "/leases", Some(&ttl)).await.unwrap()["lease"].clone();
    let tied = format!("/kv/tied?lease={lease}");
    client.request(&Method::PUT, &tied, Bytes::from_static(b"1")).await.unwrap();
    let before = old.status(leader).await.unwrap().state.revision;
    let servers: Vec<_> = old.ids().map(|id| old.address(id)).collect();
    let load = Load::start(4, &servers);
    load.more_writes(50).await;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let mut command = program();
    command.arg("backup").arg(&file).args(["--output=json", "--endpoints"]);
    command.arg(old.address(old.follower().await).to_string());
    let output = run_to_end(command).await;
    assert!(output.status.success(), "{output:?}");
    let saved: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let revision = saved["revision"].as_u64().unwrap();
    assert!(revision >= before + 50, "everything committed before the backup is in it: {saved}");
    load.more_writes(20).await;
    drop(load.finish().await);
    let (head, state) = backup::load(&file, &mut |_| {}).unwrap();
    assert_eq!((head.cluster_id.as_str(), head.revision), ("test", revision));
    drop(old);

    let mut new = Cluster::prepare(3, &CALM);
    new.rename("new");
    restore(&new, &file, "new").await;
    for id in new.ids() {
        new.spawn(id);
    }
    let client = new.client(new.leader().await);
    assert_eq!(new.converged().await.state.revision, revision);
    for (key, value) in state.iter() {
        let found = client.get(key, Consistency::Linearizable).await.unwrap();
        assert_eq!(found.as_ref(), Some(&value.value), "{key:?}");
    }
    let answer = client.json(&Method::GET, &format!("/leases/{lease}"), None).await.unwrap();
    assert_eq!(answer["keys"], serde_json::json!(["tied"]));
    client.put(b"greeting", Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(new.converged().await.state.revision, revision + 1);
}

/// Guards servers that join a restored cluster: they get a snapshot, because no log contains the
/// restored state.
#[tokio::test]
async fn a_server_that_joins_a_restored_cluster_gets_the_state() {
    let old = Cluster::start_with(1, &CALM);
    let client = old.client(old.leader().await);
    client.put(b"a", Bytes::from_static(b"1")).await.unwrap();
    let file = old.data(1).with_file_name("backup");
    let mut command = program();
    command.arg("backup").arg(&file).args(["--endpoints", &old.address(1).to_string()]);
    assert!(run_to_end(command).await.status.success());
    drop(client);
    let mut new = Cluster::prepare(1, &CALM);
    let mut command = program();
    command.arg("restore").arg(&file).arg("--data").arg(new.data(1));
    command.args([
        "--cluster-id=test",
        "--reuse-cluster-id",
        "--id=1",
        "--members",
        &new.members(),
    ]);
    let output = run_to_end(command).await;
    assert!(output.status.success(), "{output:?}");
    new.spawn(1);
    new.leader().await;
    let id = new.add();
    new.spawn(id);
    let member = new.member(id);
    let mut command = program();
    command.args(["member", "add", &member, "--endpoints", &new.address(1).to_string()]);
    let output = run_to_end(command).await;
    assert!(output.status.success(), "{output:?}");
    let read = eventually("it has the state", async || {
        new.client(id).get(b"a", Consistency::Stale).await.ok().flatten()
    });
    assert_eq!(read.await, "1");
    new.converged().await;
}

/// Guards the backup file: an existing file is not overwritten, no partial file remains, and
/// `--verify` finds damage.
#[tokio::test]
async fn a_backup_is_whole_or_not_there() {
    let cluster = Cluster::start_with(1, &CALM);
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    client.put(b"a", Bytes::from_static(b"1")).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let run = async |arguments: &[&str]| {
        let mut command = program();
        command.arg("backup").arg(&file).args(arguments);
        command.args(["--timeout=1s", "--endpoints", &cluster.address(1).to_string()]);
        let output = run_to_end(command).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&[]).await.0, Some(0));
    let (code, why) = run(&[]).await;
    assert!(code == Some(1) && why.contains("already exists"), "{why}");
    assert_eq!(run(&["--verify"]).await.0, Some(0));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (code, why) = run(&["--verify"]).await;
    assert!(code == Some(1) && why.contains("damaged"), "{why}");
    std::fs::remove_file(&file).unwrap();
    let mut command = program();
    command.arg("backup").arg(&file).args(["--timeout=300ms", "--endpoints=127.0.0.1:9"]);
    assert_eq!(run_to_end(command).await.status.code(), Some(3));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left over");
}
