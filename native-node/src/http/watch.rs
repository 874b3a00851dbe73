//! `GET /watch`: the changes of keys as they happen, as server-sent events.
//!
//! There is one event per revision. Its id is the revision with a digest of the keys. A client that
//! returns with the last id it saw gets each later change once, at any server, and learns if the
//! history differs. Old changes are compacted; then the answer is 410, and the client reads the
//! keys again. [`crate::watch`] describes which watchers get which changes, and the bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::headers::REVISION_HEADER;
use api::kv::Consistency;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Instant, sleep};
use utoipa::IntoParams;

use super::error::ApiError;
use super::range::RangeParameters;
use super::{App, range, request, signed};
use crate::driver::handle::RequestError;
use crate::watch::{End, From, Part, Refused, Wanted, Watch};

/// The pause before the leader is asked again, while none is known.
const PAUSE: Duration = Duration::from_millis(20);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The query parameters of `GET /watch`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read one by one")]
struct Parameters {
    /// Changes after this revision, or after the event with this id [default: from now on].
    #[param(pattern = "^[0-9]+(-[0-9a-f]{1,16})?$")]
    from: Option<String>,
    /// With `stale`, a server that knows no leader accepts the watch too. It may send no changes
    /// for long.
    consistency: Option<Consistency>,
}

/// Watches the keys of a range.
///
/// The server sends three kinds of server-sent events. A `change` contains the changes of one
/// revision. A `bookmark` says that nothing else happened up to its revision. It is sent at least
/// every five seconds while nothing changes. An `error` is the last event of a stream that the
/// server ends; its data is a problem.
///
/// The id of an event is its revision and a digest. A client that sends it to any server, as
/// `Last-Event-ID` or `from`, gets all later changes.
#[utoipa::path(
    get, path = "/watch", operation_id = "watch", tag = "keys",
    params(
        RangeParameters, Parameters,
        ("last-event-id" = Option<String>, Header, description = "Like `from`, with precedence; \
            browsers send it when they reconnect"),
    ),
    responses((
        status = 200, description = "The stream of changes", body = String,
        content_type = "text/event-stream",
        headers(("x-raft-revision" = u64, description = "Changes after this revision follow")),
    )),
)]
pub(super) async fn get(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let range = range::key_range(&parts.uri)?;
    let (mut from, mut consistency) = (None, Consistency::default());
    for (name, value) in request::parameters(&parts.uri) {
        match name {
            "prefix" | "start" | "end" => {}
            "from" => from = Some(position("from", &value)?),
            "consistency" => consistency = request::parameter(name, &value)?,
            other => return Err(ApiError::BadQuery(format!("unknown parameter `{other}`"))),
        }
    }
    // A browser that reconnects sends the parameters of its first request, and the last id.
    let from = last_event_id(&parts.headers)?.or(from);
    let stale = consistency == Consistency::Stale;
    let watch = begin(app, Wanted { range, from, stale }).await?;
    let revision = watch.from.revision;
    let stream = Stream { watch, is_over: false };
    let mut response = signed(app, Response::new(Body::new(stream)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REVISION_HEADER, HeaderValue::from(revision));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<From>, ApiError> {
    let id = headers.get(LAST_EVENT_ID);
    id.map(|id| position("Last-Event-ID", id.as_bytes())).transpose()
}

fn position(name: &str, text: &[u8]) -> Result<From, ApiError> {
    let position = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    position
        .ok_or_else(|| ApiError::BadQuery(format!("{name} is neither a revision nor an event id")))
}

async fn begin(app: &App, wanted: Wanted) -> Result<Watch, ApiError> {
    match app.handle.watch_keys(wanted.clone()).await {
        Ok(watch) => return Ok(watch),
        Err(Refused::Ahead { .. }) => catch_up(app).await?,
        Err(refused) => return Err(refusal(refused)),
    }
    app.handle.watch_keys(wanted).await.map_err(refusal)
}

/// Waits until this server has applied what the leader has committed by now.
async fn catch_up(app: &App) -> Result<(), ApiError> {
    let deadline = Instant::now() + app.forwarder.timeout();
    loop {
        let permit = app.handle.admit(0).map_err(request::read_error)?;
        match app.handle.read(false, permit).await {
            Ok(_) => return Ok(()),
            // After a start, no leader is known for a moment.
            Err(RequestError::NotLeader { .. }) if Instant::now() < deadline => sleep(PAUSE).await,
            Err(RequestError::NotLeader { .. }) => return Err(ApiError::NoLeader),
            Err(error) => return Err(request::read_error(error)),
        }
    }
}

const fn refusal(refused: Refused) -> ApiError {
    match refused {
        Refused::Ended(end) => problem(end),
        Refused::TooMany => ApiError::Overloaded,
        Refused::Ahead { asked, at } => ApiError::RevisionUnknown { asked, at },
        Refused::OtherHistory { asked } => ApiError::HistoryChanged { asked },
    }
}

const fn problem(end: End) -> ApiError {
    match end {
        End::Stopping => ApiError::Stopping,
        End::Compacted(compacted) => ApiError::Compacted(compacted),
        End::NoLeader => ApiError::NoLeader,
        End::NotAMember => ApiError::NotAMember(None),
    }
}

/// A watch as the body of a response.
struct Stream {
    watch: Watch,
    is_over: bool,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let bytes = match ready!(self.watch.poll_part(cx)) {
            Part::Bytes(bytes) => bytes,
            // The end of the connection tells the client.
            Part::End(End::Stopping) => return Poll::Ready(None),
            Part::End(end) => {
                self.is_over = true;
                format!("event: error\ndata: {}\n\n", problem(end).to_json()).into()
            }
            Part::Broken => return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
