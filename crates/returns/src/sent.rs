//! Look-ups of sent messages in the delivery log, for reports that come after the message has left the spool.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::{Address, MessageFacts, MessageId, Name, RecipientFacts};
use posthaste_monitor::{Lines, LogError, LogRecord, LogText};

/// One recipient of a message that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct SentTo {
    /// The facts that every event of the message repeats.
    pub facts: Arc<MessageFacts>,
    /// The recipient.
    pub address: Address,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// The lane by which it was delivered, as far as that is known.
    pub lane: DeliveredBy,
}

/// The lane by which a message was delivered, for whose health a later report counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveredBy {
    /// The provider that accepted it.
    pub provider: Option<Name>,
    /// The source that it left from.
    pub source: Option<Name>,
}

impl PartialEq for SentTo {
    fn eq(&self, other: &Self) -> bool {
        self.facts.message == other.facts.message && self.address == other.address
    }
}

impl SentTo {
    /// The facts of an event at `now`.
    pub(crate) fn about(&self, now: Timestamp) -> RecipientFacts {
        RecipientFacts {
            message: self.facts.clone(),
            rcpt: self.address.as_str().into(),
            domain: self.address.domain().into(),
            age_ms: u64::try_from(now.duration_since(self.accepted).as_millis()).unwrap_or(0),
        }
    }
}

/// A source of knowledge about sent messages.
pub(crate) trait Sent {
    /// The recipient of a message for which `is_it` is true.
    fn recipient(&self, message: MessageId, is_it: &dyn Fn(&Address) -> bool) -> Option<SentTo> {
        self.recipients(message).into_iter().find(|sent| is_it(&sent.address))
    }
    /// The recipients of a message.
    fn recipients(&self, message: MessageId) -> Vec<SentTo>;
    /// The recipient among `named` to which a message with this Message-ID (without angle brackets) was sent.
    fn by_message_id(&self, message_id: &str, named: &[Address]) -> Option<SentTo>;
}

/// The delivery log. Its methods block on the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSent<'a> {
    /// Where the log is.
    pub dir: &'a Path,
    /// How far back the log is searched for a Message-ID that is not the relay's own, which reads all of that time. Zero: not at all.
    pub look_back: Duration,
    /// The current time.
    pub now: Timestamp,
}

/// The system's clock may have been set back while the message was under way.
const CLOCK_SLACK: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// An `accepted` line is written at once; after a crash, at the next start.
const ACCEPTED_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// A limit above the number of recipients of any message.
const RECIPIENTS_MAX: usize = 100_000;

impl Sent for LogSent<'_> {
    /// Reads up to the recipient's `delivered` line.
    fn recipient(&self, message: MessageId, is_it: &dyn Fn(&Address) -> bool) -> Option<SentTo> {
        self.try_recipient(message, is_it).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look into the log for what was sent");
            None
        })
    }

    fn recipients(&self, message: MessageId) -> Vec<SentTo> {
        let text = message.to_string();
        // An id from the future belongs to no message, and must not make the relay read the whole log.
        if message.time() > self.now.saturating_add(CLOCK_SLACK).unwrap_or(Timestamp::MAX) {
            return Vec::new();
        }
        let since = message.time().saturating_sub(CLOCK_SLACK).unwrap_or(Timestamp::MIN);
        let until = message.time().saturating_add(ACCEPTED_WITHIN).unwrap_or(Timestamp::MAX);
        let is_it = |record: &LogRecord<'_>| record.message.as_deref() == Some(&text);
        self.seek(since, until, text.as_bytes(), RECIPIENTS_MAX, is_it)
    }

    fn by_message_id(&self, message_id: &str, named: &[Address]) -> Option<SentTo> {
        if self.look_back.is_zero() || message_id.is_empty() {
            return None;
        }
        let since = self.now.saturating_sub(jiff::SignedDuration::try_from(self.look_back).ok()?).ok()?;
        let wanted: Vec<String> = named.iter().map(Address::folded).collect();
        let is_it = |record: &LogRecord<'_>| {
            let id = record.message_id.as_deref().map(|id| id.trim_matches(['<', '>', ' ']));
            let rcpt = record.rcpt.as_deref().and_then(|r| Address::international(r).ok());
            id == Some(message_id) && rcpt.is_some_and(|r| wanted.contains(&r.folded()))
        };
        self.seek(since, Timestamp::MAX, message_id.as_bytes(), 1, is_it).pop()
    }
}

impl LogSent<'_> {
    fn seek(&self, since: Timestamp, until: Timestamp, needle: &[u8], most: usize, is_it: impl Fn(&LogRecord<'_>) -> bool) -> Vec<SentTo> {
        self.try_seek(since, until, needle, most, is_it).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look into the log for what was sent");
            Vec::new()
        })
    }

    fn try_recipient(&self, message: MessageId, is_it: &dyn Fn(&Address) -> bool) -> Result<Option<SentTo>, LogError> {
        let text = message.to_string();
        let finder = memmem::Finder::new(text.as_bytes());
        let mut lines = Lines::near(self.dir, message.time().saturating_sub(CLOCK_SLACK).unwrap_or(Timestamp::MIN))?;
        let mut found: Option<SentTo> = None;
        while let Some(line) = lines.next_line()? {
            let record = finder.find(line.bytes).and_then(|_| LogRecord::parse(line.bytes)).filter(|s| s.message.as_deref() == Some(&text));
            let Some(record) = record else { continue };
            match (&*record.event, &mut found) {
                ("accepted", None) => found = read(&record).filter(|sent| is_it(&sent.address)),
                ("delivered", Some(sent)) if record.rcpt.as_deref() == Some(sent.address.as_str()) => {
                    sent.lane = lane(&record);
                    break;
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn try_seek(
        &self,
        since: Timestamp,
        until: Timestamp,
        needle: &[u8],
        most: usize,
        is_it: impl Fn(&LogRecord<'_>) -> bool,
    ) -> Result<Vec<SentTo>, LogError> {
        let (finder, accepted) = (memmem::Finder::new(needle), memmem::Finder::new(b"\"event\":\"accepted\""));
        let mut found = Vec::new();
        let mut lines = Lines::near(self.dir, since)?;
        let mut looked = 0u32;
        while let Some(line) = lines.next_line()? {
            looked += 1;
            // Lines are in the order of time, so it is enough to look at the time of one now and then.
            if looked.is_multiple_of(TIME_EVERY) && LogRecord::parse(line.bytes).and_then(|s| s.time()).is_some_and(|t| t > until) {
                break;
            }
            if finder.find(line.bytes).is_none() || accepted.find(line.bytes).is_none() {
                continue;
            }
            if let Some(record) = LogRecord::parse(line.bytes).filter(|s| &*s.event == "accepted" && is_it(s)) {
                found.extend(read(&record));
            }
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }
}

/// The time is read from one line in so many.
const TIME_EVERY: u32 = 4096;

/// The recipient that a line is about.
pub(super) fn read(record: &LogRecord<'_>) -> Option<SentTo> {
    let facts = MessageFacts {
        message: record.message()?,
        message_id: record.message_id.as_deref().map(Arc::from),
        stream: Name::new(record.stream.as_deref()?).ok()?,
        tags: record.tags.iter().map(|t| Arc::from(&**t)).collect(),
        meta: record.meta.iter().map(|fact| Arc::from(&**fact)).collect(),
        from: record.from.as_deref().unwrap_or_default().into(),
        size: record.size.unwrap_or(0),
    };
    let time = record.time()?;
    let address = Address::international(record.rcpt.as_deref()?).ok()?;
    Some(SentTo { accepted: facts.message.time().min(time), facts: Arc::new(facts), address, lane: lane(record) })
}

fn lane(record: &LogRecord<'_>) -> DeliveredBy {
    let name = |field: &Option<LogText<'_>>| field.as_deref().and_then(|n| Name::new(n).ok());
    DeliveredBy { provider: name(&record.provider), source: name(&record.source) }
}

#[cfg(test)]
mod tests {
    use posthaste_mail::{Attempt, Event, EventId, SCHEMA_VERSION, What};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn sent(n: u128, rcpt: &str) -> SentTo {
        let facts = MessageFacts {
            message: MessageId::new(at(0), n),
            message_id: Some("<offer-1@shop.example>".into()),
            stream: Name::new("news").unwrap(),
            tags: ["may".into()].into(),
            meta: ["order=7".into()].into(),
            from: "shop@shop.example".into(),
            size: 1000,
        };
        SentTo { facts: Arc::new(facts), address: Address::new(rcpt).unwrap(), accepted: at(0), lane: DeliveredBy::default() }
    }

    fn line(n: u128, what: What) -> String {
        let event = Event { time: at(0), v: SCHEMA_VERSION, id: EventId::new(at(0), n), node: Name::new("mx1").unwrap(), what };
        serde_json::to_string(&event).unwrap() + "\n"
    }

    fn accepted(n: u128, rcpt: &str) -> String {
        let about = sent(n, rcpt).about(at(0));
        line(
            n,
            What::Accepted {
                about,
                client_ip: None,
                client_ehlo: None,
                user: None,
                priority: posthaste_mail::TransferPriority::default(),
                spool_seq: 1,
                notice_of: None,
                recovered: false,
            },
        )
    }

    #[test]
    fn the_log_knows_who_was_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let cancelled =
            line(1, What::Cancelled { about: sent(1, "c@x.org").about(at(1)), by: "ann".into(), reason: "\"event\":\"accepted\"".into() });
        let attempt = Attempt { provider: Name::new("x.org").ok(), source: Name::new("ip2").ok(), attempt: 1, ..Attempt::default() };
        let delivered = line(1, What::Delivered { about: sent(1, "B@x.org").about(at(2)), attempt });
        let text = accepted(1, "a@x.org") + &accepted(2, "b@x.org") + &cancelled + &accepted(1, "B@x.org") + &delivered;
        std::fs::write(dir.path().join(posthaste_monitor::CURRENT), text).unwrap();
        let log = LogSent { dir: dir.path(), look_back: Duration::from_secs(86_400), now: at(60) };
        let found = log.recipients(MessageId::new(at(0), 1));
        assert_eq!(found, [sent(1, "a@x.org"), sent(1, "B@x.org")]);
        let about = found[0].about(at(5));
        assert_eq!((about.age_ms, about.message.stream.as_str(), &*about.message.tags), (5000, "news", &["may".into()][..]));
        let one = |n, rcpt: &str| log.recipient(MessageId::new(at(0), n), &|a| a.as_str() == rcpt);
        assert_eq!(
            one(1, "B@x.org").map(|s| s.lane),
            Some(DeliveredBy { provider: Name::new("x.org").ok(), source: Name::new("ip2").ok() })
        );
        assert_eq!(one(1, "a@x.org").map(|s| s.lane), Some(DeliveredBy::default()));
        assert_eq!((one(1, "b@x.org"), one(3, "a@x.org")), (None, None));
        assert_eq!(log.recipients(MessageId::new(at(0), 3)), []);
        let b = [Address::new("b@X.org").unwrap()];
        assert_eq!(log.by_message_id("offer-1@shop.example", &b), Some(sent(2, "b@x.org")));
        assert_eq!(log.by_message_id("offer-2@shop.example", &b), None);
        assert_eq!(LogSent { look_back: Duration::ZERO, ..log }.by_message_id("offer-1@shop.example", &b), None);
    }
}
