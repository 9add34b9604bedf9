//! Deletes expired entries from time to time; nothing relies on it.

use jiff::Timestamp;
use posthaste_spool::{Facts, delete_where};

use crate::{Register, SuppressionEntry, SuppressionRules, bounces, keys::ENTRIES};

/// Deletes expired entries and outdated bounce counts, and returns the number of facts deleted. Reads the whole list: once a day is enough.
pub fn sweep<F: Facts>(register: &Register<F>, rules: &SuppressionRules, now: Timestamp) -> usize {
    register.forget_expired(now);
    let facts = register.facts();
    let oldest = now.as_millisecond().saturating_sub(i64::try_from(rules.within.as_millis()).unwrap_or(i64::MAX));
    let entries = delete_where(facts, ENTRIES, |value| SuppressionEntry::decode(value).is_some_and(|e| !e.holds(now)));
    entries + delete_where(facts, bounces::STRIKES, |value| bounces::last_strike(value).is_none_or(|last| last <= oldest))
}
