//! What the tallies know, gathered for a score.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use posthaste_tallies::{Block, Cell, Dimension, OTHER, PAIR};

use super::{Counts, History, Measure, Settings, Traits};

/// What the tallies know, as of a day.
///
/// For each of [`Inputs::DIMENSIONS`], give the cohorts of the last days ([`Settings::days`]; more do no harm) to [`Inputs::add_cohort`], and
/// the sums of the last 24 hours to [`Inputs::add_last_day`]. A score as of an earlier day takes the same cohorts and the 24 hours before the
/// end of that day; it knows of late bounces and complaints that came since then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The day up to which cohorts count; later ones do not.
    pub as_of: Date,
    /// Lanes (source, provider) that feedback has stopped.
    pub stopped: BTreeSet<(String, String)>,
    /// Streams and providers.
    pub pairs: BTreeMap<(String, String), History>,
    /// Sources and providers. Neither bulk nor tracking is known of them.
    pub lanes: BTreeMap<(String, String), History>,
    /// Domains of the From field. Their lines must name the domain whatever their event: if only deliveries do, nothing else is seen. Their
    /// complaints are a share of all deliveries, at whatever provider, which is lenient. Their suppressed recipients are their own. Which of their
    /// mail is bulk, or tracked, is not known: only streams are.
    pub domains: BTreeMap<String, History>,
    /// The suppressed recipients of each stream.
    pub suppressed: BTreeMap<String, History>,
    traits: Traits,
    complaint_providers: BTreeSet<String>,
}

impl Inputs {
    /// The dimensions of the tallies that a score needs.
    pub const DIMENSIONS: [Dimension; 4] = [Dimension::StreamProvider, Dimension::SourceProvider, Dimension::FromDomain, Dimension::Stream];

    /// Nothing yet.
    pub fn new(as_of: Date, settings: &Settings) -> Self {
        let complaint_providers = settings.complaint_providers.iter().cloned().collect();
        Self { as_of, traits: settings.traits.clone(), complaint_providers, ..Self::default() }
    }

    /// Adds what became of the messages that were accepted on a day. Other dimensions change nothing.
    pub fn add_cohort(&mut self, dimension: Dimension, day: Date, block: &Block) {
        self.each(dimension, block, |history, counts| history.days.of(day).add(&counts));
    }

    /// Adds what happened in the last 24 hours. Other dimensions change nothing.
    pub fn add_last_day(&mut self, dimension: Dimension, block: &Block) {
        self.each(dimension, block, |history, counts| history.last_day.add(&counts));
    }

    fn each(&mut self, dimension: Dimension, block: &Block, mut add: impl FnMut(&mut History, Counts)) {
        for (key, cell) in block.iter() {
            match dimension {
                Dimension::StreamProvider => {
                    let pair = halves(key);
                    let counts = self.of_pair(&pair, cell);
                    add(self.pairs.entry(pair).or_default(), counts);
                }
                Dimension::SourceProvider => {
                    let lane = halves(key);
                    let counts = Counts::of_mail(cell).without(self.unknown_at(&lane.1)).without(&OF_STREAMS);
                    add(self.lanes.entry(lane).or_default(), counts);
                }
                Dimension::FromDomain => {
                    let mut counts = Counts::of_mail(cell).without(&OF_STREAMS);
                    counts.set(Measure::Suppressed, Counts::of_suppressed(cell).share(Measure::Suppressed));
                    add(self.domains.entry(key.to_owned()).or_default(), counts);
                }
                Dimension::Stream => add(self.suppressed.entry(key.to_owned()).or_default(), Counts::of_suppressed(cell)),
                _ => {}
            }
        }
    }

    fn of_pair(&self, (stream, provider): &(String, String), cell: &Cell) -> Counts {
        let mut counts = Counts::of_mail(cell).without(self.unknown_at(provider));
        if !self.traits.bulk.contains(stream) {
            counts = counts.without(&[Measure::OneClick]);
        }
        if !self.traits.tracking.contains(stream) {
            counts = counts.without(&[Measure::Unsubscribed]);
        }
        counts
    }

    /// What is not known of a provider.
    fn unknown_at(&self, provider: &str) -> &'static [Measure] {
        if self.complaint_providers.contains(provider) { &[] } else { &[Measure::Complaints] }
    }

    /// Whether feedback has stopped a lane at a provider.
    pub(super) fn is_stopped(&self, provider: &str) -> bool {
        self.stopped.iter().any(|(_, stopped)| stopped == provider)
    }
}

/// What is known of streams alone.
const OF_STREAMS: [Measure; 2] = [Measure::OneClick, Measure::Unsubscribed];

/// The halves of a pair. What has no place of its own in the tallies is one key, `other`.
fn halves(key: &str) -> (String, String) {
    let (first, second) = key.split_once(PAIR).unwrap_or((OTHER, OTHER));
    (first.to_owned(), second.to_owned())
}
