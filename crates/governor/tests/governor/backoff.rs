//! Rule 8: down at once, up step by step.

use std::num::NonZeroU32;

use jiff::SignedDuration;
use posthaste_governor::{Change, Climb, Cut, Hold, Outcome, Shape, Usual};

use crate::support::{NANOSECOND, World, many, plan, time};

const NOON: &str = "2026-11-23T12:00:00Z";

fn cut(rate: u32, connections: u32, pause_minutes: i64) -> Cut {
    Cut {
        rate: NonZeroU32::new(rate),
        connections: NonZeroU32::new(connections),
        pause: (pause_minutes > 0).then(|| SignedDuration::from_mins(pause_minutes)),
        climb: Climb { every: SignedDuration::from_mins(10), rate: many(60), connections: many(1) },
        why: "421 4.7.28".into(),
    }
}

fn world() -> World {
    World::new(plan(&[1_000_000]), NOON)
}

const USUAL: Usual = Usual { rate: NonZeroU32::new(600), connections: NonZeroU32::new(4) };

fn rates(world: &mut World, minutes: i64) -> Vec<(Option<u32>, Option<u32>)> {
    let start = world.now;
    let rates = (0..minutes)
        .map(|minute| {
            world.now = start.checked_add(SignedDuration::from_mins(minute)).unwrap();
            (world.status().rate, world.status().connections)
        })
        .collect();
    world.now = start;
    rates
}

#[test]
fn after_a_pause_it_climbs_one_step_an_interval_and_never_snaps_back() {
    let mut world = world();
    world.governor.cut(world.lane, &cut(60, 1, 10), USUAL, world.now);
    let (at, hold) = world.refusal(1);
    assert_eq!((at, hold), (time("2026-11-23T12:10:00Z"), Hold::Paused { until: time("2026-11-23T12:10:00Z"), why: "421 4.7.28".into() }));
    let rates = rates(&mut world, 130);
    assert_eq!((rates[0], rates[19]), ((Some(60), Some(1)), (Some(60), Some(1))));
    assert_eq!((rates[20], rates[30], rates[40]), ((Some(120), Some(2)), (Some(180), Some(3)), (Some(240), None)));
    for pair in rates.windows(10) {
        let (first, last) = (pair[0].0.unwrap_or(600), pair[9].0.unwrap_or(600));
        assert!(last >= first && last - first <= 60, "at most a step in an interval");
    }
    assert_eq!((rates[99].0, rates[100].0), (Some(540), None));
}

#[test]
fn a_slow_lane_sends_one_at_a_time_at_its_rate() {
    let mut world = world();
    world.governor.cut(world.lane, &cut(60, 0, 0), USUAL, world.now);
    let permit = world.permit(50);
    assert_eq!(permit.count(), 1);
    world.settle(permit, Outcome::Accepted);
    let (at, hold) = world.refusal(1);
    assert_eq!((at, hold), (time("2026-11-23T12:01:00Z"), Hold::Slowed { per_hour: 60, why: "421 4.7.28".into() }));
    world.now = at.checked_sub(NANOSECOND).unwrap();
    world.refusal(1);
    world.pass(NANOSECOND);
    assert_eq!(world.permit(50).count(), 1);
}

#[test]
fn another_cut_in_the_climb_goes_down_and_never_up() {
    let mut world = world();
    world.governor.cut(world.lane, &cut(60, 0, 0), USUAL, world.now);
    world.pass(SignedDuration::from_mins(30));
    assert_eq!(world.status().rate, Some(240));
    world.governor.cut(world.lane, &cut(300, 2, 0), USUAL, world.now);
    assert_eq!((world.status().rate, world.status().connections), (Some(240), Some(2)));
    world.pass(SignedDuration::from_mins(9));
    assert_eq!(world.status().rate, Some(240), "and the interval begins anew");
    world.governor.cut(world.lane, &cut(120, 0, 0), USUAL, world.now);
    assert_eq!(world.status().rate, Some(120));
}

#[test]
fn a_shorter_pause_does_not_end_a_longer_one() {
    let mut world = world();
    world.governor.pause(world.lane, SignedDuration::from_hours(4), &"blocked".into(), world.now);
    world.governor.cut(world.lane, &cut(60, 1, 10), USUAL, world.now);
    assert_eq!(world.refusal(1).0, time("2026-11-23T16:00:00Z"));
}

#[test]
fn the_climbs_end_is_told_once() {
    let mut world = world();
    world.governor.cut(world.lane, &cut(540, 0, 10), USUAL, world.now);
    assert!(matches!(world.governor.take_changes()[..], [ref one] if matches!(one.change, Change::Slowed { rate: Some(540), .. })));
    world.pass(SignedDuration::from_mins(20));
    let permit = world.permit(5);
    assert_eq!(permit.count(), 5);
    assert!(matches!(world.governor.take_changes()[..], [ref one] if one.change == Change::Resumed));
    assert!(matches!(world.permit(5).count(), 5));
    assert!(world.governor.take_changes().is_empty());
}

#[test]
fn pause_and_climb_outlive_a_crash_and_a_clock_that_went_back() {
    let mut world = world();
    world.governor.cut(world.lane, &cut(60, 1, 10), USUAL, world.now);
    world.sync();
    world.crash();
    assert_eq!(world.refusal(1).0, time("2026-11-23T12:10:00Z"));
    world.go_to("2026-11-23T08:00:00Z");
    assert_eq!(world.refusal(1).0, time("2026-11-23T08:10:00Z"), "a pause is no longer than it was meant to be");
    world.go_to("2026-11-23T08:25:00Z");
    assert_eq!(world.status().rate, Some(120));
}

#[test]
fn one_lanes_trouble_is_not_anothers() {
    let mut world = world();
    let other = posthaste_governor::LaneKey::new("ip1", "yahoo");
    let other = world.governor.open(&other, &world.plan, posthaste_governor::Stage::FIRST, Shape::default(), world.now);
    world.governor.block(world.lane, world.now);
    world.refusal(1);
    assert!(matches!(world.governor.admit(other, 1, world.now), posthaste_governor::Admission::Go(_)));
}

#[test]
fn a_lanes_short_windows_hold_beside_its_budget() {
    let shape = Shape { minute: NonZeroU32::new(60), ..Shape::default() };
    let mut world = World::shaped(plan(&[1_000_000]), shape, time(NOON));
    assert_eq!(world.permit(50).count(), 1);
    let (at, hold) = world.refusal(1);
    assert_eq!(hold, Hold::Shaped(shape));
    world.now = at.checked_sub(NANOSECOND).unwrap();
    world.refusal(1);
    world.pass(NANOSECOND);
    assert_eq!(world.permit(1).count(), 1);
}

#[test]
fn what_one_reply_does_to_a_lane_is_one_change_with_the_end_of_its_longest_pause() {
    let mut world = world();
    let now = world.now;
    world.governor.take_changes();
    world.governor.cut(world.lane, &cut(30, 1, 60), USUAL, now);
    world.governor.pause(world.lane, SignedDuration::from_hours(24), &"blocked until then".into(), now);
    world.governor.block(world.lane, now);
    let changes = world.governor.take_changes();
    let [one] = &changes[..] else { panic!("{changes:?}") };
    let Change::Blocked { until, cut: after, why, .. } = &one.change else { panic!("{one:?}") };
    assert_eq!((*until, *after), (time("2026-11-24T12:00:00Z"), (Some(30), Some(1))));
    assert_eq!(why.as_deref(), Some("blocked until then"));
    // Another reply is another change.
    world.now = time("2026-11-23T12:00:01Z");
    world.governor.cut(world.lane, &cut(20, 1, 0), USUAL, world.now);
    assert_eq!(world.governor.take_changes().len(), 1);
}
