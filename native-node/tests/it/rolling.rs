//! A cluster that is restarted server by server while clients write.

use rustix::process::Signal;

use crate::cluster::{CALM, Cluster};
use crate::load::{InSession, Load, LoadOptions, judge};

/// Guards a rolling upgrade: each leader transfers leadership before it ends. No write fails, is
/// lost, or takes longer than clients retry.
#[tokio::test]
async fn a_rolling_restart_fails_no_write() {
    let mut cluster = Cluster::start_with(3, &CALM);
    let first = cluster.leader().await;
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    let options = LoadOptions { sessions: InSession::All, ..LoadOptions::new(4) };
    let load = Load::with(options, &servers);
    load.more_writes(50).await;
    // The leader restarts second, after a follower.
    let mut order: Vec<usize> = cluster.ids().filter(|id| *id != first).collect();
    order.insert(1, first);
    for id in order {
        cluster.signal(id, Signal::TERM);
        let status = cluster.ended(id).await;
        assert!(status.success(), "server {id} ended with {status}");
        load.more_writes(20).await;
        cluster.spawn(id);
        cluster.caught_up(id).await;
    }
    load.more_writes(50).await;
    // The server may or may not have read a request at the very end of a connection. With sessions
    // the clients can retry it, so no outcome stays unknown.
    let doubts = load.unknown();
    assert_eq!(doubts, 0, "{doubts} writes were left in doubt by three restarts");
    let log = std::fs::read_to_string(cluster.log(first)).unwrap();
    assert!(log.contains("transferred leadership"), "{log}");
    let seen = load.finish().await;
    judge(seen, &cluster.any_client()).await;
    cluster.converged().await;
}
