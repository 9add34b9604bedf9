//! A timer wheel with slots of a tenth of a second.
//!
//! Empty slots do not exist, so an hour without events costs nothing. A slot is taken out as a whole.

use std::collections::BTreeMap;

/// Milliseconds in a slot.
const SLOT: i64 = 100;

/// A timer wheel of things that are due later.
pub(crate) struct Schedule<T> {
    slots: BTreeMap<i64, Vec<T>>,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { slots: BTreeMap::new() }
    }
}

impl<T> Schedule<T> {
    /// Keeps `thing` until `due`, in milliseconds since 1970: never shorter, at most a slot longer.
    pub(crate) fn add(&mut self, due: i64, thing: T) {
        self.slots.entry(due.div_euclid(SLOT) + i64::from(due.rem_euclid(SLOT) != 0)).or_default().push(thing);
    }

    /// Takes out one slot that is due at `now`; None when there is none.
    pub(crate) fn take_due(&mut self, now: i64) -> Option<Vec<T>> {
        let slot = self.slots.first_entry()?;
        if *slot.key() * SLOT > now {
            return None;
        }
        Some(slot.remove())
    }

    /// Everything, the earliest first.
    pub(crate) fn into_all(self) -> impl Iterator<Item = T> {
        self.slots.into_values().flatten()
    }

    /// When the next slot is due, in milliseconds since 1970.
    pub(crate) fn next(&self) -> Option<i64> {
        self.slots.first_key_value().map(|(slot, _)| slot * SLOT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn nothing_is_early_or_more_than_a_slot_late(times in proptest::collection::vec(0i64..10_000, 1..50)) {
            let mut schedule = Schedule::default();
            for t in &times {
                schedule.add(*t, *t);
            }
            let mut seen = 0;
            while let Some(next) = schedule.next() {
                proptest::prop_assert!(schedule.take_due(next - 1).is_none());
                for t in schedule.take_due(next).unwrap() {
                    proptest::prop_assert!(t <= next && next < t + SLOT);
                    seen += 1;
                }
            }
            proptest::prop_assert_eq!(seen, times.len());
        }
    }
}
