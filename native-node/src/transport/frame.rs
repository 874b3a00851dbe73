//! One WebSocket frame between two servers: a batch of messages in the core's binary form.

use bytes::Bytes;
use raft_core::codec::{self, DecodeError};
use raft_core::limits::{
    CHUNK_ENVELOPE_BYTES, MAX_CHUNK_BYTES, MAX_COMMAND_BYTES, MAX_ENCODED_CHUNK_BYTES,
    MAX_KEY_BYTES,
};
use raft_core::message::{Body, Message};
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

/// About how many bytes a message takes in a frame.
pub fn size(message: &Message) -> usize {
    const ENVELOPE: usize = 64;
    ENVELOPE
        + match &message.body {
            Body::AppendEntries { entries, .. } => {
                entries.iter().map(raft_core::log::Entry::size).sum()
            }
            Body::InstallSnapshot { chunk, .. } => chunk.data.len(),
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

/// Decodes a batch.
pub fn decode(frame: &[u8]) -> Result<Vec<Message>, DecodeError> {
    codec::decode(frame)
}
