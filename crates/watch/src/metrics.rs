//! The figures for machines, in OpenMetrics (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::{collections::BTreeMap, fmt};

use posthaste_mail::Class;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, Histogram, OTHER, Tallies, TalliesError, Time};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, prometheus_text, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::NO_PROVIDER;

/// A metric: one value, or one for each set of labels.
#[derive(Clone, Debug)]
pub struct Family<V> {
    /// The name, without the prefix `posthaste_` and the unit.
    pub name: &'static str,
    /// One sentence, without its full stop.
    pub help: &'static str,
    /// The unit, if it has one.
    pub unit: Option<Unit>,
    /// The values, each with its labels.
    pub values: Vec<(Labels, V)>,
}

/// What /metrics tells beside the tallies.
pub type Gauge = Family<f64>;

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

/// A histogram beside those of the tallies.
pub type Sorted = Family<Buckets>;

/// How /metrics is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older text format of Prometheus.
    Prometheus,
}

impl MetricsFormat {
    /// The format's media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What /metrics tells of the tallies: all that was ever counted.
#[derive(Debug)]
pub struct Counted(Exposition);

impl Counted {
    /// Reads it. Providers that are not `known` are one: labels must not be as many as there are domains. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn read(tallies: &Tallies, known: impl Fn(&str) -> bool) -> Result<Self, TalliesError> {
        let mut all = Exposition::default();
        let totals = tallies.ever(Dimension::All)?;
        let totals = totals.get("all").cloned().unwrap_or_default();
        let mut providers = with_known(&tallies.ever(Dimension::Provider)?, known);
        if let Some(rest) = without_provider(&totals, &providers) {
            // A table of the configuration may have that name.
            providers.entry(NO_PROVIDER.to_owned()).or_default().merge_counts(&rest);
        }
        all.by_provider(&providers);
        all.by_source_and_stream(&tallies.ever(Dimension::Source)?, &tallies.ever(Dimension::Stream)?);
        all.failures(&tallies.ever(Dimension::Class)?);
        all.rejections(&tallies.ever(Dimension::Reason)?);
        all.totals(&totals);
        Ok(Self(all))
    }
}

/// The text of /metrics: what was counted, if it is, and these gauges and histograms.
pub fn metrics(counted: Option<Counted>, (gauges, histograms): (Vec<Gauge>, Vec<Sorted>), format: MetricsFormat) -> String {
    let mut all = counted.map_or_else(Exposition::default, |counted| counted.0);
    all.gauges = gauges;
    all.histograms.extend(histograms);
    let mut registry = Registry::with_prefix("posthaste");
    registry.register_collector(Box::new(all));
    let mut text = String::new();
    let written = match format {
        MetricsFormat::OpenMetrics => text::encode(&mut text, &registry),
        MetricsFormat::Prometheus => prometheus_text::encode(&mut text, &registry),
    };
    written.expect("memory does not fail to take text");
    text
}

fn with_known(block: &Block, known: impl Fn(&str) -> bool) -> BTreeMap<String, Cell> {
    let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
    for (key, cell) in block.iter() {
        cells.entry(if known(key) { key } else { OTHER }.to_owned()).or_default().merge(cell);
    }
    cells
}

/// What was counted of mail without a provider: with it, the sum over all is what the log and the report say. None: there was none.
fn without_provider(all: &Cell, providers: &BTreeMap<String, Cell>) -> Option<Cell> {
    let mut known = Cell::default();
    providers.values().for_each(|cell| known.merge_counts(cell));
    let rest = all.without(&known);
    let told = RESULTS.map(|(_, counter)| counter).into_iter().chain(BY_PROVIDER.map(|(.., counter)| counter));
    told.map(|counter| rest.get(counter)).any(|count| count > 0).then_some(rest)
}

/// How a recipient's story ends.
const RESULTS: [(&str, Counter); 3] = [("delivered", Counter::Delivered), ("bounced", Counter::Bounced), ("expired", Counter::Expired)];
/// What else is told of each provider.
const BY_PROVIDER: [(&str, &str, Counter); 5] = [
    ("attempts", "Attempts to deliver, by recipient", Counter::Attempts),
    ("deferrals", "Failures for now, by recipient", Counter::Deferred),
    ("late_bounces", "Bounces that came back after a delivery", Counter::LateBounced),
    ("complaints", "Complaints that came back", Counter::Complained),
    ("deliveries_tls", "Deliveries under TLS", Counter::DeliveredTls),
];

/// What stands in /metrics.
#[derive(Debug, Default)]
struct Exposition {
    counters: Vec<Family<u64>>,
    gauges: Vec<Gauge>,
    histograms: Vec<Family<Buckets>>,
}

/// A histogram's sum, count and buckets, in base units.
#[derive(Clone, Debug)]
pub struct Buckets {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl Exposition {
    fn count(&mut self, name: &'static str, help: &'static str, unit: Option<Unit>, values: impl Iterator<Item = (Labels, u64)>) {
        self.counters.push(Family { name, help, unit, values: values.collect() });
    }

    fn sort(&mut self, name: &'static str, help: &'static str, unit: Unit, values: impl Iterator<Item = (Labels, Buckets)>) {
        self.histograms.push(Family { name, help, unit: Some(unit), values: values.collect() });
    }

    fn by_provider(&mut self, providers: &BTreeMap<String, Cell>) {
        let label = |provider: &str| vec![("provider", provider.to_owned())];
        let with_results = providers.iter().flat_map(|(provider, cell)| {
            RESULTS.map(|(result, counter)| (vec![("provider", provider.clone()), ("result", result.to_owned())], cell.get(counter)))
        });
        self.count(
            "recipients",
            "Recipients whose story is over, by its end; those of late_bounces were delivered first, and those of provider none had no host to go to",
            None,
            with_results,
        );
        for (name, help, counter) in BY_PROVIDER {
            let values = providers.iter().map(|(provider, cell)| (label(provider), cell.get(counter)));
            self.count(name, help, None, values);
        }
        let ages = providers.iter().map(|(provider, cell)| (label(provider), Buckets::of(cell, Histogram::Of(Time::Delivery))));
        self.sort("delivery_age", "Time from a recipient's acceptance to its delivery", Unit::Seconds, ages);
    }

    fn by_source_and_stream(&mut self, sources: &Block, streams: &Block) {
        let by = |label: &'static str, block: &Block, counter: Counter| -> Vec<_> {
            block.iter().map(|(key, cell)| (vec![(label, key.to_owned())], cell.get(counter))).collect()
        };
        let each = [
            ("source_attempts", "Attempts to deliver from a source, by recipient", "source", sources, Counter::Attempts),
            ("source_delivered", "Recipients delivered from a source", "source", sources, Counter::Delivered),
            ("accepted", "Recipients accepted", "stream", streams, Counter::Accepted),
            ("suppressed", "Recipients not written to, because they are on the suppression list", "stream", streams, Counter::Suppressed),
            ("stream_delivered", "Recipients of a stream that were delivered", "stream", streams, Counter::Delivered),
        ];
        for (name, help, label, block, counter) in each {
            self.count(name, help, None, by(label, block, counter).into_iter());
        }
    }

    fn failures(&mut self, classes: &Block) {
        let words = Class::ALL.iter().filter_map(|class| Some((*class, classes.get(class.as_str())?)));
        let values = words.flat_map(|(class, cell)| {
            let by = [ByClass::Deferred, ByClass::Bounced, ByClass::Expired, ByClass::LateBounced];
            by.map(|by| (vec![("class", class.as_str().to_owned()), ("result", by.as_str().to_owned())], cell.get((by, class))))
        });
        self.count("failures", "Failures by what they mean and what followed", None, values);
    }

    fn rejections(&mut self, reasons: &Block) {
        let values = reasons.iter().map(|(reason, cell)| (vec![("reason", reason.to_owned())], cell.get(Counter::Rejected)));
        self.count("rejected", "Refusals at the door that have a line in the log", None, values);
    }

    fn totals(&mut self, all: &Cell) {
        let one = |counter: Counter| std::iter::once((Vec::new(), all.get(counter)));
        self.count("delivered", "Bytes that receivers took", Some(Unit::Bytes), one(Counter::BytesDelivered));
        self.count("cancelled", "Recipients that were removed from the queue", None, one(Counter::Cancelled));
        self.count("unsubscribed", "Unsubscriptions that came back", None, one(Counter::Unsubscribed));
        self.count("replies_unknown", "Refusals that no rule knows", None, one(Counter::UnknownReplies));
        let stages = [
            ("wait", "Time from a recipient's acceptance to the first attempt that delivered it", Time::Wait),
            ("connect", "Time to connect", Time::Connect),
            ("tls_handshake", "Time of the TLS handshake", Time::Tls),
            ("dialogue", "Time from MAIL to the reply after the message", Time::Dialogue),
        ];
        for (name, help, time) in stages {
            self.sort(name, help, Unit::Seconds, std::iter::once((Vec::new(), Buckets::of(all, Histogram::Of(time)))));
        }
        let sizes = std::iter::once((Vec::new(), Buckets::of(all, Histogram::Size)));
        self.sort("message_size", "Sizes of delivered messages", Unit::Bytes, sizes);
    }
}

impl Buckets {
    /// Of counts up to each bound, and the sum of what was sorted.
    pub(crate) fn new(buckets: Vec<(f64, u64)>, sum: f64) -> Self {
        Self { sum, count: buckets.iter().map(|(_, count)| count).sum(), buckets }
    }

    fn of(cell: &Cell, histogram: Histogram) -> Self {
        let scale = if histogram == Histogram::Size { 1.0 } else { 1000.0 };
        let bounds = histogram.bounds().iter().map(|bound| *bound as f64 / scale).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.enumerate().map(|(place, bound)| (bound, cell.get(histogram.bucket(place)))).collect();
        Self::new(buckets, cell.get(histogram.sum()) as f64 / scale)
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, unit, values } in &self.counters {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
            for (labels, value) in values {
                match labels.is_empty() {
                    true => metric.encode_counter::<NoLabelSet, _, u64>(value, None)?,
                    false => ConstCounter::new(*value).encode(metric.encode_family(labels)?)?,
                }
            }
        }
        for Family { name, help, unit, values } in &self.gauges {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (labels, value) in values {
                match labels.is_empty() {
                    true => metric.encode_gauge(value)?,
                    false => ConstGauge::new(*value).encode(metric.encode_family(labels)?)?,
                }
            }
        }
        for Family { name, help, unit, values } in &self.histograms {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Histogram)?;
            for (labels, Buckets { sum, count, buckets }) in values {
                match labels.is_empty() {
                    true => metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?,
                    false => metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use posthaste_tallies::{Delta, Limits, Seen};

    use super::*;

    fn tallies(dir: &std::path::Path, lines: &[&str]) -> Tallies {
        let mut tallies = Tallies::open(&dir.join("tallies.db"), TimeZone::UTC, Limits::default()).unwrap();
        let mut delta = Delta::new(TimeZone::UTC);
        for rest in lines {
            let line = format!(r#"{{"time":"2026-11-29T00:00:00.000Z","stream":"news","size":700,"age_ms":1500,{rest}}}"#);
            delta.take(&Seen::parse(line.as_bytes()).unwrap());
        }
        tallies.add(&delta, None).unwrap();
        tallies
    }

    #[test]
    fn what_was_counted_stands_there_with_labels_that_stay_few() {
        let dir = tempfile::tempdir().unwrap();
        let delivered = r#""event":"delivered","provider":"google","source":"ip1","attempt":1,"connect_ms":20"#;
        let rare = r#""event":"bounced","provider":"a.example","source":"ip1","attempt":1,"class":"invalid_recipient""#;
        let nowhere = r#""event":"bounced","attempt":1,"class":"bad_domain""#;
        let tallies = tallies(dir.path(), &[r#""event":"accepted""#, delivered, rare, &rare.replace("a.ex", "b.ex"), nowhere]);
        let gauge = Gauge { name: "waiting", help: "Recipients that wait", unit: None, values: vec![(Vec::new(), 7.0)] };
        let counted = Counted::read(&tallies, |provider| provider == "google").unwrap();
        let text = metrics(Some(counted), (vec![gauge.clone()], Vec::new()), MetricsFormat::OpenMetrics);
        for line in [
            "# TYPE posthaste_recipients counter",
            r#"posthaste_recipients_total{provider="google",result="delivered"} 1"#,
            r#"posthaste_recipients_total{provider="other",result="bounced"} 2"#,
            r#"posthaste_recipients_total{provider="none",result="bounced"} 1"#,
            r#"posthaste_attempts_total{provider="none"} 0"#,
            r#"posthaste_accepted_total{stream="news"} 1"#,
            r#"posthaste_failures_total{class="invalid_recipient",result="bounced"} 2"#,
            "posthaste_delivered_bytes_total 700",
            "posthaste_waiting 7.0",
            r#"posthaste_delivery_age_seconds_bucket{le="5.0",provider="google"} 1"#,
            r#"posthaste_delivery_age_seconds_sum{provider="google"} 1.5"#,
            r#"posthaste_message_size_bytes_count 1"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("a.example"), "{text}");
        let uncounted = metrics(None, (vec![gauge], Vec::new()), MetricsFormat::OpenMetrics);
        assert!(uncounted.contains("\nposthaste_waiting 7.0\n") && !uncounted.contains("_total"), "{uncounted}");
    }
}
