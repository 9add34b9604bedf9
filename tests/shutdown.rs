//! SIGTERM loses no mail.

use rustix::process::Signal;
use support::{Act, Client, Gate, Mail, Step, World, wait::PATIENCE};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// Every message waits at its final dot for the second gate; the first opens when a message has got there.
fn slow(world: &World) -> (Gate, Gate) {
    let (arrived, go) = (Gate::new(), Gate::new());
    let (tell, held) = (arrived.clone(), go.clone());
    world.mx.script(move |_, step| match step {
        Step::Dot(_) => {
            tell.open();
            Act::Wait(held.clone())
        }
        _ => Act::Usual,
    });
    (arrived, go)
}

#[test]
fn sigterm_waits_for_the_delivery_under_way() {
    let mut world = World::start("");
    let (arrived, go) = slow(&world);
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    assert!(arrived.wait(PATIENCE));
    world.relay.signal(Signal::TERM);
    world.relay.log().wait_for_relay("stopping");
    go.open();
    assert!(world.relay.wait().success());
    assert_eq!(world.relay.log().history(TO), ["accepted", "delivered"]);
    assert_eq!(world.relay.log().of("relay", "").last().unwrap()["state"], "stopped");
    assert_eq!(world.mx.messages().len(), 1);
}

#[test]
fn sigterm_cuts_off_what_takes_longer_than_drain_and_it_is_there_after_the_restart() {
    let mut world = World::start("run.drain = \"1s\"");
    let (arrived, go) = slow(&world);
    let id = world.relay.send(&Mail::new(FROM, &[TO], "one"));
    assert!(arrived.wait(PATIENCE));
    assert!(world.relay.stop().success());
    world.mx.behave();
    world.relay.run();
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!(event["message"], id.as_str());
    world.relay.assert_balanced();
    go.open();
}

#[test]
fn what_is_deferred_is_tried_again_after_the_restart_and_its_attempts_are_counted_on() {
    let mut world = World::start("retry.schedule = [\"2s\"]");
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("deferred", TO);
    assert!(world.relay.stop().success());
    world.mx.behave();
    world.relay.run();
    assert_eq!(world.relay.log().wait_for("delivered", TO)["attempt"], 2);
}

#[test]
fn a_client_may_finish_its_message_and_is_told_421_before_the_next() {
    let mut world = World::start("");
    let mut client = Client::hello(world.relay.port()).unwrap();
    let mut idle = Client::hello(world.relay.port()).unwrap();
    client.say(&format!("MAIL FROM:<{FROM}>")).unwrap();
    client.say(&format!("RCPT TO:<{TO}>")).unwrap();
    assert_eq!(client.say("DATA").unwrap().code, 354);
    client.send(b"Subject: half\r\n\r\n").unwrap();
    world.relay.signal(Signal::TERM);
    assert_eq!(idle.answer().unwrap().code, 421);
    client.send(b"the rest\r\n.\r\n").unwrap();
    assert_eq!(client.answer().unwrap().code, 250);
    assert_eq!(client.answer().unwrap().code, 421);
    assert!(world.relay.wait().success());
    Client::connect(world.relay.port()).err().expect("nobody listens");
    world.relay.run();
    world.relay.log().wait_for("delivered", TO);
    assert_eq!(world.relay.log().of("accepted", TO).len(), 1);
}

#[test]
fn two_relays_do_not_share_a_folder() {
    let mut world = World::start("");
    let other = world.relay.cli(["run"]);
    assert!(!other.status.success());
    let said = support::relay::text(&other.stderr);
    assert!(said.contains("another posthaste is running"), "{said}");
    assert!(world.relay.stop().success());
}

#[test]
fn sigint_stops_it_too() {
    let mut world = World::start("");
    world.relay.signal(Signal::INT);
    assert!(world.relay.wait().success());
    world.relay.log().wait_for_relay("stopped");
}
