//! The warm-up ledger on the disk: the governor's entries as keyed facts of the spool, and the waiting for them to be durable.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::civil::Date;
use posthaste_governor::{Batch, LaneEntry, LaneKey, Part};
use posthaste_journal::{Finding, Journal};
use posthaste_mail::Name;
use posthaste_spool::Spool;
use tokio::sync::watch;

/// When each source that warms up was first seen with a curve.
pub type FirstSeen = HashMap<Name, Date>;

/// The prefix of the ledger's keys in the spool.
pub const PREFIX: &[u8] = b"warmup/lane/";
/// The prefix of the keys for the day on which each source was first seen with a curve.
const SEEN: &[u8] = b"warmup/source/";
/// How long to wait before a failed write is tried again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Writes batches, and publishes which of them are on disk.
#[derive(Clone)]
pub struct LedgerWriter {
    spool: Spool,
    journal: Journal,
    durable: watch::Sender<u64>,
}

/// Waits for batches.
#[derive(Clone, Debug)]
pub struct LedgerReader(watch::Receiver<u64>);

impl LedgerWriter {
    /// A writer, and a reader that waits for it.
    pub fn new(spool: Spool, journal: Journal) -> (Self, LedgerReader) {
        let (durable, seen) = watch::channel(0);
        (Self { spool, journal, durable }, LedgerReader(seen))
    }

    /// Hands a batch to the disk. Batches become durable in their order, since one sync covers all that was handed over before it.
    pub fn write(&self, batch: Batch) {
        put(&self.spool, &batch.entries);
        let (spool, durable, journal) = (self.spool.clone(), self.durable.clone(), self.journal.clone());
        tokio::spawn(async move {
            while let Err(error) = spool.sync().await {
                let what = format!("the warm-up ledger cannot be written, and mail under a cap waits: {error}");
                let (rule, remedy) = ("ledger_unwritable", "Make room on the spool's disk, or mend it".into());
                journal.raise(Finding { rule, key: String::new(), part: Some(posthaste_journal::Part::Warmup), what, remedy });
                tokio::time::sleep(RETRY).await;
                put(&spool, &batch.entries);
            }
            let over = || "the warm-up ledger is written again".into();
            journal.mended(posthaste_journal::Part::Warmup, "ledger_unwritable", "", over);
            durable.send_if_modified(|known| {
                let later = batch.number > *known;
                *known = batch.number.max(*known);
                later
            });
        });
    }
}

impl LedgerReader {
    /// Waits until this batch is on disk; false if the relay stops before.
    pub async fn durable(&mut self, batch: u64) -> bool {
        self.0.wait_for(|durable| *durable >= batch).await.is_ok()
    }
}

/// Hands entries to the spool, which makes them durable with its next sync.
pub fn put(spool: &Spool, entries: &[LaneEntry]) {
    for entry in entries {
        let key = [PREFIX, entry.storage_key().as_bytes()].concat();
        if entry.is_deletion() {
            spool.delete(&key);
        } else {
            let value = serde_json::to_vec(entry).expect("an entry has nothing that JSON can't hold");
            spool.put(&key, &value);
        }
    }
}

/// All entries on the disk, and a text for each one that cannot be read; those are left where they are.
pub fn read(spool: &Spool) -> (Vec<LaneEntry>, Vec<String>) {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    for (key, value) in spool.scan(PREFIX) {
        match serde_json::from_slice(&value) {
            Ok(entry) => entries.push(entry),
            Err(error) => bad.push(format!("{}: {error}", String::from_utf8_lossy(&key))),
        }
    }
    (entries, bad)
}

/// Whether more was leased on some open day than is accounted for: the last stop was not an orderly one.
pub fn is_unaccounted(entries: &[LaneEntry]) -> bool {
    entries.iter().any(|entry| matches!(&entry.part, Part::Day(day) if day.closed.is_none() && day.leased > day.charge()))
}

/// The lanes of the entries.
pub fn lanes(entries: &[LaneEntry]) -> HashSet<LaneKey> {
    entries.iter().map(|entry| entry.lane.clone()).collect()
}

/// The day since when each of these sources warms up: stored when it is first seen with a curve, and deleted when it has none any more.
pub fn first_seen(spool: &Spool, warming: &BTreeSet<Name>, today: Date) -> FirstSeen {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let known = spool.scan(SEEN).into_iter().filter_map(|(key, value)| {
        let name = Name::new(&text(key.strip_prefix(SEEN)?)?).ok()?;
        Some((name, text(&value)?.parse().ok()?))
    });
    let mut seen: FirstSeen = known.collect();
    let key = |name: &Name| [SEEN, name.as_str().as_bytes()].concat();
    seen.retain(|name, _| {
        let stays = warming.contains(name);
        if !stays {
            spool.delete(&key(name));
        }
        stays
    });
    for name in warming {
        seen.entry(name.clone()).or_insert_with(|| {
            spool.put(&key(name), today.to_string().as_bytes());
            today
        });
    }
    seen
}
