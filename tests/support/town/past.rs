//! The town's last ninety days, as lines of the relay's log: a little mail at first, much in the last week, by day more than by night.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use posthaste_mail::{
    Action, Attempt, Class, LaneFacts, MessageFacts, MessageId, Name, RecipientFacts, Reply, Returned, Stage, TlsFacts, TransferPriority,
    What,
};

use super::{APPLICATIONS, Application, PROVIDERS, pick};
use crate::{history::History, relay::Relay, scene::ago};

/// Microsoft to an address on its block list.
pub(super) const BLOCKED: &str = "550 5.7.1 Unfortunately, messages from [127.0.0.2] weren't sent. Please contact your Internet service provider since \
     part of their network is on our block list (S3140). You can also refer your provider to http://mail.live.com/mail/troubleshooting.aspx#errors.";
/// Yahoo to whoever sends more than usual.
pub(super) const SLOW_DOWN: &str = "421 4.7.0 [TSS04] Messages from 127.0.0.2 temporarily deferred due to unexpected volume or user complaints - \
     4.16.55.1; see https://postmaster.yahooinc.com/error-codes";
/// About a mailbox that is not there.
pub(super) const NO_SUCH_USER: &str = "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's \
     email address for typos or unnecessary spaces. - gsmtp";
const FULL: &str = "452 4.2.2 The recipient's inbox is out of storage space. - gsmtp";
pub(super) const GREYLISTED: &str = "451 4.7.1 Greylisting in action, please come back later";
const SPAM: &str = "554 5.7.1 Message rejected as spam by content scanning";

const DAYS: i64 = 90;
/// In the last week so many messages an hour, at most; before that, so many.
const BUSY: u64 = 100;
const QUIET: u64 = 6;
/// How long the present has been as it is.
const TROUBLE_MINUTES: i64 = 12;
/// What went to Microsoft in that time.
const REFUSED: i64 = 30;

/// A number that looks like chance, and is the same each time (splitmix64).
pub(super) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The local part of a reader's address.
pub(super) fn reader(number: u64) -> String {
    const NAMES: [&str; 12] = ["ada", "bela", "chloe", "dmitri", "esther", "finn", "grace", "hugo", "ines", "jonas", "katya", "luis"];
    let of = scatter(number);
    format!("{}.{}", NAMES[(of % 12) as usize], NAMES[(of / 12 % 12) as usize])
}

/// Writes all of it before the relay starts.
pub(super) fn write(relay: &Relay, now: Timestamp) {
    let mut past = Past { lines: Vec::new(), now, number: 0 };
    for hour in (1..=DAYS * 24).rev() {
        let begins = ago(now, hour * 60);
        for _ in 0..past.volume(hour) {
            let at = begins + SignedDuration::from_secs((past.chance() % 3590) as i64);
            past.message(at, None);
        }
    }
    for n in 0..REFUSED {
        past.message(now - SignedDuration::from_secs((n + 1) * TROUBLE_MINUTES * 60 / (REFUSED + 1)), Some(1));
    }
    past.lanes();
    past.lines.sort_by_key(|(at, _)| *at);
    let mut history = History::begin(relay);
    for (at, what) in past.lines {
        history.line(at, what);
    }
    history.end();
}

struct Past {
    lines: Vec<(Timestamp, What)>,
    now: Timestamp,
    number: u64,
}

impl Past {
    fn chance(&mut self) -> u64 {
        self.number += 1;
        scatter(self.number)
    }

    /// Messages in an hour: by day more than by night, at the weekend half. It is always a morning in the week when the present begins.
    fn volume(&mut self, hours_ago: i64) -> u64 {
        const BY_HOUR: [u64; 24] = [12, 9, 8, 8, 10, 18, 35, 60, 85, 100, 96, 90, 80, 86, 92, 88, 80, 74, 70, 66, 58, 44, 30, 18];
        let most = if hours_ago <= 8 * 24 { BUSY } else { QUIET };
        let share = BY_HOUR[usize::try_from((11 - hours_ago).rem_euclid(24)).expect("an hour of the day")];
        let half = if matches!((hours_ago + 12) / 24 % 7, 3 | 4) { 2 } else { 1 };
        (most * (share + self.chance() % 15) / 100 / half).max(1)
    }

    /// A message, to the provider with this number if one is given, and what became of it.
    fn message(&mut self, at: Timestamp, at_provider: Option<usize>) {
        let (application, provider) = (self.chance(), self.chance());
        let application = &APPLICATIONS[pick(application, APPLICATIONS.iter().map(|a| a.share))];
        let provider = &PROVIDERS[at_provider.unwrap_or_else(|| pick(provider, PROVIDERS.iter().map(|p| p.share)))];
        let luck = self.chance() % 1000;
        let name = if luck < 9 { format!("gone{}", self.number) } else { reader(self.number) };
        let facts = self.facts(application, at);
        let rcpt: Arc<str> = format!("{name}@{}", provider.domain).into();
        let about = |age_ms| RecipientFacts { message: facts.clone(), rcpt: rcpt.clone(), domain: provider.domain.into(), age_ms };
        let client_ip = "127.0.0.1".parse().ok();
        let (priority, spool_seq) = (TransferPriority::default(), 0);
        self.line(
            at,
            What::Accepted { about: about(0), client_ip, client_ehlo: None, priority, spool_seq, notice_of: None, recovered: false },
        );
        let took = 300 + self.chance() % 900 + if self.chance().is_multiple_of(20) { self.chance() % 30_000 } else { 0 };
        let attempt = |number, reply: &str, how| attempt(provider.name, number, reply, how, took);
        let answer = answer(provider.name, luck, at > ago(self.now, TROUBLE_MINUTES));
        if let Some((reply, how)) = answer.filter(|(reply, _)| reply.starts_with('5')) {
            return self.line(at + millis(took), What::Bounced { about: about(took), attempt: attempt(1, reply, Some(how)) });
        }
        let (mut number, mut age) = (1, took);
        if let Some((reply, how)) = answer {
            let retry_at = at + SignedDuration::from_mins(5);
            self.line(at + millis(age), What::Deferred { about: about(age), attempt: attempt(1, reply, Some(how)), retry_at });
            (number, age) = (2, age + 300_000);
        }
        self.line(at + millis(age), What::Delivered { about: about(age), attempt: attempt(number, "250 2.0.0 OK", None) });
        if application.stream == "news" && luck > 997 {
            let what = What::Complained { about: about(age), returned: by_feedback(provider.name), feedback_type: Some("abuse".into()) };
            self.line(at + SignedDuration::from_hours(2), what);
        }
    }

    fn facts(&mut self, application: &Application, at: Timestamp) -> Arc<MessageFacts> {
        Arc::new(MessageFacts {
            message: MessageId::new(at, u128::from(self.number)),
            message_id: Some(format!("<{}@{}>", self.number, application.from).into()),
            stream: Name::new(application.stream).expect("a stream's name"),
            user: Some(application.user.into()),
            from_domain: Some(application.from.into()),
            dkim: Some("aligned"),
            one_click: application.stream == "news",
            hold_ms: None,
            tags: Arc::from([Arc::from(format!("{}-autumn", application.user))]),
            meta: Arc::from([]),
            from: format!("hello@{}", application.from).into(),
            size: 4_000 + self.chance() % 40_000,
        })
    }

    /// What lanes did: Yahoo was slow yesterday and is again, Microsoft stopped the address.
    fn lanes(&mut self) {
        let mut lane = |provider: &str, minutes: i64, change: &'static str, lasts: Option<i64>, detail: &str| {
            let at = ago(self.now, minutes);
            let until = lasts.map(|lasts| at + SignedDuration::from_mins(lasts));
            let facts = LaneFacts {
                source: Name::new("warm").expect("a name"),
                provider: Name::new(provider).expect("a name"),
                curve: "none".into(),
                change,
                day: None,
                stage_from: None,
                stage_to: None,
                cap: None,
                next_cap: None,
                spent: None,
                taken: None,
                hard_bounces: None,
                throttled: None,
                complaints: None,
                per_hour: None,
                connections: None,
                until,
                detail: detail.into(),
            };
            self.lines.push((at, What::Lane(Box::new(facts))));
        };
        lane("yahoo", 20 * 60, "paused", Some(60), "Yahoo defers this address for unusual volume or complaints");
        lane("yahoo", 19 * 60, "resumed", None, "the pause is over");
        lane("yahoo", 40, "slowed", None, "Yahoo defers this address for unusual volume or complaints");
    }

    /// Nothing of the future is in the past.
    fn line(&mut self, at: Timestamp, what: What) {
        self.lines.push((at.min(self.now), what));
    }
}

/// What a refusal means.
type How = (Class, Action, &'static str);

/// What a provider says against a message; `None`: it takes it.
fn answer(provider: &str, luck: u64, troubled: bool) -> Option<(&'static str, How)> {
    Some(match (provider, luck) {
        ("microsoft", _) if troubled => (BLOCKED, (Class::IpReputation, Action::PauseLane, "microsoft.block-list")),
        (_, 0..9) => (NO_SUCH_USER, (Class::InvalidRecipient, Action::Suppress, "google.no-such-user")),
        (_, 9..13) => (SPAM, (Class::SpamContent, Action::FixMessage, "enhanced.refused")),
        ("yahoo", _) if troubled || luck > 950 => (SLOW_DOWN, (Class::RateLimited, Action::SlowDown, "yahoo.deferred-volume")),
        ("bakery.example", _) => (GREYLISTED, (Class::Greylisting, Action::Retry, "text.greylisted")),
        (_, 13..20) => (FULL, (Class::MailboxFull, Action::Retry, "google.over-quota")),
        _ => return None,
    })
}

/// How a feedback loop's report came back.
fn by_feedback(provider: &str) -> Returned {
    Returned {
        provider: Name::new(provider).ok(),
        source: Name::new("warm").ok(),
        matched_by: "feedback",
        trust: "hint",
        why: None,
        client_ip: None,
        again: false,
        names: None,
        reporting_mta: None,
    }
}

fn attempt(provider: &str, number: u32, reply: &str, how: Option<How>, took: u64) -> Attempt {
    let (code, text) = reply.split_once(' ').expect("a code and a text");
    let part = |share: u64| u32::try_from(took * share / 100).ok();
    Attempt {
        provider: Name::new(provider).ok(),
        source: Name::new("warm").ok(),
        source_ip: "127.0.0.2".parse().ok(),
        attempt: number,
        reply: Some(Reply::new(code.parse().expect("a code"), text)),
        smtp_stage: how.map(|_| Stage::Rcpt),
        class: how.map(|(class, ..)| class),
        action: how.map(|(_, action, _)| action),
        rule: how.map(|(.., rule)| rule.into()),
        spf: Some("pass"),
        dmarc: Some("reject"),
        tls: TlsFacts { tls_version: Some("TLSv1.3"), tls_policy: Some("opportunistic"), ..TlsFacts::default() },
        dns_ms: part(4),
        connect_ms: part(12),
        tls_ms: part(20),
        envelope_ms: part(24),
        body_ms: part(38),
        ..Attempt::default()
    }
}

fn millis(number: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(number).expect("some minutes"))
}
