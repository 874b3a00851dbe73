//! What the first release left on disk, under a server of this one.
//!
//! `data/first-release` was written by that release: the directories of three servers that had taken
//! puts, a delete, a lease, a session, a named request, a transaction and a membership, with snapshots
//! and a log after them; a backup of the same cluster; and all its keys as `GET /kv` gave them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use native_node::backup;
use serde_json::Value;

use crate::cluster::{CALM, Cluster};
use crate::http::send;

fn left_behind() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/first-release")
}

/// A server's directory as the first release left it.
fn put_back(id: usize, data: &Path) {
    fs::create_dir_all(data).unwrap();
    fs::set_permissions(data, Permissions::from_mode(0o700)).unwrap();
    for file in fs::read_dir(left_behind().join(id.to_string())).unwrap() {
        let file = file.unwrap();
        let copy = data.join(file.file_name());
        fs::copy(file.path(), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
    }
}

async fn pairs(cluster: &Cluster, id: usize) -> Value {
    let page = send("GET", &cluster.address(id), "/kv?limit=1000", &[], "").await;
    assert_eq!(page.status, 200);
    page.json()["pairs"].clone()
}

/// Guards who upgrades: servers start from the directories of the first release, with every key,
/// lease, session and remembered answer; go on by the rules of this release, all from the same entry;
/// and start from what they then wrote.
#[tokio::test]
async fn directories_of_the_first_release_go_on() {
    let kept: Value =
        serde_json::from_slice(&fs::read(left_behind().join("keys.json")).unwrap()).unwrap();
    let mut cluster = Cluster::prepare(3, &CALM);
    for id in cluster.ids() {
        put_back(id, &cluster.data(id));
    }
    cluster.start_all();
    let leader = cluster.leader().await;
    for id in cluster.ids() {
        assert_eq!(pairs(&cluster, id).await, kept["pairs"], "server {id}");
    }
    let server = cluster.address(leader);
    let ask = async |headers: &[(&str, &str)], path: &str, body: &str| {
        send("PUT", &server, path, headers, body.to_owned()).await.json()
    };
    // Both took effect before, so that they are answered and not carried out.
    let session = [("x-raft-session", "2"), ("x-raft-sequence", "1")];
    assert_eq!(ask(&session, "/kv/session", "in-session").await["revision"], 102);
    let name = [("idempotency-key", "golden-1")];
    assert_eq!(ask(&name, "/kv/once", "once").await["revision"], 103);
    let lease = send("GET", &server, "/leases/1", &[], "").await.json();
    assert_eq!(lease["keys"], serde_json::json!(["leased"]));
    assert_eq!(ask(&[], "/kv/new", "new").await["existed"], false);
    let before = cluster.converged().await.state.digest;
    for id in cluster.ids() {
        cluster.kill(id);
    }
    cluster.start_all();
    cluster.leader().await;
    let new = send("GET", &cluster.address(1), "/get/new", &[], "").await.json();
    assert_eq!(new["value"], "new");
    assert_ne!(before, "", "the states were compared");
    cluster.converged().await;
}

/// Guards backups, which are kept for long: one of the first release is read.
#[test]
fn a_backup_of_the_first_release_is_read() {
    let kept: Value =
        serde_json::from_slice(&fs::read(left_behind().join("keys.json")).unwrap()).unwrap();
    let (head, state) = backup::load(&left_behind().join("backup"), &mut |_| {}).unwrap();
    assert_eq!(head.cluster_id, "test");
    assert_eq!(Some(state.revision()), kept["revision"].as_u64());
    assert_eq!(Some(state.len()), kept["pairs"].as_array().map(Vec::len));
}
