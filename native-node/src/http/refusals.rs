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
            "grant another lease with POST /leases"),
        Refusal::NoSuchSession => kind(S::GONE, "no_such_session", "No such session",
            "an earlier try may have taken effect: read the key, then open another session with POST /sessions"),
        Refusal::SupersededRequest => kind(S::CONFLICT, "superseded_request", "Superseded by a later write",
            "a later write of the session took effect; increase x-raft-sequence with each write"),
        Refusal::NotInSession => kind(S::BAD_REQUEST, "not_in_session", "Not allowed in a session",
            "send it without x-raft-session and Idempotency-Key"),
        Refusal::TimeToLive => kind(S::BAD_REQUEST, "bad_ttl", "Time to live out of range",
            "send {\"ttl_ms\": N}, with N of at most a year for a lease, or a day for a session"),
        Refusal::TooMany => kind(S::TOO_MANY_REQUESTS, "too_many_leases", "Too many leases, sessions or idempotency keys",
            "nothing happened; end unused leases and sessions (GET /sessions lists sessions), or retry in a minute. Sessions and idempotency keys that are unused for a minute can be replaced"),
        Refusal::NameReused => kind(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "Idempotency-Key of another request",
            "nothing happened; use a different Idempotency-Key for a different request"),
        Refusal::ResultTooLarge => kind(S::PAYLOAD_TOO_LARGE, "result_too_large", "Transaction reads too much",
            "nothing happened; read at most about 2 MiB of keys and values in one transaction"),
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
        RequestRefusal::Membership(C::InProgress) => kind(S::CONFLICT, "change_in_progress", "Another change is in progress",
            "retry when GET /cluster/members shows no server that is joining or leaving").retryable(),
        RequestRefusal::Membership(C::NoCommitInTerm) => kind(S::SERVICE_UNAVAILABLE, "no_commit_in_term", "The leader is new",
            "retry after Retry-After").retryable(),
        RequestRefusal::Membership(C::NothingToChange) => kind(S::CONFLICT, "nothing_to_change", "Nothing to change",
            "GET /cluster/members shows the members"),
        RequestRefusal::Membership(C::NoSuchMember) => kind(S::NOT_FOUND, "no_such_member", "No such member",
            "GET /cluster/members shows the members"),
        RequestRefusal::Membership(C::NoVoters) => kind(S::CONFLICT, "no_voters", "No voter would remain",
            "add a server before you remove the last voter"),
        RequestRefusal::Membership(C::DidNotCatchUp) => kind(S::CONFLICT, "did_not_catch_up", "The new server did not catch up",
            "check that it runs, that its peer address is correct, and that the servers reach each other. Then add it again"),
        RequestRefusal::Membership(C::TooSlow) => kind(S::CONFLICT, "too_slow", "The new server is too slow",
            "give it a faster disk or network, or write less until it has caught up. Then add it again"),
        RequestRefusal::Membership(C::Transferring) => kind(S::SERVICE_UNAVAILABLE, "transferring", "Leadership transfer in progress",
            "retry after Retry-After").retryable(),
        RequestRefusal::NotAVoter => kind(S::CONFLICT, "not_a_voter", "Not a voter",
            "choose a voter that answers; GET /cluster/status shows the voters"),
        RequestRefusal::AlreadyLeads => kind(S::CONFLICT, "already_leads", "Already the leader",
            "there is nothing to do"),
        RequestRefusal::TransferInProgress => kind(S::CONFLICT, "transfer_in_progress", "Another transfer is in progress",
            "retry after an election timeout").retryable(),
        RequestRefusal::TransferTimedOut => kind(S::GATEWAY_TIMEOUT, "transfer_timed_out", "Transfer not completed in time",
            "the old leader or another server leads; choose a server that runs and is not far behind").retryable(),
    }
}

pub(super) fn in_words(refusal: RequestRefusal) -> String {
    match refusal {
        RequestRefusal::Membership(refusal) => refusal.to_string(),
        RequestRefusal::NotAVoter => {
            "the chosen server is not a voter, or has not answered this leader".to_owned()
        }
        RequestRefusal::AlreadyLeads => "the chosen server is already the leader".to_owned(),
        RequestRefusal::TransferInProgress => "a leadership transfer is in progress".to_owned(),
        RequestRefusal::TransferTimedOut => {
            "the chosen server did not become leader within an election timeout, or another did"
                .to_owned()
        }
    }
}
