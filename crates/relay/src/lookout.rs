//! Looks every ten seconds whether something is wrong, by the rules of `posthaste-findings`, and keeps the incidents.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_channels::Channels;
use posthaste_config::Config;
use posthaste_findings::{Incident, IncidentChange, IncidentState, Lookout, LookoutError, Mute, UnknownIncident, View};
use posthaste_host::{clock, files};
use posthaste_journal::{Alarms, Journal, Part, State};
use posthaste_queue::QueueHandle;
use posthaste_watch::{Figures, FiguresError};
use serde::{Deserialize, Serialize};

use crate::settings::Swap;

mod facts;
mod news;

/// How often the rules look.
const EVERY: Duration = Duration::from_secs(10);

/// What lasts is offered to channels once in so many looks, the first one after a start included.
const TOLD_TO_NEW: u64 = 6;

/// The file of the incidents, in the data folder.
const NAME: &str = "incidents.json";

/// The incidents of a relay. Clones share them.
#[derive(Clone)]
pub struct Incidents(Arc<Mutex<Kept>>);

struct Kept {
    lookout: Lookout,
    path: PathBuf,
    /// What the file holds.
    saved: Vec<u8>,
}

/// An incident as `posthaste incidents` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// The rule that found it.
    pub rule: String,
    /// What it is about.
    pub key: String,
    /// `open`, `muted` or `closed`.
    pub state: String,
    /// `warn` or `critical`.
    pub severity: String,
    /// What is wrong, in one sentence.
    pub detail: String,
    /// The figure.
    pub n: u64,
    /// What it is a share of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<u64>,
    /// What both count.
    pub measure: String,
    /// The limit that was reached.
    pub limit: String,
    /// Whose problem it is.
    pub problem_of: String,
    /// What the relay did.
    pub done: String,
    /// What to do next.
    pub next_step: String,
    /// The command that shows the events.
    pub query: String,
    /// When it opened.
    pub since: Timestamp,
    /// When it was found last.
    pub last_seen: Timestamp,
    /// When it closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed: Option<Timestamp>,
    /// Until when it is muted, by whom and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mute: Option<Mute>,
}

impl Incidents {
    /// Those of this data folder; the file need not exist. One that cannot be read is put aside, and its incidents open again if they last.
    ///
    /// # Errors
    /// Another version wrote the file. It is left alone.
    pub fn open(data_dir: &Path, journal: &Journal) -> Result<Self, LookoutError> {
        let path = data_dir.join(NAME);
        let saved = files::read(&path).unwrap_or_default();
        let lookout = match saved.is_empty() {
            true => Lookout::default(),
            false => match Lookout::from_bytes(&saved) {
                Ok(lookout) => lookout,
                Err(error @ LookoutError::Version(_)) => return Err(error),
                Err(error) => {
                    let aside = path.with_extension("json.damaged");
                    let _ = std::fs::rename(&path, &aside);
                    let detail = format!("{error}; the file is now {}, and what lasts is found again", aside.display());
                    journal.say(Part::Tallies, State::Alarm, detail);
                    Lookout::default()
                }
            },
        };
        Ok(Self(Arc::new(Mutex::new(Kept { lookout, path, saved }))))
    }

    /// All that are kept, the open ones first, then the newest first.
    pub fn list(&self) -> Vec<Shown> {
        let kept = self.lock();
        let incidents = &kept.lookout.incidents;
        let mut shown: Vec<Shown> =
            incidents.list().map(|(incident, state)| Shown::of(incident, state, incidents.mute_of(incident).cloned())).collect();
        shown.sort_by(|a, b| (a.state == "closed").cmp(&(b.state == "closed")).then_with(|| b.since.cmp(&a.since)));
        shown
    }

    /// Mutes an incident: its rule's findings about its key, until the mute ends. Blocks on the disk.
    ///
    /// # Errors
    /// There is no such incident.
    pub fn mute(&self, id: &str, mute: Mute, journal: &Journal, now: Timestamp) -> Result<(), UnknownIncident> {
        let mut kept = self.lock();
        let change = kept.lookout.incidents.mute(id, mute, now)?;
        journal.append(now, change.event());
        kept.save();
        Ok(())
    }

    /// Closes an incident. If it lasts, it opens again. Blocks on the disk.
    ///
    /// # Errors
    /// There is no such incident.
    pub fn close(&self, id: &str, by: &str, config: &Config, journal: &Journal, now: Timestamp) -> Result<(), UnknownIncident> {
        let mut kept = self.lock();
        let change = kept.lookout.incidents.close(id, by, &config.rules.incidents, now)?;
        journal.append(now, change.event());
        kept.save();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Writes the file if something has changed. A disk that fails is somebody else's alarm; the next tick tries again.
    fn save(&mut self) {
        let bytes = self.lookout.to_bytes();
        if bytes != self.saved {
            match files::replace(&self.path, &bytes) {
                Ok(()) => self.saved = bytes,
                Err(error) => tracing::warn!(%error, "the incidents cannot be saved: {}", self.path.display()),
            }
        }
    }
}

impl Shown {
    fn of(incident: &Incident, state: IncidentState, mute: Option<Mute>) -> Self {
        let finding = &incident.finding;
        let state = match state {
            IncidentState::Open => "open",
            IncidentState::Muted => "muted",
            IncidentState::Closed => "closed",
        };
        Self {
            id: incident.id.clone(),
            rule: finding.rule.as_str().to_owned(),
            key: finding.key.to_string(),
            state: state.to_owned(),
            severity: finding.severity.as_str().to_owned(),
            detail: finding.summary.clone(),
            n: finding.measure.n,
            of: finding.measure.of,
            measure: finding.measure.what.clone(),
            limit: finding.measure.limit.clone(),
            problem_of: finding.problem_of.as_str().to_owned(),
            done: finding.done.clone(),
            next_step: finding.next_step.clone(),
            query: finding.query.clone(),
            since: incident.opened,
            last_seen: incident.last_hit,
            closed: incident.closed,
            mute,
        }
    }
}

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
                    incidents.lock().lookout.tick(view, &settings.config.rules, now)
                })?;
                changes.iter().for_each(|change| journal.append(change.at, change.event()));
                let mut kept = incidents.lock();
                kept.save();
                let node = &settings.config.node;
                // Who has heard of what lasts hears nothing; a channel that is new does.
                let open =
                    kept.lookout.incidents.list().filter(|(_, state)| turn.is_multiple_of(TOLD_TO_NEW) && *state == IncidentState::Open);
                let lasting = open.map(|(incident, _)| news::lasting(incident, node));
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
