//! Key rotation by schedule: each minute the relay does what is due.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthaste_host::clock;
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_queue::QueueHandle;

use crate::{
    SigningError,
    rotation::{Rotation, news::KeyNews},
};

/// The alarm about a rotation that failed as a whole.
const UNROTATED: &str = "dkim_unrotated";
/// How often keys are checked for what is due.
const EVERY: Duration = Duration::from_secs(60);
/// The time in which the same alarm is not repeated, in seconds.
const QUIET: i64 = 24 * 3600;

/// Rotates keys for as long as the relay runs.
pub async fn turn_keys(rotation: Arc<Rotation>, queue: QueueHandle, journal: Journal) {
    let mut alarms: HashMap<String, i64> = HashMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = clock::now().as_second();
        match tick(&rotation, &queue, now).await {
            Ok(news) => {
                journal.mended(Part::Dkim, UNROTATED, "", || "DKIM keys are rotated again".into());
                news.iter().filter(|news| is_news(&mut alarms, news, now)).for_each(|news| news.write(&journal));
            }
            Err(error) => {
                let (what, remedy) = (format!("DKIM keys were not rotated: {error}"), "It is tried again each minute".into());
                journal.raise(Finding { rule: UNROTATED, key: String::new(), part: Some(Part::Dkim), what, remedy });
            }
        }
    }
}

async fn tick(rotation: &Rotation, queue: &QueueHandle, now: i64) -> Result<Vec<KeyNews>, SigningError> {
    // The queue may be long: it is searched only if a key could retire.
    let oldest = match rotation.may_retire(now).await? {
        true => queue.oldest().await?.map(|at| at.as_second()),
        false => Some(0),
    };
    let settled = |until: u64| oldest.is_none_or(|oldest| u64::try_from(oldest).is_ok_and(|oldest| oldest > until));
    rotation.tick(now, settled).await
}

fn is_news(alarms: &mut HashMap<String, i64>, news: &KeyNews, now: i64) -> bool {
    alarms.retain(|_, at| now - *at < QUIET);
    let again = news.state == State::Alarm && alarms.contains_key(&news.detail);
    if news.state == State::Alarm && !again {
        alarms.insert(news.detail.clone(), now);
    }
    !again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_once_a_day_and_other_news_each_time() {
        let mut alarms = HashMap::new();
        let alarm = KeyNews { domain: "sender.test".parse().unwrap(), state: State::Alarm, detail: "DNS does not have it".into() };
        let heard: Vec<bool> = [0, 60, QUIET - 1, QUIET + 60].map(|now| is_news(&mut alarms, &alarm, now)).into();
        assert_eq!(heard, [true, false, false, true]);
        let made = KeyNews { domain: "sender.test".parse().unwrap(), state: State::DkimKeyMade, detail: "x".into() };
        assert!(is_news(&mut alarms, &made, 0) && is_news(&mut alarms, &made, 1));
    }
}
