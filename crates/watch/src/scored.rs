//! The health score, from the tallies.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use posthaste_findings::score::{Beside, Inputs, Score, Scores, Settings, Trend};
use posthaste_tallies::{Block, Cell, Dimension, OTHER, PAIR, Span, Tallies, TalliesError, pair};
use serde::Serialize;

use crate::{NO_PROVIDER, Shown, StoppedLanes};

/// All scores, and where the relay's goes.
#[derive(Debug, Serialize)]
pub struct Scored {
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
    /// The relay's score of 7 days ago, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week_ago: Option<u8>,
    /// Where it goes from there: ↑, → or ↓.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<&'static str>,
}

impl Scored {
    /// Judges the tallies as of `now`. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn read(tallies: &Tallies, now: Timestamp, settings: &Settings, stopped: &StoppedLanes) -> Result<Self, TalliesError> {
        let scores = scores_at(tallies, now, settings, stopped)?;
        let before = now.checked_sub(SignedDuration::from_hours(7 * 24)).map(|then| scores_of(tallies, then, settings)).ok().transpose()?;
        let trend = before.as_ref().and_then(|before| Trend::of(&scores.all, before)).map(Trend::arrow);
        Ok(Self { week_ago: before.and_then(|score| score.value), trend, scores })
    }
}

impl Scored {
    /// The same with what is wrong now beside each score.
    pub fn beside(self, incidents: &[Shown]) -> Self {
        Self { scores: self.scores.beside(&lasting(incidents)), ..self }
    }
}

/// Those that are not closed, as scores name them. Who is told of no muted one by an alarm sees it here.
pub fn lasting(incidents: &[Shown]) -> Vec<Beside> {
    let of = |incident: &Shown| Beside {
        incident: incident.id.clone(),
        rule: incident.told.rule.clone(),
        key: incident.told.key.clone(),
        severity: incident.told.severity.clone(),
        since: incident.since,
    };
    incidents.iter().filter(|incident| incident.state != "closed").map(of).collect()
}

fn scores_of(tallies: &Tallies, now: Timestamp, settings: &Settings) -> Result<Score, TalliesError> {
    // Which lanes were stopped then is not known.
    Ok(scores_at(tallies, now, settings, &StoppedLanes::new())?.all)
}

/// The scores as of `now`. Blocks on the disk.
///
/// # Errors
/// The tallies cannot be read.
pub fn scores_at(tallies: &Tallies, now: Timestamp, settings: &Settings, stopped: &StoppedLanes) -> Result<Scores, TalliesError> {
    let today = now.to_zoned_datetime(tallies.zone().clone()).date();
    let first = today.checked_sub(i64::from(settings.days).days()).unwrap_or(today);
    let mut inputs = Inputs::new(today, settings);
    inputs.stopped.clone_from(stopped);
    let to = now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now);
    let last_day = Span { from: now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now), to };
    let mut nowhere = Nowhere::default();
    // Pairs of streams come before streams.
    for dimension in Inputs::DIMENSIONS {
        let last_day = tallies.sum(dimension, last_day)?;
        let mut weights = HashMap::new();
        weigh(&last_day, &mut weights);
        tallies.each_cohort(dimension, first, today, |_, block| weigh(&block, &mut weights))?;
        let own = largest(weights);
        tallies.each_cohort(dimension, first, today, |day, block| {
            nowhere.see(dimension, Some(day), &block);
            if dimension == Dimension::Stream {
                inputs.add_cohort(Dimension::StreamProvider, day, &nowhere.of(Some(day), &block));
            }
            inputs.add_cohort(dimension, day, &block.folded(|key| own.contains(key)));
        })?;
        nowhere.see(dimension, None, &last_day);
        if dimension == Dimension::Stream {
            inputs.add_last_day(Dimension::StreamProvider, &nowhere.of(None, &last_day));
        }
        inputs.add_last_day(dimension, &last_day.folded(|key| own.contains(key)));
    }
    Ok(Scores::of(&inputs, settings))
}

/// Mail without a provider, whose domain leads to no host: what streams have beyond their pairs with providers, by the day of acceptance (None:
/// the last 24 hours).
#[derive(Default)]
struct Nowhere {
    /// What the pairs of each stream come to. Pairs that share a place in the tallies have no stream.
    pairs: HashMap<Option<Date>, HashMap<Box<str>, Cell>>,
}

impl Nowhere {
    fn see(&mut self, dimension: Dimension, day: Option<Date>, block: &Block) {
        if dimension == Dimension::StreamProvider {
            let streams = self.pairs.entry(day).or_default();
            for (key, cell) in block.iter() {
                let (stream, _) = key.split_once(PAIR).unwrap_or((OTHER, ""));
                streams.entry(stream.into()).or_default().merge_counts(cell);
            }
        }
    }

    /// What these streams have beyond their pairs, as pairs with no provider.
    fn of(&self, day: Option<Date>, streams: &Block) -> Block {
        let (mut nowhere, none) = (Block::default(), HashMap::new());
        let pairs = self.pairs.get(&day).unwrap_or(&none);
        if !pairs.contains_key(OTHER) {
            for (stream, cell) in streams.iter() {
                add(&mut nowhere, stream, &pairs.get(stream).map_or_else(|| cell.clone(), |pairs| cell.without(pairs)));
            }
            return nowhere;
        }
        // Whose the pairs are that share a place is not known: all streams are told of as one.
        let (mut all, mut known) = (Cell::default(), Cell::default());
        streams.iter().for_each(|(_, cell)| all.merge_counts(cell));
        pairs.values().for_each(|cell| known.merge_counts(cell));
        add(&mut nowhere, OTHER, &all.without(&known));
        nowhere
    }
}

/// Adds what a stream has beyond its pairs. Only what is finished is judged; the rest was suppressed, dropped or is still waiting.
fn add(nowhere: &mut Block, stream: &str, rest: &Cell) {
    if rest.finished() > 0 {
        nowhere.cell(&pair(stream, NO_PROVIDER)).merge_counts(rest);
    }
}

/// Keys of each dimension with a score of their own, the largest; the others share one. On a day that is not over, the tallies hold several
/// thousand keys: each lane and each pair of them would have its score every minute.
const SCORED_MAX: usize = 1000;

fn weigh(block: &Block, weights: &mut HashMap<Box<str>, u64>) {
    for (key, cell) in block.iter() {
        match weights.get_mut(key) {
            Some(weight) => *weight = weight.saturating_add(cell.weight()),
            None => drop(weights.insert(key.into(), cell.weight())),
        }
    }
}

fn largest(weights: HashMap<Box<str>, u64>) -> HashSet<Box<str>> {
    let mut ranked: Vec<(Box<str>, u64)> = weights.into_iter().collect();
    ranked.sort_unstable_by(|(key, weight), (other, others)| others.cmp(weight).then_with(|| key.cmp(other)));
    ranked.into_iter().take(SCORED_MAX).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use posthaste_findings::score::{Cause, Measure, Traits};
    use posthaste_tallies::{Delta, Limits, Seen};

    use super::*;

    /// Tallies of lines of one minute, each with these members behind its time.
    fn counted(lines: impl IntoIterator<Item = String>) -> (tempfile::TempDir, Tallies) {
        let dir = tempfile::tempdir().unwrap();
        let mut tallies = Tallies::open(&dir.path().join("tallies.db"), TimeZone::UTC, Limits::default()).unwrap();
        let mut delta = Delta::new(TimeZone::UTC);
        for members in lines {
            let line = format!(r#"{{"time":"2026-11-29T00:00:10.000Z","age_ms":10,{members}}}"#);
            delta.take(&Seen::parse(line.as_bytes()).unwrap());
        }
        tallies.add(&delta, None).unwrap();
        (dir, tallies)
    }

    const NOW: &str = "2026-11-29T01:00:00Z";

    /// The scores an hour later.
    fn scores(tallies: &Tallies) -> Scores {
        scores_at(tallies, NOW.parse().unwrap(), &Settings::default(), &StoppedLanes::new()).unwrap()
    }

    #[test]
    fn the_largest_have_scores_of_their_own_and_the_others_one_together() {
        let small = 2 * SCORED_MAX;
        let (_dir, tallies) = counted((0..small + 300).map(|n| {
            let provider = if n < small { format!("small{n}") } else { "large".to_owned() };
            format!(r#""event":"delivered","stream":"news","provider":"{provider}","source":"ip1","attempt":1"#)
        }));
        let scores = scores(&tallies);
        let finished = |provider: &str| scores.providers.get(provider).map(|score| score.finished);
        assert_eq!(finished("large"), Some(300));
        assert_eq!((scores.pairs.len(), scores.lanes.len()), (SCORED_MAX + 1, SCORED_MAX + 1));
        assert_eq!(finished("other"), Some((small + 1 - SCORED_MAX) as u64), "nothing gets lost");
        assert_eq!(scores.all.finished, (small + 300) as u64);
    }

    #[test]
    fn mail_to_domains_that_lead_nowhere_counts() {
        let (_dir, tallies) = counted((0..500).map(|n| {
            let what = match n {
                0..200 => r#""event":"delivered","provider":"google""#,
                _ => r#""event":"bounced","class":"bad_domain""#,
            };
            let stream = if n < 300 { "news" } else { "letters" };
            format!(r#"{what},"attempt":1,"stream":"{stream}""#)
        }));
        let scores = scores(&tallies);
        assert_eq!((scores.all.finished, scores.streams["news"].finished, scores.streams["letters"].finished), (500, 300, 200));
        let nowhere = &scores.providers[NO_PROVIDER];
        assert_eq!(nowhere.finished, 300);
        let lost = |score: &Score| score.losses.iter().any(|loss| loss.cause == Cause::Measure(Measure::UnknownUsers));
        assert!(lost(&scores.all) && lost(nowhere) && !lost(&scores.providers["google"]), "{:#?}", scores.all);
    }

    #[test]
    fn only_bulk_streams_need_one_click_and_only_those_that_track_have_engagement() {
        let (_dir, tallies) = counted((0..630).map(|n| {
            // 30 of 600 unsubscribe.
            let event = if n < 600 { "delivered" } else { "unsubscribed" };
            format!(
                r#""event":"{event}","stream":"news","provider":"google","attempt":1,"from_domain":"a.test","dkim":"aligned","tls_version":"TLSv1.3""#
            )
        }));
        let score = |bulk: &[&str], tracking: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let settings = Settings { traits: Traits { bulk: names(bulk), tracking: names(tracking) }, ..Settings::default() };
            let scores = Scored::read(&tallies, NOW.parse().unwrap(), &settings, &StoppedLanes::new()).unwrap().scores;
            let lost = |measure| scores.all.losses.iter().any(|loss| loss.cause == Cause::Measure(measure));
            (lost(Measure::OneClick), lost(Measure::Unsubscribed), scores.all.measured)
        };
        assert_eq!(score(&[], &[]), (false, false, 3));
        assert_eq!(score(&["news"], &[]), (true, false, 3));
        assert_eq!(score(&["letters"], &["news"]), (false, true, 4));
    }
}
