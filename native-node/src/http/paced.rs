//! A connection that neither side can abuse: while the client takes nothing of an answer, nothing
//! more is read from it, and after a while it is cut; and it ends so that the last answer arrives.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// A client that cannot take at once what there is takes at least so much within its time.
const LEAST_BYTES: usize = 64 << 10;

/// How long a client may go on sending after the last answer. Closed with something unread, the
/// connection would be reset, and the answer lost.
const LINGER: Duration = Duration::from_secs(2);

/// The same when that is urgent.
const SHORT_LINGER: Duration = Duration::from_millis(250);

/// How much it may send then, in bytes.
const MAX_LINGER_BYTES: usize = 32 << 20;

/// See the module.
pub(super) struct Paced<S> {
    stream: S,
    /// How long a client may take nothing.
    patience: Duration,
    /// Set once there is no time to linger, since the server ends or somebody waits for the place.
    hurry: CancellationToken,
    /// When the client is cut; while there is something that it does not take.
    deadline: Option<Pin<Box<Sleep>>>,
    /// What it took since that was set, in bytes.
    taken: usize,
    /// Whether the last write did not go through.
    is_stuck: bool,
    /// Whether somebody wanted to read meanwhile.
    wants_to_read: bool,
    ending: Option<Ending>,
}

/// The time after the last answer.
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

    /// The client took so many bytes.
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

    /// The client takes nothing at present; an error once that has lasted too long.
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

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_stuck {
            // Woken by the write.
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
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                // All that there was is taken.
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
            // How it ends does not matter.
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

    /// Guards memory: what a client sends is not read while it takes nothing, and is afterwards.
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

    /// Guards places: who takes nothing, or next to nothing, is cut; who takes slowly is not.
    #[tokio::test]
    async fn who_takes_next_to_nothing_is_cut() {
        for (each, is_cut) in [(0, true), (100, true), (LEAST_BYTES, false)] {
            let (ours, mut client) = duplex(1000);
            let mut paced = Paced::new(ours, Duration::from_secs(2), CancellationToken::new());
            let taking = tokio::spawn(async move {
                let mut taken = vec![0; each];
                // Until it is cut, or has all.
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

    /// Guards the last answer: what a client still sends is read, but not for ever.
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
