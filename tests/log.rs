//! `posthaste log`: filters, formats, following.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;
use support::{
    Act, Mail, Relay, Step, World,
    relay::text,
    wait::{PATIENCE, until, within},
};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// One delivered, one bounced, one deferred.
fn world() -> World {
    let world = World::start("retry.schedule = [\"1h\"]\nstream.letters = {}");
    world.mx.script(|_, step| match step {
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        Step::Rcpt("late@cousin.test") => Act::Say("451 4.3.2 later".into()),
        _ => Act::Usual,
    });
    world.dns.mx("cousin.test", 10, "mx.cousin.test").a("mx.cousin.test", "127.0.0.1");
    let letter = format!("X-Posthaste-Stream: letters\r\nFrom: <{FROM}>\r\nSubject: x\r\n\r\nHello.\r\n");
    world.relay.send(&Mail::raw("", &[TO], letter.as_bytes()));
    world.relay.send(&Mail::new("", &["gone@example.test"], "two"));
    world.relay.send(&Mail::new("", &["late@cousin.test"], "three"));
    let log = world.relay.log();
    log.wait_for("delivered", TO);
    log.wait_for("bounced", "gone@example.test");
    log.wait_for("deferred", "late@cousin.test");
    world
}

fn lines(relay: &Relay, arguments: &[&str]) -> Vec<(String, String)> {
    let out = relay.cli([&["log", "--json", "--all"], arguments].concat());
    // Exit status 1 and a sentence say that nothing matches.
    let is_empty = out.stdout.is_empty();
    assert_eq!((out.status.success(), text(&out.stderr).contains("no line of the delivery log matches")), (!is_empty, is_empty), "{out:?}");
    let out = text(&out.stdout);
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let events = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    events.map(|e| (word(&e, "event"), word(&e, "rcpt"))).collect()
}

#[test]
fn a_reason_on_the_second_line_is_shown_wherever_a_reply_is() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt("gone@example.test") => Act::Say("550-5.7.1 first line\r\n550 5.7.1 by our own block list".into()),
        Step::Rcpt(_) => Act::Say("451-4.3.0 first line\r\n451 4.3.0 our disk of spare parts".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new("", &["late@example.test"], "one"));
    world.relay.log().wait_for("deferred", "late@example.test");
    let queue = world.relay.ok(["queue"]);
    assert!(queue.contains("451 4.3.0 first line / our disk of spare parts"), "{queue}");
    world.relay.send(&Mail::new("", &["gone@example.test"], "two"));
    world.relay.log().wait_for("bounced", "gone@example.test");
    let log = world.relay.ok(["log", "--all"]);
    assert!(log.contains("550 5.7.1 first line / by our own block list"), "{log}");
    assert!(log.contains("451 4.3.0 first line / our disk of spare parts"), "{log}");
    let why = world.relay.ok(["why", "gone@example.test"]);
    assert!(why.contains("550 5.7.1 first line / by our own block list"), "{why}");
}

#[test]
fn filters_leave_what_fits_all_of_them() {
    let world = world();
    let relay = &world.relay;
    let event = |event: &str, rcpt: &str| (event.to_owned(), rcpt.to_owned());
    assert_eq!(lines(relay, &["--event", "bounced"]), [event("bounced", "gone@example.test")]);
    assert_eq!(lines(relay, &["--rcpt", TO]), [event("accepted", TO), event("delivered", TO)]);
    assert_eq!(lines(relay, &["--stream", "letters"]), [event("accepted", TO), event("delivered", TO)]);
    assert_eq!(lines(relay, &["--class", "invalid_recipient"]), [event("bounced", "gone@example.test")]);
    assert_eq!(lines(relay, &["--provider", "cousin.test"]), [event("deferred", "late@cousin.test")]);
    assert_eq!(lines(relay, &["--domain", "COUSIN.test", "--event", "accepted"]), [event("accepted", "late@cousin.test")]);
    assert_eq!(lines(relay, &["--event", "delivered", "--rcpt", "gone@example.test"]), []);
    assert_eq!(lines(relay, &["--since", "1h", "--event", "deferred"]).len(), 1);
    assert_eq!(lines(relay, &["--until", "1h"]), []);
}

#[test]
fn lines_for_people_say_who_and_what() {
    let world = world();
    let told = world.relay.ok(["log", "--all", "--event", "bounced"]);
    for part in ["bounced", "gone@example.test", "550 5.1.1 no such user", "invalid_recipient", "mx1.example.test"] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(!told.contains('\u{1b}'));
    assert_eq!(world.relay.ok(["log", "-n", "2"]).lines().count(), 2);
}

#[test]
fn the_last_lines_are_the_last_that_fit() {
    let world = world();
    let last = |arguments: &[&str]| text(&world.relay.cli([&["log", "-n", "1"], arguments].concat()).stdout);
    // Neither is the last line of the log.
    assert!(last(&["--event", "bounced"]).contains("gone@example.test"));
    assert!(last(&["--event", "delivered", "--rcpt", TO]).contains(TO));
    assert!(last(&["--domain", "example.test", "--event", "accepted"]).contains("gone@example.test"));
}

#[test]
fn a_word_that_no_line_can_have_is_an_error_with_the_word_that_was_meant() {
    let world = world();
    for (arguments, meant) in [
        (["--event", "deliverd"], "did you mean delivered?"),
        (["--class", "rate-limted"], "did you mean rate_limited?"),
        (["--provider", "gogle"], "did you mean google?"),
        (["--class", "foo"], "classes are: "),
    ] {
        let out = world.relay.cli([&["log"][..], &arguments].concat());
        let said = text(&out.stderr);
        assert!(!out.status.success() && said.contains(meant), "{arguments:?}: {said}");
    }
}

#[test]
fn a_trace_takes_ids_in_part_and_message_ids_and_tells_the_end_of_notices() {
    let world = World::start("");
    world.mx.script(|_, step| match step {
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    let letter = format!("Message-ID: <order-7@shop.test>\r\nFrom: <{FROM}>\r\n\r\nHello.\r\n");
    let id = world.relay.send(&Mail::raw("writer@example.test", &["gone@example.test"], letter.as_bytes()));
    world.relay.log().wait_for("delivered", "writer@example.test");
    for what in [&id, &id[18..], &id.to_lowercase(), "<order-7@shop.test>", "Message-ID: <order-7@shop.test>", "order-7@shop.test"] {
        let told = world.relay.ok(["trace", what]);
        assert!(told.contains("= bounced") && told.contains("= delivered") && !told.contains("not ended"), "{what}: {told}");
    }
    let shown = world.relay.cli(["queue", "show", &id[18..]]);
    assert!(!shown.status.success() && text(&shown.stderr).contains("bounced for gone@example.test"), "{shown:?}");
}

#[test]
fn the_printed_schema_is_the_published_one() {
    let relay = Relay::prepare("");
    assert_eq!(relay.ok(["log", "--schema"]), posthaste_monitor::SCHEMA);
}

/// `posthaste log -f`, line by line, until dropped.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(relay: &Relay, arguments: &[&str]) -> Self {
        let mut command = relay.command([&["log", "-f", "--json"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    fn next(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).expect("a line in time")).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_follower_sees_what_comes_over_rotations_and_restarts() {
    let mut world = World::start("log.rotate_size = \"64 KiB\"");
    world.relay.send(&Mail::new(FROM, &["r0@example.test"], "one"));
    world.relay.log().wait_for("delivered", "r0@example.test");
    let follower = Follower::start(&world.relay, &["--event", "delivered"]);
    assert_eq!(follower.next()["rcpt"], "r0@example.test");
    let pad = "x".repeat(900);
    for i in 1..=80 {
        let text = format!("Message-ID: <{pad}.{i}@sender.test>\r\nFrom: <{FROM}>\r\n\r\nHello.\r\n");
        world.relay.send(&Mail::raw(FROM, &[&format!("r{i}@example.test")], text.as_bytes()));
        if i == 40 {
            assert!(world.relay.stop().success());
            world.relay.run();
        }
    }
    let mut seen: Vec<String> = (0..80).map(|_| follower.next()["rcpt"].as_str().unwrap().to_owned()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 80);
    let files = std::fs::read_dir(world.relay.dir().join("data/log")).unwrap().count();
    assert!(files > 2, "{files} files: the log was rotated");
}

#[test]
fn rotated_files_have_tables_for_searches_unless_there_is_no_room_for_them() {
    let mut world = World::start("log.rotate_size = \"64 KiB\"");
    let pad = "x".repeat(900);
    for i in 0..40 {
        let text = format!("Message-ID: <{pad}.{i}@sender.test>\r\nFrom: <{FROM}>\r\n\r\nHello.\r\n");
        world.relay.send(&Mail::raw(FROM, &[&format!("r{i}@example.test")], text.as_bytes()));
    }
    world.relay.log().wait_for_many("delivered", "", 40);
    let folder = world.relay.dir().join("data/log");
    let named = |folder: &std::path::Path, ending: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().is_some_and(|name| name.ends_with(ending))).count()
    };
    assert!(named(&folder, ".log") > 1, "the log was rotated");
    // A start looks for missing tables at once.
    assert!(world.relay.stop().success());
    world.relay.run();
    let index = folder.join("index");
    until("a table for each rotated file", || (named(&index, ".seek") == named(&folder, ".log") - 1).then_some(()));
    assert!(world.relay.stop().success());
    world.relay.configure("log.search_index = 0");
    world.relay.run();
    until("the tables to go", || (named(&index, ".seek") == 0).then_some(()));
    world.relay.assert_balanced();
}

#[test]
fn log_ends_when_its_reader_goes_away() {
    let world = world();
    let mut child = world.relay.command(["log", "-f", "--all"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    // The pipe is closed; the next line cannot be written.
    world.relay.send(&Mail::new("", &[TO], "four"));
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
}

fn alarm(relay: &Relay, words: &str) {
    let heard =
        || relay.log().of("relay", "").iter().any(|e| e["state"] == "alarm" && e["detail"].as_str().is_some_and(|d| d.contains(words)));
    until(&format!("an alarm that says {words:?}"), || heard().then_some(()));
}

#[test]
fn a_deleted_log_is_an_alarm_and_a_gap_and_the_audit_fails_until_it_is_back() {
    let world = world();
    // An audit waits until the lines are durable; others would be written again.
    world.relay.assert_balanced();
    let current = world.relay.dir().join("data/log/delivery.log");
    // A second name keeps the bytes, as a backup would.
    let backup = world.relay.dir().join("backup.log");
    fs::hard_link(&current, &backup).unwrap();
    fs::remove_file(&current).unwrap();
    // Nothing is sent: the idle relay notices it.
    alarm(&world.relay, "was moved to");
    let gap = &world.relay.log().of("log_gap", "")[0];
    assert_eq!((gap["from_byte"].as_u64(), gap["accepted"].as_u64(), gap["ended"].as_u64()), (Some(0), Some(3), Some(2)));
    let audit = world.relay.cli(["audit"]);
    let told = text(&audit.stdout);
    assert!(!audit.status.success() && told.contains("GAP found at") && told.contains("NOT PROVEN"), "{told}");
    fs::rename(&backup, current.with_file_name("delivery-20260101T000000Z-1.log")).unwrap();
    world.relay.assert_balanced();
}

#[test]
fn a_log_that_vanished_while_the_relay_was_stopped_is_said_at_the_start_and_mail_stays_queued() {
    let mut world = world();
    world.relay.spoilt();
    assert!(world.relay.stop().success());
    fs::remove_file(world.relay.dir().join("data/log/delivery.log")).unwrap();
    world.relay.run();
    alarm(&world.relay, "could not be compared with the spool");
    let log = world.relay.log();
    assert_eq!(log.of("log_gap", "")[0]["cause"], "not_found");
    // What is still in the spool is announced again, and nothing else is.
    let again = log.of("accepted", "");
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!((again[0]["rcpt"].as_str(), again[0]["recovered"].as_bool()), (Some("late@cousin.test"), Some(true)));
    assert!(!world.relay.cli(["audit"]).status.success());
    // The next start knows of it, and says it no more.
    assert!(world.relay.stop().success());
    world.relay.run();
    assert_eq!(world.relay.log().of("log_gap", "").len(), 1);
}

#[test]
fn a_pipe_in_the_place_of_a_file_keeps_no_command_waiting() {
    let mut world = world();
    world.relay.spoilt();
    assert!(world.relay.stop().success());
    for name in ["users.toml", "tallies.db", "log/delivery.log", "log/delivery.files"] {
        let path = world.relay.dir().join("data").join(name);
        let _ = fs::remove_file(&path);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
        for command in [&["log", "--all"][..], &["report"], &["trace", TO], &["audit"], &["suppress", "add", TO]] {
            let mut child = world.relay.command(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let ended = within(PATIENCE, || child.try_wait().unwrap());
            if ended.is_none() {
                child.kill().unwrap();
            }
            assert!(ended.is_some(), "{command:?} waits for {name}");
        }
        fs::remove_file(&path).unwrap();
    }
}

/// How far the log must reach, as the spool knows it: a kill leaves that in its segments.
fn durable_end(relay: &Relay) -> u64 {
    let mut segments: Vec<_> = fs::read_dir(relay.dir().join("data/spool/log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let bytes = segments.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>().concat();
    let Some(at) = memchr::memmem::rfind(&bytes, b"log/end{") else { return 0 };
    let mut values = serde_json::Deserializer::from_slice(&bytes[at + "log/end".len()..]).into_iter::<Value>();
    values.next().unwrap().unwrap()["position"]["offset"].as_u64().unwrap()
}

#[test]
fn a_log_that_was_cut_just_after_a_kill_is_said_although_its_list_does_not_know_its_last_lines() {
    let mut world = world();
    world.relay.spoilt();
    let folder = world.relay.dir().join("data/log");
    let mut rcpts = (1..).map(|n| format!("r{n}@example.test"));
    let listed = until("the spool to know more lines than the list of files", || {
        let rcpt = rcpts.next().unwrap();
        world.relay.send(&Mail::new("", &[&rcpt], "cut off"));
        world.relay.log().wait_for("delivered", &rcpt);
        world.relay.assert_balanced();
        world.relay.kill();
        let list: Value = serde_json::from_slice(&fs::read(folder.join("delivery.files")).unwrap()).unwrap();
        let listed = list["current"]["length"].as_u64().unwrap_or(0);
        if durable_end(&world.relay) > listed {
            return Some(listed);
        }
        world.relay.run();
        None
    });
    fs::OpenOptions::new().write(true).open(folder.join("delivery.log")).unwrap().set_len(listed).unwrap();
    world.relay.run();
    alarm(&world.relay, "was cut at byte");
    let gaps = world.relay.log().of("log_gap", "");
    assert_eq!((gaps.len(), gaps[0]["from_byte"].as_u64()), (1, Some(listed)), "{gaps:?}");
    assert!(!world.relay.cli(["audit"]).status.success());
    // What waits is there once, and the next start says nothing new.
    assert_eq!(world.relay.log().of("accepted", "late@cousin.test").len(), 1);
    assert!(world.relay.stop().success());
    world.relay.run();
    assert_eq!(world.relay.log().of("log_gap", "").len(), 1);
}

#[test]
fn a_log_of_a_later_version_refuses_the_start_and_nothing_is_touched() {
    let mut world = world();
    world.relay.spoilt();
    assert!(world.relay.stop().success());
    let data = world.relay.dir().join("data");
    let current = data.join("log/delivery.log");
    let later = fs::read_to_string(&current).unwrap().replace("\"v\":1", "\"v\":2");
    fs::write(&current, &later).unwrap();
    let spool = || {
        let entries = fs::read_dir(data.join("spool")).unwrap().map(|entry| entry.unwrap());
        let mut seen: Vec<_> =
            entries.map(|e| (e.file_name(), e.metadata().unwrap().len(), e.metadata().unwrap().modified().unwrap())).collect();
        seen.sort();
        seen
    };
    let before = spool();
    for command in ["run", "audit"] {
        let refused = world.relay.cli([command]);
        let told = text(&refused.stderr);
        assert!(!refused.status.success() && told.contains("schema version 2, and this posthaste knows 1"), "{command}: {told}");
        assert_eq!(told.trim().lines().count(), 1, "{command}: {told}");
    }
    assert_eq!((spool(), fs::read_to_string(&current).unwrap()), (before, later));
}

#[test]
fn internationalised_names_are_found_as_they_are_written() {
    let world = support::World::start("");
    world.dns.mx("xn--bcher-kva.test", 10, "mx1.example.test");
    world.relay.send(&support::Mail::new("", &["info@xn--bcher-kva.test"], "one"));
    world.relay.log().wait_for("delivered", "info@xn--bcher-kva.test");
    for command in [&["log", "--domain", "bücher.test"][..], &["log", "--rcpt", "info@bücher.test"], &["trace", "info@bücher.test"]] {
        let found = world.relay.ok(command);
        assert!(found.contains("delivered"), "{command:?}: {found}");
    }
    assert!(world.relay.ok(["why", "bücher.test"]).contains("xn--bcher-kva.test"));
    world.relay.ok(["suppress", "add", "info@bücher.test"]);
    assert!(world.relay.ok(["suppress", "list", "--domain", "bücher.test"]).contains("info@xn--bcher-kva.test"));
}
