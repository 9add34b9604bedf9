//! What holds for any history.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use posthaste_governor::{
    Admission, Climb, Counts, Curve, Cut, Outcome, Pace, Permit, Plan, Priority, Shape, Share, Stage, Steer, Usual, Window,
};
use proptest::prelude::*;

use crate::support::{NANOSECOND, World, many, time};

#[derive(Clone, Debug)]
enum Step {
    Admit(u32, bool),
    Settle(usize, u8, u32),
    Pass(i64),
    Until,
    Write,
    Sync,
    Crash,
    Restart,
    CloseDay,
    /// The clock is so many seconds ahead for a moment, in which days are closed.
    Glance(i64),
    Steer(u8),
    Cut(u8),
    Zone(usize),
    Recount,
}

const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland"];
const WINDOWS: [&str; 4] = ["00:00-24:00", "08:00-20:00", "02:00-03:00", "23:00-24:00"];
const OUTCOMES: [Outcome; 7] = [
    Outcome::Accepted,
    Outcome::Accepted,
    Outcome::HardBounce,
    Outcome::Throttled,
    Outcome::Deferred,
    Outcome::Blocked,
    Outcome::GivenBack,
];
const STEERS: [Steer; 6] = [Steer::Advance, Steer::Back, Steer::Hold, Steer::Release, Steer::Restart, Steer::Resume];

fn step(steps_back: bool) -> impl Strategy<Value = Step> {
    let back = if steps_back { -200_000i64 } else { 0 };
    prop_oneof![
        8 => (1u32..40, any::<bool>()).prop_map(|(n, urgent)| Step::Admit(n, urgent)),
        6 => (any::<usize>(), 0u8..7, 1u32..10).prop_map(|(i, o, n)| Step::Settle(i, o, n)),
        3 => (0i64..5_000).prop_map(Step::Pass),
        2 => (back..200_000).prop_map(Step::Pass),
        1 => (if steps_back { -40_000_000i64 } else { 0 }..40_000_000).prop_map(Step::Pass),
        4 => Just(Step::Until),
        3 => Just(Step::Write),
        3 => Just(Step::Sync),
        2 => Just(Step::Crash),
        1 => Just(Step::Restart),
        1 => Just(Step::CloseDay),
        1 => (0..if steps_back { 200_000i64 } else { 1 }).prop_map(Step::Glance),
        1 => (0u8..6).prop_map(Step::Steer),
        1 => (0u8..4).prop_map(Step::Cut),
        1 => (0usize..5).prop_map(Step::Zone),
        1 => Just(Step::Recount),
    ]
}

fn some_plan() -> impl Strategy<Value = Plan> {
    let caps = prop::collection::vec(1u32..400, 1..6);
    (caps, 1u32..30, 0usize..5, 0usize..4, 1u32..6, 0u32..50, prop::option::of(1u32..100), 0u8..4).prop_map(
        |(mut caps, burst, zone, window, catch_up, reserve, share, off)| {
            caps.sort_unstable();
            let mut curve = Curve::new(caps).unwrap();
            if let Some(share) = share {
                curve = curve.with_hourly_share(f64::from(share) / 100.0).unwrap();
            }
            let mut window: Window = WINDOWS[window].parse().unwrap();
            if off == 0 {
                window = window.without([jiff::civil::Weekday::Saturday, jiff::civil::Weekday::Sunday]).unwrap();
            }
            let mut plan = Plan::new("any", curve);
            plan.pace = Pace::new()
                .with_burst(many(burst))
                .with_zone(TimeZone::get(ZONES[zone]).unwrap())
                .with_window(window)
                .with_catch_up(f64::from(catch_up))
                .unwrap()
                .with_reserve(Share::percent(reserve))
                .unwrap();
            plan
        },
    )
}

/// The same, and now and then one without a cap.
fn any_plan() -> impl Strategy<Value = Plan> {
    (some_plan(), 0u8..6).prop_map(|(plan, without)| if without == 0 { Plan { curve: Plan::warm().curve, ..plan } } else { plan })
}

fn some_shape() -> impl Strategy<Value = Shape> {
    let rate = || prop::option::weighted(0.2, 1u32..50).prop_map(|n| n.map(many));
    (rate(), rate(), rate(), rate()).prop_map(|(second, minute, hour, day)| Shape { second, minute, hour, day })
}

/// What really went out, by the day whose budget it was: known to no crash.
#[derive(Default)]
struct Truth {
    sent: HashMap<Date, u32>,
    /// The same by the hour in which it was reserved.
    hours: HashMap<i64, u32>,
    out: Vec<(Permit, Timestamp)>,
    /// The clock only goes forward in this history: then hours can be told apart.
    forward: bool,
    until: Option<Timestamp>,
}

impl Truth {
    fn out_on(&self, date: Date) -> u32 {
        self.out.iter().filter(|(permit, _)| permit.date() == date).map(|(permit, _)| permit.count()).sum()
    }

    fn gone_on(&self, date: Date) -> u32 {
        self.sent.get(&date).copied().unwrap_or(0)
    }

    fn in_hour(&self, hour: i64) -> u32 {
        let out = self.out.iter().filter(|(_, at)| hour_of(*at) == hour).map(|(permit, _)| permit.count()).sum::<u32>();
        out + self.hours.get(&hour).copied().unwrap_or(0)
    }

    fn went(&mut self, permit: &Permit, at: Timestamp) {
        *self.sent.entry(permit.date()).or_default() += permit.count();
        *self.hours.entry(hour_of(at)).or_default() += permit.count();
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(3600)
}

fn admit(world: &mut World, truth: &mut Truth, n: u32, priority: Priority) -> Result<(), TestCaseError> {
    match world.governor.admit_as(world.lane, n, priority, world.now) {
        Admission::Go(permit) => {
            let status = world.status();
            prop_assert_eq!(Some(permit.date()), status.date);
            prop_assert!(permit.count() >= 1 && permit.count() <= n);
            prop_assert!(status.cap.is_none() || permit.count() <= world.plan.pace.burst().get());
            if let Some(cap) = status.cap {
                let all = truth.gone_on(permit.date()) + truth.out_on(permit.date()) + permit.count();
                prop_assert!(all <= cap, "{} of {} on {}", all, cap, permit.date());
            }
            if let (Some(cap), true) = (world.plan.curve.hour_cap(status.stage), truth.forward) {
                let all = truth.in_hour(hour_of(world.now)) + permit.count();
                prop_assert!(all <= cap, "{} of {} in the hour of {}", all, cap, world.now);
            }
            truth.out.push((permit, world.now));
        }
        Admission::NotBefore(at, _) => {
            prop_assert!(at > world.now);
            truth.until = Some(at);
        }
    }
    Ok(())
}

fn perform(world: &mut World, truth: &mut Truth, step: &Step) -> Result<(), TestCaseError> {
    match *step {
        Step::Admit(n, urgent) => admit(world, truth, n, if urgent { Priority::Urgent } else { Priority::Usual })?,
        Step::Settle(index, outcome, part) if !truth.out.is_empty() => {
            let index = index % truth.out.len();
            let (mut permit, at) = truth.out.swap_remove(index);
            if let Some(rest) = permit.split(part) {
                if permit.count() > 0 {
                    truth.out.push((permit, at));
                }
                permit = rest;
            }
            // Nothing is offered before its lease is on disk.
            let outcome = if permit.durable() <= world.durable { OUTCOMES[outcome as usize] } else { Outcome::GivenBack };
            if outcome != Outcome::GivenBack {
                truth.went(&permit, at);
            }
            world.settle(permit, outcome);
        }
        Step::Pass(seconds) => {
            let limits = (time("2024-01-01T00:00:00Z"), time("2034-01-01T00:00:00Z"));
            world.now = (world.now + SignedDuration::from_secs(seconds)).clamp(limits.0, limits.1);
        }
        Step::Until => {
            // An answer of long ago must not set a clock back that only goes forward.
            let later = |at: &Timestamp| *at < time("2034-01-01T00:00:00Z") && (!truth.forward || *at >= world.now);
            world.now = truth.until.take().filter(later).unwrap_or(world.now);
        }
        Step::Write => world.write(),
        Step::Sync => world.sync(),
        Step::Crash => {
            // Whatever could go has gone, and its outcome is not known.
            for (permit, at) in std::mem::take(&mut truth.out) {
                if permit.durable() <= world.durable {
                    truth.went(&permit, at);
                }
            }
            world.crash();
        }
        Step::Restart => {
            for (permit, _) in std::mem::take(&mut truth.out) {
                world.settle(permit, Outcome::GivenBack);
            }
            world.restart();
        }
        Step::CloseDay => world.governor.close_day(world.now),
        Step::Glance(seconds) => world.governor.close_day(world.now + SignedDuration::from_secs(seconds)),
        Step::Steer(steer) => world.governor.steer(world.lane, STEERS[steer as usize], &"any".into(), world.now),
        Step::Cut(kind) => {
            let some = |bit: u8| (kind & bit != 0).then(|| many(30));
            let climb = Climb { every: SignedDuration::from_mins(10), rate: many(30), connections: many(1) };
            let pause = Some(SignedDuration::from_mins(15)).filter(|_| kind & 2 != 0);
            let cut = Cut { rate: some(1), connections: some(2), pause, climb, why: "any".into() };
            world.governor.cut(world.lane, &cut, Usual::default(), world.now);
        }
        Step::Zone(zone) => {
            let mut plan = (*world.plan).clone();
            plan.pace = plan.pace.with_zone(TimeZone::get(ZONES[zone]).unwrap());
            world.plan = plan.into();
            world.governor.set_plan(world.lane, world.plan.clone(), Stage::FIRST, world.now);
        }
        Step::Recount => {
            if let Some(date) = world.status().date {
                let spent = truth.gone_on(date);
                world.governor.recount(world.lane, date, Counts { spent, ..Counts::default() });
            }
        }
        Step::Settle(..) => {}
    }
    Ok(())
}

/// Where the lane's refusals are not remembered: so that each answer is worked out.
fn forget(world: &mut World) {
    world.governor.recount(world.lane, jiff::civil::date(1970, 1, 1), Counts::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_day_ever_sends_more_than_its_cap(plan in any_plan(), steps in prop::collection::vec(step(true), 1..120)) {
        let mut world = World::new(plan, "2028-02-25T12:00:00Z");
        let mut truth = Truth::default();
        for step in &steps {
            perform(&mut world, &mut truth, step)?;
        }
    }

    #[test]
    fn no_hour_ever_reserves_more_than_its_cap(plan in any_plan(), steps in prop::collection::vec(step(false), 1..120)) {
        let mut world = World::new(plan, "2027-10-30T20:00:00Z");
        let mut truth = Truth { forward: true, ..Truth::default() };
        for step in &steps {
            perform(&mut world, &mut truth, step)?;
        }
    }

    #[test]
    fn not_before_is_exact(
        plan in any_plan(),
        shape in some_shape(),
        steps in prop::collection::vec(step(true), 0..40),
        urgent in any::<bool>(),
    ) {
        let mut world = World::shaped(plan, shape, time("2027-03-25T12:00:00Z"));
        let mut truth = Truth::default();
        for step in &steps {
            perform(&mut world, &mut truth, step)?;
        }
        let priority = if urgent { Priority::Urgent } else { Priority::Usual };
        for _ in 0..30 {
            forget(&mut world);
            match world.governor.admit_as(world.lane, 3, priority, world.now) {
                Admission::Go(permit) => world.settle(permit, Outcome::Accepted),
                Admission::NotBefore(at, _) => {
                    prop_assert!(at > world.now && at < time("2036-01-01T00:00:00Z"), "a lane with mail goes some day: {}", at);
                    forget(&mut world);
                    let before = at - NANOSECOND;
                    let refused = world.governor.admit_as(world.lane, 1, priority, before);
                    prop_assert!(matches!(refused, Admission::NotBefore(again, _) if again == at), "{:?} at {}", refused, before);
                    forget(&mut world);
                    let admitted = world.governor.admit_as(world.lane, 1, priority, at);
                    match admitted {
                        Admission::Go(permit) => world.settle(permit, Outcome::Accepted),
                        held => prop_assert!(false, "{:?} at {}", held, at),
                    }
                    world.now = at;
                }
            }
        }
    }

    #[test]
    fn a_lane_with_mail_uses_all_of_each_days_cap_evenly(mut plan in some_plan(), hour in 0i64..24) {
        // The hour's share may make a day's cap impossible, and the hour that summer time skips a whole day: not here.
        plan.curve = Curve::new(plan.curve.caps()).unwrap();
        let mut world = World::new(plan, "2028-02-27T00:00:00Z");
        world.pass(SignedDuration::from_hours(hour));
        let (burst, mut day, mut skip) = (world.plan.pace.burst().get(), Vec::new(), true);
        let mut last: Option<(Date, u32)> = None;
        let mut days = 0;
        while days < 5 {
            match world.admit(1000) {
                Admission::NotBefore(at, _) => world.now = at,
                Admission::Go(permit) => {
                    let (date, cap) = (permit.date(), world.status().cap);
                    if let Some((before, cap)) = last.filter(|(before, _)| *before != date) {
                        let sent: u32 = day.iter().map(|(_, n)| n).sum();
                        prop_assert!(skip || sent == cap, "{} of {} on {}", sent, cap, before);
                        (skip, days) = (false, days + 1);
                        day.clear();
                    }
                    let Some(cap) = cap else { break };
                    prop_assert!(permit.count() <= burst);
                    day.push((world.now, permit.count()));
                    let within = day.iter().filter(|(t, _)| world.now.duration_since(*t) < SignedDuration::from_secs(1)).map(|(_, n)| *n);
                    prop_assert!(within.sum::<u32>() <= burst + 1, "a burst, and what a second releases");
                    last = Some((date, cap));
                    world.settle(permit, Outcome::Accepted);
                }
            }
        }
    }
}
