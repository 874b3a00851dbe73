//! Servers of different releases: which are accepted, what each is told, and that nobody can force
//! two servers to an older protocol.

use futures_util::{SinkExt, StreamExt};
use native_node::transport::handshake::{
    Answer, Challenge, Hello, Refusal, Secret, Side, Verdict, Version, nonce,
};
use raft_core::codec;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::doors::{
    SECRET, challenged, connect, hello, next, one_of_two, welcomed, welcomed_as, word,
};

/// Guards a rolling upgrade: the first release is accepted with its own hello, and only with the
/// secret. A refusal for the version names the supported range.
#[tokio::test]
async fn a_server_of_the_first_release_comes_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let argument = format!("--cluster-secret-file={}", file.display());
    let cluster = one_of_two(&[&argument]).await;
    let old = Hello { version: Version::V3, ..hello() };
    let secret = Secret::new(Some(SECRET));
    let socket = welcomed_as(old.clone(), &cluster, &secret).await;
    let protocol = async || cluster.status(1).await?.peers[0].protocol;
    assert_eq!(eventually("it is known", protocol).await, 3);
    drop(socket);
    // The proof covers the version: nobody on the path can change it.
    let mut socket = connect(&cluster).await;
    let theirs = challenged(&mut socket, old.encode()).await.unwrap();
    let proof = secret.prove(Side::Dialer, &Hello { version: Version::V4, ..old }, &theirs);
    socket.send(Frame::binary(codec::encode(&Answer { proof }))).await.unwrap();
    assert!(matches!(word(&mut socket).await, Verdict::Refused(_)));
    let mut socket = connect(&cluster).await;
    let mut newer = hello().encode();
    newer[4] = 5;
    socket.send(Frame::binary(newer)).await.unwrap();
    let Challenge::Refused(refusal) = word(&mut socket).await else { panic!("let in") };
    assert!(
        refusal.to_string().contains("protocol 5.2 does not fit protocol 3.2 to 4.2"),
        "{refusal}"
    );
}

/// Guards the state: a cluster under later rules refuses the first release, which would skip what
/// it does not know, and says why. It does so even after a restart, before it applies anything.
#[tokio::test]
async fn later_rules_shut_the_first_release_out() {
    let mut cluster = Cluster::start_with(1, &[]);
    cluster.follows_latest_rules(1).await;
    for _ in 0..2 {
        let mut socket = connect(&cluster).await;
        let old = Hello { version: Version::V3, ..hello() };
        socket.send(Frame::binary(old.encode())).await.unwrap();
        let Challenge::Refused(refusal) = word(&mut socket).await else { panic!("let in") };
        assert_eq!(refusal.code(), "version");
        assert!(refusal.to_string().contains("4.2 (this cluster follows rules"), "{refusal}");
        cluster.kill(1);
        cluster.spawn(1);
        eventually("it serves", async || cluster.status(1).await).await;
    }
}

/// The next connection from server 1 to server 2, as which the test acts, and its hello.
async fn dialled(listener: &TcpListener) -> (Hello, WebSocketStream<TcpStream>) {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("it dials").unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    let first = next(&mut socket).await.unwrap().into_data();
    (Hello::decode(&first).unwrap(), socket)
}

async fn refuse(mut socket: WebSocketStream<TcpStream>) {
    let refusal = Refusal::Version { theirs: "4.2".to_owned(), ours: "3.2".to_owned() };
    let refused = codec::encode(&Challenge::Refused(refusal));
    socket.send(Frame::binary(refused)).await.unwrap();
    // Server 1 reads the refusal before the connection ends.
    while let Some(Ok(_)) = socket.next().await {}
}

/// Guards against a forged refusal: while a peer's connection in the newer protocol exists, the
/// server never uses the older one. Later it logs a warning.
#[tokio::test]
async fn a_forged_refusal_takes_nobody_down() {
    let cluster = one_of_two(&[]).await;
    let mut newer = welcomed(&cluster, &Secret::new(None)).await;
    let listener = TcpListener::bind(cluster.peer_address(2).to_string()).await.unwrap();
    for _ in 0..6 {
        let (hello, socket) = dialled(&listener).await;
        assert_eq!(hello.version, Version::V4);
        refuse(socket).await;
        newer.send(Frame::Ping("still there".into())).await.unwrap();
    }
    drop(newer);
    let mut socket = loop {
        let (hello, socket) = dialled(&listener).await;
        if hello.version == Version::V3 {
            break socket;
        }
        refuse(socket).await;
    };
    let challenge = Challenge::Prove { nonce: nonce(), proof: None };
    socket.send(Frame::binary(codec::encode(&challenge))).await.unwrap();
    let _: Answer = word(&mut socket).await;
    socket.send(Frame::binary(codec::encode(&Verdict::Welcome))).await.unwrap();
    eventually("it is warned of", async || {
        let log = std::fs::read_to_string(cluster.log(1)).unwrap();
        log.contains("spoke a later protocol before").then_some(())
    })
    .await;
}
