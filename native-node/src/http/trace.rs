//! `GET /trace`: the event stream over a WebSocket; see [`crate::trace`].

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::error::ApiError;
use super::places::Seat;
use super::request;

/// A subscriber that takes longer to receive a frame is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

/// Subscribers need to send only control frames.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// The maximum number of subscribers at the same time.
pub(super) const MAX_WATCHERS: usize = 64;

/// The subprotocol, for clients that name subprotocols.
const PROTOCOL: &str = "glassraft.trace";

/// The query parameters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Options {
    /// The encoding of the events.
    #[param(inline)]
    format: Format,
}

/// The encoding of the events.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Text messages, each a JSON array.
    #[default]
    Json,
    /// Binary messages for clients of the same release; see [`crate::trace::Frame::binary`].
    Binary,
}

/// Streams the server's events over a WebSocket.
#[utoipa::path(
    get, path = "/trace", operation_id = "trace", tag = "cluster", params(Options),
    responses((status = 101, description = "Messages with events follow")),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(seat): Extension<Arc<Seat>>,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|_| ApiError::WebSocketOnly)?;
    let Options { format } = request::query(&uri)?;
    let watchers = Arc::clone(&app.reads.trace_watchers);
    let permit = watchers.try_acquire_owned().map_err(|_| ApiError::Overloaded)?;
    // A page that sends its token as a subprotocol needs another subprotocol in the answer.
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(async move |socket| {
        watch(&app, socket, format).await;
        // The connection keeps its place until it ends, like any other.
        drop((permit, seat));
    }))
}

/// Sends frames, from the first fresh frame on; after a loss, again from a fresh frame on.
async fn watch(app: &App, mut socket: WebSocket, format: Format) {
    let mut frames = app.handle.watch();
    let mut fresh = false;
    loop {
        let received = tokio::select! {
            () = app.draining.cancelled() => break,
            received = frames.recv() => received,
            said = socket.recv() => match said {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Close(_)) | Err(_))
                | None => break,
            },
        };
        let frame = match received {
            Ok(frame) => frame,
            Err(RecvError::Lagged(_)) => {
                fresh = false;
                app.handle.watch_again();
                continue;
            }
            Err(RecvError::Closed) => break,
        };
        fresh |= frame.fresh;
        if fresh {
            let message = match format {
                Format::Json => Message::Text(frame.text()),
                Format::Binary => Message::Binary(frame.binary()),
            };
            match timeout(PATIENCE, socket.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
    // A lost close message does not matter.
    drop(timeout(PATIENCE, socket.send(Message::Close(None))).await);
}
