//! A client of the HTTP interface: tries one server after the other, follows nobody's word but the
//! answers' codes, and never sends a write twice that may have happened.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Address;
use crate::http::request::Consistency;
use crate::http::status::ClusterStatus;

/// What stands for itself in a path (RFC 3986).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The pause before the next server is tried, once all were.
const PAUSE: Duration = Duration::from_millis(50);

/// How long one server may keep a request that can be sent to another one instead.
const READ_PATIENCE: Duration = Duration::from_millis(1500);

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    servers: Vec<Address>,
    patience: Duration,
}

/// An answer that was not an error.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why a request had no success.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server understood and said no; nothing happened.
    #[error("{detail} ({code}): {hint}")]
    Refused {
        /// The status.
        status: u16,
        /// The error's stable name.
        code: String,
        /// What is wrong.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// No server could do it in time; nothing happened.
    #[error("no server could do it in time; the last one said: {0}")]
    Unavailable(String),
    /// A write may or may not have happened.
    #[error("the outcome is unknown: {0}; read the key before you write it again")]
    Unknown(String),
}

impl ClientError {
    /// Whether it says that the key does not exist.
    pub fn is_key_not_found(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "key_not_found")
    }
}

/// The parts of an error's body that decide what happens next.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    retryable: bool,
}

/// What to do after one attempt.
enum Attempt {
    Done(Answer),
    /// Nothing happened; another server or time may help.
    Again(String),
    Failed(ClientError),
}

impl Client {
    /// A client of these servers that gives up after `patience`.
    pub fn new(servers: Vec<Address>, patience: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        let pool =
            Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { pool, servers, patience }
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
        serde_json::from_slice(&answer.body).map_err(|error| unexpected(&error))
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
        serde_json::from_slice(&answer.body).map_err(|error| unexpected(&error))
    }

    /// Opens an answer that goes on for as long as the server likes, at the first server that gives
    /// one.
    pub async fn open(&self, path: &str) -> Result<Response<Incoming>, ClientError> {
        let mut last = "there is no server to ask".to_owned();
        for server in &self.servers {
            let uri = format!("http://{server}{path}");
            let request = Request::get(uri).body(Full::default());
            let Ok(request) = request else { continue };
            match timeout_at(Instant::now() + READ_PATIENCE, self.pool.request(request)).await {
                Ok(Ok(response)) if response.status().is_success() => return Ok(response),
                Ok(Ok(response)) => {
                    let status = response.status();
                    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
                    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                    match judge(&Method::GET, status, &body) {
                        Attempt::Failed(error) => return Err(error),
                        Attempt::Again(why) => last = format!("{server}: {why}"),
                        Attempt::Done(_) => {}
                    }
                }
                Ok(Err(error)) => last = format!("{server}: {error}"),
                Err(_) => last = format!("{server}: no answer in time"),
            }
        }
        Err(ClientError::Unavailable(last))
    }

    /// Sends a request to one server after the other until one of them settles it.
    pub async fn request(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.patience;
        let mut last = "there is no server to ask".to_owned();
        loop {
            for server in &self.servers {
                let until = if changes_nothing(method) {
                    deadline.min(Instant::now() + READ_PATIENCE)
                } else {
                    deadline
                };
                let attempt = self.attempt(server, method, path, body.clone());
                match timeout_at(until, attempt).await.unwrap_or_else(|_| silent(method)) {
                    Attempt::Done(answer) => return Ok(answer),
                    Attempt::Failed(error) => return Err(error),
                    Attempt::Again(why) => last = format!("{server}: {why}"),
                }
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(ClientError::Unavailable(last));
            }
            sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, server: &Address, method: &Method, path: &str, body: Bytes) -> Attempt {
        let uri = format!("http://{server}{path}");
        let request = Request::builder().method(method.clone()).uri(uri).body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Attempt::Again(error.to_string()),
        };
        let response = match self.pool.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Attempt::Again("cannot connect".to_owned()),
            Err(error) => return broken(method, &error),
        };
        let (parts, body) = response.into_parts();
        let body = match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return broken(method, &error),
        };
        if parts.status.is_success() {
            return Attempt::Done(Answer { headers: parts.headers, body });
        }
        judge(method, parts.status, &body)
    }
}

fn unexpected(error: &serde_json::Error) -> ClientError {
    ClientError::Refused {
        status: StatusCode::OK.as_u16(),
        code: "unexpected_answer".to_owned(),
        detail: format!("the server's answer is not what this release expects: {error}"),
        hint: "use the same release as the servers".to_owned(),
    }
}

/// What an error answer means.
fn judge(method: &Method, status: StatusCode, body: &[u8]) -> Attempt {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return broken(method, &format!("status {status} without an explanation"));
    };
    let Problem { code, detail, hint, retryable } = problem;
    if code == "outcome_unknown" {
        Attempt::Failed(ClientError::Unknown(detail))
    } else if retryable {
        Attempt::Again(detail)
    } else {
        let status = status.as_u16();
        Attempt::Failed(ClientError::Refused { status, code, detail, hint })
    }
}

/// The request was sent, but no answer came.
fn broken(method: &Method, why: &dyn std::fmt::Display) -> Attempt {
    if changes_nothing(method) {
        Attempt::Again(why.to_string())
    } else {
        Attempt::Failed(ClientError::Unknown(why.to_string()))
    }
}

fn silent(method: &Method) -> Attempt {
    broken(method, &"no answer in time")
}

fn changes_nothing(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Where a key's bytes are found.
pub fn key_path(key: &[u8]) -> String {
    format!("/kv/{}", escape(key))
}

/// Bytes as they may stand in a path or parameter.
pub fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, PATH).to_string()
}
