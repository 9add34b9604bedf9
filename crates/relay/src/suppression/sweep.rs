//! What has expired goes, now and then; nothing relies on it.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{ENTRIES, Entry, Facts, SuppressionRules, bounces};

/// Deletes expired entries and counts that count no more. How many facts went. Reads the whole list: once a day will do.
pub fn sweep<F: Facts>(facts: &F, rules: &SuppressionRules, now: Timestamp) -> usize {
    let oldest = now.as_millisecond().saturating_sub(i64::try_from(rules.within.as_millis()).unwrap_or(i64::MAX));
    let entries = delete_where(facts, ENTRIES, |value| Entry::decode(value).is_some_and(|e| !e.holds(now)));
    entries + delete_where(facts, bounces::STRIKES, |value| bounces::last_strike(value).is_none_or(|last| last <= oldest))
}

/// Deletes the facts under a prefix whose values are stale.
pub(crate) fn delete_where<F: Facts>(facts: &F, prefix: &[u8], stale: impl Fn(&[u8]) -> bool) -> usize {
    let mut gone = 0;
    let _ = in_parts(facts, prefix, b"", |key, value| {
        if stale(value) {
            facts.delete(key);
            gone += 1;
        }
        ControlFlow::Continue(())
    });
    gone
}

/// Walks the facts under a prefix by key, one first letter behind it after the other, so that millions are never in memory at once. Begins
/// with the letter of the key `from`.
pub(crate) fn in_parts<F: Facts>(
    facts: &F,
    prefix: &[u8],
    from: &[u8],
    mut show: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let first = from.get(prefix.len()).copied().unwrap_or(0);
    for letter in first..=u8::MAX {
        let part = [prefix, &[letter]].concat();
        facts.scan(&part).iter().try_for_each(|(key, value)| show(key, value))?;
    }
    ControlFlow::Continue(())
}
