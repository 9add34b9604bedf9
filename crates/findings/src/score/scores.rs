//! All scores of a day.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{History, Inputs, Measure, Score, Settings, judge::Judged};

/// All scores of a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// The relay's.
    pub all: Score,
    /// By stream.
    pub streams: BTreeMap<String, Score>,
    /// By provider.
    pub providers: BTreeMap<String, Score>,
    /// By source.
    pub sources: BTreeMap<String, Score>,
    /// By domain of the From field.
    pub domains: BTreeMap<String, Score>,
    /// By stream and provider.
    pub pairs: Vec<PairScore>,
    /// By source and provider.
    pub lanes: Vec<LaneScore>,
}

/// The score of a stream at a provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairScore {
    /// The stream.
    pub stream: String,
    /// The provider.
    pub provider: String,
    /// Its score.
    #[serde(flatten)]
    pub score: Score,
}

/// The score of a source at a provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaneScore {
    /// The source.
    pub source: String,
    /// The provider.
    pub provider: String,
    /// Its score.
    #[serde(flatten)]
    pub score: Score,
}

impl Scores {
    /// Judges all that is known.
    pub fn of(inputs: &Inputs, settings: &Settings) -> Self {
        let pairs: Vec<Part<'_>> = inputs.pairs.iter().map(|(key, history)| Part::of_pair(key, history, inputs, settings)).collect();
        let lanes: Vec<Part<'_>> = inputs.lanes.iter().map(|(key, history)| Part::of_lane(key, history, inputs, settings)).collect();
        let mean = Mean { inputs, settings };
        let by = |parts: &[Part<'_>], key: fn(&Part<'_>) -> String, place: fn(&Part<'_>) -> String| {
            let mut of_keys: BTreeMap<String, Vec<&Part<'_>>> = BTreeMap::new();
            parts.iter().for_each(|part| of_keys.entry(key(part)).or_default().push(part));
            of_keys.into_iter().map(|(name, parts)| (name, mean.of(parts.into_iter(), place))).collect::<BTreeMap<_, _>>()
        };
        let (first, provider) = (|part: &Part<'_>| part.first.to_owned(), |part: &Part<'_>| part.provider.to_owned());
        let domain = |history: &History| mean.shown(Judged::of(history, inputs.as_of, false, settings), history);
        Self {
            all: mean.of(pairs.iter(), |part| format!("{}/{}", part.first, part.provider)),
            streams: by(&pairs, first, provider),
            providers: by(&pairs, provider, first),
            sources: by(&lanes, first, provider),
            domains: inputs.domains.iter().map(|(name, history)| (name.clone(), domain(history))).collect(),
            pairs: pairs
                .iter()
                .map(|part| PairScore { stream: first(part), provider: provider(part), score: mean.shown_part(part) })
                .collect(),
            lanes: lanes
                .iter()
                .map(|part| LaneScore { source: first(part), provider: provider(part), score: mean.shown_part(part) })
                .collect(),
        }
    }
}

impl Scores {
    /// The same without what was seen of each measure, which is long where there are many scores; losses stay.
    pub fn in_brief(mut self) -> Self {
        let of_maps =
            [&mut self.streams, &mut self.providers, &mut self.sources, &mut self.domains].into_iter().flat_map(BTreeMap::values_mut);
        let of_pairs = self.pairs.iter_mut().map(|pair| &mut pair.score);
        let of_lanes = self.lanes.iter_mut().map(|lane| &mut lane.score);
        of_maps.chain(of_pairs).chain(of_lanes).chain([&mut self.all]).for_each(|score| score.measures = Vec::new());
        self
    }
}

/// A pair with a provider: of a stream or of a source.
struct Part<'a> {
    first: &'a str,
    provider: &'a str,
    history: &'a History,
    is_stopped: bool,
    /// Whether its first half is a stream, which has suppressed recipients.
    is_of_stream: bool,
    judged: Option<Judged>,
}

impl<'a> Part<'a> {
    fn of_pair((stream, provider): &'a (String, String), history: &'a History, inputs: &Inputs, settings: &Settings) -> Self {
        let is_stopped = inputs.is_stopped(provider);
        let mut part = Self { first: stream, provider, history, is_stopped, is_of_stream: true, judged: None };
        part.judged = Judged::of(&together(&[&part], inputs), inputs.as_of, is_stopped, settings);
        part
    }

    fn of_lane(lane: &'a (String, String), history: &'a History, inputs: &Inputs, settings: &Settings) -> Self {
        let is_stopped = inputs.stopped.contains(lane);
        let judged = Judged::of(history, inputs.as_of, is_stopped, settings);
        Self { first: &lane.0, provider: &lane.1, history, is_stopped, is_of_stream: false, judged }
    }
}

/// What parts come to together, with the suppressed recipients of each of their streams once.
fn together(parts: &[&Part<'_>], inputs: &Inputs) -> History {
    let mut sum = suppressed(parts, inputs);
    parts.iter().for_each(|part| sum.add(part.history));
    sum
}

/// The suppressed recipients of the parts' streams. Each pair has those of its whole stream, which must not be counted twice.
fn suppressed(parts: &[&Part<'_>], inputs: &Inputs) -> History {
    let streams: BTreeSet<&str> = parts.iter().filter(|part| part.is_of_stream).map(|part| part.first).collect();
    let mut sum = History::default();
    streams.into_iter().filter_map(|stream| inputs.suppressed.get(stream)).for_each(|history| sum.add(history));
    sum
}

struct Mean<'a> {
    inputs: &'a Inputs,
    settings: &'a Settings,
}

impl Mean<'_> {
    /// The score of several parts: the mean of those that have one, and of the others taken as one.
    fn of<'p>(&self, parts: impl Iterator<Item = &'p Part<'p>>, place: fn(&Part<'_>) -> String) -> Score {
        let (large, small): (Vec<_>, Vec<_>) = parts.partition(|part| part.judged.is_some());
        let parts = [&large[..], &small[..]].concat();
        let mut judged: Vec<_> = large.iter().filter_map(|part| Some((place(part), part.judged.clone()?))).collect();
        let is_stopped = !small.is_empty() && small.iter().all(|part| part.is_stopped);
        let rest = Judged::of(&together(&small, self.inputs), self.inputs.as_of, is_stopped, self.settings);
        let lost = |part: &&Part<'_>| part.judged.as_ref().or(rest.as_ref()).is_some_and(|judged| judged.lost_by(Measure::Suppressed));
        // A loss is a share of what those have who lost by it; where nobody did, all are told of.
        let losers: Vec<_> = parts.iter().copied().filter(lost).collect();
        let suppressed = suppressed(if losers.is_empty() { &parts } else { &losers }, self.inputs);
        judged.extend(rest.map(|rest| (REST.to_owned(), rest)));
        let mut mean = Judged::mean(&judged);
        if let Some(mean) = &mut mean {
            mean.resample(Measure::Suppressed, &suppressed, self.inputs.as_of, self.settings);
        }
        self.shown(mean, &together(&parts, self.inputs))
    }

    fn shown_part(&self, part: &Part<'_>) -> Score {
        self.shown(part.judged.clone(), part.history)
    }

    fn shown(&self, judged: Option<Judged>, history: &History) -> Score {
        let days = history.days.iter().filter(|(date, _)| self.settings.age(*date, self.inputs.as_of).is_some());
        let finished = days.fold(0_u64, |sum, (_, day)| sum.saturating_add(day.finished)).max(history.last_day.finished);
        let seen = Judged::seen(history, self.inputs.as_of, self.settings);
        Score::new(judged, &seen, finished, self.settings)
    }
}

/// The name of the parts that are too small for a score of their own.
const REST: &str = "the small ones together";
