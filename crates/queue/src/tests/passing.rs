//! Hosts that are out of reach: what is passed over is not tried, and what expires has had its chance. In simulated time.

use posthaste_mail::{Failure, LocalCause, Stage};

use super::*;

/// Tries every five seconds, gives up after forty.
fn short_lived() -> Policy {
    let mut policy = policy();
    policy.fallback.retry = Retry { schedule: vec![Duration::from_secs(5)], jitter: 0.0, expire: Duration::from_secs(40) };
    policy
}

/// A world in which connections to `a.example` are refused within milliseconds.
fn refusing(policy: Policy) -> World {
    let mut world = World::new(policy, |_, _| ok());
    world.dead.insert("a.example".into());
    world.takes.insert("a.example".into(), Duration::from_millis(2));
    world
}

fn seconds(world: &World, start: Timestamp) -> Vec<i64> {
    world.opened.iter().map(|(at, _)| at.duration_since(start).as_secs()).collect()
}

/// The seconds, attempts and fates of a message.
fn story(world: &World, start: Timestamp, seq: Seq) -> Vec<(i64, u32, String)> {
    let word = |next: &Next| format!("{next:?}").split('(').next().unwrap_or_default().to_owned();
    world.log.iter().filter(|l| l.1 == seq).map(|l| (l.0.duration_since(start).as_secs(), l.3, word(&l.4))).collect()
}

#[test]
fn a_host_is_passed_over_no_longer_than_the_messages_own_wait() {
    let mut world = refusing(short_lived());
    let start = world.now;
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(3));
    world.dead.clear();
    world.run_for(Duration::from_secs(60));
    assert_eq!(story(&world, start, seq), [(0, 1, "Deferred".into()), (5, 2, "Delivered".into())]);
}

#[test]
fn every_attempt_that_is_counted_is_a_connection_and_the_last_one_is_made_when_the_message_expires() {
    let mut world = refusing(short_lived());
    let start = world.now;
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(600));
    let story = story(&world, start, seq);
    assert_eq!(seconds(&world, start), [0, 5, 10, 15, 20, 25, 30, 35, 40]);
    assert_eq!(story.last(), Some(&(40, 9, "Expired".into())));
}

#[test]
fn what_is_passed_over_is_no_attempt_and_what_expires_shares_a_connection_made_in_its_last_moment() {
    let mut world = refusing(Policy { connections: 2, ..policy() });
    world.takes.insert("a.example".into(), Duration::from_secs(30));
    let start = world.now;
    for _ in 0..500 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(6 * 86_400));
    assert_eq!(world.dispatcher.queued(), (0, 0));
    let expire = policy().fallback.retry.expire.as_secs().cast_signed();
    let untried = world.log.iter().filter(|l| l.3 == 0).count();
    assert!(untried >= 498, "passed over before their first attempt: {untried}");
    for seq in 1..=500 {
        let story = story(&world, start, seq);
        let (last, before) = story.split_last().unwrap();
        assert_eq!((last.2.as_str(), last.1), ("Expired", before.last().unwrap().1 + 1), "the last attempt was one: {story:?}");
        assert!(seconds(&world, start).iter().any(|at| (expire..=last.0 - 29).contains(at)), "a connection began after it was due");
    }
    let at_the_end = seconds(&world, start).iter().filter(|at| **at >= expire).count();
    assert!(at_the_end <= 6, "and not one for each message: {at_the_end}");
    let before = world.opened.len() - at_the_end;
    assert!(before <= 1500, "nor before: one for the shortest wait, {before} in five days");
}

#[test]
fn restarts_forget_how_often_a_recipient_was_passed_over_and_take_no_ones_last_chance() {
    let few = || Policy { connections: 2, ..policy() };
    let mut world = refusing(few());
    world.takes.insert("a.example".into(), Duration::from_secs(30));
    let start = world.now;
    for _ in 0..50 {
        world.arrive("default", &["a.example"]);
    }
    for _ in 0..6 * 12 {
        world.run_for(Duration::from_secs(2 * 3600));
        world = world.restarted(few());
    }
    assert_eq!(world.dispatcher.queued(), (0, 0));
    let expire = policy().fallback.retry.expire.as_secs().cast_signed();
    assert!(seconds(&world, start).iter().any(|at| *at >= expire - 29), "a connection in their last moment");
    for seq in 1..=50 {
        let story = story(&world, start, seq);
        let (last, before) = story.split_last().unwrap();
        assert_eq!((last.2.as_str(), last.1), ("Expired", before.last().unwrap().1 + 1), "the last attempt was one: {story:?}");
        assert!(story.is_sorted_by_key(|told| told.1), "no attempt is forgotten: {story:?}");
    }
}

#[test]
fn a_message_to_be_delivered_by_a_time_has_a_last_attempt_before_it() {
    for (lives, last) in [(50, 37), (25, 18), (300, 270)] {
        let mut policy = policy();
        policy.fallback.retry.schedule = vec![Duration::from_secs(3600)];
        let mut world = refusing(policy);
        world.arrive("default", &["a.example"]);
        world.run_for(Duration::from_secs(2));
        let (start, opened) = (world.now, world.opened.len());
        let by = Deadline { at: super::super::times::later(start, Duration::from_secs(lives)), returns: true };
        let seq = world.arrive_by(Some(by), TransferPriority::default(), "default", &["a.example"]);
        world.run_for(Duration::from_secs(lives - 1));
        let real: Vec<i64> = world.opened[opened..].iter().map(|(at, _)| at.duration_since(start).as_secs()).collect();
        assert_eq!(real, [last], "{lives}: {:?}", story(&world, start, seq));
        world.run_for(Duration::from_secs(5));
        assert_eq!(story(&world, start, seq).last().map(|l| l.2.clone()), Some("Expired".into()));
    }
}

#[test]
fn a_last_attempt_that_could_not_tell_the_receiver_a_second_is_not_made() {
    let mut policy = policy();
    policy.fallback.retry.schedule = vec![Duration::from_secs(3600)];
    let mut world = refusing(policy);
    let start = world.now;
    let by = Deadline { at: super::super::times::later(start, Duration::from_secs(4)), returns: true };
    let seq = world.arrive_by(Some(by), TransferPriority::default(), "default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.opened.len(), 1);
    assert_eq!(story(&world, start, seq).last().map(|l| l.2.clone()), Some("Expired".into()));
}

#[test]
fn what_the_relay_itself_cannot_try_expires_nothing_and_has_its_attempt_when_it_can() {
    for cause in [LocalCause::RelayUnable, LocalCause::Shutdown] {
        let began = World::new(short_lived(), |_, _| ok()).now;
        let mut world = World::new(short_lived(), move |_, now| {
            let ours = Failure::Local { stage: Stage::Mail, cause, detail: "no disk".into() };
            if now < began + Duration::from_secs(120) { Err(ours) } else { refused(451, "4.3.0 later") }
        });
        let seq = world.arrive("default", &["a.example"]);
        world.run_for(Duration::from_secs(119));
        let told = story(&world, began, seq);
        assert!(told.iter().all(|(_, attempt, next)| (*attempt, next.as_str()) == (0, "Deferred")), "{told:?}");
        assert!((20..=24).contains(&told.len()), "every five seconds: {told:?}");
        world.run_for(Duration::from_secs(10));
        assert_eq!(story(&world, began, seq).last().map(|l| (l.1, l.2.clone())), Some((1, "Expired".into())), "after a try that was one");
    }
}

#[test]
fn what_the_relay_itself_cannot_try_comes_back_all_the_same_by_the_time_that_its_sender_gave() {
    let began = World::new(short_lived(), |_, _| ok()).now;
    let mut world = World::new(short_lived(), move |_, now| {
        let ours = Failure::Local { stage: Stage::Mail, cause: LocalCause::RelayUnable, detail: "no disk".into() };
        if now < began + Duration::from_secs(21) { Err(ours) } else { ok() }
    });
    // The attempt under way at that time takes a second.
    world.takes.insert("a.example".into(), Duration::from_secs(1));
    for lives in 10..=20 {
        let by = Deadline { at: super::super::times::later(began, Duration::from_secs(lives)), returns: true };
        world.arrive_by(Some(by), TransferPriority::default(), "default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(60));
    for seq in 1..=11 {
        assert_eq!(story(&world, began, seq).last().map(|l| l.2.clone()), Some("Expired".into()), "{seq}");
    }
}

#[test]
fn sessions_that_fail_together_are_one_failure() {
    let mut world = refusing(policy());
    world.takes.insert("a.example".into(), Duration::from_secs(30));
    for _ in 0..20 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(40));
    assert_eq!(world.opened.len(), 20);
    let seq = world.arrive("default", &["a.example"]);
    (world.dead, world.takes) = Default::default();
    assert!(matches!(world.fates(seq)[..], [Next::Deferred(_)]), "just out of reach");
    world.run_for(Duration::from_secs(55));
    let next = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.fates(next), [&Next::Delivered], "left alone for a minute, not for half an hour");
}

#[test]
fn dns_that_had_no_answer_is_asked_again_before_a_message_expires() {
    let mut world = World::new(short_lived(), |_, _| ok());
    world.nowhere.insert("a.example".into());
    let start = world.now;
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(600));
    let asked = world.asked.len();
    assert_eq!(story(&world, start, seq).last(), Some(&(40, 9, "Expired".into())));
    assert_eq!(asked, 9, "each attempt is a question");

    let mut long = policy();
    long.fallback.retry.schedule = vec![Duration::from_secs(600)];
    let mut world = World::new(long, |_, _| ok());
    world.nowhere.insert("a.example".into());
    for _ in 0..100 {
        world.arrive("default", &["a.example"]);
        world.run_for(Duration::from_millis(100));
    }
    assert_eq!(world.asked.len(), 1, "but not for each message");
    assert!(world.log.iter().filter(|l| l.1 > 1).all(|l| l.3 == 0), "what did not ask was not tried");
}

#[test]
fn an_attempt_from_before_the_clock_was_set_is_not_the_last_one() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    world.takes.insert("a.example".into(), Duration::from_secs(20));
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(1));
    world.now = super::super::times::later(world.now, Duration::from_secs(30 * 86_400));
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.order.len(), 2, "it is tried again at once");
    assert!(matches!(world.fates(seq)[..], [Next::Deferred(_), Next::Expired]), "{:?}", world.fates(seq));
}

#[test]
fn a_pause_that_outlives_a_message_takes_not_its_last_attempt() {
    for (text, code) in [("4.7.1 Too many messages, slow down", 451), ("4.7.1 Client host blocked using bl.spamcop.net", 450)] {
        for known in [true, false] {
            let mut world = World::new(short_lived(), move |_, now| if now < after_start(3) { refused(code, text) } else { ok() });
            let start = world.now;
            let seq = world.arrive("default", &["a.example"]);
            world.run_for(Duration::from_secs(20));
            if !known {
                world.feed(Input::Policy(Box::new(short_lived())));
            }
            world.run_for(Duration::from_secs(600));
            let story: Vec<_> = story(&world, start, seq).into_iter().filter(|told| told.2 != "Waits").collect();
            assert_eq!(story, [(0, 1, "Deferred".into()), (40, 2, "Delivered".into())], "{text}");
        }
    }
}

#[test]
fn the_last_attempt_in_a_pause_ends_with_what_the_receiver_says_then() {
    let mut world = World::new(short_lived(), |_, _| refused(451, "4.7.1 Too many messages, slow down"));
    let start = world.now;
    let seqs: Vec<Seq> = (0..5).map(|_| world.arrive("default", &["a.example", "a.example"])).collect();
    world.run_for(Duration::from_secs(600));
    for seq in seqs {
        let ends: Vec<_> = story(&world, start, seq).into_iter().filter(|told| told.2 == "Expired").collect();
        assert!(ends.len() == 2 && ends.iter().all(|end| (40..=41).contains(&end.0)), "{ends:?}");
        assert!(world.offered.iter().any(|(at, _)| at.duration_since(start).as_secs() == 40), "{ends:?}");
    }
    assert_eq!(world.dispatcher.queued(), (0, 0));
}

#[test]
fn a_message_to_be_delivered_by_a_time_is_tried_before_it_in_a_pause_too() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.7.1 Too many messages, slow down"));
    let start = world.now;
    let by = Deadline { at: super::super::times::later(start, Duration::from_secs(240)), returns: true };
    let seq = world.arrive_by(Some(by), TransferPriority::default(), "default", &["a.example"]);
    world.run_for(Duration::from_secs(600));
    let told: Vec<_> = story(&world, start, seq).into_iter().filter(|told| told.2 != "Waits").collect();
    assert_eq!(told, [(0, 1, "Deferred".into()), (210, 2, "Deferred".into()), (240, 2, "Expired".into())]);
}

#[test]
fn neither_a_cap_nor_an_operator_gives_way_to_a_last_attempt() {
    let mut capped = super::budget::warming(super::budget::plan(&[1], posthaste_governor::Overflow::Defer), &[]);
    capped.fallback.retry = short_lived().fallback.retry;
    let mut world = World::new(capped, |_, _| refused(451, "4.7.1 Too many messages, slow down"));
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(600));
    assert_eq!((world.offered.len(), world.fates(seq).last()), (1, Some(&&Next::Expired)), "the day's one is used");

    let mut world = World::new(short_lived(), |_, _| refused(451, "4.3.0 later"));
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(2));
    let lane = world.dispatcher.governor().lanes().next().unwrap().0;
    let now = world.now;
    world.dispatcher.governor_mut().steer(lane, posthaste_governor::Steer::Stop, &"by hand".into(), now);
    world.run_for(Duration::from_secs(600));
    assert_eq!((world.offered.len(), world.fates(seq).last()), (1, Some(&&Next::Expired)), "an operator stopped the lane");
}

/// This many seconds after a world begins.
fn after_start(seconds: u64) -> Timestamp {
    super::super::times::later("2026-11-23T00:00:00Z".parse().unwrap(), Duration::from_secs(seconds))
}
