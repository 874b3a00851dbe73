//! A client of the HTTP interface.
//!
//! It tries one server after the other, follows nobody's word but the answers' codes, and never
//! sends a write twice that may have happened, unless the cluster can tell that it is the same one:
//! with [`ClientOptions::sessions`] each write carries a session and a number, so that it takes
//! effect once however often it is sent, and its outcome is known even after a broken connection or
//! a change of leader. With [`ClientOptions::follow`] the client learns who belongs to the cluster
//! and who leads, and asks the leader first for what changes something.

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
pub use grouped::{Grouped, Written};
use servers::Servers;
use sessions::{Session, Sessions, Ticket};
pub use watch::{Told, Watching};

use crate::config::Address;
use crate::http::members::MemberList;
use crate::http::request::Consistency;
use crate::http::status::ClusterStatus;
use crate::http::{FORWARDED_HEADER, NODE_HEADER};

/// What stands for itself in a path (RFC 3986).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long one server may keep a request that can be sent to another one instead.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// How long the list of members may take, which nobody waits for.
const REFRESH_PATIENCE: Duration = Duration::from_secs(2);

/// How long a client that ends waits until its sessions are closed; they end by themselves else.
const FAREWELL: Duration = Duration::from_millis(200);

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// How a client is to behave.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The servers to begin with.
    pub servers: Vec<Address>,
    /// How long a request may take in all, attempts and pauses included.
    pub patience: Duration,
    /// Whether to learn of other servers and of who leads; else the given ones alone are asked, in
    /// the given order.
    pub follow: bool,
    /// The time to live of the sessions that writes use; without it a write whose answer does not
    /// come is not sent again, and its outcome is unknown.
    pub sessions: Option<Duration>,
    /// What proves who the client is.
    pub token: Option<Token>,
    /// Whether the token may leave this machine without TLS, where everybody on the way can read it.
    pub token_in_clear: bool,
    /// Whether servers are reached over TLS, and which are trusted.
    pub tls: Option<Tls>,
}

impl ClientOptions {
    /// Asks these servers alone, without sessions, token and TLS.
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

    /// How long a session lasts that is used again and again.
    pub const SESSION_TTL: Duration = Duration::from_mins(1);
}

/// See the module. Cheap to clone; clones share connections, sessions and what was learned.
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
    /// Rounds of attempts after the first one of each request.
    retries: AtomicU64,
}

/// An answer that was not an error.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The answer to `POST /sessions`.
#[derive(Deserialize)]
struct Opened {
    session: u64,
}

impl Client {
    /// A client of these servers alone that gives up after `patience`. Writes are sent once.
    pub fn new(servers: Vec<Address>, patience: Duration) -> Self {
        Self::with(ClientOptions::new(servers, patience))
    }

    /// A client that behaves so.
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

    /// The same client with another patience.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { shared: Arc::clone(&self.shared), patience }
    }

    /// How often this client and its clones have asked all servers once more, after a pause.
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Relaxed)
    }

    /// Reads a key's value; `None` when there is no such key.
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

    /// How the cluster is, as the first server that answers sees it.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        let answer = self.request(&Method::GET, "/cluster/status", Bytes::new()).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::unexpected(&error))
    }

    /// Sends a request with a JSON body, if any, and reads the JSON answer.
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

    /// Sends a request to one server after the other until one of them settles it.
    pub async fn request(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        self.send(&Call::new(method.clone(), path).body(body)).await
    }

    /// Sends a request to one server after the other until one of them settles it.
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

    /// Opens an answer that goes on for as long as the server likes, at the first server that gives
    /// one.
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

    /// Closes the sessions that are not in use. Without it they end by themselves in a while.
    pub async fn close(&self) {
        let Some(sessions) = &self.shared.sessions else { return };
        let closing = sessions.take_all().into_iter().map(|session| {
            let call = Call::new(Method::DELETE, format!("/sessions/{session}"));
            async move { self.settle(&call, None, Instant::now() + FAREWELL).await }
        });
        // Nothing depends on it.
        drop(futures_util::future::join_all(closing).await);
    }

    /// A write in a session of its own.
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
                    // The cluster keeps as many as it can: then as without sessions.
                    Err(error) if error.has_code("too_many_leases") => {
                        return self.settle(call, None, deadline).await;
                    }
                    Err(error) => return Err(error),
                },
            };
            let result = self.settle(call, Some(session.next()), deadline).await;
            match result {
                // Told at the first attempt, so nothing happened: the cluster has forgotten the
                // session, for instance since it was restored from a backup.
                Err(error) if error.has_code("no_such_session") && was_kept => {}
                result => {
                    // An attempt that is still on its way when the next request has arrived takes no
                    // effect any more, so a session whose last outcome is unknown is as good.
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

    /// Sends a request again and again until a server settles it or the time is over. Again only if
    /// that is the same as once: if it only looks, or has a ticket.
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
            // There must be time for another one.
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

    /// Asks for the members now and then, in the background.
    fn look_around(&self) {
        if !self.shared.servers.refresh_is_due() {
            return;
        }
        let client = self.with_patience(REFRESH_PATIENCE);
        tokio::spawn(async move {
            let call = Call::new(Method::GET, "/cluster/members");
            let asked = client.settle(&call, None, Instant::now() + client.patience).await;
            // Without the list the client goes on with what it knows.
            if let Ok(Ok(list)) = asked.map(|it| serde_json::from_slice::<MemberList>(&it.body)) {
                client.shared.servers.learn(&list);
            }
        });
    }
}

/// What one attempt came to.
enum Attempt {
    Done(Answer),
    /// Nothing happened; another server or time may help.
    Again(String),
    /// It may have happened.
    Doubt(String),
    /// Nothing happened, or what an earlier attempt did is told again.
    No(ClientError),
}

const NOBODY: &str = "there is no server to ask";
const SILENCE: &str = "no answer in time";

/// Waits before the next round; nothing if there is no time for one.
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

/// Who carried the request out.
fn node_of(headers: &HeaderMap) -> Option<NodeId> {
    headers.get(NODE_HEADER)?.to_str().ok()?.parse().ok().map(NodeId)
}

/// Where a key's bytes are found.
pub fn key_path(key: &[u8]) -> String {
    format!("/kv/{}", escape(key))
}

/// Bytes as they may stand in a path or parameter.
pub fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, PATH).to_string()
}
