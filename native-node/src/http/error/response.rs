//! Errors as responses of type `application/problem+json`.

use std::borrow::Cow;

use api::kv::Found;
use axum::response::{IntoResponse, Response};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::{ApiError, Kind, Problem};
use crate::http::answer::{Document, Outgoing};

/// The content type of all errors (RFC 9457).
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

fn problem<'a>(kind: Kind, detail: String) -> Problem<'a> {
    let Kind { status, code, title, hint, retryable } = kind;
    Problem {
        r#type: format!("urn:glassraft:error:{code}"),
        title,
        status: status.as_u16(),
        code,
        detail,
        hint,
        retryable,
        leader: None,
        found: None,
        kept: None,
    }
}

/// The answer for an error that is not part of the server's API.
pub(crate) fn answer(kind: Kind, detail: String) -> Response {
    let problem = problem(kind, detail);
    let status = StatusCode::from_u16(problem.status).expect("it was a status");
    let body = serde_json::to_string(&problem).expect("a problem has a JSON form");
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    response
}

impl ApiError {
    /// The body of the answer.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.problem()).expect("a problem has a JSON form")
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            leader: self.leader(),
            found: if let Self::ConditionFailed(found) = self { found.as_ref() } else { None },
            kept: if let Self::Compacted(compacted) = self { Some(compacted.kept) } else { None },
            ..problem(self.kind(), self.detail())
        }
    }

    /// The answer, which shows a key without copying its value.
    pub(in crate::http) fn into_answer(mut self) -> Outgoing {
        let Self::ConditionFailed(found) = &mut self else {
            return Outgoing::from(self.into_response());
        };
        let Some(found) = found.take_if(|found| found.is_some()).flatten() else {
            return Outgoing::from(self.into_response());
        };
        let detail = self::found(&found);
        let problem = Problem { detail, ..self.problem() };
        let text = serde_json::to_string(&problem).expect("a problem has a JSON form");
        let mut document = Document::default();
        document.raw(text.strip_suffix('}').unwrap_or(&text));
        document.raw(",\"found\":");
        document.found(&found);
        document.raw("}");
        let mut answer = Outgoing::from(document);
        *answer.head().status_mut() = self.status();
        answer.head().headers_mut().insert(CONTENT_TYPE, PROBLEM);
        answer
    }

    /// The `WWW-Authenticate` header of RFC 6750.
    fn challenge(&self) -> Option<HeaderValue> {
        if let Self::Forbidden { needs, .. } = self {
            let words = format!("Bearer error=\"insufficient_scope\", scope=\"{needs}\"");
            return HeaderValue::from_str(&words).ok();
        }
        matches!(self, Self::Unauthorized(_))
            .then_some(HeaderValue::from_static("Bearer realm=\"glassraft\""))
    }
}

/// Describes a key that does not meet a condition.
pub(super) fn found(found: &Found) -> String {
    format!("the key exists, last changed at revision {}", found.mod_revision)
}

/// The form of an error in an answer with several results.
impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.problem().serialize(serializer)
    }
}

impl PartialSchema for ApiError {
    fn schema() -> RefOr<Schema> {
        Problem::schema()
    }
}

impl ToSchema for ApiError {
    fn name() -> Cow<'static, str> {
        Problem::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Problem::schemas(schemas);
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.kind().status;
        let mut response = (status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::MethodNotAllowed(allowed) = &self {
            let list = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            headers.extend(HeaderValue::from_str(&list).ok().map(|list| (ALLOW, list)));
        }
        if matches!(self, Self::EncodedBody) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        headers.extend(self.challenge().map(|challenge| (WWW_AUTHENTICATE, challenge)));
        if let Self::Redirect(_, location) = &self {
            headers.extend(HeaderValue::from_str(location).ok().map(|to| (LOCATION, to)));
        }
        response
    }
}
