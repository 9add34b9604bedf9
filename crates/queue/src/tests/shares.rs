//! Connections when they are short: silent hosts, and streams that take many.

use posthaste_mail::{Failure, LocalCause, Reply, Stage};

use super::*;
use crate::leaving_max;

const MOST: usize = 100;

/// A world with a hundred connections, in which so many hosts take five minutes to say nothing.
fn silent(hosts: usize) -> (World, Vec<String>) {
    let mut world = World::new(Policy { connections: MOST, ..policy() }, |_, _| ok());
    let names: Vec<String> = (0..hosts).map(|n| format!("tar{n}.example")).collect();
    world.dead.extend(names.iter().cloned());
    world.takes.extend(names.iter().map(|name| (name.clone(), Duration::from_secs(300))));
    (world, names)
}

/// The same with mail to twenty good domains every second. Returns how long it took at the median and at worst, in milliseconds.
fn good_mail_beside(world: &mut World, seconds: u64) -> (u128, u128) {
    let mut sent = Vec::new();
    for second in 0..seconds {
        let good = format!("good{}.example", second % 20);
        sent.push((world.arrive("default", &[&good]), world.now));
        world.run_for(Duration::from_secs(1));
    }
    world.run_for(Duration::from_secs(600));
    let mut took: Vec<u128> =
        sent.iter().map(|(seq, since)| delivered_after(world, *seq, *since).expect("it is delivered").as_millis()).collect();
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}

fn delivered_after(world: &World, seq: Seq, since: Timestamp) -> Option<Duration> {
    let line = world.log.iter().find(|line| line.1 == seq && line.4 == Next::Delivered)?;
    Some(line.0.duration_since(since).unsigned_abs())
}

#[test]
fn silent_hosts_hold_up_mail_of_their_stream_for_the_patience_and_no_longer() {
    let (mut world, names) = silent(3000);
    world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.run_for(Duration::from_secs(4));
    let (seq, since) = (world.arrive("default", &["good.example"]), world.now);
    world.run_for(Duration::from_secs(600));
    let took = delivered_after(&world, seq, since).expect("it is delivered");
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn a_stream_with_thousands_of_silent_hosts_holds_up_no_other_stream() {
    let (mut world, names) = silent(5000);
    world.arrive("bulk", &names.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..20 {
        world.run_for(Duration::from_secs(7));
        let (seq, since) = (world.arrive("resets", &["good.example"]), world.now);
        world.run_for(Duration::from_secs(1));
        assert!(delivered_after(&world, seq, since).is_some_and(|took| took < Duration::from_millis(200)), "a connection is free for it");
    }
}

/// Hosts that let sessions in and then say nothing for five minutes; sessions give up before they have sent the message, or after it.
fn stalled(hosts: usize, before_the_dot: bool) -> (World, Vec<String>) {
    let (mut world, names) = silent(hosts);
    world.stalled.extend(std::mem::take(&mut world.dead).into_iter().filter(|_| before_the_dot));
    world.judge = Some(Box::new(|_, host, _| match host.starts_with("tar") {
        true => {
            let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::Timeout, detail: "silence".into() };
            AttemptResult::Failed(failure.clone(), verdict(&failure))
        }
        false => AttemptResult::Delivered(Reply::new(250, "2.0.0 taken")),
    }));
    (world, names)
}

#[test]
fn hosts_that_stall_after_the_greeting_hold_up_mail_of_their_stream_for_the_patience_and_no_longer() {
    for (hosts, before_the_dot) in [(3000, true), (130, false)] {
        let (mut world, names) = stalled(hosts, before_the_dot);
        world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
        world.run_for(Duration::from_secs(4));
        let (seq, since) = (world.arrive("default", &["good.example"]), world.now);
        world.run_for(Duration::from_secs(60));
        let took = delivered_after(&world, seq, since).expect("it is delivered");
        assert!(took < Duration::from_secs(7), "{took:?}");
        let most = MOST + if before_the_dot { 0 } else { leaving_max(MOST) };
        assert!(world.dispatcher.sessions() <= most, "{} sessions", world.dispatcher.sessions());
    }
}

#[test]
fn no_more_sessions_are_told_to_leave_than_may_be_there_besides() {
    let (mut world, names) = stalled(3000, false);
    world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.run_for(Duration::from_secs(100));
    // The stream leaves a tenth of the others' connections free.
    assert_eq!(world.dispatcher.sessions(), 90 + leaving_max(MOST));
}

#[test]
fn a_user_with_thousands_of_silent_hosts_holds_up_no_other_user_of_its_stream() {
    let (mut world, names) = silent(5000);
    world.user = Some("bulk".into());
    world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..20 {
        world.user = Some("bulk".into());
        world.run_for(Duration::from_secs(7));
        world.user = Some("shop".into());
        let (seq, since) = (world.arrive("default", &["good.example"]), world.now);
        world.run_for(Duration::from_secs(1));
        assert!(delivered_after(&world, seq, since).is_some_and(|took| took < Duration::from_millis(200)), "a connection is free for it");
    }
}

#[test]
fn users_of_a_stream_take_turns_at_a_receiver() {
    let mut world = World::new(policy(), |_, _| ok());
    world.takes.insert("a.example".into(), Duration::from_secs(1));
    world.user = Some("bulk".into());
    let many: Vec<Seq> = (0..2000).map(|_| world.arrive("default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(2));
    world.user = Some("shop".into());
    let (few, since): (Vec<Seq>, _) = ((0..20).map(|_| world.arrive("default", &["a.example"])).collect(), world.now);
    world.run_for(Duration::from_secs(5));
    assert!(few.iter().all(|seq| delivered_after(&world, *seq, since).is_some()), "every second connection is theirs");
    assert!(many.iter().filter(|seq| delivered_after(&world, **seq, since).is_some()).count() > 60, "and the others go on");
}

#[test]
fn dns_is_asked_for_each_user_that_waits_so_that_nobody_waits_for_anothers_turn() {
    let mut world = World::new(policy(), |_, _| ok());
    for user in ["bulk", "bulk", "shop"] {
        world.user = Some(user.into());
        world.arrive("default", &["a.example"]);
    }
    assert_eq!(world.asked.len(), 2);
    world.run_for(Duration::from_secs(5));
    assert_eq!((world.asked.len(), world.log.len()), (2, 3));
}

#[test]
fn a_question_that_gave_way_says_nothing_while_another_users_is_open() {
    for fails_first in [true, false] {
        let mut world = World::new(policy(), |_, _| ok());
        for (user, fails) in [("bulk", fails_first), ("shop", !fails_first)] {
            world.nowhere = fails.then(|| "a.example".to_owned()).into_iter().collect();
            world.user = Some(user.into());
            world.arrive("default", &["a.example"]);
        }
        world.run_for(Duration::from_secs(5));
        assert!(world.log.len() == 2 && world.log.iter().all(|line| line.4 == Next::Delivered), "{:?}", world.log);
        world.arrive("default", &["a.example"]);
        assert_eq!(world.asked.len(), 2, "the route is known");
    }
}

#[test]
fn a_slow_receiver_has_its_time_while_nobody_else_needs_the_connection() {
    let (mut world, names) = silent(89);
    world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.run_for(Duration::from_secs(299));
    assert!(world.log.is_empty() && world.dispatcher.sessions() == 89);
}

#[test]
fn after_a_retry_of_all_mail_for_hosts_that_answer_does_not_wait_for_those_that_were_silent_before() {
    for tried_before in [false, true] {
        let (mut world, names) = silent(1000);
        let domains: Vec<String> = (0..20).map(|n| format!("good{n}.example")).collect();
        world.arrive("default", &domains.iter().map(String::as_str).collect::<Vec<_>>());
        world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
        if tried_before {
            world.run_for(Duration::from_secs(400));
        }
        let now = world.now;
        let (_, actions) = world.dispatcher.retry(&crate::MessageSelection::default(), false, now);
        world.perform(actions);
        let (median, worst) = good_mail_beside(&mut world, 60);
        match tried_before {
            true => assert!(median < 200 && worst < 300, "median {median} ms, worst {worst} ms"),
            false => assert!(worst < 7_000, "nobody knows yet who is silent: {worst} ms"),
        }
    }
}

#[test]
fn hosts_that_were_silent_before_take_half_of_the_free_connections_and_are_all_tried_again() {
    let (mut world, names) = silent(1000);
    world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.run_for(Duration::from_secs(400));
    let (now, before) = (world.now, world.opened.len());
    let (_, actions) = world.dispatcher.retry(&crate::MessageSelection::default(), false, now);
    world.perform(actions);
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.dispatcher.sessions(), MOST / 2);
    let asked = Question::Why { selection: MessageSelection::default(), limit: 1000, provider: None, sources: vec![] };
    let (Answer::Why(reasons), _) = world.dispatcher.answer(asked, world.now) else { unreachable!() };
    let told = reasons.waiting.first.iter().filter(|waits| waits.standing.held.why.contains("its hosts were silent the last time"));
    assert!(told.count() > 500, "the operator hears why they wait");
    world.run_for(Duration::from_secs(110));
    let mut tried: Vec<&str> = world.opened[before..].iter().map(|(_, host)| host.as_str()).collect();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 1000 - MOST / 2, "50 every five seconds; the retry found 50 under way");
}

#[test]
fn hosts_that_were_silent_once_have_all_their_connections_again_when_they_answer() {
    let (mut world, _) = stalled(1, true);
    world.takes.insert("tar0.example".into(), Duration::from_secs(20));
    world.arrive("default", &["tar0.example"]);
    world.run_for(Duration::from_secs(30));
    world.judge = None;
    let many: Vec<Seq> = (0..40).map(|_| world.arrive("default", &["tar0.example"])).collect();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.dispatcher.sessions(), 1, "whether it answers is not known yet");
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.dispatcher.sessions(), 20);
    world.run_for(Duration::from_secs(60));
    assert!(many.iter().all(|seq| world.fates(*seq).iter().any(|next| **next == Next::Delivered)));
}
