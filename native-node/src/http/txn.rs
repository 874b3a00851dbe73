//! `POST /txn`: several comparisons, reads and changes as one transaction.

use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use raft_core::kv::{Answer, Applied, Command, Operation, Transaction};
use raft_core::types::LogPosition;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::answer::{Document, Outgoing};
use super::error::ApiError;
use super::headers::{IdempotencyHeader, SessionHeaders};
use super::kv::{other_request, write};
use super::operations::{JsonComparison, JsonOperation, JsonResult, Room, check_ranges};
use super::request::{self, RedirectOption, WriteOptions};

/// The maximum number of comparisons and operations in one transaction.
const MAX_PARTS: usize = 128;

/// Several comparisons, reads and changes as one transaction: at most 128 in total, with at most
/// 1000 pairs in the ranges of each list. The answer shows about 2 MiB of keys and values. A result
/// beyond that is the error `answer_too_large`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Transaction, example = json!({
    "compare": [{"key": "a", "target": {"value": "1"}}],
    "then": [{"put": {"key": "a", "value": "2"}}],
    "else": [{"get": {"key": "a"}}],
}))]
struct Body {
    /// The comparisons. All must hold; an empty list holds.
    #[serde(default)]
    compare: Vec<JsonComparison>,
    /// The operations to execute if all comparisons hold.
    #[serde(default)]
    then: Vec<JsonOperation>,
    /// The operations to execute otherwise.
    #[serde(default, rename = "else")]
    otherwise: Vec<JsonOperation>,
}

/// The answer to a transaction.
#[derive(ToSchema)]
#[schema(as = TransactionResult)]
struct Done {
    /// Whether all comparisons held and `then` was carried out.
    succeeded: bool,
    /// The store's revision after the transaction; all its changes have this revision.
    revision: u64,
    /// A result for each operation that was carried out, in order.
    results: Vec<JsonResult>,
}

/// Compares, reads and changes several keys in one transaction.
#[utoipa::path(
    post, path = "/txn", tag = "keys", request_body = Body,
    params(RedirectOption, SessionHeaders, IdempotencyHeader),
    responses((status = 200, description = "One of the two lists was executed", body = Done)),
)]
pub(super) async fn transact(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |_: &Parts, options: WriteOptions, body: &Bytes| {
        options.without_lease()?;
        transaction(body)
    };
    write(app, request, parse, done).await
}

fn done(_: LogPosition, applied: &Applied, most: usize) -> Result<Outgoing, ApiError> {
    let Answer::Transaction { succeeded, results } = &applied.answer else {
        return Err(other_request());
    };
    let mut room = Room::of(most);
    let results = results.iter().map(|result| JsonResult::new(result, &mut room)).collect();
    let done = Done { succeeded: *succeeded, revision: applied.revision, results };
    Ok(done.document().into())
}

impl Done {
    fn document(&self) -> Document {
        let Self { succeeded, revision, results } = self;
        let mut document = Document::default();
        document.raw("{\"succeeded\":");
        document.plain(succeeded);
        document.raw(",\"revision\":");
        document.plain(revision);
        document.raw(",\"results\":");
        document.list(results, |document, result| result.show(document));
        document.raw("}");
        document
    }
}

/// Parses the body and checks it against the store's bounds.
pub(super) fn transaction(body: &[u8]) -> Result<Command, ApiError> {
    let Body { compare, then, otherwise } = request::json_body(body)?;
    if compare.len() + then.len() + otherwise.len() > MAX_PARTS {
        return Err(ApiError::TooMany { what: "comparisons and operations", limit: MAX_PARTS });
    }
    let compare = compare.into_iter().map(JsonComparison::into_core).collect::<Result<_, _>>()?;
    let checked = |operations: Vec<JsonOperation>| -> Result<Vec<Operation>, ApiError> {
        let operations = operations.into_iter().map(JsonOperation::into_core);
        let operations: Vec<_> = operations.collect::<Result<_, _>>()?;
        check_ranges(&operations)?;
        Ok(operations)
    };
    let (then, otherwise) = (checked(then)?, checked(otherwise)?);
    Ok(Command::Transaction(Transaction { compare, then, otherwise }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that malformed, oversized or reserved input never enters the log.
    #[test]
    fn transactions_are_understood_or_refused() {
        let good = r#"{"compare": [{"key": "a", "target": {"version": 0}, "relation": "equal"}],
            "then": [{"put": {"key": "a", "value": "1"}}, {"range": {"range": {"start": "",
            "end": null}, "limit": 10}}], "else": [{"get": {"key": "a"}}]}"#;
        let Ok(Command::Transaction(read)) = transaction(good.as_bytes()) else { panic!() };
        assert_eq!((read.compare.len(), read.then.len(), read.otherwise.len()), (1, 2, 1));
        let Operation::Range { range, .. } = &read.then[1] else { panic!() };
        assert!(range.end.is_some(), "the cluster's own keys are left out");
        for (bad, code) in [
            ("{", "bad_json"),
            (r#"{"than": []}"#, "bad_json"),
            (r#"{"then": [{"put": {"key": "a"}}]}"#, "bad_json"),
            (r#"{"then": [{"get": {"key": ""}}]}"#, "bad_key"),
            (r#"{"then": [{"get": {"key": {"hex": "ffff00"}}}]}"#, "bad_key"),
            (
                r#"{"then": [{"range": {"range": {"start": "", "end": null}, "limit": 1001}}]}"#,
                "too_many",
            ),
        ] {
            assert_eq!(transaction(bad.as_bytes()).expect_err(bad).code(), code, "{bad}");
        }
        let many = vec![r#"{"get": {"key": "a"}}"#; MAX_PARTS + 1].join(",");
        let many = format!(r#"{{"then": [{many}]}}"#);
        assert_eq!(transaction(many.as_bytes()).expect_err("many").code(), "too_many");
    }
}
