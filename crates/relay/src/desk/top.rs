//! The answer to `Top`.

use posthaste_governor::warmup::{WarmupAnswer, WarmupQuestion};
use posthaste_host::clock;

use super::{Desk, Undone};
use crate::top::{Moment, Sums, Top};

impl Desk {
    /// How things stand. Without figures, because the log is not counted, the rest is told all the same.
    /// # Errors
    /// The relay stops.
    pub async fn top(&self, minutes: bool) -> Result<Top, Undone> {
        let (now, node) = (clock::now(), self.settings.load().config.node.to_string());
        let sums = self.figures.clone().map(|figures| tokio::task::spawn_blocking(move || Sums::read(&figures, minutes, now).ok()));
        let mut table = self.intake.queue.table().await?;
        self.recalled.add(&mut table.lanes, &self.intake.spool, &self.intake.journal, self.settings.load_full()).await;
        let lanes = match self.intake.queue.warmup(WarmupQuestion::Status).await? {
            WarmupAnswer::Lanes { lanes } => lanes,
            _ => Vec::new(),
        };
        let standing = self.alarms.now();
        let moment = Moment {
            now,
            node,
            table,
            lanes,
            incidents: self.incidents().ok(),
            alarms: standing.alarms.len() + usize::try_from(standing.more).unwrap_or(usize::MAX),
            closed: self.closed(),
            blocked: self.outbound.reach.blocked(),
            scores: self.incidents.scores(),
        };
        let sums = match sums {
            Some(sums) => sums.await.map_err(Undone::of)?,
            None => None,
        };
        Ok(moment.with(sums))
    }
}
