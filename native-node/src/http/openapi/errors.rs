//! The errors of each request, with the statuses and codes of [`ApiError`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use api::problem::Leader;
use raft_core::event::RequestRefusal;
use raft_core::kv::{Compacted, Refusal};
use raft_core::membership::ChangeRefusal;
use raft_core::types::NodeId;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::content::Content;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{AllOf, Object, Ref, Schema, Type};
use utoipa::{Modify, PartialSchema as _, ToSchema as _};

use super::common::{header, operations};
use crate::auth::Scope;
use crate::http::error::{ApiError, Problem};

/// Adds the errors to every operation, and a table of all errors to the description.
pub(super) struct Errors;

impl Modify for Errors {
    fn modify(&self, api: &mut OpenApi) {
        for operation in operations(api) {
            let id = operation.operation_id.clone().unwrap_or_default();
            for (status, errors) in by_status(of_operation(&id)) {
                let response = response(status, &errors);
                match operation.responses.responses.get_mut(&status.to_string()) {
                    // The operation itself also answers with this status.
                    Some(RefOr::T(known)) => {
                        known.description =
                            format!("{}\n\n{}", known.description, response.description);
                        known.content.extend(response.content);
                        known.headers.extend(response.headers);
                    }
                    Some(RefOr::Ref(_)) | None => {
                        operation.responses.responses.insert(status.to_string(), response.into());
                    }
                }
            }
        }
        let schemas = &mut api.components.get_or_insert_default().schemas;
        let mut named = vec![(Problem::name().into_owned(), Problem::schema())];
        Problem::schemas(&mut named);
        schemas.extend(named);
        let text = api.info.description.get_or_insert_default();
        text.push_str(&table());
    }
}

fn by_status(errors: Vec<ApiError>) -> BTreeMap<u16, Vec<ApiError>> {
    let mut sorted: BTreeMap<u16, Vec<ApiError>> = BTreeMap::new();
    for error in errors {
        sorted.entry(error.status().as_u16()).or_default().push(error);
    }
    sorted
}

/// An answer that is one of these errors.
fn response(status: u16, errors: &[ApiError]) -> Response {
    let text = errors.iter().map(|error| format!("`{}`: {}", error.code(), error.hint()));
    let codes = errors.iter().map(|error| json!(error.code()));
    let code = Object::builder().schema_type(Type::String).enum_values(Some(codes));
    let narrowed = Object::builder().schema_type(Type::Object).property("code", code);
    let schema = AllOf::builder().item(Ref::from_schema_name(Problem::name())).item(narrowed);
    let mut response = Response::new(text.collect::<Vec<_>>().join("\n\n"));
    let content = Content::new(Some(Schema::AllOf(schema.build())));
    response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
    let more = match status {
        307 => Some(("location", Type::String, "The same path at the leader")),
        401 => Some(("www-authenticate", Type::String, "`Bearer`")),
        429 | 503 => Some(("retry-after", Type::Integer, "When to retry, in seconds")),
        _ => None,
    };
    if let Some((name, kind, text)) = more {
        response.headers.insert(name.to_owned(), header(kind, text).into());
    }
    response
}

/// All codes as a table in Markdown.
fn table() -> String {
    let mut text = String::from(
        "\n\nErrors are `application/problem+json` (RFC 9457) with a stable `code`:\n\n\
         | code | status | what to do | retry the same request |\n| --- | --- | --- | --- |\n",
    );
    for error in all() {
        let (code, status, hint) = (error.code(), error.status().as_u16(), error.hint());
        let again = if error.retryable() { "yes" } else { "" };
        writeln!(text, "| `{code}` | {status} | {} | {again} |", hint.replace('|', "\\|"))
            .expect("writing into a string does not fail");
    }
    text
}

/// The schema of the codes of all errors.
pub(in crate::http) fn codes() -> Schema {
    let codes = all().into_iter().map(|error| Value::from(error.code()));
    let object = Object::builder().schema_type(Type::String).enum_values(Some(codes));
    Schema::Object(object.description(Some("The code does not change between releases")).build())
}

/// All errors, one of each code.
pub(super) fn all() -> Vec<ApiError> {
    std::iter::successors(Some(ApiError::NoLeader), after).collect()
}

/// The next error in the list. A new error must be inserted between two others: without that this
/// does not compile.
fn after(error: &ApiError) -> Option<ApiError> {
    use ApiError as E;
    let nobody = || Leader { id: NodeId(1), client: "HOST:PORT".to_owned() };
    Some(match error {
        E::NoLeader => E::NotLeader(None),
        E::NotLeader(_) => E::NotAMember(None),
        E::NotAMember(_) => E::LeaderUnreachable(nobody(), String::new()),
        E::LeaderUnreachable(..) => E::Redirect(nobody(), String::new()),
        E::Redirect(..) => E::OutcomeUnknown,
        E::OutcomeUnknown => E::ReadTimeout,
        E::ReadTimeout => E::Overloaded,
        E::Overloaded => E::TooManyConnections,
        E::TooManyConnections => E::DiskFull,
        E::DiskFull => E::QuotaExceeded { quota: 0 },
        E::QuotaExceeded { .. } => E::Stopping,
        E::Stopping => E::UnknownCommand,
        E::UnknownCommand => E::TooLarge { what: "", limit: 0 },
        E::TooLarge { .. } => E::AnswerTooLarge,
        E::AnswerTooLarge => E::SlowBody,
        E::SlowBody => E::BrokenBody,
        E::BrokenBody => E::UnexpectedBody,
        E::UnexpectedBody => E::EncodedBody,
        E::EncodedBody => E::UnknownTransferCoding,
        E::UnknownTransferCoding => E::UnknownExpectation,
        E::UnknownExpectation => E::BadHeader(""),
        E::BadHeader(_) => E::BadJson(String::new()),
        E::BadJson(_) => E::BadKey(""),
        E::BadKey(_) => E::BadQuery(String::new()),
        E::BadQuery(_) => E::BadCondition(""),
        E::BadCondition(_) => E::BadIdempotencyKey(""),
        E::BadIdempotencyKey(_) => E::RevisionNotReached { wanted: 0, at: 0 },
        E::RevisionNotReached { .. } => E::RevisionNotHeld(0),
        E::RevisionNotHeld(_) => E::BadSession(""),
        E::BadSession(_) => E::BadMember(String::new()),
        E::BadMember(_) => E::TooMany { what: "", limit: 0 },
        E::TooMany { .. } => E::ConditionFailed(None),
        E::ConditionFailed(_) => E::StoreRefused(Refusal::NoSuchLease),
        E::StoreRefused(refusal) => match after_refusal(*refusal) {
            Some(refusal) => E::StoreRefused(refusal),
            None => E::LeaderRefused(RequestRefusal::Membership(ChangeRefusal::InProgress)),
        },
        E::LeaderRefused(refusal) => match after_leaders_refusal(*refusal) {
            Some(refusal) => E::LeaderRefused(refusal),
            None => E::Compacted(Compacted { asked: 0, kept: 0 }),
        },
        E::Compacted(_) => E::RevisionUnknown { asked: 0, at: 0 },
        E::RevisionUnknown { .. } => E::HistoryChanged { asked: 0 },
        E::HistoryChanged { .. } => E::KeyNotFound,
        E::KeyNotFound => E::RouteNotFound,
        E::RouteNotFound => E::MethodNotAllowed(&[]),
        E::MethodNotAllowed(_) => E::Origin(String::new()),
        E::Origin(_) => E::Unauthorized(""),
        E::Unauthorized(_) => E::Forbidden { has: Scope::Read, needs: Scope::Admin },
        E::Forbidden { .. } => E::WebSocketOnly,
        E::WebSocketOnly => return None,
    })
}

fn after_refusal(refusal: Refusal) -> Option<Refusal> {
    use Refusal as R;
    Some(match refusal {
        R::NoSuchLease => R::NoSuchSession,
        R::NoSuchSession => R::SupersededRequest,
        R::SupersededRequest => R::NotInSession,
        R::NotInSession => R::TimeToLive,
        R::TimeToLive => R::TooMany,
        R::TooMany => R::NameReused,
        R::NameReused => R::ResultTooLarge,
        // The same code as `ApiError::UnknownCommand`.
        R::ResultTooLarge | R::Malformed => return None,
    })
}

fn after_leaders_refusal(refusal: RequestRefusal) -> Option<RequestRefusal> {
    use ChangeRefusal as C;
    use RequestRefusal as R;
    Some(match refusal {
        R::Membership(C::InProgress) => R::Membership(C::NoCommitInTerm),
        R::Membership(C::NoCommitInTerm) => R::Membership(C::NothingToChange),
        R::Membership(C::NothingToChange) => R::Membership(C::NoSuchMember),
        R::Membership(C::NoSuchMember) => R::Membership(C::NoVoters),
        R::Membership(C::NoVoters) => R::Membership(C::DidNotCatchUp),
        R::Membership(C::DidNotCatchUp) => R::Membership(C::TooSlow),
        R::Membership(C::TooSlow) => R::Membership(C::Transferring),
        R::Membership(C::Transferring) => R::NotAVoter,
        R::NotAVoter => R::AlreadyLeads,
        R::AlreadyLeads => R::TransferInProgress,
        R::TransferInProgress => R::TransferTimedOut,
        R::TransferTimedOut => return None,
    })
}

/// The errors of an operation, including those of any request.
#[expect(clippy::too_many_lines, reason = "one table of all operations")]
fn of_operation(id: &str) -> Vec<ApiError> {
    let codes: &[&str] = match id {
        "get_json" | "get_raw" => &["bad_key", "too_large", "key_not_found"],
        "get_range" => &["too_large", "revision_not_held"],
        "batch" => &[
            "bad_json",
            "bad_session",
            "bad_idempotency_key",
            "too_many",
            "answer_too_large",
            "not_a_member",
        ],
        "set" => &["bad_key", "bad_json"],
        "put_raw" => &["bad_key", "bad_condition", "condition_failed", "no_such_lease"],
        "delete" => &["bad_key", "bad_condition", "condition_failed"],
        "transact" => &[
            "bad_key",
            "bad_json",
            "too_many",
            "no_such_lease",
            "result_too_large",
            "answer_too_large",
        ],
        "list_sessions" => &["too_many"],
        "grant_lease" | "open_session" => &["bad_json", "bad_ttl", "too_many_leases"],
        "show_lease" | "keep_lease_alive" | "revoke_lease" => &["no_such_lease", "route_not_found"],
        "close_session" => &["no_such_session", "route_not_found"],
        "watch" => &[
            "too_large",
            "compacted",
            "history_changed",
            "revision_unknown",
            "overloaded",
            "no_leader",
            "not_a_member",
            "read_timeout",
            "stopping",
        ],
        "add_member" | "set_voters" | "remove_member" => &[
            "bad_json",
            "bad_member",
            "route_not_found",
            "change_in_progress",
            "no_commit_in_term",
            "nothing_to_change",
            "no_such_member",
            "no_voters",
            "did_not_catch_up",
            "too_slow",
            "transferring",
        ],
        "transfer_leadership" => &[
            "bad_json",
            "not_a_voter",
            "already_leads",
            "transfer_in_progress",
            "transfer_timed_out",
            "change_in_progress",
        ],
        "show_faults" | "end_faults" => &["route_not_found"],
        "set_faults" => &["route_not_found", "bad_json", "too_large", "slow_body", "overloaded"],
        "list_members" => &["not_a_member"],
        "take_snapshot" => &["stopping"],
        "backup" => {
            &["read_timeout", "no_leader", "not_leader", "not_a_member", "overloaded", "stopping"]
        }
        "trace" => &["websocket_only", "overloaded"],
        _ => &[],
    };
    let reading = [
        "read_timeout",
        "revision_not_reached",
        "redirect",
        "overloaded",
        "stopping",
        "not_a_member",
    ];
    let writing = [
        "outcome_unknown",
        "redirect",
        "overloaded",
        "disk_full",
        "quota_exceeded",
        "stopping",
        "too_large",
        "slow_body",
        "broken_body",
    ];
    let leader = ["no_leader", "not_leader", "leader_unreachable"];
    let in_session = [
        "bad_session",
        "no_such_session",
        "superseded_request",
        "bad_idempotency_key",
        "idempotency_key_reused",
        "too_many_leases",
    ];
    let anywhere = [
        "bad_query",
        "bad_header",
        "bad_condition",
        "unexpected_body",
        "encoded_body",
        "unknown_transfer_coding",
        "unknown_expectation",
        "origin_not_allowed",
        "unauthorized",
        "insufficient_scope",
        "too_many_connections",
    ];
    let shared: &[&[&str]] = match id {
        "get_json" | "get_raw" | "get_range" | "show_lease" => &[&reading, &leader, &anywhere],
        "open_session" | "close_session" => {
            &[&writing, &leader, &["unknown_command", "not_in_session"], &anywhere]
        }
        "batch" => &[&writing, &leader, &anywhere],
        "set" | "put_raw" | "delete" | "transact" | "grant_lease" | "keep_lease_alive"
        | "revoke_lease" => &[&writing, &leader, &in_session, &["unknown_command"], &anywhere],
        "add_member" | "set_voters" | "remove_member" | "transfer_leadership" => {
            &[&writing, &leader, &anywhere]
        }
        _ => &[&anywhere],
    };
    let belongs = |error: &ApiError| {
        let code = error.code();
        codes.contains(&code) || shared.iter().any(|list| list.contains(&code))
    };
    all().into_iter().filter(belongs).collect()
}
