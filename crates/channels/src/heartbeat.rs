//! A URL that is called while mail flows, so that silence is noticed elsewhere (healthchecks.io, Uptime Kuma).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use posthaste_host::{InForce, clock};
use posthaste_journal::{Finding, Journal, Part};
use tokio::time::{sleep, timeout};

use crate::{SendError, Settings, sender};

/// When to call: pure.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    last: Option<Timestamp>,
    failed: u32,
}

/// So many calls in a row may fail before it is said: whoever watches has a grace time too.
const PATIENCE: u32 = 3;

impl Heartbeat {
    /// Whether to call now. A call is due each `every`; none is made while mail does not flow, and at once when it does again.
    pub fn is_due(&mut self, every: Duration, flows: bool, now: Timestamp) -> bool {
        let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
        // A clock that was set back would delay it for as long.
        let waits = self.last.is_some_and(|last| last <= now && now.duration_since(last) < every);
        if !flows || waits {
            return false;
        }
        self.last = Some(now);
        true
    }

    /// Hears whether the call was heard. Whether so many have failed in a row that it is to be said.
    pub fn fails(&mut self, heard: bool) -> bool {
        self.failed = if heard { 0 } else { self.failed.saturating_add(1) };
        self.failed >= PATIENCE
    }
}

/// Calls the URL of the settings for as long as the task is alive, while `flows` says that mail can be accepted and delivered.
pub async fn run(settings: InForce<Settings>, journal: Journal, flows: impl Fn() -> bool + Send) {
    let mut heartbeat = Heartbeat::default();
    loop {
        let now = settings.get();
        if let Some((beat, tls)) = &now.heartbeat
            && heartbeat.is_due(beat.every, flows(), clock::now())
        {
            let called = timeout(beat.timeout, sender::call(tls, &beat.url)).await;
            let called = called.unwrap_or(Err(SendError::Late(beat.timeout)));
            match (heartbeat.fails(called.is_ok()), called) {
                (true, Err(error)) => journal.raise(Finding {
                    rule: UNHEARD,
                    key: String::new(),
                    part: Some(Part::Channels),
                    what: format!("nobody hears the heartbeat: {error}. Whoever watches it will take this relay for dead"),
                    remedy: "Check heartbeat.url, and whether this host reaches it".into(),
                }),
                (_, Ok(())) => journal.mended(Part::Channels, UNHEARD, "", || "the heartbeat is heard again".into()),
                (false, Err(_)) => {}
            }
        }
        sleep(STEP).await;
    }
}

/// The rule of its alarm.
const UNHEARD: &str = "heartbeat_unheard";
/// How often it is looked at whether mail flows.
const STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_while_mail_flows_and_at_once_when_it_does_again() {
        let mut heartbeat = Heartbeat::default();
        let minute = Duration::from_secs(60);
        let mut beats = |from: i64, to: i64, flows: bool| -> Vec<i64> {
            (from..to).filter(|s| heartbeat.is_due(minute, flows, Timestamp::from_second(10_000 + s).unwrap())).collect()
        };
        assert_eq!(beats(0, 181, true), [0, 60, 120, 180]);
        assert_eq!(beats(181, 1000, false), [] as [i64; 0]);
        assert_eq!(beats(1000, 1061, true), [1000, 1060]);
        // The clock is set back by an hour.
        assert_eq!(beats(-2600, -2539, true), [-2600, -2540]);
    }

    #[test]
    fn a_call_that_fails_now_and_then_is_not_said() {
        let mut heartbeat = Heartbeat::default();
        let said = [false, false, true, false, false, false, false, true, false].map(|heard| heartbeat.fails(heard));
        assert_eq!(said, [false, false, false, false, false, true, true, false, false]);
    }
}
