//! The relay itself: its certificates, disks, clock, log, configuration and spool.

use std::fs;

use rustix::io::Errno;
use serde_json::Value;
use support::{
    certs::dated_pem,
    netns,
    relay::free_port,
    scene::{Scene, letter, now},
    shim::{SYNC, SystemFault, WRITE},
    wait::until,
};

/// All calls of these kinds on paths that contain `part` fail with this error, or are slow.
fn fault(mask: u64, part: &'static str, error: Option<Errno>, delay: u64) -> SystemFault {
    SystemFault { mask, part, error, count: u64::MAX, per_mille: 1000, torn: false, delay }
}

#[test]
fn a_certificate_that_expires_soon_is_an_incident() {
    let ports = [free_port(), free_port()];
    let write = |dir: &std::path::Path, name: &str, days: i64| {
        let today = now(dir).to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let until = today.checked_add(jiff::Span::new().days(days)).unwrap();
        let (year, month, day) = (i32::from(until.year()), until.month() as u8, until.day() as u8);
        let (certificate, key) = dated_pem(name, (2025, 1, 1), (year, month, day));
        // The relay takes half of a renewal for a mistake, and waits for the other half.
        fs::write(dir.join(format!("{name}.key")), key).unwrap();
        fs::write(dir.join(format!("{name}.pem")), certificate).unwrap();
    };
    let mut scene = Scene::start(|relay| {
        let listener = |name: &str, port: u16, days: i64| {
            write(relay.dir(), name, days);
            format!(
                "listen.{0} = {{ address = \"127.0.0.1:{port}\", tls = \"starttls\", certificate = \"{name}.pem\", key = \"{name}.key\" }}\n",
                name.split('.').next().unwrap()
            )
        };
        listener("soon.test", ports[0], 14) + &listener("later.test", ports[1], 16)
    });
    let cause = ["The certificate for soon.test expires at", "in 13d"];
    scene.lives(("house", "relay:certificate/soon.test"), &cause, "posthaste reload", 31, |scene| {
        assert!(scene.told("house", "relay:certificate/later.test").is_empty());
        write(scene.relay.dir(), "soon.test", 90);
        scene.relay.log().wait_for_relay("renewed");
    });
}

#[test]
fn a_disk_that_is_nearly_full_or_fills_fast_is_an_incident() {
    if !netns::inside("of_house::a_disk_that_is_nearly_full_or_fills_fast_is_an_incident") {
        return;
    }
    let mut scene = Scene::start(|relay| {
        let log = relay.dir().join("data/log");
        fs::create_dir_all(&log).unwrap();
        netns::disk(&log, 64 << 20);
        "rules.house.disk_free = 0.1\nrules.house.disk_lasts = \"1h\"\n".into()
    });
    let junk = scene.relay.dir().join("data/log/junk");
    let fill = |mebibytes: usize| fs::write(&junk, vec![0; mebibytes << 20]).unwrap();
    fill(56);
    scene.silent("house", "relay:disk/log");
    fill(58);
    let cause = ["The disk of the log", "% free"];
    scene.lives(("house", "relay:disk/log"), &cause, "du -xh", 31, |_| fill(1));
    // The pace is that since the start: 29 MiB in 61 minutes leave more than an hour, 44 MiB do not.
    let open = |scene: &Scene| scene.shown("house", "relay:disk/log").into_iter().find(|incident| incident["state"] == "open");
    scene.restart();
    scene.looked();
    fill(30);
    scene.pass(61);
    scene.looked();
    assert_eq!(open(&scene), None);
    fill(45);
    let again = until("the second one", || open(&scene));
    assert!(again["detail"].as_str().is_some_and(|detail| detail.contains("at this pace full in")), "{again}");
}

#[test]
fn a_disk_that_is_slow_for_ten_minutes_is_an_incident() {
    let mut scene = Scene::start(|_| String::new());
    let send = |scene: &Scene, n: usize| scene.relay.send(&letter("default", "sender.test", &[format!("r{n}@example.test")]));
    scene.shim.begin(&fault(SYNC, "data/spool", None, 150_000));
    (0..3).for_each(|n| drop(send(&scene, n)));
    scene.looked();
    scene.pass(9);
    scene.silent("house", "relay:fsync");
    scene.pass(1);
    let opened = scene.opened("house", "relay:fsync");
    assert!(opened["detail"].as_str().is_some_and(|detail| detail.contains("one sync in a hundred takes")), "{opened}");
    assert!(opened["next_step"].as_str().is_some_and(|step| step.contains("iostat")), "{opened}");
    scene.shim.lift();
    // A restart begins to measure anew. What it has not measured yet is no news either way: the incident stays until half an hour has passed.
    scene.restart();
    (0..3).for_each(|n| drop(send(&scene, 10 + n)));
    scene.looked();
    assert_eq!(scene.shown("house", "relay:fsync")[0]["state"], "open", "not found for some seconds only");
    scene.pass(31);
    let closed = until("its end", || scene.told("house", "relay:fsync").into_iter().find(|event| event["state"] == "closed"));
    assert_eq!(closed["incident"], opened["incident"]);
}

#[test]
fn a_log_that_cannot_be_written_is_an_incident_though_it_cannot_say_so() {
    let mut scene = Scene::start(|_| String::new());
    scene.looked();
    scene.shim.begin(&fault(WRITE, "data/log", Some(Errno::NOSPC), 0));
    // It has something to say.
    scene.relay.ok(["reload"]);
    scene.looked();
    scene.pass(14);
    scene.looked();
    assert!(scene.shown("house", "relay:behind/log").is_empty(), "for 14 minutes");
    scene.pass(2);
    until("the incident", || scene.shown("house", "relay:behind/log").pop());
    scene.shim.lift();
    let cause = ["The log is", "behind: what happens to mail is not on disk yet"];
    scene.lives(("house", "relay:behind/log"), &cause, "posthaste alarms", 31, |scene| {
        until("mail to be taken", || scene.relay.submit(&letter("default", "sender.test", &["r1@example.test".into()])).id().map(drop));
    });
}

#[test]
fn tallies_that_cannot_be_written_are_an_alarm_while_mail_goes_on() {
    let mut scene = Scene::start(|_| String::new());
    scene.send("default", "example.test", 1, 0);
    scene.looked();
    scene.shim.begin(&fault(WRITE | SYNC, "tallies.db", Some(Errno::NOSPC), 0));
    scene.send("default", "example.test", 5, 0);
    let alarm = scene.relay.log().wait_until("the alarm", |event| event["state"] == "alarm" && event["part"] == "tallies");
    assert!(alarm["detail"].as_str().is_some_and(|detail| detail.contains("Mail goes on")), "{alarm}");
    scene.pass(14);
    scene.silent("house", "relay:behind/tallies");
    scene.pass(2);
    scene.opened("house", "relay:behind/tallies");
    scene.send("default", "example.test", 1, 0);
    scene.shim.lift();
    let cause = ["tallies is", "behind the log"];
    scene.lives(("house", "relay:behind/tallies"), &cause, "journalctl -u posthaste", 31, |scene| {
        scene.relay.log().wait_until("its end", |event| event["state"] == "alarm_over" && event["part"] == "tallies");
        let report = scene.relay.ok(["report", "--json", "--since", "2026-01-01T00:00:00Z", "--until", "2036-01-01T00:00:00Z"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["delivered"], 7, "counted to the last one");
    });
}

#[test]
fn a_clock_that_is_set_is_an_incident_for_an_hour() {
    let mut scene = Scene::start(|_| String::new());
    scene.looked();
    scene.step(1);
    scene.silent("house", "relay:clock");
    scene.step(3600);
    let opened = scene.opened("house", "relay:clock");
    assert!(opened["detail"].as_str().is_some_and(|detail| detail.contains("The clock stepped forward by 1h")), "{opened}");
    assert!(opened["next_step"].as_str().is_some_and(|step| step.contains("chrony")), "{opened}");
    scene.restart();
    scene.looked();
    assert_eq!(scene.shown("house", "relay:clock")[0]["state"], "open", "the rule remembers the step");
    // While the relay is down the clock goes on, and nobody sees it step.
    scene.relay.stop();
    scene.pass(91);
    scene.relay.run();
    let closed = until("its end", || scene.told("house", "relay:clock").into_iter().find(|event| event["state"] == "closed"));
    assert_eq!(closed["incident"], opened["incident"]);
    scene.step(-7200);
    let back = scene.relay.log().wait_until("the step back", |event| {
        event["event"] == "incident" && event["state"] == "opened" && event["detail"].to_string().contains("stepped back by 2h")
    });
    assert_eq!(back["key"], "relay:clock");
    scene.looked();
    assert!(alarms(&scene).is_empty(), "the alarm about the same is no second incident");
}

/// The incidents about alarms, by the log.
fn alarms(scene: &Scene) -> Vec<Value> {
    let about = |event: &Value| event["key"].as_str().is_some_and(|key| key.starts_with("relay:alarm/"));
    scene.relay.log().of("incident", "").into_iter().filter(about).collect()
}

#[test]
fn a_reload_that_is_refused_is_an_incident_until_one_succeeds() {
    let mut scene = Scene::start(|_| String::new());
    scene.relay.ok(["reload"]);
    scene.silent("house", "relay:reload");
    let good = fs::read_to_string(scene.relay.config_path()).unwrap();
    scene.relay.write_config(&format!("hostnam = \"x\"\n{good}"));
    assert!(!scene.relay.cli(["reload"]).status.success());
    let opened = scene.opened("house", "relay:reload");
    assert!(opened["detail"].as_str().is_some_and(|detail| detail.contains("The reload at") && detail.contains("hostnam")), "{opened}");
    assert!(alarms(&scene).is_empty(), "it is one incident, not two");
    // A restart needs a good configuration, and shows by that that it is mended.
    scene.relay.write_config(&good);
    scene.lives(("house", "relay:reload"), &["was refused"], "posthaste check", 31, |scene| drop(scene.relay.ok(["reload"])));
}

#[test]
fn a_piece_in_quarantine_is_an_incident_until_it_is_taken_away() {
    let mut scene = Scene::start(|_| String::new());
    let folder = scene.relay.dir().join("data/spool/quarantine");
    fs::write(folder.join("1-64.torn"), "x").unwrap();
    scene.looked();
    assert_eq!(scene.shown("house", "relay:quarantine")[0]["n"], 1, "what was torn off was promised to nobody");
    let opened = scene.opened("house", "relay:quarantine");
    assert!(
        opened["severity"] == "critical" && opened["next_step"].as_str().is_some_and(|step| step.contains("posthaste audit")),
        "{opened}"
    );
    scene.restart();
    scene.looked();
    fs::remove_file(folder.join("canary.damaged")).unwrap();
    // A look that finds nothing changes no file; the next one that sees this clock closes it.
    scene.pass(31);
    scene.opened("house", "relay:clock");
    scene.looked();
    scene.pass(31);
    let closed = until("its end", || scene.told("house", "relay:quarantine").into_iter().find(|event| event["state"] == "closed"));
    assert_eq!(closed["incident"], opened["incident"]);
}

#[test]
fn an_alarm_that_stands_is_an_incident_until_it_is_acknowledged() {
    let mut scene = Scene::start(|relay| {
        fs::write(relay.dir().join("data/tallies.db"), "this is no database, and long enough to be seen as none of them").unwrap();
        String::new()
    });
    let key = ("house", "relay:alarm/1");
    scene.lives(key, &["Alarm 1 stands since", "the tallies are damaged"], "posthaste alarms acknowledge 1", 31, |scene| {
        scene.relay.ok(["alarms", "acknowledge", "1"]);
    });
}

#[test]
fn an_alarm_that_comes_and_goes_is_one_incident() {
    let scene = Scene::start(|_| String::new());
    let stands = || String::from_utf8(scene.relay.cli(["alarms"]).stdout).unwrap().contains("no mail is taken");
    for time in 0..3 {
        scene.shim.begin(&fault(WRITE, "data/log", Some(Errno::NOSPC), 0));
        // Somebody writes, and the log notices.
        let _ = scene.relay.submit(&letter("default", "sender.test", &[format!("r{time}@example.test")]));
        until("the alarm", || stands().then_some(()));
        scene.looked();
        scene.shim.lift();
        until("its end", || (!stands()).then_some(()));
    }
    let opened: Vec<Value> = alarms(&scene).into_iter().filter(|event| event["state"] == "opened").collect();
    let keys: std::collections::BTreeSet<&str> = opened.iter().filter_map(|event| event["key"].as_str()).collect();
    assert!(keys.contains("relay:alarm/log_unwritable") && keys.len() == opened.len(), "each is opened once: {opened:#?}");
}

#[test]
fn a_pool_whose_addresses_are_gone_is_an_incident() {
    if !netns::inside("of_house::a_pool_whose_addresses_are_gone_is_an_incident") {
        return;
    }
    const ONE: &str = "192.0.2.11";
    const TWO: &str = "192.0.2.12";
    netns::give(ONE);
    netns::give(TWO);
    let mut scene = Scene::start(|_| {
        format!(
            "source.one.address = \"{ONE}\"\nsource.two.address = \"{TWO}\"\npool.alone.sources = [\"one\"]\npool.default.sources = [\"one\", \"two\"]\n\
             stream.letters.pool = \"alone\"\n"
        )
    });
    scene.looked();
    netns::take(ONE);
    let cause = ["Pool alone has no source left", "one (its address is not on this host)"];
    let opened = scene.opened("mail_stands", "pool:alone");
    assert!(cause.iter().all(|part| opened["detail"].as_str().unwrap().contains(part)), "{opened}");
    assert!(scene.told("mail_stands", "pool:default").is_empty(), "it has another one");
    // A configuration with an address that is not here is refused at a start; so it comes back first.
    netns::give(ONE);
    scene.relay.log().wait_for_relay("source_back");
    scene.lives(("mail_stands", "pool:alone"), &cause, "ip address", 31, |_| ());
}
