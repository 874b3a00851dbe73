//! One WebSocket frame between two servers: a batch of messages in the core's binary form.

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

/// A batch is closed once it holds so many bytes; one message always fits.
pub const BATCH_BYTES: usize = 1 << 20;

/// The largest frame that is read, in bytes. The length stands in a frame's header, so a larger
/// one is refused before any of it is read.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// The largest frame of the control lane, whose messages are small.
pub const MAX_CONTROL_FRAME_BYTES: usize = 1 << 20;

/// The largest frame before both sides know each other.
pub const MAX_GREETING_BYTES: usize = 1 << 10;

/// The most bytes of entries or of a snapshot that one message may be configured to carry.
pub const MAX_PAYLOAD_BYTES: usize = MAX_CHUNK_BYTES;

/// A batch overshoots by one message at most. That one has its payload, or a single entry or part of
/// a snapshot that is larger.
const _: () = assert!(MAX_COMMAND_BYTES <= MAX_PAYLOAD_BYTES);
const _: () =
    assert!(BATCH_BYTES + MAX_ENCODED_CHUNK_BYTES + CHUNK_ENVELOPE_BYTES <= MAX_FRAME_BYTES);
const _: () = assert!(MAX_FRAME_BYTES <= codec::MAX_BYTES);

/// The largest control message names a key, and all that wait may go in one frame.
const _: () = assert!(MAX_CONTROL_FRAME_BYTES > MAX_CONTROL_BYTES + 2 * MAX_KEY_BYTES);

/// The largest frame that is read on a lane.
pub const fn max_bytes(lane: Lane) -> usize {
    match lane {
        Lane::Log | Lane::Snapshot => MAX_FRAME_BYTES,
        Lane::Control => MAX_CONTROL_FRAME_BYTES,
    }
}

/// What is read of a connection at once, at most.
const READ_BYTES: usize = 128 << 10;

/// What the WebSocket layer accepts on a connection whose frames are bounded so.
pub fn websocket(max_frame: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_frame_size(Some(max_frame))
        .max_message_size(Some(max_frame))
        .read_buffer_size(READ_BYTES.min(max_frame))
}

/// What a message takes in a frame beside its payload, in bytes.
const ENVELOPE: usize = 64;

/// The most messages of one frame: a batch is closed by their sizes.
const MAX_MESSAGES: usize = BATCH_BYTES / ENVELOPE + 1;

/// About how many bytes a message takes in a frame.
pub fn size(message: &Message) -> usize {
    // A number, at most in three sets of a change under way.
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
/// When the other side would not read the frame, which the bounds above exclude.
pub fn encode(messages: &[Message]) -> Bytes {
    let mut buffer = Vec::with_capacity(messages.iter().map(size).sum());
    codec::encode_into(messages, &mut buffer);
    assert!(buffer.len() <= MAX_FRAME_BYTES, "a frame of {} bytes", buffer.len());
    buffer.into()
}

/// Decodes a batch. What says that it is longer than a batch is refused before any of it is decoded:
/// messages take several times as much in memory.
pub fn decode(frame: &[u8]) -> Result<Vec<Message>, DecodeError> {
    codec::decode_at_most(frame, MAX_MESSAGES)
}

#[cfg(test)]
mod tests {
    use raft_core::message::{Cursor, SnapshotChunk, SnapshotMeta};
    use raft_core::types::{LogPosition, NodeId, Term};

    use super::*;

    fn message(body: Body) -> Message {
        Message { from: NodeId(1), to: NodeId(2), term: Term(1), seq: 1, body }
    }

    /// Guards the bounds of queues and frames: what a peer chooses the length of is counted.
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

    /// Guards memory: small messages take several times their bytes once they are decoded.
    #[test]
    fn a_frame_of_too_many_messages_is_refused() {
        let messages = vec![message(Body::TimeoutNow); MAX_MESSAGES + 1];
        let refused = decode(&encode(&messages)).expect_err("one too many").to_string();
        assert!(refused.contains("are more than"), "{refused}");
        assert_eq!(decode(&encode(&messages[1..])).expect("as many as fit").len(), MAX_MESSAGES);
    }
}
