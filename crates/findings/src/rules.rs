//! The rules: one file each, and who asks them.

mod authentication;
mod complaints;
mod house;
mod lane;
mod late;
mod provider_refuses;
mod reports_unmatched;
mod sender_leaps;
mod silence;
mod stands;
mod tls;
mod unknown_replies;
mod unknown_users;
mod unreached;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use posthaste_tallies::TalliesError;
use serde::{Deserialize, Serialize};

use crate::{
    Finding, FindingState, RuleSettings,
    counts::Counted,
    look::{Draft, Look, Memory, View},
};

/// The rules and what they remember. What they read from the tallies they read again after a restart; the rest is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Rules {
    memory: Memory,
    found: BTreeMap<String, Finding>,
    beyond: u64,
    #[serde(skip)]
    counted: Counted,
}

/// Findings that are kept, open and fixed ones together. There are a few at most while things go well.
const FINDINGS_MAX: usize = 1000;
/// How long a finding is shown after it was fixed.
const FIXED_FOR: Duration = Duration::from_hours(24);
/// How far the tallies may be behind for their rules to be asked. Further behind, what has not been counted would look like mail that was
/// not delivered; the rule `house` tells of that.
const BEHIND_MAX: Duration = Duration::from_secs(90);

type Find = fn(&mut Look<'_>) -> Result<Vec<Draft>, TalliesError>;

/// Rules that need complete tallies.
const OF_TALLIES: [Find; 12] = [
    provider_refuses::find,
    stands::find,
    unreached::find,
    late::find,
    complaints::find,
    unknown_users::find,
    sender_leaps::find,
    silence::find,
    authentication::find,
    tls::find,
    unknown_replies::find,
    reports_unmatched::find,
];
/// Rules that the relay's facts are enough for.
const OF_FACTS: [Find; 4] = [stands::find_pools, lane::find, authentication::find_keys, house::find];

impl Rules {
    /// Asks all rules, and returns what is open now, the worst first. Without tallies, or with some that are behind, only those that need none.
    ///
    /// # Errors
    /// The tallies cannot be read; nothing has changed.
    pub fn judge(&mut self, view: View<'_>, settings: &RuleSettings, now: Timestamp) -> Result<Vec<Finding>, TalliesError> {
        let tallies = view.tallies.filter(|_| view.counted.checked_add(BEHIND_MAX).unwrap_or(Timestamp::MAX) >= now);
        let behind = tallies.is_none();
        if let Some(tallies) = tallies {
            self.counted.refresh(tallies, view.counted.min(now), &settings.provider_refuses.classes)?;
        }
        let mut memory = self.memory.clone();
        let mut look = Look { view, settings, now, counted: &mut self.counted, memory: &mut memory };
        let mut drafts = Vec::new();
        for find in OF_FACTS {
            drafts.extend(find(&mut look)?);
        }
        if !behind {
            for find in OF_TALLIES {
                drafts.extend(find(&mut look)?);
            }
        }
        self.memory = memory;
        self.remember(drafts, behind, now);
        let mut open: Vec<Finding> = self.found.values().filter(|found| found.state == FindingState::Open).cloned().collect();
        open.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        Ok(open)
    }

    /// Everything that was found, also what was fixed within a day.
    pub fn found(&self) -> impl Iterator<Item = &Finding> {
        self.found.values()
    }

    /// How often something was found for which there was no place: more than a thousand findings at a time.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Forgets what was read from the tallies, because they were counted again.
    pub fn read_anew(&mut self) {
        self.counted = Counted::default();
    }

    fn remember(&mut self, mut drafts: Vec<Draft>, behind: bool, now: Timestamp) {
        drafts.sort_by_key(|draft| std::cmp::Reverse(draft.severity));
        let mut open: BTreeMap<String, Finding> = BTreeMap::new();
        for draft in drafts {
            let id = Finding::id_of(draft.rule, &draft.key);
            if open.len() >= FINDINGS_MAX {
                self.beyond += 1;
                continue;
            }
            let before = self.found.get(&id).filter(|before| before.state == FindingState::Open);
            let first_seen = before.map_or(now, |before| before.first_seen.min(now));
            let finding = draft.finding(first_seen, now);
            // A rule may find a key twice (a disk that is small and fills up): the worse one counts, and it came first.
            open.entry(id).or_insert(finding);
        }
        let mut fixed = std::mem::take(&mut self.found);
        fixed.retain(|id, _| !open.contains_key(id));
        let kept_from = now.checked_sub(FIXED_FOR).unwrap_or(Timestamp::MIN);
        let mut fixed: Vec<(String, Finding)> = fixed.into_iter().filter(|(_, found)| found.last_seen >= kept_from).collect();
        // While the tallies are behind, nobody looked: what was open stays as it was.
        fixed.iter_mut().filter(|(_, found)| !(behind && needs_tallies(found))).for_each(|(_, found)| found.state = FindingState::Fixed);
        fixed.sort_by_key(|(_, found)| std::cmp::Reverse(found.last_seen));
        fixed.truncate(FINDINGS_MAX.saturating_sub(open.len()));
        open.extend(fixed);
        self.found = open;
    }
}

/// Whether what was found needs the tallies to be found again.
fn needs_tallies(found: &Finding) -> bool {
    use crate::{About, Rule};
    match found.rule {
        Rule::House | Rule::Lane => false,
        Rule::MailStands => found.key.about != About::Pool,
        Rule::Authentication => found.key.about != About::Relay,
        _ => true,
    }
}
