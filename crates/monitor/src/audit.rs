//! The proof that no recipient was lost or ended twice: accepted = ended + queued, per recipient.

pub(crate) mod gaps;
mod horizon;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::MessageId;
use serde::Serialize;

use self::gaps::{GapLines, SLACK};
pub use self::{gaps::Gap, horizon::Horizon};
use crate::{
    FileId, Lines, LogError,
    log::{doubles, inventory::Inventory},
    record::{BriefRecord, GapRecord, is_ending, is_routine},
};

/// One recipient of one message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Recipient {
    /// The message.
    pub message: MessageId,
    /// The address.
    pub rcpt: String,
}

/// The log compared with the spool. All figures count recipients, not messages.
///
/// Each list holds up to 1,000 recipients; the counts are complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Recipients with an `accepted` line.
    pub accepted: u64,
    /// Endings by event.
    pub ended: BTreeMap<String, u64>,
    /// Recipients in the spool.
    pub queued: u64,
    /// Accepted but neither ended nor queued: lost.
    pub missing: Finding,
    /// Accepted more than once.
    pub doubly_accepted: Finding,
    /// Ended more than once.
    pub doubly_ended: Finding,
    /// Ended but never accepted.
    pub ended_without_accept: Finding,
    /// Queued but never accepted.
    pub queued_without_accept: Finding,
    /// Ended and still queued: the spool is about to forget them, now or on the next start. Nothing is wrong.
    pub ended_and_queued: u64,
    /// Accepted or stored after the spool was read: not judged yet.
    pub too_young: u64,
    /// Ended or queued, and older than the oldest line kept.
    pub before_the_log: u64,
    /// Delivered after an attempt with an unknown outcome: the receiver may have the message twice.
    pub possible_duplicates: u64,
    /// Lines that are missing from the log, as it says itself.
    pub gaps: Vec<Gap>,
    /// Recipients who seem to be lost, or to come from nowhere, but whose lines may be in a gap.
    pub unproven: u64,
    /// Lines that could not be parsed.
    pub damaged_lines: u64,
    /// Lines read.
    pub lines: u64,
}

/// Recipients for whom the accounts do not balance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How many.
    pub count: u64,
    /// The first 1,000 of them, in order of acceptance.
    pub listed: Vec<Recipient>,
}

/// The most recipients in each list of an [`Audit`].
const LISTED_MAX: usize = 1000;

impl Audit {
    /// Whether accepted = ended + queued is proven for each recipient. A gap in the log proves nothing. Damaged lines do not count: what they
    /// said shows in the other figures.
    pub fn balanced(&self) -> bool {
        self.gaps.is_empty() && self.is_without_faults()
    }

    fn is_without_faults(&self) -> bool {
        [&self.missing, &self.doubly_accepted, &self.doubly_ended, &self.ended_without_accept, &self.queued_without_accept]
            .iter()
            .all(|finding| finding.count == 0)
    }
}

/// Compares the whole log with the recipients in the spool.
///
/// While the relay runs: take a [`Horizon`], then read the spool's recipients, then flush the log, then call this. Recipients accepted behind
/// the horizon are counted as too young if they do not balance. For a stopped relay the horizon is None.
pub fn audit(dir: &Path, queued: impl IntoIterator<Item = (MessageId, String)>, horizon: Option<Horizon>) -> Result<Audit, LogError> {
    let mut tally = AuditTally { horizon: horizon.map(|horizon| horizon.time), ..AuditTally::default() };
    let (mut lines, mut passing) = (Lines::all(dir), horizon.map(Horizon::passing));
    while let Some(line) = lines.next_line()? {
        tally.is_behind = passing.as_mut().is_some_and(|passing| passing.is_behind(line.end));
        tally.line(line.bytes);
    }
    tally.audit.gaps = gaps::still_open(dir, &tally.gaps)?;
    tally.look_at_files(dir)?;
    for (message, rcpt) in queued {
        tally.queued(message, rcpt);
    }
    let faults = tally.judge();
    tally.name(dir, faults)?;
    Ok(tally.audit)
}

/// A message and the hash of a recipient's address: small, so that millions fit into memory.
type Key = (MessageId, u64);

#[derive(Default)]
struct AuditTally {
    audit: Audit,
    horizon: Option<Timestamp>,
    /// Whether the line is behind the horizon.
    is_behind: bool,
    /// Keyed at random, so that nobody can choose addresses with equal hashes.
    hasher: RandomState,
    entries: HashMap<Key, RecipientTally>,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    gaps: GapLines,
}

/// What is known of one recipient.
#[derive(Clone, Copy, Default)]
struct RecipientTally {
    accepted: u8,
    ended: u8,
    queued: bool,
    young: bool,
    ambiguous: bool,
    delivered: bool,
}

/// Which list of the audit a recipient belongs to. Its address has to be looked up again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Imbalance {
    Missing,
    DoublyAccepted,
    DoublyEnded,
    EndedWithoutAccept,
}

impl AuditTally {
    fn line(&mut self, line: &[u8]) {
        self.audit.lines += 1;
        // The first line is parsed whatever its event is: its time is the start of the log.
        if self.oldest.is_some() && is_routine(line) && memmem::find(line, br#""ambiguous":true"#).is_none() {
            return;
        }
        let Some((record, time)) =
            BriefRecord::parse(line).and_then(|record| Some((record.time.parse().ok()?, record))).map(|(t, f)| (f, t))
        else {
            self.audit.damaged_lines += 1;
            return;
        };
        self.oldest.get_or_insert(time);
        self.newest = self.newest.max(Some(time));
        if &*record.event == "log_gap"
            && let Some(gap) = GapRecord::parse(line)
        {
            self.gaps.insert(gap.id.clone(), gap);
            return;
        }
        let Some((message, rcpt)) = record.about() else { return };
        let accepted = &*record.event == "accepted";
        let ended = is_ending(&record.event);
        if !(accepted || ended || record.ambiguous) {
            return;
        }
        let entry = self.entries.entry((message, self.hasher.hash_one(rcpt))).or_default();
        entry.ambiguous |= record.ambiguous;
        if accepted {
            entry.accepted = entry.accepted.saturating_add(1);
            entry.young = self.is_behind;
        }
        if ended {
            entry.ended = entry.ended.saturating_add(1);
            entry.delivered |= &*record.event == "delivered";
            *self.audit.ended.entry(record.event.to_string()).or_default() += 1;
        }
    }

    fn queued(&mut self, message: MessageId, rcpt: String) {
        self.audit.queued += 1;
        let entry = self.entries.entry((message, self.hasher.hash_one(rcpt.as_str()))).or_default();
        entry.queued = true;
        if entry.accepted > 0 || entry.ended > 0 || self.is_before_the_log(message) {
            return;
        }
        let entry = self.entries.entry((message, self.hasher.hash_one(rcpt.as_str()))).or_default();
        if self.horizon.is_some_and(|horizon| message.time() >= horizon.saturating_sub(YOUNG).unwrap_or(horizon)) {
            entry.young = true;
            self.audit.too_young += 1;
        } else if gaps::may_hold(&self.audit.gaps, message, true) {
            self.audit.unproven += 1;
        } else {
            self.audit.queued_without_accept.add(message, rcpt);
        }
    }

    /// Compares the files, byte for byte, with what the writer's list says of them.
    fn look_at_files(&mut self, dir: &Path) -> Result<(), LogError> {
        let told: Vec<Option<FileId>> = self.gaps.values().map(|gap| gap.file.as_deref().and_then(|file| file.parse().ok())).collect();
        for listed in Inventory::read(dir)?.into_iter().flat_map(Inventory::into_files) {
            // The writer may have deleted it meanwhile.
            let still_listed =
                || Inventory::read(dir).map(|list| list.into_iter().flat_map(Inventory::into_files).any(|now| now.file == listed.file));
            if told.contains(&Some(listed.file)) || listed.is_whole(dir)? || !still_listed()? || listed.is_whole(dir)? {
                continue;
            }
            let detail = format!("{} does not hold the {} bytes that it had when it was written", listed.name, listed.length);
            let until = listed.until.or(self.newest).unwrap_or(Timestamp::MAX);
            self.audit.gaps.push(Gap { since: listed.since, until, found: None, detail });
        }
        for (one, other) in doubles(dir)? {
            let detail = format!("{other} begins with the same lines as {one}: one is an older copy, and what both hold counts twice");
            self.audit.gaps.push(Gap { since: None, until: self.newest.unwrap_or(Timestamp::MAX), found: None, detail });
        }
        Ok(())
    }

    fn is_before_the_log(&self, message: MessageId) -> bool {
        self.oldest.is_some_and(|oldest| message.time() < oldest.saturating_add(SLACK).unwrap_or(oldest))
    }

    /// Fills in the counts; the addresses are looked up later.
    fn judge(&mut self) -> HashMap<Key, Vec<Imbalance>> {
        let mut faults: HashMap<Key, Vec<Imbalance>> = HashMap::new();
        let entries = std::mem::take(&mut self.entries);
        for (key, entry) in entries {
            for fault in self.weigh(key.0, entry) {
                faults.entry(key).or_default().push(fault);
            }
        }
        faults
    }

    fn weigh(&mut self, message: MessageId, entry: RecipientTally) -> Vec<Imbalance> {
        let before = self.is_before_the_log(message);
        let (ending, acceptance) = (gaps::may_hold(&self.audit.gaps, message, false), gaps::may_hold(&self.audit.gaps, message, true));
        let audit = &mut self.audit;
        let mut faults = Vec::new();
        audit.accepted += u64::from(entry.accepted > 0);
        audit.ended_and_queued += u64::from(entry.ended > 0 && entry.queued);
        audit.possible_duplicates += u64::from(entry.delivered && entry.ambiguous);
        if entry.accepted > 1 {
            faults.push(Imbalance::DoublyAccepted);
        }
        if entry.ended > 1 {
            faults.push(Imbalance::DoublyEnded);
        }
        match (entry.accepted > 0, entry.ended > 0, entry.queued) {
            (true, false, false) if entry.young => audit.too_young += 1,
            (true, false, false) if ending => audit.unproven += 1,
            (true, false, false) => faults.push(Imbalance::Missing),
            (false, true, _) | (false, _, true) if before => audit.before_the_log += 1,
            (false, true, _) if acceptance => audit.unproven += 1,
            (false, true, _) => faults.push(Imbalance::EndedWithoutAccept),
            _ => {}
        }
        for fault in &faults {
            self.finding(*fault).count += 1;
        }
        faults
    }

    fn finding(&mut self, fault: Imbalance) -> &mut Finding {
        match fault {
            Imbalance::Missing => &mut self.audit.missing,
            Imbalance::DoublyAccepted => &mut self.audit.doubly_accepted,
            Imbalance::DoublyEnded => &mut self.audit.doubly_ended,
            Imbalance::EndedWithoutAccept => &mut self.audit.ended_without_accept,
        }
    }

    /// Reads the log again for the addresses of the recipients to list.
    fn name(&mut self, dir: &Path, mut faults: HashMap<Key, Vec<Imbalance>>) -> Result<(), LogError> {
        let mut lines = Lines::all(dir);
        while !faults.is_empty()
            && let Some(line) = lines.next_line()?
        {
            let record = if is_routine(line.bytes) { None } else { BriefRecord::parse(line.bytes) };
            let Some((message, rcpt)) = record.as_ref().and_then(BriefRecord::about) else { continue };
            for fault in faults.remove(&(message, self.hasher.hash_one(rcpt))).unwrap_or_default() {
                self.finding(fault).list(message, rcpt);
            }
        }
        Ok(())
    }
}

impl Finding {
    fn add(&mut self, message: MessageId, rcpt: String) {
        self.count += 1;
        self.list(message, rcpt);
    }

    fn list(&mut self, message: MessageId, rcpt: impl Into<String>) {
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Recipient { message, rcpt: rcpt.into() });
        }
    }
}

/// The `accepted` line of a message in the spool whose id is this close to the horizon may not be written yet.
const YOUNG: Duration = Duration::from_secs(5);
