//! A client of the HTTP interface.
//!
//! The client tries the servers in turn. It does not retry a write that may have taken effect,
//! unless the cluster can detect the duplicate. With [`ClientOptions::sessions`] each write carries
//! a session and a sequence number, so retries take effect once. The outcome is then known even
//! after a broken connection or a change of leader. With [`ClientOptions::follow`] the client
//! learns the members and the leader, and sends changes to the leader first.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use api::kv::Consistency;
//! use client::{Client, ClientOptions};
//!
//! let server = "127.0.0.1:7001".parse()?;
//! let options = ClientOptions::new(vec![server], Duration::from_secs(5));
//! let client = Client::with(ClientOptions { follow: true, ..options });
//! client.put(b"greeting", "hello".into()).await?;
//! let value = client.get(b"greeting", Consistency::Linearizable).await?;
//! assert_eq!(value.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```

mod backoff;
mod call;
mod connect;
mod error;
mod grouped;
mod servers;
mod sessions;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::address::Address;
use api::headers::{FORWARDED_HEADER, NODE_HEADER};
use api::kv::Consistency;
use api::members::MemberList;
use api::status::ClusterStatus;
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use raft_core::types::NodeId;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use backoff::Backoff;
pub use call::Call;
use call::Kind;
pub use connect::{BadToken, Tls, TlsError, Token};
use connect::{Connections, NoAnswer};
pub use error::ClientError;
use error::{Verdict, judge};
pub use grouped::Grouped;
use servers::Servers;
use sessions::{Session, Sessions, Ticket};
pub use watch::{Told, Watching};

/// Characters that need no escape in a path (RFC 3986).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The timeout of an attempt at one server, if the request can be sent to another server.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// The timeout for refreshing the list of members in the background.
const REFRESH_PATIENCE: Duration = Duration::from_secs(2);

/// The timeout for closing sessions when a client ends. Sessions that stay open expire.
const FAREWELL: Duration = Duration::from_millis(200);

/// The maximum size of a response body, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The options of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The servers to contact first.
    pub servers: Vec<Address>,
    /// The timeout of a request, including retries and backoff.
    pub patience: Duration,
    /// Whether to learn the other servers and the leader. Otherwise the client uses only the given
    /// servers, in the given order.
    pub follow: bool,
    /// The time to live of the sessions for writes. Without sessions the client does not retry a
    /// write without a response, and its outcome is unknown.
    pub sessions: Option<Duration>,
    /// The API token that authenticates the client.
    pub token: Option<Token>,
    /// Whether the token may be sent to another machine without TLS, where others can read it.
    pub token_in_clear: bool,
    /// TLS and the trusted certificates; without it the client uses plain HTTP.
    pub tls: Option<Tls>,
}

impl ClientOptions {
    /// Uses only these servers, without sessions, token and TLS.
    pub const fn new(servers: Vec<Address>, patience: Duration) -> Self {
        Self {
            servers,
            patience,
            follow: false,
            sessions: None,
            token: None,
            token_in_clear: false,
            tls: None,
        }
    }

    /// A usual time to live for sessions.
    pub const SESSION_TTL: Duration = Duration::from_mins(1);
}

/// A client of a cluster. Cheap to clone; clones share connections, sessions and the learned
/// servers.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    connections: Connections,
    servers: Servers,
    sessions: Option<Sessions>,
    /// The number of additional rounds of attempts, over all requests.
    retries: AtomicU64,
}

/// A successful response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The response to `POST /sessions`.
#[derive(Deserialize)]
struct Opened {
    session: u64,
}

impl Client {
    /// A client of only these servers with this request timeout. It does not retry writes that may
    /// have taken effect.
    pub fn new(servers: Vec<Address>, patience: Duration) -> Self {
        Self::with(ClientOptions::new(servers, patience))
    }

    /// A client with these options.
    pub fn with(options: ClientOptions) -> Self {
        let ClientOptions { servers, patience, follow, sessions, token, token_in_clear, tls } =
            options;
        let shared = Shared {
            connections: Connections::new(tls, token, token_in_clear),
            servers: Servers::new(servers, follow),
            sessions: sessions.map(Sessions::new),
            retries: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), patience }
    }

    /// The same client with another request timeout.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { shared: Arc::clone(&self.shared), patience }
    }

    /// How often this client and its clones tried the servers again after a backoff.
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Relaxed)
    }

    /// Reads a key's value; `None` if the key does not exist.
    pub async fn get(
        &self,
        key: &[u8],
        consistency: Consistency,
    ) -> Result<Option<Bytes>, ClientError> {
        let path = format!("{}?consistency={}", key_path(key), consistency.name());
        match self.request(&Method::GET, &path, Bytes::new()).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(error) if error.is_key_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a key.
    pub async fn put(&self, key: &[u8], value: Bytes) -> Result<Answer, ClientError> {
        self.request(&Method::PUT, &key_path(key), value).await
    }

    /// Removes a key.
    pub async fn delete(&self, key: &[u8]) -> Result<Answer, ClientError> {
        self.request(&Method::DELETE, &key_path(key), Bytes::new()).await
    }

    /// The status of the cluster, as the first server that responds sees it.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        let answer = self.request(&Method::GET, "/cluster/status", Bytes::new()).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::unexpected(&error))
    }

    /// Sends a request with an optional JSON body, and parses the JSON response.
    pub async fn json(
        &self,
        method: &Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, ClientError> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let answer = self.request(method, path, body).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::unexpected(&error))
    }

    /// Sends a request to the servers in turn until the outcome is known.
    pub async fn request(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        self.send(&Call::new(method.clone(), path).body(body)).await
    }

    /// Sends a request to the servers in turn until the outcome is known.
    pub async fn send(&self, call: &Call) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.patience;
        self.look_around();
        match (call.kind(), &self.shared.sessions) {
            (Kind::InSession, Some(sessions)) => self.write(call, sessions, deadline).await,
            (Kind::Repeatable | Kind::Named | Kind::InSession | Kind::Once, _) => {
                self.settle(call, None, deadline).await
            }
        }
    }

    /// Opens a streaming response at the first server that accepts the request.
    pub async fn open(&self, path: &str) -> Result<Response<Incoming>, ClientError> {
        let call = Call::new(Method::GET, path);
        let deadline = Instant::now() + self.patience;
        let (mut last, mut backoff) = (NOBODY.to_owned(), Backoff::new());
        loop {
            for server in self.shared.servers.order(false) {
                let until = deadline.min(Instant::now() + ATTEMPT.max(self.patience / 2));
                let sending = self.shared.connections.send(&server, &call, None);
                match timeout_at(until, sending).await {
                    Ok(Ok(response)) if response.status().is_success() => return Ok(response),
                    Ok(Ok(response)) => {
                        let status = response.status();
                        let body = read(response.into_body()).await.unwrap_or_default();
                        match judge(status, &body) {
                            Verdict::No(error) => return Err(error),
                            Verdict::Again(why, _) | Verdict::Doubt(why) => {
                                last = format!("{server}: {why}");
                            }
                        }
                    }
                    Ok(Err(NoAnswer::NotSent(why) | NoAnswer::Broken(why))) => {
                        self.shared.servers.failed(&server);
                        last = format!("{server}: {why}");
                    }
                    Err(_) => last = format!("{server}: {SILENCE}"),
                }
            }
            pause(&mut backoff, deadline).await.ok_or(ClientError::Unavailable(last.clone()))?;
            self.shared.retries.fetch_add(1, Relaxed);
        }
    }

    /// Closes the idle sessions. Otherwise they expire after their time to live.
    pub async fn close(&self) {
        let Some(sessions) = &self.shared.sessions else { return };
        let closing = sessions.take_all().into_iter().map(|session| {
            let call = Call::new(Method::DELETE, format!("/sessions/{session}"));
            async move { self.settle(&call, None, Instant::now() + FAREWELL).await }
        });
        // Errors do not matter, because the sessions expire.
        drop(futures_util::future::join_all(closing).await);
    }

    /// Sends a write in a session that no other request uses meanwhile.
    async fn write(
        &self,
        call: &Call,
        sessions: &Sessions,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        loop {
            let kept = sessions.take();
            let was_kept = kept.is_some();
            let mut session = match kept {
                Some(session) => session,
                None => match self.open_session(sessions.ttl(), deadline).await {
                    Ok(session) => session,
                    // The cluster is at its limit of sessions: send the write without a session.
                    Err(error) if error.has_code("too_many_leases") => {
                        return self.settle(call, None, deadline).await;
                    }
                    Err(error) => return Err(error),
                },
            };
            let result = self.settle(call, Some(session.next()), deadline).await;
            match result {
                // The first attempt received this error, so nothing happened. The cluster lost the
                // session, for instance because it was restored from a backup.
                Err(error) if error.has_code("no_such_session") && was_kept => {}
                result => {
                    // The session is usable even if the last outcome is unknown: a late attempt
                    // takes no effect after the next request arrived.
                    sessions.give_back(session);
                    return result;
                }
            }
        }
    }

    async fn open_session(&self, ttl: Duration, deadline: Instant) -> Result<Session, ClientError> {
        let body = format!("{{\"ttl_ms\": {}}}", ttl.as_millis());
        let call = Call::new(Method::POST, "/sessions").body(body);
        let answer = self.settle(&call, None, deadline).await?;
        let opened: Opened = serde_json::from_slice(&answer.body)
            .map_err(|error| ClientError::unexpected(&error))?;
        Ok(Session::new(opened.session))
    }

    /// Sends a request until a server settles it or the deadline is over. Retries only if the
    /// request is idempotent, has a key or has a ticket.
    async fn settle(
        &self,
        call: &Call,
        ticket: Option<Ticket>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let harmless = call.kind() == Kind::Repeatable;
        let named = call.kind() == Kind::Named;
        let repeatable = harmless || ticket.is_some() || named;
        let attempt = match ticket {
            None if harmless => ATTEMPT,
            None if !named => self.patience,
            // Leave time for another attempt.
            None | Some(_) => ATTEMPT.min(self.patience / 2),
        };
        let (mut last, mut doubt, mut backoff) = (NOBODY.to_owned(), None, Backoff::new());
        loop {
            for server in self.shared.servers.order(!call.reads()) {
                let until = deadline.min(Instant::now() + attempt);
                let why = match timeout_at(until, self.attempt(&server, call, ticket)).await {
                    Ok(Attempt::Done(answer)) => return Ok(answer),
                    Ok(Attempt::Again(why)) => {
                        last = format!("{server}: {why}");
                        continue;
                    }
                    Ok(Attempt::No(error)) if doubt.is_none() || error.settles() => {
                        return Err(error);
                    }
                    Ok(Attempt::No(error)) => return Err(ClientError::Unknown(error.to_string())),
                    Ok(Attempt::Doubt(why)) => why,
                    Err(_) => {
                        self.shared.servers.failed(&server);
                        SILENCE.to_owned()
                    }
                };
                last = format!("{server}: {why}");
                if !repeatable {
                    return Err(ClientError::Unknown(why));
                }
                if !harmless {
                    doubt = Some(last.clone());
                }
            }
            if pause(&mut backoff, deadline).await.is_none() {
                return Err(match doubt {
                    Some(why) => ClientError::Unknown(why),
                    None => ClientError::Unavailable(last),
                });
            }
            self.shared.retries.fetch_add(1, Relaxed);
        }
    }

    async fn attempt(&self, server: &Address, call: &Call, ticket: Option<Ticket>) -> Attempt {
        let servers = &self.shared.servers;
        let response = match self.shared.connections.send(server, call, ticket).await {
            Ok(response) => response,
            Err(NoAnswer::NotSent(why)) => {
                servers.failed(server);
                return Attempt::Again(why);
            }
            Err(NoAnswer::Broken(why)) => {
                servers.failed(server);
                return Attempt::Doubt(why);
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match read(response.into_body()).await {
            Ok(body) => body,
            Err(why) => return Attempt::Doubt(why),
        };
        if status.is_success() {
            let forwarded = headers.contains_key(FORWARDED_HEADER);
            let leader = node_of(&headers).filter(|_| forwarded || call.changes());
            servers.answered(server, leader, forwarded);
            return Attempt::Done(Answer { headers, body });
        }
        match judge(status, &body) {
            Verdict::Again(why, leader) => {
                if let Some(leader) = leader {
                    servers.leads(leader);
                }
                Attempt::Again(why)
            }
            Verdict::Doubt(why) => Attempt::Doubt(why),
            Verdict::No(error) => Attempt::No(error),
        }
    }

    /// Refreshes the list of members periodically, in the background.
    fn look_around(&self) {
        if !self.shared.servers.refresh_is_due() {
            return;
        }
        let client = self.with_patience(REFRESH_PATIENCE);
        tokio::spawn(async move {
            let call = Call::new(Method::GET, "/cluster/members");
            let asked = client.settle(&call, None, Instant::now() + client.patience).await;
            // If this fails, the client keeps the old list.
            if let Ok(Ok(list)) = asked.map(|it| serde_json::from_slice::<MemberList>(&it.body)) {
                client.shared.servers.learn(&list);
            }
        });
    }
}

/// The result of one attempt.
enum Attempt {
    Done(Answer),
    /// Nothing happened; a retry may succeed.
    Again(String),
    /// The request may have taken effect.
    Doubt(String),
    /// Nothing happened, or the response repeats the result of an earlier attempt.
    No(ClientError),
}

const NOBODY: &str = "no server is known";
const SILENCE: &str = "no answer in time";

/// Waits before the next round; none if the deadline is too close.
async fn pause(backoff: &mut Backoff, deadline: Instant) -> Option<()> {
    let pause = backoff.next();
    if Instant::now() + pause >= deadline {
        return None;
    }
    sleep(pause).await;
    Some(())
}

async fn read(body: Incoming) -> Result<Bytes, String> {
    let collected = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    collected.map(Collected::to_bytes).map_err(|error| error.to_string())
}

/// The server that carried out the request.
fn node_of(headers: &HeaderMap) -> Option<NodeId> {
    headers.get(NODE_HEADER)?.to_str().ok()?.parse().ok().map(NodeId)
}

/// The path of a key.
pub fn key_path(key: &[u8]) -> String {
    format!("/kv/{}", escape(key))
}

/// Escapes bytes for a path or a query.
pub fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, PATH).to_string()
}
