//! What /metrics tells of the relay itself: incidents, scores, certificates, disks, reloads, commits.

use std::collections::BTreeMap;

use posthaste_findings::{
    Disk, Severity,
    score::{Score, Scores},
};
use posthaste_watch::{Gauge, Labels, Sorted, Unit};

use crate::state::Api;

/// What the rules and the score know, with providers that are `known`. Without monitoring there is nothing to tell: not even that there are none.
pub(super) fn of_watch(api: &Api, known: &dyn Fn(&str) -> bool) -> Vec<Gauge> {
    let mut gauges = vec![incidents(api)];
    gauges.extend(scores(api, known));
    gauges
}

/// What is known of the house.
pub(super) fn of_house(api: &Api) -> Vec<Gauge> {
    house(api).into_iter().chain(reloads(api)).collect()
}

/// How long commits took.
pub(super) fn commits(api: &Api) -> Sorted {
    let values = api.commits.iter().map(|(of, times)| (vec![("of", (*of).to_owned())], times.histogram())).collect();
    Sorted { name: "commit", help: "Time that a commit of the spool or the log to its disk took", unit: Some(Unit::Seconds), values }
}

fn incidents(api: &Api) -> Gauge {
    let open = |severity: &Severity| (vec![("severity", severity.as_str().to_owned())], api.incidents.open_of(*severity) as f64);
    let values = Severity::ALL.iter().map(open).collect();
    Gauge { name: "incidents_open", help: "Incidents that are open, muted ones included, by severity", unit: None, values }
}

/// Where there is enough mail for a score.
fn scores(api: &Api, known: &dyn Fn(&str) -> bool) -> [Gauge; 4] {
    let scores = api.incidents.scores();
    let value = |score: &Score| score.value.map(f64::from);
    let by = |label: &'static str, of: fn(&Scores) -> &BTreeMap<String, Score>| -> Vec<(Labels, f64)> {
        let scores = scores.iter().flat_map(|scores| of(scores));
        scores.filter_map(|(name, score)| Some((vec![(label, name.clone())], value(score)?))).collect()
    };
    let mut providers = by("provider", |scores| &scores.providers);
    providers.retain(|(labels, _)| known(&labels[0].1));
    let all = scores.iter().filter_map(|scores| Some((Vec::new(), value(&scores.all)?)));
    let gauge = |name, help, values| Gauge { name, help, unit: None, values };
    [
        gauge("health_score", "The relay's health score, 0 to 100; missing: not enough mail", all.collect()),
        gauge("provider_health_score", "The health score of mail to a provider, 0 to 100", providers),
        gauge("stream_health_score", "The health score of a stream's mail, 0 to 100", by("stream", |scores| &scores.streams)),
        gauge("source_health_score", "The health score of a source's mail, 0 to 100", by("source", |scores| &scores.sources)),
    ]
}

/// As the rules saw them last.
fn house(api: &Api) -> [Gauge; 3] {
    let facts = api.incidents.facts();
    let disks = |of: fn(&Disk) -> u64| {
        let disks = facts.iter().flat_map(|facts| &facts.house.disks);
        disks.map(|disk| (vec![("holds", disk.holds.clone())], of(disk) as f64)).collect()
    };
    // Two listeners may show the same certificate.
    let certificates = facts.iter().flat_map(|facts| &facts.house.certificates);
    let expiry: BTreeMap<&str, i64> = certificates.map(|certificate| (&*certificate.name, certificate.expires.as_second())).collect();
    let expiry = expiry.into_iter().map(|(name, at)| (vec![("name", name.to_owned())], at as f64)).collect();
    let gauge = |name, help, unit, values| Gauge { name, help, unit: Some(unit), values };
    [
        gauge("disk_free", "What is free of the disks that spool and log are on", Unit::Bytes, disks(|disk| disk.free)),
        gauge("disk_size", "How large these disks are", Unit::Bytes, disks(|disk| disk.size)),
        gauge("certificate_expiry_timestamp", "When a listener's certificate expires", Unit::Seconds, expiry),
    ]
}

fn reloads(api: &Api) -> [Gauge; 2] {
    let last = api.reloads.last();
    let one = |value: f64| vec![(Vec::new(), value)];
    [
        Gauge {
            name: "config_last_reload_successful",
            help: "1 if the configuration that was read last is in force, 0 if it was refused",
            unit: None,
            values: one(last.succeeded.into()),
        },
        Gauge {
            name: "config_last_reload_success_timestamp",
            help: "When a configuration came into force last, by a start or a reload",
            unit: Some(Unit::Seconds),
            values: one(last.in_force_since.as_second() as f64),
        },
    ]
}
