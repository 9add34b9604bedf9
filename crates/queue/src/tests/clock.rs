//! The clock is set while the relay runs or is down, in simulated time.

use std::num::NonZeroU32;

use posthaste_governor::{LaneKey, Overflow};

use super::{
    budget::{plan, warming},
    *,
};

const HOUR: i64 = 3600;

/// Sets the clock; what is under way goes on and takes the time that it takes.
fn set_clock(world: &mut World, seconds: i64) {
    let moved = |at: Timestamp| at + SignedDuration::from_secs(seconds);
    world.now = moved(world.now);
    world.pending = std::mem::take(&mut world.pending).into_iter().map(|((at, n), input)| ((moved(at), n), input)).collect();
    world.feed(Input::Wake);
}

fn is_delivered(world: &World, seq: Seq) -> bool {
    world.fates(seq).last() == Some(&&Next::Delivered)
}

/// The arrival of a stored message for one recipient, with what was saved of it.
fn saved(accepted: Timestamp, arrived: Timestamp, recipients: Vec<SavedRecipient>) -> Arrival {
    Arrival {
        seq: 9,
        id: MessageId::new(accepted, 9),
        arrived,
        put_off: None,
        stream: Name::new("default").unwrap(),
        user: None,
        priority: TransferPriority::default(),
        deliver_by: None,
        size: 10,
        domains: vec![Domain::new("a.example").unwrap()],
        progress: Some(Progress::of(recipients)),
        guarded: None,
        warm: None,
    }
}

#[test]
fn mail_due_in_five_minutes_is_due_in_five_minutes_when_the_clock_went_back() {
    for hours in [1, 48, 24 * 365] {
        let mut world = World::new(policy(), |job, _| if job.attempt == 1 { refused(451, "4.3.0 later") } else { ok() });
        let (one, two) = (world.arrive("default", &["a.example"]), world.arrive("default", &["a.example", "b.example"]));
        world.run_for(Duration::from_secs(60));
        set_clock(&mut world, -hours * HOUR);
        world.run_for(Duration::from_secs(180));
        assert!(!is_delivered(&world, one), "nor earlier");
        world.run_for(Duration::from_secs(120));
        assert!(is_delivered(&world, one) && is_delivered(&world, two), "{hours} hours: {:?}", world.fates(one));
        let told = |by: SignedDuration| (3600 * hours - 60..=3600 * hours).contains(&by.as_secs());
        assert!(matches!(world.clock_news[..], [ClockNews::WentBack { by }] if told(by)), "{:?}", world.clock_news);
    }
}

#[test]
fn a_clock_that_went_back_while_the_relay_was_down_delays_mail_no_longer_than_the_schedule() {
    let mut world = World::new(policy(), |job, _| if job.attempt == 1 { refused(451, "4.3.0 later") } else { ok() });
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(60));
    world.now -= SignedDuration::from_hours(48);
    let mut world = world.restarted(policy());
    world.run_for(Duration::from_secs(5 * 3600));
    assert!(is_delivered(&world, seq), "{:?}", world.fates(seq));
}

#[test]
fn mail_accepted_while_the_clock_was_ahead_waits_no_longer_than_the_schedule_and_is_not_scheduled() {
    let mut world = World::new(policy(), |_, _| ok());
    let ahead = super::super::times::later(world.now, Duration::from_secs(48 * 3600));
    // Its first session died before the message was offered, just when it had come: it is not tried yet, and due at once by that clock.
    let recipients = vec![SavedRecipient(0, 0, ahead.as_millisecond(), false)];
    let arrival = saved(ahead, ahead, recipients);
    world.feed(Input::Arrived(Box::new(arrival)));
    world.run_for(Duration::from_secs(5 * 3600));
    assert!(is_delivered(&world, 9), "{:?}", world.fates(9));
}

#[test]
fn a_time_that_a_sender_gave_is_by_the_clock() {
    let mut world = World::new(policy(), |_, _| ok());
    let at = super::super::times::later(world.now, Duration::from_secs(7200));
    let recipients = vec![SavedRecipient(0, 0, at.as_millisecond(), false)];
    let arrival = Arrival { put_off: Some(PutOff::Until), ..saved(world.now, at, recipients) };
    world.feed(Input::Arrived(Box::new(arrival)));
    set_clock(&mut world, -48 * HOUR);
    world.run_for(Duration::from_secs(86_400));
    assert!(world.log.is_empty(), "not before its time");
    world.run_for(Duration::from_secs(26 * 3600 + 60));
    assert!(world.log.iter().all(|l| l.4 == Next::Delivered && l.0 >= at) && world.log.len() == 1);
}

#[test]
fn a_wait_that_a_sender_gave_lasts_as_long_whatever_is_done_with_the_clock() {
    for down in [false, true] {
        let mut world = World::new(policy(), |_, _| ok());
        let at = super::super::times::later(world.now, Duration::from_secs(7200));
        let recipients = vec![SavedRecipient(0, 0, at.as_millisecond(), false)];
        let arrival = Arrival { put_off: Some(PutOff::For), ..saved(world.now, at, recipients) };
        if down {
            world.now -= SignedDuration::from_hours(48);
            world.feed(Input::Arrived(Box::new(arrival)));
        } else {
            world.feed(Input::Arrived(Box::new(arrival)));
            world.run_for(Duration::from_secs(600));
            world.feed(Input::Wake);
            set_clock(&mut world, -48 * HOUR);
        }
        let (began, rest) = (world.now, if down { 7200 } else { 6600 });
        world.run_for(Duration::from_secs(rest - 1));
        assert!(world.log.is_empty(), "not before its time");
        world.run_for(Duration::from_secs(60));
        assert!(is_delivered(&world, 9), "{down} {began}: {:?}", world.fates(9));
    }
}

#[test]
fn what_got_its_id_long_before_it_was_accepted_is_not_put_off() {
    // A request that was repeated with its Idempotency-Key after a crash, while the clock was ahead.
    let mut world = World::new(policy(), |_, _| ok());
    let ahead = super::super::times::later(world.now, Duration::from_secs(23 * 3600));
    let recipients = vec![SavedRecipient(0, 0, ahead.as_millisecond(), false)];
    world.feed(Input::Arrived(Box::new(saved(world.now, ahead, recipients))));
    world.run_for(Duration::from_secs(5 * 3600));
    assert!(is_delivered(&world, 9), "{:?}", world.fates(9));
}

#[test]
fn connections_routes_hosts_left_alone_and_rates_do_not_wait_for_the_clock_that_was_ahead() {
    let mut slow = Policy { idle: Duration::from_secs(20), ..policy() };
    slow.fallback.shape = Shape { minute: NonZeroU32::new(10), ..Shape::default() };
    let mut world = World::new(slow, |_, _| ok());
    for _ in 0..20 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(30));
    let (delivered, asked) = (world.log.iter().filter(|l| l.4 == Next::Delivered).count(), world.asked.len());
    assert!((1..20).contains(&delivered) && world.dispatcher.sessions() > 0);
    set_clock(&mut world, -48 * HOUR);
    world.run_for(Duration::from_secs(180));
    assert_eq!(world.dispatcher.queued(), (0, 0), "the rest goes by the stream's rate");
    world.run_for(Duration::from_secs(21));
    assert_eq!(world.dispatcher.sessions(), 0, "idle connections are closed");
    assert!(world.asked.len() > asked, "DNS was asked again");

    let mut world = World::new(policy(), |_, _| ok());
    world.dead.insert("a.example".into());
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(31));
    set_clock(&mut world, -48 * HOUR);
    world.dead.clear();
    world.run_for(Duration::from_secs(61));
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(5));
    assert!(is_delivered(&world, seq), "hosts are left alone for a minute");
}

#[test]
fn a_lane_without_a_cap_goes_on_and_one_with_a_cap_waits_and_says_until_when() {
    let mut both = warming(plan(&[100, 200], Overflow::Defer), &[]);
    let warm = PoolPolicy { sources: vec![(Name::new("ip2").unwrap(), 1)], relieve: true };
    both.pools.insert(Name::new("warm").unwrap(), warm);
    both.streams.insert(Name::new("free").unwrap(), StreamPolicy { pool: Name::new("warm").unwrap(), ..both.fallback.clone() });
    let mut world = World::new(both, |_, _| ok());
    for days in 0..2 {
        for stream in ["default", "free"] {
            let seq = world.arrive(stream, &["a.example"]);
            world.run_for(Duration::from_secs(60));
            assert!(is_delivered(&world, seq), "{days} {stream}");
        }
        if days == 0 {
            world.run_for(Duration::from_secs(86_400));
        }
    }
    let there = world.now;
    set_clock(&mut world, -24 * HOUR);
    let (capped, free) = (world.arrive("default", &["a.example"]), world.arrive("free", &["a.example"]));
    world.run_for(Duration::from_secs(60));
    assert!(is_delivered(&world, free) && !is_delivered(&world, capped));
    let until = "2026-11-24T00:00:00Z".parse().unwrap();
    let lane = LaneKey::new("ip1", "a.example");
    assert!(world.clock_news.contains(&ClockNews::LaneWaits { lane: lane.clone(), until }), "{:?}", world.clock_news);
    assert!(!world.clock_news.iter().any(|news| matches!(news, ClockNews::LaneGoesOn { .. })));
    world.run(until + SignedDuration::from_mins(2));
    world.feed(Input::Wake);
    assert!(is_delivered(&world, capped), "with the next day's budget, which was not refilled");
    assert_eq!(world.clock_news.last(), Some(&ClockNews::LaneGoesOn { lane }));
    world.run(there);
    assert_eq!(world.clock_news.iter().filter(|news| matches!(news, ClockNews::LaneWaits { .. })).count(), 1, "and says it once");
}

#[test]
fn a_step_forward_expires_nothing_that_waits_for_budget_before_a_days_budget_came() {
    let mut world = World::new(warming(plan(&[50, 100], Overflow::Defer), &[]), |_, _| ok());
    let seqs: Vec<Seq> = (0..120).map(|_| world.arrive("default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(3600));
    set_clock(&mut world, 10 * 24 * HOUR);
    assert!(!world.log.iter().any(|l| l.4 == Next::Expired), "nothing at once");
    world.run_for(Duration::from_secs(2 * 86_400));
    let count = |next: &Next| seqs.iter().filter(|seq| world.fates(**seq).last() == Some(&next)).count();
    assert!(count(&Next::Delivered) >= 50, "{}", count(&Next::Delivered));
    assert_eq!(count(&Next::Delivered) + count(&Next::Expired), 120);
}

#[test]
fn a_step_forward_expires_nothing_that_had_no_attempt_since() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    let seqs: Vec<Seq> = (0..50).map(|_| world.arrive("default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(60));
    let tried = world.order.len();
    set_clock(&mut world, 30 * 24 * HOUR);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.order.len(), tried + 50, "one more attempt each");
    assert!(seqs.iter().all(|seq| world.fates(*seq).last() == Some(&&Next::Expired)));
}

#[test]
fn why_mail_waits_is_told_by_the_clock_as_it_is_also_after_it_is_right_again() {
    let mut world = World::new(warming(plan(&[5, 5], Overflow::Defer), &[]), |_, _| ok());
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(86_400));
    let seqs: Vec<Seq> = (0..8).map(|_| world.arrive("default", &["a.example"])).collect();
    world.run_for(Duration::from_secs(12 * 3600));
    let waits = seqs[7];
    assert!(!is_delivered(&world, waits));
    let why = |world: &mut World| {
        let (selection, now) = (MessageSelection::one(MessageId::new(world.arrivals[&waits].2, u128::from(waits))), world.now);
        let question = Question::Why { selection, limit: 10, provider: None, sources: Vec::new() };
        let (Answer::Why(reasons), _) = world.dispatcher.answer(question, now) else { panic!("reasons were asked for") };
        format!("{reasons:?}")
    };
    let says_back = |world: &mut World| why(world).contains("the clock went back");
    assert!(!says_back(&mut world), "{}", why(&mut world));
    for hours in [24, 36] {
        set_clock(&mut world, -hours * HOUR);
        world.run_for(Duration::from_secs(30));
        assert!(says_back(&mut world), "{}", why(&mut world));
        set_clock(&mut world, hours * HOUR);
        // DNS is asked again first.
        world.run_for(Duration::from_secs(2));
        let told = why(&mut world);
        assert!(!told.contains("went back"), "{told} {:?}", world.now);
        let lanes = world.clock_news.iter().rev().find(|news| !matches!(news, ClockNews::WentBack { .. }));
        assert!(matches!(lanes, Some(ClockNews::LaneGoesOn { .. })), "{:?}", world.clock_news);
        assert!(
            !matches!(world.log.iter().rev().find(|l| l.1 == waits).map(|l| &l.4), Some(Next::Waits(wait)) if wait.reason == "day_over")
        );
    }
}
