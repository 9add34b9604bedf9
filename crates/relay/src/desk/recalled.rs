//! The last error of a provider whose lanes have had none since the start: what the newest of its mail that waits was told, by the log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use posthaste_delivery::read_record;
use posthaste_journal::Journal;
use posthaste_mail::Class;
use posthaste_queue::{LaneRow, Tried};
use posthaste_spool::Spool;

use crate::{settings::Settings, why};

/// Providers whose last error is looked up, at most, those with the most mail: each costs some reads of the log. With more, the others' are known
/// from their next attempt on.
const RECALLED_MAX: usize = 50;

/// What was looked up, so that whoever looks every other second costs nothing.
#[derive(Clone, Default)]
pub struct Recalled(Arc<Mutex<HashMap<Tried, Option<Said>>>>);

/// An error, when that was, and what it means.
type Said = (String, Option<Timestamp>, Option<Class>);

impl Recalled {
    /// Adds last errors from before the start.
    pub(crate) async fn add(&self, rows: &mut [LaneRow], spool: &Spool, journal: &Journal, settings: Arc<Settings>) {
        let silent = |row: &LaneRow| row.tried.filter(|_| row.last_error.is_none());
        let wanted: Vec<Tried> = rows.iter().filter_map(silent).take(RECALLED_MAX).collect();
        let missing = self.missing(wanted);
        if !missing.is_empty() {
            let (spool, journal) = (spool.clone(), journal.clone());
            let look = move || {
                // Without the log it is half an answer, and better than none.
                let log = journal.index().caught_up().inspect_err(|error| {
                    tracing::debug!(%error, "the delivery log cannot be read for last errors");
                });
                let Ok(log) = log else { return Vec::new() };
                let said = |tried: &Tried| {
                    let record = read_record(&spool, tried.seq).ok()?;
                    let address = record.envelope.recipients.get(usize::from(tried.rcpt))?.to_string();
                    let told = why::last_answer(&log, &settings.rules, tried.id, &address).unwrap_or_default()?;
                    Some((told.said?, told.time.parse().ok(), told.class))
                };
                missing.into_iter().map(|tried| (tried, said(&tried))).collect()
            };
            let found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
            self.lock().extend(found);
        }
        let known = self.lock();
        for row in rows {
            if let Some((said, at, class)) = silent(row).and_then(|tried| known.get(&tried)?.clone()) {
                (row.last_error, row.last_error_at, row.last_class) = (Some(said), at, class);
            }
        }
    }

    /// Those of these that were not looked up; all others are forgotten.
    fn missing(&self, wanted: Vec<Tried>) -> Vec<Tried> {
        let mut known = self.lock();
        known.retain(|tried, _| wanted.contains(tried));
        wanted.into_iter().filter(|tried| !known.contains_key(tried)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Tried, Option<Said>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
