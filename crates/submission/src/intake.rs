//! The way in: a submitted message gets its header lines and signatures, goes to disk, into the log, into the queue; then the client hears 250.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_access::{
    Allowances, may_hand_in,
    users::{User, granted},
};
use posthaste_host::{InForce, clock};
use posthaste_journal::{Journal, Pending};
use posthaste_mail::{Address, BodyKind, EnhancedCode, Envelope, EsmtpParameters, Hold, MessageFacts, MessageId, Name, ReversePath, What};
use posthaste_message::{Message, MessageRecord, Prepared, WarmBudget};
use posthaste_queue::QueueHandle;
use posthaste_signing::{Signatures, Unsigned};
use posthaste_smtp::server::{Answer, Refused, Submission};
use posthaste_spool::{Spool, StoreError};
use posthaste_suppression::{List, Reason, Register, UserScope as SuppressionUser};

use crate::{
    announce::{Announced, announce, arrival},
    inbox::{Guest, Inbox, Taking},
    settings::Settings,
};

/// The way in. Shared by all that take mail.
pub struct Intake {
    /// Where messages are kept.
    pub spool: Spool,
    /// Where lines go.
    pub journal: Journal,
    /// What is in force.
    pub settings: InForce<Settings>,
    /// Where messages go when they are stored.
    pub queue: QueueHandle,
    /// Memory for bodies that are sent at once.
    pub warm: WarmBudget,
    /// Messages between the spool and their durable lines.
    pub pending: Pending,
    /// What users may.
    pub allowances: Allowances,
    /// Who signs and seals.
    pub signatures: Signatures,
    /// Who is not written to.
    pub register: Arc<Register<Spool>>,
}

/// Who hands a message in.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// The stream of mail that names none, where its user has none either.
    pub stream: Name,
    /// Whether it forwards others' mail, which is sealed.
    pub arc: bool,
    /// Who it is, where that was proved.
    pub user: Option<Arc<User>>,
    /// It came by HTTP, not by SMTP.
    pub http: bool,
}

impl Intake {
    /// Why no mail is taken at present; None while it is.
    pub fn closed(&self) -> Option<Refused> {
        let max = self.settings.get().limits.queue_messages;
        if max.is_some_and(|max| self.queue.gauge().messages as u64 >= max) {
            return Some(Refused::new(Answer::full("the queue is full, try again later"), "queue_full"));
        }
        if self.spool.trouble().is_some() {
            return Some(Refused::new(Answer::full("no room on the relay's disk, try again later"), "spool_trouble"));
        }
        self.journal.trouble().map(|_| Refused::new(Answer::full("the relay cannot write its log, try again later"), "log_trouble"))
    }

    /// Takes a submitted message: on disk and in the log when this returns its id.
    pub async fn take(&self, submission: Submission, client: &Client) -> Result<MessageId, Refused> {
        let id = MessageId::new(clock::now(), rand::random());
        self.take_as(id, submission, client).await.map(|()| id)
    }

    /// The same under an id that was chosen before, and is nobody else's.
    pub async fn take_as(&self, id: MessageId, submission: Submission, client: &Client) -> Result<(), Refused> {
        let settings = self.settings.get();
        let now = clock::now();
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
        let header = usize::try_from(settings.limits.header_size).unwrap_or(usize::MAX);
        let limits = posthaste_message::HeaderLimits { header, hops: settings.limits.received_hops };
        let prepared = posthaste_message::prepare(&submission.data, &submitted, limits).map_err(|unfit| refusal(&unfit))?;
        let stream = stream(&settings, &prepared, client)?;
        let mut envelope = submission.envelope;
        if let Some(at) = prepared.send_at {
            hold(&mut envelope, at, now, settings.limits.future_release)?;
        }
        may_be_in_time(&envelope.asks, now)?;
        let asked = envelope.asks.priority.or(prepared.priority);
        envelope.asks.priority = Some(granted(client.user.as_deref(), asked)).filter(|priority| !priority.is_usual());
        if let Some(user) = &client.user {
            may_hand_in(user, &prepared)?;
        }
        let parts = self.signatures.sign(prepared.parts, &prepared.from_domains, &stream).await.map_err(unsigned)?;
        let parts = self.signatures.seal(&submission.data, parts, &stream, client.arc, client.ip).await;
        let binary = envelope.body == BodyKind::BinaryMime && !posthaste_message::is_lines(&submission.data);
        let meta = MessageRecord {
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
            notice_of: None,
        };
        self.allowances.charge(client.user.as_deref(), meta.envelope.recipients.len() as u64)?;
        self.store(meta, parts).await
    }

    /// Spool, log, queue: in this order, so that no line speaks of what a crash could undo, and no attempt comes before its line.
    async fn store(&self, meta: MessageRecord, parts: Vec<Bytes>) -> Result<(), Refused> {
        let token = self.pending.begin();
        let stored = self.spool.store(meta.id, meta.encode(), parts.clone()).await;
        let seq = stored.map_err(|e| {
            tracing::warn!(error = %e, "the spool refused a message");
            match e {
                StoreError::Full { .. } => Refused::new(Answer::full("no room on the relay's disk, try again later"), "spool_full"),
                _ => Refused::new(Answer::trouble("the relay could not store the message, try again later"), "spool_trouble"),
            }
        })?;
        self.pending.stored(seq);
        // What waits for its time is read back from disk then.
        let held = meta.held_until();
        let share = if held.is_some() { None } else { self.warm.take(usize::try_from(meta.size).unwrap_or(usize::MAX)) };
        let parts = if share.is_some() { parts } else { Vec::new() };
        let letter = Arc::new(Message::new(meta, parts, share));
        announce(&self.journal, &letter, seq, token, Announced::Now, |_| true);
        if let Some(until) = held {
            let all = 0..letter.meta.envelope.recipients.len() as u16;
            let about = |rcpt| What::Held {
                about: letter.about(rcpt, letter.meta.arrived),
                reason: "scheduled".into(),
                until: Some(until),
                budget: None,
            };
            self.journal.append_all(letter.meta.arrived, all.map(about), None);
        }
        let warm = (!letter.body.is_empty()).then(|| letter.clone());
        let arrival = arrival(&letter.meta, seq, warm);
        self.queue.arrived(arrival).await;
        Ok(())
    }

    /// Stores a notice for `to` about the message `of`, as a message of its stream.
    pub async fn take_notice(&self, id: MessageId, of: &MessageFacts, text: Bytes, to: &Address) -> Result<(), Refused> {
        let from = self.settings.get().notice_from.domain().to_owned();
        let has_8bit = !text.is_ascii();
        let parts = self.signatures.sign(vec![text], &[from], &of.stream).await.map_err(unsigned)?;
        let meta = MessageRecord {
            id,
            arrived: id.time(),
            stream: of.stream.clone(),
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
            notice_of: Some(of.message),
        };
        self.store(meta, parts).await
    }
}

fn total(parts: &[Bytes]) -> u64 {
    parts.iter().map(|p| p.len() as u64).sum()
}

fn stream(settings: &Settings, prepared: &Prepared, client: &Client) -> Result<Name, Refused> {
    let own = || client.user.as_ref().and_then(|user| user.stream.clone()).filter(|name| settings.streams.contains(name));
    let Some(asked) = &prepared.stream else { return Ok(own().unwrap_or_else(|| client.stream.clone())) };
    match Name::new(asked).ok().filter(|name| settings.streams.contains(name)) {
        Some(name) => Ok(name),
        None => {
            Err(Refused::new(Answer::new(550, 6, 0, format!("X-Posthaste-Stream: no stream is called {asked:?} here")), "no_such_stream"))
        }
    }
}

/// What the header says of the time is kept like FUTURERELEASE (RFC 4865) within the same limit; where both are said, the later one counts.
fn hold(envelope: &mut Envelope, at: Timestamp, now: Timestamp, most: Option<Duration>) -> Result<(), Refused> {
    let most = most.and_then(|most| now.checked_add(most).ok());
    let refused = |text: &str| Err(Refused::new(Answer::new(554, 6, 0, format!("X-Posthaste-Send-At: {text}")), "bad_send_at"));
    match most {
        _ if at <= now => return Ok(()),
        None => return refused("mail is not held back here"),
        Some(most) if at > most => return refused(&format!("mail is held back here until {most} at most")),
        Some(_) => {}
    }
    let until = envelope.asks.hold.map_or(at, |hold| hold.until(now).max(at));
    envelope.asks.hold = Some(Hold::Until(until));
    Ok(())
}

/// What is held back for longer than the time within which it is to be delivered would come back, or be told to be late, in any case.
fn may_be_in_time(asks: &EsmtpParameters, now: Timestamp) -> Result<(), Refused> {
    let (Some(hold), Some(by)) = (asks.hold, asks.deliver_by) else { return Ok(()) };
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

    fn may_send(&self, guest: &Guest<'_>, from: &ReversePath, size: Option<u64>) -> Result<(), Refused> {
        match &guest.user {
            Some(user) => self.allowances.may_begin(user, from, size),
            None if guest.listener.allows(guest.ip) && !guest.listener.require_auth => Ok(()),
            None => Err(Refused::new(Answer::auth_required(), "auth_required")),
        }
    }

    fn wants(&self, guest: &Guest<'_>, rcpt: &Address, recipients: u64) -> Result<(), Refused> {
        if let Some(user) = &guest.user {
            self.allowances.may_add(user, recipients)?;
        }
        if !guest.listener.refuse_suppressed {
            return Ok(());
        }
        let settings = self.settings.get();
        let list = List::new(&self.register, &settings.suppression);
        let stream = guest.user.as_ref().and_then(|user| user.stream.as_ref()).unwrap_or(&guest.listener.stream);
        let user = guest.user.as_ref().and_then(|user| SuppressionUser::new(&user.name));
        let Some(entry) = list.look_up(rcpt, stream, user.as_ref(), clock::now()) else { return Ok(()) };
        let why = format!("nothing is sent to this address: {} since {:.0}", entry.reason, entry.since);
        let answer = match entry.reason {
            Reason::HardBounce => Answer::new(550, 1, 1, why),
            Reason::Complaint | Reason::Unsubscribe | Reason::Manual => Answer::new(550, 7, 1, why),
        };
        Err(Refused::new(answer, "suppressed"))
    }

    fn take<'a>(&'a self, submission: Submission, guest: &Guest<'_>) -> Taking<'a> {
        let (stream, arc) = (guest.listener.stream.clone(), guest.listener.arc);
        let client = Client { ip: guest.ip, stream, arc, user: guest.user.clone(), http: false };
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
