//! An open session with a receiver.

use std::{
    fmt,
    time::{Duration, Instant},
};

use posthaste_mail::{Failure, Stage, TlsFacts};
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{Extensions, Hello, Hurry, Timeouts, channel::Channel};

/// How many milliseconds the steps of opening the session took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the TCP connection to the 220.
    pub banner_ms: u32,
    /// EHLO or HELO, including the second one under TLS.
    pub ehlo_ms: u32,
    /// STARTTLS and the handshake; None in plain text.
    pub tls_ms: Option<u32>,
}

/// An open session with a receiver, which hands over one message after another.
pub struct Connection {
    pub(super) channel: Channel,
    pub(super) extensions: Extensions,
    pub(super) timeouts: Timeouts,
    pub(super) clock: fn() -> Instant,
    pub(super) state: DialogueState,
    /// Whether it has carried a message before.
    pub(super) used: bool,
    /// The buffer of bytes to write, kept for its allocation.
    pub(super) out: Vec<u8>,
    tls: TlsFacts,
    timings: Timings,
}

/// Where the dialogue stands between two calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DialogueState {
    /// No transaction is open.
    Clean,
    /// A transaction may be open: RSET has to come first.
    Dirty,
    /// A call was dropped midway: the next reply cannot be matched to a command.
    Busy,
}

impl Connection {
    pub(super) fn new(channel: Channel, hello: &Hello, extensions: Extensions, tls: TlsFacts, timings: Timings) -> Self {
        let (timeouts, clock) = (hello.timeouts.clone(), hello.clock);
        Self { channel, extensions, timeouts, clock, state: DialogueState::Clean, used: false, out: Vec::new(), tls, timings }
    }

    /// The TLS state of the session.
    pub fn tls(&self) -> &TlsFacts {
        &self.tls
    }

    /// The extensions that the receiver announced.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// How long opening the session took.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// From now on a silent receiver has less time while others need the connection.
    pub fn hurry(&mut self, hurry: Hurry) {
        self.channel.hurry = hurry;
    }

    /// True while another message can be handed over: no 421, lost connection, time-out or unrequested reply so far.
    pub fn usable(&self) -> bool {
        self.channel.is_open() && self.state != DialogueState::Busy && !self.channel.has_leftovers()
    }

    /// For a connection that was idle: checks without waiting whether the receiver closed it or sent something meanwhile (usually a 421).
    /// Some holds what it sent; the connection is then unusable.
    pub fn gone(&mut self) -> Option<Failure> {
        self.channel.glance(Stage::Rset)
    }

    /// Sends QUIT and closes the connection, within a short time limit.
    pub async fn quit(mut self) {
        self.leave().await;
    }

    /// The same, where a connection that is over is kept in its place.
    pub async fn leave(&mut self) {
        if self.usable() {
            // RFC 5321 §4.1.1.10: the reply should be awaited; its content changes nothing. `Stage` has no value for QUIT, and this one is
            // never shown.
            let _ = self.channel.ask(b"QUIT\r\n", Stage::Rset, self.timeouts.quit).await;
        }
        let _ = timeout(SHUTDOWN_WAIT.min(self.timeouts.quit), self.channel.stream.shutdown()).await;
        self.channel.close();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("usable", &self.usable()).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// The time limit for TLS's close_notify, which a full pipe could delay.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Whole milliseconds between two times.
pub(super) fn millis(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u32::MAX)
}
