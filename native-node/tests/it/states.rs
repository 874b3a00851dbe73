//! Servers of one cluster with different states: refused if they start with them, detected if they
//! diverge later.

use std::path::{Path, PathBuf};

use api::kv::Consistency;
use bytes::Bytes;

use crate::cluster::{CALM, Cluster, eventually, program, run_to_end};
use crate::http::send;

const KEY: &[u8] = b"day";

/// Two backups of the same cluster, with `monday` and `tuesday` under the same key.
async fn two_backups(directory: &Path) -> [PathBuf; 2] {
    let old = Cluster::start_with(1, &CALM);
    let client = old.client(old.leader().await);
    let mut files = Vec::new();
    for day in ["monday", "tuesday"] {
        client.put(KEY, Bytes::from(day)).await.unwrap();
        let file = directory.join(day);
        let mut command = program();
        command.arg("backup").arg(&file).args(["--endpoints", &old.address(1).to_string()]);
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{output:?}");
        files.push(file);
    }
    files.try_into().unwrap()
}

/// A cluster that has not started, whose servers were restored from these files; a server without a
/// file will bootstrap an empty cluster.
async fn restored(files: &[Option<&PathBuf>]) -> Cluster {
    let mut new = Cluster::prepare(u16::try_from(files.len()).unwrap(), &CALM);
    new.rename("new");
    for (id, file) in new.ids().zip(files) {
        let Some(file) = file else { continue };
        let mut command = program();
        command.arg("restore").arg(file).arg("--data").arg(new.data(id));
        command.args(["--cluster-id=new", "--members", &new.members(), "--id"]);
        command.arg(id.to_string());
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{output:?}");
    }
    new
}

/// Makes a server claim that it started with server 1's state, as was possible before this
/// comparison existed.
fn plant(cluster: &Cluster, id: usize) {
    let founded = cluster.data(1).join("founded");
    std::fs::copy(founded, cluster.data(id).join("founded")).unwrap();
}

fn log(cluster: &Cluster, id: usize) -> String {
    std::fs::read_to_string(cluster.log(id)).unwrap_or_default()
}

/// Waits until a server is refused because of its initial state.
async fn refused(cluster: &Cluster, id: usize) {
    let words = "began this cluster with another state";
    let told = async || log(cluster, id).contains(words).then_some(());
    eventually("it is refused", told).await;
}

/// Guards servers restored from different backups: the others refuse the minority server before it
/// answers a linearizable read.
#[tokio::test]
async fn founders_of_different_backups_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [monday, tuesday] = &two_backups(directory.path()).await;
    let mut new = restored(&[Some(monday), Some(monday), Some(tuesday)]).await;
    for id in new.ids() {
        new.spawn(id);
    }
    refused(&new, 3).await;
    let leader = new.leader().await;
    assert_ne!(leader, 3);
    for id in [1, 2] {
        let read = new.client(id).get(KEY, Consistency::Linearizable).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"monday"[..]), "server {id}");
    }
    let read = new.client(3).get(KEY, Consistency::Linearizable).await;
    read.expect_err("it belongs to nobody");
    assert_eq!(new.status(3).await.unwrap().leader, None);
    let text = metrics(&new, leader).await;
    assert!(text.contains("raft_peer_refused_total{reason=\"founding\"}"), "{text}");
}

/// Guards a restore that was forgotten on some servers, which bootstrap an empty cluster.
#[tokio::test]
async fn founders_without_the_backup_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [monday, _] = &two_backups(directory.path()).await;
    let mut new = restored(&[Some(monday), None, None]).await;
    for id in new.ids() {
        new.spawn(id);
    }
    refused(&new, 1).await;
    let read = new.client(1).get(KEY, Consistency::Linearizable).await;
    read.expect_err("it belongs to nobody");
}

async fn metrics(cluster: &Cluster, id: usize) -> String {
    let answer = send("GET", &cluster.address(id), "/metrics", &[], "").await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// More entries than lie between two compared digests.
const WRITES: u32 = 300;

/// Guards clients: a server whose state differs from the majority's stops, logs what to do, and
/// does not start with that state again. The others continue.
#[tokio::test]
async fn a_server_that_is_alone_with_its_state_stops() {
    let directory = tempfile::tempdir().unwrap();
    let [monday, tuesday] = &two_backups(directory.path()).await;
    let mut new = restored(&[Some(monday), Some(monday), Some(tuesday)]).await;
    plant(&new, 3);
    for id in new.ids() {
        new.spawn(id);
    }
    new.leader().await;
    let client = new.any_client();
    for number in 0..10 * WRITES {
        if new.has_ended(3) {
            break;
        }
        // The leader may be the server that stops.
        let _ = client.put(b"n", Bytes::from(number.to_string())).await;
    }
    assert!(new.has_ended(3), "it goes on: {}", log(&new, 3));
    assert!(log(&new, 3).contains("member remove"), "{}", log(&new, 3));
    for id in [1, 2] {
        assert!(!new.has_ended(id), "{}", log(&new, id));
    }
    let client = new.client(1);
    let put = async || client.put(b"after", Bytes::from_static(b"1")).await.ok();
    eventually("the others go on", put).await;
    let read = client.get(KEY, Consistency::Linearizable).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"monday"[..]));

    new.spawn(3);
    assert!(!new.ended(3).await.success());
    assert!(log(&new, 3).contains("does not start with this state"), "{}", log(&new, 3));
}

/// Guards two servers with different states, when no majority can decide: both report the
/// difference and continue.
#[tokio::test]
async fn two_servers_with_different_states_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let [monday, tuesday] = &two_backups(directory.path()).await;
    let mut new = restored(&[Some(monday), Some(tuesday)]).await;
    plant(&new, 2);
    for id in new.ids() {
        new.spawn(id);
    }
    let client = new.client(new.leader().await);
    for number in 0..WRITES {
        client.put(b"n", Bytes::from(number.to_string())).await.unwrap();
    }
    for (id, other) in [(1, 2), (2, 1)] {
        let differs = async || {
            let state = new.status(id).await?.state;
            (state.differs_from.iter().map(|id| id.0).eq([other])).then_some(())
        };
        eventually("it reports the difference", differs).await;
        let text = metrics(&new, id).await;
        let gauge = format!("raft_peer_state_differs{{peer=\"{other}\"}} 1");
        assert!(text.contains(&gauge), "{text}");
        // One log line each time the number of differences has doubled.
        let told = log(&new, id).matches("another member has another state").count();
        assert!((1..10).contains(&told), "{told} times: {}", log(&new, id));
    }
    assert_eq!(new.ended_by_themselves(), Vec::<usize>::new());
}
