//! Rejections by the store and the leader, as errors of the API.

use hyper::StatusCode;
use raft_core::event::RequestRefusal;
use raft_core::kv::Refusal;
use raft_core::membership::ChangeRefusal;

use super::error::{Kind, kind};

/// The error for a write that is in the log but that the store rejected.
#[rustfmt::skip]
pub(super) const fn store_refusal(refusal: Refusal) -> Kind {
    use StatusCode as S;
    match refusal {
        Refusal::NoSuchLease => kind(S::NOT_FOUND, "no_such_lease", "No such lease",
            "grant another one with POST /leases"),
        Refusal::NoSuchSession => kind(S::GONE, "no_such_session", "No such session",
            "whether an earlier try took effect cannot be told: read, then open another session with POST /sessions"),
        Refusal::SupersededRequest => kind(S::CONFLICT, "superseded_request", "Session has gone on",
            "a later write of the session took effect; its sequence must count up"),
        Refusal::NotInSession => kind(S::BAD_REQUEST, "not_in_session", "Not in a session",
            "send it without x-raft-session and Idempotency-Key"),
        Refusal::TimeToLive => kind(S::BAD_REQUEST, "bad_ttl", "Time to live out of range",
            "send {\"ttl_ms\": N} with N from 1 to a year, for a session to a day"),
        Refusal::TooMany => kind(S::TOO_MANY_REQUESTS, "too_many_leases", "Too many leases, sessions or idempotency keys",
            "nothing happened; end leases and sessions that are not used any more (GET /sessions lists sessions), or send it again in a minute: then sessions and idempotency keys that were not used since make room"),
        Refusal::NameReused => kind(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "Idempotency-Key of another request",
            "nothing happened; send another request with another Idempotency-Key"),
        Refusal::ResultTooLarge => kind(S::PAYLOAD_TOO_LARGE, "result_too_large", "Transaction reads too much",
            "nothing happened; read fewer or smaller keys in one transaction, about 2 MiB of keys and values together"),
        Refusal::Malformed => kind(S::NOT_IMPLEMENTED, "unknown_command", "Unknown command",
            "run the same release on all servers"),
    }
}

/// The error for a request that the leader rejected.
#[rustfmt::skip]
pub(super) const fn leader_refusal(refusal: RequestRefusal) -> Kind {
    use ChangeRefusal as C;
    use StatusCode as S;
    match refusal {
        RequestRefusal::Membership(C::InProgress) => kind(S::CONFLICT, "change_in_progress", "Another change is under way",
            "send it again when GET /cluster/members shows that nobody is joining or leaving").retryable(),
        RequestRefusal::Membership(C::NoCommitInTerm) => kind(S::SERVICE_UNAVAILABLE, "no_commit_in_term", "The leader is new",
            "send it again after Retry-After").retryable(),
        RequestRefusal::Membership(C::NothingToChange) => kind(S::CONFLICT, "nothing_to_change", "Nothing to change",
            "GET /cluster/members shows the members"),
        RequestRefusal::Membership(C::NoSuchMember) => kind(S::NOT_FOUND, "no_such_member", "No such member",
            "GET /cluster/members shows the members"),
        RequestRefusal::Membership(C::NoVoters) => kind(S::CONFLICT, "no_voters", "No voter would remain",
            "add a server before you remove the last one"),
        RequestRefusal::Membership(C::DidNotCatchUp) => kind(S::CONFLICT, "did_not_catch_up", "The new server did not catch up",
            "see that it runs, that its peer address is right, and that the servers reach each other; then add it again"),
        RequestRefusal::Membership(C::TooSlow) => kind(S::CONFLICT, "too_slow", "The new server is too slow",
            "give it a faster disk or connection, or write less while it catches up; then add it again"),
        RequestRefusal::Membership(C::Transferring) => kind(S::SERVICE_UNAVAILABLE, "transferring", "Leadership is being handed over",
            "send it again after Retry-After").retryable(),
        RequestRefusal::NotAVoter => kind(S::CONFLICT, "not_a_voter", "Not a voter",
            "name a server that votes and answers; GET /cluster/status shows which"),
        RequestRefusal::AlreadyLeads => kind(S::CONFLICT, "already_leads", "It leads already",
            "there is nothing to do"),
        RequestRefusal::TransferInProgress => kind(S::CONFLICT, "transfer_in_progress", "Another hand-over is under way",
            "send it again after an election timeout").retryable(),
        RequestRefusal::TransferTimedOut => kind(S::GATEWAY_TIMEOUT, "transfer_timed_out", "Not taken over in time",
            "the old leader or another one leads; name a server that runs and is not far behind").retryable(),
    }
}

pub(super) fn in_words(refusal: RequestRefusal) -> String {
    match refusal {
        RequestRefusal::Membership(refusal) => refusal.to_string(),
        RequestRefusal::NotAVoter => {
            "the server that should lead does not vote, or has not been heard of".to_owned()
        }
        RequestRefusal::AlreadyLeads => "the server that should lead does so already".to_owned(),
        RequestRefusal::TransferInProgress => "a hand-over is under way".to_owned(),
        RequestRefusal::TransferTimedOut => {
            "the server that should lead did not take over within an election timeout, or another did"
                .to_owned()
        }
    }
}
