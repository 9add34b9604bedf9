//! The durable facts of a lane, and news about mail that it sent earlier.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{backoff::Restrictions, day::Day, key::LaneKey, lane::Lane};

/// One durable fact about a lane. A later entry with the same [`storage_key`](LaneEntry::storage_key) replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneEntry {
    /// The lane.
    pub lane: LaneKey,
    /// The fact.
    pub part: Part,
}

/// The durable facts of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One of its days.
    Day(Day),
    /// Its pause, its climb and an operator's hold.
    #[serde(rename = "standing")]
    Restrictions(Restrictions),
    /// This day is too old to keep: its record is deleted.
    Forgotten(Date),
}

/// Entries that have to be written together, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number that [`Permit::durable`](crate::Permit::durable) refers to. Batches become durable in the order of their numbers.
    pub number: u64,
    /// The entries.
    pub entries: Vec<LaneEntry>,
}

/// News about mail sent earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// A recipient reported it as spam.
    Complaint,
    /// A bounce came back after the mail was accepted; it says that the address is invalid.
    LateBounce,
}

impl LaneEntry {
    /// The key under which the fact is stored. A NUL separates the names; neither can contain one.
    pub fn storage_key(&self) -> String {
        let LaneKey { source, provider } = &self.lane;
        match &self.part {
            Part::Day(day) => format!("{source}\0{provider}\0{}", day.date),
            Part::Forgotten(date) => format!("{source}\0{provider}\0{date}"),
            Part::Restrictions(_) => format!("{source}\0{provider}\0standing"),
        }
    }

    /// True if the record under the key is to be deleted.
    pub fn is_deletion(&self) -> bool {
        matches!(self.part, Part::Forgotten(_))
    }
}

impl Lane {
    /// The entries that changed since the last call, days in their order.
    pub(crate) fn take_entries(&mut self, into: &mut Vec<LaneEntry>) {
        let (mut days, forgotten) = self.ledger.take_touched();
        days.sort_unstable();
        days.dedup();
        let lane = &self.key;
        if self.plan.curve.is_uncapped() {
            // Without a cap there is no budget that a restart could refill, so days need no record. The provider's pause does.
            days.clear();
        }
        let written = days.iter().filter_map(|date| self.ledger.day(*date)).cloned().map(Part::Day);
        into.extend(forgotten.into_iter().map(Part::Forgotten).chain(written).map(|part| LaneEntry { lane: lane.clone(), part }));
        if std::mem::take(&mut self.restrictions_touched) {
            into.push(LaneEntry { lane: lane.clone(), part: Part::Restrictions(self.restrictions.clone()) });
        }
    }

    pub(crate) fn note(&mut self, note: Note, n: u32, now: Timestamp, batch: u64) {
        self.turn_to(now, batch);
        let Some(day) = self.ledger.current_mut() else { return };
        let count = match note {
            Note::Complaint => &mut day.counts.complaints,
            Note::LateBounce => &mut day.counts.hard_bounces,
        };
        *count = count.saturating_add(n);
        let date = day.date;
        self.ledger.touch(date);
    }
}
