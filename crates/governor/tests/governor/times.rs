//! Rule 2, and days that are not 24 hours long.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use posthaste_governor::{Admission, Curve, Hold, Outcome, Pace, Plan, Window};

use crate::support::{NANOSECOND, World, many, plan, time};

fn paced(caps: &[u32], pace: Pace) -> World {
    let mut plan = plan(caps);
    plan.pace = pace;
    World::new(plan, "2026-11-23T00:00:00Z")
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

/// Sends as soon as it may, for a day; when each went.
fn a_day_of_sending(world: &mut World, ends: Timestamp) -> Vec<Timestamp> {
    let mut sent = Vec::new();
    while world.now < ends {
        match world.admit(1) {
            Admission::Go(permit) => {
                world.settle(permit, Outcome::Accepted);
                sent.push(world.now);
            }
            Admission::NotBefore(at, _) => world.now = at,
        }
    }
    sent
}

#[test]
fn a_day_begins_with_a_burst_and_goes_on_evenly() {
    let mut world = paced(&[240], Pace::new().with_burst(many(5)));
    assert_eq!(world.permit(100).count(), 5);
    let mut world = paced(&[240], Pace::new().with_burst(many(5)));
    let sent = a_day_of_sending(&mut world, time("2026-11-24T00:00:00Z"));
    assert_eq!(sent.len(), 240);
    for hour in 0..24 {
        let from = time("2026-11-23T00:00:00Z").checked_add(jiff::SignedDuration::from_hours(hour)).unwrap();
        let count = sent.iter().filter(|t| (0..3600).contains(&t.duration_since(from).as_secs())).count();
        assert!((9..=11 + if hour == 0 { 5 } else { 0 }).contains(&count), "{count} in hour {hour}");
    }
}

#[test]
fn a_lane_that_was_idle_sends_a_burst_and_not_the_backlog() {
    let mut world = paced(&[2400], Pace::new().with_burst(many(10)));
    world.go_to("2026-11-23T12:00:00Z");
    assert_eq!(world.permit(500).count(), 10);
    let (at, _) = world.refusal(1);
    assert!(at > world.now);
    assert_eq!(world.send(5000, Outcome::Accepted), 2390, "at twice the rate, the day is still used");
}

#[test]
fn without_catching_up_a_late_start_keeps_the_even_rate() {
    let mut world = paced(&[2400], Pace::new().with_burst(many(10)).with_catch_up(1.0).unwrap());
    world.go_to("2026-11-23T12:00:00Z");
    assert!((1200..=1210).contains(&world.send(5000, Outcome::Accepted)));
}

#[test]
fn nothing_goes_outside_of_the_window_or_on_days_off() {
    let window = "08:00-20:00".parse::<Window>().unwrap().without([Weekday::Saturday, Weekday::Sunday]).unwrap();
    let mut world = paced(&[100], Pace::new().with_window(window).with_zone(berlin()));
    assert_eq!(world.refusal(1), (time("2026-11-23T07:00:00Z"), Hold::Window));
    world.go_to("2026-11-23T07:00:00Z");
    let sent = a_day_of_sending(&mut world, time("2026-11-23T23:00:00Z"));
    assert_eq!(sent.len(), 100);
    assert!(sent.iter().all(|t| *t < time("2026-11-23T19:00:00Z")));
    // A Friday evening.
    world.go_to("2026-11-27T19:00:00Z");
    assert_eq!(world.refusal(1), (time("2026-11-30T07:00:00Z"), Hold::Window));
    world.now = time("2026-11-30T07:00:00Z").checked_sub(NANOSECOND).unwrap();
    assert!(matches!(world.admit(1), Admission::NotBefore(..)));
    world.pass(NANOSECOND);
    assert_eq!(world.permit(1).count(), 1);
}

#[test]
fn days_of_23_and_25_hours_have_one_budget_each_spread_over_all_of_it() {
    for (day, hours) in [("2027-03-28", 23), ("2026-10-25", 25)] {
        let mut world = paced(&[1000], Pace::new().with_zone(berlin()).with_burst(many(1)));
        world.now = berlin().to_timestamp(format!("{day}T00:00:00").parse().unwrap()).unwrap();
        let ends = world.now.checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
        let first = world.now;
        let sent = a_day_of_sending(&mut world, ends);
        assert_eq!(sent.len(), 1000);
        let half = sent.iter().filter(|t| t.duration_since(first).as_secs() < hours * 1800).count();
        assert!((499..=502).contains(&half), "{half}");
        assert_eq!(world.now, ends, "the next day opens when this one ends");
        assert_eq!(world.permit(1).count(), 1);
    }
}

#[test]
fn the_29th_of_february_is_a_day() {
    let mut world = paced(&[30, 60, 90], Pace::new().with_zone(berlin()));
    world.go_to("2028-02-28T00:00:00+01:00");
    for (cap, date) in [(30, "2028-02-28"), (60, "2028-02-29"), (90, "2028-03-01")] {
        assert_eq!(world.status().date.unwrap().to_string(), date);
        assert_eq!(world.send(1000, Outcome::Accepted), cap);
        world.now = world.refusal(1).0;
    }
}

#[test]
fn an_hour_has_its_own_cap() {
    let mut plan = plan(&[1]);
    plan.curve = Curve::hourly([20, 28], 24).unwrap();
    plan.pace = Pace::new().with_burst(many(20));
    let mut world = World::new(plan, "2026-11-23T00:00:00Z");
    let sent = a_day_of_sending(&mut world, time("2026-11-24T00:00:00Z"));
    for hour in 0..24 {
        let from = time("2026-11-23T00:00:00Z").checked_add(jiff::SignedDuration::from_hours(hour)).unwrap();
        assert!(sent.iter().filter(|t| (0..3600).contains(&t.duration_since(from).as_secs())).count() <= 20);
    }
    assert!(sent.len() >= 460, "{} of 480", sent.len());
}

#[test]
fn an_hour_that_lies_in_two_days_has_one_cap() {
    let mut plan = plan(&[1]);
    plan.curve = Curve::hourly([10], 24).unwrap();
    // Midnight in Kolkata is at half past six in the evening.
    plan.pace = Pace::new().with_burst(many(10)).with_zone(TimeZone::get("Asia/Kolkata").unwrap());
    let mut world = World::new(plan, "2026-11-23T18:20:00Z");
    assert_eq!(world.permit(10).count(), 10);
    world.go_to("2026-11-23T18:40:00Z");
    assert_eq!(world.refusal(1), (time("2026-11-23T19:00:00Z"), Hold::HourCap { cap: 10 }));
}

#[test]
fn an_hours_cap_holds_no_longer_than_its_day() {
    let curve = Curve::new(vec![13]).unwrap().with_hourly_share(0.08).unwrap();
    let mut plan = Plan::new("any", curve);
    plan.pace = plan.pace.with_zone(TimeZone::get("Asia/Kolkata").unwrap());
    let mut world = World::new(plan, "2027-03-25T13:00:00Z");
    for hour in 13..=18 {
        world.go_to(&format!("2027-03-25T{hour}:00:00Z"));
        for _ in 0..2 {
            let permit = world.permit(1);
            world.settle(permit, Outcome::Accepted);
        }
    }
    // With 12 of 13 the curve ends with this day, in the middle of an hour of UTC.
    assert_eq!(world.refusal(1).0, time("2027-03-25T18:30:00Z"));
    world.go_to("2027-03-25T18:30:00Z");
    assert_eq!((world.status().cap, world.permit(100).count()), (None, 100));
}

#[test]
fn a_given_back_permit_gives_back_its_hour_too() {
    let mut plan = plan(&[1]);
    plan.curve = Curve::hourly([10], 24).unwrap();
    plan.pace = Pace::new().with_burst(many(10));
    let mut world = World::new(plan, "2026-11-23T12:00:00Z");
    let permit = world.permit(10);
    assert!(matches!(world.admit(1), Admission::NotBefore(..)));
    world.settle(permit, Outcome::GivenBack);
    assert_eq!(world.permit(10).count(), 10);
}

#[test]
fn what_a_crash_forgot_counts_into_the_hour_too() {
    let mut plan = plan(&[1]);
    plan.curve = Curve::hourly([100], 24).unwrap();
    plan.pace = Pace::new().with_burst(many(100));
    let mut world = World::new(plan, "2026-11-23T12:00:00Z");
    let first = world.permit(1);
    world.sync();
    let more = world.permit(30);
    assert!(more.durable() <= world.durable, "the first lease was for more than the first permit");
    drop(first);
    drop(more);
    world.crash();
    let mut again = 0;
    while world.now < time("2026-11-23T13:00:00Z") {
        match world.admit(1) {
            Admission::Go(permit) => {
                world.settle(permit, Outcome::Accepted);
                again += 1;
            }
            Admission::NotBefore(at, _) => world.now = at,
        }
    }
    assert!((50..=69).contains(&again), "31 and {again} in one hour");
}
