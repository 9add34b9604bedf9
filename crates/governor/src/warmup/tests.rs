use crate::{Admission, Curve, Grade, Outcome, Plan, Shape, Stage};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A lane on its second day of 50, 100, 200, with 40 of its 100 accepted, 2 bounced and 1 under way; a warm one; one that was slowed.
fn governor() -> Governor {
    let mut governor = Governor::new();
    let plan = Arc::new(Plan { min_sample: 10, ..Plan::new("mine", Curve::new([50, 100, 200]).unwrap()) });
    let lane = governor.open(&LaneKey::new("ip1", "google"), &plan, Stage::FIRST, Shape::default(), at("2026-11-22T00:00:00Z"));
    send(&mut governor, lane, 48, Outcome::Accepted, "2026-11-22T12:00:00Z");
    send(&mut governor, lane, 40, Outcome::Accepted, "2026-11-23T00:00:00Z");
    send(&mut governor, lane, 2, Outcome::HardBounce, "2026-11-23T11:00:00Z");
    let Admission::Go(_) = governor.admit(lane, 1, at("2026-11-23T12:00:00Z")) else { panic!("there is budget at noon") };
    let warm = Arc::new(Plan::warm());
    governor.open(&LaneKey::new("ip2", "google"), &warm, Stage::Past, Shape::default(), at("2026-11-22T00:00:00Z"));
    let slowed = governor.open(&LaneKey::new("ip2", "yahoo"), &warm, Stage::Past, Shape::default(), at("2026-11-22T00:00:00Z"));
    governor.pause(slowed, jiff::SignedDuration::from_hours(2), &"TSS04".into(), at("2026-11-23T11:00:00Z"));
    governor
}

fn send(governor: &mut Governor, lane: LaneId, n: u32, outcome: Outcome, from: &str) {
    let (mut now, mut left) = (at(from), n);
    while left > 0 {
        match governor.admit(lane, left, now) {
            Admission::Go(permit) => {
                left -= permit.count();
                governor.settle(permit, outcome, now);
            }
            Admission::NotBefore(at, _) => now = at,
        }
    }
}

const NOON: &str = "2026-11-23T12:00:00Z";

#[test]
fn the_status_shows_lanes_that_warm_up_or_were_pushed_back() {
    let mut governor = governor();
    let WarmupAnswer::Lanes { lanes } = perform(&mut governor, &WarmupQuestion::Status, at(NOON)) else { panic!("lanes were asked for") };
    let keys: Vec<_> = lanes.iter().map(|lane| format!("{}/{}", lane.source, lane.provider)).collect();
    assert_eq!(keys, ["ip1/google", "ip2/yahoo"]);
    let cold = &lanes[0];
    assert_eq!((cold.curve.as_deref(), cold.stage, cold.stages, cold.cap), (Some("mine"), Some(2), 3, Some(100)));
    assert_eq!((cold.used, cold.accepted, cold.reserved, cold.remaining), (43, 40, 1, Some(57)));
    assert_eq!((cold.health.grade, cold.health.sample, cold.health.min_sample), (Grade::Fair, 42, 10));
    assert!((cold.health.hard_bounces.now - 2.0 / 42.0).abs() < 1e-6, "{:?}", cold.health);
    assert_eq!(cold.verdict, "hold: hard bounces reached its rate");
    assert_eq!((cold.next_stage, cold.next_cap), (Some(2), Some(100)));
    let last = cold.last.as_ref().unwrap();
    assert_eq!((last.date.to_string().as_str(), last.cap, last.verdict.as_str()), ("2026-11-22", Some(50), "advance"));
    let warm = &lanes[1];
    assert_eq!((warm.curve.as_deref(), warm.stage, warm.cap), (None, None, None));
    assert_eq!((warm.hold.as_deref(), warm.next_release), (Some("paused: TSS04"), Some(at("2026-11-23T13:00:00Z"))));
    let paused = Paused { since: Some(at("2026-11-23T11:00:00Z")), until: Some(at("2026-11-23T13:00:00Z")), why: "TSS04".into() };
    assert_eq!(warm.paused, Some(paused));
    let WarmupAnswer::Lanes { lanes } = perform(&mut governor, &WarmupQuestion::Status, at("2026-11-23T13:00:00Z")) else {
        panic!("lanes")
    };
    assert_eq!(lanes[1].paused, None, "it is over");
}

#[test]
fn every_answer_passes_the_socket() {
    let mut governor = governor();
    let lane = LaneKey::new("ip1", "google");
    for ask in [
        WarmupQuestion::Status,
        WarmupQuestion::Days { lane },
        WarmupQuestion::Ledger,
        WarmupQuestion::Days { lane: LaneKey::new("ip9", "google") },
    ] {
        let ask: WarmupQuestion = serde_json::from_str(&serde_json::to_string(&ask).unwrap()).unwrap();
        let answer = perform(&mut governor, &ask, at(NOON));
        let text = serde_json::to_string(&answer).unwrap();
        let back: WarmupAnswer = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}

#[test]
fn an_operator_steers_a_lane_and_sees_it() {
    let mut governor = governor();
    let lane = LaneKey::new("ip1", "google");
    let mut steer = |steer| {
        let ask = WarmupQuestion::Steer { lane: lane.clone(), steer, reason: "a trial".into(), by: "ann".into() };
        let WarmupAnswer::Lanes { lanes } = perform(&mut governor, &ask, at(NOON)) else { panic!("the lane is there") };
        lanes[0].clone()
    };
    assert_eq!(steer(Steer::Advance).cap, Some(200));
    assert_eq!(steer(Steer::Back).stage, Some(2));
    assert_eq!(steer(Steer::Restart).cap, Some(50));
    assert_eq!(steer(Steer::Hold).kept_by_operator.as_deref(), Some("ann: a trial"));
    assert_eq!(steer(Steer::Release).kept_by_operator, None);
    assert_eq!(steer(Steer::Hold).paused, None, "it sends");
    steer(Steer::Release);
    let stopped = steer(Steer::Stop);
    assert_eq!(stopped.paused, Some(Paused { since: None, until: None, why: "ann: a trial".into() }));
    assert_eq!((stopped.hold.as_deref(), stopped.next_release), (Some("stopped: ann: a trial"), None));
    assert_ne!(steer(Steer::Resume).next_release, None);
    assert_eq!(governor.take_changes().iter().filter(|c| matches!(c.change, crate::Change::Steered { .. })).count(), 9);
}

#[test]
fn a_lanes_days_come_with_its_curve() {
    let mut governor = governor();
    let ask = WarmupQuestion::Days { lane: LaneKey::new("ip1", "google") };
    let WarmupAnswer::Days { caps, days, .. } = perform(&mut governor, &ask, at(NOON)) else { panic!("the lane is there") };
    assert_eq!(caps, [50, 100, 200]);
    let seen: Vec<_> = days.iter().map(|day| (day.stage, day.cap, day.counts.accepted, day.verdict.as_deref())).collect();
    assert_eq!(seen, [(Some(1), Some(50), 48, Some("advance")), (Some(2), Some(100), 40, None)]);
}

#[test]
fn the_ledger_leaves_out_what_has_no_budget() {
    let mut governor = governor();
    let WarmupAnswer::Ledger { lanes } = perform(&mut governor, &WarmupQuestion::Ledger, at(NOON)) else {
        panic!("the ledger was asked for")
    };
    assert_eq!(lanes.len(), 1);
    assert_eq!(lanes[0].days.iter().map(|day| (day.counts.spent, day.closed)).collect::<Vec<_>>(), [(48, true), (42, false)]);
}

#[test]
fn a_lane_that_is_not_there_is_answered_with_those_that_are() {
    let ask = WarmupQuestion::Steer { lane: LaneKey::new("ip1", "gogle"), steer: Steer::Hold, reason: String::new(), by: String::new() };
    let WarmupAnswer::NoSuchLane { lanes } = perform(&mut governor(), &ask, at(NOON)) else { panic!("there is no such lane") };
    assert_eq!(lanes, ["ip1/google", "ip2/google", "ip2/yahoo"]);
}

/// The lane that warms up, at some time.
fn cold(governor: &mut Governor, now: &str) -> LaneStatus {
    let WarmupAnswer::Lanes { mut lanes } = perform(governor, &WarmupQuestion::Status, at(now)) else { panic!("lanes were asked for") };
    lanes.remove(0)
}

#[test]
fn a_day_on_which_too_little_was_sent_is_missed_on_the_next_one() {
    let mut governor = governor();
    let missed =
        |governor: &mut Governor, now: &str| cold(governor, now).missed.map(|missed| (missed.day.to_string(), missed.accepted, missed.cap));
    assert_eq!(missed(&mut governor, NOON), None, "on the day before it took all that it needed");
    let lane = governor.find(&LaneKey::new("ip1", "google")).unwrap();
    send(&mut governor, lane, 55, Outcome::Accepted, "2026-11-23T14:00:00Z");
    assert_eq!(missed(&mut governor, "2026-11-24T06:00:00Z"), None, "it took all that it needed");
    send(&mut governor, lane, 3, Outcome::Accepted, "2026-11-24T08:00:00Z");
    assert_eq!(missed(&mut governor, "2026-11-24T23:00:00Z"), None, "the day is not over");
    let day = cold(&mut governor, "2026-11-25T09:00:00Z").missed.unwrap();
    assert_eq!((day.day.to_string().as_str(), day.accepted, day.cap, day.at), ("2026-11-24", 3, 200, at("2026-11-25T00:00:00Z")));
    assert_eq!(missed(&mut governor, "2026-11-27T09:00:00Z"), Some(("2026-11-26".into(), 0, 200)), "nothing was sent at all");
    assert_eq!(missed(&mut governor, "2027-01-20T09:00:00Z"), None, "it starts again, whenever that is");
    let ask = WarmupQuestion::Steer { lane: LaneKey::new("ip1", "google"), steer: Steer::Hold, reason: "x".into(), by: "ann".into() };
    perform(&mut governor, &ask, at("2026-11-27T10:00:00Z"));
    assert_eq!(missed(&mut governor, "2026-11-28T09:00:00Z"), None, "an operator holds it");
}

#[test]
fn a_step_back_is_told_with_its_time_and_reason() {
    let mut governor = governor();
    let lane = governor.find(&LaneKey::new("ip1", "google")).unwrap();
    assert_eq!(cold(&mut governor, NOON).stepped_back, None);
    let step = |governor: &mut Governor, now: &str| {
        let step = cold(governor, now).stepped_back.unwrap();
        (step.at, u32::from(step.from), u32::from(step.to), step.why)
    };
    send(&mut governor, lane, 1, Outcome::Blocked, "2026-11-23T15:00:00Z");
    governor.block(lane, at("2026-11-23T15:00:00Z"));
    assert_eq!(step(&mut governor, "2026-11-24T06:00:00Z"), (at("2026-11-23T15:00:00Z"), 2, 1, "the address is blocked".into()));
    send(&mut governor, lane, 30, Outcome::HardBounce, "2026-11-26T08:00:00Z");
    governor.block(lane, at("2026-11-27T01:00:00Z"));
    assert_eq!(step(&mut governor, "2026-11-27T06:00:00Z").3, "the address is blocked", "on the first stage it cannot step back further");
}
