//! Headers by which a write is made conditional, or sent again without being carried out twice.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use raft_core::kv::{Command, Comparison, Operation, Relation, SessionId, Target, Transaction};
use utoipa::IntoParams;

use super::error::ApiError;

/// The session that a write belongs to; see `POST /sessions`.
pub const SESSION_HEADER: HeaderName = HeaderName::from_static("x-raft-session");

/// The write's number in its session: grows with each write, the same when one is sent again.
pub const SEQUENCE_HEADER: HeaderName = HeaderName::from_static("x-raft-sequence");

/// How clients name them, for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by name")]
pub(super) struct SessionHeaders {
    /// The session that the write belongs to; see `POST /sessions`.
    #[param(rename = "x-raft-session", minimum = 1)]
    session: Option<u64>,
    /// Grows with each write of the session; the same when one is sent again.
    #[param(rename = "x-raft-sequence", minimum = 1)]
    sequence: Option<u64>,
}

/// As [`SessionHeaders`], for what a key must be.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by name")]
pub(super) struct ConditionHeaders {
    /// The write takes place only if the key last changed at this revision (`"7"`, its ETag), or
    /// if it is there at all (`*`).
    #[param(rename = "if-match", pattern = r#"^(\*|"[1-9][0-9]*")$"#)]
    if_match: Option<String>,
    /// `*`: the write takes place only if the key is not there.
    #[param(rename = "if-none-match", pattern = r"^\*$")]
    if_none_match: Option<String>,
}

/// What a key must be for a write to take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Last changed at this revision: `If-Match: "7"`.
    Revision(u64),
    /// There: `If-Match: *`.
    Present,
    /// Not there: `If-None-Match: *`.
    Absent,
}

impl Condition {
    /// Reads the headers; `None` when the write is to take place in any case.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        match (text(IF_MATCH), text(IF_NONE_MATCH)) {
            (None, None) => Ok(None),
            (Some("*"), None) => Ok(Some(Self::Present)),
            (None, Some("*")) => Ok(Some(Self::Absent)),
            (Some(tag), None) => {
                let digits = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let revision = digits.and_then(|digits| digits.parse().ok());
                match revision.filter(|revision| *revision > 0) {
                    Some(revision) => Ok(Some(Self::Revision(revision))),
                    None => Err(ApiError::BadCondition("If-Match holds no revision in quotes")),
                }
            }
            (None, Some(_)) => Err(ApiError::BadCondition("If-None-Match can only be *")),
            (Some(_), Some(_)) => {
                Err(ApiError::BadCondition("If-Match and If-None-Match exclude each other"))
            }
        }
    }

    /// The operation on the key, to be carried out only if the key is as it must be; else the key
    /// is read.
    pub(super) fn guard(self, key: Bytes, operation: Operation) -> Command {
        let (target, relation) = match self {
            Self::Revision(revision) => (Target::ModRevision(revision), Relation::Equal),
            Self::Present => (Target::Version(0), Relation::Greater),
            Self::Absent => (Target::Version(0), Relation::Equal),
        };
        Command::Transaction(Transaction {
            compare: vec![Comparison { key: key.clone(), target, relation }],
            then: vec![operation],
            otherwise: vec![Operation::Get { key }],
        })
    }
}

/// The command as one of the session that the headers name, if they name one.
pub(super) fn in_session(headers: &HeaderMap, command: Command) -> Result<Command, ApiError> {
    let number = |name: &HeaderName| match headers.get(name) {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|number| *number > 0)
            .map(Some)
            .ok_or(ApiError::BadSession("session and sequence are numbers from 1 on")),
    };
    match (number(&SESSION_HEADER)?, number(&SEQUENCE_HEADER)?) {
        (None, None) => Ok(command),
        (Some(session), Some(sequence)) => Ok(command.in_session(SessionId(session), sequence)),
        (Some(_), None) | (None, Some(_)) => {
            Err(ApiError::BadSession("x-raft-session and x-raft-sequence go together"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    /// Guards conditions: a header that is not understood never makes a write unconditional.
    #[test]
    fn conditions_are_understood_or_refused() {
        let read = |list: &[(HeaderName, &str)]| Condition::of(&headers(list));
        assert_eq!(read(&[]).expect("none"), None);
        assert_eq!(read(&[(IF_MATCH, "\"7\"")]).expect("good"), Some(Condition::Revision(7)));
        assert_eq!(read(&[(IF_MATCH, "*")]).expect("good"), Some(Condition::Present));
        assert_eq!(read(&[(IF_NONE_MATCH, "*")]).expect("good"), Some(Condition::Absent));
        for bad in ["7", "\"0\"", "\"x\"", "W/\"7\"", "\"7\", \"8\"", ""] {
            assert!(read(&[(IF_MATCH, bad)]).is_err(), "{bad}");
        }
        assert!(read(&[(IF_NONE_MATCH, "\"7\"")]).is_err());
        assert!(read(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]).is_err());
    }

    /// Guards retries: half a session is no session, and must not pass for none.
    #[test]
    fn sessions_are_whole_or_refused() {
        let put = || Command::put("a", "1");
        let read = |list: &[(HeaderName, &str)]| in_session(&headers(list), put());
        assert_eq!(read(&[]).expect("none"), put());
        let both = [(SESSION_HEADER, "3"), (SEQUENCE_HEADER, "1")];
        assert_eq!(read(&both).expect("both"), put().in_session(SessionId(3), 1));
        assert!(read(&both[..1]).is_err() && read(&both[1..]).is_err());
        assert!(read(&[(SESSION_HEADER, "x"), (SEQUENCE_HEADER, "1")]).is_err());
        assert!(read(&[(SESSION_HEADER, "3"), (SEQUENCE_HEADER, "0")]).is_err());
    }
}
