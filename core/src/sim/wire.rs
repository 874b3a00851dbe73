//! Encodes and decodes what servers send and write, as on real servers. Frames must keep their size
//! bound. Data that cannot be decoded is a bug of our own.

use crate::codec;
use crate::durable::Write;
use crate::kv::{Snapshot, SnapshotBuilder};
use crate::message::Message;

/// The largest frame that a server accepts from a peer, in bytes.
const MAX_FRAME_BYTES: usize = 16 << 20;

/// The message as its receiver decodes it, and the length of its frame in bytes.
///
/// # Panics
/// When the receiver would refuse the frame or decode another message.
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

/// The batch as a restart decodes it from the log.
///
/// # Panics
/// When a restart would refuse the batch or decode another batch.
pub(super) fn write(write: &Write) -> Write {
    let record = codec::encode(write);
    let read: Write = codec::decode(&record).expect("a record that was written can be read");
    assert!(read == *write, "a record is read as it was written");
    read
}

/// The snapshot as a restart decodes it from its file.
///
/// # Panics
/// When a restart would refuse the snapshot or decode another state.
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
