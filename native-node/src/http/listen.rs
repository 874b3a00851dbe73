//! Client connections: a bounded number, each with bounded headers and timeouts. At shutdown they
//! end in an orderly way.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::address::Address;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::paced::Paced;
use super::places::{Places, Seat};
use crate::config::Limits;
use crate::descriptors::Shares;
use crate::metrics::Connections;
use crate::tls::{Acceptor, Stream};

/// The longest request line with headers: the longest key with each byte escaped, and room.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The maximum number of headers.
const MAX_HEADERS: usize = 64;

/// The read timeout in reserved places.
const HASTE: Duration = Duration::from_secs(2);

/// The pause after a failed accept: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// The shortest time between two log lines about failed accepts.
const QUIET: Duration = Duration::from_secs(10);

/// A bound address for clients, which does not answer yet.
pub struct Listener {
    listener: TcpListener,
    tls: Option<Acceptor>,
}

impl Listener {
    /// Binds the address. With an acceptor, connections use TLS.
    pub async fn bind(address: &Address, tls: Option<Acceptor>) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address.to_string()).await?, tls })
    }

    /// The bound address.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Serves until `stop` is cancelled, then lets pending requests finish within the grace period.
/// `service` makes a service for each connection.
pub(crate) async fn serve<S>(
    listener: Listener,
    service: impl Fn(Arc<Seat>) -> S,
    limits: Limits,
    shares: Shares,
    connections: Connections,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Listener { listener, tls } = listener;
    let tasks = TaskTracker::new();
    let places = Places::new(shares, connections.clone());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_buf_size(MAX_HEADER_BYTES).max_headers(MAX_HEADERS);
    let door = Arc::new(Door { tls, connections, stop: stop.clone() });
    let mut pause = Pause { next: PAUSES[0], told: None };
    loop {
        let accepting = async {
            let descriptor = places.descriptor().await;
            (descriptor, accept(&listener, &door.connections, &mut pause).await)
        };
        let (descriptor, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepting => accepted,
        };
        let Some((stream, from)) = accepted else { continue };
        let Some(seat) = places.take(from.ip(), descriptor).await else {
            door.connections.refused("limit");
            continue;
        };
        let mut limits = limits.clone();
        if seat.is_reserved() {
            limits.client_read_timeout = limits.client_read_timeout.min(HASTE);
        }
        let mut http = http.clone();
        http.header_read_timeout(limits.client_read_timeout);
        let service = TowerToHyperService::new(service(Arc::clone(&seat)));
        tasks.spawn(attend(Arc::clone(&door), stream, seat, http, service, limits));
    }
    drop(listener);
    tasks.close();
    if timeout(limits.shutdown_grace, tasks.wait()).await.is_err() {
        tracing::warn!("some requests did not finish within --shutdown-grace and are aborted");
    }
}

/// What all connections share.
struct Door {
    tls: Option<Acceptor>,
    connections: Connections,
    stop: CancellationToken,
}

/// Serves one connection.
async fn attend<S>(
    door: Arc<Door>,
    stream: TcpStream,
    seat: Arc<Seat>,
    http: http1::Builder,
    service: TowerToHyperService<S>,
    limits: Limits,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let entering = tokio::select! {
        stream = door.enter(stream, &limits) => stream,
        () = seat.gives_way() => {
            door.connections.refused("limit");
            None
        }
    };
    let Some(stream) = entering else { return };
    let hurry = door.stop.child_token();
    if seat.is_reserved() {
        hurry.cancel();
    }
    let stream = Paced::new(stream, limits.client_write_timeout, hurry.clone());
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = seat.gives_way() => {
            door.connections.refused("limit");
            if seat.is_silent() || seat.is_reserved() && seat.waits() {
                return;
            }
            hurry.cancel();
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = door.stop.cancelled() => {
            // The pending request is the last; an idle connection ends at once.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // It does not matter how a client ends its connection.
    drop(ended);
}

impl Door {
    /// Does the TLS handshake, if TLS is configured.
    async fn enter(&self, stream: TcpStream, limits: &Limits) -> Option<Stream> {
        let Some(tls) = &self.tls else { return Some(Either::Left(stream)) };
        let handshake = timeout(limits.client_read_timeout, tls.accept(stream));
        match self.stop.run_until_cancelled(handshake).await? {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                self.connections.refused("tls");
                tracing::debug!("the TLS handshake with a client failed: {error}");
                None
            }
            Err(_) => {
                self.connections.refused("slow");
                None
            }
        }
    }
}

/// The pause after failed accepts, and when they were last logged.
struct Pause {
    next: Duration,
    told: Option<Instant>,
}

/// The next connection, and the client's address.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
    pause: &mut Pause,
) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, from)) => {
            pause.next = PAUSES[0];
            // Answers are written whole; the system must not wait for more data.
            drop(stream.set_nodelay(true));
            Some((stream, from))
        }
        Err(error) => {
            connections.refused("accept");
            if error.kind() == ErrorKind::ConnectionAborted {
                return None;
            }
            // Probably out of file descriptors: an immediate retry would spin.
            if pause.told.is_none_or(|at| at.elapsed() >= QUIET) {
                tracing::error!("cannot accept clients' connections, retrying: {error}");
                pause.told = Some(Instant::now());
            }
            sleep(pause.next).await;
            pause.next = PAUSES[1].min(2 * pause.next);
            None
        }
    }
}
