//! When a certificate is ordered: pure decisions.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::Pair;

/// How long after an order the next one for the same names is made at the earliest; after each further failure it is twice as long.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// The longest time between two tries.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// The longest wait that an authority's word is good for: its clock may be wrong.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Validity {
    pub(super) fn of(pair: &Pair) -> Self {
        Self { from: pair.not_before(), until: pair.not_after() }
    }

    /// When it is time for the next one: so long before the end, but not in the first half of its life, or one that lives no longer than that
    /// would be ordered again and again.
    pub(super) fn renewed_at(self, before: Duration) -> Timestamp {
        let before = SignedDuration::try_from(before).unwrap_or(SignedDuration::MAX).min(self.half());
        self.until.checked_sub(before).unwrap_or(self.from)
    }

    fn half(self) -> SignedDuration {
        self.until.duration_since(self.from) / 2
    }
}

/// Where one certificate stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    validity: Option<Validity>,
    /// How many orders have failed since one went through, and when the next may be made.
    failures: u32,
    again: Option<Timestamp>,
}

impl Standing {
    /// There is one.
    pub(super) fn with(validity: Validity) -> Self {
        Self { validity: Some(validity), ..Self::default() }
    }

    pub(super) fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Whether it is to be ordered now.
    pub(super) fn is_due(&self, before: Duration, now: Timestamp) -> bool {
        let wanted = self.validity.is_none_or(|validity| validity.renewed_at(before) <= now);
        wanted && self.again.is_none_or(|again| again <= now)
    }

    /// An order went through. The next one has to wait even if what came is due again already: our clock, or the authority's, may be wrong.
    pub(super) fn issued(&mut self, validity: Validity, now: Timestamp) {
        let again = now.checked_add(FIRST_PAUSE.min(validity.half())).unwrap_or(Timestamp::MAX);
        *self = Self { again: Some(again), ..Self::with(validity) };
    }

    /// An order failed; `asked` is when the authority wants to be asked again. Gives the time of the next try.
    pub(super) fn failed(&mut self, asked: Option<Timestamp>, now: Timestamp) -> Timestamp {
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(10);
        let pause = (FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE);
        let later = |wait| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let again = asked.map_or(later(pause), |asked| asked.min(later(LONGEST_WAIT)).max(later(pause)));
        self.again = Some(again);
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);
    const MONTH: Duration = Duration::from_hours(30 * 24);

    fn at(day: i32) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + DAY * day
    }

    fn lives(days: i32) -> Validity {
        Validity { from: at(0), until: at(days) }
    }

    #[test]
    fn a_certificate_is_due_when_there_is_none_and_from_its_last_days_on() {
        assert!(Standing::default().is_due(MONTH, at(0)));
        let standing = Standing::with(lives(90));
        let due: Vec<bool> = [0, 59, 60, 61, 90, 200].map(|day| standing.is_due(MONTH, at(day))).into();
        assert_eq!(due, [false, false, true, true, true, true]);
    }

    #[test]
    fn a_short_lived_one_is_due_at_half_its_life_and_not_at_once() {
        assert_eq!(lives(6).renewed_at(MONTH), at(3));
        assert_eq!(lives(60).renewed_at(MONTH), at(30));
        assert_eq!(lives(62).renewed_at(MONTH), at(32));
        assert!(!Standing::with(lives(6)).is_due(MONTH, at(2)));
    }

    #[test]
    fn tries_are_made_after_an_hour_then_two_up_to_a_day() {
        let (mut standing, mut now, mut hours) = (Standing::default(), at(0), Vec::new());
        for _ in 0..40 {
            let again = standing.failed(None, now);
            hours.push(again.duration_since(now).as_hours());
            assert!(!standing.is_due(MONTH, again - SignedDuration::from_secs(1)) && standing.is_due(MONTH, again));
            now = again;
        }
        assert_eq!(hours[..7], [1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(hours[39], 24);
    }

    #[test]
    fn the_authority_can_ask_for_more_time_but_not_for_ever_nor_for_less() {
        let failed = |asked| Standing::default().failed(Some(asked), at(0)).duration_since(at(0)).as_hours();
        assert_eq!(failed(at(2)), 48);
        assert_eq!(failed(at(1000)), 7 * 24);
        assert_eq!(failed(at(-3)), 1);
    }

    #[test]
    fn a_success_makes_failures_forgotten() {
        let mut standing = Standing::with(lives(90));
        standing.failed(None, at(60));
        standing.failed(None, at(61));
        assert_eq!(standing.validity(), Some(lives(90)), "the old one is still shown");
        standing.issued(Validity { from: at(61), until: at(151) }, at(61));
        assert!(!standing.is_due(MONTH, at(62)));
        assert_eq!(standing.failed(None, at(121)).duration_since(at(121)).as_hours(), 1);
    }

    #[test]
    fn under_a_wrong_clock_orders_do_not_follow_each_other_at_once() {
        let mut standing = Standing::default();
        let (now, hour) = (at(500), SignedDuration::from_hours(1));
        standing.issued(lives(90), now);
        assert!(!standing.is_due(MONTH, now) && standing.is_due(MONTH, now + hour));
    }
}
