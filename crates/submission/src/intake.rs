//! The intake adds header fields and signatures to a submitted message, stores it in the spool, announces it in the log and hands it to the
//! queue. Only then the client is answered 250.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_access::{
    Allowances, may_hand_in,
    users::{NamedStreams, User, granted},
};
use posthaste_guard::Guard;
use posthaste_host::{InForce, clock};
use posthaste_journal::{Journal, Part, Pending, State};
use posthaste_mail::{Address, BodyKind, EnhancedCode, Envelope, EsmtpParameters, Hold, MessageFacts, MessageId, Name, ReversePath, What};
use posthaste_message::{Message, MessageRecord, NotReadBack, Prepared, WarmBudget, aligned};
use posthaste_queue::QueueHandle;
use posthaste_signing::{Signatures, Signed, Unsigned};
use posthaste_smtp::server::{Answer, Refused, Submission};
use posthaste_spool::{Spool, StoreError};
use posthaste_suppression::{List, Reason, Register, UserScope as SuppressionUser};

use crate::{
    announce::{Announced, announce, arrival},
    inbox::{Accepting, ConnectedClient, Inbox},
    settings::{Settings, UnfitText},
};

/// Accepts submitted messages. Shared by everything that takes in mail.
pub struct Intake {
    /// Stores the messages.
    pub spool: Spool,
    /// The delivery log.
    pub journal: Journal,
    /// The settings in force.
    pub settings: InForce<Settings>,
    /// The queue that stored messages are handed to.
    pub queue: QueueHandle,
    /// Memory budget for bodies kept between intake and delivery.
    pub warm: WarmBudget,
    /// Messages that are in the spool while their log lines are not durable yet.
    pub pending: Pending,
    /// What each user may send.
    pub allowances: Arc<Allowances>,
    /// Holds the new mail of users and streams that behave like stolen accounts.
    pub guard: Guard,
    /// Signs (DKIM) and seals (ARC) messages.
    pub signatures: Signatures,
    /// The suppression list.
    pub register: Arc<Register<Spool>>,
}

/// The client that submits a message.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// The stream of messages that name none, if the user has none either.
    pub stream: Name,
    /// The streams that its messages may name if it has not authenticated; None: those by default.
    pub streams: Option<NamedStreams>,
    /// Whether it forwards mail of others, which is sealed (RFC 8617).
    pub arc: bool,
    /// The authenticated user; None: the client has not authenticated.
    pub user: Option<Arc<User>>,
    /// Whether the message was submitted over HTTP instead of SMTP.
    pub http: bool,
}

impl Intake {
    /// Why no mail is accepted at present; None: mail is accepted.
    pub fn closed(&self) -> Option<Refused> {
        let max = self.settings.get().limits.queue_messages;
        if max.is_some_and(|max| self.queue.gauge().messages as u64 >= max) {
            return Some(Refused::new(Answer::full("the queue is full, try again later"), "queue_full"));
        }
        if self.spool.trouble().is_some() {
            return Some(Refused::new(Answer::full("no room on the relay's disk, try again later"), "spool_trouble"));
        }
        self.journal
            .trouble()
            .or_else(|| self.journal.owes())
            .map(|_| Refused::new(Answer::full("the relay cannot write its log, try again later"), "log_trouble"))
    }

    /// Takes a submitted message. It is on disk and announced in the log when this returns its id.
    pub async fn take(&self, submission: Submission, client: &Client) -> Result<MessageId, Refused> {
        let id = MessageId::new(clock::now(), rand::random());
        self.take_as(id, submission, client).await.map(|()| id)
    }

    /// Takes a submitted message under an id that the caller has chosen; no other message may have it.
    pub async fn take_as(&self, id: MessageId, mut submission: Submission, client: &Client) -> Result<(), Refused> {
        let settings = self.settings.get();
        let now = clock::now();
        let header = usize::try_from(settings.limits.header_size).unwrap_or(usize::MAX);
        submission.data = posthaste_message::without_mbox_lines(&submission.data);
        // Mail of others that is forwarded may be signed, and is sealed as it came.
        if !client.arc {
            submission.data = posthaste_message::with_domains(&submission.data, &settings.origin, header);
        }
        if settings.limits.unfit_text == UnfitText::Encode {
            encode(&mut submission);
        }
        let hostname = settings.hostname.as_str();
        let submitted = posthaste_message::Submission {
            client_ip: client.ip,
            helo: &submission.helo,
            esmtp: submission.esmtp,
            tls: submission.tls,
            authenticated: client.user.is_some(),
            http: client.http,
            reverse_path: submission.envelope.reverse_path.as_str(),
            hostname,
            id,
            now,
        };
        let limits = posthaste_message::HeaderLimits { header, hops: settings.limits.received_hops };
        let prepared = posthaste_message::prepare(&submission.data, &submitted, limits).map_err(|unfit| refusal(&unfit))?;
        let stream = stream(&settings, &prepared, client)?;
        let mut envelope = submission.envelope;
        if let Some(at) = prepared.send_at {
            hold(&mut envelope, at, now, settings.limits.future_release)?;
        }
        may_be_in_time(&envelope.parameters, now)?;
        let asked = envelope.parameters.priority.or(prepared.priority);
        envelope.parameters.priority = Some(granted(client.user.as_deref(), asked)).filter(|priority| !priority.is_usual());
        if let Some(user) = &client.user {
            may_hand_in(user, &prepared)?;
        }
        let Signed { parts, domains } = self.signatures.sign(prepared.parts, &prepared.from_domains, &stream).await.map_err(unsigned)?;
        let signers = || domains.iter().chain(&prepared.signed_by);
        let from_domain = prepared.from_domain.as_deref();
        let aligned = from_domain.filter(|_| signers().next().is_some()).map(|from| signers().any(|by| aligned(from, by)));
        let parts = self.signatures.seal(&submission.data, parts, &stream, client.arc, client.ip).await;
        let binary = envelope.body == BodyKind::BinaryMime && !posthaste_message::is_lines(&submission.data);
        let mut record = MessageRecord {
            id,
            arrived: now,
            stream,
            tags: prepared.tags,
            meta: prepared.meta,
            message_id: prepared.message_id,
            envelope,
            size: total(&parts),
            has_8bit: submission.has_8bit,
            utf8_header: prepared.header_8bit,
            binary,
            client_ip: Some(client.ip),
            client_ehlo: Some(submission.helo).filter(|_| !client.http),
            user: client.user.as_ref().map(|user| user.name.clone()),
            from_domain: from_domain.map(Into::into),
            aligned,
            one_click: prepared.one_click,
            notice_of: None,
            guarded: None,
        };
        record.guarded = self.guard.admit(record.user.as_deref(), &record.stream, record.size)?;
        self.allowances.charge(client.user.as_deref(), record.envelope.recipients.len() as u64)?;
        self.store(record, parts).await
    }

    /// Writes to spool, log and queue, in this order: no log line reports what a crash could undo, and no delivery attempt precedes its
    /// `accepted` line.
    async fn store(&self, record: MessageRecord, parts: Vec<Bytes>) -> Result<(), Refused> {
        let meta = record.encode().map_err(|why| self.not_read_back(record.id, &why))?;
        let token = self.pending.begin();
        let stored = self.spool.store(record.id, meta, parts.clone()).await;
        let seq = stored.map_err(|e| {
            tracing::warn!(error = %e, "the spool could not store a message");
            match e {
                StoreError::Full { .. } => Refused::new(Answer::full("no room on the relay's disk, try again later"), "spool_full"),
                _ => Refused::new(Answer::trouble("the relay could not store the message, try again later"), "spool_trouble"),
            }
        })?;
        self.pending.stored(seq);
        // A message held until a given time, or until an operator has looked, is read back from disk when it is due.
        let held = record.held_until();
        let memory = usize::try_from(record.size).unwrap_or(usize::MAX).saturating_add(record.memory());
        let share = if held.is_some() || record.guarded.is_some() { None } else { self.warm.take(memory) };
        let parts = if share.is_some() { parts } else { Vec::new() };
        let message = Arc::new(Message::new(record, parts, share));
        announce(&self.journal, &message, seq, token, Announced::Now, |_| true);
        if let Some(until) = held {
            let all = 0..message.record.envelope.recipients.len() as u16;
            let about = |rcpt| What::Held {
                about: message.about(rcpt, message.record.arrived),
                reason: "scheduled".into(),
                until: Some(until),
                detail: None,
                budget: None,
            };
            self.journal.append_all(message.record.arrived, all.map(about), None);
        }
        let warm = (!message.body.is_empty()).then(|| message.clone());
        let arrival = arrival(&message.record, seq, warm);
        self.queue.arrived(arrival).await;
        Ok(())
    }

    /// Only an error of the relay itself leads here, and the operator hears of it.
    fn not_read_back(&self, id: MessageId, why: &NotReadBack) -> Refused {
        let detail = format!("internal error: {id} was refused for now: {why}. Please report this, with the client's MAIL and RCPT");
        self.journal.say(Part::Spool, State::Alarm, detail);
        Refused::new(Answer::trouble("the relay could not store the message, try again later"), "not_read_back")
    }

    /// Stores a notice to `to` about the message `of`, as a message of the same stream.
    pub async fn take_notice(&self, id: MessageId, of: &MessageFacts, text: Bytes, to: &Address) -> Result<(), Refused> {
        self.take_own(id, &of.stream, Some(of.message), text, to).await
    }

    /// The stream of mail that belongs to none: `default`, or else the first.
    pub fn usual_stream(&self) -> Name {
        let settings = self.settings.get();
        let usual = settings.streams.iter().find(|name| name.as_str() == "default").or_else(|| settings.streams.first());
        usual.cloned().unwrap_or_else(|| Name::new("default").expect("a word is a name"))
    }

    /// Stores a message of the relay's own to `to`, from nobody, so that nothing is ever sent back for it.
    pub async fn take_own(&self, id: MessageId, stream: &Name, of: Option<MessageId>, text: Bytes, to: &Address) -> Result<(), Refused> {
        let from = self.settings.get().notice_from.domain().to_owned();
        let has_8bit = !text.is_ascii();
        let Signed { parts, domains } = self.signatures.sign(vec![text], std::slice::from_ref(&from), stream).await.map_err(unsigned)?;
        let record = MessageRecord {
            id,
            arrived: id.time(),
            stream: stream.clone(),
            tags: Vec::new(),
            meta: Vec::new(),
            message_id: None,
            envelope: Envelope::new(ReversePath::Null, vec![to.clone()]),
            size: total(&parts),
            has_8bit,
            utf8_header: false,
            binary: false,
            client_ip: None,
            client_ehlo: None,
            user: None,
            aligned: (!domains.is_empty()).then(|| domains.iter().any(|by| aligned(&from, by))),
            from_domain: Some(from.into()),
            one_click: false,
            notice_of: of,
            guarded: None,
        };
        self.store(record, parts).await
    }
}

fn total(parts: &[Bytes]) -> u64 {
    parts.iter().map(|p| p.len() as u64).sum()
}

/// Makes a message seven-bit text in short lines, before it is signed. What is no text, or is signed already, stays as it is.
fn encode(submission: &mut Submission) {
    if submission.envelope.body == BodyKind::BinaryMime {
        return;
    }
    if let Some(encoded) = posthaste_message::recode::recode(&submission.data) {
        submission.has_8bit = !encoded.is_ascii();
        submission.data = encoded;
    }
}

/// The stream of a message: the one that it names, or the usual one of its user or listener. A stream that the client may not name does not
/// exist for it: another's stream would sign with its keys and send from its addresses.
fn stream(settings: &Settings, prepared: &Prepared, client: &Client) -> Result<Name, Refused> {
    let own = client.user.as_ref().and_then(|user| user.stream.clone()).filter(|name| settings.streams.contains(name));
    let usual = own.unwrap_or_else(|| client.stream.clone());
    let Some(asked) = &prepared.stream else { return Ok(usual) };
    let may_name = |name: &Name| match &client.user {
        Some(user) => user.may_name(name, &usual),
        // Where there are users, streams are theirs.
        None => *name == usual || client.streams.as_ref().map_or(settings.users.send_nothing(), |list| list.hold(name)),
    };
    Name::new(asked).ok().filter(|name| settings.streams.contains(name) && may_name(name)).ok_or_else(|| {
        let whose = client.user.as_ref().map_or_else(|| "listen.NAME.streams".into(), |user| format!("user.{}.streams", user.name));
        let text = format!("X-Posthaste-Stream: no stream is called {asked:?} here, or {whose} does not list it");
        Refused::new(Answer::new(550, 6, 0, text), "no_such_stream")
    })
}

/// Applies the time of `X-Posthaste-Send-At` like FUTURERELEASE (RFC 4865), within the same limit. If both are given, the later time
/// counts.
fn hold(envelope: &mut Envelope, at: Timestamp, now: Timestamp, most: Option<Duration>) -> Result<(), Refused> {
    let most = most.and_then(|most| now.checked_add(most).ok());
    let refused = |text: &str| Err(Refused::new(Answer::new(554, 6, 0, format!("X-Posthaste-Send-At: {text}")), "bad_send_at"));
    match most {
        _ if at <= now => return Ok(()),
        None => return refused("mail is not held back here"),
        Some(most) if at > most => return refused(&format!("mail is held back here until {most} at most")),
        Some(_) => {}
    }
    let until = envelope.parameters.hold.map_or(at, |hold| hold.until(now).max(at));
    envelope.parameters.hold = Some(Hold::Until(until));
    Ok(())
}

/// Refuses a message that is held beyond its delivery deadline (BY, RFC 2852): it could only be returned or reported as late.
fn may_be_in_time(parameters: &EsmtpParameters, now: Timestamp) -> Result<(), Refused> {
    let (Some(hold), Some(by)) = (parameters.hold, parameters.deliver_by) else { return Ok(()) };
    if hold.until(now) < by.at(now) {
        return Ok(());
    }
    Err(Refused::new(
        Answer::new(554, 5, 4, "the message is held back until the time by which it is to be delivered (BY) is over"),
        "held_too_long",
    ))
}

impl Inbox for Intake {
    fn closed(&self) -> Option<Refused> {
        Self::closed(self)
    }

    fn may_send(&self, client: &ConnectedClient<'_>, from: &ReversePath, size: Option<u64>) -> Result<(), Refused> {
        match &client.user {
            Some(user) => {
                self.guard.may_begin(&user.name, size.unwrap_or(0))?;
                self.allowances.may_begin(user, from, size)
            }
            None if client.listener.allows(client.ip) && !client.listener.require_auth => Ok(()),
            None => Err(Refused::new(Answer::auth_required(), "auth_required")),
        }
    }

    fn wants(&self, client: &ConnectedClient<'_>, rcpt: &Address, recipients: u64) -> Result<(), Refused> {
        if let Some(user) = &client.user {
            self.allowances.may_add(user, recipients)?;
        }
        if !client.listener.refuse_suppressed {
            return Ok(());
        }
        let settings = self.settings.get();
        let list = List::new(&self.register, &settings.suppression);
        let stream = client.user.as_ref().and_then(|user| user.stream.as_ref()).unwrap_or(&client.listener.stream);
        let user = client.user.as_ref().and_then(|user| SuppressionUser::new(&user.name));
        let Some(entry) = list.look_up(rcpt, stream, user.as_ref(), clock::now()) else { return Ok(()) };
        let why = format!("nothing is sent to this address: {} since {:.0}", entry.reason, entry.since);
        let answer = match entry.reason {
            Reason::HardBounce => Answer::new(550, 1, 1, why),
            Reason::Complaint | Reason::Unsubscribe | Reason::Manual => Answer::new(550, 7, 1, why),
        };
        Err(Refused::new(answer, "suppressed"))
    }

    fn take<'a>(&'a self, submission: Submission, client: &ConnectedClient<'_>) -> Accepting<'a> {
        let (stream, streams, arc) = (client.listener.stream.clone(), client.listener.streams.clone(), client.listener.arc);
        let client = Client { ip: client.ip, stream, streams, arc, user: client.user.clone(), http: false };
        Box::pin(async move { Self::take(self, submission, &client).await.map(Answer::queued) })
    }
}

fn unsigned(why: Unsigned) -> Refused {
    match why {
        Unsigned::NoFrom(why) => Refused::new(Answer::new(550, 6, 0, why), "no_from"),
        Unsigned::Trouble(why) => {
            tracing::error!(%why, "cannot sign");
            Refused::new(Answer::trouble("the message could not be signed, try again later"), "signing_trouble")
        }
    }
}

fn refusal(unfit: &posthaste_message::Unfit) -> Refused {
    let reply = unfit.reply();
    let code = reply.enhanced.unwrap_or(EnhancedCode::new(5, 6, 0));
    Refused::new(Answer { code: reply.code, enhanced: code, text: unfit.to_string() }, unfit.reason())
}
