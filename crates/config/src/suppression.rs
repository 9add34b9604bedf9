//! `[suppression]`: the addresses that get no more mail, and for how long.

use std::time::Duration;

use posthaste_suppression::SuppressionRules;

use super::{
    reader::Table,
    value::{GIB, MIB, boolean, duration, number, size, zero_is_none},
};

pub(super) fn read(t: &Table<'_>) -> SuppressionRules {
    let day = Duration::from_hours(24);
    let lasts = || zero_is_none(duration(day..=3660 * day));
    SuppressionRules {
        hard_bounce_for: t.get("hard_bounce_for", lasts()),
        inactive_for: t.get("inactive_for", lasts()),
        full_for: t.get("full_for", lasts()),
        complaint_for: t.get("complaint_for", lasts()),
        unsubscribe_for: t.get("unsubscribe_for", lasts()),
        hint_for: t.get("hint_for", duration(day..=366 * day)),
        complaints_are_global: t.get("complaints_are_global", boolean),
        bounces: t.get("bounces", number(1..=100)),
        within: t.get("within", duration(day..=366 * day)),
        apart: t.get("apart", duration(Duration::ZERO..=30 * day)),
        memory: t.get("memory", size(MIB..=64 * GIB)),
    }
}
