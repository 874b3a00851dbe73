//! Slow, long and interrupted paths between servers: large values take their time, with no other
//! effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Client;
use raft_core::types::Term;
use testbed::network::{Network, Quality};

use crate::cluster::{CALM, Cluster, eventually};

const MS: Duration = Duration::from_millis(1);

/// Measures pauses of the machine in its own thread: during a long pause an election timeout may
/// expire for that reason alone.
struct Watch {
    longest_pause: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watch {
    fn start() -> Self {
        let (longest_pause, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let watch = Self { longest_pause, over };
        let (longest, over) = (Arc::clone(&watch.longest_pause), Arc::clone(&watch.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let before = Instant::now();
                std::thread::sleep(5 * MS);
                let pause = u64::try_from(before.elapsed().as_millis()).unwrap();
                longest.fetch_max(pause, Ordering::Relaxed);
            }
        });
        watch
    }

    /// The longest pause since the last call.
    fn longest_pause(&self) -> Duration {
        Duration::from_millis(self.longest_pause.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The highest term of all servers.
async fn term(cluster: &Cluster) -> Term {
    let mut term = Term(0);
    for id in cluster.ids() {
        term = term.max(eventually("it answers", async || cluster.status(id).await).await.term);
    }
    term
}

/// Puts values of these sizes one after the other and asserts that each is acknowledged and the
/// leader stays. Retries if the machine pauses for longer than `pause`. Returns the number of
/// attempts, or `None` if the machine is too busy.
async fn puts(cluster: &Cluster, sizes: &[usize], pause: Duration) -> Option<u64> {
    let watch = Watch::start();
    for attempt in 1..=20 {
        let leader = cluster.leader().await;
        let client = Client::new(vec![cluster.address(leader)], Duration::from_mins(1));
        let before = term(cluster).await;
        watch.longest_pause();
        for size in sizes {
            let began = Instant::now();
            let put = client.put(b"large", Bytes::from(vec![b'x'; *size])).await;
            let (after, paused) = (term(cluster).await, watch.longest_pause());
            println!("{size} bytes: {:?}, {before} to {after}, {paused:?}", began.elapsed());
            if paused > pause {
                break;
            }
            put.unwrap_or_else(|error| panic!("{size} bytes are not acknowledged: {error}"));
            assert_eq!(after, before, "{size} bytes deposed the leader");
            if Some(size) == sizes.last() {
                return Some(attempt);
            }
        }
    }
    None
}

/// Guards a leader with values whose sending takes longer than an election timeout: at 10 Mbit/s, 1
/// MiB takes three default timeouts. The test needs a mostly idle machine; the next one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_do_not_depose_a_leader_with_the_usual_timeouts() {
    let mut cluster = Cluster::prepare(3, &["--request-timeout=30s"]);
    let _network = Network::between(&mut cluster, Quality::new(10.0, 5 * MS)).await;
    cluster.start_all();
    let sizes = [64, 128, 256, 384, 512, 768, 1000, 1024].map(|kib| kib << 10);
    if puts(&cluster, &sizes, 40 * MS).await.is_none() {
        println!("skipped: the machine is too busy to tell");
    }
}

/// Guards the same with longer timeouts and slower paths.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_on_a_narrow_path_do_not_depose_the_leader() {
    let arguments = [&CALM[..], &["--request-timeout=30s"]].concat();
    let mut cluster = Cluster::prepare(3, &arguments);
    let _network = Network::between(&mut cluster, Quality::new(3.0, 5 * MS)).await;
    cluster.start_all();
    let sizes = [64, 256, 512, 1024].map(|kib| kib << 10);
    puts(&cluster, &sizes, 300 * MS).await.expect("a machine that has some time");
}

/// Guards values that take ten election timeouts: 1 MiB at 1 Mbit/s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_very_narrow_path_large_values_are_slow_and_nothing_else() {
    let arguments = [&CALM[..], &["--request-timeout=60s"]].concat();
    let mut cluster = Cluster::prepare(3, &arguments);
    let network = Network::between(&mut cluster, Quality::new(1.0, 20 * MS)).await;
    cluster.start_all();
    cluster.leader().await;
    let before = network.carried();
    let attempts = puts(&cluster, &[1 << 20], 300 * MS).await.expect("a machine with some time");
    // Once to each of two followers.
    let carried = network.carried() - before;
    assert!(carried < attempts * (3 << 20), "{carried} bytes were sent in {attempts} attempts");
}

/// Guards against connections that the network forgets silently: they are reopened before a
/// follower misses the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_are_made_anew() {
    let arguments = ["--election-timeout-min=2500ms", "--election-timeout-max=5s"];
    let mut cluster = Cluster::prepare(3, &arguments);
    let network = Network::between(&mut cluster, Quality::new(1000.0, MS)).await;
    cluster.start_all();
    let leader = cluster.leader().await;
    cluster.any_client().put(b"k", Bytes::from_static(b"1")).await.unwrap();
    let before = term(&cluster).await;
    for round in 0..3 {
        network.forget_connections();
        let put = cluster.client(leader).put(b"k", Bytes::from_static(b"2")).await;
        put.unwrap_or_else(|error| panic!("not acknowledged in round {round}: {error}"));
    }
    assert_eq!(term(&cluster).await, before, "the leader was missed");
}
