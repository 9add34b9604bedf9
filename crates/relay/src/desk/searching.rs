//! Searches of the delivery log, step by step on threads that may block, beside the mail.

use std::{path::Path, sync::Arc, time::Duration};

use posthaste_host::clock;
use posthaste_monitor::{Budget, Criteria, Cursor, LogError, Pace, Search, Step};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::undone::{Answered, Undone, blocking};

/// Searches at once: each holds some 6 MiB.
const SEARCHES_MAX: usize = 8;
/// Steps at once, so that the disk is the mail's.
const STEPS_MAX: usize = 2;
/// How far a step goes: short, so that others have their turns and who stops looking is soon noticed.
const STEP_TIME: Duration = Duration::from_millis(50);
const STEP_BYTES: u64 = 64 << 20;

/// The room that there is for searches.
#[derive(Clone, Debug)]
pub struct Searches {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Searches {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(SEARCHES_MAX)), turns: Arc::new(Semaphore::new(STEPS_MAX)) }
    }
}

/// A search that is under way. Dropped, it ends; a step that runs then is its last.
pub struct Searching {
    /// None only while a step has it, and after one that panicked.
    search: Option<Search>,
    pace: Pace,
    rest: Duration,
    turns: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl Searches {
    /// Begins a search of the log in this folder, or goes on with one. Blocks.
    pub(super) fn begin(&self, log: &Path, criteria: Criteria, after: Option<Cursor>) -> Answered<Searching> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(Undone::Failed(format!("{SEARCHES_MAX} searches are under way; try again in a moment")));
        };
        let search = match after {
            Some(cursor) => Search::resume(log, criteria, cursor),
            None => Search::begin(log, criteria),
        };
        let (search, turns) = (search.map_err(Undone::of)?, self.turns.clone());
        Ok(Searching { search: Some(search), pace: Pace::default(), rest: Duration::ZERO, turns, _place: place })
    }
}

impl Searching {
    /// Goes on for a moment: to so many rows at most. A search that lasts rests between its steps.
    /// # Errors
    /// The log cannot be read.
    pub async fn step(&mut self, rows: usize) -> Answered<Step> {
        if !self.rest.is_zero() {
            tokio::time::sleep(self.rest).await;
        }
        let turn = self.turns.clone().acquire_owned().await.map_err(Undone::of)?;
        let Some(mut search) = self.search.take() else { return Err(Undone::Failed("the search broke off".into())) };
        let begun = clock::instant();
        let work = move || {
            let step: Result<Step, LogError> = search.step(&Budget { rows, bytes: STEP_BYTES, time: STEP_TIME, clock: clock::instant });
            drop(turn);
            (search, step)
        };
        let (search, step) = blocking(work).await?;
        self.search = Some(search);
        self.rest = self.pace.rest(clock::instant().saturating_duration_since(begun));
        step.map_err(Undone::of)
    }
}
