//! The time by which a message is to be delivered (RFC 2852), in simulated time.

use posthaste_governor::Overflow;

use super::{
    budget::{plan, warming},
    *,
};

fn by(world: &World, seconds: u64, returns: bool) -> Deadline {
    Deadline { at: super::super::times::later(world.now, Duration::from_secs(seconds)), returns }
}

fn arrive(world: &mut World, seconds: u64, returns: bool) -> Seq {
    let by = by(world, seconds, returns);
    world.arrive_by(Some(by), TransferPriority::default(), "default", &["a.example"])
}

/// The fates of a message, each with the seconds from the start to its decision.
fn history(world: &World, start: Timestamp, seq: Seq) -> Vec<(i64, String)> {
    let word = |next: &Next| format!("{next:?}").split('(').next().unwrap_or_default().to_owned();
    world.log.iter().filter(|l| l.1 == seq).map(|l| (l.0.duration_since(start).as_secs(), word(&l.4))).collect()
}

fn told(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(at, word)| (*at, (*word).to_owned())).collect()
}

#[test]
fn what_is_to_be_returned_is_tried_once_more_shortly_before_its_time_and_given_up_at_it() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    let start = world.now;
    let seq = arrive(&mut world, 240, true);
    let short = arrive(&mut world, 50, true);
    world.run_for(Duration::from_secs(86_400));
    assert_eq!(history(&world, start, seq), told(&[(0, "Deferred"), (210, "Deferred"), (240, "Expired")]));
    assert_eq!(history(&world, start, short), told(&[(0, "Deferred"), (37, "Deferred"), (50, "Expired")]));
    assert_eq!(world.dispatcher.queued(), (0, 0));
    assert!(world.spool.values().all(Option::is_none), "the spool forgets them too");
}

#[test]
fn no_time_is_over_before_it_is() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    let at = world.now.checked_add(SignedDuration::new(50, 1)).unwrap();
    let seq = world.arrive_by(Some(Deadline { at, returns: true }), TransferPriority::default(), "default", &["a.example"]);
    world.run_for(Duration::from_secs(60));
    let ended = world.log.iter().find(|l| l.1 == seq && l.4 == Next::Expired).unwrap().0;
    assert!(ended >= at && ended.duration_since(at) <= SignedDuration::from_millis(1), "{ended}");
}

#[test]
fn what_is_late_is_told_once_and_tried_on_over_restarts_too() {
    let mut world =
        World::new(policy(), |_, now| if now < "2026-11-23T06:00:00Z".parse().unwrap() { refused(451, "4.3.0 later") } else { ok() });
    let start = world.now;
    let seq = arrive(&mut world, 100, false);
    world.run_for(Duration::from_secs(200));
    assert!(world.spool[&seq].as_ref().unwrap().told_late);
    let mut world = world.restarted(policy());
    world.run_for(Duration::from_secs(86_400));
    let fates = world.fates(seq);
    assert_eq!(fates.iter().filter(|next| ***next == Next::Late).count(), 1);
    assert_eq!(*fates[fates.len() - 1], Next::Delivered);
    assert!(history(&world, start, seq).contains(&(100, "Late".into())), "{:?}", history(&world, start, seq));
}

#[test]
fn a_deadline_that_passes_while_the_relay_is_down_is_acted_on_at_its_start() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    let (late, returned) = (arrive(&mut world, 100, false), arrive(&mut world, 100, true));
    world.run_for(Duration::from_secs(10));
    world.now = super::super::times::later(world.now, Duration::from_secs(600));
    let mut world = world.restarted(policy());
    world.run_for(Duration::from_secs(10));
    assert!(world.fates(late).contains(&&Next::Late));
    assert_eq!(world.fates(returned).last(), Some(&&Next::Expired));
    assert_eq!(world.dispatcher.queued(), (1, 1));
}

#[test]
fn a_message_that_ends_leaves_no_deadline_behind() {
    let mut world = World::new(policy(), |_, _| ok());
    for returns in [true, false] {
        arrive(&mut world, 999_999_999, returns);
    }
    assert!(world.dispatcher.next_deadline().is_some());
    world.run_for(Duration::from_secs(60));
    assert_eq!((world.dispatcher.queued(), world.dispatcher.next_deadline()), ((0, 0), None));
}

#[test]
fn an_attempt_under_way_at_that_moment_decides_itself() {
    for delivers in [true, false] {
        let mut world = World::new(policy(), move |_, _| if delivers { ok() } else { refused(451, "4.3.0 later") });
        world.takes.insert("a.example".into(), Duration::from_secs(30));
        let start = world.now;
        let seq = arrive(&mut world, 20, true);
        world.run_for(Duration::from_secs(86_400));
        let ending = if delivers { "Delivered" } else { "Expired" };
        assert_eq!(history(&world, start, seq), told(&[(30, ending)]));
    }
}

#[test]
fn what_is_held_or_waits_for_budget_comes_back_at_its_time_too_and_costs_none() {
    let mut world = World::new(warming(plan(&[1], Overflow::Defer), &[]), |_, _| ok());
    let start = world.now;
    let seqs: Vec<Seq> = (0..3).map(|_| arrive(&mut world, 600, true)).collect();
    world.run_for(Duration::from_secs(60));
    let (held, actions) = world.dispatcher.hold(&MessageSelection::default(), "looks odd", world.now);
    world.perform(actions);
    let other = arrive(&mut world, 600, true);
    world.run_for(Duration::from_secs(86_000));
    let ended = |word: &str| seqs.iter().filter(|seq| history(&world, start, **seq).last().unwrap().1 == word).count();
    assert_eq!((held, ended("Delivered"), ended("Expired")), (2, 1, 2));
    assert!(seqs.iter().all(|seq| history(&world, start, *seq).last().unwrap().0 <= 600));
    assert_eq!(history(&world, start, other).last(), Some(&(660, "Expired".into())));
    assert_eq!(world.dispatcher.queued(), (0, 0));
}
