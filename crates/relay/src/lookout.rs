//! Looks every ten seconds whether something is wrong, by the rules of `posthaste-findings`, and tells what changed.

use std::time::Duration;

use posthaste_channels::Channels;
use posthaste_findings::{IncidentChange, View};
use posthaste_host::clock;
use posthaste_journal::{Alarms, Journal};
use posthaste_queue::QueueHandle;
use posthaste_watch::{Figures, FiguresError, Incidents};

use crate::settings::Swap;

mod facts;
mod news;

/// How often the rules look.
const EVERY: Duration = Duration::from_secs(10);

/// What lasts is offered to channels once in so many looks, the first one after a start included.
const TOLD_TO_NEW: u64 = 6;

/// What the rules look at, and where their findings go.
pub(crate) struct Watcher {
    pub(crate) figures: Figures,
    pub(crate) incidents: Incidents,
    pub(crate) queue: QueueHandle,
    pub(crate) journal: Journal,
    pub(crate) alarms: Alarms,
    pub(crate) channels: Channels,
    pub(crate) settings: Swap,
}

impl Watcher {
    /// Looks until the relay stops. Never returns.
    pub(crate) async fn run(self) {
        let mut disks = facts::Disks::default();
        for turn in 0_u64.. {
            tokio::time::sleep(EVERY).await;
            let settings = self.settings.load_full();
            let Some(facts) = facts::gather(&settings.config, &self.queue, &self.alarms, &mut disks).await else { return };
            let (figures, incidents, journal) = (self.figures.clone(), self.incidents.clone(), self.journal.clone());
            let channels = self.channels.clone();
            let look = move || -> Result<(), FiguresError> {
                // Before the tallies are brought up to date, so that they hold all lines before it.
                let now = clock::now();
                let changes: Vec<IncidentChange> = figures.read(|tallies| {
                    let view = View { tallies, counted: now, facts: &facts };
                    incidents.tick(view, &settings.config.rules, now)
                })?;
                changes.iter().for_each(|change| journal.append(change.at, change.event()));
                incidents.save();
                let node = &settings.config.node;
                // Who has heard of what lasts hears nothing; a channel that is new does.
                let open = if turn.is_multiple_of(TOLD_TO_NEW) { incidents.lasting() } else { Vec::new() };
                let lasting = open.iter().map(|incident| news::lasting(incident, node));
                channels.offer(lasting.chain(changes.iter().filter_map(|change| news::news(change, node))));
                Ok(())
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "whether something is wrong with the mail cannot be judged now"),
                Err(error) => tracing::error!("the rules of the monitoring have failed: {error}"),
            }
        }
    }
}
