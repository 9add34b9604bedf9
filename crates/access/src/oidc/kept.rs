//! What the provider said of itself, for as long as it is good.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// An answer that is kept; the default is that nobody has asked.
#[derive(Debug)]
pub(super) struct Kept<T> {
    value: Option<Arc<T>>,
    /// Why there was no answer the last time.
    trouble: Option<String>,
    asked: Option<Instant>,
    is_doubted: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { value: None, trouble: None, asked: None, is_doubted: false }
    }
}

impl<T> Kept<T> {
    /// Whether to ask: nobody has, or the answer is older than `lasts`; or there is none, or a doubt of it, and the last question is `pause` ago.
    pub(super) fn is_due(&self, now: Instant, lasts: Duration, pause: Duration) -> bool {
        let Some(asked) = self.asked else { return true };
        let good = if self.trouble.is_some() || self.is_doubted { pause } else { lasts };
        now.saturating_duration_since(asked) >= good
    }

    /// Takes an answer. Where there is none, the last one is kept: the provider's trouble need not be ours.
    pub(super) fn heard(&mut self, answer: Result<T, String>, now: Instant) {
        (self.asked, self.is_doubted) = (Some(now), false);
        match answer {
            Ok(value) => (self.value, self.trouble) = (Some(Arc::new(value)), None),
            Err(why) => self.trouble = Some(why),
        }
    }

    /// The answer does not fit what was seen since: it is asked for again soon.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// The last answer, or why there never was one.
    pub(super) fn value(&self) -> Result<Arc<T>, String> {
        self.value.clone().ok_or_else(|| self.trouble.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    #[test]
    fn an_answer_is_asked_for_again_when_it_is_old_and_sooner_when_it_is_doubted_or_there_was_none() {
        let (mut kept, begin) = (Kept::default(), clock::instant());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let is_due = |kept: &Kept<u8>, seconds| kept.is_due(at(seconds), Duration::from_secs(100), Duration::from_secs(5));
        assert!(is_due(&kept, 0));
        kept.heard(Err("no answer".into()), at(0));
        assert_eq!(kept.value().unwrap_err(), "no answer");
        assert!(!is_due(&kept, 4) && is_due(&kept, 5));
        kept.heard(Ok(1), at(5));
        assert!(*kept.value().unwrap() == 1 && !is_due(&kept, 104) && is_due(&kept, 105));
        kept.doubt();
        assert!(!is_due(&kept, 9) && is_due(&kept, 10), "not more often, whatever is doubted");
        kept.heard(Ok(2), at(10));
        assert!(*kept.value().unwrap() == 2 && !is_due(&kept, 15));
        kept.heard(Err("no answer".into()), at(200));
        assert!(*kept.value().unwrap() == 2 && is_due(&kept, 205), "the old one serves while there is no new one");
    }
}
