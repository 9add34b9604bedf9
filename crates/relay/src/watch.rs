//! The relay's eye on its own disks.

use std::time::Duration;

use posthaste_journal::{Journal, Part, State};
use posthaste_spool::Spool;

/// How often the disk and the log are looked at for trouble.
const EVERY: Duration = Duration::from_secs(2);

/// Says once when the spool or the log is in trouble, and once when it is over. Never ends.
pub(crate) async fn watch_trouble(spool: Spool, journal: Journal) {
    let (mut spool_trouble, mut log_trouble) = (None, None);
    loop {
        tokio::time::sleep(EVERY).await;
        for (part, known, now) in [(Part::Spool, &mut spool_trouble, spool.trouble()), (Part::Log, &mut log_trouble, journal.trouble())] {
            match (&*known, &now) {
                (None, Some(why)) => journal.say(part, State::Alarm, format!("no mail is taken: {why}")),
                (Some(_), None) => journal.say(part, State::AlarmOver, "mail is taken again"),
                _ => continue,
            }
            *known = now;
        }
    }
}
