//! The port for clients, tried by invalid requests, slow clients, and many connections.

use std::time::{Duration, Instant};

use api::address::Address;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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

/// Sends bytes and reads until the connection ends.
async fn raw(server: &Address, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
    // The server may close the connection before all is written.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    let reading = timeout(PATIENCE, stream.read_to_end(&mut answer));
    // Unread request bytes reset the connection; an answer received before counts.
    drop(reading.await.expect("the connection ends"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

/// Guards against ambiguous requests (request smuggling) and lines that are not HTTP: a request has
/// one meaning or is refused. Its body never becomes a second request.
#[tokio::test]
async fn ambiguous_requests_have_one_meaning_or_none() {
    let cluster = alone(&["--client-read-timeout=2s"]).await;
    let server = cluster.address(1);
    let smuggled = "PUT /kv/smuggled HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1\r\n\r\nx";
    let put = |headers: &str, body: &str| {
        format!("PUT /kv/a HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n{body}")
    };
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n")
    };
    let long = "a".repeat(100_000);
    let many: String = vec!["x-many: 1\r\n"; 200].concat();
    for (what, request, status) in [
        ("two lengths", put("content-length: 1\r\ncontent-length: 60\r\n", smuggled), "400"),
        ("a list of lengths", put("content-length: 1, 60\r\n", smuggled), "400"),
        ("a signed length", put("content-length: +1\r\n", "1"), "400"),
        ("a negative length", put("content-length: -1\r\n", "1"), "400"),
        ("a huge length", put("content-length: 99999999999999999999\r\n", "1"), "400"),
        ("chunked is not last", put("transfer-encoding: chunked, gzip\r\n", smuggled), "400"),
        ("an odd coding", put("transfer-encoding: xchunked\r\n", smuggled), "400"),
        (
            "a chunk of no size",
            put("transfer-encoding: chunked\r\n", "zz\r\nabc\r\n0\r\n\r\n"),
            "400",
        ),
        ("a space before the colon", put("content-length : 1\r\n", "1"), "400"),
        ("a NUL in a header", get("/kv/a", "x-odd: a\0b\r\n"), "400"),
        ("a NUL in the path", get("/kv/\0", ""), "400"),
        ("a folded header", get("/kv/a", "x-odd: a\r\n b\r\n"), "400"),
        ("a bare newline in a header", get("/kv/a", "x-odd: a\rb\r\n"), "400"),
        ("a header of 100 kB", get("/kv/a", &format!("x-long: {long}\r\n")), "431"),
        // The path exceeds the limit on header bytes, so the server stops reading it.
        ("a path of 100 kB", get(&format!("/kv/{long}"), ""), "431"),
        ("two hundred headers", get("/kv/a", &many), "431"),
        ("no version", "GET /kv/a\r\n\r\n".to_owned(), "400"),
        ("an odd version", "GET /kv/a HTTP/3.0\r\n\r\n".to_owned(), "400"),
        ("seventy headers", get("/kv/a", &"x-many: 1\r\n".repeat(70)), "431"),
        ("two Hosts", get("/kv/a", "host: 127.0.0.1\r\n"), "400"),
        ("no Host", "GET /kv/a HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (
            "another host",
            "GET http://evil.example/kv/a HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "a body in an unknown coding",
            put("transfer-encoding: gzip, chunked\r\n", smuggled),
            "501",
        ),
        ("no HTTP at all", "\x16\x03\x01\x02\x00\x01".to_owned(), "400"),
    ] {
        let answer = raw(&server, request.as_bytes()).await;
        let statuses = statuses(&answer);
        let first = *statuses.first().unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(first, status, "{what}: {answer}");
        let refused = |it: &&str| it.starts_with('4') || it.starts_with('5');
        assert!(statuses.iter().all(refused), "{what}: {answer}");
    }
    // The HTTP/2 preface is not a request: the server closes the connection.
    assert_eq!(raw(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
    // With both, only the chunks count (RFC 9112 §6.3): the length would end in the middle.
    let both = "content-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n";
    let answer = raw(&server, put(both, "3\r\nabc\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    assert_eq!(send("GET", &server, "/kv/a", &[], "").await.body, "abc");
    assert_eq!(send("GET", &server, "/kv/smuggled", &[], "").await.status, 404);
}

/// Guards pipelined requests: each is answered at once, whatever bytes follow it.
#[tokio::test]
async fn each_request_is_answered_at_once() {
    let cluster = alone(&["--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    let put = "PUT /kv/a HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1\r\n\r\n1";
    let half = "GET /kv/a HTTP/1.1\r\nhost: ";
    for (what, between, count) in [
        ("a line", "\r\n", 1),
        ("three lines", "\r\n\r\n\r\n", 1),
        ("a bare newline", "\n", 1),
        ("half a request", half, 1),
        ("another one and a line", &format!("{put}\r\n"), 2),
    ] {
        let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
        stream.write_all(format!("{put}{between}").as_bytes()).await.unwrap();
        let (mut text, mut bytes) = (String::new(), [0; 1024]);
        while statuses(&text).len() < count {
            let read = timeout(PATIENCE, stream.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("{what}: no answer")).unwrap();
            assert!(read > 0, "{what}: it ends after {text}");
            text += std::str::from_utf8(&bytes[..read]).unwrap();
        }
        assert_eq!(statuses(&text), vec!["200"; count], "{what}");
    }
}

/// Guards the reason why a body is refused: it always arrives, whatever the client still sends.
#[tokio::test]
async fn who_is_refused_early_hears_why() {
    let cluster = alone(&["--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    let host = "host: 127.0.0.1\r\n";
    let with = |start: &str, header: &str, length: usize| {
        let head = format!("{start} HTTP/1.1\r\n{host}{header}content-length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'v'; length]].concat()
    };
    let whole = |start: &str, length: usize| with(start, "", length);
    let mut chunked = format!("PUT /kv/a HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n");
    chunked += &["10000\r\n", &"v".repeat(0x10000), "\r\n"].concat().repeat(160);
    chunked += "0\r\n\r\n";
    for (request, status) in [
        (chunked.into_bytes(), "413"),
        (whole("PUT /kv/a", 8 << 20), "413"),
        (whole("PUT /set", 2 << 20), "405"),
        (whole("PUT /nowhere", 2 << 20), "404"),
        (whole("GET /kv/a", 2 << 20), "400"),
        (with("PUT /kv/a", "origin: http://evil.example\r\n", 2 << 20), "403"),
        (with("PUT /kv/a", "content-encoding: gzip\r\n", 2 << 20), "415"),
        (with("PUT /kv/a", "expect: 200-ok\r\n", 2 << 20), "417"),
    ] {
        for round in 0..30 {
            let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
            let sent = timeout(PATIENCE, stream.write_all(&request)).await.expect("room");
            sent.unwrap_or_else(|error| panic!("{status}, round {round}: {error}"));
            let mut answer = [0; 12];
            let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer");
            read.unwrap_or_else(|error| panic!("{status}, round {round}: {error}"));
            assert_eq!(std::str::from_utf8(&answer[9..]).unwrap(), status, "round {round}");
        }
    }
}

/// Guards paths: any bytes form a key, and a key is never read as another route.
#[tokio::test]
async fn odd_paths_are_keys_or_refused() {
    let cluster = alone(&[]).await;
    let server = cluster.address(1);
    let request = |method: &str, path: &[u8], body: &str| {
        let head = format!(
            " HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        [method.as_bytes(), b" ", path, head.as_bytes()].concat()
    };
    for (path, status) in [
        (&b"/kv/%ff%fe-not-text"[..], "200"),
        (b"/kv/\xc3\x28", "200"),
        (b"/kv/%c3%28", "200"),
        (b"/kv/..%2f..%2fetc%2fpasswd", "200"),
        (b"/kv/../../cluster/leader", "200"),
        (b"/kv//", "200"),
        (b"/kv/%", "400"),
        (b"/kv/%0", "400"),
        (b"/kv/%00", "200"),
        (b"/kv/a%2500", "200"),
        (b"/kv/", "400"),
        (b"//kv/a", "404"),
        (b"/kv/a/../../../etc/passwd", "200"),
    ] {
        let shown = String::from_utf8_lossy(path).into_owned();
        let answer = raw(&server, &request("PUT", path, "v")).await;
        let first = statuses(&answer).first().copied().unwrap_or("none");
        let refused = !path.is_ascii() && matches!(first, "400" | "none");
        assert!(first == status || refused, "{shown}: {answer}");
        if first == "200" {
            let answer = raw(&server, &request("GET", path, "")).await;
            assert!(answer.ends_with("\r\n\r\nv"), "{shown}: {answer}");
            assert!(answer.contains("x-content-type-options: nosniff"), "{shown}: {answer}");
        }
    }
    assert_eq!(send("PUT", &server, "/kv/%ff%ff1", &[], "v").await.status, 400, "reserved");
    let list = send("GET", &server, "/kv?start=&limit=100", &[], "").await;
    assert!(list.status == 200 && list.header("x-content-type-options") == "nosniff");
}

async fn open_connections(server: &Address) -> u64 {
    let answer = send("GET", server, "/metrics", &[], "").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|it| it.strip_prefix("http_connections "));
    line.unwrap().parse().unwrap()
}

/// Guards connections: a client that sends a header or body byte by byte is cut.
#[tokio::test]
async fn those_who_trickle_are_cut() {
    let cluster = alone(&["--client-read-timeout=400ms"]).await;
    let server = cluster.address(1);
    let trickle = async |start: &str| {
        let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let begun = Instant::now();
        while stream.write_all(b"a").await.is_ok() {
            assert!(begun.elapsed() < PATIENCE, "it is never cut: {start}");
            let end = timeout(Duration::from_millis(50), stream.read(&mut [0; 1024])).await;
            if matches!(end, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
    };
    trickle("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ").await;
    trickle("PUT /kv/a HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n").await;
    trickle("GE").await;
    eventually("their places are free", async || {
        (open_connections(&server).await == 1).then_some(())
    })
    .await;
}

/// Guards memory: a client that requests much and reads nothing is cut.
#[tokio::test]
async fn those_who_do_not_read_are_cut() {
    let cluster = alone(&["--client-write-timeout=300ms", "--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    send("PUT", &server, "/kv/big", &[], vec![b'v'; 1 << 20]).await;
    let mut lazy = TcpStream::connect(server.to_string()).await.unwrap();
    let asking = "GET /kv/big HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".repeat(100);
    lazy.write_all(asking.as_bytes()).await.unwrap();
    // The answers exceed the system's buffers.
    eventually("it is cut", async || (open_connections(&server).await == 1).then_some(())).await;
    // A client that reads slowly gets everything.
    let mut slow = TcpStream::connect(server.to_string()).await.unwrap();
    let asking = "GET /kv/big HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    slow.write_all(asking.as_bytes()).await.unwrap();
    let (mut taken, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let count = slow.read(&mut buffer).await.unwrap();
        taken += count;
        if count == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(taken > 1 << 20, "{taken}");
}

/// Guards watchers and writers against the maximum of reads that wait for a distant revision. The
/// next such read is rejected, and all are answered when the revision arrives.
#[tokio::test]
async fn reads_that_wait_for_a_revision_keep_nobody_from_watching() {
    const WAITING: usize = 1024;
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, all).unwrap();
    let cluster = alone(&["--request-timeout=120s", "--client-read-timeout=120s"]).await;
    let server = cluster.address(1);
    let put = send("PUT", &server, "/kv/a", &[], "1").await;
    let revision: u64 = put.header("x-raft-revision").parse().unwrap();
    let wanted = revision + 2;
    let asking = format!("GET /kv/a?min_revision={wanted} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    let mut waiting = Vec::with_capacity(WAITING);
    for _ in 0..WAITING {
        let mut stream = TcpStream::connect(server.to_string()).await.unwrap();
        stream.write_all(asking.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    // The next read is rejected once all of them wait.
    eventually("there is no room for another one", async || {
        let path = format!("/kv/a?min_revision={wanted}");
        let asked = timeout(Duration::from_millis(500), send("GET", &server, &path, &[], ""));
        let answer = asked.await.ok()?;
        Some(answer.assert_problem(429, "overloaded"))
    })
    .await;
    let mut watch = TcpStream::connect(server.to_string()).await.unwrap();
    watch.write_all(b"GET /watch HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, watch.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    for _ in 0..2 {
        assert_eq!(send("PUT", &server, "/kv/a", &[], "2").await.status, 200);
    }
    for stream in &mut waiting {
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

/// Guards a server whose connection limit is reached by silent connections: earlier clients are
/// served at once, and silent connections give way to new clients.
#[tokio::test]
async fn a_thousand_idle_connections_disturb_nobody() {
    const MANY: usize = 1000;
    // This process holds the other end of each connection.
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, all).unwrap();
    // One more than the silent connections, for the early connection.
    let most = format!("--max-connections={}", MANY + 1);
    let cluster = alone(&[&most, "--client-read-timeout=60s"]).await;
    let server = cluster.address(1);
    let ask = async |stream: &mut TcpStream| {
        let asking = b"PUT /kv/a HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1\r\n\r\n1";
        stream.write_all(asking).await.unwrap();
        let mut answer = [0; 1024];
        let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer").unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    eventually("the harness has gone", async || {
        (open_connections(&server).await == 1).then_some(())
    })
    .await;
    let mut early = TcpStream::connect(server.to_string()).await.unwrap();
    assert_eq!(statuses(&ask(&mut early).await), ["200"]);
    eventually("the one that asked has gone", async || {
        (open_connections(&server).await == 2).then_some(())
    })
    .await;
    let mut idle = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        idle.push(TcpStream::connect(server.to_string()).await.unwrap());
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(statuses(&ask(&mut early).await), ["200"]);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    // A moment later the silent connections give way.
    let path = "/kv/late";
    eventually("somebody else is served", async || {
        let answer = try_send("PUT", &server, path, &[], "1".into()).await.ok()?;
        if answer.status != 200 {
            answer.assert_problem(503, "too_many_connections");
            return None;
        }
        Some(())
    })
    .await;
    drop(idle);
    eventually("there is room again", async || {
        let answer = try_send("GET", &server, "/metrics", &[], "".into()).await.ok()?;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let refused = "http_connections_refused_total{reason=\"limit\"}";
        (answer.status == 200 && text.contains(refused)).then_some(())
    })
    .await;
}
