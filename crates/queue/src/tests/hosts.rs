//! Attempts that go on to another host, and reloads.

use std::num::NonZeroU32;

use posthaste_governor::Overflow;

use super::{
    budget::{plan, warming},
    *,
};

#[test]
fn every_host_that_is_offered_a_recipient_counts_against_the_cap() {
    let mut world = World::new(warming(plan(&[30, 40], Overflow::Defer), &[]), |_, _| ok());
    world.sick.insert("a.example".into());
    let start = world.now;
    for _ in 0..40 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(86_399));
    let offered: usize = world.offered.iter().map(|(_, n)| n).sum();
    assert!((20..=30).contains(&offered), "{offered} of 30");
    let delivered = world.sent_by.len();
    assert!(delivered * 2 <= offered, "{delivered}");
    let lane = posthaste_governor::LaneKey::new("ip1", "a.example");
    let governor = world.dispatcher.governor();
    let status = governor.status(governor.find(&lane).unwrap(), world.now);
    assert_eq!(status.counts.spent as usize, offered, "each offer is settled once");
    assert_eq!(status.counts.accepted as usize, delivered);
    assert!(world.offered.iter().all(|(at, _)| *at >= start));
}

#[test]
fn an_attempt_ends_in_one_attempt_whichever_host_took_it() {
    let mut world = World::new(policy(), |_, _| ok());
    world.sick.insert("a.example".into());
    let seq = world.arrive("default", &["a.example", "a.example"]);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.fates(seq), [&Next::Delivered, &Next::Delivered]);
    assert!(world.log.iter().all(|(_, _, _, attempt, _)| *attempt == 1));
    assert_eq!(world.offered.len(), 2);
}

#[test]
fn without_room_for_another_offer_an_attempt_ends_with_what_was_said() {
    let mut policy = policy();
    policy.limits.shape.hour = NonZeroU32::new(1);
    let mut world = World::new(policy, |_, _| ok());
    world.sick.insert("a.example".into());
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    assert!(matches!(world.fates(seq)[..], [Next::Deferred(_)]), "{:?}", world.fates(seq));
}

#[test]
fn a_reload_closes_what_is_idle_and_asks_for_every_way_again() {
    let mut world = World::new(Policy { idle: Duration::from_secs(600), ..policy() }, |_, _| ok());
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.asked.len(), world.open.len()), (1, 1));
    world.feed(Input::Policy(Box::new(policy())));
    assert_eq!(world.open.len(), 0);
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.asked.len(), world.sent_by.len()), (2, 2));
}

#[test]
fn an_answer_of_before_a_reload_is_not_kept() {
    let mut world = World::new(policy(), |_, _| ok());
    world.arrive("default", &["a.example"]);
    world.feed(Input::Policy(Box::new(policy())));
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.asked.len(), world.sent_by.len()), (2, 1));
}

#[test]
fn a_session_of_before_a_reload_gets_no_further_job() {
    let limits = LaneLimits { connections: 1, ..policy().limits };
    let policy = || Policy { limits, ..policy() };
    let mut world = World::new(policy(), |_, _| ok());
    world.takes.insert("a.example".into(), Duration::from_secs(5));
    for _ in 0..3 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(1));
    world.feed(Input::Policy(Box::new(policy())));
    world.run_for(Duration::from_secs(60));
    assert_eq!((world.sent_by.len(), world.opened.len()), (3, 2));
}

#[test]
fn domains_that_do_not_exist_are_forgotten_when_their_mail_has_ended() {
    let mut world = World::new(policy(), |_, _| ok());
    for n in 0..20_000 {
        let gone = format!("d{n}.example");
        world.no_such_domain.insert(gone.clone());
        world.arrive("default", &[&gone]);
    }
    world.takes.insert("slow.example".into(), Duration::from_secs(30));
    world.arrive("default", &["slow.example"]);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.dispatcher.queued(), (1, 1));
    assert!(world.dispatcher.domains() <= 1025, "{}", world.dispatcher.domains());
}
