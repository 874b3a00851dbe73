//! A connection with backpressure and timeouts. While the client does not read its answer, the
//! server reads nothing from it, and disconnects it after a timeout. The connection closes in a way
//! that delivers the last answer.
//!
//! **Invariant:** Such a client holds a bounded amount of memory, because its answers do not pile
//! up. hyper's `pipeline_flush` stays off: it keeps answers back while anything is unread, and
//! buffers without a bound.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// A client that reads slowly must take at least this many bytes within its timeout.
const LEAST_BYTES: usize = 64 << 10;

/// How long a client may continue to send after the last answer. If data stays unread, closing
/// resets the connection and loses the answer.
const LINGER: Duration = Duration::from_secs(2);

/// The same, if the server stops or another client needs the place.
const SHORT_LINGER: Duration = Duration::from_millis(250);

/// The maximum bytes that are read during that time.
const MAX_LINGER_BYTES: usize = 32 << 20;

/// Answers up to this size are copied and written as one piece. To write the head and the body of
/// a small answer as two pieces costs more in the kernel than the copy.
const GATHERED: usize = 4 << 10;

/// A stream with a write timeout and a lingering close.
pub(super) struct Paced<S> {
    stream: S,
    /// The timeout for a client that takes nothing.
    patience: Duration,
    /// Cancelled when there is no time to linger: the server stops, or another client needs the
    /// place.
    hurry: CancellationToken,
    /// When the client is disconnected; set while it does not read pending data.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The bytes that it took since the deadline was set.
    taken: usize,
    /// Whether the last write is pending.
    is_stuck: bool,
    /// Whether a read was attempted meanwhile.
    wants_to_read: bool,
    ending: Option<Ending>,
}

/// The phase after the last answer.
struct Ending {
    deadline: Pin<Box<Sleep>>,
    read: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, patience: Duration, hurry: CancellationToken) -> Self {
        Self {
            stream,
            patience,
            hurry,
            deadline: None,
            taken: 0,
            is_stuck: false,
            wants_to_read: false,
            ending: None,
        }
    }

    /// Notes that the client took this many bytes.
    fn moves(&mut self, bytes: usize, context: &Context<'_>) {
        self.is_stuck = false;
        self.taken += bytes;
        if self.taken >= LEAST_BYTES {
            self.deadline = None;
        }
        if std::mem::take(&mut self.wants_to_read) {
            context.waker().wake_by_ref();
        }
    }

    /// Notes that the client takes nothing at present. Fails once that has lasted too long.
    fn is_waited_for(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.is_stuck = true;
        let patience = self.patience;
        let taken = &mut self.taken;
        let deadline = self.deadline.get_or_insert_with(|| {
            *taken = 0;
            Box::pin(sleep(patience))
        });
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn judge(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.moves(*bytes, context),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.is_waited_for(context)?,
        }
        written
    }
}

/// Copies the pieces into the buffer, in order; `None` if they do not fit.
fn gather<'a>(pieces: &[IoSlice<'_>], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut end = 0;
    for piece in pieces {
        buffer.get_mut(end..end + piece.len())?.copy_from_slice(piece);
        end += piece.len();
    }
    Some(&buffer[..end])
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_stuck {
            // The next write wakes the reader.
            self.wants_to_read = true;
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = [0; GATHERED];
        let stream = Pin::new(&mut self.stream);
        let written = match gather(bytes, &mut gathered) {
            Some(bytes) => stream.poll_write(context, bytes),
            None => stream.poll_write_vectored(context, bytes),
        };
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                // The client has taken all data.
                self.deadline = None;
                self.moves(0, context);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.is_waited_for(context)?;
                Poll::Pending
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, hurry, ending, .. } = &mut *self;
        if ending.is_none() {
            match Pin::new(&mut *stream).poll_shutdown(context) {
                Poll::Ready(ended) => ended?,
                Poll::Pending => {
                    self.is_waited_for(context)?;
                    return Poll::Pending;
                }
            }
        }
        let linger = if hurry.is_cancelled() { SHORT_LINGER } else { LINGER };
        let ending =
            ending.get_or_insert_with(|| Ending { deadline: Box::pin(sleep(linger)), read: 0 });
        if ending.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 8 << 10];
        while ending.read < MAX_LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut bytes);
            // A read error does not matter.
            let more = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_ok();
            let read = buffer.filled().len();
            if !more || read == 0 {
                break;
            }
            ending.read += read;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn pair(size: usize) -> (Paced<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = duplex(size);
        (Paced::new(ours, Duration::from_secs(30), CancellationToken::new()), theirs)
    }

    /// Guards answers: pieces are written in order and whole, whether they are small or large.
    #[tokio::test]
    async fn pieces_arrive_in_order() {
        for size in [1, GATHERED - 1, GATHERED, 3 * GATHERED] {
            let (mut paced, mut client) = pair(8 * GATHERED);
            let (head, body) = (vec![b'h'; size], vec![b'b'; 1]);
            let mut pieces = bytes::Buf::chain(&head[..], &body[..]);
            paced.write_all_buf(&mut pieces).await.expect("room");
            let mut read = vec![0; size + 1];
            client.read_exact(&mut read).await.expect("an answer");
            assert_eq!(read, [head, body].concat());
        }
    }

    /// Guards memory: input is not read while the client takes nothing, and is read afterwards.
    #[tokio::test]
    async fn nothing_is_read_from_who_takes_nothing() {
        let (mut paced, mut client) = pair(1000);
        client.write_all(b"more").await.expect("room");
        let mut byte = [0];
        let turns = async {
            std::future::poll_fn(|context| {
                while Pin::new(&mut paced).poll_write(context, &[0; 600])?.is_ready() {}
                let mut buffer = ReadBuf::new(&mut byte);
                assert!(Pin::new(&mut paced).poll_read(context, &mut buffer).is_pending());
                Poll::Ready(Ok::<_, io::Error>(()))
            })
            .await
            .expect("it is stuck");
            paced.write_all(b"rest").await.expect("room again");
            paced.read_u8().await.expect("what was sent meanwhile")
        };
        let taking = async {
            let mut taken = vec![0; 1000];
            client.read_exact(&mut taken).await.expect("an answer");
            client
        };
        let (read, _client) = tokio::join!(turns, taking);
        assert_eq!(read, b'm');
    }

    /// Guards places: a client that takes nothing, or next to nothing, is disconnected; a slow
    /// client is not.
    #[tokio::test]
    async fn who_takes_next_to_nothing_is_cut() {
        for (each, is_cut) in [(0, true), (100, true), (LEAST_BYTES, false)] {
            let (ours, mut client) = duplex(1000);
            let mut paced = Paced::new(ours, Duration::from_secs(2), CancellationToken::new());
            let taking = tokio::spawn(async move {
                let mut taken = vec![0; each];
                // Until it is disconnected, or has everything.
                while client.read_exact(&mut taken).await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
            });
            let written = paced.write_all(&vec![0; 20 * LEAST_BYTES]).await;
            let kind = written.err().map(|error| error.kind());
            assert_eq!(kind, is_cut.then_some(io::ErrorKind::TimedOut), "{each}");
            taking.abort();
        }
    }

    /// Guards the last answer: remaining input is read, but not forever.
    #[tokio::test]
    async fn it_ends_when_the_client_has_sent_all() {
        let (mut paced, mut client) = pair(1000);
        let sending = tokio::spawn(async move {
            client.write_all(&vec![0; 50_000]).await.expect("it is read");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("an answer");
            answer
        });
        paced.write_all(b"no").await.expect("room");
        paced.shutdown().await.expect("it ends");
        assert_eq!(sending.await.expect("no bug"), b"no");
        let (mut paced, _silent) = pair(1000);
        paced.shutdown().await.expect("it ends all the same");
    }
}
