//! Which signing keys DNS does not have, by look-ups once in a while, off the way of the mail.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_findings::KeyMissing;

use crate::settings::{LookedUp, look_up};

/// While a key is missing it is looked up again so soon: an operator has put it into DNS and waits for the word that it is there.
const AGAIN: Duration = Duration::from_mins(5);
/// How long the look-ups may take in all. What is not known by then is as it was.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known about the keys. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Keys(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    missing: Vec<KeyMissing>,
    /// When the last look-up began, and by which settings.
    looked: Option<(Timestamp, Arc<posthaste_signing::Settings>)>,
    under_way: bool,
}

impl Keys {
    /// The keys that are missing as far as is known; begins a look-up if it is time for one.
    pub(super) fn missing(&self, signing: &Arc<posthaste_signing::Settings>, every: Duration, now: Timestamp) -> Vec<KeyMissing> {
        let mut known = self.lock();
        if !known.under_way && known.is_due(signing, every, now) {
            (known.under_way, known.looked) = (true, Some((now, signing.clone())));
            tokio::spawn(self.clone().look(signing.clone()));
        }
        known.missing.clone()
    }

    async fn look(self, signing: Arc<posthaste_signing::Settings>) {
        let mut found = Vec::new();
        let unknown = match (signing.new_resolver)() {
            Ok(resolver) => look_up(&signing, &resolver, PATIENCE, &mut found).await,
            Err(error) => Some(format!("it is not known whether DNS has the DKIM keys: {error}")),
        };
        unknown.into_iter().for_each(|why| tracing::debug!("{why}"));
        let mut known = self.lock();
        known.missing = after(&known.missing, found);
        known.under_way = false;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_due(&mut self, signing: &Arc<posthaste_signing::Settings>, every: Duration, now: Timestamp) -> bool {
        let Some((at, of)) = &self.looked else { return true };
        if !Arc::ptr_eq(of, signing) {
            // Keys that the new configuration does not have are not missed.
            self.missing.clear();
            return true;
        }
        let wait = if self.missing.is_empty() { every } else { every.min(AGAIN) };
        // A time ahead is that of a clock that went back.
        *at > now || Duration::try_from(now.duration_since(*at)).is_ok_and(|passed| passed >= wait)
    }
}

/// What is missing after a look-up: what it found, and what was missing before and could not be looked up.
fn after(before: &[KeyMissing], found: Vec<LookedUp>) -> Vec<KeyMissing> {
    let is_it = |missing: &KeyMissing, looked: &LookedUp| missing.domain == looked.domain.as_str() && missing.selector == looked.selector;
    let mut missing: Vec<KeyMissing> =
        before.iter().filter(|missing| !found.iter().any(|looked| is_it(missing, looked))).cloned().collect();
    missing.extend(
        found
            .into_iter()
            .filter_map(|LookedUp { domain, selector, wrong }| Some(KeyMissing { domain: domain.to_string(), selector, found: wrong? })),
    );
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_up_is_as_it_was() {
        let looked = |domain: &str, wrong: Option<&str>| LookedUp {
            domain: domain.parse().unwrap(),
            selector: "s1".into(),
            wrong: wrong.map(Into::into),
        };
        let shown = |missing: &[KeyMissing]| missing.iter().map(|key| format!("{} {}", key.domain, key.found)).collect::<Vec<_>>();
        let first = after(&[], vec![looked("a.test", Some("none")), looked("b.test", Some("none")), looked("c.test", None)]);
        assert_eq!(shown(&first), ["a.test none", "b.test none"]);
        assert_eq!(shown(&after(&first, vec![looked("b.test", None), looked("c.test", Some("other"))])), ["a.test none", "c.test other"]);
    }
}
