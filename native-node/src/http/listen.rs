//! Client connections: so many at once, each with bounded headers in bounded time, all finished in
//! an orderly way when the server ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::config::{Address, Limits};

/// The longest request line and headers: a key of the greatest length, each byte escaped, and room.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// An address that clients can connect to, before anything answers there.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Takes the address.
    pub async fn bind(address: &Address) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address.to_string()).await? })
    }

    /// Where it listens.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Serves until told to stop, then lets requests under way finish within the grace.
pub(crate) async fn serve<S>(
    listener: Listener,
    service: S,
    limits: Limits,
    connections: Gauge,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let tasks = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.max_connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.client_read_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .pipeline_flush(true);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener.listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(service.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let (connections, stop) = (connections.clone(), stop.clone());
        connections.inc();
        tasks.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    // The request under way is the last; an idle connection ends at once.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // How a client ends its connection is its own affair.
            drop(ended);
            connections.dec();
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if timeout(limits.shutdown_grace, tasks.wait()).await.is_err() {
        tracing::warn!("some requests were not finished within the grace and are cut off");
    }
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.expect("it is never closed");
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written whole; the system must not wait for more.
            drop(stream.set_nodelay(true));
            Some((stream, permit))
        }
        Err(error) => {
            // Out of file descriptors, most likely: accepting again at once would spin.
            tracing::error!("cannot accept a client's connection: {error}");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
