//! `posthaste report`: what the log comes to, the same to the unit however it was counted.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{
    Act, Mail, Relay, Step, World,
    http::{Api, config},
    relay::{free_port, text},
    wait::until,
};

const FROM: &str = "writer@sender.test";

/// Some delivered, some bounced, some deferred, some refused, in two streams and with tags. Returns once each has an end or has to wait.
fn send(world: &World, rounds: usize) {
    let before = world.relay.log().of("accepted", "").len();
    for n in 0..rounds {
        let stream = ["letters", "default"][n % 2];
        let letter =
            format!("X-Posthaste-Stream: {stream}\r\nX-Posthaste-Tag: t{}\r\nFrom: <{FROM}>\r\nSubject: x\r\n\r\nHello.\r\n", n % 3);
        let to = [&*format!("a{n}@example.test"), "gone@example.test", "late@cousin.test"];
        world.relay.send(&Mail::raw("", &to, letter.as_bytes()));
    }
    until("all attempts", || {
        let events = world.relay.log().events();
        let count = |words: &[&str]| events.iter().filter(|event| words.iter().any(|word| event["event"] == *word)).count();
        let all = before + 3 * rounds;
        (count(&["accepted"]) == all && count(&["delivered", "bounced", "suppressed", "deferred"]) == all).then_some(())
    });
}

fn world() -> World {
    started("")
}

fn started(more: &str) -> World {
    let world = World::start(&format!("{more}\nretry.schedule = [\"1h\"]\nstream.letters = {{}}"));
    world.mx.script(|_, step| match step {
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        Step::Rcpt("late@cousin.test") => Act::Say("451 4.3.2 later".into()),
        _ => Act::Usual,
    });
    world.dns.mx("cousin.test", 10, "mx.cousin.test").a("mx.cousin.test", "127.0.0.1");
    world
}

fn report(relay: &Relay, by: &str) -> Value {
    let told = relay.ok(["report", "--since", "2h", "--by", by, "--rows", "1000", "--json"]);
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// What jq counts in the log: for each value of `key`, how many lines of each event.
fn counted(relay: &Relay, key: &str) -> Value {
    let program = format!(
        "reduce (inputs | select({key} != null)) as $e ({{}}; reduce ($e | [{key}] | flatten | .[]) as $k (.; .[$k | tostring][$e.event] += 1))"
    );
    let mut jq = Command::new("jq");
    jq.args(["-n", "-c", &program]).arg(relay.dir().join("data/log/delivery.log"));
    let out = jq.output().expect("jq runs");
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).expect("jq writes JSON")
}

fn agree(relay: &Relay) {
    for (by, key) in [
        ("all", "\"all\""),
        ("provider", ".provider"),
        ("source", ".source"),
        ("stream", ".stream"),
        ("domain", ".domain"),
        ("from_domain", ".from_domain"),
        ("tag", ".tags"),
        ("class", "(select(.event | IN(\"deferred\", \"bounced\", \"expired\", \"late_bounced\")) | .class)"),
        ("stream_provider", "(select(.provider) | .stream + \" \" + .provider)"),
    ] {
        let (report, counted) = (report(relay, by), counted(relay, key));
        let rows = report["rows"].as_array().unwrap_or_else(|| panic!("no rows in {report}"));
        assert!(!rows.is_empty() && rows.len() == counted.as_object().unwrap().len(), "{by}: {report} and {counted}");
        for row in rows {
            for event in ["accepted", "delivered", "deferred", "bounced", "expired", "held", "suppressed", "late_bounced"] {
                let (told, found) = (&row[event], &counted[row["key"].as_str().unwrap()][event]);
                assert_eq!(told.as_u64(), found.as_u64().or(Some(0)), "{by} {} {event}: {row} and {counted}", row["key"]);
            }
        }
    }
}

#[test]
fn a_report_says_what_jq_counts_after_a_kill_a_restart_and_a_rebuild() {
    let mut world = world();
    send(&world, 12);
    agree(&world.relay);
    world.relay.kill();
    world.relay.run();
    send(&world, 6);
    agree(&world.relay);
    let before = report(&world.relay, "domain");
    world.relay.stop();
    let stopped = report(&world.relay, "domain");
    assert_eq!(before["rows"], stopped["rows"], "without a relay the figures are the same");
    for part in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(world.relay.dir().join("data").join(format!("tallies.db{part}")));
    }
    assert_eq!(report(&world.relay, "domain")["rows"], before["rows"], "counted again from the log");
}

#[test]
fn api_and_metrics_say_what_the_report_says_to_those_who_may_monitor() {
    let port = free_port();
    let http = config(port, &[("watch", "watch", &["monitor"]), ("app", "app", &["send"])]);
    let world = started(&format!("{http}\nlisten.default.streams = [\"letters\"]\nhttp.metrics_allow = [\"192.0.2.0/24\"]"));
    send(&world, 6);
    let (watch, app) = (Api::new(port, "watch"), Api::new(port, "app"));
    for path in ["/v1/report", "/v1/tallies", "/metrics"] {
        assert_eq!(app.get(path).status, 403, "{path}");
    }
    let (told, answered) = (report(&world.relay, "provider"), watch.get("/v1/report?by=provider").json());
    assert_eq!((&answered["rows"], &answered["delivered"]), (&told["rows"], &told["delivered"]));
    let series = watch.get("/v1/tallies?by=provider&grain=minute&key=example.test").json();
    let steps = series["steps"].as_array().unwrap();
    let delivered = steps.iter().map(|step| step["rows"][0]["delivered"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(Some(delivered), told["delivered"].as_u64(), "{series}");
    let text = watch.get("/metrics").text();
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok());
        lines.sum::<f64>() as u64
    };
    let count = |event: &str| counted(&world.relay, "\"all\"")["all"][event].as_u64().unwrap_or(0);
    assert_eq!(value("posthaste_accepted_total{"), count("accepted"), "{text}");
    assert_eq!(value(r#"posthaste_recipients_total{provider="other",result="delivered""#), count("delivered"), "{text}");
    assert_eq!(value("posthaste_deferrals_total{"), count("deferred"), "{text}");
    assert_eq!(value("posthaste_suppressed_total{"), count("suppressed"), "{text}");
    assert_eq!(value(r#"posthaste_queue_recipients{state="later""#), 6, "{text}");
    assert!(!text.contains("example.test"), "{text}");
    let open = watch.call("GET", "/metrics", &[("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")], b"");
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
    let promtool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.expect("promtool, of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{checked:?}\n{text}");
}

#[test]
fn alert_rules_hold_what_they_say_and_the_dashboard_shows_what_there_is() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for arguments in [["check", "rules", "prometheus/posthaste.rules.yml"], ["test", "rules", "prometheus/posthaste.test.yml"]] {
        let out = Command::new("promtool").args(arguments).current_dir(&deploy).output().expect("promtool runs");
        assert!(out.status.success(), "{out:?}");
    }
    let port = free_port();
    let world = started(&format!("{}\nlisten.default.streams = [\"letters\"]", config(port, &[("watch", "watch", &["monitor"])])));
    send(&world, 1);
    let told = Api::new(port, "watch").get("/metrics").text();
    let (mut used, mut unknown) = (0, Vec::new());
    for file in ["prometheus/posthaste.rules.yml", "grafana/posthaste.json"] {
        let text = fs::read_to_string(deploy.join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("posthaste_")) {
            used += 1;
            let is_there = told.lines().any(|line| {
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()).is_some_and(|metric| {
                    let base = name.strip_suffix("_bucket").unwrap_or(name);
                    metric == base
                })
            });
            unknown.extend((!is_there).then(|| format!("{file}: {name}")));
        }
    }
    assert!(used > 30 && unknown.is_empty(), "{used} names, of which there are not: {unknown:#?}\n{told}");
}

#[test]
fn damaged_tallies_are_made_again_from_the_log() {
    let mut world = world();
    send(&world, 3);
    let before = report(&world.relay, "stream");
    world.relay.stop();
    let path = world.relay.dir().join("data").join("tallies.db");
    let _ = fs::remove_file(world.relay.dir().join("data").join("tallies.db-wal"));
    fs::write(&path, b"this is no database, and long enough to be seen as none of them").unwrap();
    world.relay.run();
    until("the word about the tallies", || world.relay.log().tail().contains("the log is counted again").then_some(()));
    assert_eq!(report(&world.relay, "stream")["rows"], before["rows"]);
}

#[test]
fn people_read_shares_of_what_and_not_of_few() {
    let world = world();
    send(&world, 2);
    let told = world.relay.ok(["report", "--by", "provider"]);
    for part in [
        "accepted",
        "2 of 4 finished",
        "not enough mail yet: 4 of 100",
        "invalid_recipient",
        "acceptance to delivery",
        "By provider",
        "example.test",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    let formula = world.relay.ok(["report", "--explain-score"]);
    assert!(formula.contains("estimate") && formula.contains("audience"), "{formula}");
    let unknown = world.relay.cli(["report", "--by", "colour"]);
    assert!(!unknown.status.success() && text(&unknown.stderr).contains("is none of: all, provider"), "{unknown:?}");
    assert_eq!(json!(report(&world.relay, "all")["rows"][0]["key"]), "all");
}

#[test]
fn a_full_report_tells_the_mail_apart_in_all_ways_and_its_parts_add_up() {
    let mut world = world();
    send(&world, 6);
    let full = |relay: &Relay| -> Value { serde_json::from_str(&relay.ok(["report", "--full", "--json"])).unwrap() };
    let told = full(&world.relay);
    let rows = |by: &str| {
        let part = told["parts"].as_array().unwrap().iter().find(|part| part["by"] == by);
        part.map(|part| part["rows"].as_array().unwrap().clone()).unwrap_or_default()
    };
    let sum = |by: &str, word: &str| rows(by).iter().map(|row| row[word].as_u64().unwrap()).sum::<u64>();
    for (by, word) in
        [("hour", "accepted"), ("hour", "deferred"), ("provider", "attempts"), ("domain", "accepted"), ("stream", "delivered")]
    {
        assert_eq!(Some(sum(by, word)), told[word].as_u64(), "{by} {word}: {told}");
    }
    assert!(rows("source").is_empty(), "the only source says nothing");
    let reasons = rows("rule_provider");
    let bounced = reasons.iter().filter_map(|row| row["classes"]["invalid_recipient"]["bounced"].as_u64()).sum::<u64>();
    assert_eq!(Some(bounced), told["bounced"].as_u64(), "{reasons:?}");
    let text = world.relay.ok(["report", "--full"]);
    for part in [
        "By hour",
        "By provider",
        "By recipients' domain",
        "By From domain",
        "Reasons: rule, provider",
        "Incidents: ",
        "Recipients. of fin.:",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let hours = world.relay.ok(["report", "--since", "3h", "--by", "hour"]);
    assert!(hours.contains("By hour") && hours.contains(":00 "), "{hours}");
    for (by, part) in [
        ("class", "invalid_recipient"),
        ("rule_provider", "example.test"),
        ("reason", "refusals"),
        ("day", "By day"),
        ("tag", "t1"),
        ("all", "all"),
    ] {
        let text = world.relay.ok(["report", "--by", by]);
        assert!(text.contains(part), "{by}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    world.relay.stop();
    assert_eq!(full(&world.relay)["parts"], told["parts"], "without a relay the figures are the same");
}

#[test]
fn a_day_without_mail_says_so_and_a_day_that_is_none_is_refused() {
    let world = world();
    send(&world, 1);
    for day in ["--day=2020-01-01", "--day=yesterday"] {
        let said = world.relay.ok(["report", day, "--full"]);
        assert!(said.contains("No mail: nothing was accepted, tried or refused") && said.contains("The newest event"), "{said}");
    }
    assert!(world.relay.ok(["report", "--day"]).contains("accepted"), "the day so far");
    let none = world.relay.cli(["report", "--day=someday"]);
    assert!(!none.status.success() && text(&none.stderr).contains("is no day: today, yesterday"), "{none:?}");
}

#[test]
fn a_bulk_stream_without_one_click_loses_points_for_it() {
    let world = World::start("stream.letters = { bulk = true }\nstream.receipts = {}");
    let send = |stream: &str, more: &str| {
        let to: Vec<String> = (0..120).map(|n| format!("{stream}{n}@example.test")).collect();
        let letter = format!("X-Posthaste-Stream: {stream}\r\nFrom: <{FROM}>\r\nSubject: x\r\n{more}\r\nHello.\r\n");
        world.relay.send(&Mail::raw("", &to.iter().map(String::as_str).collect::<Vec<_>>(), letter.as_bytes()));
    };
    let loses = || {
        let told = report(&world.relay, "stream");
        told["score"]["all"]["losses"].as_array().unwrap().iter().any(|loss| loss["cause"] == "one_click")
    };
    send("receipts", "");
    world.relay.log().wait_for_many("delivered", "", 120);
    assert!(!loses(), "receipts need none");
    send("letters", "");
    world.relay.log().wait_for_many("delivered", "", 240);
    assert!(loses(), "newsletters do");
    assert!(world.relay.ok(["report", "--explain-score"]).contains("Bulk streams: letters. Streams that track: none."));
}
