//! What the operator hears of a clock that was set while the relay runs.

use jiff::SignedDuration;
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_queue::ClockNews;

/// The alarm about a lane that has to wait because of it.
pub(crate) const LANE_WAITS: &str = "clock_lane";

/// Writes it into the log: a step back, a lane with a cap that has to wait because of it, and the end of that.
pub(super) fn tell(journal: &Journal, news: &ClockNews) {
    match news {
        ClockNews::WentBack { by } => {
            let by = SignedDuration::from_secs(by.as_secs());
            let detail = format!("the clock went back by {by:#}; mail that waited for its next attempt waits for the rest of its time");
            let remedy = "Find out what sets the clock; let an NTP service adjust it gradually".into();
            let key = posthaste_host::clock::now().to_string();
            journal.raise_as(State::ClockBack, Finding { rule: "clock_back", key, part: None, what: detail, remedy });
        }
        ClockNews::LaneWaits { lane, until } => {
            let (source, provider) = (&lane.source, &lane.provider);
            let what = format!(
                "{source} at {provider}: the clock went back, and the budget of this day or of a later one was given already; it goes on at {until}"
            );
            let remedy = format!("Check the clock; if it was ahead before and is right now, `posthaste warmup resume {source}/{provider}`");
            let (rule, key) = (LANE_WAITS, format!("{source}/{provider}"));
            journal.raise(Finding { rule, key, part: Some(Part::Warmup), what, remedy });
        }
        ClockNews::LaneGoesOn { lane } => {
            let (source, provider) = (&lane.source, &lane.provider);
            let detail = || format!("{source} at {provider}: goes on; the day that the clock went back into is past");
            journal.mended(Part::Warmup, LANE_WAITS, &format!("{source}/{provider}"), detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use posthaste_governor::LaneKey;
    use posthaste_host::{InForce, clock};
    use posthaste_journal::stamp;
    use posthaste_mail::Name;
    use posthaste_monitor::{EventLog, LogOptions};

    use super::*;

    #[test]
    fn a_step_back_is_in_the_log_and_a_lane_that_waits_for_it_is_an_alarm_with_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let node = InForce::fixed(Name::new("mx1").unwrap());
        let (log, _) = EventLog::open(LogOptions::new(dir.path()), clock::now, stamp(node.clone()), |_, _| ()).unwrap();
        let journal = Journal::new(log, node);
        let lane = LaneKey { source: "ip1".into(), provider: "google".into() };
        tell(&journal, &ClockNews::WentBack { by: SignedDuration::from_secs(3_661) });
        tell(&journal, &ClockNews::LaneWaits { lane: lane.clone(), until: Timestamp::UNIX_EPOCH });
        tell(&journal, &ClockNews::LaneGoesOn { lane });
        journal.close().unwrap();
        let text = std::fs::read_to_string(dir.path().join("delivery.log")).unwrap();
        let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let states: Vec<_> = events.iter().map(|event| event["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["clock_back", "alarm", "alarm_over"]);
        assert!(events[0]["detail"].as_str().unwrap().contains("went back by 1h 1m 1s"), "{text}");
        assert!(events[1]["detail"].as_str().unwrap().contains("it goes on at 1970-01-01T00:00:00Z"), "{text}");
    }
}
