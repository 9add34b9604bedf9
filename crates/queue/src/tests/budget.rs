//! Caps, overflow, urgency, and whether what is said of waiting mail comes true.

use std::num::NonZeroU32;

use posthaste_governor::{Change, Curve, Overflow};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn plan(caps: &[u32], overflow: Overflow) -> Arc<Plan> {
    let mut plan = Plan::new("test", Curve::new(caps).unwrap());
    plan.overflow = overflow;
    plan.min_sample = 10;
    Arc::new(plan)
}

/// `ip1` warms up by this plan; the pool also has these sources, which are warm.
pub(super) fn warming(plan: Arc<Plan>, warm: &[&str]) -> Policy {
    let mut policy = policy();
    let sources = ["ip1"].iter().chain(warm).map(|s| (name(s), 1)).collect();
    policy.pools.insert(name("default"), PoolPolicy { sources, relieve: true });
    policy.warmups.insert(name("ip1"), SourceWarmup { usual: plan, providers: HashMap::new(), first: posthaste_governor::Stage::FIRST });
    policy
}

fn days_since(start: Timestamp, at: Timestamp) -> i64 {
    at.duration_since(start).as_hours().div_euclid(24)
}

/// Deliveries by source and day.
fn delivered(world: &World) -> BTreeMap<(String, i64), u32> {
    let mut days = BTreeMap::new();
    for (at, source) in &world.sent_by {
        *days.entry((source.clone(), days_since(START.parse().unwrap(), *at))).or_default() += 1;
    }
    days
}

const START: &str = "2026-11-23T00:00:00Z";

#[test]
fn a_lane_sends_its_cap_each_day_and_not_one_more() {
    let mut world = World::new(warming(plan(&[50, 80, 120], Overflow::Defer), &[]), |_, _| ok());
    for _ in 0..400 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(5 * 86_400));
    let days: Vec<u32> = delivered(&world).into_values().collect();
    assert_eq!(days, [50, 80, 120, 150], "the curve's caps, then what is left");
    assert_eq!(world.dispatcher.queued(), (0, 0));
}

#[test]
fn every_wait_that_was_told_comes_true() {
    let mut world = World::new(warming(plan(&[50, 80, 120], Overflow::Defer), &[]), |_, _| ok());
    let seqs: Vec<Seq> = (0..240).map(|_| world.arrive("default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(5 * 86_400));
    let mut told = 0;
    for seq in seqs {
        let fates: Vec<_> = world.log.iter().filter(|l| l.1 == seq).collect();
        let went = fates.last().unwrap().0;
        for (_, _, _, _, next) in &fates {
            let Next::Waits(wait) = next else { continue };
            told += 1;
            let until = wait.until.expect("there is budget one day");
            let wrong = went.duration_since(until).abs();
            assert!(wrong < SignedDuration::from_secs(2), "message {seq} went at {went}, but {until} was said: {}", wait.detail);
            assert!(wait.cap.is_some() && wait.source.is_some(), "{wait:?}");
        }
    }
    assert!((215..=240).contains(&told), "{told}: once each, for all but the first burst");
}

#[test]
fn what_spills_goes_to_the_warm_source_at_once() {
    let mut world = World::new(warming(plan(&[50, 80], Overflow::Spill), &["ip2"]), |_, _| ok());
    for _ in 0..300 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.dispatcher.queued(), (0, 0), "nothing waits");
    let days = delivered(&world);
    assert_eq!(days[&("ip1".into(), 0)] + days[&("ip2".into(), 0)], 300);
    assert!(days[&("ip1".into(), 0)] <= 50, "{days:?}");
}

#[test]
fn overflow_goes_to_the_pool_that_the_curve_names() {
    let mut policy = warming(plan(&[50, 80], Overflow::Pool("reserve".into())), &[]);
    policy.pools.insert(name("reserve"), PoolPolicy { sources: vec![(name("ip9"), 1)], relieve: true });
    let mut world = World::new(policy, |_, _| ok());
    for _ in 0..100 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(600));
    let days = delivered(&world);
    assert_eq!(days[&("ip1".into(), 0)] + days[&("ip9".into(), 0)], 100);
}

#[test]
fn scarce_budget_goes_to_the_most_urgent() {
    let mut policy = warming(plan(&[100, 100], Overflow::Defer), &[]);
    policy.streams.insert(name("resets"), StreamPolicy { share: 50, ..policy.fallback.clone() });
    let mut world = World::new(policy, |_, _| ok());
    for _ in 0..300 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(3600));
    let reset = world.arrive("resets", &["a.example"]);
    let before = world.order.len();
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.order[before], reset, "the next release is the password reset's");
    let went = world.log.iter().find(|l| l.1 == reset && is_ending(&l.4)).unwrap().0;
    let until = world.log.iter().find_map(|l| match &l.4 {
        Next::Waits(wait) if l.1 == reset => wait.until,
        _ => None,
    });
    assert!(went.duration_since(until.unwrap()).abs() < SignedDuration::from_secs(2));
}

#[test]
fn mail_that_waits_too_long_expires_with_a_reason_and_costs_no_budget() {
    let mut policy = warming(plan(&[20], Overflow::Defer), &[]);
    policy.fallback.retry.expire = Duration::from_secs(6 * 3600);
    let mut world = World::new(policy, |_, _| ok());
    let seqs: Vec<Seq> = (0..60).map(|_| world.arrive("default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(86_000));
    let expired = seqs.iter().filter(|seq| matches!(world.fates(**seq).last(), Some(Next::Expired))).count();
    assert_eq!(expired, 40);
    assert_eq!(delivered(&world).into_values().collect::<Vec<_>>(), [20]);
    let at = world.log.iter().find(|l| l.4 == Next::Expired).unwrap().0;
    let age = at.duration_since(START.parse::<Timestamp>().unwrap());
    assert!(age >= SignedDuration::from_hours(6) && age < SignedDuration::from_secs(6 * 3600 + 1), "{age:?}");
}

#[test]
fn a_source_that_is_gone_sends_nothing_until_it_is_back() {
    let mut policy = policy();
    policy.pools.insert(name("default"), PoolPolicy { sources: vec![(name("ip1"), 1), (name("ip2"), 1)], relieve: true });
    let mut world = World::new(policy, |_, _| ok());
    world.feed(Input::Sources(HashSet::from([name("ip1")])));
    for _ in 0..20 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(60));
    assert_eq!(delivered(&world).into_iter().collect::<Vec<_>>(), [(("ip2".to_owned(), 0), 20)]);
    world.feed(Input::Sources(HashSet::from([name("ip1"), name("ip2")])));
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.dispatcher.queued(), (1, 1), "it waits");
    world.feed(Input::Sources(HashSet::new()));
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.dispatcher.queued(), (0, 0));
}

#[test]
fn a_streams_own_rate_holds_over_all_its_lanes() {
    let mut policy = policy();
    policy.fallback.shape = Shape { hour: NonZeroU32::new(60), ..Shape::default() };
    let mut world = World::new(policy, |_, _| ok());
    for i in 0..200 {
        world.arrive("default", &[["a.example", "b.example"][i % 2]]);
    }
    world.run_for(Duration::from_secs(3600));
    assert!(world.sent_by.len() <= 60, "{}", world.sent_by.len());
    world.run_for(Duration::from_secs(4 * 3600));
    assert_eq!(world.dispatcher.queued(), (0, 0));
}

#[test]
fn a_restart_refills_no_day() {
    let policy = || warming(plan(&[50, 80, 120], Overflow::Defer), &[]);
    let mut world = World::new(policy(), |_, _| ok());
    for _ in 0..300 {
        world.arrive("default", &["a.example"]);
    }
    for hours in [3, 5, 15] {
        world.run_for(Duration::from_secs(hours * 3600));
        world = world.restarted(policy());
    }
    world.run_for(Duration::from_secs(86_400 * 4));
    let days = delivered(&world);
    assert!(days[&("ip1".into(), 0)] <= 50, "{days:?}");
    assert!(days[&("ip1".into(), 0)] >= 45, "a crash costs little: {days:?}");
    assert_eq!(world.dispatcher.queued(), (0, 0));
}

#[test]
fn a_provider_that_blocks_one_source_stops_that_lane_alone() {
    let mut policy = policy();
    policy.pools.insert(name("default"), PoolPolicy { sources: vec![(name("ip1"), 1), (name("ip2"), 1)], relieve: true });
    let blocks = |job: &DeliveryJob, _: Timestamp| match job.seq {
        1 => refused(550, "5.7.1 Service unavailable, client host [192.0.2.1] blocked using Spamhaus"),
        _ => ok(),
    };
    let mut world = World::new(policy, blocks);
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(1));
    for _ in 0..20 {
        world.arrive("default", &["a.example"]);
        world.arrive("default", &["b.example"]);
    }
    world.run_for(Duration::from_secs(60));
    let sent = |source: &str, provider: &str| {
        world
            .log
            .iter()
            .filter(|l| l.4 == Next::Delivered && l.1 > 1)
            .filter(|l| world.went[&l.1] == (source.into(), provider.into()))
            .count()
    };
    assert_eq!((sent("ip1", "a.example"), sent("ip2", "a.example")), (0, 20));
    assert_eq!((sent("ip1", "b.example"), sent("ip2", "b.example")), (10, 10));
    assert!(world.changes.iter().any(|(key, change)| &*key.source == "ip1" && matches!(change.change, Change::Blocked { .. })));
}

#[test]
fn without_relief_the_mail_of_a_slowed_source_waits_and_says_until_when() {
    let mut policy = policy();
    policy.pools.insert(name("default"), PoolPolicy { sources: vec![(name("ip1"), 1), (name("ip2"), 1)], relieve: false });
    let slows = |job: &DeliveryJob, _: Timestamp| match job.seq {
        1 => refused(421, "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume"),
        _ => ok(),
    };
    let mut world = World::new(policy, slows);
    world.arrive("default", &["yahoo.com"]);
    world.run_for(Duration::from_secs(1));
    let seqs: Vec<Seq> = (0..4).map(|_| world.arrive("default", &["yahoo.com"])).collect();
    world.run_for(Duration::from_secs(60));
    let waits = seqs.iter().filter(|seq| matches!(world.fates(**seq).last(), Some(Next::Waits(_)))).count();
    assert_eq!(waits, 2, "every other one is the slowed source's: {:?}", world.log);
    world.run_for(Duration::from_secs(86_400));
    assert!(seqs.iter().all(|seq| world.fates(*seq).last() == Some(&&Next::Delivered)));
}

#[test]
fn what_an_operator_changes_is_told_within_a_minute_though_nothing_may_go_for_longer() {
    let mut world = World::new(warming(plan(&[24], Overflow::Defer), &[]), |_, _| ok());
    for _ in 0..40 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(600));
    let waiting = world.log.iter().rfind(|l| matches!(l.4, Next::Waits(_))).unwrap().1;
    let lane = world.dispatcher.governor().lanes().next().unwrap().0;
    for steer in [posthaste_governor::Steer::Stop, posthaste_governor::Steer::Resume] {
        let now = world.now;
        world.dispatcher.governor_mut().steer(lane, steer, &"a trial".into(), now);
        world.feed(Input::Wake);
        world.run_for(Duration::from_secs(10));
    }
    let resumed = world.now;
    world.run_for(Duration::from_secs(61));
    let told: Vec<_> =
        world.fates(waiting).into_iter().filter_map(|next| if let Next::Waits(wait) = next { Some(wait.until) } else { None }).collect();
    assert!(matches!(told[..], [Some(_), None, Some(_)]), "{told:?}");
    let next = world.dispatcher.governor().status(lane, world.now).next_release;
    assert!(next > resumed + SignedDuration::from_mins(5), "the lane itself opens only at {next}");
}

#[test]
fn weights_hold_at_each_provider_though_mail_alternates_between_them() {
    let mut policy = policy();
    policy.pools.insert(name("default"), PoolPolicy { sources: vec![(name("ip1"), 1), (name("ip2"), 1)], relieve: true });
    let mut world = World::new(policy, |_, _| ok());
    for _ in 0..20 {
        world.arrive("default", &["a.example"]);
        world.arrive("default", &["b.example"]);
    }
    for n in 0..40 {
        world.arrive("default", &[&format!("once{n}.example")]);
    }
    world.run_for(Duration::from_secs(60));
    let sent = |source: &str, at: &str| world.went.values().filter(|(from, to)| from == source && to.starts_with(at)).count();
    assert_eq!((sent("ip1", "a."), sent("ip2", "a.")), (10, 10));
    assert_eq!((sent("ip1", "b."), sent("ip2", "b.")), (10, 10));
    assert_eq!((sent("ip1", "once"), sent("ip2", "once")), (20, 20), "one message each: by turns all the same");
}

#[test]
fn mail_that_waited_goes_as_fast_as_the_connections_carry_it_once_there_is_budget() {
    let mut world = World::new(warming(plan(&[50], Overflow::Defer), &[]), |_, _| ok());
    for _ in 0..3_050 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(2 * 86_400));
    let second: Vec<Timestamp> = world.sent_by.iter().map(|(at, _)| *at).skip(50).collect();
    assert_eq!(second.len(), 3_000);
    // 20 connections with 50 ms for each message carry 400 a second.
    let took = second[2_999].duration_since(second[0]);
    assert!(took <= SignedDuration::from_millis(8_000), "{took:?}");
}
