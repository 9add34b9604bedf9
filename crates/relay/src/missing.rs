//! After a stop that was not orderly, the delivery log is compared with the spool while the relay runs: what was accepted, has no ending and is
//! not in the spool is lost, and an alarm says how much that is.

use std::{path::PathBuf, thread, time::Duration};

use posthaste_journal::{Alarms, Finding, Journal, Part};
use posthaste_monitor::{LogError, Missing, Unended};
use posthaste_spool::{ReadError, Spool, StoreError};
use tokio::sync::oneshot;

use crate::{
    open::SEND_AGAIN,
    spooled::each_spooled,
    told::{note_alarms, remember, told},
    watch::raise,
};

/// After a comparison that failed, when it is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// The alarm about a comparison that is not done yet.
const UNCOMPARED: &str = "uncompared";
/// Ranges of numbers in an alarm.
const RANGES_MAX: usize = 8;

/// What the comparison needs.
pub(crate) struct Comparison {
    pub(crate) spool: Spool,
    pub(crate) journal: Journal,
    pub(crate) alarms: Alarms,
    /// The delivery log's folder.
    pub(crate) log: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Comparison {
    /// Compares until that has succeeded once. It has a thread of its own, so that a stop does not wait for it: then the next start compares.
    pub(crate) async fn run(self) {
        let mut said = false;
        let mut comparison = self;
        loop {
            let (done, compared) = oneshot::channel();
            let work = move || {
                let result = comparison.compare();
                drop(done.send((comparison, result)));
            };
            if let Err(error) = thread::Builder::new().name("compare".to_owned()).spawn(work) {
                return tracing::error!(%error, "the spool is not compared with the delivery log; the next start does it");
            }
            let Ok((back, result)) = compared.await else { return };
            comparison = back;
            match result {
                Ok(()) => {
                    let over = || "the spool was compared with the delivery log".into();
                    return comparison.journal.mended(Part::Spool, UNCOMPARED, "", over);
                }
                // The relay stops: the next start compares.
                Err(CompareError::Log(LogError::Closed) | CompareError::Store(StoreError::Closed)) => return,
                Err(error) if !said => {
                    let detail =
                        format!("whether accepted messages are missing from the spool is not known yet: {error}. It is tried again");
                    let remedy = "Check the disk of the delivery log".into();
                    let (rule, key) = (UNCOMPARED, String::new());
                    comparison.journal.raise(Finding { rule, key, part: Some(Part::Spool), what: detail, remedy });
                    said = true;
                }
                Err(error) => tracing::warn!(%error, "the spool cannot be compared with the delivery log yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Raises an alarm about what is missing and was not told before. Blocks on the disk.
    fn compare(&self) -> Result<(), CompareError> {
        let Self { spool, journal, alarms, log } = self;
        let mut unended = Unended::read(log)?;
        let mut told = told(spool);
        let mut known = told.clone();
        if !unended.is_empty() {
            // Those whose records cannot be read have alarms of their own.
            each_spooled(spool, |message, rcpt| unended.is_queued(message, rcpt), |seq| known.see(seq))?;
        }
        journal.flush()?;
        let missing = unended.missing(&known)?;
        if missing.recipients > 0 {
            raise(alarms, journal, vec![finding(&missing)]);
            note_alarms(alarms, spool);
            missing.numbers.iter().for_each(|(first, last)| told.see_range(*first, *last));
            remember(spool, &told);
        }
        Ok(spool.compared()?)
    }
}

fn finding(missing: &Missing) -> Finding {
    let Missing { recipients, messages, numbers, first, unproven } = missing;
    let range = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first} to {last}") };
    let mut ranges: Vec<String> = numbers.iter().take(RANGES_MAX).map(range).collect();
    if numbers.len() > RANGES_MAX {
        ranges.push(format!("{} more ranges", numbers.len() - RANGES_MAX));
    }
    let named: Vec<String> = first.iter().map(ToString::to_string).collect();
    let and_so_on = if *messages > named.len() as u64 { " and so on" } else { "" };
    let unproven = match unproven {
        0 => String::new(),
        n => format!("; {n} more recipients cannot be judged, because lines of the log are missing"),
    };
    Finding {
        rule: "messages_missing",
        key: format!("{messages}-{}", ranges.join(",").replace(' ', "-")),
        part: Some(Part::Spool),
        what: match messages {
            1 => format!(
                "1 accepted message ({recipients} {} in all) is missing: it has no ending in the log and is not in the spool. Its number: {}; its \
                 id: {}{unproven}",
                if *recipients == 1 { "recipient" } else { "recipients" },
                ranges.join(", "),
                named.join(", "),
            ),
            _ => format!(
                "{messages} accepted messages ({recipients} recipients in all) are missing: they have no ending in the log and are not in the \
                 spool. Their numbers: {}; their ids: {}{and_so_on}{unproven}",
                ranges.join(", "),
                named.join(", "),
            ),
        },
        remedy: SEND_AGAIN.into(),
    }
}

#[cfg(test)]
mod tests {
    use posthaste_mail::MessageId;

    use super::*;

    #[test]
    fn the_alarm_says_how_many_and_which() {
        let id = |n| MessageId::new(jiff::Timestamp::UNIX_EPOCH, n);
        let numbers = (1..=10).map(|n| (n * 10, n * 10 + n % 2)).collect();
        let missing = Missing { recipients: 17, messages: 15, numbers, first: vec![id(1), id(2), id(3)], unproven: 2 };
        let Finding { what, key, .. } = finding(&missing);
        assert!(what.starts_with("15 accepted messages (17 recipients in all) are missing"), "{what}");
        assert!(what.contains("numbers: 10 to 11, 20, 30 to 31, 40, 50 to 51, 60, 70 to 71, 80, 2 more ranges; their ids: "), "{what}");
        assert!(what.contains(&format!("{}, {}, {} and so on; 2 more recipients cannot", id(1), id(2), id(3))), "{what}");
        assert!(key.starts_with("15-10-to-11,20,"), "{key}");
    }
}
