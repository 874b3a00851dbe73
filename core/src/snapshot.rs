//! What consensus knows of a snapshot: the log that it replaces, and where a transfer resumes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::membership::Membership;
use crate::types::LogPosition;

/// Describes a snapshot (§7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that the snapshot includes.
    pub last: LogPosition,
    /// The membership in effect at that entry.
    pub membership: Membership,
}

/// A position in a snapshot's key order from which a transfer can resume, also after a break or
/// from another leader. Only the state machine interprets it. It is empty at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor(#[serde(with = "crate::codec::text_or_bytes")] pub Bytes);

impl Cursor {
    /// A position at which no chunk starts. An empty chunk there asks the receiver for its
    /// progress: a receiver answers a misplaced chunk with the cursor that it wants.
    pub const NOWHERE: Self = Self(Bytes::from_static(b"?"));
}
