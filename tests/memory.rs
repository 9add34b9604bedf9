//! The relay gives memory back, and compacts its spool in memory that does not depend on the messages' sizes. How much it takes in all is for a
//! release build to show: `tests/bench/memory`.

use std::{fs, path::PathBuf, thread};

use support::{Client, Mail, Relay, World, client::stuffed, people, wait};

const FROM: &str = "writer@sender.test";
const MIB: u64 = 1024;

/// A line of the relay's status, in KiB: VmHWM (the most that was resident), RssAnon (what is its own now).
fn status(relay: &Relay, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).expect("Linux tells");
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A message of this many lines of a thousand bytes.
fn long(rcpt: &str, lines: usize) -> Mail {
    let line = [&[b'x'; 998][..], b"\r\n"].concat();
    Mail::raw(FROM, &[rcpt], &[&b"From: <writer@sender.test>\r\nSubject: long\r\n\r\n"[..], &line.repeat(lines)].concat())
}

fn log_in(port: u16, user: &str) {
    let answer = Client::hello(port).unwrap().say(&people::auth_plain(user, "opensesame")).unwrap();
    assert_eq!(answer.code, 235, "{user}: {answer:?}");
}

#[test]
fn password_hashes_give_their_memory_back_whatever_malloc_would_keep() {
    let mut relay = Relay::prepare("listen.default.auth = \"always\"");
    people::add_user(&relay, "first", "opensesame", &[]);
    let file = fs::read_to_string(relay.dir().join("data/users.toml")).unwrap();
    let hash = file.lines().find_map(|line| line.strip_prefix("password = ")).expect("a password");
    let names: Vec<String> = (0..60).map(|n| format!("user{n}")).collect();
    relay.configure(&names.iter().map(|name| format!("[user.{name}]\npassword = {hash}\n")).collect::<String>());
    // As glibc sets itself once it has freed blocks of this size.
    relay.environment([("MALLOC_MMAP_THRESHOLD_", "33554432".into())]);
    relay.run();
    // Its greeting shows that it has started; before that, connections only wait.
    log_in(relay.port(), "first");
    let before = status(&relay, "RssAnon");
    thread::scope(|threads| {
        for part in names.chunks(15) {
            let port = relay.port();
            threads.spawn(move || part.iter().for_each(|name| log_in(port, name)));
        }
    });
    let after = status(&relay, "RssAnon");
    assert!(after < before + 16 * MIB, "{before} KiB before 60 logins, {after} KiB after them");
}

#[test]
fn long_messages_that_were_delivered_leave_no_memory_taken() {
    let world = World::start("");
    let send = |n: usize| {
        let rcpt = format!("r{n}@example.test");
        world.relay.send(&long(&rcpt, 15_000));
        world.relay.log().wait_for("delivered", &rcpt);
    };
    world.relay.send(&long("small@example.test", 1));
    world.relay.log().wait_for("delivered", "small@example.test");
    let before = status(&world.relay, "RssAnon");
    thread::scope(|threads| {
        for n in 0..4 {
            threads.spawn(move || send(n));
        }
    });
    let low = wait::within(wait::PATIENCE, || Some(()).filter(|()| status(&world.relay, "RssAnon") < before + 16 * MIB));
    let after = status(&world.relay, "RssAnon");
    assert!(low.is_some(), "{before} KiB before four messages of 15 MB, {after} KiB after them");
}

#[test]
fn a_spool_of_long_messages_is_compacted_in_little_memory() {
    let mut relay = Relay::start("spool.segment_size = \"64 MiB\"");
    let segment = |relay: &Relay, n: usize| -> Option<PathBuf> {
        let mut files = fs::read_dir(relay.dir().join("data/spool/log")).unwrap().map(|file| file.unwrap().path());
        files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{n:08x}-")))
    };
    // Four fill a segment; the fifth is in the next one.
    let ids: Vec<String> = (0..5).map(|n| hold(&relay, &long(&format!("r{n}@example.test"), 20_000))).collect();
    relay.kill();
    relay.run();
    Client::hello(relay.port()).unwrap();
    // 5 sets the peak back to what is taken now (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{}/clear_refs", relay.pid()), "5").unwrap();
    let before = status(&relay, "VmRSS");
    for id in &ids[..3] {
        relay.ok(["queue", "drop", id, "--reason", "a test"]);
    }
    wait::until("the first segment to be emptied", || segment(&relay, 1).is_none().then_some(()));
    let most = status(&relay, "VmHWM");
    assert!(most < before + 16 * MIB, "{before} KiB before a message of 20 MB was copied, {most} KiB meanwhile");
    relay.kill();
    relay.run();
    assert!(relay.ok(["queue", "show", &ids[3]]).contains("r3@example.test"));
}

/// Submits a message that is to be sent in a day; returns its id.
fn hold(relay: &Relay, mail: &Mail) -> String {
    let mut client = Client::hello(relay.port()).unwrap();
    for (line, code) in [("MAIL FROM:<> HOLDFOR=86400".to_owned(), 250), (format!("RCPT TO:<{}>", mail.to[0]), 250), ("DATA".into(), 354)] {
        assert_eq!(client.say(&line).unwrap().code, code, "{line}");
    }
    client.send(&stuffed(&mail.data)).unwrap();
    client.answer().unwrap().id().expect("it is taken").to_owned()
}
