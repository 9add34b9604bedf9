//! What all sessions with receivers share.

use std::sync::Arc;

use posthaste_host::InForce;
use posthaste_journal::Journal;
use posthaste_queue::QueueHandle;
use posthaste_spool::Spool;
use posthaste_suppression::Register;

use crate::{connect::Down, ledger::LedgerReader, settings::Settings, sources};

/// What sessions share.
pub struct Outbound {
    /// Where bodies are read back from.
    pub spool: Spool,
    /// What is in force.
    pub settings: InForce<Settings>,
    /// Where what became of jobs is told.
    pub queue: QueueHandle,
    /// Where breakdowns are told.
    pub journal: Journal,
    /// Addresses that could not be reached lately.
    pub down: Down,
    /// What of the warm-up ledger is on disk.
    pub ledger: LedgerReader,
    /// Which sources are on this host.
    pub sources: Arc<sources::Watch>,
    /// Who is not written to.
    pub register: Arc<Register<Spool>>,
}
