//! Client connections under silent clients that hold them.

use std::io::ErrorKind;

use api::address::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::{CALM, Cluster, PATIENCE, eventually};
use crate::http::{send, try_send};

async fn alone(arguments: &[&str]) -> Cluster {
    let cluster = Cluster::start_with(1, &[&CALM, arguments].concat());
    cluster.leader().await;
    cluster
}

/// Opens `count` connections and sends this on each.
async fn hold(server: &Address, count: usize, words: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
        // The server may reject or cut the connection.
        drop(stream.write_all(words.as_bytes()).await);
        held.push(stream);
    }
    held
}

/// Whether the server has answered or closed a connection.
fn is_cut(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Guards health checks against strangers that use up all connections: the checks succeed, and
/// other clients are served.
#[tokio::test]
async fn strangers_with_all_places_keep_nobody_from_seeing_health() {
    let cluster = alone(&["--max-connections=50", "--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    for words in [
        "",
        "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half: ",
        "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "PUT /kv/a HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\nhalf",
        "GET /watch HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "\x16\x03\x01",
    ] {
        for count in [60, 200] {
            let held = hold(&server, count, words).await;
            for path in ["/livez", "/readyz", "/metrics"] {
                for _ in 0..5 {
                    let answer = send("GET", &server, path, &[], "").await;
                    assert_eq!(answer.status, 200, "{count} times {words:?}: {path}");
                }
            }
            if !words.starts_with("PUT") && !words.contains("/watch") {
                // Waiting connections give way after a moment.
                eventually("somebody else is served", async || {
                    let answer = try_send("PUT", &server, "/kv/b", &[], "1".into()).await.ok()?;
                    (answer.status == 200).then_some(())
                })
                .await;
            }
            drop(held);
            eventually("the places are free", async || {
                let answer = try_send("GET", &server, "/metrics", &[], "".into()).await.ok()?;
                let text = String::from_utf8(answer.body.to_vec()).unwrap();
                text.contains("\nhttp_connections 1\n").then_some(())
            })
            .await;
        }
    }
}

/// Guards active clients: a connection that is served, or sends a request now and then, does not
/// give way.
#[tokio::test]
async fn who_is_served_keeps_the_place() {
    let cluster = alone(&["--max-connections=50", "--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    let watching = "GET /watch?prefix=a HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let mut watchers = hold(&server, 40, watching).await;
    for watcher in &mut watchers {
        let mut answer = [0; 12];
        let reading = timeout(PATIENCE, watcher.read_exact(&mut answer)).await;
        reading.expect("an answer").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    let strangers = hold(&server, 100, "").await;
    // Each keeps its place for a second, and then gives way to a new connection.
    let mut more = Vec::new();
    eventually("the strangers give way", async || {
        more.extend(hold(&server, 10, "").await);
        strangers.iter().all(is_cut).then_some(())
    })
    .await;
    eventually("somebody else is served", async || {
        let answer = try_send("PUT", &server, "/kv/a", &[], "seen".into()).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    for watcher in &mut watchers {
        let (mut text, mut bytes) = (String::new(), vec![0; 4096]);
        while !text.contains("seen") {
            let read = timeout(PATIENCE, watcher.read(&mut bytes)).await.expect("it goes on");
            let read = read.unwrap();
            assert!(read > 0, "it was cut: {text}");
            text += std::str::from_utf8(&bytes[..read]).unwrap();
        }
    }
    drop((strangers, more));
}

/// Guards the memory for requests against bodies that do not arrive: only received bytes count, and
/// GET and DELETE wait for no body.
#[tokio::test]
async fn bodies_that_do_not_come_take_no_room() {
    let cluster = alone(&["--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    let chunked = "host: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    let announced = "host: 127.0.0.1\r\ncontent-length: 2000000\r\n\r\nx";
    for words in [
        format!("GET /cluster/members HTTP/1.1\r\n{chunked}"),
        format!("DELETE /kv/a HTTP/1.1\r\n{chunked}"),
        format!("PUT /kv/a HTTP/1.1\r\n{chunked}"),
        format!("PUT /kv/a HTTP/1.1\r\n{announced}"),
    ] {
        let mut held = hold(&server, 100, &words).await;
        for _ in 0..10 {
            let answer = send("PUT", &server, "/kv/b", &[], vec![b'v'; 1 << 20]).await;
            assert_eq!(answer.status, 200, "{words}");
        }
        if !words.starts_with("PUT") {
            let mut answer = [0; 12];
            for stream in &mut held {
                let reading = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
                reading.expect("an answer").unwrap();
                assert_eq!(&answer, b"HTTP/1.1 400", "{words}");
            }
        }
    }
}

/// Guards the bound on trace subscribers, which also holds for simultaneous requests. Subscribers
/// count as connections.
#[tokio::test]
async fn a_burst_of_trace_watchers_is_bounded() {
    let cluster = alone(&[]).await;
    let server = cluster.address(1);
    let asking = "GET /trace HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut held = hold(&server, 100, asking).await;
    let mut watching = 0;
    for stream in &mut held {
        let mut answer = [0; 12];
        let reading = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
        reading.expect("an answer").unwrap();
        watching += usize::from(&answer == b"HTTP/1.1 101");
        assert!(matches!(&answer, b"HTTP/1.1 101" | b"HTTP/1.1 429"), "{answer:?}");
    }
    assert_eq!(watching, 64);
    let answer = send("GET", &server, "/metrics", &[], "").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|it| it.strip_prefix("http_connections "));
    let open: usize = line.unwrap().parse().unwrap();
    assert!(open > 64, "{open} connections with 64 who watch");
    drop(held);
    eventually("there is room again", async || {
        let mut stream = hold(&server, 1, asking).await.remove(0);
        let mut answer = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").ok()?;
        (&answer == b"HTTP/1.1 101").then_some(())
    })
    .await;
}

/// Guards connections when the system has no more file descriptors: the server waits and continues.
#[tokio::test]
async fn refused_accepts_are_waited_out() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let cluster = alone(&["--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    let process = rustix::process::Pid::from_raw(i32::try_from(cluster.pid(1)).unwrap());
    let open = std::fs::read_dir(format!("/proc/{}/fd", cluster.pid(1))).unwrap().count() as u64;
    let limit = Rlimit { current: Some(open + 4), maximum: Some(1024) };
    let before = prlimit(process, Resource::Nofile, limit).unwrap();
    let held = hold(&server, 50, "").await;
    eventually("it is told", async || {
        let log = std::fs::read_to_string(cluster.log(1)).unwrap();
        log.contains("cannot accept clients' connections").then_some(())
    })
    .await;
    drop(held);
    prlimit(
        process,
        Resource::Nofile,
        Rlimit {
            current: before.current.or(Some(1024)).map(|it| it.min(1024)),
            maximum: Some(1024),
        },
    )
    .unwrap();
    eventually("it accepts again, and has counted", async || {
        let answer = try_send("GET", &server, "/metrics", &[], "".into()).await.ok()?;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        text.contains("http_connections_refused_total{reason=\"accept\"}").then_some(())
    })
    .await;
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert_eq!(log.matches("cannot accept clients' connections").count(), 1, "one line is enough");
}
