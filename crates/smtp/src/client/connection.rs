//! An open session.

use std::{
    fmt,
    time::{Duration, Instant},
};

use posthaste_mail::{Failure, Stage, TlsFacts};
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{Extensions, Hello, Timeouts, channel::Channel};

/// Milliseconds that the session's start took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the connection to the 220.
    pub banner_ms: u32,
    /// EHLO or HELO, the second one under TLS included.
    pub ehlo_ms: u32,
    /// STARTTLS and the handshake; None in plain text.
    pub tls_ms: Option<u32>,
}

/// An open session with a receiver: takes one message after the other.
pub struct Connection {
    pub(super) channel: Channel,
    pub(super) extensions: Extensions,
    pub(super) timeouts: Timeouts,
    pub(super) clock: fn() -> Instant,
    pub(super) state: DialogueState,
    /// Whether it has carried a message (or a RSET) before.
    pub(super) used: bool,
    /// What is to be written, kept for its allocation.
    pub(super) out: Vec<u8>,
    tls: TlsFacts,
    timings: Timings,
}

/// Where the dialogue stands between two calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DialogueState {
    /// No transaction is open.
    Clean,
    /// One may be: RSET comes first.
    Dirty,
    /// A call was dropped in the middle: nobody knows what the next reply will answer.
    Busy,
}

impl Connection {
    pub(super) fn new(channel: Channel, hello: &Hello, extensions: Extensions, tls: TlsFacts, timings: Timings) -> Self {
        let (timeouts, clock) = (hello.timeouts.clone(), hello.clock);
        Self { channel, extensions, timeouts, clock, state: DialogueState::Clean, used: false, out: Vec::new(), tls, timings }
    }

    /// What protects it.
    pub fn tls(&self) -> &TlsFacts {
        &self.tls
    }

    /// What the receiver can do.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// How long the start took.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// True while another message can be handed over: no 421, no lost connection, no time-out, nothing said out of turn.
    pub fn usable(&self) -> bool {
        self.channel.is_open() && self.state != DialogueState::Busy && !self.channel.has_leftovers()
    }

    /// For a connection that idled: looks, without waiting, whether the receiver closed it or said something meanwhile (a 421, mostly).
    /// Some is what it said; the connection is of no more use then.
    pub fn gone(&mut self) -> Option<Failure> {
        self.channel.glance(Stage::Rset)
    }

    /// RSET: leaves no transaction open, and shows that the receiver is still there. Err makes the connection unusable.
    pub async fn reset(&mut self) -> Result<(), Failure> {
        (self.state, self.used) = (DialogueState::Busy, true);
        let reply = self.channel.ask(b"RSET\r\n", Stage::Rset, self.timeouts.rset).await?;
        if reply.is_positive() {
            self.state = DialogueState::Clean;
            return Ok(());
        }
        self.channel.close();
        Err(Failure::Refused { stage: Stage::Rset, reply })
    }

    /// Says QUIT and closes, as far as that goes in a short time.
    pub async fn quit(mut self) {
        if self.usable() {
            // RFC 5321 §4.1.1.10: the answer should be awaited; what it says changes nothing. `Stage` has no word for it, nobody will see it.
            let _ = self.channel.ask(b"QUIT\r\n", Stage::Rset, self.timeouts.quit).await;
        }
        let _ = timeout(SHUTDOWN_WAIT.min(self.timeouts.quit), self.channel.stream.shutdown()).await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("usable", &self.usable()).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// For TLS's close_notify, which a full pipe could hold up.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Whole milliseconds between two times.
pub(super) fn millis(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u32::MAX)
}
