//! Sources whose address leaves the machine while the relay runs, and comes back.

use support::{Client, Mail, World, netns};

const FROM: &str = "writer@sender.test";
const ONE: &str = "192.0.2.11";
const TWO: &str = "192.0.2.12";

fn send(client: &mut Client, from: usize, to: usize) {
    for i in from..to {
        client.submit(&Mail::new(FROM, &[&format!("r{i}@example.test")], "one")).unwrap();
    }
}

#[test]
fn a_source_whose_address_goes_is_left_out_at_once_and_costs_no_attempt_until_it_comes_back() {
    if !netns::inside("a_source_whose_address_goes_is_left_out_at_once_and_costs_no_attempt_until_it_comes_back") {
        return;
    }
    netns::give(ONE);
    netns::give(TWO);
    // One connection per message: each must be bound anew.
    let config = format!(
        "source.one = {{ address = \"{ONE}\" }}\nsource.two = {{ address = \"{TWO}\" }}\ndelivery.messages_per_connection = 1\n\
         retry.schedule = [\"1h\"]"
    );
    let world = World::start(&config);
    let log = world.relay.log();
    let mut client = Client::hello(world.relay.port()).unwrap();
    send(&mut client, 0, 8);
    log.wait_for_many("delivered", "", 8);

    netns::take(ONE);
    send(&mut client, 8, 40);
    let delivered = log.wait_for_many("delivered", "", 40);
    for event in &delivered[8..] {
        assert_eq!((&event["source_ip"], &event["attempt"]), (&TWO.into(), &1.into()), "{event}");
    }
    assert!(delivered[..8].iter().any(|event| event["source_ip"] == ONE), "both sources were used before");
    assert!(log.of("deferred", "").is_empty(), "{:?}", log.of("deferred", ""));
    let gone = log.wait_for_relay("source_gone");
    assert_eq!(gone["part"], "sources");
    let said = format!("one: {ONE} is no longer on this host; nothing leaves from it until it is");
    assert!(gone["detail"].as_str().is_some_and(|detail| detail.starts_with(&said)), "{gone}");

    netns::give(ONE);
    log.wait_for_relay("source_back");
    send(&mut client, 40, 56);
    let delivered = log.wait_for_many("delivered", "", 56);
    assert!(delivered[40..].iter().any(|event| event["source_ip"] == ONE), "{:?}", delivered.last());
    assert_eq!(log.of("relay", "").iter().filter(|event| event["state"] == "source_gone").count(), 1);
}

#[test]
fn mail_waits_untried_while_all_its_sources_are_gone() {
    if !netns::inside("mail_waits_untried_while_all_its_sources_are_gone") {
        return;
    }
    netns::give(ONE);
    let world =
        World::start(&format!("source.one = {{ address = \"{ONE}\" }}\npool.default.sources = [\"one\"]\nretry.schedule = [\"1h\"]"));
    let log = world.relay.log();
    netns::take(ONE);
    // Found by the periodic check, not by an attempt.
    log.wait_for_relay("source_gone");
    world.relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    log.wait_for("accepted", "reader@example.test");
    netns::give(ONE);
    let delivered = log.wait_for("delivered", "reader@example.test");
    assert_eq!((&delivered["source_ip"], &delivered["attempt"]), (&ONE.into(), &1.into()));
    assert!(log.of("deferred", "").is_empty());
}
