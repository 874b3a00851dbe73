//! Concurrent operations share HTTP requests.
//!
//! Most of the cost of a small operation on the server is the HTTP request. A program with many
//! concurrent operations is faster with a [`Grouped`] client. It has only a few batch requests in
//! flight: further operations wait in a queue, and the next request carries all that wait. Each
//! operation has its own result; a batch is not a transaction.
//!
//! **Invariant:** Grouping adds no delay: while fewer than [`EXCHANGES`] requests are in flight, an
//! operation that comes alone is sent alone.

use std::sync::Arc;

use api::headers::IDEMPOTENCY_KEY;
use api::kv::{Found, Written};
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use raft_core::codec::text_or_bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::error::{ClientError, Verdict, judge};
use super::{Call, Client};

/// Batch requests in flight. With more, each request would carry fewer operations.
const EXCHANGES: usize = 4;

/// The maximum number of operations in a batch; the server accepts 1000.
const MAX_OPERATIONS: usize = 512;

/// The maximum size of keys and values in a batch, in bytes, unless a single operation is larger.
/// It is far below the server's limit, even if each byte needs an escape.
const MAX_BYTES: usize = 512 << 10;

/// The capacity of the queue. If it is full, callers wait.
const QUEUE: usize = 4 * MAX_OPERATIONS;

/// A client that sends concurrent operations in batches. Cheap to clone; clones share the batches.
#[derive(Clone, Debug)]
pub struct Grouped {
    queue: mpsc::Sender<Waiting>,
}

/// An operation in the queue, and where its result goes.
struct Waiting {
    operation: Operation,
    reply: oneshot::Sender<Result<Outcome, ClientError>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Put(Pair),
    Delete(Key),
    Get(Key),
}

#[derive(Serialize)]
struct Pair {
    #[serde(with = "text_or_bytes")]
    key: Bytes,
    #[serde(with = "text_or_bytes")]
    value: Bytes,
}

#[derive(Serialize)]
struct Key {
    #[serde(with = "text_or_bytes")]
    key: Bytes,
}

#[derive(Serialize)]
struct Batch<'a> {
    operations: Vec<&'a Operation>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Written(Written),
    Found(Option<Found>),
    Error(serde_json::Value),
}

impl Operation {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(Pair { key, value }) => key.len() + value.len(),
            Self::Delete(Key { key }) | Self::Get(Key { key }) => key.len(),
        }
    }

    const fn reads(&self) -> bool {
        match self {
            Self::Get(_) => true,
            Self::Put(_) | Self::Delete(_) => false,
        }
    }
}

impl Client {
    /// A client that sends operations in batches, with the same request timeout. Its task ends when
    /// all clones are dropped and all operations are answered.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn grouped(&self) -> Grouped {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(dispatch(self.clone(), waiting));
        Grouped { queue }
    }
}

impl Grouped {
    /// Sets a key.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<Written, ClientError> {
        written(&self.ask(Operation::Put(Pair { key, value })).await?)
    }

    /// Removes a key.
    pub async fn delete(&self, key: Bytes) -> Result<Written, ClientError> {
        written(&self.ask(Operation::Delete(Key { key })).await?)
    }

    /// Reads a key, linearizable; `None` if the key does not exist.
    pub async fn get(&self, key: Bytes) -> Result<Option<Bytes>, ClientError> {
        match self.ask(Operation::Get(Key { key })).await? {
            Outcome::Found(found) => Ok(found.map(|found| found.value)),
            Outcome::Written(_) | Outcome::Error(_) => Err(other()),
        }
    }

    async fn ask(&self, operation: Operation) -> Result<Outcome, ClientError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ClientError::Unknown("the client's runtime is shutting down".to_owned());
        self.queue.send(Waiting { operation, reply }).await.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())?? {
            Outcome::Error(problem) => Err(refusal(&problem)),
            outcome @ (Outcome::Written(_) | Outcome::Found(_)) => Ok(outcome),
        }
    }
}

fn refusal(problem: &serde_json::Value) -> ClientError {
    // A part of a response has no status of its own.
    match judge(StatusCode::OK, problem.to_string().as_bytes()) {
        Verdict::Again(why, _) => ClientError::Unavailable(why),
        Verdict::Doubt(why) => ClientError::Unknown(why),
        Verdict::No(error) => error,
    }
}

fn written(outcome: &Outcome) -> Result<Written, ClientError> {
    match outcome {
        Outcome::Written(written) => Ok(*written),
        Outcome::Found(_) | Outcome::Error(_) => Err(other()),
    }
}

fn other() -> ClientError {
    ClientError::Unknown("the server's answer does not fit the request".to_owned())
}

/// Sends a batch with all operations in the queue whenever fewer than [`EXCHANGES`] are in flight.
async fn dispatch(client: Client, mut queue: mpsc::Receiver<Waiting>) {
    let slots = Arc::new(Semaphore::new(EXCHANGES));
    let mut left_over = None;
    loop {
        // Wait for the slot first: more operations arrive in the meantime.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let first = match left_over.take() {
            Some(waiting) => waiting,
            None => match queue.recv().await {
                Some(waiting) => waiting,
                None => return,
            },
        };
        let (group, rest) = group(first, &mut queue);
        left_over = rest;
        let client = client.clone();
        tokio::spawn(async move {
            exchange(&client, group).await;
            drop(slot);
        });
    }
}

/// The operations in the queue that fit into a batch, and the first that does not.
fn group(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut bytes = first.operation.bytes();
    let mut group = vec![first];
    while group.len() < MAX_OPERATIONS {
        let Ok(next) = queue.try_recv() else { break };
        bytes = bytes.saturating_add(next.operation.bytes());
        if bytes > MAX_BYTES {
            return (group, Some(next));
        }
        group.push(next);
    }
    (group, None)
}

async fn exchange(client: &Client, group: Vec<Waiting>) {
    let results = ask_all(client, &group).await;
    match results {
        Ok(results) => {
            for (waiting, outcome) in group.into_iter().zip(results) {
                // The caller may have given up.
                drop(waiting.reply.send(Ok(outcome)));
            }
        }
        Err(error) => {
            for waiting in group {
                drop(waiting.reply.send(Err(error.clone())));
            }
        }
    }
}

async fn ask_all(client: &Client, group: &[Waiting]) -> Result<Vec<Outcome>, ClientError> {
    let operations: Vec<&Operation> = group.iter().map(|waiting| &waiting.operation).collect();
    let writes = operations.iter().any(|operation| !operation.reads());
    let body = serde_json::to_vec(&Batch { operations }).expect("keys and values have a JSON form");
    let mut call = Call::new(Method::POST, "/batch").body(body);
    if !writes {
        call = call.only_reads();
    } else if client.shared.sessions.is_some()
        && let Ok(name) = getrandom::u64()
    {
        // As in a session, the batch then takes effect once, even if it is sent several times.
        call = call.header(IDEMPOTENCY_KEY, HeaderValue::from(name));
    }
    let answer = client.send(&call).await?;
    let Results { results } =
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::unexpected(&error))?;
    if results.len() == group.len() { Ok(results) } else { Err(other()) }
}
