//! Watches the spool's and the log's disks for trouble, and reports what others do to the log's files.

use std::{collections::BTreeSet, time::Duration};

use posthaste_journal::{Journal, Part, State};
use posthaste_message::MessageRecord;
use posthaste_spool::Spool;

/// How often spool and log are checked.
const EVERY: Duration = Duration::from_secs(2);

/// Logs an alarm once when the spool or the log is in trouble, and once when that is over; one for each time that another program meddled with
/// the log's files; and one for each message that is found to be damaged. Never returns.
pub(crate) async fn watch_trouble(spool: Spool, journal: Journal) {
    let (mut spool_trouble, mut log_trouble) = (None, None);
    let mut damaged = BTreeSet::new();
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
        for seq in spool.damaged() {
            if damaged.insert(seq) {
                journal.say(Part::Spool, State::Alarm, damage(&spool, seq));
            }
        }
        journal.take_alarms().into_iter().for_each(|alarm| journal.say(Part::Log, State::Alarm, alarm));
    }
}

/// The alarm about a damaged message.
fn damage(spool: &Spool, seq: u64) -> String {
    let record = spool.meta(seq).ok().flatten().and_then(|meta| MessageRecord::decode(&meta).ok());
    let which =
        record.map_or_else(|| format!("message number {seq}"), |record| format!("{} from <{}>", record.id, record.envelope.reverse_path));
    format!(
        "{which} is damaged on disk and cannot be delivered: its sender is told when it expires; `posthaste queue drop` ends it sooner. Check \
         the disk"
    )
}
