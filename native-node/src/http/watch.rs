//! `GET /watch`: the changes of keys as they happen, as server-sent events.
//!
//! One event a revision, whose id is the revision: so a client that comes back with the last id it
//! saw misses nothing and sees nothing twice. What changed long ago is not kept; then the answer is
//! 410, and the client reads the keys anew.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use raft_core::codec::text_or_bytes;
use raft_core::kv::{Compacted, KeyRange, KvStore};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::error::ApiError;
use super::kv::Found;
use super::range::RangeParameters;
use super::{App, REVISION_HEADER, range, request, signed};
use crate::handle::{Handle, RequestError};

/// Those who watch keys at once, at most.
const MAX_WATCHERS: usize = 1024;

/// What is sent at once, in bytes, unless a single event is larger.
const CHUNK_BYTES: usize = 64 << 10;

/// Who takes longer for it is cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often somebody for whom nothing happens is told how far everything is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// The pause of those who watch while requests of others fill the server.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A change of one key.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Change {
    Put(Found),
    Delete {
        #[serde(with = "text_or_bytes")]
        key: Bytes,
    },
}

#[derive(Serialize)]
struct Changed {
    revision: u64,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Bookmark {
    revision: u64,
}

/// As clients write them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read one by one")]
struct From {
    /// What happened after this revision; without it from now on.
    from: Option<u64>,
}

/// Watches the keys of a range.
///
/// Server-sent events: `change` (one for each revision, whose number is the event's id), `bookmark`
/// (nothing happened up to this revision) and `error` (the watcher was too slow; the data is the
/// problem `compacted`). The stream does not end by itself.
#[utoipa::path(
    get, path = "/watch", operation_id = "watch", tag = "keys",
    params(
        RangeParameters, From,
        ("last-event-id" = Option<u64>, Header, description = "As `from`, before which it counts: \
            browsers send it when they come back"),
    ),
    responses((
        status = 200, description = "The changes, as they happen", body = String,
        content_type = "text/event-stream",
        headers(("x-raft-revision" = u64, description = "Changes after this revision follow")),
    )),
)]
pub(super) async fn get(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let range = range::key_range(&parts.uri)?;
    let mut from = None;
    for (name, value) in request::parameters(&parts.uri) {
        match name {
            "prefix" | "start" | "end" => {}
            "from" => from = Some(request::parameter(name, &value)?),
            other => return Err(ApiError::BadQuery(format!("unknown parameter `{other}`"))),
        }
    }
    // A browser that comes back sends the parameters of its first request, and the last id.
    let from = last_event_id(&parts.headers)?.or(from);
    if app.handle.key_watchers() >= MAX_WATCHERS {
        return Err(ApiError::Overloaded);
    }
    let revisions = app.handle.revisions();
    let store = local(&app.handle).await.map_err(request::read_error)?;
    let from = from.unwrap_or_else(|| store.revision());
    store.changes().after(from).map(drop).map_err(ApiError::Compacted)?;
    let (sender, receiver) = mpsc::channel(1);
    let watcher = Watcher { handle: app.handle.clone(), range, at: from, sender };
    tokio::spawn(watcher.run(store, revisions, app.draining.clone()));
    let chunks = stream::unfold(receiver, async |mut receiver| {
        let chunk: Bytes = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), receiver))
    });
    let mut response = signed(app, Response::new(Body::from_stream(chunks)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REVISION_HEADER, HeaderValue::from(from));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = id.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| ApiError::BadQuery("Last-Event-ID is no revision".to_owned()))
}

async fn local(handle: &Handle) -> Result<KvStore, RequestError> {
    handle.read_local(handle.admit(0)?).await
}

/// Somebody who watches.
struct Watcher {
    handle: Handle,
    range: KeyRange,
    /// All up to this revision was sent.
    at: u64,
    sender: mpsc::Sender<Bytes>,
}

/// Why watching ended.
enum End {
    /// The client is gone, or too slow.
    Gone,
    /// It was so slow that changes it has not seen are not kept any more.
    Behind(Compacted),
}

impl Watcher {
    async fn run(
        mut self,
        store: KvStore,
        mut revisions: watch::Receiver<u64>,
        draining: CancellationToken,
    ) {
        // The comment makes the client's side of the connection know at once that it watches.
        if self.send(Bytes::from_static(b": watching\n\n")).await.is_err() {
            return;
        }
        let (mut store, mut bookmark) = (store, false);
        loop {
            let revision = store.revision();
            match self.catch_up(store).await {
                Ok(()) => {}
                Err(End::Gone) => return,
                Err(End::Behind(compacted)) => return self.say_goodbye(compacted).await,
            }
            // After a restart this server may know less than the client does.
            self.at = self.at.max(revision);
            if bookmark {
                let text = event("bookmark", self.at, &Bookmark { revision: self.at });
                if self.send(text.into()).await.is_err() {
                    return;
                }
            }
            let changed = tokio::select! {
                () = draining.cancelled() => return,
                () = self.sender.closed() => return,
                changed = timeout(BOOKMARK_INTERVAL, revisions.changed()) => changed,
            };
            bookmark = match changed {
                Ok(Ok(())) => false,
                Ok(Err(_)) => return,
                Err(_) => true,
            };
            store = loop {
                match local(&self.handle).await {
                    Ok(store) => break store,
                    Err(RequestError::Overloaded) => sleep(OVERLOAD_PAUSE).await,
                    Err(_) => return,
                }
            };
        }
    }

    /// Sends what the state knows of and the client does not. Chunk by chunk, so that a slow client
    /// holds a chunk and the state, and never more.
    async fn catch_up(&mut self, store: KvStore) -> Result<(), End> {
        let (mut text, mut changes) = (String::new(), Vec::new());
        let mut pending = store.changes().after(self.at).map_err(End::Behind)?.peekable();
        while let Some(change) = pending.next() {
            let revision = change.revision;
            if self.range.contains(&change.key) {
                changes.push(match &change.value {
                    Some(value) => Change::Put(Found::new(&change.key, value)),
                    None => Change::Delete { key: change.key.clone() },
                });
            }
            if pending.peek().is_some_and(|next| next.revision == revision) {
                continue;
            }
            self.at = revision;
            if !changes.is_empty() {
                let changes = std::mem::take(&mut changes);
                text += &event("change", revision, &Changed { revision, changes });
            }
            if text.len() >= CHUNK_BYTES {
                self.send(std::mem::take(&mut text).into()).await?;
            }
        }
        drop(pending);
        drop(store);
        if text.is_empty() { Ok(()) } else { self.send(text.into()).await }
    }

    async fn send(&self, chunk: Bytes) -> Result<(), End> {
        match timeout(PATIENCE, self.sender.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Whether the farewell arrives does not matter.
    async fn say_goodbye(self, compacted: Compacted) {
        let words = ApiError::Compacted(compacted).to_json();
        let text = format!("event: error\ndata: {words}\n\n");
        drop(self.send(text.into()).await);
    }
}

fn event<T: Serialize>(name: &str, id: u64, data: &T) -> String {
    let data = serde_json::to_string(data).expect("events have a JSON form");
    let mut text = String::new();
    write!(text, "id: {id}\nevent: {name}\ndata: {data}\n\n")
        .expect("writing into a string does not fail");
    text
}
