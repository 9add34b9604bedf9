//! Events for tests: one of each kind, with all fields and with as few as possible.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_mail::{
    Action, Attempt, BudgetFacts, Class, EnhancedCode, Event, EventId, GapFacts, IncidentFacts, LaneFacts, MessageFacts, MessageId, Name,
    OtherHost, RecipientFacts, Reply, Returned, ReturnedBounce, SCHEMA_VERSION, Scope, Stage, TlsFacts, TransferPriority, What,
};

/// 2026-08-24T10:00:00Z plus this many seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_787_565_600 + seconds).unwrap()
}

pub(crate) fn message_id(n: u128) -> MessageId {
    MessageId::new(at(0), n)
}

pub(crate) fn event(seconds: i64, what: What) -> Event {
    let id = EventId::new(at(seconds), u128::from(rand_like(seconds, what.name())));
    Event { time: at(seconds), v: SCHEMA_VERSION, id, node: Name::new("mx1").unwrap(), what }
}

fn rand_like(seconds: i64, name: &str) -> u64 {
    name.bytes().fold(seconds.unsigned_abs(), |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()))
}

/// Facts about a message that was accepted at [`at`]`(0)`.
pub(crate) fn about(message: MessageId, rcpt: &str, full: bool) -> RecipientFacts {
    let facts = MessageFacts {
        message,
        message_id: full.then(|| "<a@x.org>".into()),
        stream: Name::new("receipts").unwrap(),
        user: full.then(|| "app".into()),
        from_domain: full.then(|| "x.org".into()),
        dkim: full.then_some("aligned"),
        one_click: full,
        hold_ms: full.then_some(60_000),
        tags: if full { Arc::from([Arc::from("may"), Arc::from("press \"x\"")]) } else { Arc::from([]) },
        meta: if full { Arc::from([Arc::from("order=press \"x\"")]) } else { Arc::from([]) },
        from: if full { "bounce@x.org".into() } else { "".into() },
        size: 10_240,
    };
    let domain = rcpt.rsplit('@').next().unwrap().into();
    RecipientFacts { message: Arc::new(facts), rcpt: rcpt.into(), domain, age_ms: 81_233 }
}

pub(crate) fn accepted(message: MessageId, rcpt: &str, spool_seq: u64) -> What {
    What::Accepted {
        about: about(message, rcpt, true),
        client_ip: Some("127.0.0.1".parse().unwrap()),
        client_ehlo: Some("app.x.org".into()),
        priority: TransferPriority::default(),
        spool_seq,
        notice_of: None,
        recovered: false,
    }
}

pub(crate) fn delivered(message: MessageId, rcpt: &str) -> What {
    let reply = Some(Reply::new(250, "2.0.0 ok 1787565600 h9-20020a05 - gsmtp"));
    What::Delivered { about: about(message, rcpt, true), attempt: Attempt { reply, class: None, action: None, cause: None, ..attempt(2) } }
}

pub(crate) fn deferred(message: MessageId, rcpt: &str) -> What {
    What::Deferred { about: about(message, rcpt, true), attempt: attempt(1), retry_at: at(300) }
}

/// An attempt with every field.
pub(crate) fn attempt(n: u32) -> Attempt {
    Attempt {
        dsn: false,
        deliver_by: false,
        provider: Name::new("google").ok(),
        source: Name::new("ip1").ok(),
        lane_day: "2026-08-24".parse().ok(),
        source_ip: "192.0.2.1".parse().ok(),
        mx_host: Some("gmail-smtp-in.l.google.com".into()),
        mx_ip: "2001:db8::1b".parse().ok(),
        attempt: n,
        not_tried: true,
        reply: Some(Reply::new(
            421,
            "4.7.28 Our system has detected an unusual rate of\n4.7.28 unsolicited mail \"from\" your IP \u{1b}[31m",
        )),
        smtp_stage: Some(Stage::Dot),
        cause: Some("connection_lost"),
        detail: Some("closed by the other side".into()),
        class: Some(Class::RateLimited),
        action: Some(Action::SlowDown),
        rule: Some("google-421-4.7.28".into()),
        ambiguous: true,
        other_hosts: vec![OtherHost {
            mx_host: Some("alt1.gmail-smtp-in.l.google.com".into()),
            mx_ip: "2001:db8::1c".parse().ok(),
            lane_day: "2026-08-24".parse().ok(),
            reply: Some(Reply::new(421, "4.3.2 not now")),
            smtp_stage: Stage::Mail,
            cause: Some("connection_lost"),
            detail: Some("closed by the other side".into()),
            class: Class::TransientOther,
            action: Action::Retry,
        }],
        spf: Some("pass"),
        dmarc: Some("reject"),
        tls: TlsFacts {
            tls_version: Some("TLSv1.3"),
            tls_cipher: Some("TLS13_AES_256_GCM_SHA384"),
            tls_policy: Some("opportunistic"),
            tls_verified: Some(true),
            tls_fallback: Some("handshake failure".into()),
        },
        dns_ms: Some(3),
        connect_ms: Some(21),
        tls_ms: Some(30),
        envelope_ms: Some(40),
        body_ms: Some(95),
        session: Some("01K3SESSION".into()),
    }
}

/// A lane that advanced; with every field, whether or not the values fit together.
fn lane(full: bool) -> LaneFacts {
    let number = |n: u32| full.then_some(n);
    LaneFacts {
        source: Name::new("ip1").unwrap(),
        provider: Name::new("google").unwrap(),
        curve: "standard".into(),
        change: "advanced",
        day: full.then(|| "2026-08-23".into()),
        stage_from: full.then(|| "3".into()),
        stage_to: full.then(|| "4".into()),
        cap: number(150),
        next_cap: number(225),
        spent: number(150),
        taken: number(147),
        hard_bounces: number(2),
        throttled: number(1),
        complaints: number(0),
        per_hour: number(20),
        connections: number(2),
        until: full.then(|| at(900)),
        detail: "it used its cap in good health".into(),
    }
}

fn returned(full: bool) -> Returned {
    Returned {
        provider: if full { Name::new("google").ok() } else { None },
        source: if full { Name::new("ip1").ok() } else { None },
        matched_by: "verp",
        trust: "proof",
        why: full.then_some("network"),
        client_ip: full.then(|| "2001:db8::7".parse().unwrap()),
        again: full,
        names: full.then(|| "b@inside.gmail.com".into()),
        reporting_mta: full.then(|| "mx.google.com".into()),
    }
}

fn bounce(full: bool) -> ReturnedBounce {
    ReturnedBounce {
        status: full.then(|| EnhancedCode::new(5, 1, 1)),
        detail: full.then(|| "550 5.1.1 The account \"b\"\ndoes not exist \u{1b}[31m".into()),
        remote_mta: full.then(|| "mx2.inside.gmail.com".into()),
        class: Class::InvalidRecipient,
        scope: Scope::Recipient,
        action: Action::Suppress,
        rule: "google-550-5.1.1".into(),
        confidence: 0.9375,
    }
}

/// A file that was deleted an hour after its first line.
pub(crate) fn gap(full: bool) -> GapFacts {
    GapFacts {
        cause: "deleted",
        file: full.then(|| "00c0ffee00c0ffee".into()),
        since: full.then(|| at(-3600)),
        until: full.then(|| at(3600)),
        from_byte: 0,
        bytes: 623_000,
        lines: full.then_some(1000),
        accepted: full.then_some(500),
        ended: full.then_some(499),
        crc32: full.then_some(u32::MAX),
        detail: "delivery.log was deleted".into(),
    }
}

/// An incident that opened; with every field, whether or not the values fit together.
fn incident(full: bool) -> IncidentFacts {
    IncidentFacts {
        incident: "20260824T100112-1".into(),
        rule: "provider_refuses",
        key: "provider:google".into(),
        state: "opened",
        change: "opened",
        severity: "critical",
        n: 137,
        of: full.then_some(151),
        measure: "refused or put off for reputation or policy, of attempts in 15m".into(),
        limit: "10 %".into(),
        detail: "google refuses our mail or puts it off for reputation or policy: 137 of 151 (91 %) attempts in 15m.".into(),
        problem_of: "ours",
        done: "ip1 sends nothing there until 11:00 UTC.".into(),
        next_step: "Read what google says.".into(),
        query: "posthaste log --provider google --since 2026-08-24T09:45:00Z".into(),
        since: at(72),
        by: full.then(|| "uid 1000".into()),
        reason: full.then(|| "we know".into()),
        until: full.then(|| at(3600)),
    }
}

/// One event of each kind.
pub(crate) fn each(full: bool) -> Vec<Event> {
    let about = || about(message_id(1), "b@gmail.com", full);
    let attempt = || if full { attempt(2) } else { Attempt { attempt: 1, ..Attempt::default() } };
    let text = |text: &str| full.then(|| text.to_owned());
    let kinds = [
        What::Accepted {
            about: about(),
            client_ip: full.then(|| "127.0.0.1".parse().unwrap()),
            client_ehlo: full.then(|| "app.x.org".into()),
            priority: if full { TransferPriority::new(-3).unwrap() } else { TransferPriority::default() },
            spool_seq: 17,
            notice_of: full.then(|| message_id(2)),
            recovered: full,
        },
        What::Rejected {
            client_ip: "2001:db8::7".parse().unwrap(),
            client_ehlo: text("app.x.org"),
            user: text("app"),
            command: "rcpt".into(),
            from: text("bounce@x.org"),
            rcpt: text("b@gmail.com"),
            reply: Reply::new(550, if full { "5.7.1 not you\nnor anybody" } else { "not you" }),
            reason: "not_allowed".into(),
        },
        What::Held {
            about: about(),
            reason: if full { "day_cap".into() } else { "operator".into() },
            until: full.then(|| at(600)),
            detail: None,
            budget: full.then(|| BudgetFacts {
                source: Name::new("ip1").ok(),
                provider: Name::new("google").ok(),
                cap: Some(500),
                used: Some(500),
                next_release: Some(at(540)),
                detail: "ip1 at google: the day's 500 are used".into(),
            }),
        },
        What::Released { about: about(), by: "uid 1000".into() },
        What::Deferred { about: about(), attempt: attempt(), retry_at: at(300) },
        What::Delivered { about: about(), attempt: attempt() },
        What::Bounced { about: about(), attempt: attempt() },
        What::Expired { about: about(), attempt: attempt() },
        What::Suppressed { about: about(), reason: "hard_bounce".into(), scope: "global".into(), since: at(-3600) },
        What::Cancelled { about: about(), by: "uid 1000".into(), reason: "sent by mistake".into() },
        What::LateBounced { about: about(), returned: returned(full), bounce: bounce(full) },
        What::Complained { about: about(), returned: returned(full), feedback_type: full.then(|| "abuse".into()) },
        What::Unsubscribed { about: about(), returned: returned(full) },
        What::AutoReply { about: about(), returned: returned(full) },
        What::Delayed { about: about(), returned: returned(full) },
        What::NoReport { about: about(), returned: returned(full), kind: "mail".into() },
        What::Unmatched {
            client_ip: full.then(|| "2001:db8::7".parse().unwrap()),
            rcpt: full.then(|| "postmaster@bounce.x.org".into()),
            kind: "bounce".into(),
            reason: "no_hint".into(),
        },
        What::Lane(Box::new(lane(full))),
        What::Relay {
            state: "started".into(),
            part: full.then(|| "spool".into()),
            alarm: full.then_some(3),
            detail: "0.1.0, 17 queued".into(),
        },
        What::LogGap(Box::new(gap(full))),
        What::Incident(Box::new(incident(full))),
    ];
    kinds.into_iter().map(|what| event(72, what)).collect()
}
