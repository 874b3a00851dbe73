//! A run in an address: what was done in it and where the playhead stands, so that whoever opens the
//! link sees the very same run.

use std::rc::Rc;

use raft_core::sim::{Deed, Moment};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a link holds besides the setup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recall {
    /// All that is done in the branch, also beyond the playhead.
    pub(crate) journal: Vec<Deed>,
    /// Where the playhead stands.
    pub(crate) at: Moment,
    /// How much of the journal is done there: a deed at that very moment may be still to come.
    pub(crate) deeds: usize,
    /// The digest there, by which one sees that it is the same run.
    pub(crate) digest: u64,
}

/// Why a link's run cannot be shown.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum LinkError {
    #[error(
        "This link was cut off or changed on its way: its run cannot be read. Ask for the whole \
         link, or for the trace as a file."
    )]
    Unreadable,
    #[error("This link's run is too long to be repeated here. Ask for its trace as a file.")]
    TooLong,
}

/// So many things may have happened in a run that is to be repeated: a few seconds of work.
const LONGEST: u64 = 3_000_000;

/// A longer address is refused by some programs that pass it on, and a page should not be made to
/// unpack it.
const LONGEST_TEXT: usize = 200_000;

impl Recall {
    /// As characters that an address may hold.
    pub(crate) fn encode(&self) -> String {
        // Such a value always has a JSON form.
        let json = serde_json::to_string(self).unwrap_or_default();
        lz_str::compress_to_encoded_uri_component(json.as_str())
    }

    /// Reads what [`Recall::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Result<Rc<Self>, LinkError> {
        if text.len() > LONGEST_TEXT {
            return Err(LinkError::TooLong);
        }
        let wide = lz_str::decompress_from_encoded_uri_component(text);
        let json = wide.and_then(|wide| String::from_utf16(&wide).ok());
        // By way of a plain value, as traces are read: the readers of actions come out smaller so.
        let value = json.and_then(|json| serde_json::from_str::<serde_json::Value>(&json).ok());
        let recall: Option<Self> = value.and_then(|value| serde_json::from_value(value).ok());
        let recall = recall.ok_or(LinkError::Unreadable)?;
        let moments = recall.journal.iter().map(|deed| deed.at).chain([recall.at]);
        if moments.map(|at| at.happened).max().unwrap_or(0) > LONGEST {
            return Err(LinkError::TooLong);
        }
        let ordered = recall.journal.windows(2).all(|pair| pair[0].at <= pair[1].at);
        if ordered { Ok(Rc::new(recall)) } else { Err(LinkError::Unreadable) }
    }

    /// Whether there is more to tell of the run than how it was set up.
    pub(crate) const fn is_told(&self) -> bool {
        !self.journal.is_empty() || self.at.happened > 0
    }
}

#[cfg(test)]
mod tests {
    use raft_core::sim::Action;
    use raft_core::types::{NodeId, Time};

    use super::*;

    fn recall(deeds: u64) -> Recall {
        let deed = |number| Deed {
            at: Moment { happened: number * 40, time: Time(number * 31_337) },
            action: Action::Crash(NodeId(1 + number % 5)),
        };
        let at = Moment { happened: deeds * 41, time: Time(deeds * 40_000) };
        Recall { journal: (0..deeds).map(deed).collect(), at, deeds: 3, digest: u64::MAX - 7 }
    }

    /// Guards links: they come back as they were, and stay short enough to be sent.
    #[test]
    fn a_run_is_read_back_from_its_text() {
        for deeds in [0, 1, 50, 500] {
            let text = recall(deeds).encode();
            assert_eq!(*Recall::decode(&text).unwrap(), recall(deeds));
            assert!(text.len() as u64 <= 150 + 40 * deeds, "{deeds}: {}", text.len());
        }
    }

    /// Guards the page against links that were damaged, and against made-up ones that would keep it
    /// busy for ever.
    #[test]
    fn a_damaged_or_endless_link_is_refused() {
        let text = recall(20).encode();
        for end in 0..text.len() {
            assert_eq!(Recall::decode(&text[..end]), Err(LinkError::Unreadable), "{end}");
        }
        assert_eq!(Recall::decode("nonsense€"), Err(LinkError::Unreadable));
        let mut endless = recall(2);
        endless.at.happened = u64::MAX;
        assert_eq!(Recall::decode(&endless.encode()), Err(LinkError::TooLong));
        let mut disorder = recall(2);
        disorder.journal.reverse();
        assert_eq!(Recall::decode(&disorder.encode()), Err(LinkError::Unreadable));
    }
}
