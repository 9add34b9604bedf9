//! `posthaste warmup`: status, control, simulation and audit, with a running relay and without one.

use serde_json::Value;
use support::{Mail, World, wait};

const FROM: &str = "writer@sender.test";
const LANE: &str = "ip1/example.test";

/// One source that may send three recipients on its first day, and any number afterwards.
const COLD: &str = "[source.ip1]\naddress = \"127.0.0.1\"\nwarmup = \"small\"\n[curve.small]\ncaps = [3]\nburst = 3\n";

fn rcpt(n: usize) -> String {
    format!("r{n}@example.test")
}

/// Five recipients were accepted, three delivered, and two wait.
fn five_for_three() -> World {
    let world = World::start(COLD);
    for n in 0..5 {
        world.relay.send(&Mail::new(FROM, &[&rcpt(n)], "news"));
    }
    world.relay.log().wait_for_many("delivered", "", 3);
    world.relay.log().wait_for_many("held", "", 2);
    world
}

fn lane(world: &World) -> Value {
    serde_json::from_str(&world.relay.ok(["warmup", "status", "--json"])).expect("one lane, one line")
}

#[test]
fn the_status_tells_the_budget_and_an_operator_lets_more_go() {
    let world = five_for_three();
    let before = lane(&world);
    assert_eq!((&before["source"], &before["provider"], &before["curve"]), (&"ip1".into(), &"example.test".into(), &"small".into()));
    assert_eq!((&before["stage"], &before["stages"], &before["cap"]), (&1.into(), &1.into(), &3.into()));
    assert_eq!((&before["used"], &before["accepted"], &before["remaining"]), (&3.into(), &3.into(), &0.into()));
    assert!(before["hold"].as_str().is_some_and(|hold| hold.contains("3 of 3")), "{before}");
    let text = world.relay.ok(["warmup", "status"]);
    assert!(text.starts_with("lane ") && text.contains(LANE) && text.contains("waits until "), "{text}");

    let steered = world.relay.ok(["warmup", "advance", LANE, "--reason", "a trial"]);
    assert!(steered.contains("warm"), "{steered}");
    world.relay.log().wait_for_many("delivered", "", 5);
    let after = lane(&world);
    assert_eq!((&after["stage"], &after["cap"], &after["accepted"]), (&Value::Null, &Value::Null, &5.into()));
    let told = world.relay.log().of("lane", "");
    assert!(told.iter().any(|event| event["detail"].as_str().is_some_and(|detail| detail.contains("tester: a trial"))), "{told:?}");
}

#[test]
fn a_stop_holds_until_it_is_resumed_and_outlives_a_crash() {
    let mut world = World::start(COLD);
    world.relay.send(&Mail::new(FROM, &[&rcpt(0)], "news"));
    world.relay.log().wait_for("delivered", &rcpt(0));
    // Past its curve only the stop holds the lane; under a cap a crash would cost part of the day's budget.
    world.relay.ok(["warmup", "advance", LANE, "--reason", "a trial"]);
    world.relay.ok(["warmup", "stop", LANE, "--reason", "they wrote to us"]);
    world.relay.send(&Mail::new(FROM, &[&rcpt(1)], "news"));
    world.relay.log().wait_for("held", &rcpt(1));
    world.relay.kill();
    world.relay.run();
    let stopped = wait::until("the lane to be there", || Some(lane(&world)).filter(|lane| lane["hold"].is_string()));
    assert_eq!((&stopped["hold"], &stopped["next_release"]), (&"stopped: tester: they wrote to us".into(), &Value::Null));
    world.relay.ok(["warmup", "resume", LANE, "--reason", "settled"]);
    world.relay.log().wait_for("delivered", &rcpt(1));
}

#[test]
fn a_lane_that_is_not_there_is_said_with_those_that_are() {
    let world = five_for_three();
    let out = world.relay.cli(["warmup", "hold", "ip1/gogle", "--reason", "x"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("there is no lane ip1/gogle; lanes are: ip1/example.test"), "{said}");
    assert!(!world.relay.cli(["warmup", "hold", "nonsense", "--reason", "x"]).status.success());
}

#[test]
fn a_plot_draws_the_days_against_the_curve() {
    let world = five_for_three();
    let plot = world.relay.ok(["warmup", "plot", LANE]);
    assert!(plot.contains("ip1/example.test on small") && plot.contains('█') && plot.contains(" 3 of 3 "), "{plot}");
    let days: Vec<Value> =
        world.relay.ok(["warmup", "plot", LANE, "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((days.len(), &days[0]["counts"]["accepted"]), (1, &3.into()));
}

#[test]
fn the_audit_counts_the_log_again_and_finds_a_line_too_many() {
    let mut world = five_for_three();
    let running = world.relay.ok(["warmup", "audit"]);
    assert_eq!(running, "1 lane days, 3 recipients answered: ledger and log agree\n");
    assert!(world.relay.stop().success());
    assert_eq!(world.relay.ok(["warmup", "audit"]), running);

    let path = world.relay.dir().join("data/log").join(posthaste_monitor::CURRENT);
    let text = std::fs::read_to_string(&path).unwrap();
    let at = text.find(r#""event":"delivered""#).expect("three were delivered");
    let (start, end) = (text[..at].rfind('\n').map_or(0, |n| n + 1), at + text[at..].find('\n').unwrap() + 1);
    std::fs::write(&path, format!("{}{}", &text[..end], &text[start..])).unwrap();
    world.relay.spoilt();
    let out = world.relay.cli(["warmup", "audit"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("accepted 3 in the ledger, 4 in the log") && said.contains("DIFFER"), "{said}");
}

#[test]
fn a_simulation_needs_no_relay() {
    let world = World::start(COLD);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/examples/two-ips.toml");
    let options =
        ["warmup", "simulate", "--config", example, "--volume", "2000/day", "--mix", "google=3,microsoft=1", "--from", "2026-11-23"];
    let days = world.relay.ok(options.into_iter().chain(["--days", "20", "--json"]));
    let days: Vec<Value> = days.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(days.len(), 20);
    assert!(days.iter().all(|day| day["sent"] == 2000 && day["held"] == 0), "the warm address takes the rest: {days:?}");
    let cold = |day: usize| days[day]["lanes"].as_array().unwrap().iter().map(|lane| lane["accepted"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((cold(0), cold(1)), (50 + 30, 100 + 41));
    let text = world.relay.ok(options);
    assert!(text.contains("full volume, each day's mail sent on its day: day 1"), "{text}");
}
