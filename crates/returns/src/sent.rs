//! Look-ups of sent messages in the delivery log, for reports that come after the message has left the spool.

use std::{net::IpAddr, ops::ControlFlow, sync::Arc, time::Duration};

use jiff::Timestamp;
use posthaste_mail::{Address, MessageFacts, MessageId, Name, RecipientFacts};
use posthaste_monitor::{Key, LogRecord, LogText, Lookup};

/// One recipient of a message that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct SentTo {
    /// The facts that every event of the message repeats.
    pub facts: Arc<MessageFacts>,
    /// The recipient.
    pub address: Address,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// The lane by which it was delivered, as far as that is known.
    pub lane: DeliveredBy,
}

/// How a recipient of a message ended, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not yet, or the log does not tell.
    #[default]
    Open,
    /// A host took the message.
    Delivered,
    /// It bounced, expired, was suppressed or cancelled.
    Otherwise,
}

/// The lane by which a message was delivered, for whose health a later report counts, and the host that took it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveredBy {
    /// The provider that accepted it.
    pub provider: Option<Name>,
    /// The source that it left from.
    pub source: Option<Name>,
    /// The name of the host that took it.
    pub mx_host: Option<Arc<str>>,
    /// The address of that host.
    pub mx_ip: Option<IpAddr>,
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

/// The delivery log. Its methods block on the disk. Each goes by the index: what a look-up costs depends on the lines of its own message alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSent<'a> {
    /// The log's files.
    pub log: &'a Lookup,
    /// How long ago a message with a Message-ID that is not the relay's own may have been accepted. Zero: it is not looked for.
    pub look_back: Duration,
    /// The current time.
    pub now: Timestamp,
}

/// A limit above the number of recipients of any message.
const RECIPIENTS_MAX: usize = 100_000;

impl Sent for LogSent<'_> {
    /// Reads up to the recipient's ending.
    fn recipient(&self, message: MessageId, is_it: &dyn Fn(&Address) -> bool) -> Option<SentTo> {
        let (text, mut found) = (message.to_string(), None::<SentTo>);
        self.look(&Key::message(message), |record| {
            if record.message.as_deref() != Some(&text) {
                return ControlFlow::Continue(());
            }
            match (&*record.event, &mut found) {
                ("accepted", None) => found = read(record).filter(|sent| is_it(&sent.address)),
                (event, Some(sent)) if record.is_ending() && record.rcpt.as_deref() == Some(sent.address.as_str()) => {
                    sent.ending = if event == "delivered" { Ending::Delivered } else { Ending::Otherwise };
                    sent.lane = lane(record);
                    return ControlFlow::Break(());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        found
    }

    fn recipients(&self, message: MessageId) -> Vec<SentTo> {
        let text = message.to_string();
        self.accepted(&Key::message(message), RECIPIENTS_MAX, |record| record.message.as_deref() == Some(&text))
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
            let recent = record.time().is_some_and(|time| time >= since);
            recent && id == Some(message_id) && rcpt.is_some_and(|r| wanted.contains(&r.folded()))
        };
        self.accepted(&Key::message_id(message_id), 1, is_it).pop()
    }
}

impl LogSent<'_> {
    /// The recipients of the `accepted` lines for which `is_it` is true, at most so many.
    fn accepted(&self, key: &Key, most: usize, is_it: impl Fn(&LogRecord<'_>) -> bool) -> Vec<SentTo> {
        let mut found = Vec::new();
        self.look(key, |record| {
            if &*record.event == "accepted" && is_it(record) {
                found.extend(read(record));
            }
            if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        found
    }

    fn look(&self, key: &Key, mut look: impl FnMut(&LogRecord<'_>) -> ControlFlow<()>) {
        let shown = self.log.lines(key, |line| LogRecord::parse(line).map_or(ControlFlow::Continue(()), |record| look(&record)));
        if let Err(error) = shown {
            tracing::warn!(%error, "cannot look into the log for what was sent");
        }
    }
}

/// The recipient that a line is about.
pub(super) fn read(record: &LogRecord<'_>) -> Option<SentTo> {
    let facts = MessageFacts {
        message: record.message()?,
        message_id: record.message_id.as_deref().map(Arc::from),
        stream: Name::new(record.stream.as_deref()?).ok()?,
        user: record.user.as_deref().map(Arc::from),
        from_domain: record.from_domain.as_deref().map(Arc::from),
        dkim: record.dkim.as_deref().map(|word| if word == "aligned" { "aligned" } else { "unaligned" }),
        one_click: record.one_click,
        hold_ms: record.hold_ms,
        tags: record.tags.iter().map(|t| Arc::from(&**t)).collect(),
        meta: record.meta.iter().map(|fact| Arc::from(&**fact)).collect(),
        from: record.from.as_deref().unwrap_or_default().into(),
        size: record.size.unwrap_or(0),
    };
    let time = record.time()?;
    let address = Address::international(record.rcpt.as_deref()?).ok()?;
    let (accepted, facts) = (facts.message.time().min(time), Arc::new(facts));
    Some(SentTo { accepted, facts, address, ending: Ending::Open, lane: lane(record) })
}

fn lane(record: &LogRecord<'_>) -> DeliveredBy {
    let name = |field: &Option<LogText<'_>>| field.as_deref().and_then(|n| Name::new(n).ok());
    DeliveredBy {
        provider: name(&record.provider),
        source: name(&record.source),
        mx_host: record.mx_host.as_deref().map(Arc::from),
        mx_ip: record.mx_ip.as_deref().and_then(|ip| ip.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use posthaste_mail::{Attempt, Event, EventId, SCHEMA_VERSION, What};
    use posthaste_monitor::MessageIndex;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn sent(n: u128, rcpt: &str) -> SentTo {
        let facts = MessageFacts {
            message: MessageId::new(at(0), n),
            message_id: Some("<offer-1@shop.example>".into()),
            stream: Name::new("news").unwrap(),
            user: None,
            from_domain: None,
            dkim: None,
            one_click: false,
            hold_ms: None,
            tags: ["may".into()].into(),
            meta: ["order=7".into()].into(),
            from: "shop@shop.example".into(),
            size: 1000,
        };
        SentTo {
            facts: Arc::new(facts),
            address: Address::new(rcpt).unwrap(),
            accepted: at(0),
            ending: Ending::Open,
            lane: DeliveredBy::default(),
        }
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
        let attempt = Attempt {
            provider: Name::new("x.org").ok(),
            source: Name::new("ip2").ok(),
            mx_host: Some("mx1.x.org".into()),
            mx_ip: "192.0.2.1".parse().ok(),
            attempt: 1,
            ..Attempt::default()
        };
        let delivered = line(1, What::Delivered { about: sent(1, "B@x.org").about(at(2)), attempt });
        let text =
            accepted(1, "a@x.org") + &accepted(2, "b@x.org") + &accepted(1, "c@x.org") + &cancelled + &accepted(1, "B@x.org") + &delivered;
        std::fs::write(dir.path().join(posthaste_monitor::CURRENT), text).unwrap();
        let lookup = MessageIndex::new(dir.path()).open().unwrap();
        let log = LogSent { log: &lookup, look_back: Duration::from_secs(86_400), now: at(60) };
        let found = log.recipients(MessageId::new(at(0), 1));
        assert_eq!(found, [sent(1, "a@x.org"), sent(1, "c@x.org"), sent(1, "B@x.org")]);
        let about = found[0].about(at(5));
        assert_eq!((about.age_ms, about.message.stream.as_str(), &*about.message.tags), (5000, "news", &["may".into()][..]));
        let one = |n, rcpt: &str| log.recipient(MessageId::new(at(0), n), &|a| a.as_str() == rcpt);
        assert_eq!(
            one(1, "B@x.org").map(|s| (s.ending, s.lane)),
            Some((
                Ending::Delivered,
                DeliveredBy {
                    provider: Name::new("x.org").ok(),
                    source: Name::new("ip2").ok(),
                    mx_host: Some("mx1.x.org".into()),
                    mx_ip: "192.0.2.1".parse().ok(),
                },
            ))
        );
        assert_eq!(one(1, "a@x.org").map(|s| (s.ending, s.lane)), Some((Ending::Open, DeliveredBy::default())));
        assert_eq!(one(1, "c@x.org").map(|s| s.ending), Some(Ending::Otherwise));
        assert_eq!((one(1, "b@x.org"), one(3, "a@x.org")), (None, None));
        assert_eq!(log.recipients(MessageId::new(at(0), 3)), []);
        let b = [Address::new("b@X.org").unwrap()];
        assert_eq!(log.by_message_id("offer-1@shop.example", &b), Some(sent(2, "b@x.org")));
        assert_eq!(log.by_message_id("offer-2@shop.example", &b), None);
        assert_eq!(LogSent { look_back: Duration::ZERO, ..log }.by_message_id("offer-1@shop.example", &b), None);
    }

    #[test]
    fn a_message_from_before_a_step_of_the_clock_is_found() {
        let dir = tempfile::tempdir().unwrap();
        // Days ahead, then set right: what follows is older than what is sought.
        let ahead = |n: u128, rcpt: &str| accepted(n, rcpt).replace(&at(0).to_string()[..10], "2031-01-01");
        let text = ahead(1, "a@x.org") + &(0..5000).map(|n| accepted(100 + n, "b@x.org")).collect::<String>();
        std::fs::write(dir.path().join(posthaste_monitor::CURRENT), text).unwrap();
        let lookup = MessageIndex::new(dir.path()).caught_up().unwrap();
        let log = LogSent { log: &lookup, look_back: Duration::ZERO, now: at(60) };
        let found = log.recipient(MessageId::new(at(0), 1), &|a| a.as_str() == "a@x.org");
        assert_eq!(found.map(|sent| sent.address.to_string()).as_deref(), Some("a@x.org"));
        assert_eq!(log.recipients(MessageId::new(at(0), 100 + 4999)).len(), 1);
    }
}
