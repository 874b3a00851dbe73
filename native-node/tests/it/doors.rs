//! The port for peers, tried by connections that must be refused.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use native_node::descriptors::MAX_HALF_OPEN;
use native_node::transport::frame;
use native_node::transport::handshake::{
    Answer, Challenge, Hello, Lane, LeaseTerms, Nonce, Secret, Side, Verdict, Version, nonce,
};
use raft_core::codec;
use raft_core::message::{Body, Message};
use raft_core::types::{LogPosition, NodeId, Term};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::http::{send, try_send};

pub(crate) const SECRET: &[u8] = b"a secret of the test's servers";

/// The stream under a WebSocket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Server 1 of a cluster in which the test acts as server 2.
pub(crate) async fn one_of_two(arguments: &[&str]) -> Cluster {
    let mut cluster = Cluster::prepare(2, arguments);
    cluster.spawn(1);
    eventually("server 1 serves", async || cluster.status(1).await).await;
    cluster
}

pub(crate) fn hello() -> Hello {
    let (from, to, lane) = (NodeId(2), NodeId(1), Lane::Log);
    let address = "127.0.0.1:9".parse().unwrap();
    let (cluster_id, nonce) = ("test".to_owned(), nonce());
    let version = Version::NEWEST;
    let (lease, storage, let_in, founded) = (None, None, 0, None);
    Hello { version, cluster_id, from, to, lane, nonce, address, lease, storage, let_in, founded }
}

pub(crate) async fn connect(cluster: &Cluster) -> WebSocketStream<TcpStream> {
    let address = cluster.peer_address(1).to_string();
    let stream = TcpStream::connect(&address).await.unwrap();
    client_async(format!("ws://{address}/raft"), stream).await.unwrap().0
}

pub(crate) async fn next<S: Stream>(socket: &mut WebSocketStream<S>) -> Option<Frame> {
    timeout(PATIENCE, socket.next()).await.expect("something happens")?.ok()
}

pub(crate) async fn word<S: Stream, T: DeserializeOwned>(socket: &mut WebSocketStream<S>) -> T {
    let frame = next(socket).await.expect("an answer");
    codec::decode(&frame.into_data()).unwrap()
}

/// Sends a hello; returns the nonce or the refusal's code.
pub(crate) async fn challenged<S: Stream>(
    socket: &mut WebSocketStream<S>,
    hello: Vec<u8>,
) -> Result<Nonce, String> {
    socket.send(Frame::binary(hello)).await.unwrap();
    match word(socket).await {
        Challenge::Prove { nonce, .. } => Ok(nonce),
        Challenge::Refused(refusal) => Err(refusal.code().to_owned()),
    }
}

/// Completes the handshake correctly.
pub(crate) async fn welcomed(cluster: &Cluster, secret: &Secret) -> WebSocketStream<TcpStream> {
    welcomed_as(hello(), cluster, secret).await
}

/// Like [`welcomed`], on a lane.
async fn welcomed_on(lane: Lane, cluster: &Cluster, secret: &Secret) -> WebSocketStream<TcpStream> {
    welcomed_as(Hello { lane, ..hello() }, cluster, secret).await
}

/// Like [`welcomed`], with another hello.
pub(crate) async fn welcomed_as(
    hello: Hello,
    cluster: &Cluster,
    secret: &Secret,
) -> WebSocketStream<TcpStream> {
    let (socket, verdict) = judged(&hello, cluster, secret).await;
    assert_eq!(verdict, Verdict::Welcome);
    socket
}

/// Completes the handshake; returns the server's verdict.
async fn judged(
    hello: &Hello,
    cluster: &Cluster,
    secret: &Secret,
) -> (WebSocketStream<TcpStream>, Verdict) {
    let mut socket = connect(cluster).await;
    let theirs = challenged(&mut socket, hello.encode()).await.unwrap();
    let proof = secret.prove(Side::Dialer, hello, &theirs);
    socket.send(Frame::binary(codec::encode(&Answer { proof }))).await.unwrap();
    let verdict = word(&mut socket).await;
    (socket, verdict)
}

/// Number of connections refused for this reason.
async fn refused(cluster: &Cluster, reason: &str) -> u64 {
    metric(cluster, &refusals(reason)).await
}

/// Name of the counter of connections refused for this reason.
fn refusals(reason: &str) -> String {
    format!("raft_peer_refused_total{{reason=\"{reason}\"}}")
}

/// A counter of server 1.
async fn metric(cluster: &Cluster, name: &str) -> u64 {
    try_metric(cluster, name).await.unwrap()
}

/// Like [`metric`], from a server that may not answer.
async fn try_metric(
    cluster: &Cluster,
    name: &str,
) -> Result<u64, hyper_util::client::legacy::Error> {
    let answer = try_send("GET", &cluster.address(1), "/metrics", &[], Bytes::new()).await?;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.map_or(0, |count| count.parse().unwrap()))
}

/// Waits until a connection is refused for this reason.
pub(crate) async fn counted(cluster: &Cluster, reason: &str) {
    eventually("it is counted", async || {
        // A server under a flood may close a connection before it has read the request.
        let count = try_metric(cluster, &refusals(reason)).await.ok()?;
        (count > 0).then_some(())
    })
    .await;
}

/// Guards against servers that do not belong to the cluster: each gets a reason, and is counted.
#[tokio::test]
async fn servers_that_do_not_belong_are_refused() {
    let cluster = one_of_two(&[]).await;
    let other = |change: fn(&mut Hello)| {
        let mut hello = hello();
        change(&mut hello);
        hello.encode()
    };
    let numbered = |protocol: u16, format: u16| {
        let mut bytes = hello().encode();
        bytes[4..6].copy_from_slice(&protocol.to_le_bytes());
        bytes[6..8].copy_from_slice(&format.to_le_bytes());
        bytes
    };
    for (hello, reason) in [
        (other(|it| it.cluster_id = "other".to_owned()), "cluster"),
        (other(|it| it.to = NodeId(3)), "wrong_server"),
        (other(|it| it.from = NodeId(1)), "same_number"),
        (other(|it| it.from = NodeId(0)), "same_number"),
        (
            other(|it| {
                let (election_timeout_min, max_clock_drift_permille) = (150_000, 100);
                it.lease = Some(LeaseTerms { election_timeout_min, max_clock_drift_permille });
            }),
            "lease",
        ),
        (numbered(2, 2), "version"),
        (numbered(5, 2), "version"),
        (numbered(3, 1), "version"),
        (numbered(3, 3), "version"),
        (numbered(4, 3), "version"),
        (numbered(0, 0), "version"),
        (other(|it| (it.version, it.lane) = (Version::V3, Lane::Control)), "garbage"),
        (b"GLSR and then nonsense".to_vec(), "version"),
        (b"\x00\x01\x02".to_vec(), "garbage"),
    ] {
        let mut socket = connect(&cluster).await;
        let answer = challenged(&mut socket, hello).await;
        assert_eq!(answer.expect_err("refused"), reason);
        counted(&cluster, reason).await;
        assert!(!matches!(next(&mut socket).await, Some(Frame::Binary(_))), "the door is shut");
    }
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(log.contains("refused a connection"), "{log}");
    // A valid server is still accepted.
    welcomed(&cluster, &Secret::new(None)).await;
}

/// Guards against programs that do not speak the protocol.
#[tokio::test]
async fn other_programs_are_refused() {
    let cluster = one_of_two(&[]).await;
    let address = cluster.peer_address(1).to_string();
    for nonsense in
        [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", &vec![b'a'; 70_000]]
    {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // The server may close the connection before all is written.
        drop(stream.write_all(nonsense).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        drop(read.expect("the connection ends"));
    }
    counted(&cluster, "garbage").await;
}

/// Sends a peer's request, with these headers added or replaced, and returns the answer.
async fn asks(cluster: &Cluster, line: &str, headers: &[(&str, &str)]) -> String {
    let address = cluster.peer_address(1).to_string();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let usual = [
        ("Host", address.as_str()),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let replaced = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut request = format!("{line}\r\n");
    for (name, value) in usual.iter().filter(|(name, _)| !replaced(name)).chain(headers) {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    // An accepted connection stays open without further data.
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read(&mut part)).await.expect("an answer or an end") {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend(&part[..read]),
        }
    }
    String::from_utf8(answer).unwrap()
}

/// Guards servers without a secret against web pages in a local browser, and all servers against
/// clients of other services.
#[tokio::test]
async fn only_servers_open_a_web_socket() {
    let cluster = one_of_two(&[]).await;
    let own = cluster.peer_address(1).to_string();
    let (port, line) = (cluster.peer_address(1).port(), "GET /raft HTTP/1.1");
    for host in [own.clone(), format!("localhost:{port}"), format!("[::1]:{port}")] {
        let answer = asks(&cluster, line, &[("Host", &host)]).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{host}: {answer}");
    }
    let evil = format!("evil.example:{port}");
    let own_origin = format!("http://{own}");
    for (line, headers, reason) in [
        (line, &[("Origin", "https://evil.example")][..], "origin"),
        (line, &[("Origin", &own_origin)], "origin"),
        (line, &[("Origin", "null")], "origin"),
        (line, &[("Origin", "")], "origin"),
        (line, &[("Sec-Fetch-Site", "cross-site")], "origin"),
        (line, &[("Host", &evil)], "request"),
        (line, &[("Host", &evil), ("Origin", "http://evil.example")], "origin"),
        (line, &[("Host", &own), ("Host", &evil)], "request"),
        (line, &[("Host", "")], "request"),
        (line, &[("Sec-WebSocket-Protocol", "glassraft.trace")], "request"),
        ("GET / HTTP/1.1", &[], "request"),
        ("GET /trace HTTP/1.1", &[], "request"),
        ("GET /raft?x HTTP/1.1", &[], "request"),
        ("GET ws://127.0.0.1/raft HTTP/1.1", &[], "request"),
    ] {
        let seen = refused(&cluster, reason).await;
        let answer = asks(&cluster, line, headers).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{line} {headers:?}: {answer}");
        eventually("it is counted", async || {
            (refused(&cluster, reason).await == seen + 1).then_some(())
        })
        .await;
    }
    for (line, headers) in [
        ("POST /raft HTTP/1.1", &[][..]),
        ("PUT /raft HTTP/1.1", &[]),
        ("OPTIONS /raft HTTP/1.1", &[("Origin", "https://evil.example")]),
        ("GET /raft HTTP/1.0", &[]),
        (line, &[("Upgrade", "h2c")]),
        (line, &[("Sec-WebSocket-Version", "8")]),
    ] {
        let seen = refused(&cluster, "garbage").await;
        let answer = asks(&cluster, line, headers).await;
        assert!(!answer.starts_with("HTTP/1.1 101"), "{line} {headers:?}: {answer}");
        eventually("it is counted", async || {
            (refused(&cluster, "garbage").await > seen).then_some(())
        })
        .await;
    }
    welcomed(&cluster, &Secret::new(None)).await;
}

/// Guards against silent connections: they are cut, and other connections always find room.
#[tokio::test]
async fn silent_connections_are_cut() {
    let cluster = one_of_two(&[]).await;
    let address = cluster.peer_address(1).to_string();
    let mut silent = Vec::new();
    for _ in 0..2 * MAX_HALF_OPEN {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    welcomed(&cluster, &Secret::new(None)).await;
    counted(&cluster, "busy").await;
    counted(&cluster, "slow").await;
    for mut silent in silent {
        let end = timeout(PATIENCE, silent.read(&mut [0])).await.expect("it is cut");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// Guards a cluster against silent connections to all its servers that are reopened when cut:
/// restarted servers still connect to each other.
#[tokio::test]
async fn silent_connections_do_not_keep_servers_apart() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let mut attack = JoinSet::new();
    for id in cluster.ids() {
        for _ in 0..80 {
            let address = cluster.peer_address(id).to_string();
            attack.spawn(async move {
                loop {
                    if let Ok(mut stream) = TcpStream::connect(&address).await {
                        drop(stream.read(&mut [0]).await);
                    } else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            });
        }
    }
    for id in cluster.ids().filter(|id| *id != leader) {
        cluster.kill(id);
        cluster.spawn(id);
    }
    // A commit needs a follower.
    eventually("a write goes through", async || {
        cluster.any_client().put(b"k", Bytes::from_static(b"1")).await.ok()
    })
    .await;
    cluster.converged().await;
    for id in cluster.ids() {
        eventually("all are connected", async || {
            let status = cluster.status(id).await?;
            status.peers.iter().all(|peer| peer.connected).then_some(())
        })
        .await;
    }
}

/// Guards timers against delayed messages: a vote request sent ten seconds ago is dropped, and one
/// sent now is processed.
#[tokio::test]
async fn what_comes_too_late_is_not_heard() {
    let cluster = one_of_two(&[]).await;
    let mut socket = welcomed_on(Lane::Control, &cluster, &Secret::new(None)).await;
    let start = std::time::Instant::now();
    let ask = |term| Message {
        from: NodeId(2),
        to: NodeId(1),
        seq: term,
        term: Term(term),
        body: Body::RequestVote { last_log: LogPosition::ZERO, transfer: false },
    };
    let sent_at = |seconds_ago: u64| {
        // The sender's clock started a minute earlier.
        let stamp = Duration::from_secs(60 - seconds_ago) + start.elapsed();
        let stamp = u64::try_from(stamp.as_micros()).unwrap().to_le_bytes();
        Frame::Pong(Bytes::copy_from_slice(&stamp))
    };
    socket.send(sent_at(0)).await.unwrap();
    socket.send(sent_at(10)).await.unwrap();
    socket.send(Frame::Binary(frame::encode(&[ask(200)]))).await.unwrap();
    eventually("it is counted", async || {
        (metric(&cluster, "raft_peer_stale_messages_total").await == 1).then_some(())
    })
    .await;
    socket.send(sent_at(0)).await.unwrap();
    socket.send(Frame::Binary(frame::encode(&[ask(100)]))).await.unwrap();
    let term = eventually("it saw the term", async || {
        let term = cluster.status(1).await?.term;
        (term >= Term(100)).then_some(term)
    })
    .await;
    assert!(term < Term(200), "{term}");
}

/// Guards memory against servers that are not members: a limited number may connect, the next is
/// refused, and a member is still accepted.
#[tokio::test]
async fn servers_that_are_no_members_are_bounded_in_number() {
    const STRANGERS: u64 = 64;
    let cluster = one_of_two(&[]).await;
    let secret = Secret::new(None);
    let stranger = |number: u64| Hello { from: NodeId(100 + number), ..hello() };
    let mut connected = Vec::new();
    for number in 0..STRANGERS {
        let (socket, verdict) = judged(&stranger(number), &cluster, &secret).await;
        assert_eq!(verdict, Verdict::Welcome, "stranger {number}");
        connected.push(socket);
    }
    let (_, verdict) = judged(&stranger(STRANGERS), &cluster, &secret).await;
    let Verdict::Refused(refusal) = verdict else { panic!("let in") };
    assert_eq!(refusal.code(), "busy");
    welcomed(&cluster, &secret).await;
}

/// Guards a server without free file descriptors: it does not end, and accepts servers again once
/// it has some.
#[tokio::test]
async fn without_descriptors_servers_wait() {
    let mut cluster = one_of_two(&[]).await;
    let pid = Pid::from_raw(i32::try_from(cluster.pid(1)).unwrap());
    let few = |limit| {
        let limits = Rlimit { current: Some(limit), ..getrlimit(Resource::Nofile) };
        prlimit(pid, Resource::Nofile, limits).unwrap()
    };
    let before = few(10).current.unwrap();
    let address = cluster.peer_address(1).to_string();
    let waiting = TcpStream::connect(&address).await.unwrap();
    eventually("it is told", async || {
        let log = std::fs::read_to_string(cluster.log(1)).unwrap();
        log.contains("cannot accept a connection from a peer").then_some(())
    })
    .await;
    assert!(!cluster.has_ended(1));
    few(before);
    drop(waiting);
    welcomed(&cluster, &Secret::new(None)).await;
    counted(&cluster, "not_accepted").await;
}

/// Guards memory against a frame that claims to be huge: its length alone causes the refusal,
/// before and after the handshake.
#[tokio::test]
async fn a_huge_frame_is_refused_by_its_length() {
    let cluster = one_of_two(&[]).await;
    let resident = async || {
        let answer = send("GET", &cluster.address(1), "/metrics", &[], "").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let line = text.lines().find_map(|it| it.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse::<u64>().unwrap()
    };
    // The header of a frame of 1 GiB, masked as a client's frame must be.
    let mut header = vec![0x82, 0xff];
    header.extend((1_u64 << 30).to_be_bytes());
    header.extend([0; 4]);
    let mut before = connect(&cluster).await;
    before.get_mut().write_all(&header).await.unwrap();
    counted(&cluster, "garbage").await;

    let memory = resident().await;
    let mut after = welcomed(&cluster, &Secret::new(None)).await;
    after.get_mut().write_all(&header).await.unwrap();
    // The server may send a reason before it closes the connection.
    while next(&mut after).await.is_some() {}
    let grown = resident().await.saturating_sub(memory);
    assert!(grown < frame::MAX_FRAME_BYTES as u64, "it took {grown} bytes");
}

/// Guards against a peer that sends another server's messages, or garbage, after the handshake.
#[tokio::test]
async fn what_a_known_server_may_not_say_ends_its_connection() {
    let cluster = one_of_two(&[]).await;
    let vote = |from, to| Message {
        from: NodeId(from),
        to: NodeId(to),
        seq: 1,
        term: Term(1),
        body: Body::RequestVote { last_log: LogPosition::ZERO, transfer: false },
    };
    for bad in [
        frame::encode(&[vote(3, 1)]).to_vec(),
        frame::encode(&[vote(2, 2)]).to_vec(),
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ] {
        let seen = refused(&cluster, "garbage").await;
        let mut socket = welcomed(&cluster, &Secret::new(None)).await;
        socket.send(Frame::binary(bad)).await.unwrap();
        while next(&mut socket).await.is_some() {}
        assert!(refused(&cluster, "garbage").await > seen);
    }
    // The log stays readable, however often it happens.
    for _ in 0..50 {
        let mut socket = welcomed(&cluster, &Secret::new(None)).await;
        socket.send(Frame::binary(b"\xff".to_vec())).await.unwrap();
        while next(&mut socket).await.is_some() {}
    }
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    let lines = log.lines().filter(|line| line.contains("closed a peer's connection")).count();
    assert!((1..50).contains(&lines), "{lines} lines");
    // A valid message takes effect: server 1 adopts the term of server 2's vote request.
    let mut socket = welcomed(&cluster, &Secret::new(None)).await;
    let mut ask = vote(2, 1);
    ask.term = Term(100);
    socket.send(Frame::Binary(frame::encode(&[ask]))).await.unwrap();
    eventually("it saw the term", async || {
        let status = cluster.status(1).await?;
        (status.term >= Term(100)).then_some(())
    })
    .await;
}

/// Guards the alarm for a faulty server: a message that no correct server sends is counted and
/// logged, and has no effect.
#[tokio::test]
async fn what_no_correct_server_sends_is_counted() {
    let cluster = one_of_two(&[]).await;
    let term = cluster.status(1).await.unwrap().term;
    let mut socket = welcomed(&cluster, &Secret::new(None)).await;
    let impossible = Message {
        from: NodeId(2),
        to: NodeId(1),
        seq: 1,
        term: Term(u64::MAX),
        body: Body::RequestVote { last_log: LogPosition::ZERO, transfer: false },
    };
    socket.send(Frame::Binary(frame::encode(&[impossible]))).await.unwrap();
    eventually("it is counted", async || {
        (metric(&cluster, "raft_peer_messages_refused_total").await == 1).then_some(())
    })
    .await;
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(log.contains("refused a message that no correct server sends"), "{log}");
    let later = cluster.status(1).await.unwrap().term;
    assert!(later < Term(term.0 + 1_000_000), "{later}");
}

/// Guards the secret: a handshake without it, with another secret, or with a recorded proof is
/// refused.
#[tokio::test]
async fn only_who_knows_the_secret_comes_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let argument = format!("--cluster-secret-file={}", file.display());
    let cluster = one_of_two(&[&argument]).await;

    let secret = Secret::new(Some(SECRET));
    let mut recorded = None;
    for impostor in [Secret::new(None), Secret::new(Some(b"another secret entirely"))] {
        let mut socket = connect(&cluster).await;
        let hello = hello();
        let theirs = challenged(&mut socket, hello.encode()).await.unwrap();
        recorded = secret.prove(Side::Dialer, &hello, &theirs);
        let proof = impostor.prove(Side::Dialer, &hello, &theirs);
        socket.send(Frame::binary(codec::encode(&Answer { proof }))).await.unwrap();
        let Verdict::Refused(refusal) = word(&mut socket).await else { panic!("let in") };
        assert_eq!(refusal.code(), "proof");
    }
    let mut socket = connect(&cluster).await;
    challenged(&mut socket, hello().encode()).await.unwrap();
    socket.send(Frame::binary(codec::encode(&Answer { proof: recorded }))).await.unwrap();
    assert!(matches!(word(&mut socket).await, Verdict::Refused(_)), "a replay was let in");

    // The acceptor proves itself too: a server must not talk to an impostor.
    let mut socket = connect(&cluster).await;
    let hello = hello();
    socket.send(Frame::binary(hello.encode())).await.unwrap();
    let Challenge::Prove { nonce, proof } = word(&mut socket).await else { panic!("refused") };
    assert!(secret.accepts(Side::Acceptor, &hello, &nonce, proof.as_ref()));
    welcomed(&cluster, &secret).await;
}

/// Guards the secret on the wire: no message of a server contains it, as dialer or acceptor, before
/// or after the handshake.
#[tokio::test]
async fn servers_never_send_the_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let argument = format!("--cluster-secret-file={}", file.display());
    let cluster = one_of_two(&[&argument]).await;
    let secret = Secret::new(Some(SECRET));
    let mut heard = Vec::new();

    // The test acts as server 2, which server 1 dials.
    let listener = TcpListener::bind(cluster.peer_address(2).to_string()).await.unwrap();
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("it dials").unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    let first = next(&mut socket).await.unwrap().into_data();
    let hello = Hello::decode(&first).unwrap();
    let own = nonce();
    let proof = secret.prove(Side::Acceptor, &hello, &own);
    let challenge = Challenge::Prove { nonce: own, proof };
    socket.send(Frame::binary(codec::encode(&challenge))).await.unwrap();
    let answer = next(&mut socket).await.unwrap().into_data();
    let Answer { proof } = codec::decode(&answer).unwrap();
    assert!(secret.accepts(Side::Dialer, &hello, &own, proof.as_ref()));
    socket.send(Frame::binary(codec::encode(&Verdict::Welcome))).await.unwrap();
    heard.extend([first, answer]);
    while heard.len() < 8 {
        // Without server 2, server 1 requests votes again and again.
        heard.push(next(&mut socket).await.unwrap().into_data());
    }

    // The test also dials server 1, with the right secret and with another.
    for shown in [&secret, &Secret::new(Some(b"another secret entirely"))] {
        let mut socket = connect(&cluster).await;
        let hello = self::hello();
        socket.send(Frame::binary(hello.encode())).await.unwrap();
        let challenge = next(&mut socket).await.unwrap().into_data();
        let Challenge::Prove { nonce, .. } = codec::decode(&challenge).unwrap() else {
            panic!("refused");
        };
        let proof = shown.prove(Side::Dialer, &hello, &nonce);
        socket.send(Frame::binary(codec::encode(&Answer { proof }))).await.unwrap();
        heard.extend([challenge, next(&mut socket).await.unwrap().into_data()]);
    }
    assert!(heard.iter().any(|it| it.windows(4).any(|part| part == b"test")), "nothing is heard");
    for said in &heard {
        assert!(!said.windows(SECRET.len()).any(|part| part == SECRET), "{said:?}");
    }
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(!log.contains(std::str::from_utf8(SECRET).unwrap()), "it stands in the log");
}

/// Guards against a half-open connection: a server that falls silent after the handshake, as after
/// a power loss, is disconnected.
#[tokio::test]
async fn a_server_that_falls_silent_is_let_go() {
    let cluster = one_of_two(&[]).await;
    let mut socket = welcomed(&cluster, &Secret::new(None)).await;
    // The test answers nothing, not even a ping.
    let mut read = [0; 1024];
    let end = async { while !matches!(socket.get_mut().read(&mut read).await, Ok(0) | Err(_)) {} };
    timeout(PATIENCE, end).await.expect("it is let go");
}

/// Guards a whole cluster with a secret: its servers connect to each other.
#[tokio::test]
async fn servers_with_a_secret_elect_and_replicate() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let argument = format!("--cluster-secret-file={}", file.display());
    let cluster = Cluster::start_with(3, &[&argument]);
    cluster.leader().await;
    cluster.any_client().put(b"k", Bytes::from_static(b"1")).await.unwrap();
    cluster.converged().await;
}
