//! Answers whose size clients choose: each answer is bounded, and all pending answers together are
//! bounded.
//!
//! **Invariant:** Values are shared with the state until the client has taken them. JSON is encoded
//! in pieces, each while the previous piece is sent. No answer is in memory as a whole, and none
//! blocks the thread that drives Raft.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use raft_core::kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// The maximum bytes of keys and values in one answer of `/txn` or `/batch`: two of the largest
/// pairs fit.
pub(super) const MAX_SHOWN_BYTES: usize = 2 * (MAX_VALUE_BYTES + MAX_KEY_BYTES);

/// Answers up to this size are bounded only by the number of connections.
const FREE_BYTES: usize = 16 << 10;

/// Keys and values up to this length are encoded together with the text around them.
const SHORT_BYTES: usize = 512;

/// The maximum bytes that are encoded at once.
const PIECE_BYTES: usize = 32 << 10;

/// The longest form of a byte in JSON: `\u0001`.
const MAX_FORM_BYTES: usize = 6;

/// The maximum number of pieces that are encoded at once; each needs a thread.
const MAX_MAKERS: usize = 4;

static MAKERS: Semaphore = Semaphore::const_new(MAX_MAKERS);

/// The maximum number of answers to applied writes that wait for room: they hold what they show.
const MAX_WAITING: usize = 32;

/// Bounds the bytes that all pending answers hold.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    max_bytes: usize,
    room: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// An answer's permission to hold bytes; released when dropped.
pub(super) type Hold = OwnedSemaphorePermit;

impl Answers {
    /// Allows at most this many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        let max_bytes = max_bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let (room, waiting) = (Semaphore::new(max_bytes), Semaphore::new(MAX_WAITING));
        Self { max_bytes, room: Arc::new(room), waiting: Arc::new(waiting) }
    }

    /// An answer that is larger than the bound may pass when no other is pending.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.max_bytes)).unwrap_or(u32::MAX)
    }

    /// Whether an answer of this size may be sent now: it is small, `hold` suffices, or there is
    /// room, which `hold` then takes.
    pub(super) fn fits(&self, bytes: usize, hold: &mut Option<Hold>) -> bool {
        let wanted = self.permits(bytes);
        if bytes <= FREE_BYTES
            || hold.as_ref().is_some_and(|hold| hold.num_permits() >= wanted as usize)
        {
            return true;
        }
        *hold = None;
        *hold = Arc::clone(&self.room).try_acquire_many_owned(wanted).ok();
        hold.is_some()
    }

    /// Waits for room, in turn. The caller should not hold the contents meanwhile.
    pub(super) async fn wait(&self, bytes: usize, within: Duration) -> Option<Hold> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.permits(bytes));
        timeout(within, room).await.ok()?.ok()
    }

    /// The same for an answer that cannot be made again. Only a few may wait.
    pub(super) async fn wait_with(&self, bytes: usize, within: Duration) -> Option<Hold> {
        let _turn = self.waiting.try_acquire().ok()?;
        self.wait(bytes, within).await
    }
}

/// An answer before it is sent.
pub(super) struct Outgoing {
    response: Response,
    rest: Rest,
}

/// What an answer holds besides its response.
enum Rest {
    Nothing,
    Shared(Bytes),
    Pieces(VecDeque<Piece>, usize),
}

impl From<Response> for Outgoing {
    /// A small answer.
    fn from(response: Response) -> Self {
        Self { response, rest: Rest::Nothing }
    }
}

impl From<Document> for Outgoing {
    fn from(document: Document) -> Self {
        let Document { mut pieces, text, held } = document;
        let text = Bytes::from(text);
        let mut answer = if pieces.is_empty() {
            Self::shared(text)
        } else {
            pieces.push_back(Piece::Made(text));
            Self { response: Response::default(), rest: Rest::Pieces(pieces, held) }
        };
        let json = HeaderValue::from_static("application/json");
        answer.response.headers_mut().insert(CONTENT_TYPE, json);
        answer
    }
}

impl Outgoing {
    /// An answer with these bytes, which may be shared with the state.
    pub(super) fn shared(bytes: Bytes) -> Self {
        if bytes.len() <= FREE_BYTES {
            return Self::from(Response::new(Body::from(bytes)));
        }
        Self { response: Response::default(), rest: Rest::Shared(bytes) }
    }

    /// The response without its body.
    pub(super) fn head(&mut self) -> &mut Response {
        &mut self.response
    }

    /// The bytes that the answer holds until the client has taken them.
    pub(super) fn held(&self) -> usize {
        match &self.rest {
            Rest::Nothing => 0,
            Rest::Shared(bytes) => bytes.len(),
            Rest::Pieces(_, held) => *held,
        }
    }

    /// The response, with its permission to hold bytes.
    pub(super) fn with(self, hold: Option<Hold>) -> Response {
        let body = match self.rest {
            Rest::Nothing => return self.response,
            Rest::Shared(bytes) => match hold {
                // The connection drops the bytes and the permission once all are sent.
                Some(hold) => Body::from(Bytes::from_owner(Held { bytes, _hold: hold })),
                None => Body::from(bytes),
            },
            Rest::Pieces(pieces, _) => {
                Body::new(Pieces { rest: pieces, making: None, _hold: hold })
            }
        };
        self.response.map(|_| body)
    }
}

struct Held {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A JSON document under construction. Long keys and values are only referenced.
#[derive(Default)]
pub(super) struct Document {
    pieces: VecDeque<Piece>,
    /// The text after the pieces.
    text: Vec<u8>,
    held: usize,
}

/// A part of a document.
enum Piece {
    /// Bytes to copy.
    Made(Bytes),
    /// Text to escape in a JSON string.
    Text(Bytes),
    /// Bytes to write as hexadecimal digits.
    Digits(Bytes),
}

impl Document {
    /// Adds encoded JSON.
    pub(super) fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.held += text.len();
    }

    /// Adds a short value.
    pub(super) fn plain<T: Serialize>(&mut self, value: &T) {
        let before = self.text.len();
        serde_json::to_writer(&mut self.text, value).expect("answers have a JSON form");
        self.held += self.text.len() - before;
    }

    /// Adds bytes in the form of [`raft_core::codec::text_or_bytes`].
    pub(super) fn bytes(&mut self, bytes: &Bytes) {
        let is_text = std::str::from_utf8(bytes).is_ok();
        let (before, piece, after) = if is_text {
            ("\"", Piece::Text(bytes.clone()), "\"")
        } else {
            ("{\"hex\":\"", Piece::Digits(bytes.clone()), "\"}")
        };
        self.raw(before);
        if bytes.len() <= SHORT_BYTES {
            let before = self.text.len();
            { piece }.write(usize::MAX, &mut self.text);
            self.held += self.text.len() - before;
        } else {
            self.held += bytes.len();
            self.pieces.push_back(Piece::Made(Bytes::from(std::mem::take(&mut self.text))));
            self.pieces.push_back(piece);
        }
        self.raw(after);
    }

    pub(super) fn list<T>(
        &mut self,
        all: impl IntoIterator<Item = T>,
        mut add: impl FnMut(&mut Self, T),
    ) {
        self.raw("[");
        for (number, one) in all.into_iter().enumerate() {
            if number > 0 {
                self.raw(",");
            }
            add(self, one);
        }
        self.raw("]");
    }
}

impl Piece {
    /// Encodes at most `most` of its bytes and keeps the others.
    fn write(&mut self, most: usize, out: &mut Vec<u8>) {
        let first = |bytes: &mut Bytes| bytes.split_to(most.min(bytes.len()));
        match self {
            Self::Made(bytes) => out.extend_from_slice(&first(bytes)),
            Self::Text(bytes) => escape(&first(bytes), out),
            Self::Digits(bytes) => digits(&first(bytes), out),
        }
    }

    fn is_empty(&self) -> bool {
        let (Self::Made(bytes) | Self::Text(bytes) | Self::Digits(bytes)) = self;
        bytes.is_empty()
    }
}

/// Escapes text for a JSON string. All escaped characters are ASCII, so the text may be split
/// anywhere.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text[plain..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(b"00");
            digits(&[*byte], out);
        }
        plain = at + 1;
    }
    out.extend_from_slice(&text[plain..]);
}

fn digits(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|it| DIGITS[usize::from(it)]),
    );
}

/// A document that is being sent. Pieces are encoded on other threads: hyper requests them in a row
/// without yielding, and this thread drives Raft.
struct Pieces {
    rest: VecDeque<Piece>,
    making: Option<JoinHandle<Result<Made, JoinError>>>,
    _hold: Option<Hold>,
}

/// A piece, and the remaining pieces.
type Made = (Vec<u8>, VecDeque<Piece>);

/// Encodes the next piece, on another thread.
async fn make(mut pieces: VecDeque<Piece>) -> Result<Made, JoinError> {
    let _turn = MAKERS.acquire().await;
    spawn_blocking(move || (next_piece(&mut pieces), pieces)).await
}

fn next_piece(pieces: &mut VecDeque<Piece>) -> Vec<u8> {
    let mut out = Vec::with_capacity(PIECE_BYTES);
    while out.len() < PIECE_BYTES / 2
        && let Some(piece) = pieces.front_mut()
    {
        piece.write((PIECE_BYTES - out.len()) / MAX_FORM_BYTES, &mut out);
        if piece.is_empty() {
            pieces.pop_front();
        }
    }
    out
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = JoinError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, JoinError>>> {
        if self.making.is_none() {
            if self.rest.is_empty() {
                return Poll::Ready(None);
            }
            let rest = std::mem::take(&mut self.rest);
            self.making = Some(tokio::spawn(make(rest)));
        }
        let Some(making) = &mut self.making else { return Poll::Ready(None) };
        let made = ready!(Pin::new(making).poll(context));
        self.making = None;
        Poll::Ready(Some(made.flatten().map(|(piece, rest)| {
            self.rest = rest;
            Frame::data(piece.into())
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.making.is_none()
    }
}

#[cfg(test)]
mod tests {
    use api::kv::Found;
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use raft_core::kv::Versioned;
    use serde_json::Value;

    use super::*;

    fn document(all: &[Found]) -> Document {
        let mut document = Document::default();
        document.list(all, Document::found);
        document
    }

    async fn written(answer: Outgoing, hold: Option<Hold>) -> Bytes {
        let body = answer.with(hold).into_body();
        body.collect().await.expect("it cannot break").to_bytes()
    }

    fn found(key: Vec<u8>, value: Vec<u8>, lease: Option<u64>) -> Found {
        let versioned = Versioned {
            value: value.into(),
            create_revision: 1,
            mod_revision: 2,
            version: 3,
            lease: lease.map(Into::into),
        };
        Found::new(&key.into(), &versioned)
    }

    proptest! {
        /// Guards the encoding: in pieces it equals, byte for byte, what serde writes at once.
        #[test]
        fn documents_are_written_as_by_serde(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..2000),
                "\\PC{0,700}".prop_map(String::into_bytes),
                prop::collection::vec(0_u8..0x40, 0..40_000),
            ],
            lease in any::<Option<u64>>(),
        ) {
            let all: Vec<_> =
                keys.into_iter().map(|key| found(key, value.clone(), lease)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("one");
            let answer = Outgoing::from(document(&all));
            let bytes = runtime.block_on(written(answer, None));
            prop_assert_eq!(bytes, serde_json::to_vec(&all).expect("it has a JSON form"));
        }
    }

    /// Guards memory: the bytes of answers count until the last byte is taken, and an answer beyond
    /// the bound waits.
    #[tokio::test]
    async fn what_answers_hold_is_bounded() {
        let answers = Answers::new(100_000);
        let large = || Outgoing::from(document(&[found(vec![b'k'], vec![b'"'; 60_000], None)]));
        assert!(large().held() >= 60_000);
        let (mut first, mut second) = (None, None);
        assert!(answers.fits(large().held(), &mut first) && first.is_some());
        assert!(!answers.fits(large().held(), &mut second), "both do not fit");
        assert!(answers.fits(FREE_BYTES, &mut second) && second.is_none(), "small ones pass");
        assert!(answers.wait(60_000, Duration::from_millis(1)).await.is_none());

        let response = large().with(first);
        let waiting = tokio::spawn({
            let answers = answers.clone();
            async move { answers.wait_with(60_000, Duration::from_secs(30)).await }
        });
        let text = response.into_body().collect().await.expect("it cannot break").to_bytes();
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(value[0]["value"].as_str().map(str::len), Some(60_000));
        let turn = waiting.await.expect("no bug").expect("room");
        drop(turn);

        let bytes = Bytes::from(vec![1; 50_000]);
        let mut hold = None;
        assert!(answers.fits(bytes.len(), &mut hold));
        let mut body = Outgoing::shared(bytes).with(hold).into_body();
        let frame = body.frame().await.expect("a frame").expect("it cannot break");
        drop(body);
        assert_eq!(answers.room.available_permits(), 50_000, "held while it is on its way");
        drop(frame);
        assert_eq!(answers.room.available_permits(), 100_000);
        let mut alone = None;
        assert!(answers.fits(1 << 30, &mut alone), "alone, one may be larger than the bound");
    }
}
