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

/// The longest one: it can be added to any moment of a clock.
const MAX: Duration = Duration::from_hours(3650 * 24);

/// Text that is no duration.
#[derive(Debug, thiserror::Error)]
pub enum SpanError {
    /// It is none.
    #[error("`{0}` is not a duration; write a number with its unit, for instance 150ms or 5s")]
    Malformed(String),
    /// Nobody can mean that.
    #[error("`{0}` is longer than ten years, which is the most")]
    TooLong(String),
}

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

    /// Guards the arithmetic with moments, which ends the server where it goes too far.
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
