//! `posthaste incidents`: what is wrong is found by itself, told once, and survives restarts.

use serde_json::Value;
use support::{Act, Mail, Relay, Step, World, wait::until};

fn incidents(relay: &Relay) -> Vec<Value> {
    let out = relay.cli(["incidents", "list", "--all", "--json"]);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

#[test]
fn a_provider_that_refuses_is_an_incident_until_it_is_closed() {
    let heard = tempfile::NamedTempFile::new().unwrap();
    let channel = format!("alarm.ops = {{ kind = \"command\", command = [\"/usr/bin/tee\", \"-a\", \"{}\"] }}", heard.path().display());
    let rules = "rules.house.enabled = false\nrules.provider_refuses.minimum = 10\nrules.lane.enabled = false\nretry.schedule = [\"1h\"]";
    let mut world = World::start(&format!("{rules}\n{channel}"));
    world.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say("550 5.7.1 Your IP address has a poor reputation and is blocked".into()),
        _ => Act::Usual,
    });
    let to: Vec<String> = (0..20).map(|n| format!("a{n}@example.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.relay.send(&Mail::new("", &to, "one"));
    let refuses = |world: &World| {
        let log = world.relay.log();
        let of = |event: &Value| event["event"] == "incident" && event["rule"] == "provider_refuses";
        log.events().into_iter().filter(of).collect::<Vec<_>>()
    };
    let opened = until("the incident", || refuses(&world).pop());
    assert_eq!((&opened["state"], &opened["key"]), (&"opened".into(), &"provider:example.test".into()), "{opened}");
    assert!(opened["n"].as_u64() >= Some(10) && opened["next_step"].as_str().is_some_and(|step| !step.is_empty()), "{opened}");

    let word = until("word by the channel", || serde_json::from_slice::<Value>(&std::fs::read(heard.path()).unwrap()).ok());
    assert!(word.to_string().contains("provider_refuses") && word.to_string().contains("opened"), "{word}");
    assert!(world.relay.ok(["alarm", "test", "ops"]).contains("ops"));

    let told = world.relay.cli(["incidents"]);
    let text = support::relay::text(&told.stdout);
    assert!(!told.status.success() && text.contains("CRITICAL") && text.contains("example.test"), "a critical one: status 1: {text}");
    let shown = incidents(&world.relay).into_iter().find(|incident| incident["rule"] == "provider_refuses").unwrap();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(shown["state"], "open");
    world.relay.ok(["incidents", "mute", &id, "--for", "1h", "--reason", "we know"]);
    assert!(world.relay.ok(["incidents", "show", &id]).contains("we know"));

    world.relay.stop();
    world.relay.run();
    let again = incidents(&world.relay).into_iter().find(|incident| incident["id"] == id.as_str()).expect("it survives a restart");
    assert_eq!(again["state"], "muted");
    world.relay.ok(["incidents", "close", &id]);
    let states =
        until("the last word", || Some(refuses(&world)).filter(|events| events.last().is_some_and(|event| event["state"] == "closed")));
    let heard = || std::fs::read_to_string(heard.path()).ok().filter(|text| text.contains(r#""state":"closed""#));
    until("word that it is over", heard);
    let states: Vec<Value> = states.into_iter().map(|event| event["state"].clone()).collect();
    assert_eq!(states, ["opened", "muted", "closed"], "told once, whatever restarts there are");
}

#[test]
fn nothing_wrong_is_said_in_so_many_words() {
    let world = World::start("rules.house.enabled = false");
    world.relay.send(&Mail::new("", &["reader@example.test"], "one"));
    world.relay.log().wait_for("delivered", "reader@example.test");
    assert_eq!(world.relay.ok(["incidents"]).trim(), "nothing is wrong that the rules know of");
    let unknown = world.relay.cli(["incidents", "close", "20260101T000000-1"]);
    assert!(!unknown.status.success(), "{unknown:?}");
}
