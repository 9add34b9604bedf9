//! Decides when a certificate is ordered; pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::Pair;

/// The shortest time between two orders for the same names; each further failure doubles it.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// The longest time between two tries, unless the authority asks for more.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// The longest wait that an authority may ask for: its clock may be wrong.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Validity {
    pub(super) fn of(pair: &Pair) -> Self {
        Self { from: pair.not_before(), until: pair.not_after() }
    }

    /// When the next one is ordered: `before` its end, but not in the first half of its validity. Otherwise a certificate that is valid for
    /// less than `before` would be ordered again and again.
    pub(super) fn renewed_at(self, before: Duration) -> Timestamp {
        let before = SignedDuration::try_from(before).unwrap_or(SignedDuration::MAX).min(self.half());
        self.until.checked_sub(before).unwrap_or(self.from)
    }

    fn half(self) -> SignedDuration {
        self.until.duration_since(self.from) / 2
    }
}

/// The state of one certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RenewalState {
    validity: Option<Validity>,
    /// Orders that failed since the last success.
    failures: u32,
    /// The earliest time of the next order.
    again: Option<Timestamp>,
}

impl RenewalState {
    /// A certificate that is there.
    pub(super) fn with(validity: Validity) -> Self {
        Self { validity: Some(validity), ..Self::default() }
    }

    pub(super) fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Whether to order it now.
    pub(super) fn is_due(&self, before: Duration, now: Timestamp) -> bool {
        let wanted = self.validity.is_none_or(|validity| validity.renewed_at(before) <= now);
        wanted && self.again.is_none_or(|again| again <= now)
    }

    /// An order succeeded. The next one waits even if the new certificate is due already: our clock or the authority's may be wrong.
    pub(super) fn issued(&mut self, validity: Validity, now: Timestamp) {
        let again = now.checked_add(FIRST_PAUSE.min(validity.half())).unwrap_or(Timestamp::MAX);
        *self = Self { again: Some(again), ..Self::with(validity) };
    }

    /// An order failed; `asked` is the time at which the authority wants to be asked again. Returns the time of the next try.
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
        assert!(RenewalState::default().is_due(MONTH, at(0)));
        let state = RenewalState::with(lives(90));
        let due: Vec<bool> = [0, 59, 60, 61, 90, 200].map(|day| state.is_due(MONTH, at(day))).into();
        assert_eq!(due, [false, false, true, true, true, true]);
    }

    #[test]
    fn a_short_lived_one_is_due_at_half_its_life_and_not_at_once() {
        assert_eq!(lives(6).renewed_at(MONTH), at(3));
        assert_eq!(lives(60).renewed_at(MONTH), at(30));
        assert_eq!(lives(62).renewed_at(MONTH), at(32));
        assert!(!RenewalState::with(lives(6)).is_due(MONTH, at(2)));
    }

    #[test]
    fn tries_are_made_after_an_hour_then_two_up_to_a_day() {
        let (mut state, mut now, mut hours) = (RenewalState::default(), at(0), Vec::new());
        for _ in 0..40 {
            let again = state.failed(None, now);
            hours.push(again.duration_since(now).as_hours());
            assert!(!state.is_due(MONTH, again - SignedDuration::from_secs(1)) && state.is_due(MONTH, again));
            now = again;
        }
        assert_eq!(hours[..7], [1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(hours[39], 24);
    }

    #[test]
    fn the_authority_can_ask_for_more_time_but_not_for_ever_nor_for_less() {
        let failed = |asked| RenewalState::default().failed(Some(asked), at(0)).duration_since(at(0)).as_hours();
        assert_eq!(failed(at(2)), 48);
        assert_eq!(failed(at(1000)), 7 * 24);
        assert_eq!(failed(at(-3)), 1);
    }

    #[test]
    fn a_success_makes_failures_forgotten() {
        let mut state = RenewalState::with(lives(90));
        state.failed(None, at(60));
        state.failed(None, at(61));
        assert_eq!(state.validity(), Some(lives(90)), "the old one is still shown");
        state.issued(Validity { from: at(61), until: at(151) }, at(61));
        assert!(!state.is_due(MONTH, at(62)));
        assert_eq!(state.failed(None, at(121)).duration_since(at(121)).as_hours(), 1);
    }

    #[test]
    fn under_a_wrong_clock_orders_do_not_follow_each_other_at_once() {
        let mut state = RenewalState::default();
        let (now, hour) = (at(500), SignedDuration::from_hours(1));
        state.issued(lives(90), now);
        assert!(!state.is_due(MONTH, now) && state.is_due(MONTH, now + hour));
    }
}
