//! The event stream that the web page reads.

use api::address::Address;
use bytes::Bytes;
use client::Client;
use futures_util::StreamExt;
use raft_core::codec;
use raft_core::event::{Event, EventKind};
use raft_core::types::NodeId;
use raft_core::view::ClusterView;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::cluster::{Cluster, PATIENCE, REQUEST};

struct Watcher(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Watcher {
    async fn attach(server: &Address) -> Self {
        let (socket, _) = connect_async(format!("ws://{server}/trace")).await.unwrap();
        Self(socket)
    }

    async fn frame(&mut self) -> Vec<Event> {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("a frame comes");
            match message.expect("the stream goes on").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => {
                    panic!("not an event: {other:?}")
                }
            }
        }
    }

    /// Reads frames until an event matches.
    async fn until(&mut self, fits: impl Fn(&EventKind) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        loop {
            seen.extend(self.frame().await);
            if seen.iter().any(|event| fits(&event.kind)) {
                return seen;
            }
        }
    }
}

/// Guards the web page's events: a subscriber first gets the full state and then sees a write with
/// its causes.
#[tokio::test]
async fn a_watcher_sees_the_state_and_then_every_event() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let client = cluster.client(leader);
    client.put(b"before", Bytes::from_static(b"1")).await.unwrap();
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(Watcher::attach(&cluster.address(leader)).await);
    }
    for watcher in &mut watchers {
        let first = watcher.frame().await;
        let EventKind::Attached(state) = &first[0].kind else { panic!("{:?}", first[0]) };
        assert!(state.pairs.iter().any(|pair| pair.key == "before"));
    }
    client.put(b"after", Bytes::from_static(b"2")).await.unwrap();
    let answered = |kind: &EventKind| matches!(kind, EventKind::ClientAnswer { .. });
    for watcher in &mut watchers {
        let seen = watcher.until(answered).await;
        let has = |fits: fn(&EventKind) -> bool| seen.iter().any(|event| fits(&event.kind));
        assert!(has(|kind| matches!(kind, EventKind::ClientRequest { .. })));
        assert!(has(|kind| matches!(kind, EventKind::EntriesAppended { .. })));
        assert!(has(|kind| matches!(kind, EventKind::MessageSent(_))));
        assert!(has(|kind| matches!(kind, EventKind::MessageReceived { .. })));
        assert!(has(|kind| matches!(kind, EventKind::WritePersisted { .. })));
        assert!(has(|kind| matches!(kind, EventKind::CommitAdvanced { .. })));
        assert!(has(|kind| matches!(kind, EventKind::Applied { .. })));
        let numbers: Vec<_> = seen.iter().map(|event| event.id.seq).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    let status = cluster.status(leader).await.unwrap();
    assert_eq!(status.watchers, 3);
    drop(watchers);
    crate::cluster::eventually("nobody watches any more", async || {
        let status = cluster.status(leader).await?;
        (status.watchers == 0).then_some(())
    })
    .await;
}

/// Guards the server against its subscribers: under load it omits events and reports their number,
/// and later the subscriber's view is complete again.
#[tokio::test]
async fn a_flood_is_summarised_and_the_picture_is_whole_again() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let server = cluster.address(leader);
    let mut watcher = Watcher::attach(&server).await;
    let mut view = ClusterView::default();
    let mut writers = JoinSet::new();
    for writer in 0..32_u32 {
        let client = Client::new(vec![server.clone()], REQUEST);
        writers.spawn(async move {
            for number in 0..100_u32 {
                let key = format!("{writer}-{}", number % 3);
                client.put(key.as_bytes(), Bytes::from(vec![b'v'; 2000])).await.unwrap();
            }
        });
    }
    let mut summarised = 0;
    let mut fold = |events: Vec<Event>, view: &mut ClusterView| {
        for (position, event) in events.iter().enumerate() {
            if let EventKind::Summarised { events } = event.kind {
                summarised += events;
            }
            if matches!(event.kind, EventKind::Attached(_)) {
                assert_eq!(position, 0, "a watcher can start only at the start of a frame");
            }
            view.observe(event);
        }
    };
    while !writers.is_empty() {
        tokio::select! {
            frame = watcher.frame() => fold(frame, &mut view),
            done = writers.join_next() => done.unwrap().unwrap(),
        }
    }
    let end = cluster.converged().await;
    let shown = |view: &ClusterView| view.nodes.get(&NodeId(leader as u64)).map(|node| node.digest);
    while shown(&view).map(|digest| format!("{digest:016x}")) != Some(end.state.digest.clone()) {
        fold(watcher.frame().await, &mut view);
    }
    assert!(summarised > 0, "3200 writes are more events than are passed on");
}

/// Guards against pages of other origins: CORS does not cover WebSockets.
#[tokio::test]
async fn a_foreign_page_cannot_watch() {
    let cluster = Cluster::start_with(1, &[]);
    cluster.leader().await;
    let mut request = format!("ws://{}/trace", cluster.address(1)).into_client_request().unwrap();
    request.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    let error = connect_async(request).await.expect_err("refused");
    assert!(error.to_string().contains("403"), "{error}");
}

/// Guards shutdown: a subscriber does not delay it.
#[tokio::test]
async fn a_watcher_does_not_keep_the_server_from_ending() {
    let mut cluster = Cluster::start_with(1, &["--shutdown-grace=5m"]);
    cluster.leader().await;
    let mut watcher = Watcher::attach(&cluster.address(1)).await;
    watcher.frame().await;
    cluster.signal(1, rustix::process::Signal::TERM);
    assert!(cluster.ended(1).await.success(), "it ends before the grace is over");
}

/// Guards the binary form of the stream: it has a version and then the same events as the text
/// form. An unknown form is refused.
#[tokio::test]
async fn events_come_in_a_binary_form_too() {
    let cluster = Cluster::start();
    let leader = cluster.leader().await;
    let address = cluster.address(leader);
    let open = async |query: &str| connect_async(format!("ws://{address}/trace{query}")).await;
    let (mut socket, _) = open("?format=binary").await.unwrap();
    let message = timeout(PATIENCE, socket.next()).await.expect("a frame comes");
    let Some(Ok(Message::Binary(frame))) = message else { panic!("{message:?}") };
    let (version, events) = frame.split_at(2);
    assert_eq!(version, codec::FORMAT_VERSION.to_le_bytes());
    let events: Vec<Event> = codec::decode(events).unwrap();
    assert!(matches!(events[0].kind, EventKind::Attached(_)), "{}", events[0]);
    let refused = open("?format=xml").await.expect_err("there is no such form");
    assert!(refused.to_string().contains("400"), "{refused}");
}
