//! Writes commands and reads replies, each within a time limit. While a write is blocked, replies are read, so that a receiver that waits
//! for its replies to be read cannot stall the dialogue.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use memchr::memchr_iter;
use posthaste_mail::{Failure, LocalCause, Reply, Stage};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{
    hurry::{Hurry, Late},
    replies::Replies,
    stream::Stream,
    watch::Watch,
};

/// How long to wait for the reply that explains why the receiver stopped reading.
const EXPLANATION_WAIT: Duration = Duration::from_secs(5);
/// Bytes read at a time.
const INBOX: usize = 4096;

pub(crate) struct Channel {
    pub(crate) stream: Stream,
    replies: Replies,
    inbox: Box<[u8; INBOX]>,
    watch: Option<Arc<Watch>>,
    /// False once the dialogue has ended: by a 421, a lost connection, a time-out, or bytes that are no SMTP.
    open: bool,
    pub(super) hurry: Hurry,
}

/// What broke the dialogue, not yet tied to a stage.
#[derive(Debug)]
pub(crate) enum Trouble {
    Lost(String),
    Late(Late),
    Garbage(String),
}

impl Trouble {
    pub(crate) fn at(self, stage: Stage) -> Failure {
        let (cause, detail) = match self {
            Self::Lost(detail) => (LocalCause::ConnectionLost, detail),
            Self::Late(Late::Timeout(limit)) => (LocalCause::Timeout, format!("nothing came for {limit:?}")),
            Self::Late(Late::GaveWay(after)) => {
                (LocalCause::Timeout, format!("nothing came for {after:?}, and other mail needed the connection"))
            }
            Self::Garbage(detail) => (LocalCause::NotSmtp, detail),
        };
        Failure::Local { stage, cause, detail }
    }
}

/// How a successful write ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    All,
    /// The receiver replied before it had read everything.
    Interrupted,
}

impl Channel {
    /// A dialogue over a new connection, which the receiver begins with a greeting.
    pub(crate) fn new(stream: Stream) -> Self {
        let mut channel = Self::silent(stream);
        channel.replies.expect(1);
        channel
    }

    /// A dialogue in which the receiver speaks when it is spoken to.
    pub(crate) fn silent(stream: Stream) -> Self {
        Self { stream, replies: Replies::default(), inbox: Box::new([0; INBOX]), watch: None, open: true, hurry: Hurry::default() }
    }

    /// The same, watched.
    pub(crate) fn watched(self, watch: Option<Arc<Watch>>) -> Self {
        Self { watch, ..self }
    }

    /// Who watches it.
    pub(crate) fn watch(&self) -> Option<Arc<Watch>> {
        self.watch.clone()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Marks the channel as closed: nothing more may be sent.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Whether bytes have been read that no command asked for.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.replies.has_leftovers()
    }

    /// Sends a command and waits for its reply.
    pub(crate) async fn ask(&mut self, command: &[u8], stage: Stage, limit: Duration) -> Result<Reply, Failure> {
        self.say(command, stage, limit).await?;
        self.reply(stage, limit).await
    }

    /// Sends one or more commands, each a line. A receiver that closed the connection is no error here: [`Self::reply`] returns what it said before, or
    /// the failure.
    pub(crate) async fn say(&mut self, commands: &[u8], stage: Stage, limit: Duration) -> Result<(), Failure> {
        self.replies.expect(memchr_iter(b'\n', commands).count());
        match self.hurry.clone().within(limit, stage, self.write(commands, false)).await {
            Ok(_) => Ok(()),
            Err(late) => {
                self.open = false;
                Err(Trouble::Late(late).at(stage))
            }
        }
    }

    /// The next reply, whatever its code. After a 421 the channel is closed (RFC 5321 §3.8), and after a reply that no command asked for:
    /// it is unclear what the next one would answer.
    pub(crate) async fn reply(&mut self, stage: Stage, limit: Duration) -> Result<Reply, Failure> {
        if let Some(watch) = &self.watch {
            watch.now(stage, limit);
        }
        let got = match self.replies.next() {
            Ok(Some(reply)) => Ok(reply),
            _ => self.hurry.clone().within(limit, stage, self.wait()).await.unwrap_or_else(|late| Err(Trouble::Late(late))),
        };
        self.open &= matches!(&got, Ok(reply) if reply.code != 421) && !self.replies.is_out_of_step();
        got.map_err(|trouble| trouble.at(stage))
    }

    /// Writes a block of the body, with one limit for the block. `last`: the receiver owes a reply to it.
    pub(crate) async fn block(&mut self, bytes: &[u8], limit: Duration, last: bool) -> Result<Wrote, Trouble> {
        self.replies.expect(usize::from(last));
        let written = self.hurry.clone().within(limit, Stage::Data, self.write(bytes, true)).await;
        written.unwrap_or_else(|late| Err(Trouble::Late(late)))
    }

    /// The failure behind a broken write: the refusal that the receiver sent before it stopped reading, or the trouble itself.
    pub(crate) async fn explain(&mut self, trouble: Option<Trouble>, stage: Stage) -> Failure {
        self.open = false;
        let left = timeout(EXPLANATION_WAIT, self.wait()).await;
        match (left, trouble) {
            (Ok(Ok(reply)), _) if reply.code >= 400 => Failure::Refused { stage, reply },
            (_, Some(trouble)) => trouble.at(stage),
            (Ok(Ok(reply)), None) => Trouble::Garbage(format!("{:?} before the message was sent", reply.to_string())).at(stage),
            (Ok(Err(trouble)), None) => trouble.at(stage),
            (Err(_), None) => Trouble::Late(Late::Timeout(EXPLANATION_WAIT)).at(stage),
        }
    }

    /// Checks without waiting whether the receiver sent something or closed the connection while no command was pending. Some ends the
    /// dialogue.
    pub(crate) fn glance(&mut self, stage: Stage) -> Option<Failure> {
        let trouble = match self.poll_listen(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(trouble)) => Some(trouble),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        let unasked = |what: &str| Trouble::Garbage(format!("{what} without a command")).at(stage);
        let failure = match self.replies.next() {
            Ok(Some(reply)) if reply.code >= 400 => Failure::Refused { stage, reply },
            Ok(Some(reply)) => unasked(&format!("{:?}", reply.to_string())),
            Err(garbage) => Trouble::Garbage(garbage.to_string()).at(stage),
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
            if let Some(reply) = self.replies.next().map_err(|garbage| Trouble::Garbage(garbage.to_string()))? {
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
                let whence = match (self.replies.is_midway(), self.replies.close()) {
                    (false, _) => String::new(),
                    // What it said is told first; the next read comes to the end again.
                    (true, None) => return Poll::Ready(Ok(())),
                    (true, Some(words)) => format!(" in the middle of a reply: {words:?}"),
                };
                Poll::Ready(Err(Trouble::Lost(match end {
                    Ok(()) => format!("the receiver closed the connection{whence}"),
                    // How TLS reports an end without close_notify.
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => format!("the receiver closed the connection{whence}"),
                    Err(e) => format!("the connection broke{whence}: {e}"),
                })))
            }
        }
    }

    /// Writes all bytes. While the receiver accepts none, its replies are read, so that two full pipes cannot wait for each other
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
                    // Nothing more is read: what is wrong is told after the replies before it.
                    Poll::Ready(Ok(())) if self.replies.is_garbage() => return Poll::Ready(Ok(Wrote::Interrupted)),
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
