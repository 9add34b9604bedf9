//! `[retry]` and `[stream.NAME]`: when mail is tried again, and the kinds of mail that are kept apart.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use posthaste_findings::score::Traits;
use posthaste_governor::{Order, Priority, Shape};
use posthaste_mail::{Domain, Name};
use posthaste_queue::Retry;

use super::{
    reader::Table,
    reference::bounce_domain,
    reference::defined,
    source::Pool,
    value::{boolean, domain, duration, fraction, from_text, number, one_of, some, string, zero_is_none},
};

/// A kind of mail: receipts, newsletters, alarms.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Its retries.
    pub retry: Retry,
    /// Its share of a connection against other streams: 20 sends twice as fast as 10.
    pub priority: u32,
    /// The pool of sources that it is sent from.
    pub pool: Name,
    /// Whether it may use the budget that curves reserve for urgent mail.
    pub urgency: Priority,
    /// How long its mail may take before it is late, if the operator says so; see [`Self::aim`].
    pub aim: Option<Duration>,
    /// Which of the pool's sources is preferred: the coldest, the warmest, or the one furthest behind its weight.
    pub order: Order,
    /// The most recipients, over all its sources and to all receivers.
    pub shape: Shape,
    /// The domain that signs it in addition to the author's domain.
    pub dkim_domain: Option<Domain>,
    /// Whether it is forwarded mail, which is sealed (RFC 8617).
    pub arc: bool,
    /// Whether it is bulk mail, which has to offer to unsubscribe by one click (RFC 8058).
    pub bulk: bool,
    /// Whether its unsubscriptions, opens and clicks come back to the relay.
    pub tracks: bool,
    /// The domain of its reverse-paths; None: `returns.domain`; `Some(None)`: none.
    pub bounce_domain: Option<Option<Domain>>,
}

pub(super) fn read_retry(t: &Table<'_>) -> Retry {
    let retry = Retry {
        schedule: t.get("schedule", some(duration(STEP))),
        jitter: t.get("jitter", fraction(JITTER)),
        expire: t.get("expire", duration(EXPIRE)),
    };
    hold_together(&retry, t);
    retry
}

fn read_over(t: &Table<'_>, general: &Retry) -> Retry {
    let retry = Retry {
        schedule: t.given("schedule", some(duration(STEP))).unwrap_or_else(|| general.schedule.clone()),
        jitter: t.given("jitter", fraction(JITTER)).unwrap_or(general.jitter),
        expire: t.given("expire", duration(EXPIRE)).unwrap_or(general.expire),
    };
    if retry != *general {
        hold_together(&retry, t);
    }
    retry
}

fn hold_together(retry: &Retry, t: &Table<'_>) {
    if retry.schedule.first().is_some_and(|first| *first >= retry.expire) {
        t.object_to(&["expire", "schedule"], "expire must be longer than the schedule's first wait: nothing would be tried twice");
    }
}

impl Stream {
    /// All streams. `default` is among them even if the operator defines only others.
    pub(super) fn read_all(root: &Table<'_>, retry: &Retry, pools: &BTreeMap<Name, Pool>) -> BTreeMap<Name, Self> {
        root.named("stream", true, |t, _| Self::read(t, retry, pools))
    }

    fn read(t: &Table<'_>, retry: &Retry, pools: &BTreeMap<Name, Pool>) -> Self {
        let retry = read_over(t, retry);
        let orders = [("even", Order::Weight), ("first", Order::ColdFirst), ("last", Order::WarmFirst)];
        let most = |key| t.get(key, zero_is_none(number(1..=MOST))).and_then(NonZeroU32::new);
        let bounce_domain = t.given("bounce_domain", |item| match string(item)? {
            "none" => Ok(None),
            _ => bounce_domain(item).map(Some),
        });
        let stream = Self {
            retry,
            priority: t.get("priority", number(1..=1000)),
            pool: t.get("pool", from_text::<Name>),
            urgency: t.get("urgency", one_of(&[("usual", Priority::Usual), ("urgent", Priority::Urgent)])),
            order: t.get("cold", one_of(&orders)),
            shape: Shape { second: most("per_second"), minute: most("per_minute"), hour: most("per_hour"), day: most("per_day") },
            aim: t.given("aim", duration(AIM)),
            dkim_domain: t.given("dkim_domain", domain),
            arc: t.get("arc", boolean),
            bulk: t.get("bulk", boolean),
            tracks: t.get("tracks", boolean),
            bounce_domain,
        };
        defined(t, "pool", &stream.pool, pools);
        stream
    }

    /// Which of these streams are bulk mail, and which track.
    pub(super) fn traits(streams: &BTreeMap<Name, Self>) -> Traits {
        let with = |has: fn(&Self) -> bool| streams.iter().filter(|(_, stream)| has(stream)).map(|(name, _)| name.to_string()).collect();
        Traits { bulk: with(|stream| stream.bulk), tracking: with(|stream| stream.tracks) }
    }

    /// How long its mail may take, from acceptance to delivery, before it is late.
    pub fn aim(&self) -> Duration {
        let usual = match self.urgency {
            Priority::Urgent => Duration::from_secs(10 * 60),
            Priority::Usual => Duration::from_hours(4),
        };
        self.aim.unwrap_or(usual)
    }
}

const AIM: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);

const STEP: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(48);
/// Recipients in one of the windows of [`Shape`].
const MOST: u32 = 1_000_000_000;
const JITTER: std::ops::RangeInclusive<f64> = 0.0..=0.5;
const EXPIRE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
