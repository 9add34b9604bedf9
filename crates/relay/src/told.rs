//! What the spool remembers of other files, so that a start knows it if they are lost or older copies: how many alarms were raised, which missing
//! messages they have told of, and how many lists of the delivery log's files were written.

use jiff::Timestamp;
use posthaste_journal::{Alarms, Journal};
use posthaste_monitor::Watermark;
use posthaste_spool::{Spool, StoreError};
use serde::{Deserialize, Serialize};

/// The spool's key for the numbers of the missing messages that an alarm has told of.
const TOLD: &[u8] = b"lost/told";
/// The spool's key for the number of the next alarm, in decimal.
const ALARMS_NEXT: &[u8] = b"alarms/next";
/// The spool's key for the number of the newest list of the delivery log's files, in decimal.
const LOG_LIST: &[u8] = b"log/list";

/// Remembers in the spool which list of the delivery log's files is the newest.
pub(crate) fn note_log_list(journal: &Journal, spool: &Spool) {
    let serial = journal.list_serial().to_string();
    if spool.get(LOG_LIST).is_none_or(|known| known != serial.as_bytes()) {
        spool.put(LOG_LIST, serial.as_bytes());
    }
}

/// The newest list of the delivery log's files that is known of; 0: none.
pub(crate) fn newest_log_list(spool: &Spool) -> u64 {
    number(spool, LOG_LIST).unwrap_or(0)
}

fn number(spool: &Spool, key: &[u8]) -> Option<u64> {
    std::str::from_utf8(&spool.get(key)?).ok()?.parse().ok()
}

/// Remembers in the spool how many alarms were raised, so that a start knows it if their list is lost.
pub(crate) fn note_alarms(alarms: &Alarms, spool: &Spool) {
    let next = alarms.next().to_string();
    if next != "1" && spool.get(ALARMS_NEXT).is_none_or(|known| known != next.as_bytes()) {
        spool.put(ALARMS_NEXT, next.as_bytes());
    }
}

/// Whether alarms were lost with their list. Then nothing counts as told any more: the spool must be compared with the log. Blocks on the disk.
pub(crate) fn alarms_are_lost(alarms: &Alarms, spool: &Spool, now: Timestamp) -> Result<bool, StoreError> {
    let lost = alarms.must_know(number(spool, ALARMS_NEXT).unwrap_or(1), now);
    if lost {
        spool.must_be_compared()?;
        spool.delete(TOLD);
    }
    Ok(lost)
}

/// Notes that an alarm has told of these messages, by their spool numbers.
pub(crate) fn note_told(spool: &Spool, numbers: &[u64]) {
    if !numbers.is_empty() {
        let mut told = told(spool);
        numbers.iter().for_each(|number| told.see(*number));
        remember(spool, &told);
    }
}

/// The value of [`TOLD`]: ranges of numbers, first and last included. Later versions only add fields.
#[derive(Default, Serialize, Deserialize)]
struct Told {
    numbers: Vec<(u64, u64)>,
}

/// The numbers that alarms have told of.
pub(crate) fn told(spool: &Spool) -> Watermark {
    // What cannot be read is told once more.
    let told: Told = spool.get(TOLD).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    Watermark::new(0, &told.numbers)
}

/// Remembers that alarms have told of these.
pub(crate) fn remember(spool: &Spool, told: &Watermark) {
    let first = (told.through() > 0).then(|| (1, told.through()));
    let told = Told { numbers: first.into_iter().chain(told.beyond()).collect() };
    spool.put(TOLD, &serde_json::to_vec(&told).expect("ranges are plain data"));
}
