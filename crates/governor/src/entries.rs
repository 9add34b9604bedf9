//! A lane's durable facts, and what became known of it later.

use jiff::Timestamp;

use crate::{
    governor::{Entry, Note, Part},
    lane::Lane,
};

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
