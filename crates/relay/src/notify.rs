//! What senders are told of their mail: which fates are worth a notice, and the notice into the spool before the log says what it is about.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_dsn::{Ending, Notice, NoticeRecipient, NoticeRules, Original};
use posthaste_host::{InForce, clock};
use posthaste_mail::{Class, Domain, MessageId, Name, Otherwise, Ret, ReversePath};
use posthaste_message::{Message, header_block};
use posthaste_queue::{AttemptResult, Fate, FateRecord, Next};
use posthaste_submission::Intake;

/// How long a notice waits before the spool is asked again to take it.
const NOTICE_RETRY: Duration = Duration::from_secs(2);

/// What is in force of notices.
pub struct NotifySettings {
    /// Whether and how they are sent.
    pub notice: NoticeRules,
    /// The relay's name.
    hostname: Domain,
    /// How long each stream's mail is tried.
    expire: HashMap<Name, Duration>,
    /// The same for mail of other streams.
    rest_expire: Duration,
}

impl NotifySettings {
    /// As the configuration has it.
    pub fn new(config: &Config) -> Self {
        Self {
            notice: config.notice.clone(),
            hostname: config.hostname.clone(),
            expire: config.streams.iter().map(|(name, stream)| (name.clone(), stream.retry.expire)).collect(),
            rest_expire: config.default_stream().retry.expire,
        }
    }
}

/// Tells senders.
pub struct Notifier {
    /// What is in force.
    pub settings: InForce<NotifySettings>,
    /// Where notices go in.
    pub intake: Arc<Intake>,
}

impl Notifier {
    /// Whether the sender is told of any of a record's fates.
    pub fn is_worth_a_notice(&self, record: &FateRecord, letter: &Message) -> bool {
        let rules = &self.settings.get().notice;
        let tells = || record.fates.iter().any(|fate| ending(record, letter, fate, rules.delay).is_some());
        rules.send && !letter.meta.envelope.reverse_path.is_null() && tells()
    }

    /// Puts a failure notice for a record's fates into the spool; comes back only when it is there.
    pub async fn notify(&self, record: &FateRecord, letter: &Message) {
        loop {
            let settings = self.settings.get();
            let now = clock::now();
            let id = MessageId::new(now, rand::random());
            let body = self.body_of(record.seq, letter).await;
            let header = header_block(&body);
            let told: Vec<NoticeRecipient> = record.fates.iter().filter_map(|fate| told(&settings, record, letter, fate)).collect();
            let ReversePath::Mailbox(to) = &letter.meta.envelope.reverse_path else { return };
            let original = Original {
                id: letter.meta.id,
                reverse_path: to,
                arrived: letter.meta.arrived,
                message_id: letter.meta.message_id.as_deref(),
                envid: letter.meta.envelope.asks.envid.as_deref(),
                deliver_by: letter.meta.deliver_by().map(|(at, _)| at),
                header,
                whole: comes_back_whole(letter, &told, &body, settings.notice.full_max).then_some(&body[..]),
            };
            let hostname = settings.hostname.as_str();
            let from = &settings.notice.from;
            let text = Notice { id, now, hostname, from, original, told: &told }.to_message();
            match self.intake.take_notice(id, &letter.facts, text, to).await {
                Ok(()) => return,
                Err(refused) => tracing::warn!(message = %letter.meta.id, why = refused.answer.text, "a failure notice has to wait"),
            }
            tokio::time::sleep(NOTICE_RETRY).await;
        }
    }

    async fn body_of(&self, seq: u64, letter: &Message) -> Bytes {
        if letter.body.is_empty() {
            let spool = self.intake.spool.clone();
            let read = tokio::task::spawn_blocking(move || spool.body(seq)).await;
            read.ok().and_then(Result::ok).flatten().unwrap_or_default()
        } else {
            letter.body.concat().into()
        }
    }
}

fn told(settings: &NotifySettings, record: &FateRecord, letter: &Message, fate: &Fate) -> Option<NoticeRecipient> {
    let ending = ending(record, letter, fate, settings.notice.delay)?;
    let expire = settings.expire.get(&letter.meta.stream).copied().unwrap_or(settings.rest_expire);
    let (failure, class) = match &fate.said {
        Some(AttemptResult::Failed(failure, verdict) | AttemptResult::Unknown(failure, verdict)) => (Some(failure.clone()), verdict.class),
        Some(AttemptResult::Delivered(_)) | None => (None, Class::TransientOther),
        Some(AttemptResult::Suppressed(_)) => return None,
    };
    Some(NoticeRecipient {
        rcpt: letter.meta.envelope.recipients[usize::from(fate.rcpt)].clone(),
        orcpt: letter.meta.envelope.asks.rcpt(usize::from(fate.rcpt)).and_then(|asks| asks.orcpt.clone()),
        failure,
        class,
        mx_host: record.facts.mx_host.clone(),
        last_attempt: Some(record.now),
        retry_until: letter.meta.begins().checked_add(expire).ok(),
        ending,
    })
}

/// What the sender is told of a fate; None: nothing (RFC 3461 §5.2).
fn ending(record: &FateRecord, letter: &Message, fate: &Fate, delay: Option<Duration>) -> Option<Ending> {
    let meta = &letter.meta;
    match fate.next {
        // Who gave a time of its own hears when that is over.
        Next::Deferred(at) if meta.tells_delay(fate.rcpt) && meta.late_at().is_none() => {
            let late = meta.begins().checked_add(delay?).ok()?;
            is_told_late(late, fate.was_due, at).then_some(Ending::Delayed)
        }
        Next::Late if meta.tells_lateness(fate.rcpt) => Some(Ending::Delayed),
        Next::Bounced if meta.tells_failure(fate.rcpt) => Some(Ending::Bounced),
        Next::Expired if meta.tells_failure(fate.rcpt) => {
            let too_late = meta.returned_at().is_some_and(|at| at <= record.now);
            Some(if too_late { Ending::TooLate } else { Ending::Expired })
        }
        // §5.2.2: where the receiver understands DSN, it has been told to give notice.
        Next::Delivered if meta.tells_success(fate.rcpt) && !record.facts.dsn => Some(Ending::Relayed),
        // RFC 2852 §4.1.4: unless the sender wants to hear nothing.
        Next::Delivered if !meta.tells_nothing(fate.rcpt) => match meta.deliver_by()? {
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
fn comes_back_whole(letter: &Message, told: &[NoticeRecipient], body: &[u8], max: u64) -> bool {
    let meta = &letter.meta;
    let failed = told.iter().any(NoticeRecipient::is_failed);
    failed && meta.envelope.asks.ret == Some(Ret::Full) && meta.size <= max && !body.is_empty() && !meta.utf8_header && !meta.binary
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
