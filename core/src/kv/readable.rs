//! Serde helper for encoded commands: bytes in binary formats; in JSON the command itself, or
//! `{"bytes": …}` if the bytes are not a command.

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

/// Serialises an encoded command.
pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serialize_if(bytes, serializer, |_| true)
}

/// Like [`serialize`], but commands that `shown` rejects stay bytes.
fn serialize_if<S: Serializer>(
    bytes: &Bytes,
    serializer: S,
    shown: impl Fn(&Command) -> bool,
) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_bytes(bytes);
    }
    match Command::decode(bytes) {
        Ok(command) if shown(&command) && command.encode() == *bytes => Readable::Command(command),
        _ => Readable::Unknown { bytes: bytes.clone() },
    }
    .serialize(serializer)
}

/// Deserialises an encoded command.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    if !deserializer.is_human_readable() {
        return Bytes::deserialize(deserializer);
    }
    Ok(match Readable::deserialize(deserializer)? {
        Readable::Command(command) => command.encode(),
        Readable::Unknown { bytes } => bytes,
    })
}

/// Like the module itself, for a command inside another one. It shows only one level: clients could
/// otherwise nest commands without limit.
pub(super) mod inner {
    use bytes::Bytes;
    use serde::Serializer;

    pub(in crate::kv) use super::deserialize;
    use crate::kv::Command;

    pub(in crate::kv) fn serialize<S: Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize_if(bytes, serializer, |command| {
            !matches!(command, Command::InSession { .. } | Command::Once { .. })
        })
    }
}
