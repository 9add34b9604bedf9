//! Hands over one message: MAIL, RCPTs and DATA (in one group if the receiver offers PIPELINING, RFC 2920), the body, the dot.

use std::{io::Write, ops::Range, time::Duration};

use bytes::Bytes;
use posthaste_mail::{BodyKind, Failure, LocalCause, Reply, Stage};

use super::{
    Connection, Extensions, RecipientResult, Report, Transaction,
    body::{BareLineEnd, CheckedBody},
    connection::{DialogueState, millis},
    parameters::{mail_parameters, rcpt_parameters},
    report::Slots,
};

impl Connection {
    /// Hands over one message. Whatever happens, each recipient gets a result.
    ///
    /// A message larger than the SIZE that the receiver announced is not offered; its result is a refusal at [`Stage::Mail`] with a 552
    /// generated here, which names the limit (RFC 1870 §6.1 lets the client decide this). A body with 8-bit bytes is sent unchanged, and its
    /// signatures stay whole: whether the receiver takes it is the caller's question ([`Connection::lacks`]).
    pub async fn transact(&mut self, message: Transaction<'_>) -> Report {
        let began = (self.clock)();
        let mut slots = Slots::new(message.recipients.len());
        let body = match self.look_through(&message) {
            Ok(body) => body,
            Err(failure) => {
                slots.refuse_all(&failure);
                return slots.into_report(0, None);
            }
        };
        if let Some((asked, failure)) = self.ended_before(message.recipients.len()) {
            slots.break_off(&asked, &failure);
            return slots.into_report(0, None);
        }
        self.used = true;
        let dirty = std::mem::replace(&mut self.state, DialogueState::Busy) != DialogueState::Clean;
        let go = self.envelope(&message, dirty, &mut slots).await;
        let midway = (self.clock)();
        self.state = DialogueState::Dirty;
        let mut body_ms = None;
        if go {
            self.state = DialogueState::Busy;
            self.hand_over(&body, &mut slots).await;
            // RFC 3030 §2: after BDAT failed, RSET is due.
            self.state = if message.needs.binary { DialogueState::Dirty } else { DialogueState::Clean };
            body_ms = Some(millis(midway, (self.clock)()));
        }
        slots.into_report(millis(began, midway), body_ms)
    }

    /// Whether the receiver ended the dialogue before this message, and which recipients that concerns. What it sends between two messages
    /// (usually an idle time-out) is no reply to the second; what it sends before the first one is.
    fn ended_before(&mut self, recipients: usize) -> Option<(Range<usize>, Failure)> {
        if !self.channel.is_open() || self.state == DialogueState::Busy {
            let detail = "the connection was used after its end".to_owned();
            return Some((0..0, Failure::Local { stage: Stage::Mail, cause: LocalCause::ConnectionLost, detail }));
        }
        let failure = self.channel.glance(Stage::Mail)?;
        Some((if self.used { 0..0 } else { 0..recipients }, failure))
    }

    /// The checks that need no command.
    fn look_through<'a>(&self, message: &Transaction<'a>) -> Result<Framing<'a>, Failure> {
        if let Some(limit @ 1..) = self.extensions.size
            && message.size > limit
        {
            let text = format!("5.3.4 message size {} exceeds the receiver's limit of {limit} (announced in EHLO; not sent)", message.size);
            return Err(Failure::Refused { stage: Stage::Mail, reply: Reply::new(552, text) });
        }
        if message.needs.binary {
            return Ok(Framing::Chunked(message.body));
        }
        let local = |e: BareLineEnd| Failure::Local { stage: Stage::Data, cause: LocalCause::LocalError, detail: e.to_string() };
        CheckedBody::new(message.body).map(Framing::Dotted).map_err(local)
    }

    /// Runs the dialogue up to the 354. True: the receiver waits for the body and accepted a recipient. False: every recipient is settled.
    async fn envelope(&mut self, message: &Transaction<'_>, dirty: bool, slots: &mut Slots) -> bool {
        match self.ask_envelope(message, dirty, slots).await {
            Ok(go) => go,
            Err(Broken { about, failure }) => {
                self.channel.close();
                slots.break_off(&about, &failure);
                false
            }
        }
    }

    async fn ask_envelope(&mut self, message: &Transaction<'_>, dirty: bool, slots: &mut Slots) -> Result<bool, Broken> {
        let pipelining = self.extensions.pipelining;
        if pipelining {
            self.say_all_at_once(message, dirty).await?;
        }
        if dirty {
            // A failure at RSET concerns none of the recipients: they have not been offered yet.
            let reply = self.step(Stage::Rset, self.timeouts.rset, 0..0, |out| out.extend_from_slice(RSET)).await?;
            if let ReplyKind::Refused(failure) | ReplyKind::Unexpected(failure) = classify(Stage::Rset, reply) {
                return Err(Broken { about: 0..0, failure });
            }
        }
        let mail_taken = self.ask_mail(message, slots).await?;
        // The replies to the commands sent together with MAIL are still to come.
        let answers_due = pipelining && self.channel.is_open();
        if !mail_taken && !answers_due {
            return Ok(false);
        }
        self.ask_recipients(message, slots).await?;
        if !pipelining && !slots.any_accepted() {
            return Ok(false);
        }
        // RFC 3030 §2: BDAT needs no 354.
        if message.needs.binary { Ok(slots.any_accepted()) } else { self.ask_data(slots).await }
    }

    /// Sends all commands in one group. RFC 2920 §3.1: RSET, MAIL and RCPT may stand anywhere in it, DATA only at its end.
    async fn say_all_at_once(&mut self, message: &Transaction<'_>, dirty: bool) -> Result<(), Broken> {
        let out = &mut self.out;
        out.clear();
        if dirty {
            out.extend_from_slice(RSET);
        }
        mail_command(out, message, &self.extensions);
        (0..message.recipients.len()).for_each(|place| rcpt_command(out, message, place, &self.extensions));
        if !message.needs.binary {
            out.extend_from_slice(DATA);
        }
        let said = self.channel.say(out, Stage::Mail, self.timeouts.mail).await;
        said.map_err(|failure| Broken { about: 0..message.recipients.len(), failure })
    }

    /// Returns the reply to one command; sends the command first, unless it was sent with the group.
    async fn step(
        &mut self,
        stage: Stage,
        limit: Duration,
        about: Range<usize>,
        command: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Reply, Broken> {
        let reply = if self.extensions.pipelining {
            self.channel.reply(stage, limit).await
        } else {
            self.out.clear();
            command(&mut self.out);
            self.channel.ask(&self.out, stage, limit).await
        };
        reply.map_err(|failure| Broken { about, failure })
    }

    async fn ask_mail(&mut self, message: &Transaction<'_>, slots: &mut Slots) -> Result<bool, Broken> {
        let everyone = 0..message.recipients.len();
        let extensions = self.extensions;
        let command = |out: &mut Vec<u8>| mail_command(out, message, &extensions);
        let reply = self.step(Stage::Mail, self.timeouts.mail, everyone.clone(), command).await?;
        match classify(Stage::Mail, reply) {
            ReplyKind::Positive(_) => Ok(true),
            ReplyKind::Refused(failure) => {
                slots.refuse_all(&failure);
                Ok(false)
            }
            ReplyKind::Unexpected(failure) => Err(Broken { about: everyone, failure }),
        }
    }

    async fn ask_recipients(&mut self, message: &Transaction<'_>, slots: &mut Slots) -> Result<(), Broken> {
        let can = self.extensions;
        for place in 0..message.recipients.len() {
            let about = place..place + 1;
            let reply = self.step(Stage::Rcpt, self.timeouts.rcpt, about.clone(), |out| rcpt_command(out, message, place, &can)).await?;
            match classify(Stage::Rcpt, reply) {
                ReplyKind::Positive(_) => slots.accept(place),
                ReplyKind::Refused(failure) if self.channel.is_open() => slots.refuse(place, failure),
                // A 421 or an unexpected reply ends the dialogue for the later recipients too.
                ReplyKind::Refused(failure) | ReplyKind::Unexpected(failure) => return Err(Broken { about, failure }),
            }
        }
        Ok(())
    }

    async fn ask_data(&mut self, slots: &mut Slots) -> Result<bool, Broken> {
        let reply = self.step(Stage::Data, self.timeouts.data, 0..0, |out| out.extend_from_slice(DATA)).await?;
        if reply.code == 354 && slots.any_accepted() {
            return Ok(true);
        }
        if reply.code == 354 {
            // RFC 2920 §3.1: no recipient is left, but the receiver waits for a message. Send an empty one; its reply concerns no
            // recipient.
            if self.channel.ask(b".\r\n", Stage::Dot, self.timeouts.data).await.is_err() {
                self.channel.close();
            }
            return Ok(false);
        }
        match classify(Stage::Data, reply) {
            ReplyKind::Refused(failure) => {
                slots.end_accepted(&RecipientResult::Failed(failure));
                Ok(false)
            }
            ReplyKind::Positive(reply) => {
                let detail = format!("DATA was answered {reply}");
                Err(Broken { about: 0..0, failure: Failure::Local { stage: Stage::Data, cause: LocalCause::NotSmtp, detail } })
            }
            ReplyKind::Unexpected(failure) => Err(Broken { about: 0..0, failure }),
        }
    }
}

/// How the body is sent.
pub(super) enum Framing<'a> {
    /// By DATA.
    Dotted(CheckedBody<'a>),
    /// By BDAT, in one chunk.
    Chunked(&'a [Bytes]),
}

/// The dialogue ended before the body.
struct Broken {
    /// The recipients that the failed command was about.
    about: Range<usize>,
    failure: Failure,
}

/// What a reply means for its command.
pub(super) enum ReplyKind {
    Positive(Reply),
    Refused(Failure),
    Unexpected(Failure),
}

pub(super) fn classify(stage: Stage, reply: Reply) -> ReplyKind {
    match reply.code {
        200..300 => ReplyKind::Positive(reply),
        400.. => ReplyKind::Refused(Failure::Refused { stage, reply }),
        _ => ReplyKind::Unexpected(Failure::Local { stage, cause: LocalCause::NotSmtp, detail: format!("an unexpected reply: {reply}") }),
    }
}

const RSET: &[u8] = b"RSET\r\n";
const DATA: &[u8] = b"DATA\r\n";

fn mail_command(out: &mut Vec<u8>, message: &Transaction<'_>, can: &Extensions) {
    out.extend_from_slice(b"MAIL FROM:<");
    out.extend_from_slice(message.reverse_path.as_str().as_bytes());
    out.push(b'>');
    if can.size.is_some() {
        // Writing to a Vec cannot fail.
        let _ = write!(out, " SIZE={}", message.size);
    }
    if message.needs.binary {
        out.extend_from_slice(b" BODY=BINARYMIME");
    } else if can.eight_bit_mime && (message.has_8bit || message.body_kind != BodyKind::SevenBit) {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    mail_parameters(out, message, can);
    out.extend_from_slice(b"\r\n");
}

fn rcpt_command(out: &mut Vec<u8>, message: &Transaction<'_>, place: usize, can: &Extensions) {
    out.extend_from_slice(b"RCPT TO:<");
    out.extend_from_slice(message.recipients[place].as_str().as_bytes());
    out.push(b'>');
    if let Some(parameters) = message.parameters.rcpt(place).filter(|_| can.dsn) {
        rcpt_parameters(out, parameters);
    }
    out.extend_from_slice(b"\r\n");
}
