//! One incident, and what mutes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Finding, Severity};

/// An incident: a finding from its first hit until nothing was found for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When it opened, and a number: `20261129T140200-1`.
    pub id: String,
    /// What was found, with the figures of the last hit.
    pub finding: Finding,
    /// When it opened.
    pub opened: Timestamp,
    /// The last hit.
    pub last_hit: Timestamp,
    /// When it was told last: it opened, its severity rose, or a day had passed.
    pub told: Timestamp,
    /// The worst severity that was told.
    pub worst: Severity,
    /// When it closed, if it did.
    pub closed: Option<Timestamp>,
    /// The operator who closed it, if one did.
    pub closed_by: Option<String>,
}

/// What an operator does not want to hear of until then: a rule's finding about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// The state of an incident, as `posthaste incidents` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// It lasts.
    Open,
    /// It lasts, and an operator does not want to hear of it.
    Muted,
    /// It is over.
    Closed,
}

impl IncidentState {
    /// The word for it in commands and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Muted => "muted",
            Self::Closed => "closed",
        }
    }
}
