//! A run in an address: what was done in it and where the playhead stands, so that whoever opens the
//! link sees the very same run.

use std::rc::Rc;

use raft_core::codec;
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

/// Goes up whenever the encoding of a run's configuration or actions changes: they stand in links
/// alone, so files and frames of servers have numbers of their own.
const LINK_VERSION: u16 = 3;

/// Why a link's run cannot be shown.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum LinkError {
    #[error(
        "This link was cut off or changed on its way: its run cannot be read. Ask for the whole \
         link, or for the trace as a file."
    )]
    Unreadable,
    #[error(
        "This link was made by another version of the page ({0}; this one reads {LINK_VERSION}). \
         Ask for the trace as a file."
    )]
    Version(u16),
    #[error("This link's run is too long to be repeated here. Ask for its trace as a file.")]
    TooLong,
}

/// So many things may have happened in a run that is to be repeated: a few seconds of work.
const LONGEST: u64 = 3_000_000;

/// A longer address is refused by some programs that pass it on, and a page should not be made to
/// unpack it.
const LONGEST_TEXT: usize = 200_000;

impl Recall {
    /// As characters that an address may hold: the version in two bytes, little end first, and what the
    /// codec makes of it, packed.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = LINK_VERSION.to_le_bytes().to_vec();
        codec::encode_into(self, &mut bytes);
        let wide: Vec<u16> = bytes.into_iter().map(u16::from).collect();
        lz_str::compress_to_encoded_uri_component(&wide)
    }

    /// Reads what [`Recall::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Result<Rc<Self>, LinkError> {
        if text.len() > LONGEST_TEXT {
            return Err(LinkError::TooLong);
        }
        let wide = lz_str::decompress_from_encoded_uri_component(text).unwrap_or_default();
        let bytes: Vec<u8> = wide.into_iter().map_while(|it| u8::try_from(it).ok()).collect();
        let (version, packed) = bytes.split_first_chunk().ok_or(LinkError::Unreadable)?;
        let version = u16::from_le_bytes(*version);
        if version != LINK_VERSION {
            let plausible = (1..1000).contains(&version);
            return Err(if plausible {
                LinkError::Version(version)
            } else {
                LinkError::Unreadable
            });
        }
        let recall: Self = codec::decode(packed).map_err(|_| LinkError::Unreadable)?;
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
            assert!(text.len() as u64 <= 80 + 16 * deeds, "{deeds}: {}", text.len());
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
        for (at, _) in text.char_indices() {
            let changed = format!("{}X{}", &text[..at], &text[at + 1..]);
            // What can still be read is another run; its digest tells.
            let _ = Recall::decode(&changed);
        }
        let mut other = LINK_VERSION.wrapping_add(1).to_le_bytes().map(u16::from).to_vec();
        other.push(0);
        let other = lz_str::compress_to_encoded_uri_component(&other);
        assert_eq!(Recall::decode(&other), Err(LinkError::Version(LINK_VERSION + 1)));
        assert_eq!(Recall::decode("nonsense€"), Err(LinkError::Unreadable));
        let mut endless = recall(2);
        endless.at.happened = u64::MAX;
        assert_eq!(Recall::decode(&endless.encode()), Err(LinkError::TooLong));
        let mut disorder = recall(2);
        disorder.journal.reverse();
        assert_eq!(Recall::decode(&disorder.encode()), Err(LinkError::Unreadable));
    }
}
