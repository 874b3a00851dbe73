//! The first release's data under a server of this release.
//!
//! The first release wrote `data/first-release`: the directories of three servers, a backup of
//! their cluster, and all its keys as `GET /kv` returned them. The servers had executed puts, a
//! delete, a lease, a session, a named request, a transaction and a membership change. The log
//! continues after their snapshots.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use native_node::backup;
use serde_json::Value;

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::send;

fn left_behind() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/first-release")
}

/// Copies a server's directory of the first release.
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
    let page = eventually("it knows of a leader", async || {
        let page = send("GET", &cluster.address(id), "/kv?limit=1000", &[], "").await;
        (page.status == 200).then_some(page)
    })
    .await;
    page.json()["pairs"].clone()
}

/// Guards upgrades: servers start from the directories of the first release with every key, lease,
/// session and remembered answer. They switch to this release's rules at the same entry, and start
/// from what they then write.
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
    // Both took effect before; a server answers them without executing them again.
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

/// Guards backups, which are kept for long: a backup of the first release can be read.
#[test]
fn a_backup_of_the_first_release_is_read() {
    let kept: Value =
        serde_json::from_slice(&fs::read(left_behind().join("keys.json")).unwrap()).unwrap();
    let (head, state) = backup::load(&left_behind().join("backup"), &mut |_| {}).unwrap();
    assert_eq!(head.cluster_id, "test");
    assert_eq!(Some(state.revision()), kept["revision"].as_u64());
    assert_eq!(Some(state.len()), kept["pairs"].as_array().map(Vec::len));
}

/// Servers of both releases in one cluster; `cargo xtask test` runs these.
mod with_the_first_release {
    use std::time::Duration;

    use rustix::process::Signal;
    use tempfile::TempDir;
    use testbed::watchers::{self, Watchers};

    use super::*;
    use crate::doors::SECRET;
    use crate::load::{InSession, Load, LoadOptions, judge};

    /// The path of the first release's program, set by `cargo xtask test`.
    const VARIABLE: &str = "GLASSRAFT_FIRST_RELEASE";

    /// A session of two days, which later rules refuse.
    const LONG_SESSION: &str = r#"{"ttl_ms": 172800000}"#;

    fn first_release() -> PathBuf {
        PathBuf::from(std::env::var_os(VARIABLE).expect("the program of the first release"))
    }

    /// Starts three servers of the first release.
    async fn of_the_first_release(arguments: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(3, arguments);
        for id in cluster.ids() {
            cluster.run(id, Some(&first_release()));
        }
        cluster.start_all();
        cluster.leader().await;
        cluster
    }

    /// Ends a server with SIGTERM, and starts it with another program.
    async fn restart_with(cluster: &mut Cluster, id: usize, program: Option<&Path>) {
        cluster.signal(id, Signal::TERM);
        let status = cluster.ended(id).await;
        assert!(status.success(), "server {id} ended with {status}");
        cluster.run(id, program);
        cluster.spawn(id);
        cluster.caught_up(id).await;
    }

    async fn rules(cluster: &Cluster, id: usize) -> u16 {
        eventually("it answers", async || cluster.status(id).await).await.state.rules
    }

    async fn opens_a_long_session(cluster: &Cluster) -> bool {
        let leader = cluster.address(cluster.leader().await);
        send("POST", &leader, "/sessions", &[], LONG_SESSION).await.status.is_success()
    }

    async fn upgrade_under_load(arguments: &[&str]) {
        let arguments = [&CALM, arguments].concat();
        let mut cluster = of_the_first_release(&arguments).await;
        let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
        let options = LoadOptions {
            prefix: "w/".to_owned(),
            sessions: InSession::All,
            // Servers restart five times, perhaps on a busy machine.
            patience: crate::cluster::PATIENCE,
            pause: Duration::from_millis(2),
            ..LoadOptions::new(4)
        };
        let seed = getrandom::u64().unwrap();
        println!("seed {seed}");
        let watching = Watchers::start(3, "w/", &servers, None, seed);
        // A server of the first release sends nothing until a key changes.
        let client = cluster.any_client();
        let something = async || client.put(b"w/first", "1".into()).await.unwrap();
        tokio::select! {
            () = watching.reach(0) => {}
            () = async { loop { something().await; } } => {}
        }
        let load = Load::with(options, &servers);
        load.more_writes(50).await;

        // The leader is second; it is downgraded once before the last server is upgraded.
        let leader = cluster.leader().await;
        let others: Vec<usize> = cluster.ids().filter(|id| *id != leader).collect();
        let (first, last) = (others[0], others[1]);
        let old = first_release();
        for (id, program) in
            [(first, None), (leader, None), (leader, Some(old.as_path())), (leader, None)]
        {
            println!("server {id}: {program:?}");
            restart_with(&mut cluster, id, program).await;
            load.more_writes(30).await;
            for id in cluster.ids() {
                assert_eq!(rules(&cluster, id).await, 1, "server {last} does not know later rules");
            }
        }
        assert!(opens_a_long_session(&cluster).await, "by the rules of the first release");
        restart_with(&mut cluster, last, None).await;
        for id in cluster.ids() {
            cluster.follows_latest_rules(id).await;
        }
        load.more_writes(50).await;
        assert!(!opens_a_long_session(&cluster).await, "by later rules");
        let doubts = load.unknown();
        assert_eq!(doubts, 0, "{doubts} writes were left in doubt by five restarts");

        let history = load.finish().await;
        let revision = cluster.converged().await.state.revision;
        watching.reach(revision).await;
        watchers::judge(&watching.finish().await, &history.kept);
        judge(history, &cluster.any_client()).await;

        // No downgrade any more: the first release would skip what it does not know.
        cluster.signal(last, Signal::TERM);
        cluster.ended(last).await;
        cluster.run(last, Some(&old));
        cluster.spawn(last);
        eventually("it is told why it is refused", async || {
            let log = fs::read_to_string(cluster.log(last)).unwrap();
            log.contains("4.2 (this cluster follows rules").then_some(())
        })
        .await;
        cluster.client(leader).put(b"after", "1".into()).await.unwrap();
        cluster.kill(last);
        cluster.run(last, None);
        cluster.spawn(last);
        cluster.leader().await;
        cluster.converged().await;
    }

    /// Guards a rolling upgrade, as in OPERATIONS.md: servers are upgraded one by one while clients
    /// write, read and watch, with one downgrade in between. No acknowledged write is lost, no
    /// outcome is unknown, the history is linearizable, and later rules apply only once all servers
    /// know them.
    #[tokio::test]
    #[ignore = "needs the program of the first release; `cargo xtask test` runs it"]
    async fn a_rolling_upgrade_loses_nothing() {
        upgrade_under_load(&[]).await;
    }

    /// Guards the same with a cluster secret: the proof covers the version.
    #[tokio::test]
    #[ignore = "needs the program of the first release; `cargo xtask test` runs it"]
    async fn a_rolling_upgrade_with_a_secret_loses_nothing() {
        let directory: TempDir = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        fs::write(&file, SECRET).unwrap();
        upgrade_under_load(&[&format!("--cluster-secret-file={}", file.display())]).await;
    }

    /// Makes every kind of change.
    async fn change(cluster: &Cluster, round: usize) {
        let server = cluster.address(cluster.leader().await);
        let ask = async |method: &str, path: &str, headers: &[(&str, &str)], body: String| {
            let answer = send(method, &server, path, headers, body).await;
            assert!(answer.status.is_success(), "{method} {path}: {:?}", answer.body);
            answer.json()
        };
        let lease = ask("POST", "/leases", &[], r#"{"ttl_ms": 1500}"#.to_owned()).await;
        let lease = lease["lease"].to_string();
        let tied = format!("/kv/tied-{round}?lease={lease}");
        ask("PUT", &tied, &[], "tied".to_owned()).await;
        let session = ask("POST", "/sessions", &[], r#"{"ttl_ms": 60000}"#.to_owned()).await;
        let session = session["session"].to_string();
        let headers = [("x-raft-session", session.as_str()), ("x-raft-sequence", "1")];
        ask("PUT", &format!("/kv/in-{round}"), &headers, "session".to_owned()).await;
        let name = format!("name-{round}");
        ask("PUT", "/kv/once", &[("idempotency-key", &name)], name.clone()).await;
        let all = r#"{"then": [{"put": {"key": "a", "value": "1"}}, {"get": {"key": "once"}}]}"#;
        ask("POST", "/txn", &[], all.to_owned()).await;
        // Large enough for snapshots in several chunks.
        for number in 0..20 {
            let path = format!("/kv/large-{number}");
            ask("PUT", &path, &[], format!("{round}{}", "x".repeat(30_000))).await;
        }
    }

    /// Guards the state: servers of both releases with the same entries have the same state. It
    /// holds under a leader of either release, and after a snapshot in chunks.
    #[tokio::test]
    #[ignore = "needs the program of the first release; `cargo xtask test` runs it"]
    async fn servers_of_both_releases_keep_the_same_state() {
        let few = ["--compact-after-entries=20", "--keep-entries=1", "--max-chunk-bytes=65536"];
        let mut cluster = of_the_first_release(&[&CALM[..], &few].concat()).await;
        let old = first_release();
        cluster.kill(1);
        cluster.run(1, None);
        cluster.spawn(1);
        for round in 0..4 {
            // A server is away until it needs a snapshot, from a leader of each release.
            let leader = 1 + round % 2;
            let away = if leader == 1 { 3 } else { 1 };
            let lead = async || {
                let body = format!("{{\"to\": {leader}}}");
                let now = cluster.leader().await;
                send("POST", &cluster.address(now), "/cluster/leader", &[], body).await;
                (cluster.leader().await == leader).then_some(())
            };
            eventually("it leads", lead).await;
            cluster.kill(away);
            change(&cluster, round).await;
            change(&cluster, round).await;
            cluster.run(away, (away == 3).then_some(&*old));
            cluster.spawn(away);
            cluster.leader().await;
            cluster.converged().await;
        }
        assert_eq!(rules(&cluster, 1).await, 1);
    }
}
