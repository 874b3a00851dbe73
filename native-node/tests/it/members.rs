//! Membership changes while clients write.

use raft_core::event::RoleName;
use serde_json::{Value, json};

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::{Answer, send};
use crate::load::{Load, judge};

/// Requests a change, and retries while a new leader cannot do it yet.
async fn change(cluster: &Cluster, at: usize, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    eventually("the leader can do it", async || {
        let answer = send(method, &cluster.address(at), path, &[], body.clone()).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// The request body that adds a server.
fn join(cluster: &Cluster, id: usize) -> Value {
    let (peer, client) = (cluster.peer_address(id), cluster.address(id));
    json!({"id": id, "peer": peer.to_string(), "client": client.to_string()})
}

/// The members and their roles in an answer.
fn roles(answer: &Answer) -> Vec<(u64, String)> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let members = answer.json()["members"].as_array().unwrap().clone();
    let role = |it: &Value| (it["id"].as_u64().unwrap(), it["role"].as_str().unwrap().to_owned());
    members.iter().map(role).collect()
}

fn voters(ids: &[u64]) -> Vec<(u64, String)> {
    ids.iter().map(|id| (*id, "voter".to_owned())).collect()
}

/// Guards membership changes under load: a new server joins, the leader is removed, and the others
/// find the new server again after all restart. Clients see one consistent store throughout.
#[tokio::test]
async fn a_fourth_server_joins_and_the_leader_leaves_under_load() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let load = Load::start(4, &servers);
    load.more_writes(100).await;

    let fourth = cluster.add();
    cluster.spawn(fourth);
    let answer =
        change(&cluster, follower, "POST", "/cluster/members", join(&cluster, fourth)).await;
    assert_eq!(roles(&answer), voters(&[1, 2, 3, 4]));
    load.more_writes(100).await;

    let path = format!("/cluster/members/{leader}");
    let answer = change(&cluster, fourth, "DELETE", &path, Value::Null).await;
    let left: Vec<u64> = (1..=4).filter(|id| *id != leader as u64).collect();
    assert_eq!(roles(&answer), voters(&left));
    load.more_writes(100).await;
    let list = change(&cluster, fourth, "GET", "/cluster/members", Value::Null).await;
    assert_eq!(roles(&list), voters(&left));

    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids().filter(|id| *id != leader) {
        cluster.spawn(id);
    }
    load.more_writes(100).await;
    let seen = load.finish().await;
    judge(seen, &cluster.client(fourth)).await;
    let status = cluster.converged_but(Some(leader)).await;
    assert!(
        status.leader.is_some_and(|place| place.id.0 != leader as u64 && !place.client.is_empty())
    );
}

/// Guards learners, their promotion, and changes of several voters at once through a joint
/// configuration.
#[tokio::test]
async fn learners_are_promoted_and_several_voters_change_at_once() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let path = "/cluster/members";
    let fourth = cluster.add();
    cluster.spawn(fourth);
    let mut body = join(&cluster, fourth);
    body["learner"] = json!(true);
    let answer = change(&cluster, leader, "POST", path, body).await;
    assert_eq!(roles(&answer)[3], (4, "learner".to_owned()));
    cluster.client(fourth).put(b"x", "1".into()).await.unwrap();
    cluster.converged().await;
    let status = cluster.status(leader).await.unwrap();
    let peer = status.peers.iter().find(|peer| peer.place.id.0 == 4).unwrap();
    assert!(!peer.voter && peer.healthy, "{peer:?}");

    let answer = change(&cluster, leader, "POST", path, json!({"id": 4})).await;
    assert_eq!(roles(&answer), voters(&[1, 2, 3, 4]));
    let two = json!({"voters": [leader, fourth]});
    let answer = change(&cluster, fourth, "PUT", path, two).await;
    assert_eq!(roles(&answer), voters(&[leader as u64, 4]));
    cluster.client(fourth).put(b"x", "2".into()).await.unwrap();
    let unknown = change(&cluster, leader, "PUT", path, json!({"voters": [1, 9]})).await;
    unknown.assert_problem(400, "bad_member");
    let all = json!({"voters": [1, 2, 3, 4]});
    let answer = change(&cluster, leader, "PUT", path, all).await;
    assert_eq!(roles(&answer), voters(&[1, 2, 3, 4]));
    cluster.client(fourth).put(b"x", "3".into()).await.unwrap();
    cluster.converged().await;
}

/// Guards that a member changes its address at once, whatever other change is pending.
#[tokio::test]
async fn a_member_moves_while_another_one_joins() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let (path, address) = ("/cluster/members", cluster.address(leader));
    let learner =
        |client: &str| json!({"id": 8, "peer": "127.0.0.1:4", "client": client, "learner": true});
    let answer = change(&cluster, leader, "POST", path, learner("127.0.0.1:5")).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let nobody = json!({"id": 9, "peer": "127.0.0.1:1", "client": "127.0.0.1:2"}).to_string();
    let joining = tokio::spawn(async move { send("POST", &address, path, &[], nobody).await });
    eventually("it is joining", async || {
        let list = change(&cluster, leader, "GET", path, Value::Null).await.json();
        list["members"].as_array()?.iter().any(|member| member["id"] == 9).then_some(())
    })
    .await;
    let mut moved = join(&cluster, leader);
    moved["client"] = json!("127.0.0.1:3");
    let answer = change(&cluster, leader, "POST", path, moved).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let answer = change(&cluster, leader, "POST", path, learner("127.0.0.1:6")).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let list = change(&cluster, leader, "GET", path, Value::Null).await.json();
    for (id, client) in [(leader as u64, "127.0.0.1:3"), (8, "127.0.0.1:6")] {
        let mut members = list["members"].as_array().unwrap().iter();
        let shown = members.find(|member| member["id"] == id).unwrap();
        assert_eq!(shown["client"], client, "{list}");
    }
    joining.abort();
}

/// Guards writers at a removed server: the error names the removal, not a missing leader.
#[tokio::test]
async fn writes_at_a_removed_server_are_told() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let removed = cluster.follower().await;
    let path = format!("/cluster/members/{removed}");
    assert_eq!(change(&cluster, leader, "DELETE", &path, Value::Null).await.status, 200);
    eventually("it says so", async || {
        let put = send("PUT", &cluster.address(removed), "/kv/k", &[], "1").await;
        (put.json()["code"] == "not_a_member").then_some(())
    })
    .await;
}

/// Guards pitfall 29 when `--new-cluster` is repeated for a server that lost its disk: the others
/// refuse it until it is removed and added again.
#[tokio::test]
async fn pitfall_29_a_wiped_server_that_founds_again_is_refused_until_it_is_let_in_again() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    cluster.converged().await;
    let wiped = cluster.follower().await;
    cluster.kill(wiped);
    std::fs::remove_dir_all(cluster.data(wiped)).unwrap();
    // Its directory is empty, so the harness passes the flag again.
    cluster.spawn(wiped);
    eventually("the others refuse it and it says so", async || {
        let log = std::fs::read_to_string(cluster.log(wiped)).unwrap();
        let remedy = format!("glassraft member remove {wiped}");
        (log.contains("another data directory") && log.contains(&remedy)).then_some(())
    })
    .await;
    let client = cluster.client(leader);
    // The other follower may have been the first to refuse it.
    eventually("the leader counts it too", async || {
        let metrics = client.request(&hyper::Method::GET, "/metrics", "".into()).await.unwrap();
        let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
        metrics.contains("reason=\"other_storage\"").then_some(())
    })
    .await;

    cluster.kill(wiped);
    cluster.wipe(wiped);
    cluster.spawn(wiped);
    let path = format!("/cluster/members/{wiped}");
    change(&cluster, leader, "DELETE", &path, Value::Null).await;
    let again = change(&cluster, leader, "POST", "/cluster/members", join(&cluster, wiped)).await;
    assert_eq!(roles(&again), voters(&[1, 2, 3]));
    // Also after a restart, when it sends its storage ID again.
    cluster.kill(wiped);
    cluster.spawn(wiped);
    client.put(b"x", "1".into()).await.unwrap();
    cluster.converged().await;
}

/// Guards invalid changes, each with its error code. A new server that never starts is given up and
/// leaves nothing behind.
#[tokio::test]
async fn changes_that_make_no_sense_are_refused_in_words() {
    let [min, max] = CALM;
    let mut cluster = Cluster::start_with(3, &["--promotion-timeout=500ms", min, max]);
    let leader = cluster.leader().await;
    let path = "/cluster/members";
    let mut absent = join(&cluster, leader);
    absent["id"] = json!(9);
    let twice = change(&cluster, leader, "POST", path, absent).await;
    twice.assert_problem(400, "bad_member");
    for (body, status, code) in [
        (json!({"id": 9}), 400, "bad_member"),
        (json!({"id": 9, "peer": "127.0.0.1:1"}), 400, "bad_member"),
        (json!({"id": 9, "peer": "127.0.0.1:0", "client": "127.0.0.1:0"}), 400, "bad_member"),
        (json!({"id": 0, "peer": "127.0.0.1:1", "client": "127.0.0.1:2"}), 400, "bad_member"),
        (json!({"id": 9, "peer": "nowhere"}), 400, "bad_json"),
        (json!({"id": 9, "voter": true}), 400, "bad_json"),
        (join(&cluster, leader), 409, "nothing_to_change"),
    ] {
        change(&cluster, leader, "POST", path, body).await.assert_problem(status, code);
    }
    let gone = change(&cluster, leader, "DELETE", "/cluster/members/9", Value::Null).await;
    gone.assert_problem(404, "no_such_member");
    let none = change(&cluster, leader, "PUT", path, json!({"voters": []})).await;
    none.assert_problem(409, "no_voters");
    let silent = cluster.add();
    let answer = change(&cluster, leader, "POST", path, join(&cluster, silent)).await;
    answer.assert_problem(409, "did_not_catch_up");
    let list = eventually("it is gone again", async || {
        let list = roles(&change(&cluster, leader, "GET", path, Value::Null).await);
        (list.len() == 3).then_some(list)
    })
    .await;
    assert_eq!(list, voters(&[1, 2, 3]));
}

/// Guards pitfall 29: a server that lost its disk neither votes nor leads under its old number,
/// even if the majority needs it. After it is removed and added again, it votes.
#[tokio::test]
async fn pitfall_29_a_wiped_server_does_not_vote_until_it_is_let_in_again() {
    let mut cluster = Cluster::start_with(3, &[]);
    let leader = cluster.leader().await;
    cluster.client(leader).put(b"x", "1".into()).await.unwrap();
    cluster.converged().await;
    let others: Vec<usize> = cluster.ids().filter(|id| *id != leader).collect();
    let (survivor, wiped) = (others[0], others[1]);
    cluster.kill(wiped);
    cluster.wipe(wiped);
    cluster.spawn(wiped);
    eventually("it is back", async || cluster.status(wiped).await?.leader).await;

    cluster.kill(leader);
    let mut campaigns = 0;
    eventually("the survivor asks for votes again and again", async || {
        let status = cluster.status(survivor).await?;
        assert_ne!(status.role, RoleName::Leader, "elected by one that forgot its votes");
        let stranger = cluster.status(wiped).await?;
        assert_eq!(stranger.role, RoleName::Follower, "it campaigns with nothing to its name");
        campaigns += u32::from(status.role == RoleName::PreCandidate);
        (campaigns > 100).then_some(())
    })
    .await;

    cluster.spawn(leader);
    let any = eventually("there is a leader again", async || {
        let status = cluster.status(survivor).await?;
        status.leader.map(|place| usize::try_from(place.id.0).unwrap())
    })
    .await;
    let path = format!("/cluster/members/{wiped}");
    assert_eq!(change(&cluster, any, "DELETE", &path, Value::Null).await.status, 200);
    let again = change(&cluster, any, "POST", "/cluster/members", join(&cluster, wiped)).await;
    assert_eq!(roles(&again), voters(&[1, 2, 3]));
    let leader = cluster.leader().await;
    cluster.kill(leader);
    eventually("now it helps to elect", async || {
        let status = cluster.status(wiped).await?;
        status.leader.filter(|place| place.id.0 != leader as u64)
    })
    .await;
}

/// Guards leadership transfers on demand, to a named server and from any server.
#[tokio::test]
async fn leadership_is_handed_to_whom_one_names() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let heir = cluster.follower().await;
    let transfer = async |at: usize, to: Value| {
        change(&cluster, at, "POST", "/cluster/leader", json!({"to": to})).await
    };
    transfer(leader, json!(leader)).await.assert_problem(409, "already_leads");
    transfer(leader, json!(9)).await.assert_problem(409, "not_a_voter");
    let answer = transfer(heir, json!(heir)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["leader"]), (200, &json!(heir)));
    eventually("it leads", async || (cluster.leader().await == heir).then_some(())).await;
    // The new leader can choose a target only after it has heard from a follower.
    let any = eventually("it finds an heir", async || {
        let any = send("POST", &cluster.address(leader), "/cluster/leader", &[], "").await;
        (any.status == 200).then_some(any)
    })
    .await;
    assert_ne!(any.json()["leader"], heir);
}

/// Guards snapshots on demand: the answer arrives once the file exists.
#[tokio::test]
async fn a_snapshot_is_taken_on_demand() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    cluster.client(leader).put(b"x", "1".into()).await.unwrap();
    let before = cluster.status(leader).await.unwrap();
    let answer = change(&cluster, leader, "POST", "/cluster/snapshot", Value::Null).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["snapshot_index"].as_u64().unwrap() >= before.applied_index.0);
    let after = cluster.status(leader).await.unwrap();
    assert!(after.snapshot_index >= before.applied_index);
}
