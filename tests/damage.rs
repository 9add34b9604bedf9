//! Damage to what is on disk: what is lost is said, with what to do, and a later version's files are left alone.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
};

use rustix::io::Errno;
use serde_json::Value;
use support::{
    Act, Client, Mail, Relay, Step, World,
    scene::Scene,
    shim::{READ, SYNC, SystemFault, WRITE},
    wait,
};

const RCPT: &str = "bob@example.test";

/// The spool's segments that hold messages.
fn segments(relay: &Relay) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(relay.dir().join("data/spool/log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| fs::metadata(path).unwrap().len() > 64);
    paths.sort();
    paths
}

/// The last place of a text in a file's bytes.
fn last_place(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).rposition(|window| window == text)
}

/// A relay with a deferred message, which was killed.
fn with_a_deferred_message() -> World {
    let mut world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    world.relay.send(&Mail::new("writer@sender.test", &[RCPT], "damaged later"));
    world.relay.log().wait_for("deferred", RCPT);
    world.relay.kill();
    world
}

#[test]
fn a_message_that_is_damaged_on_disk_is_an_alarm_and_stays_accounted_for() {
    let mut world = with_a_deferred_message();
    let relay = &mut world.relay;
    // The next start begins a segment of its own, so the damaged one is closed.
    relay.run();
    relay.kill();
    let path = segments(relay).remove(0);
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|window| window == b"Hello.").unwrap() as u64;
    fs::File::options().write(true).open(&path).unwrap().write_all_at(b"J", at).unwrap();
    relay.run();
    let alarm = relay.log().wait_for_relay("alarm");
    let detail = alarm["detail"].as_str().unwrap();
    assert!(detail.contains("is damaged on disk") && detail.contains("posthaste queue drop"), "{detail}");
    assert_eq!(relay.log().wait_for_relay("quarantined")["part"], "spool");
    relay.assert_balanced();
}

#[test]
fn a_message_that_damage_to_the_spool_brings_back_is_not_sent_again() {
    let mut world = World::start("retry.schedule = [\"1h\"]\nspool.segment_size = \"1 MiB\"\nspool.compact_below = 0.1");
    let waits = |step: &Step<'_>| matches!(step, Step::Rcpt(rcpt) if rcpt.starts_with("waits"));
    world.mx.script(move |_, step| if waits(&step) { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let relay = &mut world.relay;
    let deliver = |relay: &Relay, rcpt: &str| {
        relay.send(&Mail::new("writer@sender.test", &[rcpt], "once"));
        relay.log().wait_for("delivered", rcpt);
        wait::until("one message to be left", || {
            let queue: serde_json::Value = serde_json::from_str(&relay.ok(["queue", "--json"])).unwrap();
            (queue["counts"]["messages"] == 1).then_some(())
        });
    };
    // A large message that stays keeps the segment from being emptied.
    relay.send(&Mail::raw("writer@sender.test", &["waits@example.test"], &b"Subject: large\r\n".repeat(9000)));
    relay.log().wait_for("deferred", "waits@example.test");
    deliver(relay, RCPT);
    // The audit makes the line of its delivery durable, so that it is removed; what is stored next follows the removal.
    relay.assert_balanced();
    deliver(relay, "between@example.test");
    relay.kill();
    // The checkpoint of this start says that what ended before is forgotten.
    relay.run();
    deliver(relay, "later@example.test");
    relay.kill();
    // Its removal is lost, and what was written later is not.
    let path = segments(relay).remove(0);
    let bytes = fs::read(&path).unwrap();
    // Both messages have this text; the removal of the first is behind the second at the latest.
    let end = bytes.windows(8).position(|window| window == b"Hello.\r\n").unwrap() + 8;
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&vec![0; bytes.len() - end], end as u64).unwrap();
    // A command that opens the spool in between does not make it forgotten.
    relay.ok(["suppress", "add", "somebody@example.test"]);
    relay.run();
    deliver(relay, "last@example.test");
    assert_eq!(relay.log().history(RCPT), ["accepted", "delivered"]);
    assert_eq!(world.mx.messages().iter().filter(|t| t.rcpts == [RCPT]).count(), 1);
}

#[test]
fn a_log_that_was_cut_between_a_kill_and_the_start_is_an_alarm_and_a_gap() {
    let mut world = World::start("");
    let relay = &mut world.relay;
    let listed = |relay: &Relay| {
        let current = || Some(fs::metadata(relay.dir().join("data/log/delivery.log")).ok()?.len());
        let list = || serde_json::from_slice::<serde_json::Value>(&fs::read(relay.dir().join("data/log/delivery.files")).ok()?).ok();
        wait::until("the list of the log's files", || list().filter(|list| list["current"]["length"].as_u64() == current()).and(current()))
    };
    relay.send(&Mail::new("writer@sender.test", &["first@example.test"], "one"));
    relay.log().wait_for("delivered", "first@example.test");
    let length = listed(relay);
    relay.send(&Mail::new("writer@sender.test", &[RCPT], "two"));
    relay.log().wait_for("delivered", RCPT);
    listed(relay);
    relay.kill();
    let path = relay.dir().join("data/log/delivery.log");
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    relay.run();
    wait::until("the alarm", || relay.ok(["alarms"]).contains("delivery.log was cut").then_some(()));
    assert!(!relay.log().of("log_gap", "").is_empty());
    let audit = relay.cli(["audit"]);
    assert!(!audit.status.success(), "{}", support::relay::text(&audit.stdout));
    relay.spoilt();
}

#[test]
fn a_spool_of_a_later_version_is_left_alone() {
    let mut world = with_a_deferred_message();
    let relay = &mut world.relay;
    let paths = segments(relay);
    let write = |digit: &[u8]| {
        for path in &paths {
            fs::File::options().write(true).open(path).unwrap().write_all_at(digit, 7).unwrap();
        }
    };
    let read = || paths.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    write(b"2");
    let before = read();
    relay.spawn();
    assert!(!relay.wait().success());
    assert!(relay.stderr().contains("was written by a later version of posthaste"), "{}", relay.stderr());
    assert_eq!(read(), before);
    write(b"1");
    relay.run();
    relay.assert_balanced();
}

/// The alarms that stand, as the command tells them.
fn standing(relay: &Relay) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&relay.ok(["alarms", "--json"])).unwrap();
    answer["alarms"].as_array().unwrap().clone()
}

fn said(relay: &Relay, state: &str) -> Vec<Value> {
    relay.log().of("relay", "").into_iter().filter(|event| event["state"] == state).collect()
}

#[test]
fn a_missing_segment_stays_an_alarm_through_restarts_until_it_is_acknowledged() {
    let mut world = with_a_deferred_message();
    world.relay.spoilt();
    let relay = &mut world.relay;
    relay.run();
    relay.kill();
    for path in segments(relay) {
        fs::remove_file(path).unwrap();
    }
    // A command that opens the spool finds it first: that must not be the last that anybody hears of it.
    relay.cli(["suppress", "list"]);
    let found = standing(relay);
    assert_eq!(found[0]["rule"], "segment_missing");
    let id = found[0]["id"].as_u64().unwrap();
    for starts in 1..=2 {
        relay.run();
        let alarms = wait::until("the alarm to be said again", || {
            let alarms: Vec<Value> = said(relay, "alarm").into_iter().filter(|event| event["alarm"] == id).collect();
            (alarms.len() == starts).then_some(alarms)
        });
        assert!(alarms[0]["detail"].as_str().unwrap().contains("of the spool is gone"), "{alarms:?}");
        assert!(relay.ok(["queue"]).contains(&format!("alarm {id}, since ")), "{}", relay.ok(["queue"]));
        let queue: Value = serde_json::from_str(&relay.ok(["queue", "--json"])).unwrap();
        assert_eq!(queue["alarms"][0]["rule"], "segment_missing");
        assert!(relay.ok(["alarms"]).contains("their senders have to send them again"));
        relay.kill();
    }
    relay.run();
    assert!(!relay.cli(["alarms", "acknowledge", "77"]).status.success());
    relay.ok(["alarms", "acknowledge", "--all"]);
    assert_eq!(relay.ok(["alarms"]), "no alarm stands\n");
    assert_eq!(relay.log().wait_for_relay("alarm_acknowledged")["alarm"], id);
    let before = said(relay, "alarm").len();
    relay.kill();
    relay.run();
    assert_eq!((standing(relay), said(relay, "alarm").len()), (vec![], before), "it does not come back");
}

/// A relay with this many deferred messages, and the numbers that the spool gave them.
fn with_deferred(count: usize) -> (World, Vec<u64>) {
    let mut world = World::start("retry.schedule = [\"1h\"]\nspool.segment_size = \"1 MiB\"");
    world.relay.spoilt();
    world.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    for n in 0..count {
        let rcpt = format!("r{n}@example.test");
        world.relay.send(&Mail::raw(
            "writer@sender.test",
            &[&rcpt],
            &[&b"Subject: long\r\n\r\n"[..], &b"a message of some length\r\n".repeat(6000)].concat(),
        ));
        world.relay.log().wait_for("deferred", &rcpt);
    }
    let numbers = world.relay.log().of("accepted", "").iter().map(|event| event["spool_seq"].as_u64().unwrap()).collect();
    (world, numbers)
}

/// The alarm about missing messages: how many, and its text.
fn missing(relay: &Relay) -> (usize, String) {
    let alarm =
        wait::until("the alarm about missing messages", || standing(relay).into_iter().find(|alarm| alarm["rule"] == "messages_missing"));
    let what = alarm["what"].as_str().unwrap().to_owned();
    (what.split(' ').next().unwrap().parse().unwrap(), what)
}

/// How many recipients the audit finds missing.
fn audited(relay: &Relay) -> usize {
    let audit = relay.cli(["audit"]);
    let text = support::relay::text(&audit.stdout);
    text.lines().find_map(|line| line.split_once(" MISSING")?.0.parse().ok()).unwrap_or(0)
}

#[test]
fn what_a_damaged_spool_lacks_is_said_at_the_start_to_the_message() {
    const SENT: usize = 24;
    type Harm = fn(&Relay, &[PathBuf]);
    let harms: [(&str, Harm); 6] = [
        ("the whole spool is gone", |relay, _| fs::remove_dir_all(relay.dir().join("data/spool")).unwrap()),
        ("the first segment is cut", |_, paths| fs::File::options().write(true).open(&paths[0]).unwrap().set_len(20_000).unwrap()),
        ("the newest segment's end is cut", |_, paths| {
            let file = fs::File::options().write(true).open(&paths[paths.len() - 1]).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("the newest segment's end is zeroed", |_, paths| {
            let file = fs::File::options().write(true).open(&paths[paths.len() - 1]).unwrap();
            let len = file.metadata().unwrap().len() as usize;
            file.write_all_at(&vec![0; len / 2], (len - len / 2) as u64).unwrap();
        }),
        ("a segment and the list are gone", |relay, paths| {
            fs::remove_file(&paths[1]).unwrap();
            fs::remove_file(relay.dir().join("data/spool/segments")).unwrap();
        }),
        ("the last segment and the list are gone", |relay, paths| {
            fs::remove_file(&paths[paths.len() - 1]).unwrap();
            fs::remove_file(relay.dir().join("data/spool/segments")).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let (mut world, numbers) = with_deferred(SENT);
        let relay = &mut world.relay;
        relay.kill();
        harm(relay, &segments(relay));
        relay.run();
        let (count, text) = missing(relay);
        assert!(count > 0 && count == audited(relay), "{what}: {text}, but the audit: {}", audited(relay));
        let queue: Value = serde_json::from_str(&relay.ok(["queue", "--json"])).unwrap();
        assert_eq!(queue["counts"]["messages"].as_u64().unwrap() as usize, SENT - count, "{what}: {text}");
        // It is said once, and what is acknowledged does not come back.
        relay.ok(["alarms", "acknowledge", "--all"]);
        relay.kill();
        relay.run();
        relay.send(&Mail::new("writer@sender.test", &["later@example.test"], "later"));
        let later = relay.log().wait_for("accepted", "later@example.test")["spool_seq"].as_u64().unwrap();
        assert!(later > numbers[SENT - 1], "{what}: number {later} was given out before");
        wait::until("the spool to be compared", || (!relay.dir().join("data/spool/uncompared").exists()).then_some(()));
        assert!(!standing(relay).iter().any(|alarm| alarm["rule"] == "messages_missing"), "{what}: {:?}", standing(relay));
    }
}

#[test]
fn a_kill_of_a_healthy_relay_raises_no_alarm() {
    let (mut world, _) = with_deferred(6);
    let relay = &mut world.relay;
    for n in 0..3 {
        relay.kill();
        // A command in between must not make the comparison forgotten, nor believe that something is missing.
        if n == 1 {
            relay.ok(["suppress", "add", "somebody@example.test"]);
            assert!(relay.dir().join("data/spool/uncompared").exists());
        }
        relay.run();
        wait::until("the spool to be compared", || (!relay.dir().join("data/spool/uncompared").exists()).then_some(()));
        assert_eq!(standing(relay), Vec::<Value>::new());
    }
    relay.assert_balanced();
}

#[test]
fn a_spool_that_is_gone_is_an_alarm_even_if_no_mail_waited_in_it() {
    let mut world = World::start("");
    world.relay.spoilt();
    world.relay.ok(["suppress", "add", "somebody@example.test"]);
    world.relay.send(&Mail::new("writer@sender.test", &["reader@example.test"], "x"));
    world.relay.log().wait_for("delivered", "reader@example.test");
    let relay = &mut world.relay;
    relay.kill();
    fs::remove_dir_all(relay.dir().join("data/spool")).unwrap();
    relay.run();
    let alarm = standing(relay).into_iter().find(|alarm| alarm["rule"] == "spool_set_back").expect("an alarm");
    assert!(alarm["what"].as_str().unwrap().contains("suppression list"), "{alarm}");
    relay.ok(["alarms", "acknowledge", "--all"]);
    relay.kill();
    relay.run();
    assert_eq!(standing(relay), Vec::<Value>::new(), "it is said once");
}

#[test]
fn a_message_that_is_zeroed_over_an_orderly_stop_is_an_alarm_at_the_next_start() {
    let mut world = with_a_deferred_message();
    let relay = &mut world.relay;
    relay.spoilt();
    relay.run();
    relay.stop();
    let path = segments(relay).remove(0);
    let bytes = fs::read(&path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&vec![0; bytes.len() - 64], 64).unwrap();
    relay.run();
    wait::until("the alarm", || standing(relay).into_iter().find(|alarm| alarm["rule"] == "message_damaged"));
}

#[test]
fn a_message_to_many_that_is_zeroed_over_an_orderly_stop_does_not_keep_the_relay_from_starting() {
    let mut world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let relay = &mut world.relay;
    // What is kept of so many is not in the spool's index.
    let many: Vec<String> = (0..500).map(|n| format!("recipient{n}@example.test")).collect();
    relay.send(&Mail::new("writer@sender.test", &many.iter().map(String::as_str).collect::<Vec<_>>(), "to many"));
    relay.log().wait_for("deferred", &many[499]);
    relay.spoilt();
    relay.stop();
    let path = segments(relay).remove(0);
    let bytes = fs::read(&path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&vec![0; bytes.len() - 64], 64).unwrap();
    relay.run();
    let of = |rule: &str| wait::until("the alarm", || standing(relay).into_iter().find(|alarm| alarm["rule"] == rule));
    let damaged = of("message_damaged").to_string();
    assert!(damaged.contains("message number ") && damaged.contains("If `posthaste audit` lists it as missing"), "{damaged}");
    let missing = of("messages_missing").to_string();
    assert!(missing.contains("1 accepted message (500 recipients in all) is missing: it has no ending in the log"), "{missing}");
    relay.send(&Mail::new("writer@sender.test", &[RCPT], "the next one"));
    relay.log().wait_for("deferred", RCPT);
}

#[test]
fn a_state_that_is_damaged_over_an_orderly_stop_sends_nothing_again() {
    let mut world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Rcpt("later@example.test") = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let relay = &mut world.relay;
    relay.send(&Mail::new("writer@sender.test", &[RCPT, "later@example.test"], "to two"));
    relay.log().wait_for("deferred", "later@example.test");
    relay.log().wait_for("delivered", RCPT);
    // An orderly stop saves the state; after a kill it is read from the segment, and not kept anywhere else.
    relay.stop();
    relay.run();
    wait::until("the second start", || (said(relay, "started").len() == 2).then_some(()));
    relay.kill();
    relay.run();
    relay.log().wait_for_relay("recovered");
    relay.stop();
    let holds = |path: &PathBuf| last_place(&fs::read(path).unwrap(), br#"{"owed""#).map(|at| (path.clone(), at));
    let (path, at) = segments(relay).iter().find_map(holds).expect("a segment holds the state");
    fs::File::options().write(true).open(path).unwrap().write_all_at(b"[", at as u64).unwrap();
    let delivered = world.mx.messages().len();
    let relay = &mut world.relay;
    relay.run();
    let alarm = wait::until("the alarm", || standing(relay).into_iter().find(|alarm| alarm["rule"] == "message_unreadable")).to_string();
    assert!(alarm.contains("the state of its recipients is damaged"), "{alarm}");
    relay.ok(["queue", "retry", "--all"]);
    wait::until("the second try", || (relay.log().of("deferred", "later@example.test").len() == 2).then_some(()));
    assert_eq!(world.mx.messages().len(), delivered, "nobody gets it twice");
    world.relay.assert_balanced();
}

#[test]
fn a_list_of_alarms_of_another_version_stops_the_start_and_is_left_alone() {
    let mut world = with_a_deferred_message();
    let relay = &mut world.relay;
    let path = relay.dir().join("data/alarms.json");
    for text in [r#"{"v":"2","next":1,"alarms":[]}"#, r#"{"v":0,"next":1,"alarms":[]}"#] {
        fs::write(&path, text).unwrap();
        relay.spawn();
        assert!(!relay.wait().success());
        assert!(relay.stderr().contains("alarms.json has version"), "{}", relay.stderr());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(path).unwrap();
    relay.run();
    relay.assert_balanced();
}

#[test]
fn an_alarm_about_missing_messages_comes_back_when_its_list_is_lost() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("garbage", |path| fs::write(path, b"\0\xff{]").unwrap()),
        ("cut", |path| fs::File::options().write(true).open(path).unwrap().set_len(80).unwrap()),
    ];
    let (mut world, _) = with_deferred(4);
    let relay = &mut world.relay;
    let path = relay.dir().join("data/alarms.json");
    relay.kill();
    fs::remove_dir_all(relay.dir().join("data/spool")).unwrap();
    relay.run();
    let (count, text) = missing(relay);
    wait::until("the spool to be compared", || (!relay.dir().join("data/spool/uncompared").exists()).then_some(()));
    for (what, harm) in harms {
        let highest = standing(relay).iter().map(|alarm| alarm["id"].as_u64().unwrap()).max().unwrap();
        relay.stop();
        harm(&path);
        relay.run();
        assert_eq!(missing(relay), (count, text.clone()), "{what}");
        let said = standing(relay).into_iter().find(|alarm| alarm["rule"] == "alarms_lost" || alarm["rule"] == "alarms_unreadable");
        let id = said.unwrap_or_else(|| panic!("{what}: {:?}", standing(relay)))["id"].as_u64().unwrap();
        assert!(id > highest, "{what}: no number is given twice");
        wait::until("the spool to be compared", || (!relay.dir().join("data/spool/uncompared").exists()).then_some(()));
        assert!(!relay.ok(["alarms"]).contains("67108864"), "{}", relay.ok(["alarms"]));
    }
}

#[test]
fn an_alarm_can_be_acknowledged_while_no_relay_runs_and_the_log_hears_of_it() {
    let mut world = with_a_deferred_message();
    world.relay.spoilt();
    let relay = &mut world.relay;
    relay.run();
    let list = relay.dir().join("data/log/delivery.files");
    wait::until("the list of files", || fs::read_to_string(&list).is_ok_and(|list| !list.contains(r#""current": null"#)).then_some(()));
    relay.kill();
    fs::remove_file(relay.dir().join("data/log/delivery.log")).unwrap();
    relay.run();
    let alarm = relay.log().wait_for_relay("alarm");
    assert_eq!(standing(relay)[0]["rule"], "log_gap");
    relay.kill();
    relay.ok(["alarms", "acknowledge", &alarm["alarm"].to_string()]);
    assert_eq!(standing(relay), Vec::<Value>::new());
    relay.run();
    assert_eq!(relay.log().wait_for_relay("alarm_acknowledged")["alarm"], alarm["alarm"]);
    assert_eq!(said(relay, "alarm").iter().filter(|event| event["alarm"] == alarm["alarm"]).count(), 1);
}

#[test]
fn a_rotated_file_of_the_log_that_somebody_deletes_is_an_alarm_within_seconds_and_fails_the_audit() {
    let mut world = World::start("log.rotate_size = \"64 KiB\"");
    world.relay.spoilt();
    let relay = &world.relay;
    let log = relay.dir().join("data/log");
    let rotated = wait::until("a rotated file", || {
        for n in 0..50 {
            relay.send(&Mail::new("writer@sender.test", &[RCPT], &n.to_string()));
        }
        let names = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("delivery-"))
    });
    fs::remove_file(&rotated).unwrap();
    let alarm = relay.log().wait_for_relay("alarm");
    let name = rotated.file_name().unwrap().to_str().unwrap();
    assert!(alarm["detail"].as_str().unwrap().contains(&format!("{name} is gone")), "{alarm}");
    assert_eq!(standing(relay)[0]["rule"], "log_gap");
    let audit = relay.cli(["audit"]);
    assert!(!audit.status.success() && String::from_utf8_lossy(&audit.stdout).contains(name), "{audit:?}");
}

#[test]
fn mail_that_the_disk_does_not_give_is_an_alarm_until_it_does() {
    let scene = Scene::start(|_| "limits.body_cache = 0\n".into());
    scene.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    scene.relay.send(&Mail::new("writer@sender.test", &[RCPT], "it waits"));
    scene.relay.log().wait_for("deferred", RCPT);
    scene.mx.behave();
    let error = Some(Errno::IO);
    scene.shim.begin(&SystemFault { mask: READ, part: "data/spool/log", error, count: u64::MAX, per_mille: 1000, torn: false, delay: 0 });
    scene.relay.ok(["queue", "retry", "--all"]);
    let stands = || String::from_utf8(scene.relay.cli(["alarms"]).stdout).unwrap().contains("does not give what is in the spool");
    wait::until("an alarm", || stands().then_some(()));
    scene.relay.assert_balanced();
    scene.shim.lift();
    scene.relay.ok(["queue", "retry", "--all"]);
    scene.relay.log().wait_for("delivered", RCPT);
    wait::until("the end of the alarm", || (!stands()).then_some(()));
    scene.relay.assert_balanced();
}

#[test]
fn a_message_that_a_power_cut_tore_before_it_was_acknowledged_is_left_out_from_the_first_second_on() {
    let mut scene = Scene::start(|_| String::new());
    let written = |text: &[u8]| {
        segments(&scene.relay).into_iter().find_map(|path| Some((path.clone(), last_place(&fs::read(&path).unwrap(), text)?)))
    };
    wait::until("the first checkpoint, which covers no message", || written(b"log/checkpoint"));
    // So that the log accounts for something; the next checkpoint is far.
    scene.relay.send(&Mail::new("writer@sender.test", &[RCPT], "it goes"));
    scene.relay.log().wait_for("delivered", RCPT);
    // The next one is written, and the disk takes its time to make it durable.
    let fault = SystemFault { mask: SYNC, part: "data/spool/log", error: None, count: 1, per_mille: 1000, torn: false, delay: 60_000_000 };
    scene.shim.begin(&fault);
    let (port, text) = (scene.relay.port(), "it is torn ".repeat(50));
    let torn = text.clone();
    let client =
        thread::spawn(move || Client::hello(port).and_then(|mut client| client.submit(&Mail::new("writer@sender.test", &[RCPT], &torn))));
    let (segment, place) = wait::until("the message to be written", || written(text.as_bytes()));
    scene.relay.kill();
    assert!(client.join().unwrap().is_err(), "nobody was told that it was taken");
    scene.shim.lift();
    fs::File::options().write(true).open(segment).unwrap().write_all_at(&[0; 100], place as u64).unwrap();
    scene.relay.run();
    assert_eq!(standing(&scene.relay), Vec::<Value>::new());
    assert!(scene.relay.ok(["queue"]).contains("0 messages"), "{}", scene.relay.ok(["queue"]));
    assert_eq!(scene.relay.log().of("accepted", RCPT).len(), 1);
    scene.relay.assert_balanced();
}

#[test]
fn a_log_that_the_relay_closes_is_no_alarm_however_slow_the_rest_of_the_stop_is() {
    let mut scene = Scene::start(|_| String::new());
    scene.relay.send(&Mail::new("writer@sender.test", &[RCPT], "it goes"));
    scene.relay.log().wait_for("delivered", RCPT);
    // The spool is closed last. Its disk takes longer than two looks for trouble are apart.
    let fault = SystemFault { mask: SYNC, part: "data/spool", error: None, count: 1, per_mille: 1000, torn: false, delay: 5_000_000 };
    scene.shim.begin(&fault);
    scene.relay.stop();
    assert_eq!(scene.shim.hits(), 1, "the stop was slow");
    scene.shim.lift();
    scene.relay.run();
    let (raised, said) = (said(&scene.relay, "alarm"), scene.relay.stderr());
    assert!(raised.is_empty() && !said.contains("has ended") && !said.contains("lacks this line"), "{raised:?}\n{said}");
}

#[test]
fn an_alarm_about_a_full_log_does_not_outlive_it_and_what_is_decided_meanwhile_is_said_not_to_be_on_disk() {
    let mut scene = Scene::start(|_| "retry.schedule = [\"1h\"]\n".into());
    scene.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let id = scene.relay.send(&Mail::new("writer@sender.test", &[RCPT], "it waits"));
    scene.relay.log().wait_for("deferred", RCPT);
    let error = Some(Errno::NOSPC);
    scene.shim.begin(&SystemFault { mask: WRITE, part: "data/log", error, count: u64::MAX, per_mille: 1000, torn: false, delay: 0 });
    let dropped = scene.relay.cli(["queue", "drop", &id, "--reason", "wrong list"]);
    let said = String::from_utf8_lossy(&dropped.stderr).into_owned();
    assert!(!dropped.status.success() && said.contains("it is done, but not on disk yet: the delivery log cannot be written"), "{said}");
    let stands = |scene: &Scene| String::from_utf8(scene.relay.cli(["alarms"]).stdout).unwrap().contains("no mail is sent");
    wait::until("an alarm", || stands(&scene).then_some(()));
    // With it in its file, the relay is killed.
    wait::until("the alarm in its file", || {
        let kept = fs::read_to_string(scene.relay.dir().join("data/alarms.json")).unwrap_or_default();
        kept.contains("no mail is sent").then_some(())
    });
    scene.relay.kill();
    scene.shim.lift();
    scene.relay.run();
    assert!(!stands(&scene), "it is mended");
    scene.relay.ok(["queue", "drop", &id, "--reason", "wrong list"]);
    scene.relay.log().wait_for("cancelled", RCPT);
    scene.relay.assert_balanced();
}
