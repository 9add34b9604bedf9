//! `[rules]`: when something is wrong enough to be found, and when an incident opens, is told again and closes.

use std::{ops::RangeInclusive, time::Duration};

use posthaste_findings::{
    RuleSettings, Severity,
    settings::{
        Authentication, Common, Complaints, House, IncidentSettings, Lane, Late, MailStands, ProviderRefuses, ReportsUnmatched,
        SenderLeaps, Silence, Tls, UnknownReplies, UnknownUsers,
    },
};
use posthaste_mail::Class;

use super::{
    reader::Table,
    value::{boolean, duration, fraction, number, one_of, some},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What the tallies' minutes are read for.
const MINUTES: RangeInclusive<Duration> = MINUTE..=HOUR;
/// What whole hours are read for.
const HOURS: RangeInclusive<Duration> = HOUR..=Duration::from_hours(7 * 24);
const SHARE: RangeInclusive<f64> = 0.000_001..=1.0;
const MINIMUM: RangeInclusive<u64> = 1..=1_000_000_000;
const TIMES: RangeInclusive<f64> = 1.0..=1000.0;

pub(super) fn read(t: &Table<'_>) -> RuleSettings {
    RuleSettings {
        incidents: IncidentSettings {
            every: t.get("every", duration(Duration::from_secs(1)..=MINUTE)),
            closed_after: t.get("closed_after", duration(MINUTE..=7 * DAY)),
            told_again: t.get("told_again", duration(MINUTE..=366 * DAY)),
            kept: t.get("kept", number(1..=100_000)),
        },
        provider_refuses: t.table("provider_refuses", provider_refuses),
        mail_stands: t.table("mail_stands", |t| MailStands { common: common(t), due: t.get("due", duration(MINUTES)) }),
        late: t.table("late", |t| Late {
            common: common(t),
            every: t.get("every", duration(MINUTES)),
            window: t.get("window", duration(MINUTES)),
            minimum: t.get("minimum", number(MINIMUM)),
            in_a_row: t.get("in_a_row", number(1..=1000)),
        }),
        complaints: t.table("complaints", complaints),
        unknown_users: t.table("unknown_users", unknown_users),
        sender_leaps: t.table("sender_leaps", |t| SenderLeaps {
            common: common(t),
            times: t.get("times", fraction(TIMES)),
            per_hour: t.get("per_hour", number(MINIMUM)),
            unknown_users: t.get("unknown_users", number(MINIMUM)),
        }),
        silence: t.table("silence", |t| Silence { common: common(t), days: t.get("days", number(1..=13)) }),
        lane: t.table("lane", |t| Lane { common: common(t), lasts: t.get("lasts", duration(HOUR..=31 * DAY)) }),
        authentication: t.table("authentication", |t| Authentication {
            common: common(t),
            share: t.get("share", fraction(SHARE)),
            minimum: t.get("minimum", number(MINIMUM)),
            keys_every: t.get("keys_every", duration(MINUTE..=DAY)),
        }),
        tls: t.table("tls", |t| Tls {
            common: common(t),
            drop: t.get("drop", fraction(SHARE)),
            minimum: t.get("minimum", number(MINIMUM)),
        }),
        unknown_replies: t.table("unknown_replies", |t| UnknownReplies {
            common: common(t),
            window: t.get("window", duration(HOURS)),
            share: t.get("share", fraction(SHARE)),
            minimum: t.get("minimum", number(MINIMUM)),
        }),
        reports_unmatched: t.table("reports_unmatched", |t| ReportsUnmatched {
            common: common(t),
            window: t.get("window", duration(HOURS)),
            share: t.get("share", fraction(SHARE)),
            minimum: t.get("minimum", number(MINIMUM)),
        }),
        house: t.table("house", house),
    }
}

const SEVERITIES: [(&str, Severity); 2] = [("warn", Severity::Warn), ("critical", Severity::Critical)];

fn common(t: &Table<'_>) -> Common {
    Common { severity: t.get("severity", one_of(&SEVERITIES)), ..graded(t) }
}

/// What rules have whose limits say how bad it is.
fn graded(t: &Table<'_>) -> Common {
    Common { enabled: t.get("enabled", boolean), severity: Severity::Warn }
}

fn provider_refuses(t: &Table<'_>) -> ProviderRefuses {
    let classes = Class::ALL.iter().map(|class| (class.as_str(), *class)).collect::<Vec<_>>();
    ProviderRefuses {
        common: common(t),
        window: t.get("window", duration(MINUTES)),
        share: t.get("share", fraction(SHARE)),
        minimum: t.get("minimum", number(MINIMUM)),
        times_median: t.get("times_median", fraction(TIMES)),
        classes: t.get("classes", some(one_of(&classes))),
    }
}

fn complaints(t: &Table<'_>) -> Complaints {
    let settings = Complaints {
        common: graded(t),
        window: t.get("window", duration(HOURS)),
        warn: t.get("warn", fraction(SHARE)),
        critical: t.get("critical", fraction(SHARE)),
        minimum: t.get("minimum", number(MINIMUM)),
    };
    rises(t, settings.warn, settings.critical);
    settings
}

fn unknown_users(t: &Table<'_>) -> UnknownUsers {
    let settings = UnknownUsers {
        common: graded(t),
        window: t.get("window", duration(HOURS)),
        warn: t.get("warn", fraction(SHARE)),
        critical: t.get("critical", fraction(SHARE)),
        minimum: t.get("minimum", number(MINIMUM)),
    };
    rises(t, settings.warn, settings.critical);
    settings
}

fn rises(t: &Table<'_>, warn: f64, critical: f64) {
    if warn > critical {
        t.object_to(&["warn", "critical"], format!("warn must not be above critical: {warn} is above {critical}"));
    }
}

fn house(t: &Table<'_>) -> House {
    House {
        common: common(t),
        certificate: t.get("certificate", duration(HOUR..=366 * DAY)),
        disk_lasts: t.get("disk_lasts", duration(HOUR..=366 * DAY)),
        disk_free: t.get("disk_free", fraction(SHARE)),
        fsync: t.get("fsync", duration(Duration::from_millis(1)..=MINUTE)),
        fsync_for: t.get("fsync_for", duration(MINUTE..=DAY)),
        behind: t.get("behind", duration(MINUTE..=7 * DAY)),
        clock_for: t.get("clock_for", duration(MINUTE..=7 * DAY)),
    }
}
