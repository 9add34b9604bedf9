//! The incidents of a relay, shared by the rules that find them and whoever shows, mutes or closes them.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use posthaste_findings::{
    Facts, Finding, FindingState, Incident, IncidentChange, IncidentState, Key, Lookout, LookoutError, Mute, RuleSettings, Severity,
    UnknownIncident, View, score, settings::IncidentSettings,
};
use posthaste_host::files;
use posthaste_journal::{Journal, Part, State};
use posthaste_tallies::TalliesError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Lanes that feedback has stopped: source and provider of each.
pub type StoppedLanes = BTreeSet<(String, String)>;

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
    /// What operators closed since the last look: who heard that it opened hears of it at the next one.
    closed: Vec<IncidentChange>,
    /// What the rules looked at last, beside the tallies.
    facts: Option<Arc<Facts>>,
    /// The scores of the last minute.
    scores: Option<Arc<score::Scores>>,
}

/// What was found, as incidents and findings show it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// The rule that found it; `score` if the health score lost points.
    pub rule: String,
    /// What it is about.
    pub key: String,
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
    /// Where the limit comes from: `default` or `configuration`.
    pub limit_from: String,
    /// Whose problem it is.
    pub problem_of: String,
    /// What the relay did.
    pub done: String,
    /// What to do next.
    pub next_step: String,
    /// The command that shows the events.
    pub query: String,
    /// When it was found last.
    #[schema(format = DateTime, value_type = String)]
    pub last_seen: Timestamp,
}

/// An incident as `posthaste incidents` shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Incident)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// `open`, `muted` or `closed`.
    pub state: String,
    /// What was found.
    #[serde(flatten)]
    pub told: Told,
    /// When it opened.
    #[schema(format = DateTime, value_type = String)]
    pub since: Timestamp,
    /// When it closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(format = DateTime, value_type = Option<String>)]
    pub closed: Option<Timestamp>,
    /// Until when it is muted, by whom and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<Object>)]
    pub mute: Option<Mute>,
}

/// A finding as `posthaste incidents findings` and the HTTP API show it. Most are too small for an incident.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Finding)]
pub struct ShownFinding {
    /// Its id, the same as long as it is the same problem.
    pub id: String,
    /// `open`, or `fixed` within the last day.
    pub state: String,
    /// What was found.
    #[serde(flatten)]
    pub told: Told,
    /// When it was found first, without a gap since.
    #[schema(format = DateTime, value_type = String)]
    pub first_seen: Timestamp,
}

impl Incidents {
    /// Those of this data folder; the file need not exist. One that cannot be read is put aside, and its incidents open again if they last.
    ///
    /// # Errors
    /// Another version wrote the file. It is left alone.
    pub fn open(data_dir: &Path, journal: &Journal) -> Result<Self, LookoutError> {
        let path = data_dir.join(NAME);
        // A file that is empty or cannot be read had incidents in it, as one has that is damaged.
        let (saved, is_there) = match files::read(&path) {
            Ok(bytes) => (bytes, true),
            Err(error) => (Vec::new(), error.kind() != io::ErrorKind::NotFound),
        };
        let lookout = match is_there {
            false => Lookout::default(),
            true => match Lookout::from_bytes(&saved) {
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
        Ok(Self(Arc::new(Mutex::new(Kept { lookout, path, saved, closed: Vec::new(), facts: None, scores: None }))))
    }

    /// Refuses the file of a data folder if another version wrote it. Changes nothing; the file need not exist, and may be damaged.
    ///
    /// # Errors
    /// The file, and its version.
    pub fn refuse_unknown(data_dir: &Path) -> Result<(), (PathBuf, LookoutError)> {
        let path = data_dir.join(NAME);
        match files::read(&path).map(|bytes| Lookout::from_bytes(&bytes)) {
            Ok(Err(error @ LookoutError::Version(_))) => Err((path, error)),
            _ => Ok(()),
        }
    }

    /// All that are kept, the open ones first, then the newest first.
    pub fn list(&self) -> Vec<Shown> {
        Shown::all(&self.lock().lookout)
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
    pub fn close(&self, id: &str, by: &str, settings: &IncidentSettings, journal: &Journal, now: Timestamp) -> Result<(), UnknownIncident> {
        let mut kept = self.lock();
        let change = kept.lookout.incidents.close(id, by, settings, now)?;
        journal.append(now, change.event());
        kept.closed.push(change);
        kept.save();
        Ok(())
    }

    /// What the rules find now, before incidents are made of it, with the users whose mail explains what is found about a stream.
    ///
    /// # Errors
    /// The tallies cannot be read; nothing has changed.
    pub fn judge(&self, view: View<'_>, settings: &RuleSettings, now: Timestamp) -> Result<Vec<(Finding, Vec<Key>)>, TalliesError> {
        let rules = &mut self.lock().lookout.rules;
        let found = rules.judge(view, settings, now)?;
        Ok(found.into_iter().map(|finding| (finding.clone(), rules.explained_by(&finding).to_vec())).collect())
    }

    /// Asks the rules and goes on with the incidents. What changed should be written and told in this order, and saved then.
    ///
    /// # Errors
    /// The tallies cannot be read; nothing has changed.
    pub fn tick(&self, view: View<'_>, settings: &RuleSettings, now: Timestamp) -> Result<Vec<IncidentChange>, TalliesError> {
        let mut kept = self.lock();
        kept.facts = Some(Arc::new(view.facts.clone()));
        kept.lookout.tick(view, settings, now)
    }

    /// Takes the scores of this minute: what they lost is among the findings.
    pub fn take_scores(&self, scores: score::Scores, settings: &score::Settings, now: Timestamp) {
        let mut kept = self.lock();
        kept.lookout.rules.take_scores(&scores, settings, now);
        kept.scores = Some(Arc::new(scores));
    }

    /// All findings, of rules and of the score, the open ones first, then the worst first.
    pub fn findings(&self) -> Vec<ShownFinding> {
        let kept = self.lock();
        let mut found: Vec<&Finding> = kept.lookout.rules.found().collect();
        found.sort_by(|a, b| (a.state, b.severity).cmp(&(b.state, a.severity)).then_with(|| b.last_seen.cmp(&a.last_seen)));
        found.into_iter().map(ShownFinding::of).collect()
    }

    /// What was found at the last look, by id (`mail_stands/provider:google`). An incident stays open for a while after that.
    pub fn found_now(&self) -> HashSet<String> {
        let kept = self.lock();
        kept.lookout.rules.found().filter(|found| found.state == FindingState::Open).map(|found| found.id.clone()).collect()
    }

    /// Open incidents of a severity, muted ones included.
    pub fn open_of(&self, severity: Severity) -> usize {
        self.lock().lookout.incidents.open(severity)
    }

    /// What the rules looked at last, beside the tallies; None before their first look.
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.lock().facts.clone()
    }

    /// The scores of the last minute; None before the first look.
    pub fn scores(&self) -> Option<Arc<score::Scores>> {
        self.lock().scores.clone()
    }

    /// The lanes that feedback had stopped at the last look. Those that an operator stopped are not among them.
    pub fn stopped_lanes(&self) -> StoppedLanes {
        let facts = self.facts();
        let lanes = facts.iter().flat_map(|facts| &facts.lanes);
        let by_feedback = lanes.filter(|lane| lane.stopped.as_ref().is_some_and(|stopped| !stopped.by_operator));
        by_feedback.map(|lane| (lane.source.clone(), lane.provider.clone())).collect()
    }

    /// What operators closed since this was asked last, for those who heard that it opened.
    pub fn closed_by_hand(&self) -> Vec<IncidentChange> {
        std::mem::take(&mut self.lock().closed)
    }

    /// Those that are open and not muted.
    pub fn lasting(&self) -> Vec<Incident> {
        let kept = self.lock();
        kept.lookout.incidents.list().filter(|(_, state)| *state == IncidentState::Open).map(|(incident, _)| incident.clone()).collect()
    }

    /// Writes the file if something has changed. Blocks on the disk.
    pub fn save(&self) {
        self.lock().save();
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

/// The incidents of a relay that does not run, in the order of [`Incidents::list`]; none if they cannot be read.
pub fn kept_in(data_dir: &Path) -> Vec<Shown> {
    let saved = files::read(&data_dir.join(NAME)).unwrap_or_default();
    Lookout::from_bytes(&saved).map(|lookout| Shown::all(&lookout)).unwrap_or_default()
}

/// Those that were open at some moment of a span, for a report.
pub fn open_in(incidents: &[Shown], (from, to): (Timestamp, Timestamp)) -> Vec<serde_json::Value> {
    let was_open = |incident: &Shown| incident.since < to && incident.closed.is_none_or(|closed| closed >= from);
    incidents.iter().filter(|incident| was_open(incident)).filter_map(|incident| serde_json::to_value(incident).ok()).collect()
}

impl Shown {
    /// All incidents, the open ones first, then the newest first.
    fn all(lookout: &Lookout) -> Vec<Self> {
        let incidents = &lookout.incidents;
        let mut shown: Vec<Self> =
            incidents.list().map(|(incident, state)| Self::of(incident, state, incidents.mute_of(incident).cloned())).collect();
        shown.sort_by(|a, b| (a.state == "closed").cmp(&(b.state == "closed")).then_with(|| b.since.cmp(&a.since)));
        shown
    }

    fn of(incident: &Incident, state: IncidentState, mute: Option<Mute>) -> Self {
        Self {
            id: incident.id.clone(),
            state: state.as_str().to_owned(),
            told: Told::of(&incident.finding, incident.last_hit),
            since: incident.opened,
            closed: incident.closed,
            mute,
        }
    }
}

impl ShownFinding {
    fn of(finding: &Finding) -> Self {
        let told = Told::of(finding, finding.last_seen);
        Self { id: finding.id.clone(), state: finding.state.as_str().to_owned(), told, first_seen: finding.first_seen }
    }
}

impl Told {
    fn of(finding: &Finding, last_seen: Timestamp) -> Self {
        Self {
            rule: finding.rule.as_str().to_owned(),
            key: finding.key.to_string(),
            severity: finding.severity.as_str().to_owned(),
            detail: finding.summary.clone(),
            n: finding.measure.n,
            of: finding.measure.of,
            measure: finding.measure.what.clone(),
            limit: finding.measure.limit.clone(),
            limit_from: finding.measure.limit_from.as_str().to_owned(),
            problem_of: finding.problem_of.as_str().to_owned(),
            done: finding.done.clone(),
            next_step: finding.next_step.clone(),
            query: finding.query.clone(),
            last_seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use posthaste_host::{InForce, clock};
    use posthaste_journal::stamp;
    use posthaste_mail::Name;
    use posthaste_monitor::{EventLog, LogOptions};

    use super::*;

    #[test]
    fn a_file_that_is_damaged_or_empty_is_put_aside_and_said_and_none_is_nothing_to_say() {
        let dir = tempfile::tempdir().unwrap();
        let node = InForce::fixed(Name::new("mx1").unwrap());
        let (log, _) = EventLog::open(LogOptions::new(dir.path().join("log")), clock::now, stamp(node.clone()), |_, _| ()).unwrap();
        let journal = Journal::new(log, node);
        let (path, aside) = (dir.path().join(NAME), dir.path().join("incidents.json.damaged"));
        let open = || Incidents::open(dir.path(), &journal).map(drop);
        let told = || {
            journal.flush().unwrap();
            std::fs::read_to_string(dir.path().join("log/delivery.log")).unwrap().matches("incidents.json.damaged").count()
        };
        open().unwrap();
        assert!(told() == 0 && !aside.exists());
        for (times, bytes) in (1..).zip(["", "{", "{\"version\":1}"]) {
            std::fs::write(&path, bytes).unwrap();
            open().unwrap();
            assert_eq!((told(), std::fs::read_to_string(&aside).unwrap().as_str()), (times, bytes));
        }
        std::fs::write(&path, Lookout::default().to_bytes()).unwrap();
        open().unwrap();
        assert_eq!(told(), 3);
    }
}
