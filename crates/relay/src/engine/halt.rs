//! What halts deliveries: trouble of the log or the spool, and results that are slow to become durable. And what the operator hears of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_queue::Input;
use posthaste_spool::Spool;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::recorder::Logged;

/// How often the spool is looked at.
const LOOK_AT_SPOOL: Duration = Duration::from_millis(500);
/// How long a spool in trouble may take to make durable what it was handed, before deliveries are halted.
const SPOOL_PATIENCE: Duration = Duration::from_secs(2);
/// A halt that is shorter is not reported: a slow disk is no alarm.
const SAID_AFTER: Duration = Duration::from_secs(2);

/// What the engine sees of the log and the spool.
pub(super) struct Standing {
    journal: Journal,
    spool: watch::Receiver<Option<Arc<str>>>,
    logged: Logged,
    trouble: Option<Arc<str>>,
}

impl Standing {
    /// The standing of this log, of the spool that [`watch_spool`] watches, and of the results that `logged` counts.
    pub(super) fn new(journal: Journal, spool: watch::Receiver<Option<Arc<str>>>, logged: Logged) -> Self {
        Self { journal, spool, logged, trouble: None }
    }

    /// What the dispatcher has to hear: what became durable, and whether log or spool fail.
    pub(super) fn inputs(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        inputs.extend(self.logged.take().into_iter().map(|(of, results)| Input::Logged(of, results)));
        let log = self.journal.trouble().map(|why| format!("the delivery log: {why}").into());
        let trouble: Option<Arc<str>> = log.or_else(|| self.spool.borrow().clone());
        if trouble != self.trouble {
            self.trouble.clone_from(&trouble);
            inputs.push(Input::Trouble(trouble));
        }
        inputs
    }
}

/// Publishes why the spool cannot make durable what it is handed, such as the removal of finished messages; None while it can. A full spool
/// can: it refuses new mail only, and deliveries make room. Never returns.
pub(super) async fn watch_spool(spool: Spool, seen: watch::Sender<Option<Arc<str>>>) {
    loop {
        sleep(LOOK_AT_SPOOL).await;
        let trouble = match spool.trouble() {
            None => None,
            Some(why) => match timeout(SPOOL_PATIENCE, spool.sync()).await {
                Ok(Ok(())) => None,
                Ok(Err(_)) | Err(_) => Some(Arc::from(format!("the spool: {why}"))),
            },
        };
        seen.send_if_modified(|known| std::mem::replace(known, trouble.clone()) != trouble);
    }
}

/// The alarm about a halt.
pub(crate) const HALTED: &str = "halted";

/// Raises the alarm about a halt, or ends it.
pub(super) fn say_halt(journal: &Journal, state: State, detail: String) {
    if state == State::AlarmOver {
        return journal.mended(Part::Delivery, HALTED, "", || detail);
    }
    let remedy = "Make room on the disk of log and spool, or mend it; mail is sent again by itself".into();
    journal.raise(Finding { rule: HALTED, key: String::new(), part: Some(Part::Delivery), what: detail, remedy });
}

/// Reports a halt that lasts, and its end.
#[derive(Debug, Default)]
pub(super) struct HaltNews {
    since: Option<Instant>,
    is_said: bool,
}

impl HaltNews {
    /// What is to be said now, given why deliveries are halted.
    pub(super) fn news(&mut self, halted: Option<String>, now: Instant) -> Option<(State, String)> {
        let Some(why) = halted else {
            self.since = None;
            return std::mem::take(&mut self.is_said).then(|| (State::AlarmOver, "mail is sent again".into()));
        };
        let since = *self.since.get_or_insert(now);
        if self.is_said || now.saturating_duration_since(since) < SAID_AFTER {
            return None;
        }
        self.is_said = true;
        Some((State::Alarm, why))
    }
}

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    #[test]
    fn a_halt_that_lasts_is_said_once_and_so_is_its_end() {
        let (mut news, start) = (HaltNews::default(), clock::instant());
        let mut at = |halted: bool, ms| {
            let said = news.news(halted.then(|| "full".to_owned()), start + Duration::from_millis(ms));
            said.map(|(state, why)| (state.as_str(), why))
        };
        assert_eq!((at(true, 0), at(true, 1_500), at(false, 1_600)), (None, None, None), "too short to be told");
        assert_eq!((at(true, 2_000), at(true, 3_900)), (None, None));
        assert_eq!(at(true, 4_000), Some(("alarm", "full".into())));
        assert_eq!(at(true, 60_000), None);
        assert_eq!(at(false, 61_000), Some(("alarm_over", "mail is sent again".into())));
        assert_eq!(at(false, 62_000), None);
    }
}
