//! Watches of keys, which continue at another server after a failure.

use std::time::Duration;

use api::address::Address;
use api::watch::BOOKMARK_INTERVAL;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::call::Call;
use super::connect::NoAnswer;
use super::error::{ClientError, Verdict, judge};
use super::{ATTEMPT, Backoff, Client, NOBODY, SILENCE as NO_ANSWER, pause, read};

/// A server that sends nothing for this time is unreachable or hangs; the client leaves it.
const SILENCE: Duration = BOOKMARK_INTERVAL.saturating_mul(3);

/// The pause before a stream is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// An event for a watcher.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Keys changed; the value is the event's data.
    Change(Value),
    /// There are no further changes up to this revision.
    Bookmark(u64),
}

/// Follows the changes of keys. Each change is reported once, in order. If a server stops,
/// disconnects or falls silent, the watch continues at another server.
#[derive(Debug)]
pub struct Watching {
    client: Client,
    /// The path and the query without `from`.
    path: String,
    /// The id of the last event.
    last: Option<String>,
    stream: Option<Stream>,
    /// The server that the watch left last.
    left: Option<Address>,
}

#[derive(Debug)]
struct Stream {
    server: Address,
    body: Incoming,
    /// Received bytes that do not form a complete event yet.
    text: Vec<u8>,
    /// How many bytes of `text` were already searched for the end of an event.
    searched: usize,
}

/// An event of the stream.
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Client {
    /// Watches the keys that the query of `/watch` selects, for instance `prefix=users/`. `from` is
    /// an event id or a revision; without it the watch begins now.
    pub fn watch(&self, parameters: &str, from: Option<String>) -> Watching {
        let (client, path) = (self.clone(), format!("/watch?{parameters}"));
        Watching { client, path, last: from, stream: None, left: None }
    }
}

impl Watching {
    /// The next event. After an error the watch is over: no server can continue where the last
    /// server stopped.
    pub async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.open().await?);
            }
            let Some(stream) = &mut self.stream else { continue };
            let Ok(Some(event)) = timeout(SILENCE, stream.next()).await else {
                self.leave().await;
                continue;
            };
            let Event { name, id, data } = event?;
            let told = match name.as_str() {
                "change" => Told::Change(data),
                "bookmark" => Told::Bookmark(data["revision"].as_u64().unwrap_or_default()),
                // Another server may know more. If no server does, opening the stream fails.
                "error" => {
                    self.leave().await;
                    continue;
                }
                // An event of a later release.
                _ => continue,
            };
            self.last = id.or(self.last.take());
            return Ok(told);
        }
    }

    /// The id of the last event, from which another watch can continue.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    async fn leave(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.client.shared.servers.failed(&stream.server);
            self.left = Some(stream.server);
        }
        sleep(PAUSE).await;
    }

    /// Opens a stream at the first server that accepts. Tries the server that was left last at the
    /// end.
    async fn open(&mut self) -> Result<Stream, ClientError> {
        let (patience, shared) = (self.client.patience, &self.client.shared);
        let deadline = Instant::now() + patience;
        let (mut last, mut backoff) = (NOBODY.to_owned(), Backoff::new());
        loop {
            let mut servers = shared.servers.order(false);
            servers.sort_by_key(|server| Some(server) == self.left.as_ref());
            let mut gone = None;
            for server in servers {
                let until = deadline.min(Instant::now() + ATTEMPT.max(patience / 2));
                let call = self.call();
                let sending = shared.connections.send(&server, &call, None);
                last = match timeout_at(until, sending).await {
                    Ok(Ok(response)) if response.status().is_success() => {
                        let (body, text) = (response.into_body(), Vec::new());
                        return Ok(Stream { server, body, text, searched: 0 });
                    }
                    Ok(Ok(response)) => {
                        let status = response.status();
                        let body = read(response.into_body()).await.unwrap_or_default();
                        match judge(status, &body) {
                            // Servers compact their history at different points.
                            Verdict::No(error) if error.has_code("compacted") => {
                                gone = Some(error);
                                continue;
                            }
                            Verdict::No(error) => return Err(error),
                            Verdict::Again(why, _) | Verdict::Doubt(why) => why,
                        }
                    }
                    Ok(Err(NoAnswer::NotSent(why) | NoAnswer::Broken(why))) => {
                        shared.servers.failed(&server);
                        why
                    }
                    Err(_) => {
                        shared.servers.failed(&server);
                        NO_ANSWER.to_owned()
                    }
                };
                last = format!("{server}: {last}");
            }
            if let Some(gone) = gone {
                return Err(gone);
            }
            pause(&mut backoff, deadline).await.ok_or(ClientError::Unavailable(last.clone()))?;
        }
    }

    fn call(&self) -> Call {
        let from = self.last.iter().map(|last| format!("&from={last}"));
        Call::new(Method::GET, self.path.clone() + &from.collect::<String>())
    }
}

impl Stream {
    /// The next event; none when the stream ends.
    async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        loop {
            let rest = &self.text[self.searched..];
            if let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..self.searched + end + 2).collect();
                self.searched = 0;
                if let Some(event) = Event::parse(&event).transpose() {
                    return Some(event);
                }
                continue;
            }
            self.searched = self.text.len().saturating_sub(1);
            let frame = self.body.frame().await?.ok()?;
            self.text.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        }
    }
}

impl Event {
    /// Parses an event; none if the text is a comment.
    fn parse(text: &[u8]) -> Result<Option<Self>, ClientError> {
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let (Some(name), Some(data)) = (field("event: "), field("data: ")) else { return Ok(None) };
        let data = serde_json::from_str(data).map_err(|error| ClientError::unexpected(&error))?;
        let (name, id) = (name.to_owned(), field("id: ").map(str::to_owned));
        Ok(Some(Self { name, id, data }))
    }
}
