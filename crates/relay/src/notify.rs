//! Notices to senders: decides which fates need a notice, and stores the notice in the spool before the log reports the fate.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_dsn::{Ending, Notice, NoticeRecipient, NoticeRules, Original};
use posthaste_host::{InForce, clock};
use posthaste_mail::{Address, Class, Domain, Failure, MessageId, Name, Otherwise, Reply, Ret, ReversePath, Stage};
use posthaste_message::{Message, MessageRecord, header_block};
use posthaste_queue::{AttemptResult, Fate, FateRecord, Next};
use posthaste_smtp::server::Refused;
use posthaste_submission::Intake;

/// How long to wait before a notice that could not be stored is tried again.
const NOTICE_RETRY: Duration = Duration::from_secs(2);

/// The settings of notices.
pub(crate) struct NotifySettings {
    /// Whether and how notices are sent.
    pub notice: NoticeRules,
    /// The relay's host name.
    hostname: Domain,
    /// How long delivery of each stream's mail is tried.
    expire: HashMap<Name, Duration>,
    /// The same for mail of other streams.
    rest_expire: Duration,
}

impl NotifySettings {
    /// The settings that the configuration describes.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            notice: config.notice.clone(),
            hostname: config.hostname.clone(),
            expire: config.streams.iter().map(|(name, stream)| (name.clone(), stream.retry.expire)).collect(),
            rest_expire: config.default_stream().retry.expire,
        }
    }
}

/// Sends notices to senders.
pub(crate) struct Notifier {
    /// The settings in force.
    pub settings: InForce<NotifySettings>,
    /// The intake that stores notices.
    pub intake: Arc<Intake>,
}

impl Notifier {
    /// Whether the sender gets a notice about any of a record's fates.
    pub(crate) fn is_worth_a_notice(&self, record: &FateRecord, message: &Message) -> bool {
        let rules = &self.settings.get().notice;
        let tells = || record.fates.iter().any(|fate| ending(record, &message.record, fate, rules.delay).is_some());
        rules.send && !message.record.envelope.reverse_path.is_null() && tells()
    }

    /// Stores a failure notice about a record's fates in the spool; returns only once it is there.
    pub(crate) async fn notify(&self, record: &FateRecord, message: &Message) {
        let mut waits = false;
        loop {
            let settings = self.settings.get();
            let now = clock::now();
            let id = MessageId::new(now, rand::random());
            let body = self.body_of(record.seq, message).await;
            let header = header_block(&body);
            let recipients: Vec<NoticeRecipient> =
                record.fates.iter().filter_map(|fate| notice_recipient(&settings, record, message, fate)).collect();
            let ReversePath::Mailbox(to) = &message.record.envelope.reverse_path else { return };
            let original = Original {
                id: message.record.id,
                reverse_path: to,
                arrived: message.record.arrived,
                message_id: message.record.message_id.as_deref(),
                envid: message.record.envelope.parameters.envid.as_deref(),
                deliver_by: message.record.deliver_by().map(|(at, _)| at),
                header,
                whole: comes_back_whole(&message.record, &recipients, &body, settings.notice.full_max).then_some(&body[..]),
            };
            let hostname = settings.hostname.as_str();
            let from = &settings.notice.from;
            let text = Notice { id, now, hostname, from, original, recipients: &recipients }.to_message();
            match self.intake.take_notice(id, &message.facts, text, to).await {
                Ok(()) => return,
                // Said once: a full disk may keep many notices waiting for long.
                Err(refused) if !std::mem::replace(&mut waits, true) => {
                    tracing::warn!(message = %message.record.id, why = refused.answer.text, "a failure notice waits to be stored");
                }
                Err(_) => {}
            }
            tokio::time::sleep(NOTICE_RETRY).await;
        }
    }

    async fn body_of(&self, seq: u64, message: &Message) -> Bytes {
        if message.body.is_empty() {
            let spool = self.intake.spool.clone();
            let read = tokio::task::spawn_blocking(move || spool.body(seq)).await;
            read.ok().and_then(Result::ok).flatten().unwrap_or_default()
        } else {
            message.body.concat().into()
        }
    }
}

/// A message that was taken for good from a user of this machine, although it is no message that the relay can send.
pub(crate) struct Unsendable<'a> {
    /// The id that it would have had.
    pub(crate) id: MessageId,
    pub(crate) sender: &'a ReversePath,
    pub(crate) recipients: &'a [Address],
    pub(crate) data: &'a [u8],
    /// Why.
    pub(crate) reply: Reply,
}

impl NotifySettings {
    /// Stores a failure notice to the sender of such a message. False: there is nobody to tell, or no notices are sent.
    pub(crate) async fn give_back(&self, message: &Unsendable<'_>, intake: &Intake, now: Timestamp) -> Result<bool, Refused> {
        let ReversePath::Mailbox(to) = message.sender else { return Ok(false) };
        if !self.notice.send {
            return Ok(false);
        }
        let recipient = |rcpt: &Address| NoticeRecipient {
            rcpt: rcpt.clone(),
            orcpt: None,
            failure: Some(Failure::Refused { stage: Stage::Dot, reply: message.reply.clone() }),
            class: Class::ProtocolError,
            mx_host: None,
            attempts: 1,
            earlier: None,
            last_attempt: Some(now),
            retry_until: None,
            ending: Ending::Bounced,
        };
        let recipients: Vec<NoticeRecipient> = message.recipients.iter().map(recipient).collect();
        let original = Original {
            id: message.id,
            reverse_path: to,
            arrived: message.id.time(),
            message_id: None,
            envid: None,
            deliver_by: None,
            header: header_block(message.data),
            whole: None,
        };
        let id = MessageId::new(now, rand::random());
        let (hostname, from) = (self.hostname.as_str(), &self.notice.from);
        let text = Notice { id, now, hostname, from, original, recipients: &recipients }.to_message();
        intake.take_own(id, &intake.usual_stream(), None, text, to).await.map(|()| true)
    }
}

fn notice_recipient(settings: &NotifySettings, record: &FateRecord, message: &Message, fate: &Fate) -> Option<NoticeRecipient> {
    let ending = ending(record, &message.record, fate, settings.notice.delay)?;
    let expire = settings.expire.get(&message.record.stream).copied().unwrap_or(settings.rest_expire);
    let (failure, class) = match &fate.said {
        Some(AttemptResult::Failed(failure, verdict) | AttemptResult::Unknown(failure, verdict)) => (Some(failure.clone()), verdict.class),
        Some(AttemptResult::Delivered(_)) | None => (None, Class::TransientOther),
        Some(AttemptResult::Suppressed(_)) => return None,
    };
    Some(NoticeRecipient {
        rcpt: message.record.envelope.recipients[usize::from(fate.rcpt)].clone(),
        orcpt: message.record.envelope.parameters.rcpt(usize::from(fate.rcpt)).and_then(|parameters| parameters.orcpt.clone()),
        failure,
        class,
        mx_host: fate.facts.as_ref().unwrap_or(&record.facts).mx_host.clone(),
        attempts: fate.attempt,
        earlier: fate.earlier.as_deref().cloned(),
        last_attempt: Some(record.now),
        retry_until: begins(record, &message.record).checked_add(expire).ok(),
        ending,
    })
}

/// From when a message's age counts: what the guard held is tried for its whole time after its release.
fn begins(record: &FateRecord, message: &MessageRecord) -> Timestamp {
    let released = record.after.as_ref().and_then(|after| after.begins).and_then(|at| Timestamp::from_millisecond(at).ok());
    released.unwrap_or_else(|| message.begins())
}

/// What a notice says about a fate; None: the sender gets no notice of it (RFC 3461 §5.2).
fn ending(record: &FateRecord, message: &MessageRecord, fate: &Fate, delay: Option<Duration>) -> Option<Ending> {
    match fate.next {
        // A sender that set its own deadline (BY) is told when that has passed.
        Next::Deferred(at) if message.tells_delay(fate.rcpt) && message.late_at().is_none() => {
            let late = begins(record, message).checked_add(delay?).ok()?;
            is_told_late(late, fate.was_due, at).then_some(Ending::Delayed)
        }
        Next::Late if message.tells_lateness(fate.rcpt) => Some(Ending::Delayed),
        Next::Bounced if message.tells_failure(fate.rcpt) => Some(Ending::Bounced),
        Next::Expired if message.tells_failure(fate.rcpt) => {
            let too_late = message.returned_at().is_some_and(|at| at <= record.now);
            Some(if too_late { Ending::TooLate } else { Ending::Expired })
        }
        // §5.2.2: where the receiver understands DSN, it has been told to give notice.
        Next::Delivered if message.tells_success(fate.rcpt) && !record.facts.dsn => Some(Ending::Relayed),
        // RFC 2852 §4.1.4: unless the sender wants no notice (NOTIFY=NEVER).
        Next::Delivered if !message.tells_nothing(fate.rcpt) => match message.deliver_by()? {
            (_, by) if by.otherwise == Otherwise::Notify && !record.facts.deliver_by => Some(Ending::Relayed),
            (_, by) => by.trace.then_some(Ending::Traced),
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
fn comes_back_whole(message: &MessageRecord, recipients: &[NoticeRecipient], body: &[u8], max: u64) -> bool {
    let failed = recipients.iter().any(NoticeRecipient::is_failed);
    failed
        && message.envelope.parameters.ret == Some(Ret::Full)
        && message.size <= max
        && !body.is_empty()
        && !message.utf8_header
        && !message.binary
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
