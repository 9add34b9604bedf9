//! Less time for a receiver while others need its connection.

use std::{future::pending, pin::pin, time::Duration};

use posthaste_mail::Stage;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How long a receiver may be silent once others need the connection; until then, and by default, the ordinary limits alone count.
#[derive(Clone, Debug, Default)]
pub struct Hurry(Option<Told>);

#[derive(Clone, Debug)]
struct Told {
    told: watch::Receiver<bool>,
    patience: Duration,
    at_the_dot: Duration,
}

impl Hurry {
    /// A receiver may be silent for `patience` from when `told` is true, counted from the beginning of its silence, and for `at_the_dot` once it
    /// has a message: what is given up there may have been taken.
    pub fn when(told: watch::Receiver<bool>, patience: Duration, at_the_dot: Duration) -> Self {
        Self(Some(Told { told, patience, at_the_dot }))
    }

    /// Waits until a receiver that is silent at this stage from now on is given up, because others need the connection; for ever if nobody does.
    pub async fn until_given_up(self, stage: Stage) {
        match self.patience(stage) {
            Some(patience) => sleep(patience).await,
            None => pending().await,
        }
        self.needed_by_others().await;
    }

    /// Does `work` within `limit`, or within less if others need the connection.
    pub(super) async fn within<T>(self, limit: Duration, stage: Stage, work: impl Future<Output = T>) -> Result<T, Late> {
        let Some(patience) = self.patience(stage).filter(|patience| *patience < limit) else {
            return timeout(limit, work).await.map_err(|_| Late::Timeout(limit));
        };
        // Receivers usually answer before anybody may lose patience: until then one timer is enough, and nobody has to be asked.
        let mut work = pin!(work);
        if let Ok(done) = timeout(patience, &mut work).await {
            return Ok(done);
        }
        tokio::select! {
            biased;
            done = timeout(limit - patience, work) => done.map_err(|_| Late::Timeout(limit)),
            () = self.needed_by_others() => Err(Late::GaveWay(patience)),
        }
    }

    /// How long a receiver may be silent at this stage once others need the connection; None: whatever others need.
    fn patience(&self, stage: Stage) -> Option<Duration> {
        self.0.as_ref().map(|told| if stage == Stage::Dot { told.at_the_dot } else { told.patience })
    }

    /// Waits until others need the connection; for ever if nobody does.
    async fn needed_by_others(self) {
        let Some(Told { mut told, .. }) = self.0 else { return pending().await };
        // Whoever could tell is gone: nobody does.
        if told.wait_for(|told| *told).await.is_err() {
            pending().await
        }
    }
}

/// The receiver was silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// For so long.
    Timeout(Duration),
    /// For so long, while others needed the connection.
    GaveWay(Duration),
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const AT_THE_DOT: Duration = Duration::from_secs(120);
    const LIMIT: Duration = Duration::from_secs(300);

    /// Whether a silent receiver whose connection others need after `needed` seconds is given up after so many seconds, and why.
    async fn given_up(stage: Stage, needed: Option<u64>, after: u64) -> Option<Late> {
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            match needed {
                Some(after) => {
                    sleep(Duration::from_secs(after)).await;
                    tell.send_replace(true);
                    pending().await
                }
                None => drop(tell),
            }
        });
        let mut silence = pin!(Hurry::when(told, PATIENCE, AT_THE_DOT).within(LIMIT, stage, pending::<()>()));
        let (moment, just_before) = (Duration::from_millis(2), Duration::from_millis(after * 1000 - 1));
        assert!(timeout(just_before, &mut silence).await.is_err(), "not before");
        timeout(moment, silence).await.ok()?.err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_receiver_has_its_time_until_others_need_the_connection() {
        assert_eq!(given_up(Stage::Mail, None, 300).await, Some(Late::Timeout(LIMIT)));
        assert_eq!(given_up(Stage::Mail, Some(1), 5).await, Some(Late::GaveWay(PATIENCE)));
        assert_eq!(given_up(Stage::Rcpt, Some(60), 60).await, Some(Late::GaveWay(PATIENCE)));
        assert_eq!(given_up(Stage::Dot, Some(60), 120).await, Some(Late::GaveWay(AT_THE_DOT)), "it may have taken the message");
        assert_eq!(Hurry::default().within(LIMIT, Stage::Mail, async { 7 }).await, Ok(7));
    }
}
