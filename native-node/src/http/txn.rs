//! `POST /txn`: several comparisons, reads and changes as one.

use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use raft_core::kv::{
    Answer, Applied, Command, Comparison, Operation, OperationResult, Target, Transaction,
};
use raft_core::types::LogPosition;
use serde::{Deserialize, Serialize};

use super::App;
use super::error::ApiError;
use super::kv::{json, other_request, write};
use super::range::MAX_LIMIT;
use super::request::{self, WriteOptions};
use crate::addresses::without_reserved;

/// Comparisons and operations in one transaction, at most.
const MAX_PARTS: usize = 128;

/// The body.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    compare: Vec<Comparison>,
    then: Vec<Operation>,
    #[serde(rename = "else")]
    otherwise: Vec<Operation>,
}

/// The answer.
#[derive(Serialize)]
struct Done<'a> {
    /// Whether all comparisons held, so that `then` was carried out.
    succeeded: bool,
    /// The store's revision after it.
    revision: u64,
    /// A result for each operation that was carried out.
    results: &'a [OperationResult],
}

/// `POST /txn`.
pub(super) async fn post(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |_: &Parts, options: WriteOptions, body: &Bytes| {
        options.without_lease()?;
        transaction(body)
    };
    write(app, request, parse, done).await
}

fn done(_: LogPosition, applied: &Applied) -> Result<Response, ApiError> {
    let Answer::Transaction { succeeded, results } = &applied.answer else {
        return Err(other_request());
    };
    Ok(json(&Done { succeeded: *succeeded, revision: applied.revision, results }))
}

/// Reads the body and checks it against the store's bounds.
fn transaction(body: &[u8]) -> Result<Command, ApiError> {
    let Body { compare, then, otherwise } = request::json_body(body)?;
    if compare.len() + then.len() + otherwise.len() > MAX_PARTS {
        return Err(ApiError::TooMany { what: "comparisons and operations", limit: MAX_PARTS });
    }
    for comparison in &compare {
        request::check_key(&comparison.key)?;
        if let Target::Value(Some(value)) = &comparison.target {
            request::check_value(value)?;
        }
    }
    let checked = |operations: Vec<Operation>| -> Result<Vec<Operation>, ApiError> {
        let operations: Vec<_> =
            operations.into_iter().map(checked).collect::<Result<_, ApiError>>()?;
        let pairs = operations.iter().map(|operation| match operation {
            Operation::Range { limit, .. } => *limit,
            Operation::Get { .. }
            | Operation::Put { .. }
            | Operation::Delete { .. }
            | Operation::DeleteRange(_) => 0,
        });
        if pairs.fold(0, u64::saturating_add) > MAX_LIMIT as u64 {
            return Err(ApiError::TooMany { what: "pairs in all ranges", limit: MAX_LIMIT });
        }
        Ok(operations)
    };
    let (then, otherwise) = (checked(then)?, checked(otherwise)?);
    Ok(Command::Transaction(Transaction { compare, then, otherwise }))
}

fn checked(operation: Operation) -> Result<Operation, ApiError> {
    match &operation {
        Operation::Get { key } | Operation::Delete { key } => request::check_key(key)?,
        Operation::Put { key, value, lease: _ } => {
            request::check_key(key)?;
            request::check_value(value)?;
        }
        Operation::Range { .. } | Operation::DeleteRange(_) => {}
    }
    Ok(match operation {
        Operation::Range { range, limit } => {
            Operation::Range { range: without_reserved(range), limit }
        }
        Operation::DeleteRange(range) => Operation::DeleteRange(without_reserved(range)),
        other @ (Operation::Get { .. } | Operation::Put { .. } | Operation::Delete { .. }) => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the store: what is malformed, too much or reserved never gets into the log.
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
