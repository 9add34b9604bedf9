//! A connection whose end does not take the answer with it.
//!
//! Who closes a connection while the other side still sends makes the system discard what that side has not read yet. An answer to a request whose
//! body nobody wants (it is too long, or the token is wrong) would be lost so now and then. RFC 9112 §9.6: close the writing half first, and read on.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long the client may go on sending after the last answer.
const LINGERS: Duration = Duration::from_secs(5);
/// How much it may send in that time.
const DISCARDED_MAX: usize = 64 << 20;

/// A connection that reads on for a moment after its writing half was closed.
pub(crate) struct Lingering<S> {
    stream: S,
    /// The end of the time; None: the writing half is still open.
    until: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, until: None, discarded: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let until = match &mut this.until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                this.until.insert(Box::pin(sleep(LINGERS)))
            }
        };
        let mut room = [0; 8 << 10];
        while until.as_mut().poll(context).is_pending() && this.discarded < DISCARDED_MAX {
            let mut buffer = ReadBuf::new(&mut room);
            // An error means that the client is gone.
            if ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)).is_err() || buffer.filled().is_empty() {
                break;
            }
            this.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn what_the_client_still_sends_is_read_before_the_end() {
        let (mut client, server) = duplex(1024);
        let mut server = Lingering::new(server);
        let sends = async {
            client.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            drop(client);
            answer
        };
        let answers = async {
            server.write_all(b"too long").await.unwrap();
            server.shutdown().await.unwrap();
        };
        assert_eq!(tokio::join!(sends, answers).0, "too long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_more_and_stays_is_left_in_the_end() {
        let (client, server) = duplex(1024);
        let mut server = Lingering::new(server);
        let mut ends = std::pin::pin!(server.shutdown());
        assert!(timeout(LINGERS / 2, ends.as_mut()).await.is_err(), "it may still have something to say");
        assert!(timeout(LINGERS, ends).await.is_ok());
        drop(client);
    }
}
