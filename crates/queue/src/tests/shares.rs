//! Connections when they are short: silent hosts, and streams that take many.

use super::*;

const MOST: usize = 100;

/// A world with a hundred connections, in which so many hosts take five minutes to say nothing.
fn silent(hosts: usize) -> (World, Vec<String>) {
    let mut world = World::new(Policy { connections: MOST, ..policy() }, |_, _| ok());
    let names: Vec<String> = (0..hosts).map(|n| format!("tar{n}.example")).collect();
    world.dead.extend(names.iter().cloned());
    world.takes.extend(names.iter().map(|name| (name.clone(), Duration::from_secs(300))));
    (world, names)
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

#[test]
fn a_slow_receiver_has_its_time_while_nobody_else_needs_the_connection() {
    let (mut world, names) = silent(89);
    world.arrive("default", &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.run_for(Duration::from_secs(299));
    assert!(world.log.is_empty() && world.dispatcher.sessions() == 89);
}
