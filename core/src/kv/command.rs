//! What clients ask of the state machine, and what it answers.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4 << 10;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// A change of the state. It travels through the log in encoded form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Sets a key.
    Put {
        /// The key, at most [`MAX_KEY_BYTES`] long.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
        /// Its new value, at most [`MAX_VALUE_BYTES`] long.
        #[serde(with = "codec::text_or_bytes")]
        value: Bytes,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
    },
}

/// What applying a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Applied {
    /// The revision of the whole store after it; grows by one with each change.
    pub revision: u64,
    /// Whether the key was there before.
    pub existed: bool,
}

impl Command {
    /// Sets `key` to `value`.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into() }
    }

    /// Removes `key`.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// The form in which it stands in the log.
    pub fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Reads the form in which it stands in the log.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(bytes)
    }
}

/// The command as a person would write it: `x = 1`, `delete x`.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "{} = {}", Brief(key), Brief(value)),
            Self::Delete { key } => write!(f, "delete {}", Brief(key)),
        }
    }
}

/// Bytes shown as text, cut after a few characters.
struct Brief<'a>(&'a [u8]);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 24;
        let text = String::from_utf8_lossy(self.0);
        let mut characters = text.chars();
        for character in characters.by_ref().take(SHOWN) {
            write!(f, "{}", if character.is_control() { '\u{fffd}' } else { character })?;
        }
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// Serde helper for encoded commands: bytes in binary formats; in JSON the command itself, or
/// `{"hex": …}` for bytes that are none.
pub mod readable {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Command;
    use crate::codec::text_or_bytes;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Readable {
        Command(Command),
        Unknown {
            #[serde(with = "text_or_bytes")]
            bytes: Bytes,
        },
    }

    /// See the module.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(bytes);
        }
        match Command::decode(bytes) {
            Ok(command) if command.encode() == *bytes => Readable::Command(command),
            _ => Readable::Unknown { bytes: bytes.clone() },
        }
        .serialize(serializer)
    }

    /// See the module.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        if !deserializer.is_human_readable() {
            return Bytes::deserialize(deserializer);
        }
        Ok(match Readable::deserialize(deserializer)? {
            Readable::Command(command) => command.encode(),
            Readable::Unknown { bytes } => bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    /// Guards the event list: control characters and huge values cannot break a line of text.
    #[test]
    fn a_command_in_words_stays_on_one_short_line() {
        let words = Command::put("k\n", "v".repeat(1000)).to_string();
        assert!(!words.contains('\n'));
        assert!(words.chars().count() < 60, "{words}");
        assert_eq!(Command::put("x", "1").to_string(), "x = 1");
        assert_eq!(Command::delete("x").to_string(), "delete x");
    }
}
