//! The names of lanes: the one in the ledger and the log, and the one inside a running governor.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A lane's name: a source and a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaneKey {
    /// The sending address's name in the configuration.
    pub source: Arc<str>,
    /// The provider that runs the mailboxes.
    pub provider: Arc<str>,
}

/// A lane of one governor: cheap to copy and to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub(crate) u32);

impl LaneKey {
    /// The command with which an operator ends the lane's pause and climb, as part of a sentence.
    pub fn how_to_resume(&self) -> String {
        format!("`posthaste warmup resume {}/{} --reason WHY` ends this at once", self.source, self.provider)
    }

    /// A source at a provider.
    pub fn new(source: &str, provider: &str) -> Self {
        Self { source: source.into(), provider: provider.into() }
    }
}
