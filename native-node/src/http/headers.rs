//! Headers that make a write conditional, or safe to retry.

use api::headers::{IDEMPOTENCY_KEY, SEQUENCE_HEADER, SESSION_HEADER};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use raft_core::kv::{Command, Comparison, Operation, Relation, SessionId, Target, Transaction};
use raft_core::types::{Micros, SECOND};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use super::error::ApiError;

/// How long the answer to a named request is remembered, by the replicated clock.
const REMEMBERED: Micros = 10 * 60 * SECOND;

/// The longest `Idempotency-Key`, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The header is repeated or is not text.
struct Unclear;

/// The value of a header that may occur once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Unclear> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Unclear),
        (Some(_), Some(_)) => Err(Unclear),
    }
}

/// The headers of a session, for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by name")]
pub(super) struct SessionHeaders {
    /// The session that the write belongs to; see `POST /sessions`.
    #[param(rename = "x-raft-session", minimum = 1)]
    session: Option<u64>,
    /// Increases with each write of the session; a retry keeps its number.
    #[param(rename = "x-raft-sequence", minimum = 1)]
    sequence: Option<u64>,
}

/// The header that names a request, for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by name")]
pub(super) struct IdempotencyHeader {
    /// A name from the client that no other request has. The request takes effect once, even if it
    /// is sent again. Each retry gets the same answer for 10 minutes, which count only while the
    /// cluster has a leader. If too many answers are remembered, the oldest are removed, but none
    /// within a minute. Transaction results over 4 KiB are not remembered. A write cannot have both
    /// this header and a session.
    #[param(rename = "idempotency-key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// The headers of a condition, for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by name")]
pub(super) struct ConditionHeaders {
    /// Write only if the key last changed at this revision (`"7"`, its ETag), or if it exists
    /// (`*`).
    #[param(rename = "if-match", pattern = r#"^(\*|"[1-9][0-9]*")$"#)]
    if_match: Option<String>,
    /// `*`: write only if the key does not exist.
    #[param(rename = "if-none-match", pattern = r"^\*$")]
    if_none_match: Option<String>,
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The key last changed at this revision: `If-Match: "7"`.
    Revision(u64),
    /// The key exists: `If-Match: *`.
    Present,
    /// The key does not exist: `If-None-Match: *`.
    Absent,
}

/// Whether a list of ETags contains this revision, weak or strong (RFC 9110 §13.1.2).
pub(super) fn names_revision(list: &HeaderValue, revision: u64) -> bool {
    let Ok(list) = list.to_str() else { return false };
    list.split(',').map(str::trim).any(|tag| {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        let digits = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        tag == "*" || digits.and_then(|digits| digits.parse().ok()) == Some(revision)
    })
}

impl Condition {
    /// Parses the headers; `None` if the write is unconditional.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let text = |name: &HeaderName| {
            let unclear = |_| ApiError::BadCondition("a condition can appear only once, as text");
            single(headers, name).map_err(unclear)
        };
        match (text(&IF_MATCH)?, text(&IF_NONE_MATCH)?) {
            (None, None) => Ok(None),
            (Some("*"), None) => Ok(Some(Self::Present)),
            (None, Some("*")) => Ok(Some(Self::Absent)),
            (Some(tag), None) => {
                let digits = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let revision = digits.and_then(|digits| digits.parse().ok());
                match revision.filter(|revision| *revision > 0) {
                    Some(revision) => Ok(Some(Self::Revision(revision))),
                    None => Err(ApiError::BadCondition("If-Match contains no revision in quotes")),
                }
            }
            (None, Some(_)) => Err(ApiError::BadCondition("If-None-Match can only be *")),
            (Some(_), Some(_)) => {
                Err(ApiError::BadCondition("If-Match and If-None-Match exclude each other"))
            }
        }
    }

    /// The operation on the key under this condition. If the condition does not hold, the key is
    /// read.
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

/// Makes the command take effect once, by the session or the name in the headers. Without these
/// headers the command stays as it is.
pub(super) fn once(headers: &HeaderMap, command: Command) -> Result<Command, ApiError> {
    let number = |name: &HeaderName| {
        let wrong =
            || ApiError::BadSession("session and sequence must be numbers from 1 on, each once");
        let text = single(headers, name).map_err(|_| wrong())?;
        let Some(text) = text else { return Ok(None) };
        text.parse().ok().filter(|number| *number > 0).map(Some).ok_or_else(wrong)
    };
    let name = idempotency_key(headers)?;
    match (number(&SESSION_HEADER)?, number(&SEQUENCE_HEADER)?) {
        (None, None) => Ok(match name {
            None => command,
            Some(name) => named(&command, name, 0),
        }),
        (Some(_), Some(_)) if name.is_some() => {
            let why = "a write has an Idempotency-Key or belongs to a session, not both";
            Err(ApiError::BadIdempotencyKey(why))
        }
        (Some(session), Some(sequence)) => Ok(command.in_session(SessionId(session), sequence)),
        (Some(_), None) | (None, Some(_)) => {
            Err(ApiError::BadSession("x-raft-session and x-raft-sequence belong together"))
        }
    }
}

/// The request's `Idempotency-Key`, if it has one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let wrong = ApiError::BadIdempotencyKey(
        "it must have 1 to 255 visible ASCII characters, and appear once",
    );
    match single(headers, &IDEMPOTENCY_KEY) {
        Ok(None) => Ok(None),
        Ok(Some(name))
            if (1..=MAX_NAME_BYTES).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(name))
        }
        Ok(Some(_)) | Err(Unclear) => Err(wrong),
    }
}

/// Makes the command take effect once by its name; `part` distinguishes the commands of one
/// request.
///
/// The store identifies a name by 63 bits of its hash. If two names share these bits, the second
/// request is rejected by its fingerprint, and never gets the answer to the first request.
pub(super) fn named(command: &Command, name: &str, part: u64) -> Command {
    let number = |hash: Sha256| {
        let hash: [u8; 32] = hash.finalize().into();
        let [first, ..] = hash.as_chunks::<8>().0 else { unreachable!("there are four") };
        u64::from_le_bytes(*first)
    };
    let name = number(Sha256::new().chain_update(part.to_le_bytes()).chain_update(name));
    let fingerprint = number(Sha256::new().chain_update(command.encode()));
    command.once(name, fingerprint, REMEMBERED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    /// Guards that a header that is not understood never makes a write unconditional.
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

    /// Guards retries: half of a session's headers is rejected, not ignored.
    #[test]
    fn sessions_are_whole_or_refused() {
        let put = || Command::put("a", "1");
        let read = |list: &[(HeaderName, &str)]| once(&headers(list), put());
        assert_eq!(read(&[]).expect("none"), put());
        let both = [(SESSION_HEADER, "3"), (SEQUENCE_HEADER, "1")];
        assert_eq!(read(&both).expect("both"), put().in_session(SessionId(3), 1));
        assert!(read(&both[..1]).is_err() && read(&both[1..]).is_err());
        assert!(read(&[(SESSION_HEADER, "x"), (SEQUENCE_HEADER, "1")]).is_err());
        assert!(read(&[(SESSION_HEADER, "3"), (SEQUENCE_HEADER, "0")]).is_err());
    }

    /// Guards that repeated headers are rejected.
    #[test]
    fn headers_that_stand_twice_are_refused() {
        let twice = |name: HeaderName, value: &'static str| {
            let value = HeaderValue::from_static(value);
            [(name.clone(), value.clone()), (name, value)].into_iter().fold(
                HeaderMap::new(),
                |mut headers, (name, value)| {
                    headers.append(name, value);
                    headers
                },
            )
        };
        assert!(Condition::of(&twice(IF_MATCH, "\"7\"")).is_err());
        let put = || Command::put("a", "1");
        assert!(once(&twice(IDEMPOTENCY_KEY, "k"), put()).is_err());
        let mut sessions = twice(SESSION_HEADER, "3");
        sessions.append(SEQUENCE_HEADER, HeaderValue::from_static("1"));
        assert!(once(&sessions, put()).is_err());
    }

    /// Guards idempotency keys: a retry has the same number, other names and parts have other
    /// numbers, and invalid keys are rejected.
    #[test]
    fn names_stand_for_requests() {
        let put = || Command::put("a", "1");
        let read = |name: &str| once(&headers(&[(IDEMPOTENCY_KEY, name)]), put());
        assert_eq!(read("k").expect("a name"), named(&put(), "k", 0));
        assert_ne!(named(&put(), "k", 0), named(&put(), "k", 1));
        assert_ne!(named(&put(), "k", 0), named(&put(), "l", 0));
        let numbers = |command: Command| {
            let Command::Once { name, fingerprint, .. } = command else { panic!("{command:?}") };
            (name, fingerprint)
        };
        let (one, other) = (named(&put(), "k", 0), named(&Command::delete("a"), "k", 0));
        assert_eq!(numbers(one.clone()).0, numbers(other.clone()).0);
        assert_ne!(numbers(one).1, numbers(other).1);
        for bad in ["", "a b", &"k".repeat(256)] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let both = [(IDEMPOTENCY_KEY, "k"), (SESSION_HEADER, "3"), (SEQUENCE_HEADER, "1")];
        assert!(once(&headers(&both), put()).is_err());
    }
}
