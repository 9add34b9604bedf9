//! The way in: a submitted message gets its header lines and signatures, goes to disk, into the log, into the queue; then the client hears 250.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;
use posthaste_access::{
    bans::Bans,
    users::{Quotas, User, granted},
};
use posthaste_dkim::{SignError, sign_all};
use posthaste_dsn as notice;
use posthaste_host::clock;
use posthaste_mail::{
    Address, Asks, BodyKind, Class, Domain, EnhancedCode, Envelope, Hold, MessageFacts, MessageId, Name, Otherwise, Ret, ReversePath, What,
};
use posthaste_smtp::server::{Answer, Submission};
use posthaste_spool::{Spool, StoreError};
use tokio::sync::{mpsc::UnboundedSender, watch};
use {
    posthaste_message,
    posthaste_message::{Letter, Meta, Prepared, Progress, SavedStanding, WarmBudget},
};

use crate::{
    dispatch::{Arrival, Deadline, Fate, Input, Next, Record, Said},
    dkim::{crew::Crew, forward},
    engine::{Command, Gauge},
    live::Live,
    pending::{Pending, Token},
    scribe::{DeliveryLog, Ticket, event},
};

mod guard;
mod policy;

pub use guard::{Price, ShutOut};
pub use policy::QUOTA_KEY;
use policy::may_hand_in;

/// How long a notice waits before the spool is asked again to take it.
const NOTICE_RETRY: Duration = Duration::from_secs(2);

/// The way in. Shared by all that take mail.
pub struct Intake {
    /// Where messages are kept.
    pub spool: Spool,
    /// Where lines go.
    pub log: DeliveryLog,
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
    /// Where messages go when they are stored.
    pub engine: UnboundedSender<Command>,
    /// Memory for bodies that are sent at once.
    pub warm: WarmBudget,
    /// Messages between the spool and their durable lines.
    pub pending: Pending,
    /// How full the queue is.
    pub gauge: watch::Receiver<Gauge>,
    /// What users have sent of late.
    pub quotas: Quotas,
    /// Who signs.
    pub signing: Crew,
    /// Who guessed passwords and tokens.
    pub bans: Mutex<Bans>,
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

/// A refusal: what the client is told, and the word for the log.
pub type Refused = (Answer, &'static str);

impl Intake {
    /// Why no mail is taken at present; None while it is.
    pub fn closed(&self) -> Option<Refused> {
        let max = self.live.load().config.limits.queue_messages;
        if max.is_some_and(|max| self.gauge.borrow().messages as u64 >= max) {
            return Some((Answer::full("the queue is full, try again later"), "queue_full"));
        }
        if self.spool.trouble().is_some() {
            return Some((Answer::full("no room on the relay's disk, try again later"), "spool_trouble"));
        }
        self.log.trouble().map(|_| (Answer::full("the relay cannot write its log, try again later"), "log_trouble"))
    }

    /// Takes a submitted message: on disk and in the log when this returns its id.
    pub async fn take(&self, submission: Submission, client: &Client) -> Result<MessageId, Refused> {
        let id = MessageId::new(clock::now(), rand::random());
        self.take_as(id, submission, client).await.map(|()| id)
    }

    /// The same under an id that was chosen before, and is nobody else's.
    pub async fn take_as(&self, id: MessageId, submission: Submission, client: &Client) -> Result<(), Refused> {
        let live = self.live.load_full();
        let now = clock::now();
        let hostname = live.config.hostname.as_str();
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
        let header = usize::try_from(live.config.limits.header_size).unwrap_or(usize::MAX);
        let limits = posthaste_message::Limits { header, hops: live.config.limits.received_hops };
        let prepared = posthaste_message::prepare(&submission.data, &submitted, limits).map_err(|unfit| refusal(&unfit))?;
        let stream = stream(&live, &prepared, client)?;
        let mut envelope = submission.envelope;
        if let Some(at) = prepared.send_at {
            hold(&mut envelope, at, now, live.config.limits.future_release)?;
        }
        may_be_in_time(&envelope.asks, now)?;
        let asked = envelope.asks.priority.or(prepared.priority);
        envelope.asks.priority = Some(granted(client.user.as_deref(), asked)).filter(|priority| !priority.is_usual());
        if let Some(user) = &client.user {
            may_hand_in(user, &prepared)?;
        }
        let parts = self.sign(&live, prepared.parts, &prepared.from_domains, &stream).await?;
        let parts = self.seal(&live, &submission.data, parts, &stream, client).await;
        let binary = envelope.body == BodyKind::BinaryMime && !posthaste_message::is_lines(&submission.data);
        let meta = Meta {
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
        self.charge(client.user.as_deref(), meta.envelope.recipients.len() as u64)?;
        self.store(meta, parts).await
    }

    /// Every signature that a message is to have, before the message: those of its authors' domains, its stream's, the relay's own.
    /// Without all of them it is not taken.
    async fn sign(&self, live: &Live, mut parts: Vec<Bytes>, authors: &[String], stream: &Name) -> Result<Vec<Bytes>, Refused> {
        let ring = live.keyring.load_full();
        let stream = live.config.streams.get(stream).and_then(|stream| stream.dkim_domain.as_ref());
        let also: Vec<Domain> = stream.into_iter().chain(&live.config.dkim.also_sign_as).cloned().collect();
        if ring.choose(authors.iter().map(String::as_str), also.iter().map(Domain::as_str)).is_empty() {
            return Ok(parts);
        }
        let (authors, message, now) = (authors.to_owned(), parts.clone(), clock::now().as_second());
        let signing = move || {
            let view: Vec<&[u8]> = message.iter().map(|p| &p[..]).collect();
            let signers = ring.choose(authors.iter().map(String::as_str), also.iter().map(Domain::as_str));
            sign_all(signers, &view, u64::try_from(now).unwrap_or(0))
        };
        let trouble = |why: &dyn std::fmt::Display| {
            tracing::error!(%why, "cannot sign");
            (Answer::trouble("the message could not be signed, try again later"), "signing_trouble")
        };
        let signatures = self.signing.run(signing).await.map_err(|e| trouble(&e))?.map_err(|e| match e {
            SignError::NoFrom => (Answer::new(550, 6, 0, format!("{e}: it cannot be signed")), "no_from"),
            SignError::Crypto(_) => trouble(&e),
        })?;
        parts.insert(0, Bytes::from(signatures));
        Ok(parts)
    }

    /// The seal of forwarded mail, before the message; where there can be none, the message as it is.
    async fn seal(&self, live: &Arc<Live>, came: &Bytes, mut parts: Vec<Bytes>, stream: &Name, client: &Client) -> Vec<Bytes> {
        if forward::is_sealed(live, stream, client.arc) {
            let set = forward::seal(live, &self.signing, came.clone(), parts.clone(), client.ip).await;
            parts.splice(0..0, set.map(Bytes::from));
        }
        parts
    }

    /// Spool, log, queue: in this order, so that no line speaks of what a crash could undo, and no attempt comes before its line.
    async fn store(&self, meta: Meta, parts: Vec<Bytes>) -> Result<(), Refused> {
        let token = self.pending.begin();
        let stored = self.spool.store(meta.id, meta.encode(), parts.clone()).await;
        let seq = stored.map_err(|e| {
            tracing::warn!(error = %e, "the spool refused a message");
            match e {
                StoreError::Full { .. } => (Answer::full("no room on the relay's disk, try again later"), "spool_full"),
                _ => (Answer::trouble("the relay could not store the message, try again later"), "spool_trouble"),
            }
        })?;
        self.pending.stored(seq);
        // What waits for its time is read back from disk then.
        let held = meta.held_until();
        let share = if held.is_some() { None } else { self.warm.take(usize::try_from(meta.size).unwrap_or(usize::MAX)) };
        let parts = if share.is_some() { parts } else { Vec::new() };
        let letter = Arc::new(Letter::new(meta, parts, share));
        let node = self.live.load().config.node.clone();
        announce(&self.log, &node, &letter, seq, token, false, |_| true);
        if let Some(until) = held {
            let all = 0..letter.meta.envelope.recipients.len() as u16;
            let about = |rcpt| What::Held {
                about: letter.about(rcpt, letter.meta.arrived),
                reason: "scheduled".into(),
                until: Some(until),
                budget: None,
            };
            self.log.append_all(all.map(|rcpt| event(&node, letter.meta.arrived, about(rcpt))).collect(), None);
        }
        let warm = (!letter.body.is_empty()).then(|| letter.clone());
        let arrival = arrival(&letter.meta, seq, warm);
        drop(self.engine.send(Command::Input(Input::Arrived(Box::new(arrival)))));
        Ok(())
    }

    /// Puts a failure notice for a record's fates into the spool; comes back only when it is there.
    pub async fn notify(&self, record: &Record, letter: &Letter) {
        loop {
            let live = self.live.load_full();
            let now = clock::now();
            let id = MessageId::new(now, rand::random());
            let body = self.body_of(record.seq, letter).await;
            let header = posthaste_message::header_block(&body);
            let told: Vec<notice::Told> = record.fates.iter().filter_map(|fate| told(&live, record, letter, fate)).collect();
            let ReversePath::Mailbox(to) = &letter.meta.envelope.reverse_path else { return };
            let original = notice::Original {
                id: letter.meta.id,
                reverse_path: to,
                arrived: letter.meta.arrived,
                message_id: letter.meta.message_id.as_deref(),
                envid: letter.meta.envelope.asks.envid.as_deref(),
                deliver_by: letter.meta.deliver_by().map(|(at, _)| at),
                header,
                whole: comes_back_whole(letter, &told, &body, live.config.notice.full_max).then_some(&body[..]),
            };
            let hostname = live.config.hostname.as_str();
            let from = &live.config.notice.from;
            let text = notice::Notice { id, now, hostname, from, original, told: &told }.to_message();
            match self.send_notice(&live, id, &letter.facts, text, to).await {
                Ok(()) => return,
                Err((answer, _)) => tracing::warn!(message = %letter.meta.id, why = answer.text, "a failure notice has to wait"),
            }
            tokio::time::sleep(NOTICE_RETRY).await;
        }
    }

    /// Stores a notice for `to` about the message `of`, as a message of its stream.
    pub(crate) async fn send_notice(
        &self,
        live: &Arc<Live>,
        id: MessageId,
        of: &MessageFacts,
        text: Bytes,
        to: &Address,
    ) -> Result<(), Refused> {
        let from = live.config.notice.from.domain().to_owned();
        let has_8bit = !text.is_ascii();
        let parts = self.sign(live, vec![text], &[from], &of.stream).await?;
        let meta = Meta {
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

    async fn body_of(&self, seq: u64, letter: &Letter) -> Bytes {
        if letter.body.is_empty() {
            let spool = self.spool.clone();
            let read = tokio::task::spawn_blocking(move || spool.body(seq)).await;
            read.ok().and_then(Result::ok).flatten().unwrap_or_default()
        } else {
            letter.body.concat().into()
        }
    }
}

/// What the dispatcher is told of a message in the spool.
pub fn arrival(meta: &Meta, seq: u64, warm: Option<Arc<Letter>>) -> Arrival {
    // A message that waits for its time counts its age from then, and is due then.
    let held = meta.held_until();
    let due = |rcpt, until: Timestamp| SavedStanding(rcpt, 0, until.as_millisecond(), false);
    let all = || (0..).zip(&meta.envelope.recipients).map(|(rcpt, _)| rcpt);
    let late = meta.late_at().map(|at| Deadline { at, returns: false });
    Arrival {
        seq,
        id: meta.id,
        arrived: held.unwrap_or(meta.arrived),
        stream: meta.stream.clone(),
        priority: meta.priority(),
        deliver_by: meta.returned_at().map(|at| Deadline { at, returns: true }).or(late),
        size: meta.size,
        domains: meta.envelope.recipients.iter().map(posthaste_mail::Address::to_domain).collect(),
        progress: held.map(|until| Progress { owed: all().map(|rcpt| due(rcpt, until)).collect(), told_late: false }),
        warm,
    }
}

/// Appends the `accepted` lines of those recipients that `missing` says yes to, as one: no checkpoint falls between them.
pub fn announce(log: &DeliveryLog, node: &Name, letter: &Letter, seq: u64, token: Token, recovered: bool, missing: impl Fn(&str) -> bool) {
    let meta = &letter.meta;
    let wanted = (0..).zip(&meta.envelope.recipients).filter(|(_, r)| missing(r.as_str()));
    let now = if recovered { clock::now() } else { meta.arrived };
    let lines = wanted.map(|(rcpt, _)| {
        let what = What::Accepted {
            about: letter.about(rcpt, meta.arrived),
            client_ip: meta.client_ip,
            client_ehlo: meta.client_ehlo.clone(),
            user: meta.user.clone(),
            priority: meta.priority(),
            spool_seq: seq,
            notice_of: meta.notice_of,
            recovered,
        };
        event(node, now, what)
    });
    log.append_all(lines.collect(), Some(Ticket::Accepted(seq, token)));
}

fn told(live: &Live, record: &Record, letter: &Letter, fate: &Fate) -> Option<notice::Told> {
    let ending = ending(record, letter, fate, live.config.notice.delay)?;
    let retry = &live.config.streams.get(&letter.meta.stream).unwrap_or(live.config.default_stream()).retry;
    let (failure, class) = match &fate.said {
        Some(Said::Failed(failure, verdict) | Said::Unknown(failure, verdict)) => (Some(failure.clone()), verdict.class),
        Some(Said::Delivered(_)) | None => (None, Class::TransientOther),
        Some(Said::Suppressed(_)) => return None,
    };
    Some(notice::Told {
        rcpt: letter.meta.envelope.recipients[usize::from(fate.rcpt)].clone(),
        orcpt: letter.meta.envelope.asks.rcpt(usize::from(fate.rcpt)).and_then(|asks| asks.orcpt.clone()),
        failure,
        class,
        mx_host: record.facts.mx_host.clone(),
        last_attempt: Some(record.now),
        retry_until: letter.meta.begins().checked_add(retry.expire).ok(),
        ending,
    })
}

/// What the sender is told of a fate; None: nothing (RFC 3461 §5.2).
pub fn ending(record: &Record, letter: &Letter, fate: &Fate, delay: Option<Duration>) -> Option<notice::Ending> {
    let meta = &letter.meta;
    match fate.next {
        // Who gave a time of its own hears when that is over.
        Next::Deferred(at) if meta.tells_delay(fate.rcpt) && meta.late_at().is_none() => {
            let late = meta.begins().checked_add(delay?).ok()?;
            is_told_late(late, fate.was_due, at).then_some(notice::Ending::Delayed)
        }
        Next::Late if meta.tells_lateness(fate.rcpt) => Some(notice::Ending::Delayed),
        Next::Bounced if meta.tells_failure(fate.rcpt) => Some(notice::Ending::Bounced),
        Next::Expired if meta.tells_failure(fate.rcpt) => {
            let too_late = meta.returned_at().is_some_and(|at| at <= record.now);
            Some(if too_late { notice::Ending::TooLate } else { notice::Ending::Expired })
        }
        // §5.2.2: where the receiver understands DSN, it has been told to give notice.
        Next::Delivered if meta.tells_success(fate.rcpt) && !record.facts.dsn => Some(notice::Ending::Relayed),
        // RFC 2852 §4.1.4: unless the sender wants to hear nothing.
        Next::Delivered if !meta.tells_nothing(fate.rcpt) => match meta.deliver_by()? {
            (_, by) if by.otherwise == Otherwise::Notify && !record.facts.deliver_by => Some(notice::Ending::Relayed),
            (_, by) => by.trace.then_some(notice::Ending::Traced),
        },
        _ => None,
    }
}

/// Whether this attempt is the one with which a message's sender hears that it takes long: the next will be made when it is `late`, and this one was
/// due before. Of a message's attempts it is true of one.
fn is_told_late(late: Timestamp, was_due: Timestamp, next: Timestamp) -> bool {
    was_due < late && late <= next
}

/// RFC 3461 §5.2: with a notice of a failure, where that was asked for, and it is no larger than is usual for notices; never what a receiver of the
/// notice might be unable to take.
fn comes_back_whole(letter: &Letter, told: &[notice::Told], body: &[u8], max: u64) -> bool {
    let meta = &letter.meta;
    let failed = told.iter().any(notice::Told::is_failed);
    failed && meta.envelope.asks.ret == Some(Ret::Full) && meta.size <= max && !body.is_empty() && !meta.utf8_header && !meta.binary
}

fn total(parts: &[Bytes]) -> u64 {
    parts.iter().map(|p| p.len() as u64).sum()
}

fn stream(live: &Live, prepared: &Prepared, client: &Client) -> Result<Name, Refused> {
    let own = || client.user.as_ref().and_then(|user| user.stream.clone()).filter(|name| live.config.streams.contains_key(name));
    let Some(asked) = &prepared.stream else { return Ok(own().unwrap_or_else(|| client.stream.clone())) };
    match Name::new(asked).ok().filter(|name| live.config.streams.contains_key(name)) {
        Some(name) => Ok(name),
        None => Err((Answer::new(550, 6, 0, format!("X-Posthaste-Stream: no stream is called {asked:?} here")), "no_such_stream")),
    }
}

/// What the header says of the time is kept like FUTURERELEASE (RFC 4865) within the same limit; where both are said, the later one counts.
fn hold(envelope: &mut Envelope, at: Timestamp, now: Timestamp, most: Option<Duration>) -> Result<(), Refused> {
    let most = most.and_then(|most| now.checked_add(most).ok());
    let refused = |text: &str| Err((Answer::new(554, 6, 0, format!("X-Posthaste-Send-At: {text}")), "bad_send_at"));
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
fn may_be_in_time(asks: &Asks, now: Timestamp) -> Result<(), Refused> {
    let (Some(hold), Some(by)) = (asks.hold, asks.deliver_by) else { return Ok(()) };
    if hold.until(now) < by.at(now) {
        return Ok(());
    }
    Err((Answer::new(554, 5, 4, "the message is held back until the time by which it is to be delivered (BY) is over"), "held_too_long"))
}

fn refusal(unfit: &posthaste_message::Unfit) -> Refused {
    let reply = unfit.reply();
    let code = reply.enhanced.unwrap_or(EnhancedCode::new(5, 6, 0));
    (Answer { code: reply.code, enhanced: code, text: unfit.to_string() }, unfit.reason())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_attempts_one_tells_that_a_message_takes_long() {
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap();
        // 5, 10, 20 minutes between them; each is made a little after it was due.
        let dues = [at(0), at(5), at(16), at(37), at(78), at(140), at(262), at(503)];
        for late in 1..500 {
            let first = (Timestamp::UNIX_EPOCH, dues[1]);
            let pairs = std::iter::once(first).chain(dues[1..].windows(2).map(|pair| (pair[0], pair[1])));
            assert_eq!(pairs.filter(|(was_due, next)| is_told_late(at(late), *was_due, *next)).count(), 1, "{late}");
        }
    }
}
