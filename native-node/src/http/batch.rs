//! `POST /batch`: many independent operations in one request.
//!
//! They are not a transaction: each operation is a log entry and has a result of its own. A batch
//! saves round trips, and shares the leader's group commit.

use api::headers::{REVISION_HEADER, SEQUENCE_HEADER, SESSION_HEADER};
use api::kv::{Consistency, Found, Written};
use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use raft_core::kv::{Answer, Applied, Command, KvStore};
use raft_core::types::LogPosition;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Document;
use super::error::ApiError;
use super::freshness::see_now;
use super::headers::{self, IdempotencyHeader};
use super::kv::{other_request, told};
use super::operations::{JsonKey, JsonPut, Room};
use super::request::{self, RedirectOption};
use super::{App, signed};
use crate::driver::handle::RequestError;

/// The maximum number of operations in one batch.
const MAX_OPERATIONS: usize = 1000;

/// Independent operations, at most 1000. The body may have about 2 MiB.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "operations": [{"put": {"key": "a", "value": "1"}}, {"get": {"key": "b"}}],
}))]
struct Batch {
    #[schema(max_items = 1000)]
    operations: Vec<BatchOperation>,
}

/// An operation of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BatchOperation {
    /// Sets a key.
    Put(JsonPut),
    /// Removes a key.
    Delete(JsonKey),
    /// Reads a key.
    Get(JsonKey),
}

/// The answer to a batch.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes")]
struct BatchResults {
    /// A result for each operation, in their order.
    results: Vec<BatchResult>,
}

/// The result of one operation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BatchResult {
    /// For `put` and `delete`: committed by a majority and applied.
    Written(Written),
    /// For `get`: the key, or `null` if it does not exist.
    Found(Option<Found>),
    /// The operation failed or its outcome is unknown, with the error of a single request. For
    /// `get` also: there is no room for more than about 2 MiB of keys and values.
    Error(ApiError),
}

/// A checked operation.
enum Step {
    Write(Command),
    Read(Bytes),
    Refused(ApiError),
}

/// Carries out many independent operations.
///
/// A batch is not a transaction: some operations may fail while others succeed, and they take
/// effect in any order. All reads are linearizable and see one state, with or without the batch's
/// own writes. With an `Idempotency-Key` the whole batch may be retried: each write takes effect
/// once.
#[utoipa::path(
    post, path = "/batch", tag = "keys", request_body = Batch,
    params(RedirectOption, IdempotencyHeader),
    responses((status = 200, description = "A result for each operation, which may be an error",
        body = BatchResults)),
)]
pub(super) async fn batch(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let RedirectOption { redirect } = request::query(&parts.uri)?;
    let (body, _permit) = request::body(app, body).await?;
    let mut steps = steps(&parts.headers, &body)?;
    let has_writes = steps.iter().any(|step| matches!(step, Step::Write(_)));
    if has_writes && !app.handle.leads() {
        return app.ask_leader(app.handle.status().leader, &parts, body, redirect).await;
    }
    if has_writes && app.handle.is_full() {
        let quota = app.handle.quota().bytes();
        for step in &mut steps {
            if matches!(step, Step::Write(command) if command.grows()) {
                *step = Step::Refused(ApiError::QuotaExceeded { quota });
            }
        }
    }
    let commands: Vec<Bytes> = steps.iter().filter_map(Step::command).collect();
    let reads = steps.iter().any(|step| matches!(step, Step::Read(_)));
    let seeing =
        async { if reads { Some(see_now(app, Consistency::Linearizable).await) } else { None } };
    let (written, seen) = tokio::join!(app.handle.propose_all(commands), seeing);
    let elsewhere = |error: &RequestError| matches!(error, RequestError::NotLeader { .. });
    let nothing_happened = written.iter().all(|it| it.as_ref().is_err_and(elsewhere));
    if !written.is_empty() && nothing_happened {
        // This server has just stepped down.
        return app.ask_leader(app.handle.status().leader, &parts, body, redirect).await;
    }
    if let Some(Err(RequestError::NotLeader { leader })) = &seen
        && !has_writes
    {
        return app.ask_leader(*leader, &parts, body, redirect).await;
    }
    if let Some(Err(RequestError::NotAMember { leader })) = &seen
        && !has_writes
    {
        return Err(ApiError::NotAMember(app.leader(*leader)));
    }
    let seen = seen.map(|seen| seen.map(|seen| seen.store));
    let revisions = written.iter().flatten().map(|(_, applied)| applied.revision);
    let revision = match &seen {
        Some(Ok(store)) => revisions.chain([store.revision()]).max(),
        Some(Err(_)) | None => revisions.max(),
    };
    let show = |most| Ok(results(&steps, &written, seen.as_ref(), most).into());
    let mut response = signed(app, told(app, show).await?);
    response
        .headers_mut()
        .extend(revision.map(|revision| (REVISION_HEADER, HeaderValue::from(revision))));
    Ok(response)
}

/// Parses the body and checks each operation against the store's bounds.
fn steps(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Step>, ApiError> {
    if headers.contains_key(SESSION_HEADER) || headers.contains_key(SEQUENCE_HEADER) {
        let why = "a batch cannot belong to a session; use an Idempotency-Key";
        return Err(ApiError::BadSession(why));
    }
    let name = headers::idempotency_key(headers)?;
    let Batch { operations } = request::json_body(body)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::TooMany { what: "operations", limit: MAX_OPERATIONS });
    }
    let step = |(number, operation): (u64, BatchOperation)| {
        let command = match operation {
            BatchOperation::Get(key) => return key.checked().map(Step::Read),
            BatchOperation::Delete(key) => Command::delete(key.checked()?),
            BatchOperation::Put(put) => {
                let (key, value, lease) = put.checked()?;
                Command::Put { key, value, lease }
            }
        };
        Ok(Step::Write(match name {
            None => command,
            // Part 0 is a request that is not a batch.
            Some(name) => headers::named(&command, name, 1 + number),
        }))
    };
    let steps = (0_u64..).zip(operations).map(|it| step(it).unwrap_or_else(Step::Refused));
    Ok(steps.collect())
}

impl Step {
    fn command(&self) -> Option<Bytes> {
        match self {
            Self::Write(command) => Some(command.encode()),
            Self::Read(_) | Self::Refused(_) => None,
        }
    }
}

/// Writes all results in the order of the operations; keys and values only while there is room.
fn results(
    steps: &[Step],
    written: &[Result<(LogPosition, Applied), RequestError>],
    seen: Option<&Result<KvStore, RequestError>>,
    most: usize,
) -> Document {
    let (mut written, mut room) = (written.iter(), Room::of(most));
    let mut document = Document::default();
    document.raw("{\"results\":");
    document.list(steps, |document, step| match (step, seen) {
        (Step::Refused(error), _) => refused(document, error),
        (Step::Write(_), _) => match written.next() {
            Some(Ok((position, applied))) => document.plain(&shown(*position, applied)),
            Some(Err(error)) => refused(document, &request::write_error(*error)),
            None => unreachable!("each write has a result"),
        },
        (Step::Read(key), Some(Ok(store))) => match store.get(key) {
            None => document.plain(&BatchResult::Found(None)),
            Some(found) => match room.take([(key, found)]) {
                Ok(()) => {
                    document.raw("{\"found\":");
                    document.found(&Found::new(key, found));
                    document.raw("}");
                }
                Err(error) => refused(document, &error),
            },
        },
        (Step::Read(_), Some(Err(error))) => refused(document, &request::read_error(*error)),
        (Step::Read(_), None) => unreachable!("where something is read, something was seen"),
    });
    document.raw("}");
    document
}

fn refused(document: &mut Document, error: &ApiError) {
    document.raw("{\"error\":");
    document.plain(error);
    document.raw("}");
}

fn shown(position: LogPosition, applied: &Applied) -> BatchResult {
    match applied.answer {
        Answer::Done { existed } => {
            BatchResult::Written(Written::new(position, applied.revision, existed))
        }
        Answer::Refused(refusal) => BatchResult::Error(ApiError::StoreRefused(refusal)),
        Answer::Removed { .. }
        | Answer::Compared { .. }
        | Answer::Transaction { .. }
        | Answer::Lease { .. }
        | Answer::LeaseRevoked { .. }
        | Answer::Session(_)
        | Answer::SessionClosed
        | Answer::Clock { .. }
        | Answer::Semantics { .. } => BatchResult::Error(other_request()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that one bad operation is rejected by itself, and a bad body as a whole.
    #[test]
    fn operations_are_understood_or_refused_one_by_one() {
        let read = |text: &str| steps(&HeaderMap::new(), text.as_bytes());
        let good = r#"{"operations": [{"put": {"key": "a", "value": {"hex": "ff"}, "lease": 3}},
            {"get": {"key": "a"}}, {"delete": {"key": ""}}]}"#;
        let [Step::Write(put), Step::Read(_), Step::Refused(ApiError::BadKey(_))] =
            &read(good).expect("a batch")[..]
        else {
            panic!("something else was read")
        };
        let value = Bytes::from_static(b"\xff");
        assert_eq!(*put, Command::Put { key: "a".into(), value, lease: Some(3.into()) });
        for bad in ["", "[]", r#"{"operations": [{"get": {"key": "a"}, "put": {}}]}"#] {
            assert!(matches!(read(bad), Err(ApiError::BadJson(_))), "{bad}");
        }
        let many = vec![r#"{"get": {"key": "a"}}"#; MAX_OPERATIONS + 1].join(",");
        let many = format!(r#"{{"operations": [{many}]}}"#);
        assert!(matches!(read(&many), Err(ApiError::TooMany { .. })));
    }
}
