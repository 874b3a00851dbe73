//! The events of a watcher, as the bytes of its stream (server-sent events).

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use raft_core::codec::text_or_bytes;
use raft_core::kv::Change;
use serde::Serialize;

/// Larger events are encoded piece by piece, as the watcher takes them.
const SMALL: usize = 8 << 10;

/// This much of a value is encoded at once, in bytes. Its encoding is up to six times as long.
const PIECE: usize = 2 << 10;

/// The memory of an event besides its text or its changes, in bytes.
const OVERHEAD: usize = 128;

/// A revision, and the digest of all pairs at that revision. The digest distinguishes histories: a
/// cluster that was restored from a backup uses revisions a second time.
///
/// As text it is the id of an event: `REVISION-DIGEST`, or the bare revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The revision.
    pub revision: u64,
    /// The digest ([`raft_core::kv::KvStore::pairs_digest`]).
    pub digest: u64,
    /// Whether the text omits the digest. A client may reconnect to a server of the first release,
    /// which knows no digest.
    pub bare: bool,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bare {
            return self.revision.fmt(f);
        }
        write!(f, "{}-{:016x}", self.revision, self.digest)
    }
}

/// A [`Position`] that a client names: the id of an event, or a bare revision of unknown history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From {
    /// The revision.
    pub revision: u64,
    /// The digest, if the client knows it.
    pub digest: Option<u64>,
}

impl FromStr for From {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (revision, digest) = match text.split_once('-') {
            Some((revision, digest)) => (revision, Some(u64::from_str_radix(digest, 16)?)),
            None => (text, None),
        };
        Ok(Self { revision: revision.parse()?, digest })
    }
}

/// The changes of one revision, shared by the watchers that get them.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) position: Position,
    content: Content,
    /// The approximate memory, in bytes.
    pub(super) cost: usize,
    /// Counts the memory of all events.
    held: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Content {
    /// Already encoded, because it is small.
    Text(Bytes),
    /// Encoded when it is taken. The values are shared with the store.
    Changes(Vec<Change>),
}

impl Event {
    pub(super) fn new(
        position: Position,
        changes: Vec<Change>,
        held: &Arc<AtomicUsize>,
    ) -> Arc<Self> {
        let size: usize = changes.iter().map(Change::size).sum();
        let (content, size) = if size <= SMALL {
            let mut text = Vec::with_capacity(2 * size);
            let done = Encoder::default().fill(position, &changes, &mut text, usize::MAX);
            assert!(done, "there is no limit");
            let text = Bytes::from(text);
            let size = text.len();
            (Content::Text(text), size)
        } else {
            (Content::Changes(changes), size)
        };
        let cost = size + OVERHEAD;
        held.fetch_add(cost, Relaxed);
        Arc::new(Self { position, content, cost, held: Arc::clone(held) })
    }

    /// The whole event, if it is small.
    pub(super) const fn text(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Changes(_) => None,
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.held.fetch_sub(self.cost, Relaxed);
    }
}

/// An event that is being sent to one watcher.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) event: Arc<Event>,
    encoder: Encoder,
}

impl Underway {
    pub(super) fn new(event: Arc<Event>) -> Self {
        Self { event, encoder: Encoder::default() }
    }

    /// Adds the next part of the event, until `out` has about `limit` bytes. Returns whether the
    /// event is complete.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        match &self.event.content {
            Content::Text(text) => {
                out.extend_from_slice(text);
                true
            }
            Content::Changes(changes) => {
                self.encoder.fill(self.event.position, changes, out, limit)
            }
        }
    }
}

/// How far an event is encoded.
#[derive(Debug, Default)]
struct Encoder {
    begun: bool,
    /// The next change.
    change: usize,
    /// How far its value is encoded, if that has begun.
    value: Option<Value>,
}

#[derive(Debug)]
struct Value {
    at: usize,
    is_text: bool,
}

impl Encoder {
    fn fill(
        &mut self,
        position: Position,
        changes: &[Change],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            let revision = position.revision;
            let head = format_args!(
                "id: {position}\nevent: change\ndata: {{\"revision\":{revision},\"changes\":["
            );
            write!(out, "{head}").expect(NEVER_FAILS);
        }
        while let Some(change) = changes.get(self.change) {
            if out.len() >= limit {
                return false;
            }
            self.step(change, out);
        }
        out.extend_from_slice(b"]}\n\n");
        true
    }

    /// Encodes the next part of a change.
    fn step(&mut self, change: &Change, out: &mut Vec<u8>) {
        let Some(found) = &change.value else {
            self.begin(change, "delete", out);
            out.push(b'}');
            self.change += 1;
            return;
        };
        let Some(value) = &mut self.value else {
            self.begin(change, "put", out);
            let is_text = std::str::from_utf8(&found.value).is_ok();
            out.extend_from_slice(if is_text {
                b",\"value\":\""
            } else {
                b",\"value\":{\"hex\":\""
            });
            self.value = Some(Value { at: 0, is_text });
            return;
        };
        if value.at < found.value.len() {
            let end = piece_end(&found.value, value.at, value.is_text);
            let piece = &found.value[value.at..end];
            value.at = end;
            match std::str::from_utf8(piece) {
                Ok(text) if value.is_text => escape(text, out),
                _ => {
                    let digits =
                        |byte: &u8| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                    out.extend(piece.iter().flat_map(digits));
                }
            }
            return;
        }
        out.extend_from_slice(if value.is_text { b"\"" } else { b"\"}" });
        let (create, modified) = (found.create_revision, found.mod_revision);
        let version = found.version;
        write!(
            out,
            ",\"create_revision\":{create},\"mod_revision\":{modified},\"version\":{version}"
        )
        .expect(NEVER_FAILS);
        if let Some(lease) = found.lease {
            write!(out, ",\"lease\":{}", lease.0).expect(NEVER_FAILS);
        }
        out.push(b'}');
        self.value = None;
        self.change += 1;
    }

    fn begin(&self, change: &Change, kind: &str, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Key<'a>(#[serde(with = "text_or_bytes")] &'a Bytes);
        if self.change > 0 {
            out.push(b',');
        }
        write!(out, "{{\"type\":\"{kind}\",\"key\":").expect(NEVER_FAILS);
        serde_json::to_writer(out, &Key(&change.key)).expect(NEVER_FAILS);
    }
}

const NEVER_FAILS: &str = "writing into memory does not fail";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The end of the piece of a value that begins at `at`. Characters stay whole.
fn piece_end(value: &[u8], at: usize, is_text: bool) -> usize {
    let mut end = value.len().min(at + PIECE);
    while is_text && value.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    end
}

/// Writes a text as it is between the quotes of a JSON string.
fn escape(text: &str, out: &mut Vec<u8>) {
    let quoted = serde_json::to_string(text).expect(NEVER_FAILS);
    out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
}

/// Writes an event that says that nothing else happened up to a position.
pub(super) fn bookmark(at: Position, out: &mut Vec<u8>) {
    let revision = at.revision;
    write!(out, "id: {at}\nevent: bookmark\ndata: {{\"revision\":{revision}}}\n\n")
        .expect(NEVER_FAILS);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use raft_core::kv::{LeaseId, Versioned};
    use serde_json::{Map, json};

    use super::*;

    fn value() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
            "\\PC{0,20}".prop_map(Bytes::from),
            // Characters that grow most, and characters across the ends of pieces.
            (0..3 * PIECE, 0..4_usize).prop_map(|(count, shift)| Bytes::from(
                "a".repeat(shift) + &"é\u{1}😀".repeat(count / 8)
            )),
            (0..3 * PIECE).prop_map(|count| Bytes::from(vec![0xff; count])),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        let found = (value(), any::<[u64; 3]>(), prop::option::of(any::<u64>()));
        (value(), prop::option::of(found)).prop_map(|(key, found)| Change {
            revision: 7,
            key,
            value: found.map(|(value, [create_revision, mod_revision, version], lease)| {
                Versioned {
                    value,
                    create_revision,
                    mod_revision,
                    version,
                    lease: lease.map(LeaseId),
                }
            }),
            before: 0,
        })
    }

    fn bytes(bytes: &Bytes) -> serde_json::Value {
        text_or_bytes::serialize(bytes, serde_json::value::Serializer).expect("it has a form")
    }

    fn expected(change: &Change) -> serde_json::Value {
        let Some(found) = &change.value else {
            return json!({"type": "delete", "key": bytes(&change.key)});
        };
        let mut fields: Map<String, serde_json::Value> = Map::new();
        fields.insert("type".to_owned(), "put".into());
        fields.insert("key".to_owned(), bytes(&change.key));
        fields.insert("value".to_owned(), bytes(&found.value));
        fields.insert("create_revision".to_owned(), found.create_revision.into());
        fields.insert("mod_revision".to_owned(), found.mod_revision.into());
        fields.insert("version".to_owned(), found.version.into());
        fields.extend(found.lease.map(|lease| ("lease".to_owned(), lease.0.into())));
        fields.into()
    }

    proptest! {
        /// Guards the stream: an event that is encoded in parts is the expected JSON, and no part
        /// is large.
        #[test]
        fn parts_add_up_to_the_event(
            changes in prop::collection::vec(change(), 1..6),
            limit in 1..4 * PIECE,
        ) {
            let held = Arc::new(AtomicUsize::new(0));
            let position = Position { revision: 7, digest: 0xab, bare: false };
            let event = Event::new(position, changes.clone(), &held);
            prop_assert_eq!(held.load(Relaxed), event.cost);
            let longest = changes.iter().map(|it| it.key.len()).max().unwrap_or_default();
            let (mut underway, mut text) = (Underway::new(Arc::clone(&event)), Vec::new());
            loop {
                let mut part = Vec::new();
                let done = underway.fill(&mut part, limit);
                if event.text().is_none() {
                    prop_assert!(part.len() <= limit + 6 * (PIECE + longest) + 256);
                }
                text.extend(part);
                if done {
                    break;
                }
            }
            let text = String::from_utf8(text).expect("JSON is text");
            let data = text
                .strip_prefix("id: 7-00000000000000ab\nevent: change\ndata: ")
                .and_then(|rest| rest.strip_suffix("\n\n"))
                .expect("an event");
            prop_assert!(!data.contains('\n'));
            let wanted: Vec<_> = changes.iter().map(expected).collect();
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            prop_assert_eq!(data, json!({"revision": 7, "changes": wanted}));
            drop((underway, event));
            prop_assert_eq!(held.load(Relaxed), 0);
        }
    }

    /// Guards that ids are read as they are written, and that bare revisions are read too.
    #[test]
    fn ids_are_read_as_they_are_written() {
        let position = Position { revision: 12, digest: 0xfe, bare: false };
        let read = |text: &str| text.parse::<From>();
        assert_eq!(read(&position.to_string()), Ok(From { revision: 12, digest: Some(0xfe) }));
        assert_eq!(Position { bare: true, ..position }.to_string(), "12");
        assert_eq!(read("12"), Ok(From { revision: 12, digest: None }));
        for bad in ["", "-", "12-", "-fe", "x", "12-xyz", "12-fe-1", "99999999999999999999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
