use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Change, IncidentChange, Incidents, UnknownIncident};
use crate::{
    About, Finding, FindingState, IncidentState, Key, LimitFrom, Measure, Mute, ProblemOf, Rule, Severity, settings::IncidentSettings,
};

fn at(minute: i64) -> Timestamp {
    "2026-11-29T14:02:00Z".parse::<Timestamp>().unwrap().checked_add(SignedDuration::from_mins(minute)).unwrap()
}

fn finding(provider: &str, severity: Severity, n: u64) -> Finding {
    let key = Key::new(About::Provider, provider);
    Finding {
        id: Finding::id_of(Rule::ProviderRefuses, &key),
        rule: Rule::ProviderRefuses,
        key,
        severity,
        measure: Measure { n, of: Some(100), what: "refusals".into(), limit: "10 %".into(), limit_from: LimitFrom::Default },
        first_seen: at(0),
        last_seen: at(0),
        state: FindingState::Open,
        summary: "It refuses.".into(),
        problem_of: ProblemOf::Ours,
        done: "Nothing.".into(),
        next_step: "Look.".into(),
        query: "posthaste log".into(),
    }
}

fn said(changes: &[IncidentChange]) -> Vec<&'static str> {
    changes.iter().map(|change| change.change.as_str()).collect()
}

/// Ticks of one finding at most.
struct Ticks(Incidents, IncidentSettings);

impl Ticks {
    fn new() -> Self {
        Self(Incidents::default(), IncidentSettings::default())
    }

    fn hit(&mut self, minute: i64, severity: Severity) -> Vec<&'static str> {
        said(&self.0.take(&[finding("google", severity, 10)], &self.1, at(minute)))
    }

    fn quiet(&mut self, minute: i64) -> Vec<&'static str> {
        said(&self.0.take(&[], &self.1, at(minute)))
    }

    fn mute(&mut self, minute: i64, until: i64) -> IncidentChange {
        let id = self.0.list().next().unwrap().0.id.clone();
        self.0.mute(&id, Mute { by: "ada".into(), reason: "we know".into(), until: at(until) }, at(minute)).unwrap()
    }

    fn states(&self) -> Vec<IncidentState> {
        self.0.list().map(|(_, state)| state).collect()
    }
}

use Severity::{Critical, Warn};

#[test]
fn an_incident_opens_once_keeps_its_figure_current_and_closes_after_half_an_hour() {
    let mut ticks = Ticks::new();
    assert_eq!(ticks.hit(0, Warn), ["opened"]);
    assert!(ticks.hit(1, Warn).is_empty());
    assert!(said(&ticks.0.take(&[finding("google", Warn, 77)], &ticks.1, at(2))).is_empty());
    let (incident, state) = ticks.0.list().next().unwrap();
    assert_eq!((&*incident.id, incident.finding.measure.n, state), ("20261129T140200-1", 77, IncidentState::Open));
    assert!(ticks.quiet(31).is_empty());
    assert!(ticks.hit(31, Warn).is_empty(), "a gap of 29 minutes is none");
    assert_eq!(ticks.quiet(61), ["closed"]);
    assert_eq!(ticks.states(), [IncidentState::Closed]);
    assert!(ticks.quiet(62).is_empty());
    assert_eq!(ticks.hit(63, Warn), ["opened"]);
    assert_eq!(ticks.states(), [IncidentState::Open, IncidentState::Closed]);
}

#[test]
fn it_is_told_again_after_a_day_and_when_it_becomes_worse_than_ever() {
    let mut ticks = Ticks::new();
    let day = 24 * 60;
    assert_eq!(ticks.hit(0, Warn), ["opened"]);
    for minute in (20..day).step_by(20) {
        assert!(ticks.hit(minute, Warn).is_empty());
    }
    assert_eq!(ticks.hit(day, Warn), ["told_again"]);
    assert_eq!(ticks.hit(day + 5, Critical), ["severity_rose"]);
    assert!(ticks.hit(day + 6, Warn).is_empty(), "nobody is told that it got better");
    assert!(ticks.hit(day + 7, Critical).is_empty(), "nor that it is as bad as it was");
    assert_eq!((ticks.0.open(Critical), ticks.0.open(Warn)), (1, 0));
}

#[test]
fn a_mute_outlives_the_incident_and_its_end_is_told_while_it_lasts() {
    let mut ticks = Ticks::new();
    ticks.hit(0, Warn);
    let change = ticks.mute(1, 100);
    assert!(change.muted && change.change.state() == "muted");
    assert_eq!(ticks.states(), [IncidentState::Muted]);
    assert!(ticks.hit(2, Critical).is_empty(), "not told while it is muted");
    let closed = ticks.0.take(&[], &ticks.1, at(40));
    assert!(closed[0].change == Change::Closed && closed[0].muted);
    let opened = ticks.0.take(&[finding("google", Warn, 10)], &ticks.1, at(80));
    assert!(opened[0].change == Change::Opened && opened[0].muted, "the log has it, and nobody is told");
    assert_eq!(ticks.hit(100, Warn), ["unmuted"]);
    assert!(ticks.hit(101, Warn).is_empty());
    // Another mute ends after the incident: there is nothing to tell.
    ticks.mute(102, 200);
    assert_eq!(ticks.quiet(140), ["closed"]);
    assert!(ticks.quiet(200).is_empty());
    assert_eq!(ticks.hit(201, Warn), ["opened"]);
}

#[test]
fn what_an_operator_closed_stays_closed_until_it_was_gone_is_worse_or_a_day_has_passed() {
    let closed = || {
        let mut ticks = Ticks::new();
        ticks.hit(0, Warn);
        let id = ticks.0.list().next().unwrap().0.id.clone();
        let change = ticks.0.close(&id, "ada", &ticks.1, at(1)).unwrap();
        assert_eq!((change.change, change.incident.closed_by.as_deref()), (Change::Closed, Some("ada")));
        assert_eq!(ticks.0.close(&id, "ada", &ticks.1, at(1)), Err(UnknownIncident::Closed(id.clone())));
        assert!(ticks.hit(2, Warn).is_empty());
        ticks
    };
    assert_eq!(closed().hit(3, Critical), ["opened"]);
    assert_eq!(closed().hit(32, Warn), ["opened"], "it was gone for half an hour");
    let mut ticks = closed();
    for minute in (20..24 * 60).step_by(20) {
        assert!(ticks.hit(minute, Warn).is_empty());
    }
    assert_eq!(ticks.hit(1 + 24 * 60, Warn), ["opened"]);
    assert!(matches!(ticks.0.close("nonsense", "ada", &ticks.1, at(1)), Err(UnknownIncident::Unknown(_))));
}

#[test]
fn a_clock_that_goes_back_keeps_no_incident_open_for_ever() {
    let mut ticks = Ticks::new();
    ticks.hit(0, Warn);
    assert!(ticks.quiet(-600).is_empty());
    assert_eq!(ticks.quiet(-570), ["closed"]);
}

#[test]
fn no_more_are_kept_than_there_is_place_for() {
    let settings = IncidentSettings { kept: 3, ..IncidentSettings::default() };
    let mut incidents = Incidents::default();
    let findings: Vec<Finding> = ["a", "b", "c", "d", "e"].iter().map(|provider| finding(provider, Warn, 1)).collect();
    assert_eq!(incidents.take(&findings[..2], &settings, at(0)).len(), 2);
    assert_eq!(incidents.take(&[], &settings, at(30)).len(), 2);
    let opened = incidents.take(&findings, &settings, at(31));
    assert_eq!((said(&opened), incidents.beyond()), (vec!["opened"; 3], 2));
    let ids: std::collections::BTreeSet<_> = opened.iter().map(|change| &*change.incident.id).collect();
    assert_eq!((incidents.list().count(), ids.len()), (3, 3));
}

#[test]
fn a_change_is_a_line_of_the_log() {
    let mut ticks = Ticks::new();
    ticks.hit(0, Critical);
    let change = ticks.mute(1, 100);
    let line = serde_json::to_value(change.event()).unwrap();
    for (field, value) in [
        ("event", "incident"),
        ("incident", "20261129T140200-1"),
        ("rule", "provider_refuses"),
        ("key", "provider:google"),
        ("state", "muted"),
        ("severity", "critical"),
        ("limit", "10 %"),
        ("detail", "It refuses."),
        ("problem_of", "ours"),
        ("next_step", "Look."),
        ("since", "2026-11-29T14:02:00.000Z"),
        ("by", "ada"),
        ("reason", "we know"),
        ("until", "2026-11-29T15:42:00.000Z"),
    ] {
        assert_eq!(line[field], value, "{field}: {line:#}");
    }
    assert_eq!((&line["n"], &line["of"]), (&10.into(), &100.into()));
}

/// What happens at a tick, besides time that passes.
#[derive(Clone, Debug)]
enum Step {
    Found(Vec<(u8, bool)>),
    Mute(u8, i64),
    Close(u8),
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step, bool)>> {
    let step = prop_oneof![
        6 => proptest::collection::vec((0..4_u8, any::<bool>()), 0..4).prop_map(Step::Found),
        1 => (0..6_u8, 0..300_i64).prop_map(|(which, lasts)| Step::Mute(which, lasts)),
        1 => (0..6_u8).prop_map(Step::Close),
    ];
    // Mostly minutes, at times a day, at times back.
    let minutes = prop_oneof![8 => 0..40_i64, 1 => 1000..2000_i64, 1 => -120..0_i64];
    proptest::collection::vec((minutes, step, any::<bool>()), 1..60)
}

fn take(incidents: &mut Incidents, step: &Step, settings: &IncidentSettings, now: Timestamp) -> Vec<IncidentChange> {
    let id = |incidents: &Incidents, which: u8| incidents.list().nth(which.into()).map(|(incident, _)| incident.id.clone());
    match step {
        Step::Found(found) => {
            let severity = |critical: bool| if critical { Critical } else { Warn };
            let found: std::collections::BTreeMap<u8, bool> = found.iter().copied().collect();
            let findings: Vec<Finding> =
                found.iter().map(|(n, critical)| finding(&format!("p{n}"), severity(*critical), u64::from(*n))).collect();
            incidents.take(&findings, settings, now)
        }
        Step::Mute(which, lasts) => {
            let until = now.checked_add(SignedDuration::from_mins(*lasts)).unwrap();
            let mute = Mute { by: "ada".into(), reason: "x".into(), until };
            id(incidents, *which).into_iter().filter_map(|id| incidents.mute(&id, mute.clone(), now).ok()).collect()
        }
        Step::Close(which) => id(incidents, *which).into_iter().filter_map(|id| incidents.close(&id, "ada", settings, now).ok()).collect(),
    }
}

proptest! {
    /// Saved and read back at any tick, the incidents go on as if nothing had happened; and each opens before it closes, once.
    #[test]
    fn a_restart_changes_nothing(steps in steps(), kept in 2..6_usize) {
        let settings = IncidentSettings { kept, closed_after: Duration::from_secs(30 * 60), ..IncidentSettings::default() };
        let (mut whole, mut restarted) = (Incidents::default(), Incidents::default());
        let mut now = at(0);
        let mut open = std::collections::BTreeMap::new();
        let mut ids = std::collections::BTreeSet::new();
        for (passes, step, restart) in steps {
            now = now.checked_add(SignedDuration::from_mins(passes)).unwrap();
            if restart {
                restarted = serde_json::from_slice(&serde_json::to_vec(&restarted).unwrap()).unwrap();
            }
            let changes = take(&mut whole, &step, &settings, now);
            prop_assert_eq!(&changes, &take(&mut restarted, &step, &settings, now));
            prop_assert_eq!(&whole, &restarted);
            prop_assert!(whole.list().count() <= kept);
            for change in changes {
                let (about, id) = (change.incident.finding.id.clone(), change.incident.id.clone());
                match change.change {
                    Change::Opened => {
                        prop_assert!(ids.insert(id.clone()), "{} twice", id);
                        prop_assert_eq!(open.insert(about, id), None);
                    }
                    Change::Closed => prop_assert_eq!(open.remove(&about), Some(id)),
                    Change::Muted(_) => {}
                    _ => prop_assert_eq!(open.get(&about), Some(&id)),
                }
            }
        }
    }
}
