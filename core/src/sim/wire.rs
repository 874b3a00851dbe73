//! What servers send and write takes the way of its bytes, as on real ones: it is encoded, held to
//! the bounds of frames and files, and read again. What cannot be read again is our own bug.

use crate::codec;
use crate::durable::Write;
use crate::kv::{Snapshot, SnapshotBuilder};
use crate::message::Message;

/// The largest frame that a server reads from another, in bytes.
const MAX_FRAME_BYTES: usize = 16 << 20;

/// The message as its receiver reads it, and the length of its frame in bytes.
///
/// # Panics
/// When the receiver would refuse the frame or read something else.
pub(super) fn message(message: &Message) -> (Message, u64) {
    let frame = codec::encode(message);
    let name = message.body.name();
    assert!(
        frame.len() <= MAX_FRAME_BYTES,
        "{name:?} takes {} bytes: no server reads such a frame",
        frame.len()
    );
    let read: Message = codec::decode(&frame).expect("a message that was sent can be read");
    assert!(read == *message, "a message is read as it was sent");
    (read, frame.len() as u64)
}

/// The batch as a restart reads it from the log.
///
/// # Panics
/// When a restart would refuse it or read something else.
pub(super) fn write(write: &Write) -> Write {
    let record = codec::encode(write);
    let read: Write = codec::decode(&record).expect("a record that was written can be read");
    assert!(read == *write, "a record is read as it was written");
    read
}

/// The snapshot as a restart reads it from its file.
///
/// # Panics
/// When a restart would refuse it or read another state.
pub(super) fn snapshot(snapshot: &Snapshot, part_bytes: usize) -> Snapshot {
    let mut builder = SnapshotBuilder::new(snapshot.meta.clone());
    loop {
        let (data, next) = snapshot.chunk(builder.cursor(), part_bytes);
        let added = builder.add(&data, next);
        if let Some(read) = added.expect("a snapshot that was written can be read") {
            let same = read.store.digest() == snapshot.store.digest();
            assert!(same, "a snapshot keeps the state");
            return read;
        }
    }
}
