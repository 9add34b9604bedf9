//! The relay's own hand on its keys: looks every minute what is due.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthaste_host::clock;
use posthaste_journal::{Journal, State};
use posthaste_queue::QueueHandle;

use crate::rotation::{Rotation, news::KeyNews};

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// How long the same alarm is not repeated, in seconds.
const QUIET: i64 = 24 * 3600;

/// Goes on until the relay ends.
pub async fn turn_keys(rotation: Arc<Rotation>, queue: QueueHandle, journal: Journal) {
    let mut alarms: HashMap<String, i64> = HashMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = clock::now().as_second();
        match tick(&rotation, &queue, now).await {
            Ok(told) => told.iter().filter(|told| is_news(&mut alarms, told, now)).for_each(|told| told.write(&journal)),
            Err(error) => tracing::error!(error, "the DKIM keys stay as they are"),
        }
    }
}

async fn tick(rotation: &Rotation, queue: &QueueHandle, now: i64) -> Result<Vec<KeyNews>, String> {
    // The queue may be long: it is looked through only where the answer matters.
    let oldest = match rotation.may_retire(now).await? {
        true => queue.oldest().await.map_err(|e| e.to_string())?.map(|at| at.as_second()),
        false => Some(0),
    };
    let settled = |until: u64| oldest.is_none_or(|oldest| u64::try_from(oldest).is_ok_and(|oldest| oldest > until));
    rotation.tick(now, settled).await
}

fn is_news(alarms: &mut HashMap<String, i64>, told: &KeyNews, now: i64) -> bool {
    alarms.retain(|_, at| now - *at < QUIET);
    let again = told.state == State::Alarm && alarms.contains_key(&told.detail);
    if told.state == State::Alarm && !again {
        alarms.insert(told.detail.clone(), now);
    }
    !again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_once_a_day_and_other_news_each_time() {
        let mut alarms = HashMap::new();
        let alarm = KeyNews { state: State::Alarm, detail: "DNS does not have it".into() };
        let heard: Vec<bool> = [0, 60, QUIET - 1, QUIET + 60].map(|now| is_news(&mut alarms, &alarm, now)).into();
        assert_eq!(heard, [true, false, false, true]);
        let made = KeyNews { state: State::DkimKeyMade, detail: "x".into() };
        assert!(is_news(&mut alarms, &made, 0) && is_news(&mut alarms, &made, 1));
    }
}
