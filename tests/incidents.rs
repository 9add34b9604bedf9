//! `posthaste incidents`: what is wrong is found by itself, told once, and survives restarts.

use serde_json::Value;
use support::{
    Act, Mail, Relay, Step, World,
    http::{Api, config},
    relay::{free_port, text},
    town::{PEOPLE, settle},
    visitor::Visitor,
    wait::until,
    world,
};

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
    let text = text(&told.stdout);
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

/// Nobody is told that there are no incidents, where nothing looks for any.
#[test]
fn monitoring_that_is_off_is_said_wherever_somebody_looks_for_what_is_wrong() {
    const OFF: &str = "monitoring is off: monitor.enabled is false in the configuration";
    let port = free_port();
    let world = world::listening(|relay| {
        settle(relay, &PEOPLE);
        format!("monitor.enabled = false\n{}", config(port, &[("watch", "watch", &["monitor", "read"])]))
    });
    world.relay.send(&Mail::new("", &["reader@example.test"], "one"));
    world.relay.log().wait_for("delivered", "reader@example.test");
    let commands: [&[&str]; 5] =
        [&["incidents"], &["incidents", "list", "--json"], &["incidents", "findings"], &["incidents", "show", "x"], &["report"]];
    for command in commands {
        let told = world.relay.cli(command);
        assert!(!told.status.success() && told.stdout.is_empty() && text(&told.stderr).contains(OFF), "{command:?}: {told:?}");
    }
    let top: Value = serde_json::from_str(&world.relay.ok(["top", "--json"])).unwrap();
    assert!(top["off"].as_str().is_some_and(|why| why.starts_with(OFF)), "{top}");
    let top = world.relay.ok(["top", "--once"]);
    assert!(top.contains("monitoring is off") && !top.contains("Incidents: none"), "{top}");

    let watch = Api::new(port, "watch");
    for path in ["/v1/incidents", "/v1/findings", "/v1/report", "/v1/score"] {
        let told = watch.get(path);
        assert!(told.status == 503 && told.text().contains(OFF), "{path}: {}", told.text());
    }
    let metrics = watch.get("/metrics").text();
    for line in ["posthaste_log_counted 0", "posthaste_queue_messages 0", "posthaste_config_last_reload_successful 1"] {
        assert!(metrics.lines().any(|told| told.starts_with(line)), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("posthaste_build_info{"), "{metrics}");
    assert!(!["_incidents_open", "_recipients_total", "_health_score"].iter().any(|name| metrics.contains(name)), "{metrics}");

    let page = Visitor::login(port, PEOPLE[0].0, PEOPLE[0].1);
    for path in ["/", "/incidents", "/incidents?state=findings"] {
        let told = page.get(path).text();
        assert!(told.contains(OFF) && !told.contains("Mail flows") && !told.contains("Nothing is wrong"), "{path}: {told}");
    }
    let (overview, list) = (page.get("/?as=json").json(), page.get("/incidents?as=json").json());
    assert_eq!((&overview["monitoring"], &overview["incidents"]), (&false.into(), &Value::Null));
    assert!(list["off"].as_str().is_some_and(|why| why.starts_with(OFF)) && list.get("incidents").is_none(), "{list}");
}

/// The commands' clock is that of the relay, also where a rehearsal made it run ahead: a mute that ended by another would be over at once.
#[test]
fn a_mute_lasts_by_the_clock_of_a_rehearsal() {
    let mut relay = Relay::prepare("rules.house.disk_free = 1.0\nrules.house.severity = \"critical\"");
    std::fs::create_dir_all(relay.dir().join("data")).unwrap();
    // Time has passed twice as fast for years.
    std::fs::write(relay.dir().join("data/rehearsal"), "2020-01-01T00:00:00Z 2\n").unwrap();
    relay.rehearse(2);
    relay.run();
    let disk = |relay: &Relay| incidents(relay).into_iter().find(|incident| incident["rule"] == "house");
    let id = until("the incident", || disk(&relay))["id"].as_str().unwrap().to_owned();
    relay.ok(["incidents", "mute", &id, "--for", "24h", "--reason", "a rehearsal"]);
    let muted =
        until("its line", || relay.log().events().into_iter().find(|event| event["event"] == "incident" && event["state"] == "muted"));
    let shown = disk(&relay).unwrap();
    assert_eq!(shown["state"], "muted", "{shown}");
    let at = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let lasts = at(&shown["mute"]["until"]).duration_since(at(&muted["time"])).as_hours();
    assert!((23..=24).contains(&lasts), "{shown} since {muted}");
    // Ages are those of its clock, too.
    let lines = relay.ok(["log", "--since", "1h", "--json"]);
    assert!(lines.contains("\"muted\""), "{lines}");
    let report: Value = serde_json::from_str(&relay.ok(["report", "--since", "1h", "--json"])).unwrap();
    assert!(at(&report["from"]) < at(&muted["time"]) && at(&muted["time"]) < at(&report["to"]), "{report}");
}
