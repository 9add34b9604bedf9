//! The session: takes bytes; returns replies and questions to the caller.

mod auth;
mod chunk;
mod hello;
mod obey;
mod refuse;

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use jiff::Timestamp;
use posthaste_mail::TransferPriority;

use super::{
    Answer, BareLineEnds, Bindings, SessionSettings, Step, Submission, answer,
    body::{Progress, ReceivedBody},
    command,
    fault::{Fault, Weight},
    line::{self, AUTH_LINE_MAX, Discard, Line},
    phase::{Phase, Question},
    transaction::OpenTransaction,
};

/// Replies are handed over for writing before more than this many bytes (plus one reply) accumulate.
const OUT_MAX: usize = 16 << 10;
/// The first byte of a TLS handshake record (RFC 8446 §5.1): no SMTP command begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// The client's EHLO or HELO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name as the client gave it, not verified; printable ASCII, with other bytes as `\xHH`. Unless [`Offers`](super::Offers) are lenient, a
    /// well-formed domain or address literal.
    pub name: Arc<str>,
    /// True after EHLO, false after HELO.
    pub esmtp: bool,
}

/// One client's session, from greeting to close.
///
/// Replies are appended to the `out` argument in the order of the commands (RFC 2920). The session keeps one message and its recipients,
/// within [`SessionLimits`](super::SessionLimits), and nothing else.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    /// The start of the session.
    began: Timestamp,
    phase: Phase,
    hello: Option<Hello>,
    transaction: Option<OpenTransaction>,
    /// Messages received to their end, accepted or not.
    messages: u32,
    /// Counted towards `SessionLimits::bad_commands`.
    junk: u32,
    /// Counted towards `SessionLimits::idle_commands`.
    idle: u32,
    /// Counted towards `SessionLimits::refusals`.
    refusals: u32,
    /// Counted towards `SessionLimits::logins`.
    logins: u32,
    /// The channel bindings of TLS; None while TLS is off.
    tls: Option<Bindings>,
    /// The user who is logged in.
    user: Option<Arc<str>>,
    /// Whether every line so far ended in an LF alone.
    lf_only: bool,
}

impl Session {
    /// A session that has not sent its greeting yet.
    pub fn new(settings: Arc<SessionSettings>, now: Timestamp) -> Self {
        Self {
            settings,
            began: now,
            phase: Phase::Command,
            hello: None,
            transaction: None,
            messages: 0,
            junk: 0,
            idle: 0,
            refusals: 0,
            logins: 0,
            tls: None,
            user: None,
            lf_only: true,
        }
    }

    /// Writes the 220.
    pub fn greet(&mut self, out: &mut Vec<u8>) {
        answer::write(out, 220, None, &format!("{} {}", self.settings.hostname, self.settings.banner));
    }

    /// Writes this in place of a greeting (a 554 or 421, RFC 5321 §3.1), or ends the session with it. What it held of a message is dropped.
    pub fn refuse(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        answer.write(out);
        self.transaction = None;
        self.close();
    }

    /// Consumes what it can of `input` and appends replies to `out`.
    ///
    /// After [`Step::More`], `input` holds less than one command line (12,288 bytes for a line of AUTH).
    ///
    /// # Panics
    /// If the question of the previous step was not answered.
    pub fn feed(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Step {
        loop {
            let step = match &mut self.phase {
                Phase::Closed => {
                    input.clear();
                    return Step::Close;
                }
                Phase::Asked(question) => panic!("an answer is owed before the session goes on: {question:?}"),
                _ if input.is_empty() => return Step::More,
                Phase::Body(_) => self.receive(input, out),
                Phase::Chunk(_) => self.receive_chunk(input, out),
                _ if out.len() >= OUT_MAX => return Step::Flush,
                Phase::Command | Phase::Auth(_) => match self.command(input, out) {
                    Taken::Partial => return Step::More,
                    Taken::Done(step) => step,
                },
                Phase::Discard(_) => match self.discard(input, out) {
                    Taken::Partial => return Step::More,
                    Taken::Done(step) => step,
                },
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Answers [`Step::Mail`] or [`Step::Rcpt`]. A 421 ends the session; a session that is over writes nothing.
    ///
    /// # Panics
    /// If neither was asked.
    pub fn answer(&mut self, verdict: Result<(), Answer>, out: &mut Vec<u8>) {
        if self.is_closed() {
            return;
        }
        let Phase::Asked(question) = std::mem::replace(&mut self.phase, Phase::Command) else {
            panic!("no question was asked");
        };
        match (question, verdict) {
            (question @ (Question::Message | Question::Tls | Question::Auth(_)), _) => panic!("{question:?} has an answer of its own"),
            (Question::Mail(mail), Ok(())) => {
                self.transaction = Some(OpenTransaction::new(mail));
                Answer::new(250, 1, 0, "sender ok").write(out);
            }
            (Question::Rcpt(recipient, parameters), Ok(())) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.add(recipient, parameters);
                }
                Answer::new(250, 1, 5, "recipient ok").write(out);
            }
            (question, Err(answer)) => {
                if let (Question::Rcpt(..), Some(transaction)) = (question, &mut self.transaction) {
                    transaction.refused += 1;
                }
                answer.write(out);
                self.weigh(Weight::Refusal, answer.code, out);
            }
        }
    }

    /// Answers [`Step::Mail`]: the message is accepted, but with this priority in place of the requested one (RFC 6710 §5). A session that
    /// is over writes nothing.
    ///
    /// # Panics
    /// If it was not asked.
    pub fn answer_with_priority(&mut self, priority: TransferPriority, out: &mut Vec<u8>) {
        if self.is_closed() {
            return;
        }
        let Phase::Asked(Question::Mail(mut mail)) = std::mem::replace(&mut self.phase, Phase::Command) else {
            panic!("nobody asked about a sender");
        };
        mail.parameters.priority = Some(priority);
        self.transaction = Some(OpenTransaction::new(mail));
        Answer::new(250, 3, 6, format!("{priority} is the new priority")).write(out);
    }

    /// Answers [`Step::Message`]: 250 once the message is on disk, or the reason why not. A 421 ends the session; a session that is over
    /// writes nothing.
    ///
    /// # Panics
    /// If no message was handed out.
    pub fn answer_message(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        if self.is_closed() {
            return;
        }
        assert!(matches!(self.phase, Phase::Asked(Question::Message)), "no message was handed out");
        self.phase = Phase::Command;
        answer.write(out);
        if answer.is_positive() {
            (self.junk, self.idle, self.refusals) = (0, 0, 0);
        } else {
            self.weigh(Weight::Refusal, answer.code, out);
        }
    }

    /// The client was silent for too long: 421 4.4.2 (RFC 5321 §4.5.3.2). The session is over.
    pub fn timeout(&mut self, out: &mut Vec<u8>) {
        let waits = matches!(&self.phase, Phase::Body(receiver) if receiver.seems_ended());
        let text = if waits { "silent for too long, closing; a message ends with CRLF . CRLF" } else { "silent for too long, closing" };
        self.goodbye((4, 2), text, out);
    }

    /// The relay stops: 421 4.3.2 (RFC 5321 §3.8). The session is over.
    pub fn shutting_down(&mut self, out: &mut Vec<u8>) {
        self.goodbye((3, 2), "shutting down", out);
    }

    /// How many commands, recipients and messages were refused since the last accepted message.
    pub fn refusals(&self) -> u32 {
        self.junk.saturating_add(self.refusals)
    }

    /// The client's EHLO or HELO, once sent.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Whether the session is receiving a message; other time-outs apply then (RFC 5321 §4.5.3.2).
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Body(_) | Phase::Chunk(_))
    }

    /// The memory that the message in progress takes, in bytes: its envelope, and what has come of its text; 0: there is none.
    pub fn memory(&self) -> u64 {
        let text = if let Phase::Body(receiver) = &self.phase { receiver.memory() } else { 0 };
        text + self.transaction.as_ref().map_or(0, OpenTransaction::memory)
    }

    /// Whether no message is in progress, so that a relay that stops can close the session without costing the client a message.
    pub fn is_between_messages(&self) -> bool {
        self.transaction.is_none() && matches!(self.phase, Phase::Command | Phase::Auth(_) | Phase::Closed)
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn command(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Taken {
        if input[0] == TLS_HANDSHAKE {
            let answer = Answer::new(500, 5, 1, "this port speaks SMTP, not TLS from the start");
            return self.fault(Fault::fatal("command", "tls_unexpected", answer), out).into();
        }
        let line = line::look(input, self.line_max(input), self.fixes());
        self.lf_only &= !matches!(line, Line::Whole { length, whole } if whole > length + 1);
        match line {
            Line::Partial => Taken::Partial,
            Line::Whole { length, whole } if self.is_in_auth() => {
                let line = input.split_to(length);
                input.advance(whole - length);
                Taken::Done(self.auth_line(&line, out))
            }
            Line::Whole { length, whole } => {
                let offered = self.settings.offers.at(self.tls.as_ref(), self.began);
                let parsed = command::parse(&input[..length], &offered);
                input.advance(whole);
                let step = match parsed {
                    Ok(command) => self.obey(command, !input.is_empty(), out),
                    Err(fault) => Some(self.fault(fault, out)),
                };
                Taken::Done(step)
            }
            Line::TooLong => {
                self.phase = Phase::Discard(Discard::default());
                Taken::Done(None)
            }
            Line::BareLf => self.fault(self.bare_lf(), out).into(),
            Line::BareCr => self.fault(Fault::bare("command", "bare_cr"), out).into(),
        }
    }

    fn is_in_auth(&self) -> bool {
        matches!(self.phase, Phase::Auth(_))
    }

    /// The longest line allowed; one of a SASL exchange may be longer than a command.
    fn line_max(&self, input: &[u8]) -> usize {
        let begins = input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        let auth = self.is_in_auth() || (begins && !self.settings.offers.auth.is_empty());
        let max = self.settings.limits.line;
        if auth { max.max(AUTH_LINE_MAX) } else { max }
    }

    /// Whether an LF alone ends a command, as it ends a line of a message.
    fn fixes(&self) -> bool {
        self.settings.offers.bare_line_ends == BareLineEnds::Fix
    }

    fn bare_lf(&self) -> Fault {
        Fault::bare_unless("command", "bare_lf", &self.key("bare_line_ends"))
    }

    fn discard(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Taken {
        let fixes = self.fixes();
        let Phase::Discard(discard) = &mut self.phase else { return Taken::Done(None) };
        let answer = Answer::new(500, 5, 2, "line too long");
        let fault = match discard.drop_from(input, fixes) {
            Line::Partial => return Taken::Partial,
            Line::Whole { .. } => Fault::junk("command", "line_too_long", answer),
            Line::TooLong => Fault::fatal("command", "line_too_long", answer),
            Line::BareLf => self.bare_lf(),
            Line::BareCr => Fault::bare("command", "bare_cr"),
        };
        self.phase = Phase::Command;
        self.fault(fault, out).into()
    }

    fn receive(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Option<Step> {
        let Phase::Body(receiver) = &mut self.phase else { return None };
        let progress = receiver.push(input);
        match progress {
            Progress::More => {
                input.clear();
                return None;
            }
            Progress::End(length) => input.advance(length),
            Progress::Endless => input.clear(),
        }
        let Phase::Body(receiver) = std::mem::replace(&mut self.phase, Phase::Command) else { return None };
        let body = match (receiver.finish(), progress) {
            (Ok(body), Progress::End(_)) => body,
            (body, Progress::End(_)) => return Some(self.flawed("dot", body.err()?, out)),
            (_, _) => return Some(self.endless(out)),
        };
        Some(self.submit(body))
    }

    /// Hands a complete message to the caller.
    fn submit(&mut self, body: ReceivedBody) -> Step {
        self.messages = self.messages.saturating_add(1);
        let envelope = self.transaction.take().expect("DATA and BDAT need a transaction").into_envelope();
        let Hello { name, esmtp } = self.hello.clone().expect("MAIL needs a greeting");
        self.phase = Phase::Asked(Question::Message);
        let (user, tls) = (self.user.clone(), self.tls.is_some());
        Step::Message(Submission { envelope, data: body.data, helo: name, esmtp, user, tls, has_8bit: body.has_8bit })
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
    }
}

/// What was done with the input.
#[expect(clippy::large_enum_variant, reason = "used at once and never kept")]
enum Taken {
    /// Nothing: it is incomplete.
    Partial,
    /// Something was processed.
    Done(Option<Step>),
}

impl From<Step> for Taken {
    fn from(step: Step) -> Self {
        Self::Done(Some(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Offers, SessionLimits};

    fn session() -> Session {
        let settings = SessionSettings {
            hostname: "mx.test".into(),
            banner: "ESMTP posthaste".into(),
            limits: SessionLimits::default(),
            offers: Offers::default(),
        };
        Session::new(Arc::new(settings), Timestamp::UNIX_EPOCH)
    }

    fn feed(session: &mut Session, text: &str) -> (Step, String) {
        let mut out = Vec::new();
        let step = session.feed(&mut BytesMut::from(text), &mut out);
        (step, String::from_utf8(out).unwrap())
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refused_client_is_told_so_in_place_of_the_greeting() {
        let mut session = session();
        let refusal = Answer::not_allowed("not from there");
        assert_eq!(written(|out| session.refuse(&refusal, out)), "554 5.7.1 not from there\r\n");
        assert_eq!(feed(&mut session, "EHLO c.test\r\n"), (Step::Close, String::new()));
    }

    #[test]
    fn silence_and_shutdown_end_the_session_with_421_once() {
        let (mut silent, mut stopped) = (session(), session());
        assert_eq!(written(|out| silent.timeout(out)), "421 4.4.2 mx.test silent for too long, closing\r\n");
        assert_eq!(written(|out| stopped.shutting_down(out)), "421 4.3.2 mx.test shutting down\r\n");
        assert_eq!(written(|out| stopped.timeout(out)), "");
        assert!(silent.is_closed() && stopped.is_closed());
        assert_eq!(feed(&mut silent, "NOOP\r\n"), (Step::Close, String::new()));
    }

    #[test]
    fn a_session_knows_whether_a_message_is_under_way() {
        let mut session = session();
        assert!(session.is_between_messages() && session.hello().is_none());
        assert!(matches!(feed(&mut session, "EHLO c.test\r\nMAIL FROM:<>\r\n").0, Step::Mail(_)));
        assert!(!session.is_between_messages(), "a question is open");
        session.answer(Ok(()), &mut Vec::new());
        assert!(matches!(feed(&mut session, "RCPT TO:<b@y.test>\r\n").0, Step::Rcpt(_)));
        session.answer(Ok(()), &mut Vec::new());
        assert!(!session.is_between_messages() && !session.is_receiving());
        assert_eq!(feed(&mut session, "DATA\r\n").0, Step::More);
        assert!(session.is_receiving());
        assert!(matches!(feed(&mut session, ".\r\n").0, Step::Message(_)));
        assert!(!session.is_receiving() && !session.is_between_messages());
        session.answer_message(&Answer::queued("1"), &mut Vec::new());
        assert!(session.is_between_messages());
        assert_eq!(session.hello().map(|hello| &*hello.name), Some("c.test"));
    }

    #[test]
    fn an_answer_that_comes_too_late_is_not_written() {
        let mut session = session();
        assert!(matches!(feed(&mut session, "EHLO c.test\r\nMAIL FROM:<>\r\n").0, Step::Mail(_)));
        session.shutting_down(&mut Vec::new());
        assert_eq!(written(|out| session.answer(Ok(()), out)), "");
        assert_eq!(feed(&mut session, "").0, Step::Close);
    }
}
