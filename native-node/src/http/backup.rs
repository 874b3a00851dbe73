//! `GET /cluster/backup`: the whole state at one revision, as a stream.
//!
//! The state is immutable: writes never wait for a backup, and only the current piece is copied.
//! Pieces are made on other threads, because this thread carries the load.

use std::io;
use std::time::Duration;

use api::headers::{CONSISTENCY_HEADER, REVISION_HEADER, STATE_BYTES_HEADER};
use api::kv::Consistency;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::freshness::Unseen;
use super::request::{self};
use super::{App, signed};
use crate::backup::Encoder;

/// The maximum number of backups at the same time.
const MAX_BACKUPS: usize = 2;

/// A client that takes longer for a piece is disconnected, since an old state is kept for it.
const PATIENCE: Duration = Duration::from_secs(30);

static BACKUPS: Semaphore = Semaphore::const_new(MAX_BACKUPS);

/// Returns the whole state at one revision, for `glassraft restore`.
#[utoipa::path(
    get, path = "/cluster/backup", operation_id = "backup", tag = "cluster",
    params(("consistency" = Option<Consistency>, Query, description = "`stale` returns the state \
        of this server, even without a quorum")),
    responses((
        status = 200, description = "The backup, which ends with its own checksum", body = Vec<u8>,
        content_type = "application/octet-stream",
        headers(
            ("x-raft-revision" = u64, description = "The revision of the state in the backup"),
            ("x-raft-state-bytes" = u64, description = "The total length of all keys and values"),
        ),
    )),
)]
pub(super) async fn get(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    request::check_parameters(request.uri())?;
    let mut consistency = Consistency::Linearizable;
    for (name, value) in request::parameters(request.uri()) {
        match name {
            "consistency" => consistency = request::parameter(name, &value)?,
            other => return Err(ApiError::BadQuery(format!("unknown parameter `{other}`"))),
        }
    }
    let slot = BACKUPS.try_acquire().map_err(|_| ApiError::Overloaded)?;
    let permit = app.handle.admit(0).map_err(request::read_error)?;
    let store = match consistency {
        Consistency::Stale => app.handle.read_local(permit).await,
        // A lease would save almost nothing compared to the backup.
        Consistency::Linearizable | Consistency::Lease => {
            consistency = Consistency::Linearizable;
            app.handle.read(false, permit).await
        }
    };
    let store = store.map_err(|error| Unseen::Handle(error).told(app))?;
    let encoder = Encoder::new(&app.cluster_id, app.id.0, store);
    let (revision, bytes) = (encoder.head().revision, encoder.head().state_bytes);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(make(encoder, sender, app.draining.clone(), slot));
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let piece: io::Result<Bytes> = receiver.recv().await?;
        Some((piece, receiver))
    });
    let mut response = signed(app, Response::new(Body::from_stream(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(REVISION_HEADER, HeaderValue::from(revision));
    headers.insert(STATE_BYTES_HEADER, HeaderValue::from(bytes));
    headers.insert(CONSISTENCY_HEADER, HeaderValue::from_static(consistency.name()));
    Ok(response)
}

/// Makes each piece while the previous piece is being sent. If this ends early, the end of the
/// backup is missing, and its reader detects that.
async fn make(
    mut encoder: Encoder,
    sender: mpsc::Sender<io::Result<Bytes>>,
    draining: CancellationToken,
    _slot: SemaphorePermit<'static>,
) {
    loop {
        let making = tokio::task::spawn_blocking(move || {
            let piece = encoder.next();
            (encoder, piece)
        });
        let Ok((back, Some(piece))) = making.await else { return };
        encoder = back;
        let sent = tokio::select! {
            () = draining.cancelled() => {
                // Aborts the connection, if it still exists.
                drop(sender.try_send(Err(io::Error::other("the server is stopping"))));
                return;
            }
            sent = timeout(PATIENCE, sender.send(Ok(piece))) => sent,
        };
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
