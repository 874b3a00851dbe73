//! Errors of requests, and what an error response means for the next attempt.

use api::address::Address;
use api::problem::Explanation;
use hyper::StatusCode;

/// Why a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The server rejected the request; nothing happened.
    #[error("{detail} ({code}): {hint}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable name of the error.
        code: String,
        /// The cause of the error.
        detail: String,
        /// What the user can do.
        hint: String,
    },
    /// No server could carry out the request in time; nothing happened.
    #[error("no server completed the request in time; the last error: {0}")]
    Unavailable(String),
    /// A write may or may not have happened.
    #[error("the outcome is unknown: {0}; read the key before you write it again")]
    Unknown(String),
}

impl ClientError {
    /// Whether the key does not exist.
    pub fn is_key_not_found(&self) -> bool {
        self.has_code("key_not_found")
    }

    /// Whether a server rejected the request with this stable name.
    pub fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }

    /// Whether the error settles a request that an earlier attempt may have delivered. Errors about
    /// authentication, load or the session do not settle that attempt.
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

/// What an error response means.
pub(super) enum Verdict {
    /// Nothing happened; a retry may succeed. The address is the leader's, if the response names
    /// it.
    Again(String, Option<Address>),
    /// The request may have taken effect.
    Doubt(String),
    /// The server rejected the request.
    No(ClientError),
}

/// Classifies an error response.
pub(super) fn judge(status: StatusCode, body: &[u8]) -> Verdict {
    let Ok(problem) = serde_json::from_slice::<Explanation>(body) else {
        // The response is not from our servers. A proxy may or may not have forwarded the request.
        return Verdict::Doubt(format!("status {status} without an explanation"));
    };
    let Explanation { code, detail, hint, retryable, leader } = problem;
    if code == "outcome_unknown" {
        Verdict::Doubt(detail)
    } else if retryable {
        Verdict::Again(detail, leader.and_then(|leader| leader.client.parse().ok()))
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

    /// Guards the error "unknown". If an earlier attempt may have arrived, only a response about
    /// the request itself settles it, not a response about authentication or the session.
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

    /// Guards the classes of error responses. A response in an unknown format never means "nothing
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
