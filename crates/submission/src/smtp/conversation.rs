//! One client's session on its connection: bytes to the session, what the session asks to whoever knows, and an eye on the clock.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use posthaste_access::users::granted;
use posthaste_host::clock;
use posthaste_mail::{Address, Name};
use posthaste_smtp::server::{Answer, MailRequest, Refused, Session, SessionRefusal, Step, Submission};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::{
    pressure::Held,
    shared::{Shared, told},
    wire::Wire,
};
use crate::{
    inbox::{Guest, Inbox},
    settings::{ClientLimits, ListenTlsMode},
};

/// Bytes read at once of a message.
const READ: usize = 64 << 10;
/// Bytes read at once of commands: most sessions wait for one, and there may be thousands. Room for those of several messages, pipelined.
const READ_COMMANDS: usize = 1 << 10;
/// Reply bytes gathered before they are written, whatever the client pipelines.
const FLUSH_AT: usize = 16 << 10;
/// Bytes that are read before it is the other sessions' turn, where no message was taken among them. Who sends without a pause would else hold a
/// thread for as long as the runtime lets it, and everybody who waits for an answer with it.
const TURN: usize = 256 << 10;
/// A byte of commands is so much more work than one of a message.
const COMMAND_WEIGHT: usize = 128;
/// So much may come without a message that is taken before a session steps back: large mail comes in at full speed.
const STEP_BACK_FROM: usize = 8 << 20;
/// A turn that comes back within this time had nobody before it, and the next is begun at once.
const NOBODY_WAITS: Duration = Duration::from_micros(200);
/// Who had to wait for its turn leaves it to the others for so many times that wait before the next: sessions without a pause are in the way of
/// the rest no more than this part of the time.
const STEP_BACK: u32 = 8;
/// The longest step back.
const STEP_BACK_MAX: Duration = Duration::from_millis(100);

/// How long the rest of something is waited for before the part that came is acknowledged. A client that hands the rest to its kernel apart, and has
/// not set TCP_NODELAY, sends it only then; and as it gets no reply that could carry the acknowledgement, that would take 40 ms, for each message
/// anew. Where the rest is on its way already, nothing is acknowledged for it.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(5);
/// Of a longer message the wait is a small part, and its stream has gaps of its own.
const ACKNOWLEDGE_WITHIN: u64 = 128 << 10;

/// Refusals without an accepted message after which each one more makes the client wait.
const REFUSALS_FREE: u32 = 1000;
/// How long.
const REFUSAL_WAIT: Duration = Duration::from_millis(100);
/// How long a client that is closed for what it did waits to hear so: it would come back at once.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Lines that may wait for the disk before a client that is refused something waits with them. Each refusal is a line, and those of good mail
/// stand behind it.
const LINES_AHEAD: usize = 200;
/// How often it is looked whether they are through.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The longest wait for one refusal: a disk that refuses is no reason to leave clients without an answer.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// A session on its connection.
pub(super) struct Conversation {
    pub(super) of: Arc<Shared>,
    listener: Name,
    pub(super) ip: IpAddr,
    pub(super) session: Session,
    /// None while a handshake has it.
    wire: Option<Wire>,
    pub(super) out: Vec<u8>,
    input: BytesMut,
    /// Whom the client's certificate shows it to be.
    pub(super) certified: Option<Arc<str>>,
    /// Nothing more is heard: what is in `out` is the last word.
    pub(super) is_over: bool,
    /// Recipients of the message under way.
    recipients: u64,
    /// The sender of the message under way.
    sender: Option<String>,
    /// When the command or message under way must be whole.
    whole_by: Instant,
    /// When the next message must have been taken.
    message_by: Instant,
    /// The message that is coming in.
    held: Option<Held>,
    /// What came since the last message that was taken: bytes, those of commands by their weight.
    sent: usize,
}

impl Conversation {
    pub(super) fn new(of: Arc<Shared>, listener: Name, ip: IpAddr, session: Session, wire: Wire) -> Self {
        let now = Instant::from_std(clock::instant());
        Self {
            of,
            listener,
            ip,
            session,
            wire: Some(wire),
            out: Vec::with_capacity(512),
            input: BytesMut::new(),
            certified: None,
            is_over: false,
            recipients: 0,
            sender: None,
            whole_by: now,
            message_by: now,
            held: None,
            sent: 0,
        }
    }

    /// From the greeting to the end.
    pub(super) async fn hold(mut self) -> io::Result<()> {
        let settings = self.of.settings.get();
        let limits = settings.limits.clone();
        let implicit = settings.listeners.get(&self.listener).is_some_and(|l| l.tls.mode == ListenTlsMode::Implicit);
        drop(settings);
        if implicit && !self.secure(&limits).await? {
            return Ok(());
        }
        self.session.greet(&mut self.out);
        self.renew(&limits);
        self.message_by = self.whole_by.max(self.now() + limits.session_idle);
        while !self.is_over {
            if self.out.len() >= FLUSH_AT {
                self.flush(&limits).await?;
            }
            let before = self.input.len();
            let step = self.session.feed(&mut self.input, &mut self.out);
            // Something was understood, or there is nothing to be understood yet: what comes next has its own time.
            if self.held.is_none() && (self.input.len() < before || self.input.is_empty()) {
                self.renew(&limits);
            }
            match step {
                Step::More => self.read(&limits).await?,
                Step::Flush => self.flush(&limits).await?,
                Step::StartTls => {
                    self.flush(&limits).await?;
                    self.is_over = !self.secure(&limits).await?;
                }
                Step::Authenticate(credentials) => self.authenticate(credentials).await,
                Step::Mail(request) => {
                    if !self.mail(&request) {
                        self.slow_down().await;
                    }
                }
                Step::Rcpt(recipient) => {
                    if !self.rcpt(&recipient) {
                        self.slow_down().await;
                    }
                }
                Step::Message(submission) => self.message(submission, &limits).await,
                Step::Refused(refusal) => {
                    self.of.rejected(self.ip, &self.session, &refusal);
                    self.slow_down().await;
                    if refusal.reason == "auth_failed" {
                        self.login_failed().await;
                    }
                }
                Step::Close => self.is_over = true,
            }
            if !self.session.is_receiving() && self.held.take().is_some() {
                self.renew(&limits);
            }
        }
        self.flush(&limits).await?;
        match &mut self.wire {
            Some(wire) => wire.shutdown().await,
            None => Ok(()),
        }
    }

    async fn read(&mut self, limits: &ClientLimits) -> io::Result<()> {
        self.flush(limits).await?;
        if self.session.is_receiving() && self.held.is_none() {
            self.held = Some(self.of.pressure.begin());
            self.whole_by = self.now() + limits.data_timeout;
        }
        let now = self.now();
        let (silence, deadline) = match &self.held {
            // A slow line gets its time; a trickle does not hold a place for ever.
            Some(held) => (limits.data_timeout, self.whole_by + Duration::from_secs(held.bytes() / limits.data_rate)),
            None => (limits.command_timeout, self.whole_by.min(self.message_by)),
        };
        let (room, weight) = if self.held.is_some() { (READ, 1) } else { (READ_COMMANDS, COMMAND_WEIGHT) };
        self.input.reserve(room);
        let mut stopping = self.of.stopping.clone();
        let Some(wire) = &mut self.wire else { return Err(io::ErrorKind::NotConnected.into()) };
        let is_rest = self.held.as_ref().map_or(!self.input.is_empty(), |held| held.bytes() < ACKNOWLEDGE_WITHIN);
        let mut into = (&mut self.input).limit(room);
        let reading = async {
            if is_rest {
                if let Ok(read) = timeout_at(now + ACKNOWLEDGE_AFTER, wire.read_buf(&mut into)).await {
                    return Ok(read);
                }
                wire.acknowledge();
            }
            timeout_at(deadline.min(now + silence), wire.read_buf(&mut into)).await
        };
        let read = tokio::select! {
            read = reading => read,
            () = told(&mut stopping), if self.session.is_between_messages() => {
                self.session.shutting_down(&mut self.out);
                return Ok(());
            }
        };
        match read {
            Ok(Ok(0)) => self.is_over = true,
            Ok(read) => {
                let read = read?;
                let turns = self.sent / TURN;
                self.sent = self.sent.saturating_add(weight * read);
                if self.sent / TURN > turns {
                    self.leave_the_turn().await;
                }
                let read = read as u64;
                if self.held.as_mut().is_some_and(|held| !held.add(read, limits.receive_memory)) {
                    let answer = Answer::new(421, 3, 1, "too much mail comes in at once, try again later");
                    self.refused("data", None, None, Refused::new(answer.clone(), "receive_memory"));
                    self.session.refuse(&answer, &mut self.out);
                    self.held = None;
                    self.slow_down().await;
                }
            }
            Err(_) => self.session.timeout(&mut self.out),
        }
        Ok(())
    }

    /// The other sessions first.
    async fn leave_the_turn(&self) {
        let asked = clock::instant();
        tokio::task::yield_now().await;
        let waited = clock::instant().duration_since(asked);
        if self.sent >= STEP_BACK_FROM && waited > NOBODY_WAITS {
            self.pause((waited * STEP_BACK).min(STEP_BACK_MAX)).await;
        }
    }

    /// The handshake; false where it failed, and there is nobody left to speak to.
    async fn secure(&mut self, limits: &ClientLimits) -> io::Result<bool> {
        let server = self.of.settings.get().tls_servers.get(&self.listener).cloned();
        let (Some(server), Some(wire)) = (server, self.wire.take()) else { return Ok(false) };
        match timeout(limits.handshake_timeout, wire.secured(server)).await.map_err(io::Error::from).flatten() {
            Ok((wire, handshake)) => {
                self.wire = Some(wire);
                let settings = self.of.settings.get();
                self.certified =
                    settings.users.by_certificate(handshake.client_names.iter().map(String::as_str)).map(|user| user.name.clone());
                self.session.secured(handshake.bindings);
                Ok(true)
            }
            Err(error) => {
                let answer = Answer::new(454, 7, 0, format!("the TLS handshake failed: {error}"));
                self.refused("starttls", None, None, Refused::new(answer, "tls_handshake"));
                Ok(false)
            }
        }
    }

    /// False where it was refused.
    fn mail(&mut self, request: &MailRequest) -> bool {
        self.recipients = 0;
        let from = &request.reverse_path;
        self.sender = Some(from.to_string());
        match self.judge(|inbox, guest| inbox.closed().map_or(Ok(()), Err).and_then(|()| inbox.may_send(guest, from, request.size))) {
            Ok(()) => {
                let granted = request.asks.priority.map(|asked| (asked, granted(self.user().as_deref(), Some(asked))));
                match granted.filter(|(asked, granted)| granted < asked) {
                    Some((_, granted)) => self.session.answer_with_priority(granted, &mut self.out),
                    None => self.session.answer(Ok(()), &mut self.out),
                }
                true
            }
            Err(refused) => {
                self.refused("mail", Some(from.to_string()), None, refused.clone());
                self.session.answer(Err(refused.answer), &mut self.out);
                false
            }
        }
    }

    /// What whoever takes this listener's mail says of it. A listener that a reload took away takes nothing.
    fn judge(&self, verdict: impl FnOnce(&dyn Inbox, &Guest<'_>) -> Result<(), Refused>) -> Result<(), Refused> {
        let settings = self.of.settings.get();
        let Some(listener) = settings.listeners.get(&self.listener) else { return Err(gone()) };
        verdict(self.of.inbox(listener.role), &Guest { listener, ip: self.ip, user: self.user() })
    }

    /// False where it was refused.
    fn rcpt(&mut self, recipient: &Address) -> bool {
        match self.judge(|inbox, guest| inbox.wants(guest, recipient, self.recipients + 1)) {
            Ok(()) => {
                self.recipients += 1;
                self.session.answer(Ok(()), &mut self.out);
                true
            }
            Err(refused) => {
                self.refused("rcpt", self.sender.clone(), Some(recipient.to_string()), refused.clone());
                self.session.answer(Err(refused.answer), &mut self.out);
                false
            }
        }
    }

    async fn message(&mut self, submission: Submission, limits: &ClientLimits) {
        let from = submission.envelope.reverse_path.to_string();
        let (of, settings) = (self.of.clone(), self.of.settings.get());
        let taken = match settings.listeners.get(&self.listener) {
            Some(listener) => of.inbox(listener.role).take(submission, &Guest { listener, ip: self.ip, user: self.user() }).await,
            None => Err(gone()),
        };
        match taken {
            Ok(answer) => {
                self.message_by = self.now() + limits.session_idle;
                self.sent = 0;
                self.session.answer_message(&answer, &mut self.out);
            }
            Err(refused) => {
                self.refused("dot", Some(from), None, refused.clone());
                self.session.answer_message(&refused.answer, &mut self.out);
            }
        }
    }

    fn refused(&self, command: &'static str, from: Option<String>, rcpt: Option<String>, Refused { answer, reason }: Refused) {
        let user = self.certified.as_ref().map(ToString::to_string);
        self.of.rejected(self.ip, &self.session, &SessionRefusal { command, from, rcpt, user, answer, reason });
    }

    /// What a refusal costs its client in time.
    async fn slow_down(&self) {
        if self.session.is_closed() {
            self.pause(CLOSE_WAIT).await;
        } else if self.session.refusals() > REFUSALS_FREE {
            self.pause(REFUSAL_WAIT).await;
        }
        self.let_the_log_catch_up().await;
    }

    /// Whoever is refused much writes much into the log: it goes on when the disk has it, so that nobody's refusals keep out others' mail.
    async fn let_the_log_catch_up(&self) {
        let until = self.now() + CATCH_UP_MAX;
        while self.of.journal.queued() > LINES_AHEAD && self.now() < until && !*self.of.stopping.borrow() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A client that does not read its replies is no better than one that does not write.
    async fn flush(&mut self, limits: &ClientLimits) -> io::Result<()> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.out.is_empty()) else { return Ok(()) };
        let written = async {
            wire.write_all(&self.out).await?;
            wire.flush().await
        };
        timeout(limits.command_timeout, written).await.map_err(io::Error::from).flatten()?;
        self.out.clear();
        Ok(())
    }

    fn renew(&mut self, limits: &ClientLimits) {
        self.whole_by = self.now() + limits.command_timeout;
    }

    fn now(&self) -> Instant {
        Instant::from_std(clock::instant())
    }
}

fn gone() -> Refused {
    Refused::new(Answer::trouble("this listener is gone, try again"), "listener_gone")
}
