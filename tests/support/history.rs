//! What happened before a relay was started: lines of its delivery log, written by the log's own writer.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_mail::{
    Action, Attempt, Class, Event, EventId, MessageFacts, MessageId, Name, RecipientFacts, Reply, SCHEMA_VERSION, TlsFacts,
    TransferPriority, What,
};
use posthaste_monitor::{EventLog, LogOptions};

use crate::relay::Relay;

/// A log that is being written.
pub struct History {
    log: EventLog<()>,
    number: u128,
}

/// Messages of the past, one recipient each.
#[derive(Clone, Copy, Debug)]
pub struct Past<'p> {
    /// Their stream.
    pub stream: &'p str,
    /// Their recipients' domain, which is the provider too.
    pub domain: &'p str,
    /// Whether they went under TLS.
    pub tls: bool,
}

impl Default for Past<'_> {
    fn default() -> Self {
        Self { stream: "default", domain: "example.test", tls: false }
    }
}

impl History {
    /// Begins the log of a relay that has not been started yet.
    pub fn begin(relay: &Relay) -> Self {
        let options = LogOptions::new(relay.dir().join("data/log"));
        let (log, _) = EventLog::open(options, || Timestamp::UNIX_EPOCH, |at, what| event(at, 0, what), |_, _| ()).expect("a new log");
        Self { log, number: 1 }
    }

    /// So many messages that were accepted and delivered at this time.
    pub fn delivered(&mut self, at: Timestamp, count: usize, past: Past<'_>) -> &mut Self {
        for _ in 0..count {
            let about = self.accepted(at, past);
            let tls = TlsFacts { tls_version: past.tls.then_some("TLSv1.3"), ..TlsFacts::default() };
            let attempt = Attempt { reply: Some(Reply::new(250, "2.0.0 ok")), tls, ..attempt(past) };
            self.line(at, What::Delivered { about, attempt });
        }
        self
    }

    /// So many messages that were accepted at this time and refused for the sender's reputation.
    pub fn refused(&mut self, at: Timestamp, count: usize, past: Past<'_>) -> &mut Self {
        for _ in 0..count {
            let about = self.accepted(at, past);
            let reply = Some(Reply::new(550, "5.7.1 Your IP address has a poor reputation"));
            let (class, action) = (Some(Class::IpReputation), Some(Action::PauseLane));
            self.line(at, What::Bounced { about, attempt: Attempt { reply, class, action, ..attempt(past) } });
        }
        self
    }

    /// Everything is on disk.
    pub fn end(&mut self) {
        self.log.close().expect("the log can be written");
    }

    fn accepted(&mut self, at: Timestamp, past: Past<'_>) -> RecipientFacts {
        self.number += 1;
        let facts = MessageFacts {
            message: MessageId::new(at, self.number),
            message_id: None,
            stream: Name::new(past.stream).expect("a stream's name"),
            user: None,
            from_domain: Some("sender.test".into()),
            dkim: None,
            one_click: false,
            hold_ms: None,
            tags: Arc::from([]),
            meta: Arc::from([]),
            from: "".into(),
            size: 1000,
        };
        let about = |age_ms| RecipientFacts {
            message: Arc::new(facts.clone()),
            rcpt: format!("p{}@{}", self.number, past.domain).into(),
            domain: past.domain.into(),
            age_ms,
        };
        let (accepted, ended) = (about(0), about(10));
        let client_ip = "127.0.0.1".parse().ok();
        let priority = TransferPriority::default();
        // No number of the new spool's.
        let (spool_seq, notice_of, recovered) = (0, None, false);
        self.line(at, What::Accepted { about: accepted, client_ip, client_ehlo: None, priority, spool_seq, notice_of, recovered });
        ended
    }

    /// Any other line.
    pub fn line(&mut self, at: Timestamp, what: What) {
        self.number += 1;
        self.log.append(event(at, self.number, what), None);
    }
}

fn attempt(past: Past<'_>) -> Attempt {
    Attempt { provider: Name::new(past.domain).ok(), source: Name::new("default").ok(), attempt: 1, ..Attempt::default() }
}

fn event(at: Timestamp, number: u128, what: What) -> Event {
    Event { time: at, v: SCHEMA_VERSION, id: EventId::new(at, number), node: Name::new("test").expect("a name"), what }
}
