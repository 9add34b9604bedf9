//! A full spool makes the relay defer mail; nothing is lost, and the relay accepts mail again by itself.

use std::io::Write as _;

use support::{Act, Answer, Client, Mail, Step, World, netns, wait, world::listening};

const FROM: &str = "writer@sender.test";

fn large(rcpt: &str) -> Mail {
    Mail::raw(FROM, &[rcpt], &[&b"Subject: large\r\n\r\n"[..], &b"0123456789012345678901234567890123456789\r\n".repeat(5000)].concat())
}

/// Submits large messages until one is refused. Returns the recipients of those that were taken, and the refusal.
fn fill(world: &World) -> (Vec<String>, Answer) {
    let mut client = Client::hello(world.relay.port()).unwrap();
    let mut taken = Vec::new();
    loop {
        let rcpt = format!("r{}@example.test", taken.len());
        let answer = client.submit(&large(&rcpt)).unwrap();
        if answer.code != 250 {
            return (taken, answer);
        }
        taken.push(rcpt);
        assert!(taken.len() < 100, "20 MB are more than there is room for");
    }
}

#[test]
fn a_full_spool_says_452_and_takes_mail_again_once_there_is_room() {
    let world = World::start("spool.segment_size = \"1 MiB\"\nspool.max_disk = \"8 MiB\"\nretry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let (taken, refused) = fill(&world);
    assert_eq!(refused.code, 452);
    assert!(refused.text().starts_with("4.3.1 "), "{refused:?}");
    assert!(taken.len() > 5, "{} messages of 200 KB", taken.len());
    let event = world.relay.log().wait_for("rejected", "");
    assert_eq!(event["smtp_code"], 452);
    assert!(["spool_full", "spool_trouble"].contains(&event["reason"].as_str().unwrap()), "{event}");
    world.relay.assert_balanced();

    world.mx.behave();
    world.relay.ok(["queue", "retry", "--all"]);
    for rcpt in &taken {
        world.relay.log().wait_for("delivered", rcpt);
    }
    let answer = wait::until("room in the spool", || {
        let answer = Client::hello(world.relay.port()).ok()?.submit(&large("last@example.test")).ok()?;
        (answer.code == 250).then_some(answer)
    });
    assert!(answer.id().is_some());
    world.relay.log().wait_for("delivered", "last@example.test");
}

#[test]
fn a_full_queue_says_452_and_takes_mail_again_once_it_is_shorter() {
    let world = World::start("limits.queue_messages = 3\nretry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    for i in 0..3 {
        world.relay.send(&Mail::new(FROM, &[&format!("r{i}@example.test")], "one"));
        world.relay.log().wait_for("deferred", &format!("r{i}@example.test"));
    }
    let refused = world.relay.submit(&Mail::new(FROM, &["r3@example.test"], "one"));
    assert_eq!(refused.code, 452);
    assert_eq!(world.relay.log().wait_for("rejected", "")["reason"], "queue_full");
    assert!(world.relay.ok(["queue"]).contains("no mail is accepted"));
    world.mx.behave();
    world.relay.ok(["queue", "retry", "--all"]);
    for i in 0..3 {
        world.relay.log().wait_for("delivered", &format!("r{i}@example.test"));
    }
    wait::until("a shorter queue", || world.relay.submit(&Mail::new(FROM, &["r4@example.test"], "one")).id().map(drop));
    world.relay.log().wait_for("delivered", "r4@example.test");
}

#[test]
fn while_the_logs_disk_is_full_nothing_is_delivered_and_afterwards_each_message_once() {
    if !netns::inside("while_the_logs_disk_is_full_nothing_is_delivered_and_afterwards_each_message_once") {
        return;
    }
    let mut world = listening(|relay| {
        let log = relay.dir().join("data/log");
        std::fs::create_dir_all(&log).unwrap();
        netns::disk(&log, 4 << 20);
        "retry.schedule = [\"1h\"]\nrun.drain = \"2s\"\n".to_owned()
    });
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let to: Vec<String> = (0..100).map(|i| format!("r{i}@example.test")).collect();
    let mut client = Client::hello(world.relay.port()).unwrap();
    for rcpt in &to {
        assert_eq!(client.submit(&Mail::new(FROM, &[rcpt], "one")).unwrap().code, 250);
    }
    world.relay.log().wait_for_many("deferred", "", to.len());
    let junk = world.relay.dir().join("data/log/junk");
    let fill = || {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&junk).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    };
    wait::until("the relay to notice", || {
        fill();
        (world.relay.submit(&Mail::new(FROM, &["late@example.test"], "one")).code == 452).then_some(())
    });
    world.mx.behave();
    world.relay.ok(["queue", "retry", "--all"]);
    wait::until("the alarm", || world.relay.stderr().contains("alarm: no mail is sent").then_some(()));
    assert_eq!(world.mx.messages().len(), 0, "whatever is delivered now is delivered again after a crash");
    for said in [world.relay.ok(["queue"]), world.relay.ok(["why", "example.test"])] {
        assert!(said.contains("deliveries are halted: no mail is sent, because its fate could not be written down"), "{said}");
    }
    world.relay.kill();
    std::fs::remove_file(&junk).unwrap();
    world.relay.run();
    world.relay.ok(["queue", "retry", "--all"]);
    world.relay.log().wait_for_many("delivered", "", to.len());
    let mut got: Vec<String> = world.mx.messages().iter().flat_map(|t| t.rcpts.clone()).filter(|rcpt| !rcpt.starts_with("late")).collect();
    got.sort();
    let mut once = to;
    once.sort();
    assert_eq!(got, once, "each one once");
    world.relay.assert_balanced();
}

#[test]
fn a_stop_while_the_logs_disk_is_full_is_in_good_order_and_says_what_it_could_not_write() {
    if !netns::inside("a_stop_while_the_logs_disk_is_full_is_in_good_order_and_says_what_it_could_not_write") {
        return;
    }
    let mut world = listening(|relay| {
        let log = relay.dir().join("data/log");
        std::fs::create_dir_all(&log).unwrap();
        netns::disk(&log, 4 << 20);
        "retry.schedule = [\"1h\"]\nrun.drain = \"1s\"\n".to_owned()
    });
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    world.relay.send(&Mail::new(FROM, &["one@example.test"], "one"));
    world.relay.log().wait_for("deferred", "one@example.test");
    let junk = world.relay.dir().join("data/log/junk");
    wait::until("the relay to notice", || {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&junk).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        (world.relay.submit(&Mail::new(FROM, &["late@example.test"], "one")).code == 452).then_some(())
    });
    assert!(world.relay.stop().success(), "a service manager that asked for the stop must not take it for a crash");
    let said = world.relay.stderr();
    for part in ["the relay stopped while the delivery log could not be written", "No space left", "No mail is lost"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("everything is on disk"), "{said}");
    assert!(world.relay.ok(["alarms"]).contains("its last lines are missing"));
    std::fs::remove_file(&junk).unwrap();
    world.mx.behave();
    world.relay.run();
    assert!(world.relay.log().wait_for_relay("alarm")["detail"].as_str().unwrap().contains("its last lines are missing"));
    // It may be under way already.
    world.relay.cli(["queue", "retry", "--all"]);
    world.relay.log().wait_for("delivered", "one@example.test");
    assert_eq!(world.relay.log().of("accepted", "one@example.test").len(), 1);
    world.relay.assert_balanced();
}

#[test]
fn files_that_may_not_grow_say_452_and_end_nothing() {
    let world = World::start("spool.segment_size = \"1 MiB\"");
    // Of util-linux, which every Debian has.
    let limit = |bytes: &str| {
        let said = std::process::Command::new("prlimit")
            .args(["--pid", &world.relay.pid().to_string(), &format!("--fsize={bytes}:unlimited")])
            .status();
        assert!(said.unwrap().success());
    };
    limit("262144");
    let (taken, refused) = fill(&world);
    assert_eq!(refused.code, 452, "{refused:?}");
    assert_eq!(world.relay.log().wait_for("rejected", "")["smtp_code"], 452);
    limit("unlimited");
    wait::until("room in the files", || world.relay.submit(&Mail::new(FROM, &["last@example.test"], "one")).id().map(drop));
    for rcpt in taken.iter().map(String::as_str).chain(["last@example.test"]) {
        world.relay.log().wait_for("delivered", rcpt);
    }
    world.relay.assert_balanced();
}
