//! Incidents, findings and scores over HTTP: what the command shows, to those who may see it.

use serde_json::{Value, json};
use support::{
    Act, Step, World,
    http::{Api, config},
    relay::free_port,
    wait::until,
};

const FROM: &str = "shop@sender.test";

/// A user `shop` with a stream of its own writes to many who do not exist; `other` has nothing to do with it.
fn world(port: u16) -> World {
    let http = config(
        port,
        &[
            ("watch", "watch", &["monitor"]),
            ("boss", "boss", &["admin"]),
            ("shop", "shop", &["send", "read"]),
            ("other", "other", &["read"]),
        ],
    );
    let rules = "notice.send = false\nrules.unknown_users.minimum = 10\nrules.house.disk_free = 1.0\nscore.audience.unknown_users.min = 10";
    let world = World::start(&format!("{http}\n{rules}\nstream.letters = {{}}\nuser.shop.stream = \"letters\"\nretry.schedule = [\"1h\"]"));
    world.mx.script(|_, step| match step {
        Step::Rcpt(address) if address.starts_with("gone") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    let shop = Api::new(port, "shop");
    for n in 0..20 {
        let to = if n % 2 == 0 { format!("gone{n}@example.test") } else { format!("a{n}@example.test") };
        shop.mail(&json!({"from": FROM, "to": to, "text": "x"}));
    }
    until("all ends", || (world.relay.log().events().iter().filter(|e| e["event"] == "bounced").count() == 10).then_some(()));
    world
}

fn keys(list: &Value) -> Vec<String> {
    let all = list.as_array().unwrap_or_else(|| panic!("{list}"));
    all.iter().map(|one| format!("{} {}", one["rule"].as_str().unwrap(), one["key"].as_str().unwrap())).collect()
}

#[test]
fn who_may_monitor_sees_everything_and_a_user_what_is_its_own() {
    let port = free_port();
    let world = world(port);
    let [watch, boss, shop, other] = ["watch", "boss", "shop", "other"].map(|token| Api::new(port, token));
    let own = until("the user's incident", || {
        let list = shop.get("/v1/incidents").json()["incidents"].clone();
        (list.as_array()?.len() >= 2).then_some(list)
    });
    let mut seen = keys(&own);
    seen.sort();
    assert_eq!(seen, ["unknown_users stream:letters", "unknown_users user:shop"]);
    assert!(keys(&watch.get("/v1/incidents").json()["incidents"]).iter().any(|key| key.starts_with("house relay")));
    assert_eq!(other.get("/v1/incidents").json(), json!({"incidents": [], "more": 0}));

    let user = own.as_array().unwrap().iter().find(|one| one["key"] == "user:shop").unwrap();
    let id = user["id"].as_str().unwrap();
    let (path, mute) = (format!("/v1/incidents/{id}"), format!("/v1/incidents/{id}/mute"));
    assert_eq!((shop.get(&path).json()["id"].as_str(), other.get(&path).status), (Some(id), 404));
    assert_eq!((user["n"].as_u64(), user["of"].as_u64(), &user["limit_from"]), (Some(10), Some(20), &"default".into()), "{user}");
    for who in [&shop, &watch] {
        assert_eq!(who.post(&mute, &json!({"reason": "we know"})).status, 403, "a mute silences everybody's alarms");
    }
    let muted = boss.post(&mute, &json!({"reason": "we know", "until": "2099-01-01T00:00:00Z"})).json();
    assert_eq!((&muted["state"], &muted["mute"]["until"]), (&"muted".into(), &"2099-01-01T00:00:00Z".into()));
    let listed = |filter: &str| keys(&watch.get(&format!("/v1/incidents?{filter}")).json()["incidents"]);
    assert_eq!(listed("state=muted"), ["unknown_users user:shop"]);
    assert_eq!(listed("rule=unknown_users&state=open"), ["unknown_users stream:letters"]);
    assert_eq!((listed("severity=critical&key=stream:letters").len(), listed("severity=warn&key=stream:letters").len()), (1, 0));
    let told: Value = serde_json::from_slice(&world.relay.cli(["incidents", "list", "--json"]).stdout).unwrap();
    let api = watch.get("/v1/incidents").json()["incidents"].clone();
    assert_eq!(keys(&told), keys(&api), "the command shows the same");
    assert_eq!(boss.call("POST", &format!("{path}/close"), &[], b"").json()["state"], "closed");
}

#[test]
fn every_lost_point_is_a_finding_with_its_figures() {
    let port = free_port();
    let world = world(port);
    let [watch, shop, other] = ["watch", "shop", "other"].map(|token| Api::new(port, token));
    let lost = until("the score's findings", || {
        let list = watch.get("/v1/findings?rule=score").json()["findings"].clone();
        list.as_array().is_some_and(|list| !list.is_empty()).then_some(list)
    });
    let of = |key: &str| {
        let id = format!("score/unknown_users/{key}");
        lost.as_array().unwrap().iter().find(|one| one["id"] == id.as_str()).unwrap_or_else(|| panic!("{id} in {lost}")).clone()
    };
    let pair = of("stream_provider:letters/example.test");
    assert_eq!((pair["n"].as_u64(), pair["of"].as_u64(), &pair["limit"]), (Some(10), Some(20), &"0.5 %".into()), "{pair}");
    for field in ["detail", "measure", "limit_from", "problem_of", "done", "next_step", "query", "first_seen", "last_seen"] {
        assert!(pair[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {pair}");
    }
    assert_eq!((&of("relay")["state"], &pair["problem_of"]), (&"open".into(), &"senders_list".into()));
    let own = keys(&shop.get("/v1/findings").json()["findings"]);
    assert!(
        own.contains(&"score stream_provider:letters/example.test".into()) && own.contains(&"unknown_users user:shop".into()),
        "{own:?}"
    );
    assert!(!own.iter().any(|key| key.ends_with(" relay") || key.contains("lane:")), "{own:?}");
    assert_eq!(other.get("/v1/findings").json()["findings"], json!([]));
    let told = world.relay.ok(["incidents", "findings"]);
    assert!(told.contains("score/unknown_users/stream_provider:letters/example.test") && told.contains("10 of 20"), "{told}");

    let score = watch.get("/v1/score").json();
    let (all, stream) = (&score["all"], &score["streams"]["letters"]);
    assert!(all["value"].as_u64() < Some(90) && all["value"] == stream["value"], "{score}");
    assert_eq!((&all["days"], &all["last_day"]), (&all["value"], &all["value"]), "all of it is of today");
    let unknown = all["measures"].as_array().unwrap().iter().find(|measure| measure["measure"] == "unknown_users").unwrap();
    assert_eq!((unknown["bad"].as_u64(), unknown["of"].as_u64()), (Some(10), Some(20)), "{unknown}");
    assert!(all["note"].as_str().unwrap().ends_with("of 4 factors measured"), "{all}");
    let few = watch.get("/v1/score?by=source_provider").json();
    assert!(few.get("all").is_none() && few["lanes"].as_array().is_some_and(|lanes| lanes.len() == 1), "{few}");
    let own = shop.get("/v1/score").json();
    assert!(own.get("all").is_none() && own["providers"] == json!({}) && own["streams"]["letters"]["value"] == stream["value"], "{own}");
    assert_eq!(other.get("/v1/score").json()["streams"], json!({}));

    let cohorts = watch.get("/v1/tallies?view=cohort&by=stream&key=letters").json();
    let today = &cohorts["steps"][0];
    assert_eq!(
        (today["rows"][0]["bounced"].as_u64(), &today["moving"], &cohorts["view"]),
        (Some(10), &true.into(), &"cohort".into()),
        "{cohorts}"
    );
}

#[test]
fn metrics_tell_how_the_relay_is() {
    let port = free_port();
    let world = world(port);
    let watch = Api::new(port, "watch");
    let text =
        until("what the rules saw", || Some(watch.get("/metrics").text()).filter(|text| text.contains("posthaste_disk_free_bytes{")));
    let value = |text: &str, name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
    for name in [
        r#"posthaste_disk_free_bytes{holds="spool"}"#,
        r#"posthaste_disk_size_bytes{holds="log"}"#,
        r#"posthaste_incidents_open{severity="warn"}"#,
        "posthaste_config_last_reload_success_timestamp_seconds",
        r#"posthaste_queue_recipients{state="due"}"#,
        r#"posthaste_commit_seconds_bucket{of="spool",le="0.1"}"#,
        r#"posthaste_commit_seconds_count{of="log"}"#,
    ] {
        assert!(value(&text, name).is_some(), "{name} is not in {text}");
    }
    assert!(text.contains("posthaste_build_info{version=\""), "{text}");
    assert_eq!(value(&text, "posthaste_config_last_reload_successful"), Some(1.0));
    let critical = r#"posthaste_incidents_open{severity="critical"}"#;
    until("critical incidents", || value(&watch.get("/metrics").text(), critical).filter(|n| *n >= 2.0));
    let scored = until("the score", || Some(watch.get("/metrics").text()).filter(|text| value(text, "posthaste_health_score").is_some()));
    let told = watch.get("/v1/score").json();
    assert_eq!(value(&scored, "posthaste_health_score"), told["all"]["value"].as_f64(), "{scored}");
    assert_eq!(value(&scored, r#"posthaste_stream_health_score{stream="letters"}"#), told["streams"]["letters"]["value"].as_f64());
    assert!(!scored.contains("example.test"), "labels are closed sets: {scored}");

    world.relay.change_config("no_such_key = 1");
    assert!(!world.relay.cli(["reload"]).status.success());
    assert_eq!(value(&watch.get("/metrics").text(), "posthaste_config_last_reload_successful"), Some(0.0));
}
