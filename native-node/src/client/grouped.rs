//! Operations that are asked for at the same time share an exchange.
//!
//! A request of its own costs a server more than the change that it asks for: most of it is the
//! exchange over the network. A program with many operations under way, of many users perhaps, does
//! better with a [`Grouped`] client: while a few exchanges are under way,
//! operations wait for one of them to end, and the next one takes along all that wait by then. Each has its own
//! answer, as if it had been alone; it is no transaction.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use raft_core::codec::text_or_bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::error::{ClientError, Verdict, judge};
use super::{Call, Client};
use crate::http::headers::IDEMPOTENCY_KEY;

/// Exchanges under way at once. More would carry fewer operations each.
const EXCHANGES: usize = 4;

/// Operations in an exchange, at most; the server takes 1000.
const MAX_OPERATIONS: usize = 512;

/// Bytes of keys and values in an exchange, unless a single operation is larger: far less than a
/// server takes, even if each byte needs an escape.
const MAX_BYTES: usize = 512 << 10;

/// Operations that may wait before those who ask for more have to.
const QUEUE: usize = 4 * MAX_OPERATIONS;

/// See the module. Cheap to clone; clones share exchanges.
#[derive(Clone, Debug)]
pub struct Grouped {
    queue: mpsc::Sender<Waiting>,
}

/// An operation and who wants to know of it.
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

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Written {
    /// The store's revision after it.
    pub revision: u64,
    /// Whether the key was there before.
    pub existed: bool,
}

#[derive(Deserialize)]
struct Found {
    #[serde(with = "text_or_bytes")]
    value: Bytes,
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
    /// A client whose operations share exchanges, as patient as this one. Its exchanges end when it
    /// and all its clones are gone and the last operation is answered.
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

    /// Reads a key as it is when all that was committed before counts; `None` when there is none.
    pub async fn get(&self, key: Bytes) -> Result<Option<Bytes>, ClientError> {
        match self.ask(Operation::Get(Key { key })).await? {
            Outcome::Found(found) => Ok(found.map(|found| found.value)),
            Outcome::Written(_) | Outcome::Error(_) => Err(other()),
        }
    }

    async fn ask(&self, operation: Operation) -> Result<Outcome, ClientError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ClientError::Unknown("the client's runtime is ending".to_owned());
        self.queue.send(Waiting { operation, reply }).await.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())?? {
            Outcome::Error(problem) => Err(refusal(&problem)),
            outcome @ (Outcome::Written(_) | Outcome::Found(_)) => Ok(outcome),
        }
    }
}

fn refusal(problem: &serde_json::Value) -> ClientError {
    // A part of an answer has no status of its own.
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
    ClientError::Unknown("the server answered something else than was asked".to_owned())
}

/// Begins an exchange with all that waits whenever one may begin.
async fn dispatch(client: Client, mut queue: mpsc::Receiver<Waiting>) {
    let slots = Arc::new(Semaphore::new(EXCHANGES));
    let mut left_over = None;
    loop {
        // First the slot, then the operations: meanwhile more of them come.
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

/// What waits, as far as it fits; and the one that did not.
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
                // Who asked may have given up.
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
        // As in a session it takes effect once then, however often it is sent.
        call = call.header(IDEMPOTENCY_KEY, HeaderValue::from(name));
    }
    let answer = client.send(&call).await?;
    let Results { results } =
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::unexpected(&error))?;
    if results.len() == group.len() { Ok(results) } else { Err(other()) }
}
