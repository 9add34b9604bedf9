//! What changed about an incident, for the log and for whoever is told.

use jiff::Timestamp;
use posthaste_mail::{IncidentFacts, What};

use crate::incident::{Incident, Mute};

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was found for the first time.
    Opened,
    /// It has become worse.
    SeverityRose,
    /// It has lasted for a day since it was told.
    ToldAgain,
    /// An operator does not want to hear of it for a while.
    Muted(Mute),
    /// The mute ended, and it lasts.
    Unmuted,
    /// Nothing was found for a while, or an operator closed it.
    Closed,
}

impl Change {
    /// The word of it in the log's field `change`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::SeverityRose => "severity_rose",
            Self::ToldAgain => "told_again",
            Self::Muted(_) => "muted",
            Self::Unmuted => "unmuted",
            Self::Closed => "closed",
        }
    }

    /// The word of it in the log's field `state`.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::SeverityRose | Self::ToldAgain | Self::Unmuted => "changed",
            Self::Muted(_) => "muted",
            Self::Closed => "closed",
        }
    }
}

/// A change of an incident: a line of the log, and word for the alarm channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentChange {
    /// What changed.
    pub change: Change,
    /// The incident after it.
    pub incident: Incident,
    /// Whether it is muted: it belongs into the log, and no alarm is sent of it.
    pub muted: bool,
    /// When.
    pub at: Timestamp,
}

impl IncidentChange {
    pub(super) fn new(change: Change, incident: &Incident, muted: bool, at: Timestamp) -> Self {
        Self { change, incident: incident.clone(), muted, at }
    }

    /// The line of the log.
    pub fn event(&self) -> What {
        let finding = &self.incident.finding;
        let mute = match &self.change {
            Change::Muted(mute) => Some(mute),
            _ => None,
        };
        What::Incident(Box::new(IncidentFacts {
            incident: self.incident.id.as_str().into(),
            rule: finding.rule.as_str(),
            key: finding.key.to_string().into(),
            state: self.change.state(),
            change: self.change.as_str(),
            severity: finding.severity.as_str(),
            n: finding.measure.n,
            of: finding.measure.of,
            measure: finding.measure.what.as_str().into(),
            limit: finding.measure.limit.as_str().into(),
            detail: finding.summary.clone(),
            problem_of: finding.problem_of.as_str(),
            done: finding.done.clone(),
            next_step: finding.next_step.clone(),
            query: finding.query.clone(),
            since: self.incident.opened,
            by: mute.map(|mute| mute.by.as_str()).or(self.incident.closed_by.as_deref()).map(Into::into),
            reason: mute.map(|mute| mute.reason.as_str().into()),
            until: mute.map(|mute| mute.until),
        }))
    }
}
