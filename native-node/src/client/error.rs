//! Why a request had no success, and what an error answer means for the next attempt.

use hyper::StatusCode;
use serde::Deserialize;

use crate::config::Address;

/// Why a request had no success.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The server understood and said no; nothing happened.
    #[error("{detail} ({code}): {hint}")]
    Refused {
        /// The status.
        status: u16,
        /// The error's stable name.
        code: String,
        /// What is wrong.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// No server could do it in time; nothing happened.
    #[error("no server could do it in time; the last one said: {0}")]
    Unavailable(String),
    /// A write may or may not have happened.
    #[error("the outcome is unknown: {0}; read the key before you write it again")]
    Unknown(String),
}

impl ClientError {
    /// Whether it says that the key does not exist.
    pub fn is_key_not_found(&self) -> bool {
        self.has_code("key_not_found")
    }

    /// Whether it is the refusal with this stable name.
    pub fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// Whether the refusal settles a request of which an earlier attempt may have arrived. Those
    /// that speak of the door, of the server's load or of the session say nothing of that attempt.
    pub(super) fn settles(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                let about_the_request = (400..500).contains(status);
                let about_the_sender = matches!(status, 401 | 403 | 407 | 408 | 429);
                about_the_request
                    && !about_the_sender
                    && !self.has_code("no_such_session")
                    && !self.has_code("superseded_request")
            }
            Self::Unavailable(_) | Self::Unknown(_) => false,
        }
    }

    pub(super) fn unexpected(error: &serde_json::Error) -> Self {
        Self::Refused {
            status: StatusCode::OK.as_u16(),
            code: "unexpected_answer".to_owned(),
            detail: format!("the server's answer is not what this release expects: {error}"),
            hint: "use the same release as the servers".to_owned(),
        }
    }
}

/// The parts of an error's body that decide what happens next.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    retryable: bool,
    #[serde(default)]
    leader: Option<Leader>,
}

/// Who leads, as an error says.
#[derive(Deserialize)]
struct Leader {
    client: Address,
}

/// What an error answer means.
pub(super) enum Verdict {
    /// Nothing happened; another server or time may help. Who leads stands beside it.
    Again(String, Option<Address>),
    /// It may have happened.
    Doubt(String),
    /// It is settled: the server said no.
    No(ClientError),
}

/// Reads an error answer.
pub(super) fn judge(status: StatusCode, body: &[u8]) -> Verdict {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        // Not one of our servers, perhaps a proxy before it: it may or may not have passed it on.
        return Verdict::Doubt(format!("status {status} without an explanation"));
    };
    let Problem { code, detail, hint, retryable, leader } = problem;
    if code == "outcome_unknown" {
        Verdict::Doubt(detail)
    } else if retryable {
        Verdict::Again(detail, leader.map(|leader| leader.client))
    } else {
        Verdict::No(ClientError::Refused { status: status.as_u16(), code, detail, hint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> ClientError {
        let (detail, hint) = (String::new(), String::new());
        ClientError::Refused { status, code: code.to_owned(), detail, hint }
    }

    /// Guards the word "unknown": after an attempt that may have arrived, only an answer to the very
    /// request counts, not one about the door or the session.
    #[test]
    fn only_an_answer_to_the_request_settles_a_doubt() {
        for (status, code) in
            [(412, "condition_failed"), (404, "no_such_lease"), (413, "too_large")]
        {
            assert!(refused(status, code).settles(), "{code}");
        }
        for (status, code) in [
            (401, "unauthenticated"),
            (403, "forbidden"),
            (410, "no_such_session"),
            (409, "superseded_request"),
            (429, "overloaded"),
            (501, "unknown_command"),
        ] {
            assert!(!refused(status, code).settles(), "{code}");
        }
    }

    /// Guards the classes of error answers, and that a foreign one is never taken for "nothing
    /// happened".
    #[test]
    fn error_answers_are_understood() {
        let unknown = br#"{"code": "outcome_unknown", "detail": "d"}"#;
        assert!(matches!(judge(StatusCode::GATEWAY_TIMEOUT, unknown), Verdict::Doubt(_)));
        assert!(matches!(judge(StatusCode::BAD_GATEWAY, b"<html>"), Verdict::Doubt(_)));
        let again = br#"{"code": "not_leader", "retryable": true,
            "leader": {"id": 2, "client": "127.0.0.1:7002"}}"#;
        let Verdict::Again(_, Some(leader)) = judge(StatusCode::SERVICE_UNAVAILABLE, again) else {
            panic!("it names the leader");
        };
        assert_eq!(leader.to_string(), "127.0.0.1:7002");
        let no = br#"{"code": "condition_failed"}"#;
        assert!(matches!(judge(StatusCode::PRECONDITION_FAILED, no), Verdict::No(_)));
    }
}
