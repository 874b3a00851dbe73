//! One WebSocket frame between two servers: a batch of messages in the core's binary format.

use bytes::Bytes;
use raft_core::codec::{self, DecodeError};
use raft_core::limits::{
    CHUNK_ENVELOPE_BYTES, MAX_CHUNK_BYTES, MAX_COMMAND_BYTES, MAX_ENCODED_CHUNK_BYTES,
    MAX_KEY_BYTES,
};
use raft_core::message::{Body, Message, SnapshotProgress};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::Lane;
use super::limits::MAX_CONTROL_BYTES;

/// A batch is complete at this size, in bytes. A single message always fits.
pub const BATCH_BYTES: usize = 1 << 20;

/// The largest frame that a server reads, in bytes. A frame's header contains the length, so a
/// larger frame is refused before any of it is read.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// The largest frame of the control lane, in bytes. Its messages are small.
pub const MAX_CONTROL_FRAME_BYTES: usize = 1 << 20;

/// The largest frame before both sides are authenticated, in bytes.
pub const MAX_GREETING_BYTES: usize = 1 << 10;

/// The maximum configurable size of entries or snapshot data in one message, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = MAX_CHUNK_BYTES;

/// A batch exceeds its size by at most one message. That message carries its maximum payload, or a
/// single larger entry or snapshot chunk.
const _: () = assert!(MAX_COMMAND_BYTES <= MAX_PAYLOAD_BYTES);
const _: () =
    assert!(BATCH_BYTES + MAX_ENCODED_CHUNK_BYTES + CHUNK_ENVELOPE_BYTES <= MAX_FRAME_BYTES);
const _: () = assert!(MAX_FRAME_BYTES <= codec::MAX_BYTES);

/// All pending control messages may share one frame, and the largest of them contains a key.
const _: () = assert!(MAX_CONTROL_FRAME_BYTES > MAX_CONTROL_BYTES + 2 * MAX_KEY_BYTES);

/// The largest frame that a server reads on a lane, in bytes.
pub const fn max_bytes(lane: Lane) -> usize {
    match lane {
        Lane::Log | Lane::Snapshot => MAX_FRAME_BYTES,
        Lane::Control => MAX_CONTROL_FRAME_BYTES,
    }
}

/// The maximum number of bytes read from a connection at once.
const READ_BYTES: usize = 128 << 10;

/// The WebSocket settings of a connection with this maximum frame size.
pub fn websocket(max_frame: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_frame_size(Some(max_frame))
        .max_message_size(Some(max_frame))
        .read_buffer_size(READ_BYTES.min(max_frame))
}

/// The size of a message in a frame without its payload, in bytes.
const ENVELOPE: usize = 64;

/// The maximum number of messages in one frame: the batch size limits it.
const MAX_MESSAGES: usize = BATCH_BYTES / ENVELOPE + 1;

/// The approximate size of a message in a frame, in bytes.
pub fn size(message: &Message) -> usize {
    // A member's ID, in at most three sets during a membership change.
    const MEMBER: usize = 3 * 9;
    ENVELOPE
        + match &message.body {
            Body::AppendEntries { entries, .. } => {
                entries.iter().map(raft_core::log::Entry::size).sum()
            }
            Body::InstallSnapshot { chunk, .. } => {
                let next = chunk.next.as_ref().map_or(0, |next| next.0.len());
                let members = chunk.meta.membership.members().len() * MEMBER;
                chunk.data.len() + chunk.cursor.0.len() + next + members
            }
            Body::InstallSnapshotReply { result: SnapshotProgress::Wants(cursor), .. } => {
                cursor.0.len()
            }
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::RequestVote { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::StateDigest { .. } => 0,
        }
}

/// Encodes a batch.
///
/// # Panics
/// If the peer would not read the frame. The limits above exclude this.
pub fn encode(messages: &[Message]) -> Bytes {
    let mut buffer = Vec::with_capacity(messages.iter().map(size).sum());
    codec::encode_into(messages, &mut buffer);
    assert!(buffer.len() <= MAX_FRAME_BYTES, "a frame of {} bytes", buffer.len());
    buffer.into()
}

/// Decodes a batch. A frame that announces too many messages is refused before any is decoded,
/// because messages take several times as much in memory.
pub fn decode(frame: &[u8]) -> Result<Vec<Message>, DecodeError> {
    codec::decode_at_most(frame, MAX_MESSAGES)
}

#[cfg(test)]
mod tests {
    use raft_core::message::SnapshotChunk;
    use raft_core::snapshot::{Cursor, SnapshotMeta};
    use raft_core::types::{LogPosition, NodeId, Term};

    use super::*;

    fn message(body: Body) -> Message {
        Message { from: NodeId(1), to: NodeId(2), term: Term(1), seq: 1, body }
    }

    /// Guards the limits of queues and frames: data whose length a peer chooses is counted.
    #[test]
    fn cursors_are_counted() {
        let cursor = || Cursor(Bytes::from(vec![b'c'; 4000]));
        let wants = SnapshotProgress::Wants(cursor());
        let last = LogPosition::default();
        let (data, next) = (Bytes::new(), Some(cursor()));
        let chunk = SnapshotChunk { meta: SnapshotMeta::default(), cursor: cursor(), data, next };
        for (body, cursors) in [
            (Body::InstallSnapshotReply { last, round: 1, result: wants }, 1),
            (Body::InstallSnapshot { chunk: Box::new(chunk), round: 1 }, 2),
        ] {
            let message = message(body);
            assert!((4000 * cursors..4100 * cursors).contains(&size(&message)));
            assert!(encode(std::slice::from_ref(&message)).len() <= size(&message));
        }
    }

    /// Guards memory: decoded small messages take several times their encoded size.
    #[test]
    fn a_frame_of_too_many_messages_is_refused() {
        let messages = vec![message(Body::TimeoutNow); MAX_MESSAGES + 1];
        let refused = decode(&encode(&messages)).expect_err("one too many").to_string();
        assert!(refused.contains("are more than"), "{refused}");
        assert_eq!(decode(&encode(&messages[1..])).expect("as many as fit").len(), MAX_MESSAGES);
    }
}
