//! Commands out, replies in, each with its limit of time. Writing never blocks on a receiver that wants to be read first.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use posthaste_mail::{Failure, LocalCause, Reply, Stage};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{replies::Replies, stream::Stream};

/// How long to look for the reply that explains why the receiver stopped taking bytes.
const EXPLANATION_WAIT: Duration = Duration::from_secs(5);
/// Read at a time.
const INBOX: usize = 4096;

pub(crate) struct Channel {
    pub(crate) stream: Stream,
    replies: Replies,
    inbox: Box<[u8; INBOX]>,
    /// False once a 421, a lost connection, a time-out or garbage ended the dialogue.
    open: bool,
}

/// What broke the dialogue, before it is known during which step.
#[derive(Debug)]
pub(crate) enum Trouble {
    Lost(String),
    Timeout(Duration),
    Garbage(String),
}

impl Trouble {
    pub(crate) fn at(self, stage: Stage) -> Failure {
        let (cause, detail) = match self {
            Self::Lost(detail) => (LocalCause::ConnectionLost, detail),
            Self::Timeout(limit) => (LocalCause::Timeout, format!("nothing came for {limit:?}")),
            Self::Garbage(detail) => (LocalCause::NotSmtp, detail),
        };
        Failure::Local { stage, cause, detail }
    }
}

/// How a write ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    All,
    /// The receiver spoke before it had taken everything.
    Interrupted,
}

impl Channel {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, replies: Replies::default(), inbox: Box::new([0; INBOX]), open: true }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Nothing may be said on it any more.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// True when the receiver said something that nobody asked for, as far as it was read.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.replies.has_leftovers()
    }

    /// Says a command and waits for its reply.
    pub(crate) async fn ask(&mut self, command: &[u8], stage: Stage, limit: Duration) -> Result<Reply, Failure> {
        self.say(command, stage, limit).await?;
        self.reply(stage, limit).await
    }

    /// Says one or more commands. A receiver that hung up is no error here: what it said before is in [`Self::reply`], as is its silence.
    pub(crate) async fn say(&mut self, commands: &[u8], stage: Stage, limit: Duration) -> Result<(), Failure> {
        match timeout(limit, self.write(commands, false)).await {
            Ok(_) => Ok(()),
            Err(_) => {
                self.open = false;
                Err(Trouble::Timeout(limit).at(stage))
            }
        }
    }

    /// The next reply, whatever its code. After a 421 the channel is closed (RFC 5321 §3.8).
    pub(crate) async fn reply(&mut self, stage: Stage, limit: Duration) -> Result<Reply, Failure> {
        let got = match self.replies.next() {
            Ok(Some(reply)) => Ok(reply),
            _ => timeout(limit, self.wait()).await.unwrap_or(Err(Trouble::Timeout(limit))),
        };
        self.open &= matches!(&got, Ok(reply) if reply.code != 421);
        got.map_err(|trouble| trouble.at(stage))
    }

    /// Writes a block of the body, with one limit for the block.
    pub(crate) async fn block(&mut self, bytes: &[u8], limit: Duration) -> Result<Wrote, Trouble> {
        timeout(limit, self.write(bytes, true)).await.unwrap_or(Err(Trouble::Timeout(limit)))
    }

    /// The failure behind a broken write: the refusal that the receiver left behind, or the trouble itself.
    pub(crate) async fn explain(&mut self, trouble: Option<Trouble>, stage: Stage) -> Failure {
        self.open = false;
        let left = timeout(EXPLANATION_WAIT, self.wait()).await;
        match (left, trouble) {
            (Ok(Ok(reply)), _) if reply.code >= 400 => Failure::Refused { stage, reply },
            (_, Some(trouble)) => trouble.at(stage),
            (Ok(Ok(reply)), None) => Trouble::Garbage(format!("{:?} before the message was sent", reply.to_string())).at(stage),
            (Ok(Err(trouble)), None) => trouble.at(stage),
            (Err(_), None) => Trouble::Timeout(EXPLANATION_WAIT).at(stage),
        }
    }

    /// Looks, without waiting, whether the receiver spoke or closed while nothing was asked. Some is the end of the dialogue.
    pub(crate) fn glance(&mut self, stage: Stage) -> Option<Failure> {
        let trouble = match self.poll_listen(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(trouble)) => Some(trouble),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        let unasked = |what: &str| Trouble::Garbage(format!("{what} without a question")).at(stage);
        let failure = match self.replies.next() {
            Ok(Some(reply)) if reply.code >= 400 => Failure::Refused { stage, reply },
            Ok(Some(reply)) => unasked(&format!("{:?}", reply.to_string())),
            Err(why) => Trouble::Garbage(why).at(stage),
            Ok(None) => match trouble {
                Some(trouble) => trouble.at(stage),
                None if self.replies.is_midway() => unasked("half a reply"),
                None => return None,
            },
        };
        self.open = false;
        Some(failure)
    }

    async fn wait(&mut self) -> Result<Reply, Trouble> {
        loop {
            if let Some(reply) = self.replies.next().map_err(Trouble::Garbage)? {
                return Ok(reply);
            }
            poll_fn(|cx| self.poll_listen(cx)).await?;
        }
    }

    /// Reads once. An end of stream is an error.
    fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        let mut buffer = ReadBuf::new(&mut self.inbox[..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.replies.feed(buffer.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(end) => {
                self.open = false;
                let whence = if self.replies.is_midway() { " in the middle of a reply" } else { "" };
                Poll::Ready(Err(Trouble::Lost(match end {
                    Ok(()) => format!("the receiver closed the connection{whence}"),
                    // How TLS tells of an end without close_notify.
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => format!("the receiver closed the connection{whence}"),
                    Err(e) => format!("the connection broke{whence}: {e}"),
                })))
            }
        }
    }

    /// Writes it all. While the receiver takes nothing its replies are read, so that two full pipes cannot wait for each other
    /// (RFC 2920 §3.1).
    async fn write(&mut self, bytes: &[u8], stop_at_reply: bool) -> Result<Wrote, Trouble> {
        let mut done = 0;
        poll_fn(|cx| {
            if stop_at_reply && self.replies.has_next() {
                return Poll::Ready(Ok(Wrote::Interrupted));
            }
            match self.poll_push(cx, &bytes[done..], &mut done) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(Wrote::All)),
                Poll::Ready(Err(e)) => {
                    self.open = false;
                    return Poll::Ready(Err(Trouble::Lost(format!("the connection broke: {e}"))));
                }
                Poll::Pending => {}
            }
            loop {
                match self.poll_listen(cx) {
                    Poll::Ready(Ok(())) if stop_at_reply && self.replies.has_next() => return Poll::Ready(Ok(Wrote::Interrupted)),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(trouble)) => return Poll::Ready(Err(trouble)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    fn poll_push(&mut self, cx: &mut Context<'_>, mut bytes: &[u8], done: &mut usize) -> Poll<io::Result<()>> {
        while !bytes.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    *done += n;
                    bytes = &bytes[n..];
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
