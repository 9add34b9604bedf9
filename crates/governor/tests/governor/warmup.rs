//! Sixty days in milliseconds.

use jiff::{SignedDuration, tz::TimeZone};
use posthaste_governor::{Outcome, Pace, Stage};

use crate::support::{World, plan, time};

const CAPS: &[u32] = &[50, 100, 200, 400, 800, 1600, 3200];

/// What one day brings: how many there are to send, and how many of a hundred bounce.
fn day_of(day: u32) -> (u32, u32) {
    match day {
        // A bad week: bounces over 10 %.
        5..=7 => (u32::MAX, 12),
        // Fair: over 3 %.
        8 => (u32::MAX, 5),
        // An idle fortnight.
        15..=28 => (0, 0),
        // Little mail.
        30 => (60, 0),
        _ => (u32::MAX, 0),
    }
}

#[test]
fn sixty_days_go_by_the_rules() {
    let mut plan = plan(CAPS);
    plan.pace = Pace::new().with_zone(TimeZone::get("Europe/Berlin").unwrap());
    // Over the end of summer time, on day 13.
    let mut world = World::new(plan, "2026-10-12T22:00:00Z");
    let mut stages = Vec::new();
    for day in 1..=60 {
        let status = world.status();
        stages.push(status.stage);
        let (volume, bounces) = day_of(day);
        let volume = volume.min(status.cap.unwrap_or(5000));
        let bad = volume * bounces / 100;
        let sent = world.send(bad, Outcome::HardBounce) + world.send(volume - bad, Outcome::Accepted);
        assert_eq!(sent, volume, "day {day} at stage {}", status.stage);
        if day % 20 == 0 {
            world.restart();
        }
        world.now = world
            .plan
            .pace
            .zone()
            .to_timestamp(
                world.plan.pace.zone().to_datetime(world.now).date().tomorrow().unwrap().to_datetime(jiff::civil::Time::midnight()),
            )
            .unwrap();
    }
    let on = |n| Stage::On(n);
    assert_eq!(stages[..8], [on(1), on(2), on(3), on(4), on(5), on(4), on(3), on(2)], "up, and down in the bad week");
    assert_eq!(stages[8..15], [on(2), on(3), on(4), on(5), on(6), on(7), Stage::Past], "fair held it once; then up to the end");
    assert!(stages[15..].iter().all(|stage| *stage == Stage::Past), "an idle fortnight changes nothing");
    assert_eq!(world.now, time("2026-12-11T23:00:00Z"));
}

#[test]
fn a_month_without_mail_starts_again() {
    let mut world = World::new(plan(CAPS), "2026-01-01T00:00:00Z");
    for _ in 0..4 {
        world.send(5000, Outcome::Accepted);
        world.now = world.refusal(1).0;
    }
    assert_eq!(world.status().stage, Stage::On(5));
    world.pass(SignedDuration::from_hours(24 * 30));
    assert_eq!(world.status().stage, Stage::FIRST);
}
