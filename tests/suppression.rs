//! The suppression list: addresses on it get no mail, and permanent bounces put addresses on it.

use support::{Act, Mail, Step, World, wait};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";
const OTHER: &str = "other@example.test";

/// The receiver answers RCPT for `TO` with this reply, and accepts every other recipient.
fn refusing(reply: &'static str) -> World {
    let world = World::start("");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.script(move |_, step| match step {
        Step::Rcpt(rcpt) if rcpt.contains(TO) => Act::Say(reply.into()),
        _ => Act::Usual,
    });
    world
}

#[test]
fn an_address_on_the_list_is_not_written_to_until_it_is_taken_off() {
    let world = World::start("");
    world.relay.ok(["suppress", "add", TO]);
    world.relay.send(&Mail::new(FROM, &[TO, OTHER], "one"));
    let event = world.relay.log().wait_for("suppressed", TO);
    assert_eq!((&event["reason"], &event["scope"]), (&"manual".into(), &"global".into()));
    world.relay.log().wait_for("delivered", OTHER);
    assert!(!world.mx.commands().iter().any(|c| c.contains(TO)), "{:?}", world.mx.commands());
    world.relay.ok(["suppress", "remove", TO]);
    world.relay.send(&Mail::new(FROM, &[TO], "two"));
    world.relay.log().wait_for("delivered", TO);
}

#[test]
fn a_mailbox_that_certainly_does_not_exist_is_written_to_once() {
    let world = refusing("550 5.1.1 <reader@example.test>: Recipient address rejected: User unknown in virtual mailbox table");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("bounced", TO);
    // The list changes once the log line is durable.
    wait::until("the address to be listed", || world.relay.cli(["suppress", "list", TO]).status.success().then_some(()));
    world.relay.send(&Mail::new(FROM, &[TO], "two"));
    let event = world.relay.log().wait_for("suppressed", TO);
    assert_eq!(event["reason"], "hard_bounce");
    assert!(world.relay.ok(["suppress", "list", TO]).contains("hard_bounce"));
}

#[test]
fn a_block_of_the_sender_suppresses_nobody() {
    let world = refusing("550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("bounced", TO);
    world.relay.send(&Mail::new(FROM, &[TO], "two"));
    assert_eq!(world.relay.log().wait_for("held", TO)["reason"], "paused", "the address that is blocked rests there");
    assert_eq!(world.relay.log().of("suppressed", TO).len(), 0);
}

#[test]
fn a_suppressed_recipient_of_a_dead_host_ends_at_once() {
    let world = World::start("");
    world.dns.mx("dead.test", 10, "mx.dead.test").a("mx.dead.test", "127.0.0.77");
    world.relay.ok(["suppress", "add", "gone@dead.test"]);
    world.relay.send(&Mail::new(FROM, &["gone@dead.test"], "one"));
    world.relay.log().wait_for("suppressed", "gone@dead.test");
    assert_eq!(world.relay.log().history("gone@dead.test"), ["accepted", "suppressed"]);
}

#[test]
fn the_list_survives_a_kill() {
    let mut world = World::start("");
    world.relay.ok(["suppress", "add", TO]);
    world.relay.kill();
    world.relay.run();
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("suppressed", TO);
}
