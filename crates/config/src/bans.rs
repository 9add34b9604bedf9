//! `[bans]`: how guessing of passwords is limited.

use std::time::Duration;

use posthaste_access::bans::{BanPolicy, BanRules};

use super::{
    listen::network,
    reader::Table,
    value::{duration, list, number},
};

pub(super) fn read(t: &Table<'_>) -> BanPolicy {
    let second = Duration::from_secs(1);
    let rules = BanRules {
        failures: t.get("failures", number(1..=1_000_000)),
        within: t.get("within", duration(second..=Duration::from_hours(7 * 24))),
        lasts: t.get("lasts", duration(second..=Duration::from_hours(365 * 24))),
        delay: t.get("delay", duration(Duration::ZERO..=30 * second)),
    };
    BanPolicy { rules, exempt: t.get("exempt", list(network)) }
}
