//! `posthaste queue`, `trace` and `audit`, as an operator uses them.

use serde_json::Value;
use support::{Act, Mail, Relay, Step, World, relay::text};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// The receiver accepts nothing, and nothing is retried during the test.
fn stuck() -> World {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.3.2 not today\u{7}".into()) } else { Act::Usual });
    world
}

/// Submits a message, which then waits for its second attempt; returns its id.
fn waiting(world: &World, rcpt: &str) -> String {
    let domain = rcpt.split_once('@').expect("an address has a domain").1;
    if domain != "example.test" {
        world.dns.mx(domain, 10, "mx1.example.test");
    }
    let id = world.relay.send(&Mail::new(FROM, &[rcpt], "one"));
    world.relay.log().wait_for("deferred", rcpt);
    id
}

fn json(relay: &Relay, arguments: &[&str]) -> Value {
    serde_json::from_str(&relay.ok(arguments)).unwrap()
}

#[test]
fn the_table_counts_what_waits_where_and_why() {
    let world = stuck();
    waiting(&world, TO);
    waiting(&world, "second@example.test");
    let table = world.relay.ok(["queue"]);
    let row = table.lines().find(|line| line.starts_with("example.test")).unwrap_or_else(|| panic!("{table}"));
    assert!(
        row.split_whitespace().nth(1) == Some("2") && table.contains("last error by default") && table.contains("451 4.3.2 not today"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains("2 messages, 2 recipients: 0 due, 2 later, 0 being sent, 0 held"), "{table}");
    let queue = json(&world.relay, &["queue", "--json"]);
    assert_eq!((&queue["lanes"][0]["provider"], &queue["lanes"][0]["queued"]), (&"example.test".into(), &2.into()));
    assert_eq!((&queue["counts"]["messages"], &queue["counts"]["later"]), (&2.into(), &2.into()));
}

#[test]
fn the_last_error_is_known_after_a_restart() {
    let mut world = stuck();
    waiting(&world, TO);
    waiting(&world, "second@cousin.test");
    for orderly in [true, false] {
        match orderly {
            true => assert!(world.relay.stop().success()),
            false => world.relay.kill(),
        }
        world.relay.run();
        let lanes = json(&world.relay, &["queue", "--json"])["lanes"].as_array().unwrap().clone();
        assert_eq!(lanes.len(), 2);
        for lane in lanes {
            let said = lane["last_error"].as_str().unwrap_or_else(|| panic!("{lane}"));
            assert!(said.contains("451 4.3.2 not today") && lane["last_error_at"].is_string(), "{lane}");
        }
        let table = world.relay.ok(["queue"]);
        assert_eq!(table.matches("451 4.3.2 not today").count(), 2, "{table}");
        assert!(world.relay.ok(["why", TO]).contains("451 4.3.2 not today"));
    }
}

#[test]
fn messages_are_listed_the_oldest_first_and_shown_by_id() {
    let world = stuck();
    let first = waiting(&world, TO);
    let second = waiting(&world, "reader@cousin.test");
    let list = world.relay.ok(["queue", "list"]);
    assert!(list.find(&first).unwrap() < list.find(&second).unwrap(), "{list}");
    let shown = world.relay.ok(["queue", "show", &first]);
    assert!(shown.contains(TO) && shown.contains(FROM) && shown.contains("attempts 1") && !shown.contains(&second), "{shown}");
    let only = world.relay.ok(["queue", "list", "--domain", "cousin.test", "--json"]);
    let only: Value = serde_json::from_str(&only).unwrap();
    assert_eq!((&only["id"], &only["from"], &only["addresses"][0]), (&second.as_str().into(), &FROM.into(), &"reader@cousin.test".into()));
    assert_eq!(world.relay.ok(["queue", "list", "-n", "1"]).matches(" old ").count(), 1);
    assert!(!world.relay.cli(["queue", "list", "--domain", "nobody.test"]).status.success());
    assert!(!world.relay.cli(["queue", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).status.success());
}

#[test]
fn what_is_to_change_has_to_be_named() {
    let world = stuck();
    waiting(&world, TO);
    for verb in [&["retry"][..], &["hold"], &["release"], &["drop", "--reason", "x"]] {
        let out = world.relay.cli([&["queue"], verb].concat());
        assert!(!out.status.success() && text(&out.stderr).contains("--all"), "{verb:?}: {}", text(&out.stderr));
    }
    assert_eq!(world.relay.log().history(TO), ["accepted", "deferred"]);
}

#[test]
fn retry_makes_due_now_what_was_due_in_an_hour() {
    let world = stuck();
    let id = waiting(&world, TO);
    waiting(&world, "second@example.test");
    world.mx.behave();
    assert_eq!(world.relay.ok(["queue", "retry", &id]), "1 message\n");
    assert_eq!(world.relay.log().wait_for("delivered", TO)["attempt"], 2);
    let told = world.relay.log().wait_for_relay("queue_retried")["detail"].to_string();
    assert!(told.ends_with(&format!(" had 1 message tried again at once (message {id})\"")), "{told}");
    assert_eq!(json(&world.relay, &["queue", "retry", "--all", "--json"]), serde_json::json!({"messages": 1}));
    world.relay.log().wait_for("delivered", "second@example.test");
    let none = world.relay.cli(["queue", "retry", "--all"]);
    assert_eq!((none.status.code(), text(&none.stdout).as_str()), (Some(1), "0 messages\n"));
}

#[test]
fn what_is_held_stays_until_it_is_released_even_over_a_restart() {
    let mut world = stuck();
    let id = waiting(&world, TO);
    world.relay.ok(["queue", "hold", &id, "--reason", "asked by support"]);
    let held = world.relay.log().wait_for("held", TO);
    assert_eq!((&held["reason"], &held["message"]), (&"asked by support".into(), &id.as_str().into()));
    world.mx.behave();
    assert!(!world.relay.cli(["queue", "retry", &id]).status.success());
    assert!(world.relay.stop().success());
    world.relay.run();
    assert_eq!(json(&world.relay, &["queue", "--json"])["counts"]["held"], 1);
    world.relay.ok(["queue", "release", "--domain", "example.test"]);
    assert_eq!(world.relay.log().wait_for("released", TO)["by"], "tester");
    // It is back on its schedule, as if it had not been held.
    world.relay.ok(["queue", "retry", &id]);
    world.relay.log().wait_for("delivered", TO);
    assert_eq!(world.relay.log().history(TO), ["accepted", "deferred", "held", "released", "delivered"]);
    assert_eq!(world.mx.messages().len(), 1);
}

#[test]
fn what_is_dropped_is_gone_and_nobody_is_told() {
    let world = stuck();
    let id = waiting(&world, TO);
    world.relay.ok(["queue", "drop", &id, "--reason", "sent by mistake"]);
    let event = world.relay.log().wait_for("cancelled", TO);
    assert_eq!((&event["by"], &event["reason"]), (&"tester".into(), &"sent by mistake".into()));
    assert_eq!(json(&world.relay, &["queue", "--json"])["counts"]["messages"], 0);
    assert_eq!(world.relay.log().of("accepted", "").len(), 1);
    world.relay.assert_balanced();
}

#[test]
fn what_is_held_or_dropped_stays_so_though_the_relay_is_killed_at_once() {
    let mut world = stuck();
    world.dns.mx("cousin.test", 10, "mx1.example.test");
    let rcpts: Vec<String> = (0..20).flat_map(|n| [format!("r{n}@example.test"), format!("r{n}@cousin.test")]).collect();
    for rcpt in &rcpts {
        world.relay.send(&Mail::new(FROM, &[rcpt], "one"));
    }
    rcpts.iter().for_each(|rcpt| drop(world.relay.log().wait_for("deferred", rcpt)));
    for (arguments, word) in
        [(["queue", "hold", "--domain", "example.test"], "held"), (["queue", "drop", "--domain", "cousin.test"], "cancelled")]
    {
        let arguments: Vec<&str> = arguments.into_iter().chain(["--reason", "wrong list"]).collect();
        assert!(world.relay.ok(&*arguments).contains("20 messages"));
        world.relay.kill();
        world.mx.behave();
        world.relay.run();
        assert_eq!(world.relay.log().of(word, "").len(), 20);
    }
    let counts = &json(&world.relay, &["queue", "--json"])["counts"];
    assert_eq!((&counts["messages"], &counts["held"]), (&20.into(), &20.into()));
    world.relay.ok(["queue", "release", "--domain", "example.test"]);
    world.relay.ok(["queue", "retry", "--all"]);
    (0..20).for_each(|n| drop(world.relay.log().wait_for("delivered", &format!("r{n}@example.test"))));
    assert_eq!(world.mx.messages().len(), 20);
    world.relay.assert_balanced();
}

#[test]
fn a_domains_mail_can_be_dropped_without_touching_the_others_recipients() {
    let world = stuck();
    world.dns.mx("cousin.test", 10, "mx1.example.test");
    world.relay.send(&Mail::new(FROM, &[TO, "reader@cousin.test"], "one"));
    world.relay.log().wait_for("deferred", TO);
    world.relay.log().wait_for("deferred", "reader@cousin.test");
    world.relay.ok(["queue", "drop", "--domain", "cousin.test", "--reason", "x"]);
    world.relay.log().wait_for("cancelled", "reader@cousin.test");
    world.mx.behave();
    world.relay.ok(["queue", "retry", "--all"]);
    world.relay.log().wait_for("delivered", TO);
    assert_eq!(world.mx.messages()[0].rcpts, [TO]);
}

#[test]
fn without_a_relay_the_queue_cannot_be_asked_and_that_is_said() {
    let relay = Relay::prepare("");
    let out = relay.cli(["queue"]);
    assert!(!out.status.success() && text(&out.stderr).contains("no relay answers"), "{}", text(&out.stderr));
}

#[test]
fn trace_tells_a_messages_whole_life_by_id_and_by_address() {
    let world = stuck();
    let id = waiting(&world, TO);
    let other = waiting(&world, "second@example.test");
    world.mx.behave();
    world.relay.ok(["queue", "retry", "--all"]);
    world.relay.log().wait_for("delivered", TO);
    for what in [id.as_str(), TO] {
        let told = world.relay.ok(["trace", what]);
        for part in [
            &id,
            FROM,
            TO,
            "accepted",
            "deferred",
            "rcpt: 451 4.3.2 not today",
            "dot: 250 2.0.0 taken",
            "= delivered",
            "2 tries",
            "mx1.example.test",
        ] {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
        assert!(!told.contains(&other) && !told.contains('\u{7}'), "{told}");
    }
    let lines = world.relay.ok(["trace", "--json", TO]);
    let events: Vec<String> =
        lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["accepted", "deferred", "delivered"]);
    assert_eq!(world.relay.cli(["trace", "stranger@example.test"]).status.code(), Some(1));
    assert!(!world.relay.cli(["trace", "nonsense"]).status.success());
}

#[test]
fn audit_balances_a_running_relay_and_a_stopped_one() {
    let mut world = stuck();
    waiting(&world, TO);
    world.mx.behave();
    world.relay.send(&Mail::new(FROM, &["second@example.test", "third@example.test"], "two"));
    world.relay.log().wait_for("delivered", "third@example.test");
    let running = world.relay.assert_balanced();
    assert!(running.contains("delivered 2"), "{running}");
    assert!(world.relay.stop().success());
    let stopped = world.relay.assert_balanced();
    let figures = |text: &str| text.split_whitespace().filter_map(|w| w.parse().ok()).collect::<Vec<u64>>();
    assert_eq!(figures(&stopped)[..4], [3, 2, 2, 1], "{stopped}");
}

#[test]
fn audit_finds_a_message_that_is_lost() {
    let mut world = stuck();
    waiting(&world, TO);
    assert!(world.relay.stop().success());
    // The worst case: the spool is lost, and with it accepted mail.
    std::fs::remove_dir_all(world.relay.dir().join("data/spool")).unwrap();
    let out = world.relay.cli(["audit"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("MISSING") && text(&out.stdout).contains(TO), "{}", text(&out.stdout));
    world.relay.spoilt();
}
