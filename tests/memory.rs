//! The relay gives memory back, and compacts its spool in memory that does not depend on the messages' sizes. How much it takes in all is for a
//! release build to show: `tests/bench/memory`.

use std::{fs, io::Write, path::PathBuf, process::Stdio, thread};

use support::{Act, Client, Mail, Relay, Step, World, client::stuffed, people, wait};

const FROM: &str = "writer@sender.test";
const MIB: u64 = 1024;

/// A line of the relay's status, in KiB: VmHWM (the most that was resident), RssAnon (what is its own now).
fn status(relay: &Relay, line: &str) -> u64 {
    status_of(relay.pid(), line)
}

fn status_of(process: u32, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
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
fn long_messages_for_slow_receivers_share_the_memory_for_bodies_and_short_ones_pass_them() {
    let world = World::start("limits.body_cache = 0\ndelivery.body_memory = \"48 MiB\"");
    world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("slow") => Act::Hang,
        _ => Act::Usual,
    });
    world.relay.send(&long("first@example.test", 15_000));
    world.relay.log().wait_for("delivered", "first@example.test");
    let before = status(&world.relay, "VmHWM");
    for n in 0..12 {
        world.relay.send(&long(&format!("slow{n}@example.test"), 15_000));
    }
    for n in 0..5 {
        let rcpt = format!("short{n}@example.test");
        world.relay.send(&long(&rcpt, 1));
        world.relay.log().wait_for("delivered", &rcpt);
    }
    let most = status(&world.relay, "VmHWM");
    assert!(most < before + 64 * MIB, "{before} KiB after one message of 15 MB, {most} KiB with twelve at a slow receiver");
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

#[test]
fn an_import_takes_little_memory_however_long_its_file() {
    let relay = Relay::start("");
    Client::hello(relay.port()).unwrap();
    let mut child =
        relay.command(["suppress", "import", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = [&[b'x'; 9998][..], b"\r\n"].concat();
    input.write_all(b"first@example.test\n").unwrap();
    for _ in 0..12 {
        input.write_all(&line.repeat(1000)).unwrap();
    }
    let most = status_of(child.id(), "VmHWM");
    input.write_all(b"\"last@example.test\"").unwrap();
    drop(input);
    let out = child.wait_with_output().unwrap();
    assert_eq!(support::relay::text(&out.stdout), "2 entries added, 0 existed already, 12000 bad lines\n");
    // The program itself, without optimisation, is most of it.
    assert!(most < 80 * MIB, "{most} KiB for a file of 120 MB");
}

#[test]
fn a_strict_import_from_a_pipe_adds_all_or_nothing() {
    let relay = Relay::start("");
    let import = |text: &str| {
        let mut child =
            relay.command(["suppress", "import", "--strict", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(!import("a@example.test\nno address\n").status.success());
    assert!(!relay.cli(["suppress", "list"]).status.success(), "nothing was added");
    assert!(import("a@example.test\nb@example.test\n").status.success());
    assert_eq!(relay.ok(["suppress", "list"]).lines().count(), 2);
}
