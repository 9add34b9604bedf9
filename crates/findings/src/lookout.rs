//! Rules and incidents together, and their state as bytes.

use jiff::Timestamp;
use posthaste_tallies::TalliesError;
use serde::{Deserialize, Serialize};

use crate::{IncidentChange, Incidents, RuleSettings, Rules, View};

/// Rules and incidents. The relay ticks it every five seconds, writes a line for each change, and keeps [`Self::to_bytes`] in a file: a
/// restart changes nothing.
#[derive(Debug, Default)]
pub struct Lookout {
    /// The rules.
    pub rules: Rules,
    /// The incidents.
    pub incidents: Incidents,
}

/// Why a saved state cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookoutError {
    /// Another version wrote it. It should be left alone.
    #[error(
        "the incidents have version {0}, and this posthaste knows {VERSION}: start the posthaste that wrote them, or move their file away"
    )]
    Version(String),
    /// It is no such state.
    #[error("the incidents cannot be read: {0}")]
    Damaged(String),
}

/// The version of the saved state.
const VERSION: u64 = 1;

#[derive(Deserialize)]
struct Versioned {
    version: serde_json::Value,
}

#[derive(Serialize)]
struct Saving<'a> {
    version: u64,
    rules: &'a Rules,
    incidents: &'a Incidents,
}

#[derive(Deserialize)]
struct Saved {
    rules: Rules,
    incidents: Incidents,
}

impl Lookout {
    /// Asks the rules and goes on with the incidents. What changed should be written and told in this order.
    ///
    /// # Errors
    /// The tallies cannot be read; nothing has changed, and no incident closes because nobody looked.
    pub fn tick(&mut self, view: View<'_>, settings: &RuleSettings, now: Timestamp) -> Result<Vec<IncidentChange>, TalliesError> {
        let findings = self.rules.judge(view, settings, now)?;
        Ok(self.incidents.take(&findings, &settings.incidents, now))
    }

    /// The state, to be saved after a tick. A thousand findings and a thousand incidents at most.
    pub fn to_bytes(&self) -> Vec<u8> {
        let saving = Saving { version: VERSION, rules: &self.rules, incidents: &self.incidents };
        serde_json::to_vec(&saving).expect("the state is plain data")
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// These bytes are none, or another version's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LookoutError> {
        let damaged = |error: serde_json::Error| LookoutError::Damaged(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version != VERSION {
            return Err(LookoutError::Version(version.to_string()));
        }
        let Saved { rules, incidents } = serde_json::from_slice(bytes).map_err(damaged)?;
        Ok(Self { rules, incidents })
    }
}
