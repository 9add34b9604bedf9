//! A lane's durable facts, and what became known of it later.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{backoff::Standing, day::Day, key::LaneKey, lane::Lane};

/// One durable fact about a lane. A later one with the same [`storage_key`](Entry::storage_key) replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which lane.
    pub lane: LaneKey,
    /// What about it.
    pub part: Part,
}

/// What is kept of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One of its days.
    Day(Day),
    /// Its pauses and climbs.
    Standing(Standing),
    /// This day is too old to keep: delete it.
    Forgotten(Date),
}

/// Facts that have to be written together, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What [`Permit::durable`](crate::Permit::durable) refers to. Batches become durable in the order of their numbers.
    pub number: u64,
    /// The facts.
    pub entries: Vec<Entry>,
}

/// Something that became known of mail sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// A recipient called it spam.
    Complaint,
    /// A bounce came back after the mail was taken, and says that the address is no good.
    LateBounce,
}

impl Entry {
    /// The key under which it is kept. The two names are apart by a NUL, which stands in neither.
    pub fn storage_key(&self) -> String {
        let LaneKey { source, provider } = &self.lane;
        match &self.part {
            Part::Day(day) => format!("{source}\0{provider}\0{}", day.date),
            Part::Forgotten(date) => format!("{source}\0{provider}\0{date}"),
            Part::Standing(_) => format!("{source}\0{provider}\0standing"),
        }
    }

    /// True when what is kept under the key is to be deleted.
    pub fn is_deletion(&self) -> bool {
        matches!(self.part, Part::Forgotten(_))
    }
}

impl Lane {
    /// What changed since the last call, in the order in which days follow each other.
    pub(crate) fn take_entries(&mut self, into: &mut Vec<Entry>) {
        let (mut days, forgotten) = self.ledger.take_touched();
        days.sort_unstable();
        days.dedup();
        let lane = &self.key;
        if self.plan.curve.is_uncapped() {
            // Nothing hangs on these: what has no cap cannot be refilled. A provider's pause is kept all the same.
            days.clear();
        }
        let written = days.iter().filter_map(|date| self.ledger.day(*date)).cloned().map(Part::Day);
        into.extend(forgotten.into_iter().map(Part::Forgotten).chain(written).map(|part| Entry { lane: lane.clone(), part }));
        if std::mem::take(&mut self.standing_touched) {
            into.push(Entry { lane: lane.clone(), part: Part::Standing(self.standing.clone()) });
        }
    }

    pub(crate) fn to_entries(&self) -> Vec<Entry> {
        let days = self.ledger.days().iter().cloned().map(Part::Day);
        let standing = (self.standing != Default::default()).then(|| Part::Standing(self.standing.clone()));
        days.chain(standing).map(|part| Entry { lane: self.key.clone(), part }).collect()
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
