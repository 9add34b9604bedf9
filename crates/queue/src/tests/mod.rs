//! The dispatcher in simulated time.

mod budget;
mod clock;
mod deadlines;
mod guarded;
mod halt;
mod hosts;
mod logins;
mod passing;
mod questions;
mod shares;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Plan, Shape};
use posthaste_mail::{Domain, MessageId, Name, TransferPriority};
use posthaste_message::{Progress, SavedRecipient};

use super::{testing::*, *};

#[test]
fn a_week_of_retries_for_ten_thousand_messages_ends_each_story_once_and_on_schedule() {
    let start: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    let mut world = World::new(policy(), move |job, now| match job.seq % 4 {
        0 => ok(),
        1 if now.duration_since(start) > SignedDuration::from_hours(30) => ok(),
        2 if job.attempt == 3 => refused(550, "5.1.1 no such user"),
        _ => refused(451, "4.3.0 try later"),
    });
    let domains: Vec<String> = (0..50).map(|i| format!("d{i}.example")).collect();
    for i in 0..10_000 {
        world.arrive("default", &[&domains[i % 50]]);
    }
    world.run_for(Duration::from_secs(8 * 86_400));

    assert_eq!(world.dispatcher.queued(), (0, 0));
    assert_eq!(world.dispatcher.sessions(), 0);
    let mut endings: HashMap<Seq, usize> = HashMap::new();
    for (_, seq, _, _, next) in &world.log {
        *endings.entry(*seq).or_default() += usize::from(is_ending(next));
    }
    assert_eq!(endings.len(), 10_000);
    assert!(endings.values().all(|n| *n == 1), "exactly one ending each");
    assert!(world.spool.values().all(Option::is_none), "the spool has forgotten them all");
    for seq in 1..=10_000 {
        let fates: Vec<_> = world.log.iter().filter(|l| l.1 == seq).collect();
        let last = fates.last().unwrap();
        match seq % 4 {
            0 => assert_eq!((fates.len(), &last.4), (1, &Next::Delivered)),
            1 => assert_eq!(last.4, Next::Delivered),
            2 => assert_eq!((fates.len(), &last.4), (3, &Next::Bounced)),
            _ => {
                assert_eq!(last.4, Next::Expired);
                let age = last.0.duration_since(start);
                // The last attempt is made when it expires.
                assert!(age >= SignedDuration::from_hours(120) && age < SignedDuration::from_hours(121), "{age:?}");
                // 5, 10, 20, 40 minutes, 1, 2 hours, then every 4: 35 or so in five days.
                assert!((33..=38).contains(&fates.len()), "{}", fates.len());
            }
        }
        for pair in fates.windows(2) {
            let Next::Deferred(due) = pair[0].4 else { panic!("only a deferral is followed by anything") };
            assert!(pair[1].0 >= due, "never before its time");
            assert!(pair[1].0.duration_since(due) < SignedDuration::from_mins(10), "nor long after");
        }
    }
}

#[test]
fn no_lane_and_no_relay_ever_has_more_connections_than_allowed() {
    let policy = Policy { connections: 12, limits: LaneLimits { connections: 5, ..policy().limits }, ..policy() };
    let mut world = World::new(policy, |_, _| ok());
    for i in 0..2000 {
        let domain = format!("d{}.example", i % 7);
        world.arrive("default", &[&domain]);
    }
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.dispatcher.queued().0, 0);
    assert!(world.most_sessions <= 12, "{}", world.most_sessions);
    assert!(world.most_by_lane.values().all(|n| *n <= 5), "{:?}", world.most_by_lane);
}

#[test]
fn a_slow_lane_costs_the_others_nothing() {
    let alone = time_for_fast(false);
    let beside = time_for_fast(true);
    assert!(beside.as_secs_f64() <= alone.as_secs_f64() * 1.05, "{alone:?} alone, {beside:?} beside a slow one");
}

/// How long 1,000 messages to a fast domain take, with or without 1,000 for one that takes 60 s each.
fn time_for_fast(slow: bool) -> SignedDuration {
    let mut world = World::new(policy(), |_, _| ok());
    world.takes.insert("slow.example".into(), Duration::from_secs(60));
    let start = world.now;
    let mut fast = HashSet::new();
    for _ in 0..1000 {
        if slow {
            world.arrive("default", &["slow.example"]);
        }
        fast.insert(world.arrive("default", &["fast.example"]));
    }
    world.run_for(Duration::from_secs(600));
    world.log.iter().filter(|l| fast.contains(&l.1)).map(|l| l.0).max().unwrap().duration_since(start)
}

#[test]
fn streams_take_turns_in_a_lane() {
    let policy = Policy { limits: LaneLimits { connections: 1, messages_per_connection: 10_000, ..policy().limits }, ..policy() };
    let mut world = World::new(policy, |_, _| ok());
    let bulk: HashSet<Seq> = (0..1000).map(|_| world.arrive("bulk", &["a.example"])).collect();
    let urgent: Vec<Seq> = (0..10).map(|_| world.arrive("urgent", &["a.example"])).collect();
    world.run_for(Duration::from_secs(600));
    let last_urgent = world.order.iter().position(|s| *s == urgent[9]).unwrap();
    let before = world.order[..last_urgent].iter().filter(|s| bulk.contains(s)).count();
    assert!(before <= 11, "{before} bulk messages went before the last urgent one");
}

#[test]
fn a_stream_with_twice_the_share_goes_out_twice_as_fast() {
    let mut policy = Policy { limits: LaneLimits { connections: 1, messages_per_connection: 10_000, ..policy().limits }, ..policy() };
    policy.streams.insert(Name::new("double").unwrap(), StreamPolicy { share: 20, ..policy.fallback.clone() });
    let mut world = World::new(policy, |_, _| ok());
    let double: HashSet<Seq> = (0..600).map(|_| world.arrive("double", &["a.example"])).collect();
    for _ in 0..600 {
        world.arrive("single", &["a.example"]);
    }
    world.run_for(Duration::from_secs(600));
    let early = world.order[..300].iter().filter(|s| double.contains(s)).count();
    assert!((199..=201).contains(&early), "{early} of the first 300");
}

#[test]
fn mail_of_a_higher_priority_goes_out_faster_and_nothing_starves() {
    let mut world = World::new(
        Policy { limits: LaneLimits { connections: 1, messages_per_connection: 10_000, ..policy().limits }, ..policy() },
        |_, _| ok(),
    );
    let usual: HashSet<Seq> = (0..600).map(|_| world.arrive("default", &["a.example"])).collect();
    let high: HashSet<Seq> = (0..600).map(|_| world.arrive_with(TransferPriority::new(2).unwrap(), "default", &["a.example"])).collect();
    let highest: HashSet<Seq> = (0..20).map(|_| world.arrive_with(TransferPriority::new(9).unwrap(), "default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(600));
    let among = |first: usize, those: &HashSet<Seq>| world.order[..first].iter().filter(|s| those.contains(s)).count();
    assert_eq!(among(30, &highest), 20, "the last to come, and among the first to go");
    let (high, usual) = (among(320, &high), among(320, &usual));
    assert!(high + usual == 300 && (198..=202).contains(&high), "{high} to {usual}");
}

#[test]
fn a_streams_rate_counts_its_mail_of_every_priority_and_lets_the_higher_through_first() {
    let mut policy = policy();
    let shape = Shape { minute: std::num::NonZeroU32::new(10), ..Shape::default() };
    policy.streams.insert(Name::new("slow").unwrap(), StreamPolicy { shape, ..policy.fallback.clone() });
    let mut world = World::new(policy, |_, _| ok());
    for _ in 0..40 {
        world.arrive("slow", &["a.example"]);
    }
    let high: HashSet<Seq> = (0..10).map(|_| world.arrive_with(TransferPriority::new(5).unwrap(), "slow", &["a.example"])).collect();
    world.run_for(Duration::from_secs(119));
    let gone = world.order.len();
    assert!((18..=22).contains(&gone), "{gone} of one stream with 10 a minute");
    assert!(high.iter().all(|seq| world.order.contains(seq)), "{:?}", world.order);
}

#[test]
fn recipients_of_one_message_at_one_domain_share_a_transaction_up_to_the_limit() {
    let mut world = World::new(Policy { limits: LaneLimits { recipients_per_transaction: 3, ..policy().limits }, ..policy() }, |_, _| ok());
    world.arrive("default", &["a.example"; 7]);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.order.len(), 3);
    assert_eq!(world.log.len(), 7);
}

#[test]
fn recipients_with_reverse_paths_of_their_own_go_one_by_one() {
    let mut policy = policy();
    policy.streams.insert(Name::new("news").unwrap(), StreamPolicy { one_by_one: true, ..policy.fallback.clone() });
    let answer = |job: &DeliveryJob, _| if job.attempt > 1 { ok() } else { refused(451, "4.3.0 later") };
    let mut world = World::new(policy, answer);
    world.arrive("news", &["a.example"; 7]);
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.order.len(), 14, "also those that were deferred");
}

#[test]
fn hosts_out_of_reach_are_not_tried_with_every_message() {
    let mut world = World::new(policy(), |_, _| ok());
    world.dead.insert("dead.example".into());
    for _ in 0..1000 {
        world.arrive("default", &["dead.example"]);
    }
    world.run_for(Duration::from_secs(120));
    assert!(world.dispatcher.sessions() <= 20);
    assert_eq!(world.dispatcher.queued().0, 1000);
    assert_eq!(world.log.iter().filter(|l| matches!(l.4, Next::Deferred(_))).count(), 1000, "each has its line that says why");
    // Back up: all of it goes.
    world.dead.clear();
    world.run_for(Duration::from_secs(7200));
    assert_eq!(world.dispatcher.queued().0, 0);
}

#[test]
fn a_receiver_that_wants_fewer_connections_gets_them_and_no_message_suffers() {
    let mut world = World::new(policy(), |_, _| ok());
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(1));
    for _ in 0..100 {
        world.arrive("default", &["a.example"]);
    }
    // The one that is open keeps working; further ones are refused at the door.
    world.dead.insert("a.example".into());
    world.run_for(Duration::from_secs(300));
    assert_eq!(world.dispatcher.queued().0, 0);
    assert!(world.log.iter().all(|l| l.4 == Next::Delivered), "nothing was deferred for it");
}

#[test]
fn held_mail_waits_for_its_release_and_a_drop_ends_it() {
    let mut world = World::new(policy(), |job, _| if job.attempt == 1 { refused(451, "4.3.0 later") } else { ok() });
    let (kept, dropped) = (world.arrive("default", &["a.example"]), world.arrive("default", &["b.example"]));
    world.run_for(Duration::from_secs(60));
    let (n, actions) = world.dispatcher.hold(&MessageSelection::default(), "looks odd", world.now);
    world.perform(actions);
    assert_eq!(n, 2);
    assert!(world.spool[&kept].as_ref().unwrap().recipients[0].3, "the spool knows that it is held");
    world.run_for(Duration::from_secs(86_400));
    assert_eq!(world.dispatcher.queued().0, 2);
    let (n, actions) = world.dispatcher.cancel(
        &MessageSelection { domain: Some("b.example".into()), ..MessageSelection::default() },
        "me",
        "spam",
        world.now,
    );
    world.perform(actions);
    assert_eq!(n, 1);
    assert!(matches!(world.fates(dropped)[..], [Next::Deferred(_), Next::Held(_), Next::Cancelled(..)]));
    let (n, actions) = world.dispatcher.release(&MessageSelection::default(), "me", world.now);
    world.perform(actions);
    assert_eq!(n, 1);
    world.run_for(Duration::from_secs(60));
    assert!(matches!(world.fates(kept)[..], [Next::Deferred(_), Next::Held(_), Next::Released(_), Next::Delivered]));
    assert_eq!(world.dispatcher.queued(), (0, 0));
}

#[test]
fn a_drop_in_mid_flight_ends_with_that_attempt_and_only_the_recipients_it_was_meant_for() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    world.takes.insert("a.example".into(), Duration::from_secs(10));
    world.takes.insert("b.example".into(), Duration::from_secs(10));
    let seq = world.arrive("default", &["a.example", "b.example"]);
    world.run_for(Duration::from_secs(1));
    let (_, actions) = world.dispatcher.cancel(
        &MessageSelection { domain: Some("a.example".into()), ..MessageSelection::default() },
        "me",
        "no",
        world.now,
    );
    world.perform(actions);
    world.run_for(Duration::from_secs(20));
    assert!(matches!(world.fates(seq)[..], [Next::Cancelled(..), Next::Deferred(_)] | [Next::Deferred(_), Next::Cancelled(..)]));
    assert_eq!(world.dispatcher.queued(), (1, 1));
}

#[test]
fn a_retry_makes_all_due_now_and_nothing_goes_twice() {
    let mut world = World::new(policy(), |job, _| if job.attempt == 1 { refused(451, "4.3.0 later") } else { ok() });
    for _ in 0..100 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(60));
    let (n, actions) = world.dispatcher.retry(&MessageSelection::default(), false, world.now);
    world.perform(actions);
    assert_eq!(n, 100);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.dispatcher.queued().0, 0);
    world.run_for(Duration::from_secs(86_400));
    assert_eq!(world.log.iter().filter(|l| l.4 == Next::Delivered).count(), 100);
}

#[test]
fn a_retry_of_one_domain_asks_dns_for_that_one_alone() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    world.arrive("default", &["a.example"]);
    world.arrive("default", &["b.example"]);
    world.run_for(Duration::from_secs(10));
    let before = world.asked.len();
    let (_, actions) =
        world.dispatcher.retry(&MessageSelection { domain: Some("b.example".into()), ..MessageSelection::default() }, false, world.now);
    world.perform(actions);
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    let asked: Vec<&str> = world.asked[before..].iter().map(|(_, domain)| domain.as_str()).collect();
    assert_eq!(asked, ["b.example"]);
}

#[test]
fn a_message_from_the_spool_goes_on_where_it_stood() {
    let mut world = World::new(policy(), |_, _| ok());
    let due = super::times::later(world.now, Duration::from_secs(1000));
    let saved = |rcpt, held| SavedRecipient(rcpt, 4, due.as_millisecond(), held);
    let arrival = Arrival {
        seq: 9,
        id: MessageId::new(world.now, 9),
        arrived: world.now,
        put_off: None,
        stream: Name::new("default").unwrap(),
        user: None,
        priority: TransferPriority::default(),
        deliver_by: None,
        size: 10,
        domains: ["a.example", "b.example", "c.example"].map(|d| Domain::new(d).unwrap()).to_vec(),
        progress: Some(Progress::of(vec![saved(1, false), saved(2, true)])),
        guarded: None,
        warm: None,
    };
    world.feed(Input::Arrived(Box::new(arrival)));
    assert_eq!(world.dispatcher.queued(), (1, 2), "the first recipient had its ending before");
    world.run_for(Duration::from_secs(999));
    assert!(world.log.is_empty(), "not before its time");
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.log.iter().map(|l| (l.2, l.3, l.4.clone())).collect::<Vec<_>>(), [(1, 5, Next::Delivered)]);
    assert_eq!(world.dispatcher.queued(), (1, 1), "the third is held");
}

#[test]
fn draining_opens_nothing_and_closes_what_is_idle() {
    let mut world = World::new(policy(), |_, _| ok());
    world.takes.insert("slow.example".into(), Duration::from_secs(30));
    world.arrive("default", &["a.example"]);
    world.arrive("default", &["slow.example"]);
    world.run_for(Duration::from_secs(1));
    world.feed(Input::Drain);
    assert_eq!(world.open.len(), 1, "the one at work goes on");
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.open.len(), 0);
    assert_eq!(world.dispatcher.queued().0, 1, "what came late stays in the spool");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]
    #[test]
    fn every_recipient_ends_exactly_once_whatever_receivers_and_operators_do(
        messages in proptest::collection::vec(proptest::collection::vec(0usize..5, 1..6), 1..40),
        answers in proptest::collection::vec(0u8..4, 17),
        ops in proptest::collection::vec((0u8..4, 1u64..50_000), 0..8),
        dead in 0usize..5,
    ) {
        let table = answers;
        let mut world = World::new(Policy { connections: 3, limits: LaneLimits { connections: 2, messages_per_connection: 4, ..policy().limits }, ..policy() }, move |job, _| {
            match table[(job.seq as usize * 7 + job.attempt as usize) % table.len()] {
                0 | 1 => ok(),
                2 => refused(451, "4.3.0 later"),
                _ => refused(550, "5.1.1 no such user"),
            }
        });
        let names = ["a.example", "b.example", "c.example", "d.example", "e.example"];
        world.dead.insert(names[dead].into());
        let mut queued = 0;
        for message in &messages {
            queued += message.len();
            let domains: Vec<&str> = message.iter().map(|d| names[*d]).collect();
            world.arrive("default", &domains);
        }
        for (op, wait) in ops {
            let any = MessageSelection::default();
            let now = world.now;
            let (_, actions) = match op {
                0 => world.dispatcher.retry(&any, false, now),
                1 => world.dispatcher.hold(&any, "test", now),
                2 => world.dispatcher.release(&any, "test", now),
                _ => world.dispatcher.cancel(&MessageSelection { domain: Some(names[0].into()), ..any }, "test", "test", now),
            };
            world.perform(actions);
            world.run_for(Duration::from_secs(wait));
        }
        let now = world.now;
        let (_, actions) = world.dispatcher.release(&MessageSelection::default(), "test", now);
        world.perform(actions);
        world.run_for(Duration::from_secs(20 * 86_400));
        let mut ends: HashMap<(Seq, Rcpt), usize> = HashMap::new();
        for (_, seq, rcpt, _, next) in &world.log {
            *ends.entry((*seq, *rcpt)).or_default() += usize::from(is_ending(next));
        }
        proptest::prop_assert_eq!(world.dispatcher.queued(), (0, 0));
        proptest::prop_assert_eq!(ends.values().filter(|n| **n == 1).count(), queued);
        proptest::prop_assert!(ends.values().all(|n| *n == 1));
        proptest::prop_assert_eq!(world.dispatcher.sessions(), 0);
    }
}
