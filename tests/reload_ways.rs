//! A reload is in force the moment it answers: for routes, TLS and logins, for domains met before and for connections that are kept.

use support::{Act, FakeMx, Gate, Mail, Step, World, dns::DnsServer, wait, world};

fn to(n: usize) -> String {
    format!("r{n}@rcpt.test")
}

#[test]
fn new_mail_to_a_domain_met_before_goes_the_new_way_at_once() {
    let [old, new] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    let route = |mx: &FakeMx| format!("route.\"*\" = \"{}\"\ndelivery.idle = \"60s\"", mx.address());
    let relay = world::relay(&dns, 25, &route(&old));
    let log = relay.log();
    relay.send(&Mail::new("", &[&to(1)], "one"));
    log.wait_for("delivered", &to(1));
    relay.change_config(&format!("{}\ndns.nameservers = [\"{}\"]", route(&new), dns.address()));
    assert!(relay.ok(["reload"]).contains("in force"));
    old.wait_until_alone();
    for n in 2..=4 {
        relay.send(&Mail::new("", &[&to(n)], "two"));
        log.wait_for("delivered", &to(n));
    }
    assert_eq!((old.messages().len(), new.messages().len()), (1, 3));
    assert!(relay.ok(["why", "rcpt.test"]).contains("127.0.0.2"));
    // A route that is taken away leads nowhere any more.
    let config = std::fs::read_to_string(relay.config_path()).unwrap();
    relay.write_config(&config.replace("\"*\" =", "\"other.test\" ="));
    relay.ok(["reload"]);
    relay.send(&Mail::new("", &[&to(5)], "three"));
    log.wait_for("bounced", &to(5));
    assert_eq!((old.messages().len(), new.messages().len()), (1, 3));
}

#[test]
fn nothing_goes_in_plain_text_after_a_reload_that_demands_tls() {
    let world = World::start("delivery.idle = \"60s\"\nretry.schedule = [\"1h\"]");
    let log = world.relay.log();
    world.relay.send(&Mail::new("", &["a@example.test"], "one"));
    log.wait_for("delivered", "a@example.test");
    world.relay.change_config("delivery.idle = \"60s\"\nretry.schedule = [\"1h\"]\ntls.policy = \"require\"");
    world.relay.ok(["reload"]);
    world.mx.wait_until_alone();
    world.relay.send(&Mail::new("", &["b@example.test"], "two"));
    let event = log.wait_for("deferred", "b@example.test");
    assert_eq!((&event["cause"], &event["tls_policy"]), (&"tls_required".into(), &"require".into()));
    assert_eq!(world.mx.messages().len(), 1);
}

#[test]
fn mail_that_is_ready_and_connections_that_open_follow_a_reload() {
    let (old, new) = (FakeMx::start(), FakeMx::start());
    let gate = Gate::new();
    let held = gate.clone();
    old.script(move |_, step| if let Step::Connect = step { Act::Wait(held.clone()) } else { Act::Usual });
    let dns = DnsServer::start();
    let route = |mx: &FakeMx| format!("route.\"*\" = \"{}\"\ndelivery.connections_per_lane = 1", mx.address());
    let relay = world::relay(&dns, 25, &route(&old));
    for n in 1..=5 {
        relay.send(&Mail::new("", &[&to(n)], "one"));
    }
    wait::until("a connection", || (old.sessions() > 0).then_some(()));
    relay.change_config(&route(&new));
    relay.ok(["reload"]);
    gate.open();
    relay.log().wait_for_many("delivered", "", 5);
    assert_eq!((old.messages().len(), new.messages().len()), (0, 5));
}
