//! All errors of the API, with their status codes.
//!
//! Answers are `application/problem+json` (RFC 9457). They have a `code` that does not change
//! between releases, a hint, the leader where that helps, and whether the same request may be
//! retried.

mod response;

use api::kv::Found;
use api::problem::Leader;
use hyper::{Method, StatusCode};
use raft_core::event::RequestRefusal;
use raft_core::kv::{Compacted, Refusal};
pub(crate) use response::answer;
use response::found;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::MAX_SHOWN_BYTES;
use super::refusals::{in_words, leader_refusal, store_refusal};
use crate::auth::Scope;

/// An error of the API.
#[derive(Debug)]
pub enum ApiError {
    /// No leader is known.
    NoLeader,
    /// The request was already forwarded, and this server does not lead either.
    NotLeader(Option<Leader>),
    /// This server is not a member of the cluster; the leader, if it is known.
    NotAMember(Option<Leader>),
    /// The leader is unreachable; the request was not sent.
    LeaderUnreachable(Leader, String),
    /// The client wants to be redirected to the leader.
    Redirect(Leader, String),
    /// A write may or may not have happened.
    OutcomeUnknown,
    /// A read was not confirmed in time.
    ReadTimeout,
    /// Too much is pending.
    Overloaded,
    /// The limit of client connections is reached.
    TooManyConnections,
    /// The disk is full.
    DiskFull,
    /// The state has reached its quota.
    QuotaExceeded {
        /// The quota, in bytes.
        quota: u64,
    },
    /// The disk failed, or the server stops.
    Stopping,
    /// This server is too old for the command.
    UnknownCommand,
    /// A body, key or value is too large.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The results do not fit into one answer.
    AnswerTooLarge,
    /// The body did not arrive in time.
    SlowBody,
    /// The body ended early.
    BrokenBody,
    /// The request has a body where none is allowed.
    UnexpectedBody,
    /// The body has a `Content-Encoding`.
    EncodedBody,
    /// The body has an unknown `Transfer-Encoding`.
    UnknownTransferCoding,
    /// The `Expect` header is not supported.
    UnknownExpectation,
    /// A header is missing, repeated or not supported.
    BadHeader(&'static str),
    /// The body is not JSON, or not the expected JSON.
    BadJson(String),
    /// The key is empty, reserved or not well escaped.
    BadKey(&'static str),
    /// A query parameter is wrong.
    BadQuery(String),
    /// `If-Match` or `If-None-Match` is not understood.
    BadCondition(&'static str),
    /// The `Idempotency-Key` is not understood.
    BadIdempotencyKey(&'static str),
    /// The store did not reach the requested revision in time.
    RevisionNotReached {
        /// The requested revision.
        wanted: u64,
        /// The store's revision.
        at: u64,
    },
    /// The state at that revision is no longer held.
    RevisionNotHeld(u64),
    /// The session's headers are not understood.
    BadSession(&'static str),
    /// The server cannot become a member in this way.
    BadMember(String),
    /// A list is too long.
    TooMany {
        /// What the list contains.
        what: &'static str,
        /// The maximum length.
        limit: usize,
    },
    /// The condition of a write does not hold; the key, if it is known, and if it exists.
    ConditionFailed(Option<Option<Box<Found>>>),
    /// The write is in the log, but the store rejected it.
    StoreRefused(Refusal),
    /// The leader rejected the request.
    LeaderRefused(RequestRefusal),
    /// The changes to watch are compacted.
    Compacted(Compacted),
    /// No server of this cluster knows the revision to watch from.
    RevisionUnknown {
        /// The requested revision.
        asked: u64,
        /// The newest revision.
        at: u64,
    },
    /// The revision to watch from belongs to another history.
    HistoryChanged {
        /// The requested revision.
        asked: u64,
    },
    /// The key does not exist.
    KeyNotFound,
    /// There is no such route.
    RouteNotFound,
    /// The route does not have this method.
    MethodNotAllowed(&'static [Method]),
    /// The page has another origin, or `Host` does not name this server.
    Origin(String),
    /// There is no token, or it is not known; the reason.
    Unauthorized(&'static str),
    /// The token does not allow the request.
    Forbidden {
        /// The scope of the token.
        has: Scope,
        /// The scope that the request needs.
        needs: Scope,
    },
    /// The trace needs a WebSocket client.
    WebSocketOnly,
}

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// A URI that identifies the kind of error (RFC 9457).
    r#type: String,
    /// A short description, the same for all errors with this code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    #[schema(schema_with = super::openapi::codes)]
    code: &'static str,
    /// What is wrong with this request.
    detail: String,
    /// What to do.
    hint: &'static str,
    /// Whether the same request may be retried.
    retryable: bool,
    /// The leader, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Leader, nullable = false, required = false)]
    leader: Option<&'a Leader>,
    /// The key that does not meet the condition; `null` if it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Found>, required = false)]
    found: Option<&'a Option<Box<Found>>>,
    /// The first revision from which changes can be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    kept: Option<u64>,
}

/// What all errors with the same code have in common.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    hint: &'static str,
    retryable: bool,
}

pub(crate) const fn kind(
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    hint: &'static str,
) -> Kind {
    Kind { status, code, title, hint, retryable: false }
}

impl Kind {
    pub(super) const fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}

impl ApiError {
    #[rustfmt::skip]
    fn kind(&self) -> Kind {
        use StatusCode as S;
        match self {
            Self::NoLeader => kind(S::SERVICE_UNAVAILABLE, "no_leader", "No leader",
                "nothing happened; retry after Retry-After, when a leader is elected").retryable(),
            Self::NotLeader(_) => kind(S::SERVICE_UNAVAILABLE, "not_leader", "Not the leader",
                "nothing happened; retry, at the server in `leader` if it is given").retryable(),
            Self::NotAMember(_) => kind(S::SERVICE_UNAVAILABLE, "not_a_member", "Not a member of the cluster",
                "nothing happened; send it to a member, for instance the server in `leader`. `glassraft member add` adds this server").retryable(),
            Self::LeaderUnreachable(..) => kind(S::SERVICE_UNAVAILABLE, "leader_unreachable", "Leader unreachable",
                "nothing happened; retry after Retry-After, when there is a new leader").retryable(),
            Self::Redirect(..) => kind(S::TEMPORARY_REDIRECT, "redirect", "Another server is the leader",
                "send it to the address in Location").retryable(),
            Self::OutcomeUnknown => kind(S::GATEWAY_TIMEOUT, "outcome_unknown", "Outcome unknown",
                "the write may have happened, or may still happen: read the key before you retry. With an Idempotency-Key or in a session, a retry is safe"),
            Self::ReadTimeout => kind(S::GATEWAY_TIMEOUT, "read_timeout", "Read not confirmed in time",
                "retry, or add ?consistency=stale to read the state of this server").retryable(),
            Self::Overloaded => kind(S::TOO_MANY_REQUESTS, "overloaded", "Server overloaded",
                "nothing happened; retry after Retry-After, with fewer requests at once").retryable(),
            Self::TooManyConnections => kind(S::SERVICE_UNAVAILABLE, "too_many_connections", "Too many connections",
                "nothing happened; use fewer connections or another server, or restart this server with a higher --max-connections").retryable(),
            Self::DiskFull => kind(S::INSUFFICIENT_STORAGE, "disk_full", "Disk full",
                "nothing happened; free space on the leader's disk, or delete keys. The leader then accepts writes again").retryable(),
            Self::QuotaExceeded { .. } => kind(S::INSUFFICIENT_STORAGE, "quota_exceeded", "State too large",
                "nothing happened; delete keys or end leases, which is still possible, or raise --quota-bytes"),
            Self::Stopping => kind(S::SERVICE_UNAVAILABLE, "stopping", "Server is stopping",
                "nothing happened; send it to another server").retryable(),
            Self::UnknownCommand => kind(S::NOT_IMPLEMENTED, "unknown_command", "Unknown command",
                "run the same release on all servers"),
            Self::TooLarge { .. } => kind(S::PAYLOAD_TOO_LARGE, "too_large", "Too large",
                "split the data into smaller values"),
            Self::AnswerTooLarge => kind(S::PAYLOAD_TOO_LARGE, "answer_too_large", "Too much for one answer",
                "the writes of the request happened; read less at once, or page by page with GET /kv"),
            Self::SlowBody => kind(S::REQUEST_TIMEOUT, "slow_body", "Body not received in time",
                "nothing happened; retry").retryable(),
            Self::BrokenBody => kind(S::BAD_REQUEST, "broken_body", "Body incomplete",
                "send the whole body, with its correct length").retryable(),
            Self::UnexpectedBody => kind(S::BAD_REQUEST, "unexpected_body", "Body not allowed",
                "send GET, HEAD and DELETE without a body; use the path and the query parameters"),
            Self::EncodedBody => kind(S::UNSUPPORTED_MEDIA_TYPE, "encoded_body", "Content-Encoding not supported",
                "send the body without Content-Encoding"),
            Self::UnknownTransferCoding => kind(S::NOT_IMPLEMENTED, "unknown_transfer_coding", "Transfer-Encoding not supported",
                "send the body with a Content-Length, or only with Transfer-Encoding: chunked"),
            Self::UnknownExpectation => kind(S::EXPECTATION_FAILED, "unknown_expectation", "Expect header not supported",
                "send it without Expect, or with Expect: 100-continue"),
            Self::BadHeader(_) => kind(S::BAD_REQUEST, "bad_header", "Invalid header",
                "nothing happened; correct or remove the header that `detail` names"),
            Self::BadJson(_) => kind(S::BAD_REQUEST, "bad_json", "Not the expected JSON",
                "for instance, send {\"key\": \"…\", \"value\": \"…\"} to POST /set; write bytes that are not text as {\"hex\": \"…\"}"),
            Self::BadKey(_) => kind(S::BAD_REQUEST, "bad_key", "Invalid key",
                "write the key percent-encoded after the route, for instance /get/my%20key"),
            Self::BadQuery(_) => kind(S::BAD_REQUEST, "bad_query", "Invalid parameter",
                "reads take consistency=linearizable|lease|stale, max_staleness=5s (only with stale), min_revision=N. Reads and writes take redirect=true|false; /docs lists all parameters"),
            Self::BadCondition(_) => kind(S::BAD_REQUEST, "bad_condition", "Invalid condition",
                "send If-Match: \"REVISION\" (the key's ETag), If-Match: * (the key exists), or If-None-Match: * (it does not exist)"),
            Self::BadIdempotencyKey(_) => kind(S::BAD_REQUEST, "bad_idempotency_key", "Invalid Idempotency-Key",
                "use a unique name for each request, for instance a UUID, and the same name for its retries"),
            Self::RevisionNotReached { .. } => kind(S::GATEWAY_TIMEOUT, "revision_not_reached", "Revision not reached in time",
                "retry, perhaps at another server, or read without min_revision").retryable(),
            Self::RevisionNotHeld(_) => kind(S::GONE, "revision_not_held", "Revision no longer held",
                "read the range from its start. Only the server of the first page holds that state, for a minute after each page"),
            Self::BadSession(_) => kind(S::BAD_REQUEST, "bad_session", "Invalid use of a session",
                "open a session with POST /sessions. With each write, send its id as x-raft-session, and an increasing x-raft-sequence"),
            Self::BadMember(_) => kind(S::BAD_REQUEST, "bad_member", "Invalid member",
                "send {\"id\": 4, \"peer\": \"HOST:PORT\", \"client\": \"HOST:PORT\"}, with addresses that no other server has"),
            Self::TooMany { .. } => kind(S::PAYLOAD_TOO_LARGE, "too_many", "Too many items",
                "split the request"),
            Self::ConditionFailed(_) => kind(S::PRECONDITION_FAILED, "condition_failed", "Condition not met",
                "nothing happened; read the key and decide again"),
            Self::StoreRefused(refusal) => store_refusal(*refusal),
            Self::LeaderRefused(refusal) => leader_refusal(*refusal),
            Self::Compacted(_) => kind(S::GONE, "compacted", "Changes no longer kept",
                "read the keys again and watch from the revision of that answer"),
            Self::RevisionUnknown { .. } => kind(S::BAD_REQUEST, "revision_unknown", "Revision unknown",
                "it belongs to another cluster, or the cluster was restored. Read the keys again and watch from the revision of that answer"),
            Self::HistoryChanged { .. } => kind(S::GONE, "history_changed", "Different history",
                "it belongs to another cluster, or the cluster was restored. Read the keys again and watch from the revision of that answer"),
            Self::KeyNotFound => kind(S::NOT_FOUND, "key_not_found", "No such key",
                "set it with POST /set"),
            Self::RouteNotFound => kind(S::NOT_FOUND, "route_not_found", "No such route",
                "routes: GET /get/{key}, POST /set, GET|PUT|DELETE /kv/{key}, GET /kv, POST /txn, POST /batch, GET /watch, \
                 /leases, /sessions. For the cluster: GET /cluster/status, /cluster/members, POST /cluster/leader, \
                 POST /cluster/snapshot, GET /cluster/backup. Others: /livez, /readyz, /metrics, /trace. /docs describes them"),
            Self::MethodNotAllowed(_) => kind(S::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed",
                "use one of the methods in the Allow header"),
            Self::Origin(_) => kind(S::FORBIDDEN, "origin_not_allowed", "Origin not allowed",
                "to allow this page, start the server with --cors-origins"),
            Self::Unauthorized(_) => kind(S::UNAUTHORIZED, "unauthorized", "Token required",
                "send the header `Authorization: Bearer TOKEN`. The operator of the servers creates tokens with `glassraft token new`"),
            Self::Forbidden { .. } => kind(S::FORBIDDEN, "insufficient_scope", "Token does not allow this",
                "use a token with the scope that `detail` names"),
            Self::WebSocketOnly => kind(S::UPGRADE_REQUIRED, "websocket_only", "WebSocket only",
                "connect with a WebSocket client, for instance `websocat ws://HOST:PORT/trace`"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoLeader => "no leader is known at present".to_owned(),
            Self::NotLeader(None) => "this server is not the leader and knows no leader".to_owned(),
            Self::NotLeader(Some(leader)) => {
                format!("{} is the leader, not this server", leader.id)
            }
            Self::NotAMember(_) => {
                "this server is not a member of the cluster: it was removed or not added yet"
                    .to_owned()
            }
            Self::LeaderUnreachable(leader, why) => {
                format!(
                    "{} at {} is the leader, but is unreachable: {why}",
                    leader.id, leader.client
                )
            }
            Self::Redirect(leader, _) => format!("{} is the leader", leader.id),
            Self::OutcomeUnknown => "this server did not see the write commit in time".to_owned(),
            Self::ReadTimeout => "no majority confirmed the read in time".to_owned(),
            Self::Overloaded => {
                "this server has reached a limit on requests in progress".to_owned()
            }
            Self::TooManyConnections => {
                "this server has reached its limit of client connections".to_owned()
            }
            Self::DiskFull => "the leader's disk has no room for more writes".to_owned(),
            Self::QuotaExceeded { quota } => {
                format!("the state has reached its quota of {quota} bytes")
            }
            Self::Stopping => "this server is stopping".to_owned(),
            Self::UnknownCommand => {
                "the command committed, but this release cannot apply it".to_owned()
            }
            Self::TooLarge { what, limit } => format!("the {what} is larger than {limit} bytes"),
            Self::AnswerTooLarge => {
                format!("one answer contains at most {MAX_SHOWN_BYTES} bytes of keys and values")
            }
            Self::SlowBody => "the request's body did not arrive in time".to_owned(),
            Self::BrokenBody => "the request's body ended before its announced length".to_owned(),
            Self::BadJson(why) | Self::BadQuery(why) | Self::BadMember(why) => why.clone(),
            Self::UnexpectedBody => "a request with this method must have no body".to_owned(),
            Self::EncodedBody => {
                "the request's body is encoded, for instance compressed".to_owned()
            }
            Self::UnknownTransferCoding => {
                "the request's body has an unknown Transfer-Encoding".to_owned()
            }
            Self::UnknownExpectation => {
                "the Expect header of the request is not supported".to_owned()
            }
            Self::BadKey(why)
            | Self::BadHeader(why)
            | Self::BadCondition(why)
            | Self::BadIdempotencyKey(why)
            | Self::BadSession(why)
            | Self::Unauthorized(why) => (*why).to_owned(),
            Self::RevisionNotReached { wanted, at } => {
                format!("the read waited for revision {wanted}, but the store is at {at}")
            }
            Self::RevisionNotHeld(revision) => {
                format!("this server does not hold the state at revision {revision}")
            }
            Self::TooMany { what, limit } => format!("there are more than {limit} {what}"),
            Self::ConditionFailed(None) => "the key did not meet the condition".to_owned(),
            Self::ConditionFailed(Some(None)) | Self::KeyNotFound => {
                "the key does not exist".to_owned()
            }
            Self::ConditionFailed(Some(Some(found))) => self::found(found),
            Self::StoreRefused(refusal) => refusal.to_string(),
            Self::LeaderRefused(refusal) => in_words(*refusal),
            Self::Compacted(compacted) => compacted.to_string(),
            Self::RevisionUnknown { asked, at } => {
                format!("the leader knows no revision {asked}: the newest is {at}")
            }
            Self::HistoryChanged { asked } => {
                format!("the keys at revision {asked} differ from those of the event id")
            }
            Self::RouteNotFound => "the server has no such path".to_owned(),
            Self::MethodNotAllowed(_) => "the route exists, but not with this method".to_owned(),
            Self::Origin(what) => what.clone(),
            Self::Forbidden { has, needs } => {
                format!("the request needs a token of scope {needs}; its token has scope {has}")
            }
            Self::WebSocketOnly => "the event stream needs a WebSocket".to_owned(),
        }
    }

    const fn leader(&self) -> Option<&Leader> {
        match self {
            Self::NotLeader(Some(leader))
            | Self::NotAMember(Some(leader))
            | Self::LeaderUnreachable(leader, _)
            | Self::Redirect(leader, _) => Some(leader),
            Self::NoLeader
            | Self::NotLeader(None)
            | Self::NotAMember(None)
            | Self::OutcomeUnknown
            | Self::ReadTimeout
            | Self::Overloaded
            | Self::TooManyConnections
            | Self::DiskFull
            | Self::QuotaExceeded { .. }
            | Self::Stopping
            | Self::UnknownCommand
            | Self::TooLarge { .. }
            | Self::AnswerTooLarge
            | Self::SlowBody
            | Self::BrokenBody
            | Self::UnexpectedBody
            | Self::EncodedBody
            | Self::UnknownTransferCoding
            | Self::UnknownExpectation
            | Self::BadHeader(_)
            | Self::BadJson(_)
            | Self::BadKey(_)
            | Self::BadQuery(_)
            | Self::BadCondition(_)
            | Self::BadSession(_)
            | Self::BadIdempotencyKey(_)
            | Self::RevisionNotReached { .. }
            | Self::RevisionNotHeld(_)
            | Self::BadMember(_)
            | Self::TooMany { .. }
            | Self::ConditionFailed(_)
            | Self::StoreRefused(_)
            | Self::LeaderRefused(_)
            | Self::Compacted(_)
            | Self::RevisionUnknown { .. }
            | Self::HistoryChanged { .. }
            | Self::KeyNotFound
            | Self::RouteNotFound
            | Self::MethodNotAllowed(_)
            | Self::Origin(_)
            | Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::WebSocketOnly => None,
        }
    }
}

impl ApiError {
    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        self.kind().code
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.kind().status
    }

    /// What to do.
    pub(super) fn hint(&self) -> &'static str {
        self.kind().hint
    }

    /// Whether the same request may be retried.
    pub(super) fn retryable(&self) -> bool {
        self.kind().retryable
    }
}
