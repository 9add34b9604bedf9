//! The rules: one file each, and who asks them.

mod authentication;
mod complaints;
mod guard;
mod house;
mod lane;
mod late;
mod provider_refuses;
mod put_off;
mod reports_unmatched;
mod sender_leaps;
mod silence;
mod stands;
mod tls;
mod unknown_replies;
mod unknown_users;
mod unreached;
mod unresolved;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use posthaste_tallies::TalliesError;
use serde::{Deserialize, Serialize};

use crate::{
    Finding, FindingState, Key, RuleSettings,
    counts::Counted,
    look::{Draft, Explained, Look, Memory, View},
    score,
};

/// The rules and what they remember. What they read from the tallies they read again after a restart; the rest is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Rules {
    memory: Memory,
    found: BTreeMap<String, Finding>,
    /// What the health score lost.
    #[serde(default)]
    scored: BTreeMap<String, Finding>,
    beyond: u64,
    #[serde(skip)]
    counted: Counted,
    #[serde(skip)]
    explained: Explained,
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
const OF_TALLIES: [Find; 14] = [
    provider_refuses::find,
    stands::find,
    unreached::find,
    unresolved::find,
    put_off::find,
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
const OF_FACTS: [Find; 5] = [stands::find_pools, lane::find, authentication::find_keys, house::find, guard::find];

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
        let mut explained = Explained::new();
        let mut look = Look { view, settings, now, counted: &mut self.counted, memory: &mut memory, explained: &mut explained };
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
        if !behind {
            self.explained = explained;
        }
        let drafts = drafts.into_iter().map(|draft| (Finding::id_of(draft.rule, &draft.key), draft)).collect();
        // While the tallies are behind, nobody looked: what was open stays as it was.
        self.beyond += remember(&mut self.found, drafts, |found| behind && needs_tallies(found), now);
        let mut open: Vec<Finding> = self.found.values().filter(|found| found.state == FindingState::Open).cloned().collect();
        open.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        Ok(open)
    }

    /// Takes what the health scores lost among the findings. It makes no incidents.
    pub fn take_scores(&mut self, scores: &score::Scores, settings: &score::Settings, now: Timestamp) {
        // With a thousand others lost points are not worth an alarm: those that cost the most are kept.
        remember(&mut self.scored, score::drafts(scores, settings), |_| false, now);
    }

    /// Everything that was found, by rules and by the score, also what was fixed within a day.
    pub fn found(&self) -> impl Iterator<Item = &Finding> {
        self.found.values().chain(self.scored.values())
    }

    /// The users whose mail explains what was found about a stream: the rest of the stream is as usual.
    pub fn explained_by(&self, finding: &Finding) -> &[Key] {
        self.explained.get(&finding.id).map_or(&[], Vec::as_slice)
    }

    /// How often something was found for which there was no place: more than a thousand findings at a time.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

/// Keeps what was found now, each with its id, and for a while what was found before. What is `unlooked` stays as it was. Returns for how many
/// there was no place.
fn remember(
    found: &mut BTreeMap<String, Finding>,
    mut drafts: Vec<(String, Draft)>,
    unlooked: impl Fn(&Finding) -> bool,
    now: Timestamp,
) -> u64 {
    drafts.sort_by_key(|(_, draft)| std::cmp::Reverse(draft.severity));
    let (mut open, mut beyond) = (BTreeMap::<String, Finding>::new(), 0);
    for (id, draft) in drafts {
        if open.len() >= FINDINGS_MAX {
            beyond += 1;
            continue;
        }
        let before = found.get(&id).filter(|before| before.state == FindingState::Open);
        let first_seen = before.map_or(now, |before| before.first_seen.min(now));
        let finding = Finding { id: id.clone(), ..draft.finding(first_seen, now) };
        // A rule may find a key twice (a disk that is small and fills up): the worse one counts, and it came first.
        open.entry(id).or_insert(finding);
    }
    let mut fixed = std::mem::take(found);
    fixed.retain(|id, _| !open.contains_key(id));
    let kept_from = now.checked_sub(FIXED_FOR).unwrap_or(Timestamp::MIN);
    let mut fixed: Vec<(String, Finding)> = fixed.into_iter().filter(|(_, found)| found.last_seen >= kept_from).collect();
    fixed.iter_mut().filter(|(_, found)| !unlooked(found)).for_each(|(_, found)| found.state = FindingState::Fixed);
    fixed.sort_by_key(|(_, found)| std::cmp::Reverse(found.last_seen));
    fixed.truncate(FINDINGS_MAX.saturating_sub(open.len()));
    open.extend(fixed);
    *found = open;
    beyond
}

/// Whether what was found needs the tallies to be found again.
fn needs_tallies(found: &Finding) -> bool {
    use crate::{About, Rule};
    match found.rule {
        Rule::House | Rule::Lane | Rule::Guard => false,
        Rule::MailStands => found.key.about != About::Pool,
        Rule::Authentication => found.key.about != About::Relay,
        _ => true,
    }
}
