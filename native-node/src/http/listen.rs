//! Client connections: so many at once, each with bounded headers in bounded time, all finished in
//! an orderly way when the server ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::error::ApiError;
use crate::config::{Address, Limits};
use crate::metrics::Connections;
use crate::tls::{Acceptor, Stream};

/// The longest request line and headers: a key of the greatest length, each byte escaped, and room.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// Those who are told that there is no room for them, at once; more are cut without a word.
const MAX_TURNED_AWAY: usize = 64;

/// How long somebody who is turned away may take to hear it.
const FAREWELL: Duration = Duration::from_secs(1);

/// An address that clients can connect to, before anything answers there.
pub struct Listener {
    listener: TcpListener,
    tls: Option<Acceptor>,
}

impl Listener {
    /// Takes the address; connections to it are encrypted if there is something to do it with.
    pub async fn bind(address: &Address, tls: Option<Acceptor>) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address.to_string()).await?, tls })
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
    connections: Connections,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Listener { listener, tls } = listener;
    let tasks = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.max_connections));
    let porch = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.client_read_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let Some(stream) = accepted else { continue };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            connections.refused("limit");
            if let Ok(permit) = Arc::clone(&porch).try_acquire_owned() {
                let encrypted = tls.is_some();
                tasks.spawn(async move {
                    turn_away(stream, encrypted).await;
                    drop(permit);
                });
            }
            continue;
        };
        let service = TowerToHyperService::new(service.clone());
        let (http, tls, limits) = (http.clone(), tls.clone(), limits.clone());
        let (connections, stop) = (connections.clone(), stop.clone());
        tasks.spawn(async move {
            connections.open.inc();
            if let Some(stream) = enter(stream, tls.as_ref(), &limits, &connections, &stop).await {
                let connection = http.serve_connection(TokioIo::new(stream), service);
                let mut connection = pin!(connection.with_upgrades());
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
            }
            connections.open.dec();
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if timeout(limits.shutdown_grace, tasks.wait()).await.is_err() {
        tracing::warn!("some requests were not finished within the grace and are cut off");
    }
}

/// Encrypts the connection where that is wanted, and cuts it once nothing of an answer is taken for
/// too long.
async fn enter(
    stream: TcpStream,
    tls: Option<&Acceptor>,
    limits: &Limits,
    connections: &Connections,
    stop: &CancellationToken,
) -> Option<Pin<Box<TimeoutStream<Stream>>>> {
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let handshake = timeout(limits.client_read_timeout, tls.accept(stream));
            match stop.run_until_cancelled(handshake).await? {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    connections.refused("tls");
                    tracing::debug!("a client's connection is not encrypted: {error}");
                    return None;
                }
                Err(_) => {
                    connections.refused("slow");
                    return None;
                }
            }
        }
    };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.client_write_timeout));
    Some(Box::pin(stream))
}

/// Says that there is no room, where that can be said without much ado.
async fn turn_away(mut stream: TcpStream, encrypted: bool) {
    let body = ApiError::TooManyConnections.to_json();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let saying = async move {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with a request unread, the connection would be reset, and the answer lost.
        tokio::io::copy(&mut stream.take(MAX_HEADER_BYTES as u64), &mut tokio::io::sink()).await
    };
    if !encrypted {
        // Whether it is heard does not matter.
        drop(timeout(FAREWELL, saying).await);
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written whole; the system must not wait for more.
            drop(stream.set_nodelay(true));
            Some(stream)
        }
        Err(error) => {
            // Out of file descriptors, most likely: accepting again at once would spin.
            tracing::error!("cannot accept a client's connection: {error}");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
