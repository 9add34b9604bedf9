//! Deliveries whose endings cannot be written down, in simulated time.

use super::*;

/// A hundred and fifty results may be unwritten.
fn limited() -> Policy {
    Policy { unlogged_max: 150, ..policy() }
}

fn queued(world: &mut World, n: usize) {
    for i in 0..n {
        world.arrive("default", &[["a.example", "b.example", "c.example"][i % 3]]);
    }
}

fn delivered(world: &World) -> usize {
    world.log.iter().filter(|l| l.4 == Next::Delivered).count()
}

#[test]
fn while_the_log_is_stuck_no_more_goes_than_the_limit_and_what_was_in_flight() {
    let mut world = World::new(limited(), |_, _| ok());
    world.log_is_stuck = true;
    queued(&mut world, 4000);
    world.run_for(Duration::from_secs(3600));
    let went = delivered(&world);
    assert!((150..=150 + 50).contains(&went), "{went}: the limit, and one for each connection");
    assert!(world.dispatcher.halted().unwrap().contains("results are not on disk"), "{:?}", world.dispatcher.halted());
    let asked = Question::Why { selection: MessageSelection::default(), limit: 5, provider: None, sources: vec![] };
    let (answer, _) = world.dispatcher.answer(asked, world.now);
    let Answer::Why(reasons) = answer else { unreachable!() };
    assert_eq!(reasons.halted, world.dispatcher.halted());
    assert!(
        reasons
            .waiting
            .first
            .iter()
            .all(|waits| waits.standing.state == "halted" && waits.standing.held.why == reasons.halted.clone().unwrap())
    );
    // The log is written again: all of it goes, each message once.
    world.log_is_stuck = false;
    world.log_all();
    world.run_for(Duration::from_secs(600));
    assert_eq!((delivered(&world), world.dispatcher.queued(), world.dispatcher.halted()), (4000, (0, 0), None));
}

#[test]
fn deliveries_go_on_only_when_half_of_the_limit_is_free() {
    let mut world = World::new(limited(), |_, _| ok());
    world.log_is_stuck = true;
    queued(&mut world, 1000);
    world.run_for(Duration::from_secs(60));
    let went = delivered(&world);
    world.feed(Input::Logged(None, went - 76));
    world.run_for(Duration::from_secs(1));
    assert_eq!(delivered(&world), went, "76 are too many yet");
    world.feed(Input::Logged(None, 1));
    world.run_for(Duration::from_secs(1));
    assert!(delivered(&world) > went);
}

#[test]
fn while_log_or_spool_fail_nothing_goes_nothing_is_decided_and_nothing_is_lost() {
    let mut world = World::new(limited(), |job, _| if job.attempt == 1 { refused(451, "4.3.0 later") } else { ok() });
    queued(&mut world, 300);
    world.run_for(Duration::from_secs(60));
    let open = world.open.len();
    world.feed(Input::Trouble(Some("No space left on device".into())));
    let (lines, tried) = (world.log.len(), world.order.len());
    // New mail, retries, an operator's retry, hosts that are dead: everything stays where it is, for days.
    world.dead.insert("a.example".into());
    queued(&mut world, 30);
    world.run_for(Duration::from_secs(86_400));
    let (_, actions) = world.dispatcher.retry(&MessageSelection::default(), false, world.now);
    world.perform(actions);
    world.run_for(Duration::from_secs(7 * 86_400));
    assert_eq!((world.log.len(), world.order.len(), world.dispatcher.queued().0), (lines, tried, 330), "{open}");
    assert!(world.dispatcher.next_wake().is_none_or(|wake| wake > world.now), "and nobody is woken for it all the time");
    let (answer, _) = world.dispatcher.answer(Question::Table, world.now);
    let Answer::Table(table) = answer else { unreachable!() };
    assert!(table.halted.unwrap().contains("No space left on device"));
    world.dead.clear();
    world.feed(Input::Trouble(None));
    world.run_for(Duration::from_secs(86_400));
    assert_eq!(world.dispatcher.queued(), (0, 0));
    assert_eq!(delivered(&world), 330, "also what was too old by then had its last attempt, or another");
}

#[test]
fn what_is_in_flight_ends_and_its_connections_stay() {
    let mut world = World::new(Policy { idle: Duration::from_secs(3600), ..limited() }, |_, _| ok());
    queued(&mut world, 300);
    world.run_for(Duration::from_millis(40));
    let (open, under_way) = (world.open.len(), world.order.len());
    let kept: Vec<SessionId> = world.open.keys().copied().collect();
    assert!(open > 0 && delivered(&world) < under_way);
    world.feed(Input::Trouble(Some("EIO".into())));
    world.run_for(Duration::from_secs(60));
    assert_eq!((world.open.len(), world.order.len(), delivered(&world)), (open, under_way, under_way));
    world.feed(Input::Trouble(None));
    world.run_for(Duration::from_millis(1));
    let still = kept.iter().filter(|session| world.open.contains_key(*session)).count();
    assert!(still > open / 2 && world.order.len() > under_way, "they are used again, except for those that other lanes need");
    world.run_for(Duration::from_secs(60));
    assert_eq!(delivered(&world), 300);
}

#[test]
fn a_drain_while_deliveries_are_halted_ends() {
    let mut world = World::new(limited(), |_, _| ok());
    world.log_is_stuck = true;
    queued(&mut world, 1000);
    world.run_for(Duration::from_secs(2));
    world.feed(Input::Drain);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.dispatcher.sessions(), 0);
}

#[test]
fn what_is_passed_over_does_not_halt_good_mail() {
    let mut world = World::new(limited(), |_, _| ok());
    world.dead.insert("dead.example".into());
    for _ in 0..2000 {
        world.arrive("default", &["dead.example"]);
    }
    world.log_is_stuck = true;
    world.run_for(Duration::from_secs(40));
    assert!(world.log.len() >= 2000, "each has its line");
    assert_eq!(world.dispatcher.halted(), None);
}

#[test]
fn one_streams_dead_names_and_hosts_halt_no_others() {
    let mut world = World::new(limited(), |_, _| ok());
    world.log_is_stuck = true;
    for n in 0..1000 {
        let (nameless, silent) = (format!("nameless{n}.example"), format!("silent{n}.example"));
        world.nowhere.insert(nameless.clone());
        world.dead.insert(silent.clone());
        world.arrive("bulk", &[&nameless]);
        world.arrive("bulk", &[&silent]);
    }
    world.run_for(Duration::from_secs(60));
    assert!(world.log.iter().filter(|line| matches!(line.4, Next::Deferred(_))).count() >= 1000, "each is put off, with its line");
    assert_eq!(world.dispatcher.halted(), None);
    queued(&mut world, 100);
    world.run_for(Duration::from_secs(10));
    assert_eq!(delivered(&world), 100);
}

#[test]
fn ten_thousand_a_second_are_not_halted_by_a_log_that_syncs_every_tenth_of_a_second_and_takes_fifty_milliseconds() {
    // As config/posthaste.toml: log.gather, log.sync, delivery.unlogged_max.
    let (gather, linger, sync, default) = (10, 100, 50, 3000);
    let lanes = Policy { unlogged_max: default, connections: 560, ..policy() };
    let mut world = World::new(
        Policy { limits: LaneLimits { connections: 500, messages_per_connection: 1_000_000, ..lanes.limits }, ..lanes },
        |_, _| ok(),
    );
    world.log_is_stuck = true;
    for _ in 0..40_000 {
        world.arrive("default", &["a.example"]);
    }
    let start = world.now;
    // Nine tenths of 560 connections and 50 ms each: 10,000 a second. What was recorded until a sync began is durable when it ends.
    let (mut durable, mut syncing, mut counted) = (0, 0, 0);
    for tick in 1..=4_100_u32 {
        world.run_for(Duration::from_millis(1));
        let at = tick % (gather + linger + sync);
        if at == gather + linger {
            syncing = delivered(&world);
        }
        if at == 0 {
            world.feed(Input::Logged(None, syncing - durable));
            durable = syncing;
        }
        assert_eq!(world.dispatcher.halted(), None, "after {tick} ms");
        counted = delivered(&world);
    }
    assert!(counted >= 39_000, "{counted} in {}", world.now.duration_since(start));
}

#[test]
fn one_senders_bounces_of_dead_names_delay_nobody_else() {
    let mut world = World::new(limited(), |_, _| ok());
    world.log_is_stuck = true;
    let bounced = |world: &World, from: Seq| world.log.iter().filter(|line| line.1 >= from && line.4 == Next::Bounced).count();
    for n in 0..1000 {
        let gone = format!("gone{n}.example");
        world.no_such_domain.insert(gone.clone());
        world.arrive("bulk", &[&gone]);
    }
    world.run_for(Duration::from_secs(60));
    let (of_bulk, first) = (bounced(&world, 0), world.next_seq + 1);
    assert!((50..=75).contains(&of_bulk), "its share, half of the limit: {of_bulk}");
    assert_eq!(world.dispatcher.halted(), None);
    world.no_such_domain.insert("typo.example".into());
    world.arrive("default", &["typo.example"]);
    queued(&mut world, 100);
    world.run_for(Duration::from_secs(10));
    assert_eq!((delivered(&world), bounced(&world, first)), (100, 1), "others' mail goes, and their dead names come back");
    world.log_is_stuck = false;
    for _ in 0..40 {
        world.log_all();
    }
    assert_eq!((bounced(&world, 0), world.dispatcher.queued()), (1001, (0, 0)), "each ends once there is room");
}
