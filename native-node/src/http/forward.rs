//! Forwards requests to the leader: at most one hop, over pooled connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::headers::{FORWARDED_HEADER, IDEMPOTENCY_KEY, SEQUENCE_HEADER, SESSION_HEADER};
use api::problem::Leader;
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use raft_core::types::NodeId;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_rustls::rustls::RootCertStore;

use super::App;
use super::error::ApiError;
use super::faults::Crossing;
use crate::tls;

/// The timeout for connecting to the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that were idle for longer are not used. This is shorter than the servers' own
/// timeout, to send no request into a closing connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers up to this size are forwarded as a whole, larger answers in pieces.
const WHOLE_BYTES: u64 = 64 << 10;

/// The largest JSON document that is read from another server.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The headers of a request that are forwarded.
const PASSED_ON: [HeaderName; 7] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    IF_MATCH,
    IF_NONE_MATCH,
    IDEMPOTENCY_KEY,
    SESSION_HEADER,
    SEQUENCE_HEADER,
];

/// The maximum bytes of an answer that a connection to the leader buffers.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// Why the leader gave no answer.
enum Failure {
    /// The request was not sent.
    NotSent(String),
    /// The leader may have carried out the request.
    NoAnswer,
}

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Forwards requests over a pool of connections.
#[derive(Clone, Debug)]
pub struct Forwarder {
    client: Arc<ArcSwap<Pool>>,
    scheme: &'static str,
    timeout: Duration,
}

impl Forwarder {
    /// A pool with this timeout for answers. With `roots`, connections use TLS and trust these
    /// authorities; otherwise they are plain.
    pub fn new(timeout: Duration, roots: Option<RootCertStore>) -> Self {
        let scheme = if roots.is_some() { "https" } else { "http" };
        let client = ArcSwap::from_pointee(pool(roots.unwrap_or_else(RootCertStore::empty)));
        Self { client: Arc::new(client), scheme, timeout }
    }

    /// Trusts these authorities from now on.
    pub fn renew(&self, roots: RootCertStore) {
        self.client.store(Arc::new(pool(roots)));
    }

    /// The URI of a path at another server.
    fn target(&self, server: &str, path: &str) -> String {
        format!("{}://{server}{path}", self.scheme)
    }

    /// The timeout for an answer.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads a JSON document from another server, with the token of a client's request. Returns
    /// `None` if that fails or takes too long.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        server: &str,
        path: &str,
        asked: &HeaderMap,
        from: NodeId,
        within: Duration,
    ) -> Option<T> {
        let uri = self.target(server, path).parse::<Uri>().ok()?;
        let mut request = Request::get(uri).header(FORWARDED_HEADER, from.0);
        if let Some(token) = asked.get(AUTHORIZATION) {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::default()).ok()?;
        let response = timeout(within, self.exchange(request)).await.ok()?.ok()?;
        let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect();
        serde_json::from_slice(&timeout(within, body).await.ok()?.ok()?.to_bytes()).ok()
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        let asked = self.client.load().request(request);
        let response = asked.await.map_err(|error| {
            if error.is_connect() {
                let cause = std::error::Error::source(&error);
                Failure::NotSent(cause.map_or_else(|| error.to_string(), ToString::to_string))
            } else {
                Failure::NoAnswer
            }
        })?;
        let (mut parts, body) = response.into_parts();
        let body = if body.size_hint().upper().is_some_and(|bytes| bytes <= WHOLE_BYTES) {
            Body::from(body.collect().await.map_err(|_| Failure::NoAnswer)?.to_bytes())
        } else {
            passed_on(body, self.timeout)
        };
        // These headers describe the connection to the leader, not the connection to the client.
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(parts, body))
    }
}

/// The rest of an answer; each piece is read when the client has taken the previous piece. If the
/// leader sends nothing for too long, the answer breaks off, and the client detects that.
fn passed_on(body: Incoming, patience: Duration) -> Body {
    Body::from_stream(stream::try_unfold(body, move |mut body| async move {
        let Ok(next) = timeout(patience, body.frame()).await else {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        };
        let Some(frame) = next else { return Ok(None) };
        let part = frame.map_err(io::Error::other)?.into_data();
        Ok(Some((part.unwrap_or_default(), body)))
    }))
}

fn pool(roots: RootCertStore) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client(roots))
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http1_max_buf_size(MAX_BUFFER_BYTES)
        .build(connector)
}

impl App {
    /// The leader with its address, if another server leads.
    pub(super) fn leader(&self, leader: Option<NodeId>) -> Option<Leader> {
        let id = leader.filter(|id| *id != self.id)?;
        self.addresses.get(id).map(|member| Leader::new(id, &member))
    }

    /// Forwards the request to the leader, or returns why that is impossible.
    pub(super) async fn ask_leader(
        &self,
        leader: Option<NodeId>,
        parts: &Parts,
        body: Bytes,
        redirect: bool,
    ) -> Result<Response, ApiError> {
        self.ask_leader_within(leader, parts, body, redirect, self.forwarder.timeout).await
    }

    /// The same with another timeout.
    pub(super) async fn ask_leader_within(
        &self,
        leader: Option<NodeId>,
        parts: &Parts,
        body: Bytes,
        redirect: bool,
        within: Duration,
    ) -> Result<Response, ApiError> {
        let known = self.leader(leader);
        if parts.headers.contains_key(FORWARDED_HEADER) {
            return Err(ApiError::NotLeader(known));
        }
        let leader = match known {
            Some(leader) => leader,
            None if self.handle.is_member() => return Err(ApiError::NoLeader),
            None => return Err(ApiError::NotAMember(None)),
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let target = self.forwarder.target(&leader.client, path);
        if redirect {
            return Err(ApiError::Redirect(leader, target));
        }
        self.metrics.forwarded.inc();
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let crossing = Crossing::to(self, leader.id);
        let request = match self.forwarded(parts, &target, body) {
            Ok(request) => request,
            // The leader's address does not make a valid URI.
            Err(error) => return Err(ApiError::LeaderUnreachable(leader, error.to_string())),
        };
        let exchange = async {
            if let Some(crossing) = &crossing {
                crossing.send().await;
            }
            let answer = self.forwarder.exchange(request).await;
            if let Some(crossing) = &crossing {
                crossing.receive().await;
            }
            answer
        };
        match timeout(within, exchange).await {
            Ok(Ok(mut response)) => {
                response.headers_mut().insert(FORWARDED_HEADER, HeaderValue::from(self.id.0));
                Ok(response)
            }
            Ok(Err(Failure::NotSent(why))) => Err(ApiError::LeaderUnreachable(leader, why)),
            Ok(Err(Failure::NoAnswer)) | Err(_) if reads => Err(ApiError::ReadTimeout),
            Ok(Err(Failure::NoAnswer)) | Err(_) => Err(ApiError::OutcomeUnknown),
        }
    }

    fn forwarded(
        &self,
        parts: &Parts,
        target: &str,
        body: Bytes,
    ) -> hyper::http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(target)
            .header(FORWARDED_HEADER, self.id.0);
        for name in PASSED_ON {
            for value in parts.headers.get_all(&name) {
                request = request.header(&name, value);
            }
        }
        request.body(Full::new(body))
    }
}
