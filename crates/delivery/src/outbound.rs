//! The parts of the relay that all sessions with receivers share.

use std::sync::Arc;

use posthaste_host::InForce;
use posthaste_journal::Journal;
use posthaste_queue::QueueHandle;
use posthaste_spool::Spool;
use posthaste_suppression::Register;

use crate::{
    at_once::AtOnce, bodies::Bodies, connect::Down, ledger::LedgerReader, logins::Logins, published::Published, reach::Reach,
    settings::Settings, sources, turned_away::TurnedAway, under_way::UnderWay,
};

/// What all sessions share.
pub struct Outbound {
    /// The spool, from which bodies are read back.
    pub spool: Spool,
    /// The settings in force.
    pub settings: InForce<Settings>,
    /// The queue, which gets the outcomes of jobs.
    pub queue: QueueHandle,
    /// The log, for panics in sessions.
    pub journal: Journal,
    /// Addresses that could not be reached lately.
    pub down: Down,
    /// The hosts that turned messages away.
    pub turned_away: TurnedAway,
    /// How many recipients receivers take in one transaction.
    pub at_once: AtOnce,
    /// How smart hosts take the relay's logins.
    pub logins: Arc<Logins>,
    /// How much of the warm-up ledger is on disk.
    pub ledger: LedgerReader,
    /// Which sources are on this host.
    pub sources: Arc<sources::Watch>,
    /// The memory of bodies on their way.
    pub bodies: Arc<Bodies>,
    /// What sessions are doing, for operators.
    pub under_way: UnderWay,
    /// Whether receivers can be reached at all.
    pub reach: Reach,
    /// What DNS publishes about senders.
    pub published: Published,
    /// The suppression list.
    pub register: Arc<Register<Spool>>,
}
