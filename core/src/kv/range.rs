//! Ranges of keys.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::Brief;

/// The keys from `start` (inclusive) to `end` (exclusive).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key; empty for the beginning of all keys.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub start: Bytes,
    /// The end; `None` for the end of all keys.
    #[serde(with = "crate::codec::optional_text_or_bytes")]
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// All keys.
    pub fn all() -> Self {
        Self::default()
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        let end = after_prefix(&start);
        Self { start, end }
    }

    /// Whether the range contains the key.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// The bounds for an ordered map; `None` if the range is empty, because maps reject such
    /// bounds.
    pub(super) fn bounds(&self) -> Option<(Bound<Bytes>, Bound<Bytes>)> {
        let end = match &self.end {
            Some(end) if *end <= self.start => return None,
            Some(end) => Bound::Excluded(end.clone()),
            None => Bound::Unbounded,
        };
        Some((Bound::Included(self.start.clone()), end))
    }
}

/// The first key after all keys with this prefix. It increments the last byte that can grow; `None`
/// if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            None if self.start.is_empty() => f.write_str("all keys"),
            None => write!(f, "the keys from {} on", Brief(&self.start)),
            Some(end) if after_prefix(&self.start).as_ref() == Some(end) => {
                write!(f, "the keys {}*", Brief(&self.start))
            }
            Some(end) => write!(f, "the keys from {} to before {}", Brief(&self.start), Brief(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards prefixes at the limits of byte values.
    #[test]
    fn a_prefix_holds_what_begins_with_it() {
        for (prefix, inside, outside) in [
            (&b"a"[..], &b"a\xff\xff"[..], &b"b"[..]),
            (b"a\xff", b"a\xff\x00", b"b"),
            (b"", b"\xff\xff", b""),
            (b"\xff", b"\xff\xff", b"\xfe"),
        ] {
            let range = KeyRange::prefix(prefix.to_vec());
            assert!(range.contains(inside), "{range}");
            assert!(prefix.is_empty() || !range.contains(outside), "{range}");
        }
        let backwards = KeyRange { start: "b".into(), end: Some("a".into()) };
        assert_eq!(backwards.bounds(), None);
        assert_eq!(KeyRange::prefix("user/").to_string(), "the keys user/*");
    }
}
