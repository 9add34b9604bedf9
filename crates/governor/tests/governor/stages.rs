//! Rules 1 and 3: budgets, and what a day's end means.

use jiff::SignedDuration;
use posthaste_governor::{After, Change, Curve, Governor, Hold, Note, Outcome, Pace, Shape, Sign, Stage, Steer, Verdict, Why};

use crate::support::{World, key, many, plan, time};

const MORNING: &str = "2026-11-23T00:00:00Z";
const NEXT: &str = "2026-11-24T00:00:00Z";

fn verdict(world: &mut World) -> Verdict {
    world.go_to(NEXT);
    world.governor.close_day(world.now);
    world.status().last.unwrap().1.verdict
}

#[test]
fn a_lane_stops_at_its_cap() {
    let mut world = World::new(plan(&[50, 100]), MORNING);
    assert_eq!(world.send(1000, Outcome::Accepted), 50);
    assert_eq!(world.refusal(1), (time(NEXT), Hold::DayCap { cap: 50, used: 50 }));
}

#[test]
fn what_was_never_offered_comes_back_and_what_was_answered_does_not() {
    let mut world = World::new(plan(&[50]), MORNING);
    for outcome in [Outcome::Accepted, Outcome::HardBounce, Outcome::Refused, Outcome::Throttled, Outcome::Deferred] {
        let permit = world.permit(1);
        world.settle(permit, outcome);
    }
    let given_back = world.permit(7);
    assert_eq!(world.status().used, 12);
    world.settle(given_back, Outcome::GivenBack);
    let status = world.status();
    assert_eq!((status.used, status.remaining, status.counts.spent, status.counts.accepted), (5, Some(45), 5, 1));
}

#[test]
fn a_permit_settles_in_parts() {
    let mut world = World::new(plan(&[50]), MORNING);
    let mut permit = world.permit(10);
    assert!(permit.split(0).is_none() && permit.split(11).is_none());
    let refused = permit.split(3).unwrap();
    assert_eq!((permit.count(), refused.count()), (7, 3));
    world.settle(refused, Outcome::Refused);
    world.settle(permit, Outcome::Accepted);
    let counts = world.status().counts;
    assert_eq!((counts.accepted, counts.refused, counts.spent), (7, 3, 10));
}

#[test]
fn nine_tenths_accepted_advance_and_less_holds() {
    for (accepted, expected) in [(45, Verdict::Advance), (44, Verdict::Hold(Why::UsedLess { accepted: 44, needed: 45 }))] {
        let mut world = World::new(plan(&[50, 100]), MORNING);
        world.send(accepted, Outcome::Accepted);
        world.send(50 - accepted, Outcome::Deferred);
        assert_eq!(verdict(&mut world), expected);
        assert_eq!(world.status().stage, Stage::On(if accepted == 45 { 2 } else { 1 }));
    }
}

#[test]
fn fair_health_holds_and_bad_health_steps_back() {
    for (bounces, expected, stage) in
        [(29, Verdict::Advance, 3), (30, Verdict::Hold(Why::Health(Sign::HardBounces)), 2), (100, Verdict::StepBack(Sign::HardBounces), 1)]
    {
        let mut world = World::new(plan(&[500, 1000, 2000]), MORNING);
        world.governor.steer(world.lane, Steer::Advance, &"test".into(), world.now);
        world.send(bounces, Outcome::HardBounce);
        world.send(1000 - bounces, Outcome::Accepted);
        assert_eq!((verdict(&mut world), world.status().stage), (expected, Stage::On(stage)));
    }
}

#[test]
fn complaints_and_late_bounces_count_on_the_day_they_come() {
    let mut world = World::new(plan(&[1000, 2000]), MORNING);
    world.send(1000, Outcome::Accepted);
    world.governor.note(world.lane, Note::Complaint, 1, world.now);
    world.governor.note(world.lane, Note::LateBounce, 2, world.now);
    assert_eq!((world.status().counts.complaints, world.status().counts.hard_bounces), (1, 2));
    assert_eq!(verdict(&mut world), Verdict::Hold(Why::Health(Sign::Complaints)));
}

#[test]
fn too_few_answers_hold_and_do_not_step_back() {
    let mut world = World::new(plan(&[1000, 2000]), MORNING);
    world.send(50, Outcome::Accepted);
    assert_eq!(verdict(&mut world), Verdict::Hold(Why::FewAnswers { answered: 50, needed: 100 }));
    let mut world = World::new(plan(&[1000, 2000]), MORNING);
    world.send(50, Outcome::HardBounce);
    assert_eq!(verdict(&mut world), Verdict::Hold(Why::Health(Sign::HardBounces)));
}

#[test]
fn a_cap_below_the_sample_advances_on_a_day_without_a_bad_sign() {
    let mut world = World::new(plan(&[50, 99, 500]), MORNING);
    world.send(50, Outcome::Accepted);
    assert_eq!(verdict(&mut world), Verdict::Advance);
    world.send(97, Outcome::Accepted);
    world.send(2, Outcome::HardBounce);
    world.go_to("2026-11-25T00:00:00Z");
    world.governor.close_day(world.now);
    assert_eq!(world.status().stage, Stage::On(3), "2 of 99 is under 3 %");
}

#[test]
fn a_block_steps_back_at_once_pauses_and_does_so_once_a_day() {
    let mut world = World::new(plan(&[50, 100, 200]), MORNING);
    world.governor.steer(world.lane, Steer::Advance, &"test".into(), world.now);
    world.governor.steer(world.lane, Steer::Advance, &"test".into(), world.now);
    world.governor.take_changes();
    let (first, second) = (world.permit(1), world.permit(1));
    world.settle(first, Outcome::Blocked);
    let status = world.status();
    assert_eq!((status.stage, status.cap, status.next_release), (Stage::On(2), Some(100), time("2026-11-23T04:00:00Z")));
    world.settle(second, Outcome::Blocked);
    assert_eq!(world.status().stage, Stage::On(2));
    assert!(matches!(world.governor.take_changes()[..], [ref one] if matches!(one.change, Change::Blocked { .. })));
    assert_eq!(verdict(&mut world), Verdict::Hold(Why::SteppedBack));
}

#[test]
fn idle_days_change_nothing_until_they_are_too_many() {
    for (days, stage) in [(1, 2), (30, 2), (31, 1)] {
        let mut world = World::new(plan(&[50, 100]), MORNING);
        world.send(50, Outcome::Accepted);
        world.now = time(MORNING);
        world.pass(SignedDuration::from_hours(24 * days));
        assert_eq!(world.permit(1).count(), 1);
        assert_eq!(world.status().stage, Stage::On(stage), "after {days} days");
    }
}

#[test]
fn looking_at_an_idle_lane_every_day_keeps_its_stage_and_its_idle_days() {
    let mut world = World::new(plan(&[50, 100]), MORNING);
    world.send(50, Outcome::Accepted);
    world.now = time(MORNING);
    for day in 1..=31 {
        world.pass(SignedDuration::from_hours(24));
        world.governor.close_day(world.now);
        let permit = world.permit(1);
        world.settle(permit, Outcome::GivenBack);
        assert_eq!(world.status().stage, Stage::On(if day == 31 { 1 } else { 2 }), "day {day}");
    }
    assert!(world.governor.take_changes().iter().any(|c| matches!(c.change, Change::Restarted { idle_days: 30, .. })));
}

#[test]
fn after_the_last_stage_there_is_no_cap_or_the_last_one() {
    for (after, stage, cap) in [(After::NoCap, Stage::Past, None), (After::LastCap, Stage::On(1), Some(50))] {
        let mut plan = plan(&[50]);
        plan.curve = Curve::new([50]).unwrap().with_after(after);
        let mut world = World::new(plan, MORNING);
        world.send(50, Outcome::Accepted);
        world.go_to(NEXT);
        let permit = world.permit(20);
        assert_eq!((world.status().stage, world.status().cap, permit.count()), (stage, cap, 20));
    }
}

#[test]
fn a_warm_lane_in_bad_health_has_a_cap_again() {
    let mut world = World::new(plan(&[50]), MORNING);
    world.governor.steer(world.lane, Steer::Advance, &"it was warm".into(), world.now);
    assert_eq!(world.send(500, Outcome::HardBounce), 500);
    assert_eq!(verdict(&mut world), Verdict::StepBack(Sign::HardBounces));
    assert_eq!(world.status().cap, Some(50));
}

#[test]
fn an_operators_hold_holds_and_its_release_releases() {
    let mut world = World::new(plan(&[50, 100, 200]), MORNING);
    world.governor.steer(world.lane, Steer::Hold, &"new list".into(), world.now);
    world.send(50, Outcome::Accepted);
    assert_eq!(verdict(&mut world), Verdict::Hold(Why::Operator));
    world.governor.steer(world.lane, Steer::Release, &"list is fine".into(), world.now);
    world.send(50, Outcome::Accepted);
    world.go_to("2026-11-25T00:00:00Z");
    world.governor.close_day(world.now);
    assert_eq!(world.status().stage, Stage::On(2));
}

#[test]
fn a_stop_has_no_end_until_an_operator_resumes() {
    let mut world = World::new(plan(&[50]), MORNING);
    world.governor.steer(world.lane, Steer::Stop, &"maintenance".into(), world.now);
    assert_eq!(world.refusal(1), (jiff::Timestamp::MAX, Hold::Stopped { why: "maintenance".into() }));
    world.governor.steer(world.lane, Steer::Resume, &"done".into(), world.now);
    assert_eq!(world.permit(1).count(), 1);
}

#[test]
fn an_edited_curve_keeps_the_stage_and_says_what_changed() {
    let mut world = World::new(plan(&[50, 100]), MORNING);
    world.send(30, Outcome::Accepted);
    world.governor.take_changes();
    world.governor.set_plan(world.lane, plan(&[40, 80, 160]).into(), Stage::FIRST, world.now);
    let change = world.governor.take_changes().pop().unwrap().change;
    assert_eq!(change, Change::PlanChanged { stage: Stage::On(1), from: Some(50), to: Some(40) });
    assert_eq!(world.send(100, Outcome::Accepted), 10);
    world.governor.set_plan(world.lane, plan(&[20]).into(), Stage::FIRST, world.now);
    assert_eq!((world.status().used, world.status().remaining), (40, Some(0)));
}

#[test]
fn a_lane_can_start_in_the_middle_of_its_curve() {
    let mut governor = Governor::new();
    let now = time(MORNING);
    let lane = governor.open(&key(), &plan(&[50, 100, 200]).into(), Stage::On(3), Shape::default(), now);
    assert_eq!((governor.status(lane, now).cap, governor.find(&key())), (Some(200), Some(lane)));
}

#[test]
fn the_status_tells_all() {
    let mut plan = plan(&[100, 200]);
    plan.pace = Pace::new().with_burst(many(100));
    let mut world = World::new(plan, MORNING);
    world.send(90, Outcome::Accepted);
    let open = world.permit(2);
    let status = world.status();
    assert_eq!((status.stage, status.stages, status.cap, status.used, status.reserved), (Stage::On(1), 2, Some(100), 92, 2));
    assert_eq!(
        (status.verdict, status.next_stage, status.next_cap),
        (Verdict::Hold(Why::FewAnswers { answered: 90, needed: 100 }), Stage::On(1), Some(100))
    );
    world.settle(open, Outcome::Accepted);
    world.send(8, Outcome::Accepted);
    let status = world.status();
    assert_eq!((status.verdict, status.next_cap, status.remaining), (Verdict::Advance, Some(200), Some(0)));
    assert_eq!((status.next_release, status.hold), (time(NEXT), Some(Hold::DayCap { cap: 100, used: 100 })));
}
