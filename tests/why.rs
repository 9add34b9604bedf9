//! `posthaste why`: with a relay and without one.

use serde_json::Value;
use support::{Act, Mail, Step, World};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

fn json(world: &World, subject: &str) -> Value {
    serde_json::from_str(&world.relay.ok(["why", subject, "--json"])).expect("one object")
}

fn time(value: &Value) -> jiff::Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

const WARMING: &str = r#"
source.ip2 = { address = "127.0.0.2", warmup = "tiny" }
pool.default.sources = ["ip2"]
curve.tiny = { caps = [1, 2], burst = 1 }
"#;

#[test]
fn what_waits_for_budget_says_until_when_and_by_which_line() {
    let world = World::start(WARMING);
    // Under one of Google's names, so that the provider table matches it.
    world.dns.mx("firm.test", 10, "aspmx.l.google.com").a("aspmx.l.google.com", "127.0.0.1");
    world.relay.send(&Mail::new(FROM, &["one@firm.test"], "one"));
    world.relay.log().wait_for("delivered", "one@firm.test");
    let id = world.relay.send(&Mail::new(FROM, &["two@firm.test"], "two"));
    let held = world.relay.log().wait_for("held", "two@firm.test");

    let why = json(&world, "two@firm.test");
    assert_eq!(why["provider"]["name"], "google");
    assert!(why["provider"]["from"].as_str().unwrap().starts_with("config/providers.toml:"), "{why}");
    assert_eq!((&why["hosts"][0]["name"], &why["hosts"][0]["addresses"][0]), (&"aspmx.l.google.com".into(), &"127.0.0.1".into()));
    let lane = &why["lanes"][0];
    assert_eq!((&lane["source"], &lane["here"], &lane["now"]["stage"]["cap"]), (&"ip2".into(), &true.into(), &1.into()));
    let limit = |name: &str| lane["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == name).unwrap().clone();
    assert!(limit("connections")["from"].as_str().unwrap().starts_with("config/providers.toml:"), "{lane}");
    assert!(limit("caps")["from"].as_str().unwrap().starts_with(world.relay.config_path().to_str().unwrap()), "{lane}");
    let waits = &why["waiting"]["first"][0];
    assert_eq!((&waits[0], &waits[1]["id"], &waits[1]["state"]), (&"two@firm.test".into(), &id.clone().into(), &"budget".into()));
    assert_eq!(time(&waits[1]["until"]), time(&held["until"]), "{waits} {held}");

    let text = world.relay.ok(["why", &id]);
    assert!(text.contains("two@firm.test") && text.contains("the day's 1 are used"), "{text}");
    assert!(world.relay.ok(["why", "example.test"]).contains("nothing waits"));
}

#[test]
fn what_is_held_and_what_is_tried_later_says_so() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.dns.mx("down.test", 10, "mx.down.test").a("mx.down.test", "127.0.0.9");
    world.relay.send(&Mail::new(FROM, &["reader@down.test"], "one"));
    let deferred = world.relay.log().wait_for("deferred", "reader@down.test");
    let why = json(&world, "down.test");
    let waits = &why["waiting"]["first"][0][1];
    assert_eq!((&waits["state"], &waits["attempts"]), (&"later".into(), &1.into()), "{why}");
    assert_eq!(time(&waits["until"]), time(&deferred["retry_at"]), "{why}");
    assert_eq!(why["provider"]["name"], "down.test");
    world.relay.ok(["queue", "hold", "--all"]);
    assert_eq!(json(&world, "down.test")["waiting"]["first"][0][1]["state"], "held");
}

#[test]
fn the_answer_comes_first_and_is_this_recipients_own() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt("full@example.test") => Act::Say("452 4.2.2 mailbox full".into()),
        Step::Rcpt("other@example.test") => Act::Say("451 4.7.1 greylisted, try later".into()),
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    for rcpt in ["full@example.test", "other@example.test"] {
        world.relay.send(&Mail::new("", &[rcpt], "one"));
        world.relay.log().wait_for("deferred", rcpt);
    }
    let gone = world.relay.send(&Mail::new("", &["gone@example.test"], "two"));
    world.relay.log().wait_for("bounced", "gone@example.test");
    let text = world.relay.ok(["why", "full@example.test"]);
    assert!(text.contains("452 4.2.2 mailbox full") && text.contains("that means: "), "{text}");
    let (answer, limits) = text.split_once("where its mail goes").expect("where mail goes comes last");
    assert!(answer.contains("mailbox full") && !answer.contains("greylisted") && limits.contains("connections"), "{text}");
    let json = json(&world, "full@example.test");
    assert_eq!(json["waiting"]["first"][0][2]["said"], "452 4.2.2 mailbox full", "{json}");

    let ended = world.relay.ok(["why", "gone@example.test"]);
    assert!(ended.contains("nothing waits") && ended.contains("bounced") && ended.contains("550 5.1.1 no such user"), "{ended}");
    assert!(world.relay.ok(["why", &gone]).contains("550 5.1.1 no such user"), "a message that is not in the queue any more");
    assert!(world.relay.ok(["why", "example.test"]).contains("550 5.1.1 no such user"));
    world.relay.ok(["suppress", "add", "full@example.test"]);
    assert!(world.relay.ok(["why", "full@example.test"]).contains("full@example.test is on the suppression list"));
}

#[test]
fn a_silent_host_is_told_with_what_it_owes() {
    let world = World::start("");
    world.mx.script(|_, step| match step {
        Step::Connect => Act::Hang,
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new("", &[TO], "one"));
    let told = || Some(world.relay.ok(["why", TO])).filter(|text| text.contains("waiting for its greeting"));
    let text = support::wait::until("the session to be told", told);
    assert!(text.contains("connected to mx1.example.test [127.0.0.1]") && text.contains("at most"), "{text}");
}

#[test]
fn without_a_relay_configuration_and_dns_are_told() {
    let mut world = World::start(WARMING);
    world.relay.stop();
    let why = json(&world, TO);
    assert_eq!((&why["hosts"][0]["name"], &why["waiting"]), (&"mx1.example.test".into(), &Value::Null));
    assert_eq!(why["lanes"][0]["source"], "ip2");
    assert!(world.relay.ok(["why", "example.test"]).contains("no relay is running"));
    let nowhere = json(&world, "nowhere.test");
    assert!(nowhere["trouble"].as_str().unwrap().contains("nowhere.test does not exist"), "{nowhere}");
    let id = world.relay.cli(["why", "01KAQ2V3W4X5Y6Z7A8B9C0D1E2"]);
    assert!(!id.status.success() && String::from_utf8_lossy(&id.stderr).contains("only a running relay knows"), "{id:?}");
}
