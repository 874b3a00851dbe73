//! Durations as text: `150ms`, `5s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use raft_core::types::Micros;
use serde::{Deserialize, Serialize};

/// A duration that is parsed and displayed as text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// The maximum duration: adding it to a point in time never overflows.
const MAX: Duration = Duration::from_hours(3650 * 24);

/// The error for text that is not a valid duration.
#[derive(Debug, thiserror::Error)]
pub enum SpanError {
    /// The text is not a duration.
    #[error("`{0}` is not a duration; write a number with its unit, for instance 150ms or 5s")]
    Malformed(String),
    /// The duration is above the maximum.
    #[error("`{0}` is too long: the maximum is ten years")]
    TooLong(String),
}

impl Span {
    /// A duration in milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// The core counts microseconds.
impl From<Micros> for Span {
    fn from(micros: Micros) -> Self {
        Self(Duration::from_micros(micros))
    }
}

impl From<Span> for Micros {
    fn from(span: Span) -> Self {
        Self::try_from(span.0.as_micros()).unwrap_or(Self::MAX)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= MAX => Ok(Self(duration)),
            Ok(_) => Err(SpanError::TooLong(text.to_owned())),
            Err(_) => Err(SpanError::Malformed(text.to_owned())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards time arithmetic: an overflow would crash the server.
    #[test]
    fn nobody_waits_longer_than_clocks_can_count() {
        assert_eq!("5s".parse::<Span>().expect("a duration"), Span::millis(5_000));
        assert!("3650d".parse::<Span>().is_ok());
        for (text, said) in [("500000000000y", "ten years"), ("5", "not a duration")] {
            let refused = text.parse::<Span>().expect_err("refused").to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
