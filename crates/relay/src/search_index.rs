//! Makes the tables by which searches pass over parts of the delivery log.

use std::time::Duration;

use posthaste_host::clock;
use posthaste_journal::Journal;
use posthaste_monitor::SearchIndex;

use crate::settings::Swap;

/// How much of the log is read between two rests.
const AT_ONCE: u64 = 4 << 20;
/// A rest is so many times as long as the work before it: a tenth of a processor is not missed, and 6 GB of log have their tables within minutes.
const RESTS: u32 = 9;
/// How long nothing is done once all parts of the log have their tables, or have none because there is no room.
const IDLE: Duration = Duration::from_secs(30);

/// Makes the tables, a little at a time, and deletes those that should not be there. The log's writer does not know of it. Never returns.
pub(crate) async fn index_for_searches(settings: Swap, journal: Journal) {
    let new = |journal: &Journal| SearchIndex::new(journal.dir(), 0);
    let (mut index, mut failing) = (new(&journal), false);
    loop {
        index.keep(room(settings.load().config.log.search_index, journal.trouble().is_some()));
        let work = move || {
            let begun = clock::instant();
            let worked = index.work(AT_ONCE);
            (index, worked, clock::instant().saturating_duration_since(begun))
        };
        let (back, rest) = match tokio::task::spawn_blocking(work).await {
            Ok((back, Ok(more), took)) => {
                failing = false;
                (back, if more { took * RESTS } else { IDLE })
            }
            Ok((back, Err(error), _)) => {
                // Said once, not every half minute: nothing but the speed of searches depends on it.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the index of searches; what it lacks is read from the log by each search");
                }
                (back, IDLE)
            }
            Err(error) => {
                tracing::error!("the index of searches is begun anew: {error}");
                (new(&journal), IDLE)
            }
        };
        index = back;
        tokio::time::sleep(rest).await;
    }
}

/// How much disk the tables may have. While the log cannot be written, it gets theirs: they can be made again, and its lines cannot.
fn room(most: u64, log_in_trouble: bool) -> u64 {
    if log_in_trouble { 0 } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_gets_the_room_of_the_tables_while_it_has_none() {
        assert_eq!([false, true].map(|trouble| room(128 << 20, trouble)), [128 << 20, 0]);
    }
}
