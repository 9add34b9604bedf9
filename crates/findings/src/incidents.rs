//! Incidents: findings that somebody should hear of, once.

mod change;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::change::{Change, IncidentChange};
use crate::{
    Finding, Rule, Severity,
    incident::{Incident, IncidentState, Mute},
    settings::IncidentSettings,
};

/// There is no such incident.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownIncident {
    /// No incident has this id.
    #[error("there is no incident {0}; `posthaste incidents list` names them")]
    Unknown(String),
    /// It is closed already.
    #[error("incident {0} is closed already")]
    Closed(String),
    /// It is about mail that the guard holds, and closes when that has ended.
    #[error(
        "incident {id} is about mail that the guard holds: it closes once `posthaste guard release {key}` or \
         `posthaste guard drop {key} --reason WHY` has ended that; `posthaste incidents mute {id} --for 24h --reason WHY` keeps it quiet"
    )]
    Holds {
        /// Its id.
        id: String,
        /// Whose mail.
        key: String,
    },
}

/// What an operator closed while it lasted: it stays closed until it was gone for a while, becomes worse, or a day has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Dismissed {
    at: Timestamp,
    last_hit: Timestamp,
    severity: Severity,
}

/// All incidents. A finding has one open incident at most.
///
/// | state | a hit | no hit for `closed_after` | `told_again` after it was told | severity above what was told |
/// |---|---|---|---|---|
/// | none | opened | – | – | – |
/// | open | figures kept | closed | changed | changed |
/// | muted | figures kept | closed | – | – |
/// | closed by an operator | – | forgotten | opened | opened |
///
/// A mute is about rule and key, so it outlives incidents. When it ends and the incident lasts, the incident is told again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    /// By the finding's id.
    open: BTreeMap<String, Incident>,
    /// In the order in which they closed.
    closed: Vec<Incident>,
    /// By the finding's id.
    mutes: BTreeMap<String, Mute>,
    dismissed: BTreeMap<String, Dismissed>,
    /// The second in which the last incident opened, and how many opened in it.
    last_id: (i64, u32),
    beyond: u64,
}

impl Incidents {
    /// Goes on to `now`, at which this is found. Returns what changed, in the order in which it should be told.
    pub fn take(&mut self, findings: &[Finding], settings: &IncidentSettings, now: Timestamp) -> Vec<IncidentChange> {
        self.bring_back(now);
        let mut changes = Vec::new();
        let ended = self.end_mutes(now);
        for finding in findings {
            changes.extend(self.hit(finding, settings, now));
        }
        for id in ended {
            if let Some(incident) = self.open.get_mut(&id).filter(|incident| incident.told < now) {
                incident.told = now;
                changes.push(IncidentChange::new(Change::Unmuted, incident, false, now));
            }
        }
        changes.extend(self.close_old(settings, now));
        changes
    }

    /// Mutes an incident's rule and key until then. It may be closed: the next one about it is muted too.
    ///
    /// # Errors
    /// There is no such incident.
    pub fn mute(&mut self, id: &str, mute: Mute, now: Timestamp) -> Result<IncidentChange, UnknownIncident> {
        let incident = self.get(id).ok_or_else(|| UnknownIncident::Unknown(id.into()))?;
        let change = IncidentChange::new(Change::Muted(mute.clone()), incident, true, now);
        let about = incident.finding.id.clone();
        if self.mutes.len() >= MUTES_MAX
            && !self.mutes.contains_key(&about)
            && let Some(first) = self.mutes.iter().min_by_key(|(_, mute)| mute.until).map(|(id, _)| id.clone())
        {
            self.mutes.remove(&first);
        }
        self.mutes.insert(about, mute);
        Ok(change)
    }

    /// Closes an incident in the name of an operator.
    ///
    /// # Errors
    /// There is no such incident, it is closed, or it is about mail that the guard holds.
    pub fn close(&mut self, id: &str, by: &str, settings: &IncidentSettings, now: Timestamp) -> Result<IncidentChange, UnknownIncident> {
        let found = self.open.iter().find(|(_, incident)| incident.id == id);
        if let Some((_, incident)) = found.filter(|(_, incident)| lasts_while_found(incident)) {
            return Err(UnknownIncident::Holds { id: id.into(), key: incident.finding.key.to_string() });
        }
        let Some(about) = found.map(|(about, _)| about.clone()) else {
            let known = self.closed.iter().any(|incident| incident.id == id);
            return Err(if known { UnknownIncident::Closed(id.into()) } else { UnknownIncident::Unknown(id.into()) });
        };
        let mut incident = self.open.remove(&about).expect("it was found");
        let dismissed = Dismissed { at: now, last_hit: incident.last_hit, severity: incident.finding.severity };
        incident.closed = Some(now);
        incident.closed_by = Some(by.to_owned());
        let change = IncidentChange::new(Change::Closed, &incident, self.mutes.contains_key(&about), now);
        self.dismissed.insert(about, dismissed);
        self.keep_closed(incident, settings);
        Ok(change)
    }

    /// All incidents: the open ones, the worst first, and then the closed ones, the last first.
    pub fn list(&self) -> impl Iterator<Item = (&Incident, IncidentState)> {
        let mut open: Vec<&Incident> = self.open.values().collect();
        open.sort_by(|a, b| b.finding.severity.cmp(&a.finding.severity).then(a.opened.cmp(&b.opened)).then_with(|| a.id.cmp(&b.id)));
        open.into_iter().chain(self.closed.iter().rev()).map(|incident| (incident, self.state(incident)))
    }

    /// The incident with this id.
    pub fn get(&self, id: &str) -> Option<&Incident> {
        self.open.values().chain(self.closed.iter().rev()).find(|incident| incident.id == id)
    }

    /// The state of an incident.
    pub fn state(&self, incident: &Incident) -> IncidentState {
        match incident.closed {
            Some(_) => IncidentState::Closed,
            None if self.mutes.contains_key(&incident.finding.id) => IncidentState::Muted,
            None => IncidentState::Open,
        }
    }

    /// What mutes an incident's rule and key.
    pub fn mute_of(&self, incident: &Incident) -> Option<&Mute> {
        self.mutes.get(&incident.finding.id)
    }

    /// Open incidents of a severity, muted ones included.
    pub fn open(&self, severity: Severity) -> usize {
        self.open.values().filter(|incident| incident.finding.severity == severity).count()
    }

    /// Hits for which there was no place, because so many incidents are open.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    fn hit(&mut self, finding: &Finding, settings: &IncidentSettings, now: Timestamp) -> Option<IncidentChange> {
        let muted = self.mutes.contains_key(&finding.id);
        let Some(incident) = self.open.get_mut(&finding.id) else { return self.first_hit(finding, settings, now) };
        incident.finding = finding.clone();
        incident.last_hit = now;
        // What is muted is not told; if it is still worse when the mute ends, that tells it.
        let change = match () {
            () if muted => return None,
            () if finding.severity > incident.worst => Change::SeverityRose,
            () if lasted(incident.told, now, settings.told_again) => Change::ToldAgain,
            () => return None,
        };
        incident.worst = incident.worst.max(finding.severity);
        incident.told = now;
        Some(IncidentChange::new(change, incident, false, now))
    }

    fn first_hit(&mut self, finding: &Finding, settings: &IncidentSettings, now: Timestamp) -> Option<IncidentChange> {
        if let Some(dismissed) = self.dismissed.get_mut(&finding.id) {
            let gone = lasted(dismissed.last_hit, now, settings.closed_after);
            if !gone && finding.severity <= dismissed.severity && !lasted(dismissed.at, now, settings.told_again) {
                dismissed.last_hit = now;
                return None;
            }
        }
        if self.open.len() >= settings.kept {
            self.beyond = self.beyond.saturating_add(1);
            return None;
        }
        self.dismissed.remove(&finding.id);
        let incident = Incident {
            id: self.next_id(now),
            finding: finding.clone(),
            opened: now,
            last_hit: now,
            told: now,
            worst: finding.severity,
            closed: None,
            closed_by: None,
        };
        let change = IncidentChange::new(Change::Opened, &incident, self.mutes.contains_key(&finding.id), now);
        self.open.insert(finding.id.clone(), incident);
        // Together they are no more than are kept.
        self.forget_closed(settings);
        Some(change)
    }

    /// Times of a clock that was ahead and went back would last for ever.
    fn bring_back(&mut self, now: Timestamp) {
        for incident in self.open.values_mut() {
            incident.last_hit = incident.last_hit.min(now);
            incident.told = incident.told.min(now);
        }
        for dismissed in self.dismissed.values_mut() {
            dismissed.at = dismissed.at.min(now);
            dismissed.last_hit = dismissed.last_hit.min(now);
        }
    }

    /// What is muted no longer.
    fn end_mutes(&mut self, now: Timestamp) -> Vec<String> {
        let ended: Vec<String> = self.mutes.iter().filter(|(_, mute)| mute.until <= now).map(|(id, _)| id.clone()).collect();
        ended.iter().for_each(|id| drop(self.mutes.remove(id)));
        ended
    }

    fn close_old(&mut self, settings: &IncidentSettings, now: Timestamp) -> Vec<IncidentChange> {
        self.dismissed.retain(|_, dismissed| !lasted(dismissed.last_hit, now, settings.closed_after));
        let old = |incident: &Incident| {
            lasted(incident.last_hit, now, settings.closed_after) || (lasts_while_found(incident) && incident.last_hit < now)
        };
        let ids: Vec<String> = self.open.iter().filter(|(_, incident)| old(incident)).map(|(id, _)| id.clone()).collect();
        let mut changes = Vec::new();
        for id in ids {
            let mut incident = self.open.remove(&id).expect("it was found");
            incident.closed = Some(now);
            changes.push(IncidentChange::new(Change::Closed, &incident, self.mutes.contains_key(&id), now));
            self.keep_closed(incident, settings);
        }
        changes
    }

    fn keep_closed(&mut self, incident: Incident, settings: &IncidentSettings) {
        self.closed.push(incident);
        self.forget_closed(settings);
    }

    fn forget_closed(&mut self, settings: &IncidentSettings) {
        let most = settings.kept.saturating_sub(self.open.len());
        let beyond = self.closed.len().saturating_sub(most);
        self.closed.drain(..beyond);
    }

    /// No two incidents have the same id, also if the state was lost and the clock went on.
    fn next_id(&mut self, now: Timestamp) -> String {
        let second = now.as_second();
        self.last_id = match self.last_id {
            (last, number) if last >= second => (last, number + 1),
            _ => (second, 1),
        };
        let (second, number) = self.last_id;
        let time = Timestamp::from_second(second).unwrap_or_default().to_zoned_datetime(jiff::tz::TimeZone::UTC);
        format!("{}-{number}", time.strftime("%Y%m%dT%H%M%S"))
    }
}

/// Whether an incident is open for as long as it is found, and no longer: what the guard holds is a fact, and no figure that goes up and down.
fn lasts_while_found(incident: &Incident) -> bool {
    incident.finding.rule == Rule::Guard
}

/// Mutes that are kept; beyond them, the one that ends first is forgotten.
const MUTES_MAX: usize = 1000;

fn lasted(since: Timestamp, now: Timestamp, time: std::time::Duration) -> bool {
    std::time::Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed >= time)
}

#[cfg(test)]
mod tests;
