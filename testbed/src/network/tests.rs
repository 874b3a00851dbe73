//! Tests of the network, in which the test acts as clients and server.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{CLIENTS, Network, Quality};
use crate::cluster::{Cluster, PATIENCE};

const MS: Duration = Duration::from_millis(1);

/// Long enough for anything that is not blocked.
const MOMENT: Duration = Duration::from_millis(500);

struct Played {
    network: Network,
    listener: TcpListener,
    door: String,
}

impl Played {
    async fn new(quality: Quality) -> Self {
        let mut cluster = Cluster::prepare(1, &[]);
        let listener = TcpListener::bind(cluster.address(1).to_string()).await.unwrap();
        let mut network = Network::between(&mut cluster, quality).await;
        let door = network.client_addresses(&cluster).await[0].to_string();
        Self { network, listener, door }
    }

    /// Opens a connection; returns the client's end and the server's end.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(&self.door).await.unwrap();
        (client, self.listener.accept().await.unwrap().0)
    }
}

/// Measures how long `bytes` bytes take.
async fn time(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) -> Duration {
    let begun = Instant::now();
    let (sent, mut received) = (vec![1; bytes], vec![0; bytes]);
    let (written, read) = tokio::join!(from.write_all(&sent), to.read_exact(&mut received));
    written.unwrap();
    read.unwrap();
    begun.elapsed()
}

async fn arrives(stream: &mut TcpStream) -> bool {
    timeout(MOMENT, stream.read_exact(&mut [0])).await.is_ok_and(|read| read.is_ok())
}

/// Whether the connection ends soon, by a shutdown or an error.
async fn ends(stream: &mut TcpStream) -> bool {
    let read = timeout(MOMENT, stream.read(&mut [0])).await;
    read.is_ok_and(|read| read.is_err() || read.is_ok_and(|bytes| bytes == 0))
}

/// Guards that links have their bandwidth within 20%, also after it changes during a connection.
/// The best time counts, because a busy machine may take longer now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_keep_their_bandwidth() {
    let played = Played::new(Quality::new(2.0, Duration::ZERO)).await;
    let (mut client, mut server) = played.connect().await;
    for mbit in [2.0, 8.0, 4.0] {
        played.network.change(CLIENTS, 1, |now| now.mbit = mbit);
        let should = 250_000.0 * 8.0 / (mbit * 1e6);
        let mut best = f64::INFINITY;
        for _ in 0..10 {
            let took = time(&mut client, &mut server, 250_000).await.as_secs_f64();
            assert!(took > 0.9 * should, "{mbit} Mbit/s: {took} s instead of {should}");
            best = best.min(took);
            if best < 1.2 * should {
                break;
            }
        }
        assert!(best < 1.2 * should, "{mbit} Mbit/s: {best} s instead of {should}");
    }
}

/// Guards that all connections on a link share its bandwidth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_share_a_link() {
    let played = Played::new(Quality::new(16.0, Duration::ZERO)).await;
    let (mut one, mut other) = (played.connect().await, played.connect().await);
    let begun = Instant::now();
    tokio::join!(time(&mut one.0, &mut one.1, 500_000), time(&mut other.0, &mut other.1, 500_000));
    assert!(begun.elapsed() > 450 * MS, "a megabyte took {:?} at 16 Mbit/s", begun.elapsed());
}

/// Guards that each direction has its own delay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_keep_their_delay() {
    let played = Played::new(Quality::new(100.0, 30 * MS)).await;
    played.network.change(1, CLIENTS, |now| now.delay = 70 * MS);
    let (mut client, mut server) = played.connect().await;
    let (mut there, mut back) = (PATIENCE, PATIENCE);
    for _ in 0..10 {
        there = there.min(time(&mut client, &mut server, 1).await);
        back = back.min(time(&mut server, &mut client, 1).await);
    }
    assert!((30 * MS..40 * MS).contains(&there), "{there:?}");
    assert!((70 * MS..80 * MS).contains(&back), "{back:?}");
}

/// Guards that a silent direction delivers nothing and reports nothing, not even an end. The other
/// direction works. What was sent arrives once the silence ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_keeps_both_ends_open() {
    let played = Played::new(Quality::new(100.0, Duration::ZERO)).await;
    let (mut client, mut server) = played.connect().await;
    time(&mut client, &mut server, 10).await;
    played.network.change(CLIENTS, 1, |now| now.silent = true);
    client.write_all(&[1; 1000]).await.unwrap();
    assert!(!arrives(&mut server).await);
    server.write_all(&[1]).await.unwrap();
    assert!(arrives(&mut client).await, "the other way is open");
    client.shutdown().await.unwrap();
    assert!(!ends(&mut server).await, "it is told of the end");
    assert!(server.write_all(&[1]).await.is_ok());
    played.network.change(CLIENTS, 1, |now| now.silent = false);
    let mut received = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut received)).await.expect("it arrives").unwrap();
    assert_eq!(received.len(), 1000);
}

/// Guards that forgotten connections carry nothing and stay open, and that new connections work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_connections_stay_open() {
    let played = Played::new(Quality::new(100.0, Duration::ZERO)).await;
    let (mut client, mut server) = played.connect().await;
    time(&mut client, &mut server, 10).await;
    played.network.forget_connections();
    for _ in 0..3 {
        client.write_all(&[1]).await.unwrap();
        server.write_all(&[1]).await.unwrap();
        assert!(!arrives(&mut client).await && !arrives(&mut server).await);
    }
    let (mut client, mut server) = played.connect().await;
    time(&mut client, &mut server, 10).await;
}

/// Guards that in half-open connections the server's end closes and the client can still send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_end_at_one_side() {
    let played = Played::new(Quality::new(100.0, Duration::ZERO)).await;
    let (mut client, mut server) = played.connect().await;
    time(&mut client, &mut server, 10).await;
    played.network.half_open(CLIENTS, 1);
    assert!(ends(&mut server).await);
    for _ in 0..3 {
        client.write_all(&[1]).await.unwrap();
        assert!(!ends(&mut client).await, "it is told of the end");
    }
}
