//! Which spool numbers have their `accepted` lines: one number and a few ranges.

use std::collections::BTreeMap;

/// Every number up to [`Self::through`] was seen, and above it the numbers in a few ranges.
///
/// Numbers arrive nearly in order, so there are as many ranges as gaps: messages that are stored but whose line is not written yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    through: u64,
    /// First and last of each range; no two touch, all lie above `through + 1`.
    beyond: BTreeMap<u64, u64>,
}

impl Watermark {
    /// A mark that has seen all numbers up to `through` and those in the ranges (first and last included).
    pub fn new(through: u64, beyond: &[(u64, u64)]) -> Self {
        let mut mark = Self { through, beyond: BTreeMap::new() };
        for &(first, last) in beyond {
            mark.insert(first, last);
        }
        mark
    }

    /// Marks a number as seen: its line is written, or never will be (the message was not stored after all).
    pub fn see(&mut self, number: u64) {
        self.insert(number, number);
    }

    /// Marks the numbers of a range as seen, first and last included.
    pub fn see_range(&mut self, first: u64, last: u64) {
        self.insert(first, last);
    }

    /// Marks every number up to this one as seen.
    pub fn see_all(&mut self, through: u64) {
        self.insert(self.through.saturating_add(1), through);
    }

    /// Whether the number was seen.
    pub fn has(&self, number: u64) -> bool {
        number <= self.through || self.beyond.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// Every number up to this one was seen.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// The highest number that was seen.
    pub fn highest(&self) -> u64 {
        self.beyond.last_key_value().map_or(self.through, |(_, last)| *last)
    }

    /// The ranges seen above [`Self::through`], first and last included, in rising order.
    pub fn beyond(&self) -> Vec<(u64, u64)> {
        self.beyond.iter().map(|(first, last)| (*first, *last)).collect()
    }

    fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        if last <= self.through || first > last {
            return;
        }
        // Merge the ranges that overlap or touch.
        while let Some((&start, &end)) = self.beyond.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            (first, last) = (first.min(start), last.max(end));
            self.beyond.remove(&start);
        }
        if first <= self.through.saturating_add(1) {
            self.through = last;
        } else {
            self.beyond.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mark_rises_when_a_gap_closes() {
        let mut mark = Watermark::default();
        for number in [1, 2, 4, 5, 7] {
            mark.see(number);
        }
        assert_eq!((mark.through(), mark.beyond()), (2, vec![(4, 5), (7, 7)]));
        mark.see(3);
        assert_eq!((mark.through(), mark.beyond()), (5, vec![(7, 7)]));
        mark.see(6);
        assert_eq!((mark.through(), mark.beyond()), (7, vec![]));
    }

    #[test]
    fn a_mark_is_raised_over_gaps_and_never_lowered() {
        let mut mark = Watermark::new(2, &[(4, 5), (9, 9)]);
        mark.see_all(6);
        assert_eq!((mark.through(), mark.beyond()), (6, vec![(9, 9)]));
        mark.see_all(3);
        assert_eq!((mark.through(), mark.beyond()), (6, vec![(9, 9)]));
        mark.see_all(8);
        assert_eq!((mark.through(), mark.beyond()), (9, vec![]));
    }

    proptest! {
        #[test]
        fn a_mark_has_just_what_it_saw(start in 0u64..5, numbers in prop::collection::vec(1u64..60, 0..80)) {
            let mut mark = Watermark::new(start, &[]);
            let mut model: BTreeSet<u64> = (0..=start).collect();
            for number in numbers {
                mark.see(number);
                model.insert(number);
                prop_assert_eq!(&Watermark::new(mark.through(), &mark.beyond()), &mark);
            }
            for number in 0..64 {
                prop_assert_eq!(mark.has(number), model.contains(&number), "{}", number);
            }
            prop_assert!(!mark.has(mark.through() + 1), "the mark is as high as it can be");
            prop_assert!(mark.beyond().windows(2).all(|w| w[0].1 + 1 < w[1].0));
        }
    }
}
