//! Recovery after a permanent loss of the majority.

use api::kv::Consistency;
use bytes::Bytes;
use raft_core::durable::{Recovered, Write};
use raft_core::log::{Entry, Payload};
use raft_core::types::WriteId;
use serde_json::Value;
use storage::{Options, Storage};

use crate::cluster::{CALM, Cluster, eventually, program, run_to_end};
use crate::http::try_send;

/// Guards the commands of a later release: `recover` does not drop them silently.
#[tokio::test]
async fn what_a_later_release_wrote_is_not_dropped() {
    let mut old = Cluster::start_with(1, &CALM);
    old.leader().await;
    old.client(1).put(b"k", Bytes::from_static(b"1")).await.unwrap();
    old.kill(1);
    let data = old.data(1);
    let identity = Storage::owner(&data).unwrap();
    let (written, tell) = std::sync::mpsc::channel();
    let (opened, storage) =
        Storage::open(&data, identity, Options::default(), move |event| drop(written.send(event)))
            .unwrap();
    let Recovered { hard_state, entries, commit_index, .. } = opened.recovered;
    let index = entries.last().expect("the write is there").index.next();
    let payload = Payload::Command(Bytes::from_static(&[0xff; 9]));
    let entry = Entry { index, term: hard_state.current_term, payload };
    storage.submit(Write {
        id: WriteId(1),
        hard_state,
        truncate_from: None,
        compact_to: None,
        entries: vec![entry].into(),
        commit_index,
    });
    tell.recv_timeout(std::time::Duration::from_secs(20)).expect("it is written");
    storage.close().unwrap();
    let mut command = program();
    command.args(["recover", "--show", "--data", &data.to_string_lossy()]);
    let shown = run_to_end(command).await;
    let why = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.code() == Some(1) && why.contains("does not know"), "{shown:?}");
}

/// Guards a directory under `--show`: nothing in it changes, whatever its server's settings.
#[tokio::test]
async fn looking_at_a_survivor_changes_nothing() {
    let mut old = Cluster::start_with(1, &["--segment-bytes=65536", "--keep-free-bytes=1048576"]);
    old.leader().await;
    old.client(1).put(b"k", Bytes::from_static(b"1")).await.unwrap();
    old.signal(1, rustix::process::Signal::TERM);
    assert!(old.ended(1).await.success());
    let data = old.data(1);
    let files = || -> std::collections::BTreeMap<_, _> {
        let files = std::fs::read_dir(&data).unwrap().map(|file| file.unwrap());
        files.map(|file| (file.file_name(), file.metadata().unwrap().len())).collect()
    };
    let before = files();
    let mut command = program();
    command.args(["recover", "--show", "--data", &data.to_string_lossy()]);
    assert!(run_to_end(command).await.status.success());
    assert_eq!(files(), before);
}

/// Guards the whole recovery: the survivor keeps everything up to the last acknowledged write. Its
/// single-server cluster continues and grows, and refuses a returning server of the old cluster.
#[tokio::test]
async fn a_survivor_goes_on_and_the_old_cluster_is_kept_out() {
    let arguments = [&CALM[..], &["--compact-after-entries=40", "--keep-entries=5"]].concat();
    let mut old = Cluster::start_with(3, &arguments);
    let leader = old.leader().await;
    let client = old.client(leader);
    for number in 0..100 {
        let key = format!("k/{number}");
        client.put(key.as_bytes(), Bytes::from(number.to_string())).await.unwrap();
    }
    let before = old.converged().await.state;
    let survivor = old.follower().await;
    // The survivor applies the last write before all servers are killed.
    client.put(b"last", Bytes::from_static(b"acknowledged")).await.unwrap();
    eventually("it is there", async || {
        let found = old.client(survivor).get(b"last", Consistency::Stale).await.ok()?;
        (found == Some(Bytes::from_static(b"acknowledged"))).then_some(())
    })
    .await;
    for id in old.ids() {
        old.kill(id);
    }
    let data = old.data(survivor).to_string_lossy().into_owned();
    let members = old.member(survivor);
    let recover = async |more: &[&str]| {
        let mut command = program();
        command.args(["recover", "--data", &data]).args(more);
        run_to_end(command).await
    };
    let shown = recover(&["--show", "--output=json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["survivor"]["cluster_id"], "test", "{shown}");
    assert_eq!(shown["survivor"]["revision"], before.revision + 1, "{shown}");
    let same = recover(&["--cluster-id=test", "--members", &members]).await;
    let why = String::from_utf8_lossy(&same.stderr);
    assert!(same.status.code() == Some(1) && why.contains("another --cluster-id"), "{why}");
    let done = recover(&["--cluster-id=after", "--members", &members]).await;
    assert!(done.status.success(), "{done:?}");
    assert!(std::path::Path::new(&format!("{data}.lost-majority")).is_dir());

    // The survivor's addresses, in a new cluster.
    let start = |id: usize, members: &str, name: &str| {
        let mut command = program();
        command.args(["serve", "--cluster-id", name, "--members", members]).args(CALM);
        command.arg("--id").arg(id.to_string()).arg("--data").arg(old.data(id));
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let log = std::fs::File::create(old.log(id).with_extension("after")).unwrap();
        Server(command.stderr(log).spawn().unwrap())
    };
    let _survivor = start(survivor, &members, "after");
    let client = old.client(survivor);
    let read = eventually("it leads", async || {
        client.get(b"last", Consistency::Linearizable).await.ok().flatten()
    });
    assert_eq!(read.await, "acknowledged");
    for number in 0..100 {
        let found = client.get(format!("k/{number}").as_bytes(), Consistency::Linearizable).await;
        assert_eq!(found.unwrap(), Some(Bytes::from(number.to_string())));
    }
    client.put(b"after", Bytes::from_static(b"1")).await.unwrap();

    // The old leader returns with its old configuration.
    let _old = start(leader, &old.members(), "test");
    eventually("it is refused at the door", async || {
        let server = old.address(survivor);
        let metrics = try_send("GET", &server, "/metrics", &[], Bytes::new()).await.ok()?;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let refused = r#"raft_peer_refused_total{reason="cluster"}"#;
        text.lines().any(|line| line.starts_with(refused)).then_some(())
    })
    .await;
    let found = client.get(b"after", Consistency::Linearizable).await.unwrap();
    assert_eq!(found, Some(Bytes::from_static(b"1")));
    assert_eq!(client.status().await.unwrap().peers.len(), 0);

    // A third server without data is added.
    let third = old.ids().find(|id| ![survivor, leader].contains(id)).unwrap();
    std::fs::remove_dir_all(old.data(third)).unwrap();
    let joining = old.member(third);
    let _third = start(third, &format!("{members},{joining}"), "after");
    let mut command = program();
    command.args(["member", "add", &joining, "--endpoints", &old.address(survivor).to_string()]);
    let output = run_to_end(command).await;
    assert!(output.status.success(), "{output:?}");
    eventually("it has the state", async || {
        let found = old.client(third).get(b"after", Consistency::Linearizable).await.ok()?;
        (found == Some(Bytes::from_static(b"1"))).then_some(())
    })
    .await;
}

/// Guards operators: a directory in use, one without a server's data, and an existing
/// `.lost-majority` directory are named in the error. Nothing is changed.
#[tokio::test]
async fn what_cannot_be_recovered_is_said() {
    let mut cluster = Cluster::start_with(1, &CALM);
    cluster.leader().await;
    let (data, members) = (cluster.data(1), cluster.members());
    let recover = async |data: &std::path::Path| {
        let mut command = program();
        command.arg("recover").arg("--data").arg(data);
        command.args(["--cluster-id=after", "--members", &members]);
        let output = run_to_end(command).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, why) = recover(&data).await;
    assert!(code == Some(1) && why.contains("in use by"), "{why}");
    let nothing = data.with_file_name("nothing");
    let (code, why) = recover(&nothing).await;
    assert!(code == Some(1) && why.contains("nothing") && !nothing.exists(), "{why}");
    std::fs::create_dir(&nothing).unwrap();
    let (code, why) = recover(&nothing).await;
    assert!(code == Some(1) && why.contains("must be the data directory"), "{why}");
    cluster.kill(1);
    let aside = data.with_file_name("data-1.lost-majority");
    std::fs::create_dir(&aside).unwrap();
    let (code, why) = recover(&data).await;
    assert!(code == Some(1) && why.contains("lost-majority already exists"), "{why}");
    cluster.spawn(1);
    cluster.leader().await;
}

/// A server that ends with its test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
