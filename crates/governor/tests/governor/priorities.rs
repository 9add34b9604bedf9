//! Rules 5 and 6: what spills over, and what goes first.

use posthaste_governor::{Choice, LaneKey, Order, Outcome, Pace, Priority, Selection, Shape, Share, Stage};

use crate::support::{World, many, plan};

const MORNING: &str = "2026-11-23T00:00:00Z";

fn reserving() -> World {
    let mut plan = plan(&[100]);
    plan.pace = Pace::new().with_reserve(Share::percent(20)).unwrap();
    World::new(plan, MORNING)
}

#[test]
fn urgent_mail_finds_room_when_the_rest_has_used_all_it_may() {
    let mut world = reserving();
    world.go_to("2026-11-23T12:00:00Z");
    while let posthaste_governor::Admission::Go(permit) = world.admit(50) {
        world.settle(permit, Outcome::Accepted);
    }
    let urgent = world.governor.admit_as(world.lane, 1, Priority::Urgent, world.now);
    assert!(matches!(urgent, posthaste_governor::Admission::Go(_)));
}

#[test]
fn without_urgent_mail_the_reserve_is_used_as_well_and_with_it_the_cap_holds() {
    let mut world = reserving();
    assert_eq!(world.send(1000, Outcome::Accepted), 100);
    let mut world = reserving();
    let (mut usual, mut urgent) = (0, 0);
    for hour in 0..24 {
        world.go_to(&format!("2026-11-23T{hour:02}:00:00Z"));
        urgent += world.send_as(1, Priority::Urgent, Outcome::Accepted);
        while let posthaste_governor::Admission::Go(permit) = world.admit(50) {
            usual += permit.count();
            world.settle(permit, Outcome::Accepted);
        }
    }
    assert_eq!(urgent, 24, "none of the urgent waits");
    assert!(usual + urgent <= 100 && usual >= 60, "{usual}");
}

/// A cold lane on its first day, and a warm one.
fn two() -> (World, [Choice; 2]) {
    let mut world = World::new(plan(&[50, 5000]), MORNING);
    let warm = world.governor.open(&LaneKey::new("ip2", "google"), &world.plan, Stage::Past, Shape::default(), world.now);
    let choices = [Choice { lane: world.lane, weight: many(1) }, Choice { lane: warm, weight: many(1) }];
    (world, choices)
}

fn pick(world: &mut World, choices: &[Choice], order: Order) -> posthaste_governor::LaneId {
    match world.governor.admit_any(choices, order, 1, Priority::Usual, world.now) {
        Selection::Go(permit) => {
            let lane = permit.lane();
            world.settle(permit, Outcome::Accepted);
            lane
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cold_lanes_budget_is_used_first_or_last_as_asked_and_the_rest_spills() {
    let (mut world, choices) = two();
    let picked: Vec<_> = (0..30).map(|_| pick(&mut world, &choices, Order::ColdFirst)).collect();
    assert!(picked[..20].iter().all(|lane| *lane == choices[0].lane), "the burst of the cold lane");
    assert!(picked[20..].iter().all(|lane| *lane == choices[1].lane), "the rest spills to the warm one");
    let (mut world, choices) = two();
    assert!((0..30).all(|_| pick(&mut world, &choices, Order::WarmFirst) == choices[1].lane));
}

#[test]
fn weights_share_the_mail_until_a_budget_ends() {
    let (mut world, choices) = two();
    let picked: Vec<_> = (0..30).map(|_| pick(&mut world, &choices, Order::Weight)).collect();
    assert_eq!(picked.iter().filter(|lane| **lane == choices[0].lane).count(), 15);
}

#[test]
fn a_pool_without_budget_names_the_lane_that_is_free_first() {
    let (mut world, choices) = two();
    for choice in &choices {
        world.governor.pause(
            choice.lane,
            jiff::SignedDuration::from_hours(1 + i64::from(choice.lane == world.lane)),
            &"slow down".into(),
            world.now,
        );
    }
    match world.governor.admit_any(&choices, Order::Weight, 1, Priority::Usual, world.now) {
        Selection::NotBefore { at, lane, .. } => {
            assert_eq!((lane, at.to_string()), (choices[1].lane, "2026-11-23T01:00:00Z".into()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.governor.admit_any(&[], Order::Weight, 1, Priority::Usual, world.now), Selection::NoLane);
}
