//! A run in an address: its actions and the playhead position. The link shows exactly the same run
//! to everybody.

use std::rc::Rc;

use raft_core::codec;
use raft_core::sim::{JournalEntry, Moment};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The contents of a link besides the setup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recall {
    /// All actions of the branch, including those after the playhead.
    pub(crate) journal: Vec<JournalEntry>,
    /// The playhead position.
    pub(crate) at: Moment,
    /// How many actions of the journal are applied at the playhead. An action of the same moment
    /// can still be pending.
    pub(crate) actions: usize,
    /// The digest at the playhead, which verifies that the run is the same.
    pub(crate) digest: u64,
}

/// Increment this when the encoding of a run's configuration or actions changes. Only links contain
/// it: server files and frames have their own versions.
const LINK_VERSION: u16 = 3;

/// Why a link's run cannot be shown.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum LinkError {
    #[error(
        "This link was cut off or changed, so its run cannot be read. Ask for the whole link, or \
         for the trace as a file."
    )]
    Unreadable,
    #[error(
        "This link has version {0}, and this page reads version {LINK_VERSION}. Ask for the trace \
         as a file."
    )]
    Version(u16),
    #[error("This link's run is too long to repeat here. Ask for the trace as a file.")]
    TooLong,
}

/// The longest run that a link can replay, in simulation steps: a few seconds of work.
const LONGEST: u64 = 3_000_000;

/// The longest link text, in bytes. Some programs refuse longer addresses, and the page should not
/// have to unpack them.
const LONGEST_TEXT: usize = 200_000;

impl Recall {
    /// Encodes the run as characters that an address allows: the version in two bytes,
    /// little-endian, and the codec's output, compressed.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = LINK_VERSION.to_le_bytes().to_vec();
        codec::encode_into(self, &mut bytes);
        let wide: Vec<u16> = bytes.into_iter().map(u16::from).collect();
        lz_str::compress_to_encoded_uri_component(&wide)
    }

    /// Decodes the output of [`Recall::encode`].
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
        let moments = recall.journal.iter().map(|entry| entry.at).chain([recall.at]);
        if moments.map(|at| at.happened).max().unwrap_or(0) > LONGEST {
            return Err(LinkError::TooLong);
        }
        let ordered = recall.journal.windows(2).all(|pair| pair[0].at <= pair[1].at);
        if ordered { Ok(Rc::new(recall)) } else { Err(LinkError::Unreadable) }
    }

    /// Whether the run contains more than its setup.
    pub(crate) const fn is_told(&self) -> bool {
        !self.journal.is_empty() || self.at.happened > 0
    }
}

#[cfg(test)]
mod tests {
    use raft_core::sim::Action;
    use raft_core::types::{NodeId, Time};

    use super::*;

    fn recall(actions: u64) -> Recall {
        let entry = |number| JournalEntry {
            at: Moment { happened: number * 40, time: Time(number * 31_337) },
            action: Action::Crash(NodeId(1 + number % 5)),
        };
        let at = Moment { happened: actions * 41, time: Time(actions * 40_000) };
        Recall { journal: (0..actions).map(entry).collect(), at, actions: 3, digest: u64::MAX - 7 }
    }

    /// Guards that links decode to what was encoded, and stay short enough to send.
    #[test]
    fn a_run_is_read_back_from_its_text() {
        for actions in [0, 1, 50, 500] {
            let text = recall(actions).encode();
            assert_eq!(*Recall::decode(&text).unwrap(), recall(actions));
            assert!(text.len() as u64 <= 80 + 16 * actions, "{actions}: {}", text.len());
        }
    }

    /// Guards that damaged links are refused, and forged links that would keep the page busy
    /// forever.
    #[test]
    fn a_damaged_or_endless_link_is_refused() {
        let text = recall(20).encode();
        for end in 0..text.len() {
            assert_eq!(Recall::decode(&text[..end]), Err(LinkError::Unreadable), "{end}");
        }
        for (at, _) in text.char_indices() {
            let changed = format!("{}X{}", &text[..at], &text[at + 1..]);
            // A changed link that still decodes is a different run. Its digest reveals that.
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
