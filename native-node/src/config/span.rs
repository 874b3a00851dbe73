//! Durations as people write them: `150ms`, `5s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use raft_core::types::Micros;
use serde::{Deserialize, Serialize};

/// A duration that is read and written in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// Text that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a duration; write a number with its unit, for instance 150ms or 5s")]
pub struct SpanError(String);

impl Span {
    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// So many microseconds, the core's unit.
    pub const fn micros(micros: Micros) -> Self {
        Self(Duration::from_micros(micros))
    }

    /// In the core's unit.
    pub fn as_micros(self) -> Micros {
        Micros::try_from(self.0.as_micros()).unwrap_or(Micros::MAX)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        humantime::parse_duration(text).map(Self).map_err(|_| SpanError(text.to_owned()))
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}
