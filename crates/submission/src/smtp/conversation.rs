//! Drives one client's session on its connection: passes bytes to the session, answers the session's questions and enforces timeouts.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use posthaste_access::users::{Login, granted};
use posthaste_host::clock;
use posthaste_mail::{Address, Name};
use posthaste_smtp::{
    server::{Answer, MailRequest, Refused, Session, SessionRefusal, Step, Submission},
    tls_error,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::{
    connection_counts::ConnectionSlot,
    pressure::{Held, told},
    shared::{Asked, Shared, stopped},
    wire::Wire,
};
use crate::{
    inbox::{ConnectedClient, Inbox},
    settings::{ClientLimits, ListenTlsMode},
};

/// The most bytes per read while a message is received.
const READ: usize = 64 << 10;
/// The most bytes per read while waiting for commands. It is small, because thousands of sessions may wait for a command at the same time,
/// and has room for the pipelined commands of several messages.
const READ_COMMANDS: usize = 1 << 10;
/// Reply bytes are written once this many are gathered, even if the client has pipelined more commands.
const FLUSH_AT: usize = 16 << 10;
/// After this many bytes without an accepted message a session yields to the others. A client that sends without a pause would otherwise
/// occupy a thread for as long as the runtime permits, and delay the replies to all other clients.
const YIELD_AFTER: usize = 256 << 10;
/// How many message bytes one command byte counts as: commands take more work per byte.
const COMMAND_WEIGHT: usize = 128;
/// Weighted bytes without an accepted message before a session is throttled. Below it, large messages are received at full speed.
const THROTTLE_FROM: usize = 8 << 20;
/// If a session that yielded resumes within this time, no other session was waiting, and it is not throttled.
const UNCONTENDED: Duration = Duration::from_micros(200);
/// A throttled session pauses for this many times the time it waited to resume. Sessions that send without a pause thus delay the others
/// for at most about one part in this many of the time.
const THROTTLE_FACTOR: u32 = 8;
/// The longest such pause.
const THROTTLE_MAX: Duration = Duration::from_millis(100);

/// How long to wait for the rest of a command or message before the received part is acknowledged at TCP level. A client that writes the
/// rest separately and has not set TCP_NODELAY sends it only after that acknowledgement; since no reply carries it, the kernel would delay
/// it by 40 ms, for every message. If the rest arrives within this time, no extra acknowledgement is sent.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(5);
/// Early acknowledgement applies to the first bytes of a message only: in a longer message the delay matters little, and gaps are normal.
const ACKNOWLEDGE_WITHIN: u64 = 128 << 10;

/// Refusals without an accepted message in between; each one beyond them delays the client by [`REFUSAL_WAIT`].
const REFUSALS_FREE: u32 = 1000;
/// The delay per refusal beyond [`REFUSALS_FREE`].
const REFUSAL_WAIT: Duration = Duration::from_millis(100);
/// The delay before a client is told that its connection is closed for misbehaviour; without it, the client would reconnect at once.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Log lines that may wait for the disk before refused clients are delayed. Every refusal is a log line, and the lines of accepted mail
/// queue behind it.
const LINES_AHEAD: usize = 200;
/// How often the number of waiting log lines is checked.
const CHECK_EVERY: Duration = Duration::from_millis(5);
/// The longest such delay for one refusal: clients get their answer even if the disk fails.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// A session and its connection.
pub(super) struct Conversation {
    pub(super) of: Arc<Shared>,
    pub(super) listener: Name,
    pub(super) ip: IpAddr,
    pub(super) session: Session,
    /// None during a TLS handshake, and after one that failed.
    wire: Option<Wire>,
    pub(super) out: Vec<u8>,
    pub(super) input: BytesMut,
    /// The user that the client's certificate identifies.
    pub(super) certified: Option<Login>,
    /// The login by AUTH.
    pub(super) login: Option<Login>,
    /// The login whose SCRAM salt the client was told.
    pub(super) asked: Option<Asked>,
    /// No more input is read; the session ends once `out` is written.
    pub(super) is_over: bool,
    /// Accepted recipients of the current message.
    recipients: u64,
    /// The sender of the current message.
    sender: Option<String>,
    /// When the current command must be complete; for a message, before time is added for the bytes received.
    whole_by: Instant,
    /// When the next message must have been accepted.
    message_by: Instant,
    /// The bytes of the message being received that have come so far.
    pub(super) received: Option<u64>,
    /// The memory of the message in progress, from MAIL on.
    pub(super) held: Option<Held>,
    /// The place that its connection has.
    pub(super) place: ConnectionSlot,
    /// Bytes received since the last accepted message; command bytes count [`COMMAND_WEIGHT`] times.
    sent: usize,
}

impl Conversation {
    pub(super) fn new(of: Arc<Shared>, listener: Name, ip: IpAddr, session: Session, wire: Wire, place: ConnectionSlot) -> Self {
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
            login: None,
            asked: None,
            is_over: false,
            recipients: 0,
            sender: None,
            whole_by: now,
            message_by: now,
            received: None,
            held: None,
            place,
            sent: 0,
        }
    }

    /// Runs the session from the greeting to its end.
    pub(super) async fn hold(mut self) -> io::Result<()> {
        let ended = self.talk().await;
        self.login_abandoned();
        ended
    }

    async fn talk(&mut self) -> io::Result<()> {
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
            // A command was parsed, or none has begun: the next one gets the full timeout.
            if self.received.is_none() && (self.input.len() < before || self.input.is_empty()) {
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
                Step::Message(submission) => {
                    self.held.as_ref().inspect(|held| held.is_being_stored());
                    self.message(submission, &limits).await;
                }
                Step::Refused(refusal) => self.step_refused(refusal).await,
                Step::Close => self.is_over = true,
            }
            if !self.session.is_receiving() && self.received.take().is_some() {
                self.place.idle(clock::instant());
                self.renew(&limits);
            }
            self.count_memory(&limits).await;
        }
        self.flush(&limits).await?;
        match &mut self.wire {
            Some(wire) => wire.shutdown().await,
            None => Ok(()),
        }
    }

    async fn read(&mut self, limits: &ClientLimits) -> io::Result<()> {
        self.flush(limits).await?;
        if self.session.is_receiving() && self.received.is_none() {
            self.received = Some(0);
            self.place.busy();
            self.whole_by = self.now() + limits.data_timeout;
        }
        let now = self.now();
        let (silence, deadline) = match self.received {
            // A slow client gets more time as bytes arrive; one that trickles bytes does not keep its connection for ever.
            Some(received) => (limits.data_timeout, self.whole_by + Duration::from_secs(received / limits.data_rate)),
            None => (limits.command_timeout, self.whole_by.min(self.message_by)),
        };
        let (room, weight) = if self.received.is_some() { (READ, 1) } else { (READ_COMMANDS, COMMAND_WEIGHT) };
        self.input.reserve(room);
        let mut stopping = self.of.stopping.clone();
        let told_to_leave = self.place.told_to_leave();
        let memory_needed = told(self.held.as_ref());
        let Some(wire) = &mut self.wire else { return Err(io::ErrorKind::NotConnected.into()) };
        let is_rest = self.received.map_or(!self.input.is_empty(), |received| received < ACKNOWLEDGE_WITHIN);
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
            () = stopped(&mut stopping), if self.session.is_between_messages() => {
                self.session.shutting_down(&mut self.out);
                return Ok(());
            }
            () = told_to_leave => {
                let answer = Answer::new(421, 7, 0, "too many connections here, and others have waited less: try again later");
                self.session.refuse(&answer, &mut self.out);
                self.is_over = true;
                return Ok(());
            }
            () = memory_needed => {
                self.give_memory_back();
                return Ok(());
            }
        };
        match read {
            Ok(Ok(0)) => self.is_over = true,
            Ok(read) => {
                let read = read?;
                let yields = self.sent / YIELD_AFTER;
                self.sent = self.sent.saturating_add(weight * read);
                if self.sent / YIELD_AFTER > yields {
                    self.yield_to_others().await;
                }
                self.received = self.received.map(|received| received + read as u64);
                self.count_memory(limits).await;
            }
            Err(_) => self.session.timeout(&mut self.out),
        }
        Ok(())
    }

    /// Yields to the other sessions, and pauses if they were waiting and this one has sent much.
    async fn yield_to_others(&self) {
        let asked = clock::instant();
        tokio::task::yield_now().await;
        let waited = clock::instant().duration_since(asked);
        if self.sent >= THROTTLE_FROM && waited > UNCONTENDED {
            self.pause((waited * THROTTLE_FACTOR).min(THROTTLE_MAX)).await;
        }
    }

    /// Performs the TLS handshake. False: it failed, and the connection cannot be used any more.
    async fn secure(&mut self, limits: &ClientLimits) -> io::Result<bool> {
        let server = self.of.settings.get().tls_servers.get(&self.listener).cloned();
        let (Some(server), Some(wire)) = (server, self.wire.take()) else { return Ok(false) };
        match timeout(limits.handshake_timeout, wire.secured(server)).await.map_err(io::Error::from).flatten() {
            Ok((wire, handshake)) => {
                self.wire = Some(wire);
                let settings = self.of.settings.get();
                self.certified = settings.users.by_certificate(handshake.client_names.iter().map(String::as_str));
                self.login = None;
                if self.certified.is_some() {
                    self.place.known();
                }
                self.session.secured(handshake.bindings);
                Ok(true)
            }
            Err(error) => {
                let why = tls_error::inside(&error).map_or_else(|| error.to_string(), tls_error::of_client);
                let answer = Answer::new(454, 7, 0, format!("the TLS handshake failed: {why}"));
                self.refused("starttls", None, None, Refused::new(answer, "tls_handshake"));
                Ok(false)
            }
        }
    }

    /// Answers MAIL. False: it was refused.
    fn mail(&mut self, request: &MailRequest) -> bool {
        self.recipients = 0;
        let from = &request.reverse_path;
        self.sender = Some(from.to_string());
        match self.judge(|inbox, client| inbox.closed().map_or(Ok(()), Err).and_then(|()| inbox.may_send(client, from, request.size))) {
            Ok(()) => {
                let user = self.user().unwrap_or_default();
                let granted = request.parameters.priority.map(|asked| (asked, granted(user.as_deref(), Some(asked))));
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

    /// Asks this listener's inbox for a verdict. If a reload has removed the listener, everything is refused.
    fn judge(&self, verdict: impl FnOnce(&dyn Inbox, &ConnectedClient<'_>) -> Result<(), Refused>) -> Result<(), Refused> {
        let settings = self.of.settings.get();
        let Some(listener) = settings.listeners.get(&self.listener) else { return Err(gone()) };
        verdict(self.of.inbox(listener.role), &ConnectedClient { listener, ip: self.ip, user: self.user()? })
    }

    /// Answers RCPT. False: it was refused.
    fn rcpt(&mut self, recipient: &Address) -> bool {
        match self.judge(|inbox, client| inbox.wants(client, recipient, self.recipients + 1)) {
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
        let taken = self.take(submission);
        match taken.await {
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

    /// Takes a message. The client must still be who it was when it began the message, and may still send it.
    async fn take(&self, submission: Submission) -> Result<Answer, Refused> {
        let settings = self.of.settings.get();
        let listener = settings.listeners.get(&self.listener).ok_or_else(gone)?;
        let (inbox, client) = (self.of.inbox(listener.role), ConnectedClient { listener, ip: self.ip, user: self.user()? });
        inbox.may_send(&client, &submission.envelope.reverse_path, None)?;
        inbox.take(submission, &client).await
    }

    pub(super) fn refused(&self, command: &'static str, from: Option<String>, rcpt: Option<String>, Refused { answer, reason }: Refused) {
        let user = self.certified.as_ref().map(|login| login.name().to_string());
        self.of.rejected(&self.listener, self.ip, &self.session, &SessionRefusal { command, from, rcpt, user, answer, reason });
    }

    /// Delays a client after a refusal.
    pub(super) async fn slow_down(&self) {
        if self.session.is_closed() {
            self.pause(CLOSE_WAIT).await;
        } else if self.session.refusals() > REFUSALS_FREE {
            self.pause(REFUSAL_WAIT).await;
        }
        self.let_the_log_catch_up().await;
    }

    /// Waits until the log has caught up, [`CATCH_UP_MAX`] at most: a client with many refusals must not delay the log lines of others'
    /// mail.
    async fn let_the_log_catch_up(&self) {
        let until = self.now() + CATCH_UP_MAX;
        while self.of.journal.queued() > LINES_AHEAD && self.now() < until && !*self.of.stopping.borrow() {
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    /// Writes the gathered replies. A client that does not read them times out like one that sends no commands.
    async fn flush(&mut self, limits: &ClientLimits) -> io::Result<()> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.out.is_empty()) else { return Ok(()) };
        let written = async {
            wire.write_all(&self.out).await?;
            wire.flush().await
        };
        tokio::select! {
            // Usually written at once.
            biased;
            written = timeout(limits.command_timeout, written) => written.map_err(io::Error::from).flatten()?,
            // It does not read, so it cannot be told.
            () = told(self.held.as_ref()) => {
                self.give_memory_back();
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        }
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
