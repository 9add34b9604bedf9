//! Rule 7: nothing refills a day.

use std::sync::Arc;

use jiff::{SignedDuration, tz::TimeZone};
use posthaste_governor::{Admission, Counts, DAYS_MAX, Hold, LaneEntry, Outcome, Pace, Part, Plan, Stage, Steer};

use crate::support::{World, plan, time};

const MORNING: &str = "2026-11-23T00:00:00Z";

#[test]
fn a_restart_in_good_order_loses_nothing() {
    let mut world = World::new(plan(&[100, 200]), MORNING);
    assert_eq!(world.send(60, Outcome::Accepted), 60);
    world.restart();
    let status = world.status();
    assert_eq!((status.used, status.lost, status.counts.accepted), (60, 0, 60));
    assert_eq!(world.send(1000, Outcome::Accepted), 40);
    world.restart();
    assert_eq!(world.refusal(1), (time("2026-11-24T00:00:00Z"), Hold::DayCap { cap: 100, used: 100 }));
    world.go_to("2026-11-24T00:00:00Z");
    assert_eq!(world.permit(1).count(), 1);
    assert_eq!(world.status().stage, Stage::On(2));
}

#[test]
fn a_crash_costs_no_more_than_a_lease() {
    let mut world = World::new(plan(&[6400]), MORNING);
    for _ in 0..50 {
        let permit = world.permit(20);
        world.sync();
        assert!(permit.durable() <= world.durable);
        world.settle(permit, Outcome::Accepted);
        world.now = match world.admit(1) {
            Admission::Go(permit) => {
                world.settle(permit, Outcome::GivenBack);
                world.now
            }
            Admission::NotBefore(at, _) => at,
        };
    }
    let used = world.status().used;
    world.crash();
    let status = world.status();
    assert!((used..=used + 150).contains(&status.used), "{used} {status:?}");
}

#[test]
fn a_permit_waits_for_the_disk_only_at_the_end_of_a_lease() {
    let mut world = World::new(plan(&[6400]), MORNING);
    let (mut waits, mut sent) = (0, 0);
    while sent < 1000 {
        match world.admit(1) {
            Admission::Go(permit) => {
                waits += u32::from(permit.durable() > world.durable);
                world.sync();
                world.settle(permit, Outcome::Accepted);
                sent += 1;
            }
            Admission::NotBefore(at, _) => world.now = at,
        }
    }
    assert_eq!(waits, 1, "only the first: later leases are taken ahead");
}

#[test]
fn permits_that_never_became_durable_cost_nothing() {
    let mut world = World::new(plan(&[100]), MORNING);
    let permit = world.permit(10);
    assert!(permit.durable() > world.durable);
    world.write();
    world.crash();
    assert_eq!(world.status().used, 0);
}

#[test]
fn the_event_logs_count_gives_a_crash_its_numbers_back_but_no_budget() {
    let mut world = World::new(plan(&[640]), MORNING);
    let permit = world.permit(5);
    world.sync();
    world.settle(permit, Outcome::Accepted);
    world.crash();
    let before = world.status();
    assert_eq!((before.counts.spent, before.used), (0, 15));
    assert_eq!(world.send(3, Outcome::Accepted), 3);
    let date = world.status().date.unwrap();
    world.governor.recount(world.lane, date, Counts { spent: 8, accepted: 8, ..Counts::default() });
    let status = world.status();
    assert_eq!((status.counts.accepted, status.used, status.lost), (8, 18, 10));
}

#[test]
fn a_crash_does_not_make_a_new_burst_ready() {
    let mut world = World::new(plan(&[2400]), MORNING);
    let permit = world.permit(20);
    world.sync();
    drop(permit);
    for _ in 0..5 {
        world.crash();
        let (at, hold) = world.refusal(1);
        assert!(at > world.now && matches!(hold, Hold::Spread { .. }), "{hold:?}");
    }
}

#[test]
fn a_clock_that_jumps_back_does_not_reopen_a_day() {
    let mut world = World::new(plan(&[50, 100]), MORNING);
    world.send(45, Outcome::Accepted);
    world.go_to("2026-11-24T00:00:05Z");
    let permit = world.permit(1);
    world.settle(permit, Outcome::Accepted);
    world.go_to("2026-11-23T23:59:00Z");
    assert_eq!(world.refusal(1), (time("2026-11-24T00:00:00Z"), Hold::DayOver));
    world.go_to("2026-11-20T12:00:00Z");
    assert_eq!(world.refusal(1), (time("2026-11-24T00:00:00Z"), Hold::DayOver), "however far behind");
    world.go_to("2026-11-24T00:00:05Z");
    assert_eq!((world.status().stage, world.status().used), (Stage::On(2), 1), "and the day is where it was");
}

#[test]
fn no_step_back_refills_anything_whatever_its_length_and_whatever_is_killed() {
    for (steps, restarts) in
        [(&[-72][..], false), (&[-49, 1], false), (&[-720, 24, 24, 24], false), (&[-2, -2, -30], false), (&[-72, 24], true)]
    {
        let mut world = World::new(plan(&[20, 20, 20]), "2026-11-23T12:00:00Z");
        let day = time("2026-11-23T00:00:00Z");
        let mut sent = world.send(20, Outcome::Accepted);
        for hours in steps {
            world.pass(SignedDuration::from_hours(*hours));
            if restarts {
                world.sync();
                world.crash();
            }
            while let Admission::Go(permit) = world.admit(20) {
                sent += permit.count();
                world.settle(permit, Outcome::Accepted);
            }
            assert!(world.now >= day || matches!(world.refusal(1), (until, Hold::DayOver) if until >= day), "{steps:?}");
        }
        assert_eq!(sent, 20, "{steps:?}");
    }
}

#[test]
fn a_later_day_on_which_nothing_was_sent_keeps_nothing_back() {
    let mut world = World::new(plan(&[20, 20]), "2026-12-23T12:00:00Z");
    let permit = world.permit(1);
    world.settle(permit, Outcome::GivenBack);
    world.go_to("2026-11-23T12:00:00Z");
    assert_eq!(world.permit(1).count(), 1);
}

#[test]
fn a_clock_that_was_a_year_ahead_costs_no_stage_and_an_operator_ends_the_wait() {
    let mut world = World::new(plan(&[50, 100, 200]), MORNING);
    world.send(50, Outcome::Accepted);
    world.go_to("2026-11-24T10:00:00Z");
    let permit = world.permit(1);
    world.settle(permit, Outcome::Accepted);
    world.go_to("2027-11-24T10:00:00Z");
    let permit = world.permit(5);
    world.settle(permit, Outcome::Accepted);
    assert_eq!(world.status().stage, Stage::FIRST, "as far as anyone can tell it was idle for a year");
    world.go_to("2026-11-24T11:00:00Z");
    let later = time("2027-11-24T00:00:00Z");
    let waits = |(until, hold): (_, _)| until >= later && hold == Hold::DayOver;
    assert!(waits(world.refusal(1)), "a budget of a later day was given");
    world.restart();
    world.go_to("2026-11-25T00:00:00Z");
    assert!(waits(world.refusal(1)));
    world.governor.steer(world.lane, Steer::Resume, &"the clock was wrong".into(), world.now);
    world.restart();
    assert_eq!((world.status().stage, world.permit(1).count()), (Stage::On(2), 1));
}

#[test]
fn a_lane_without_a_cap_goes_on_wherever_the_clock_goes() {
    for days in [-1, 1, 2, 30] {
        let mut world = World::new(Plan::warm(), "2026-11-23T12:00:00Z");
        assert_eq!(world.permit(7).count(), 7);
        world.pass(SignedDuration::from_hours(24 * days));
        assert_eq!(world.permit(7).count(), 7, "{days} days on");
        world.pass(SignedDuration::from_hours(-24 * days));
        assert_eq!(world.permit(7).count(), 7, "{days} days on and back");
        world.restart();
        assert_eq!(world.permit(7).count(), 7, "{days} days on and back, after a restart");
    }
    let mut world = World::new(Plan::warm(), "2026-11-23T00:10:00Z");
    assert_eq!(world.permit(7).count(), 7);
    world.go_to("2026-11-22T23:10:00Z");
    assert_eq!(world.permit(7).count(), 7, "an hour back, into a day on which the relay did not run");
}

#[test]
fn a_day_without_a_cap_that_was_closed_because_the_clock_was_ahead_opens_again() {
    let past_its_curve = || {
        let mut world = World::new(plan(&[50]), MORNING);
        world.send(50, Outcome::Accepted);
        world.go_to("2026-11-24T12:00:00Z");
        world
    };
    for mut world in [World::new(Plan::warm(), MORNING), past_its_curve()] {
        let began = world.now;
        assert_eq!(world.permit(7).count(), 7);
        world.pass(SignedDuration::from_hours(14));
        // Nothing is sent then, but the day is over.
        world.governor.close_day(world.now);
        world.now = began;
        assert_eq!((world.status().cap, world.permit(7).count()), (None, 7));
        assert!(world.governor.lane(world.lane).ledger().days().last().is_some_and(|day| day.closed.is_none()), "and is open");
    }
}

#[test]
fn a_lane_past_its_curve_goes_on_too_but_no_day_with_a_cap_is_opened_again() {
    let mut world = World::new(plan(&[50]), MORNING);
    assert_eq!(world.send(50, Outcome::Accepted), 50);
    for day in ["2026-11-24T12:00:00Z", "2026-11-25T12:00:00Z", "2026-11-24T12:00:00Z"] {
        world.go_to(day);
        assert_eq!((world.status().cap, world.permit(500).count()), (None, 500), "{day}");
    }
    world.go_to("2026-11-23T12:00:00Z");
    assert_eq!(world.refusal(1).1, Hold::DayOver);
    world.go_to("2026-11-25T13:00:00Z");
    assert_eq!((world.status().cap, world.permit(500).count()), (None, 500));
}

#[test]
fn a_changed_time_zone_does_not_refill() {
    for (zone, opens) in [("Pacific/Auckland", "2026-11-24T00:00:00Z"), ("America/Los_Angeles", "2026-11-24T08:00:00Z")] {
        let mut world = World::new(plan(&[50, 100]), MORNING);
        world.send(50, Outcome::Accepted);
        world.go_to("2026-11-23T23:30:00Z");
        let mut changed = plan(&[50, 100]);
        changed.pace = Pace::new().with_zone(TimeZone::get(zone).unwrap());
        for restarted in [false, true] {
            if restarted {
                world.plan = Arc::new(changed.clone());
                world.restart();
            } else {
                world.governor.set_plan(world.lane, Arc::new(changed.clone()), Stage::FIRST, world.now);
            }
            assert_eq!(world.refusal(1).0, time(opens), "{zone}");
        }
        world.go_to(opens);
        assert_eq!(world.permit(1).count(), 1);
    }
}

#[test]
fn only_so_many_days_are_kept() {
    let mut world = World::new(plan(&[50]), MORNING);
    for _ in 0..DAYS_MAX + 10 {
        let permit = world.permit(1);
        world.settle(permit, Outcome::Accepted);
        world.sync();
        world.pass(SignedDuration::from_hours(24));
    }
    assert_eq!(world.governor.lane(world.lane).ledger().days().len(), DAYS_MAX);
    world.crash();
    assert_eq!(world.governor.lane(world.lane).ledger().days().len(), DAYS_MAX, "and forgotten on disk");
}

#[test]
fn every_fact_is_in_the_entries() {
    let mut world = World::new(plan(&[50, 100]), MORNING);
    world.send(50, Outcome::Accepted);
    world.go_to("2026-11-24T00:00:00Z");
    let permit = world.permit(1);
    world.settle(permit, Outcome::Blocked);
    world.sync();
    let mut entries = world.disk.clone();
    entries.sort_by_key(LaneEntry::storage_key);
    let keys: Vec<_> = entries.iter().map(|e| e.storage_key().replace('\0', "/")).collect();
    assert_eq!(keys, ["ip1/google/2026-11-23", "ip1/google/2026-11-24", "ip1/google/standing"]);
    assert!(matches!(&entries[0].part, Part::Day(day) if day.closed.is_some() && day.counts.accepted == 50));
    let size = serde_json::to_string(&entries[0]).unwrap().len();
    assert!(size < 700, "{size} bytes");
    world.crash();
    assert_eq!(world.refusal(1).0, time("2026-11-24T04:00:00Z"), "a pause outlives a crash");
    assert_eq!(world.status().stage, Stage::On(1));
}
