//! `posthaste sendmail` as cron, PHP and scripts call it: what arrives, and that nothing is lost while the relay is down.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use support::{
    World,
    dns::Fault,
    mx::Transaction,
    people::certificate,
    relay::{Relay, binary, free_port, text},
    wait::until,
    world::listening,
};

/// A user of this machine who is not root.
const NOBODY: u32 = 65_534;

/// A relay for the domains of the cases, with aliases.
fn world(extra: &str) -> World {
    let world = listening(|relay| {
        fs::write(
            relay.dir().join("aliases"),
            "postmaster: root\nroot: ann@rcpt.test\nlist: |/usr/bin/list\nboth: |/usr/bin/archive, bob@rcpt.test\n",
        )
        .unwrap();
        let aliases = relay.dir().join("aliases");
        format!("sendmail.aliases = {aliases:?}\nsendmail.pickup = \"1s\"\norigin = \"sender.test\"\n{extra}")
    });
    for domain in ["rcpt.test", "xn--bcher-kva.test", "sender.test"] {
        world.dns.mx(domain, 10, "mx1.example.test");
    }
    world
}

fn sendmail(relay: &Relay, words: &[&str], input: &str) -> Output {
    give(relay.command(["sendmail"].iter().chain(words)).env_remove("LOGNAME").env_remove("USER"), input)
}

fn give(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that needs no input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn ok(relay: &Relay, words: &[&str], input: &str) -> String {
    let out = sendmail(relay, words, input);
    assert!(out.status.success() && out.stderr.is_empty(), "{}: {}", out.status, text(&out.stderr));
    text(&out.stdout)
}

fn body(message: &Transaction) -> String {
    text(&message.data)
}

/// Whom the messages that came are for, and what they hold.
fn came(world: &World, count: usize) -> (BTreeSet<String>, Vec<String>) {
    let messages = world.mx.wait_for(count);
    let rcpts = messages.iter().flat_map(|message| &message.rcpts).map(ToString::to_string).collect();
    (rcpts, messages.iter().map(body).collect())
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn recipients_come_in_lists_and_from_the_fields_that_count() {
    let world = world("");
    ok(&world.relay, &["-i", "-f", "a@sender.test", "b@rcpt.test,c@rcpt.test"], "Subject: x\n\nhi\n");
    until("both", || (came(&world, 1).0 == set(&["b@rcpt.test", "c@rcpt.test"])).then_some(()));
    let again = "Resent-From: a@sender.test\nResent-To: r@rcpt.test\nFrom: x@sender.test\nTo: never@rcpt.test\nSubject: x\n\nhi\n";
    ok(&world.relay, &["-t", "-i", "-f", "a@sender.test"], again);
    world.relay.log().wait_for("delivered", "r@rcpt.test");
    let patch = "From 1234567890abcdef Mon Sep 17 00:00:00 2001\nFrom: A <shop@sender.test>\nTo: p@rcpt.test\nSubject: [PATCH] x\n\nhi\n";
    ok(&world.relay, &["-t", "-i", "-f", "shop@sender.test"], patch);
    world.relay.log().wait_for("delivered", "p@rcpt.test");
    let patch = came(&world, 3).1.pop().unwrap();
    assert!(patch.contains("\r\nFrom: A <shop@sender.test>\r\nTo: p@rcpt.test\r\nSubject: [PATCH] x\r\n"), "{patch}");
    assert!(!patch.contains("From 1234") && world.relay.log().of("accepted", "never@rcpt.test").is_empty());
}

/// Reports of users, as they stand where they are collected.
#[test]
fn the_cases_that_users_reported_are_right() {
    let cases = Path::new("/work/shared/cases/open");
    if !cases.exists() {
        eprintln!("SKIPPED: {} is not there", cases.display());
        return;
    }
    let world = world("");
    let path = format!("{}:/usr/bin:/bin", binary().parent().unwrap().display());
    let expected = [
        ("sendmail-commas.sh", set(&["b@rcpt.test", "c@rcpt.test"]), ""),
        ("sendmail-resent.sh", set(&["r@rcpt.test"]), "\r\nTo: b@rcpt.test\r\n"),
        (
            "sendmail-mbox-from-line.sh",
            set(&["b@rcpt.test"]),
            "\r\nFrom: A <shop@sender.test>\r\nTo: b@rcpt.test\r\nSubject: [PATCH] x\r\n",
        ),
        ("cron-header-unqualified.sh", set(&["admin@rcpt.test"]), "From: \"(Cron Daemon)\" <root@sender.test>\r\nTo: root@sender.test\r\n"),
    ];
    let mut before = 0;
    for (script, rcpts, part) in expected {
        let mut command = Command::new("/bin/sh");
        command.arg(cases.join(script)).env("PATH", &path).env("POSTHASTE_CONFIG", world.relay.config_path());
        let out = give(&mut command, "");
        assert!(out.status.success(), "{script}: {}", text(&out.stderr));
        let got = until(script, || {
            let got = world.mx.messages().split_off(before);
            let to: BTreeSet<String> = got.iter().flat_map(|message| message.rcpts.clone()).collect();
            (to == rcpts).then_some(got)
        });
        assert!(got.iter().all(|message| body(message).contains(part)), "{script}: {}", body(&got[0]));
        before += got.len();
    }
}

#[test]
fn names_of_this_machine_become_addresses_in_envelope_and_header() {
    let world = world("");
    let cron = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> x\n\nout\n";
    ok(&world.relay, &["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], cron);
    let got = world.mx.wait_for(1).remove(0);
    assert_eq!(got.rcpts, ["ann@rcpt.test"], "root's mail goes to whom the aliases say");
    if rustix::process::geteuid().is_root() {
        assert_eq!(got.from, "root@sender.test", "the name of passwd at the origin");
    }
    assert!(body(&got).contains("From: root@sender.test (Cron Daemon)\r\nTo: root@sender.test\r\n"), "{}", body(&got));
    let quoted = "From: \"(Cron Daemon)\" <root>\nTo: root, <ops>\nReply-To: ops\n\nout\n";
    ok(&world.relay, &["-i", "postmaster@localhost"], quoted);
    let got = body(&world.mx.wait_for(2).remove(1));
    assert!(got.contains(
        "From: \"(Cron Daemon)\" <root@sender.test>\r\nTo: root@sender.test, <ops@sender.test>\r\nReply-To: ops@sender.test\r\n"
    ));
    let out = sendmail(&world.relay, &["list"], "\nhi\n");
    assert_eq!(out.status.code(), Some(69));
    assert!(text(&out.stderr).contains("aliases:3: list leads to |/usr/bin/list"), "{}", text(&out.stderr));
    assert_eq!(ok(&world.relay, &["-bv", "root,bob"], ""), "ann@rcpt.test\nbob@sender.test\n");
}

#[test]
fn other_alphabets_are_taken_in_addresses_and_names() {
    let world = world("");
    world.mx.extensions(&["8BITMIME", "SMTPUTF8"]);
    ok(&world.relay, &["-i", "-f", "a@sender.test", "-F", "Jürgen Groß", "info@bücher.test"], "Subject: x\n\nhi\n");
    let got = world.mx.wait_for(1).remove(0);
    assert_eq!(got.rcpts, ["info@xn--bcher-kva.test"]);
    assert!(body(&got).contains("From: =?UTF-8?B?SsO8cmdlbiBHcm/Dnw==?= <a@sender.test>\r\n"), "{}", body(&got));
    ok(&world.relay, &["-t"], "From: a@sender.test\nTo: jürgen@bücher.test\n\nhi\n");
    assert_eq!(world.mx.wait_for(2)[1].rcpts, ["jürgen@xn--bcher-kva.test"]);
}

#[test]
fn a_caller_that_waits_for_each_reply_gets_it() {
    let world = world("");
    for n in 0..5 {
        let mut command = world.relay.command(["sendmail", "-bs", "-i"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut say, mut hear) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        let mut expect = |code: &str| {
            let line = hear.by_ref().map(Result::unwrap).find(|line| line.as_bytes().get(3) == Some(&b' '));
            assert!(line.as_ref().is_some_and(|line| line.starts_with(code)), "{line:?}");
        };
        expect("220");
        let to = format!("RCPT TO:<b{n}@rcpt.test>");
        let dialogue = [
            ("EHLO c", "250"),
            ("MAIL FROM:<a@sender.test>", "250"),
            (&*to, "250"),
            ("DATA", "354"),
            ("Subject: x\r\n\r\nhi\r\n.", "250"),
            ("QUIT", "221"),
        ];
        for (line, code) in dialogue {
            say.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            expect(code);
        }
        assert!(child.wait().unwrap().success(), "although its input is still open");
        world.relay.log().wait_for("delivered", &format!("b{n}@rcpt.test"));
    }
}

#[test]
fn what_is_handed_in_while_the_relay_is_down_arrives_once_it_is_back() {
    let mut world = world("");
    world.relay.stop();
    for n in 0..20 {
        ok(&world.relay, &["-i", "-f", "a@sender.test", &format!("b{n}@rcpt.test")], &format!("Subject: kept {n}\n\n.\nGrüße\n"));
    }
    let kept = drop_of(&world.relay);
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 20);
    world.relay.run();
    for n in 0..20 {
        world.relay.log().wait_for("delivered", &format!("b{n}@rcpt.test"));
    }
    until("the maildrop to be empty", || (fs::read_dir(&kept).unwrap().count() == 0).then_some(()));
    let got = came(&world, 20).1;
    assert!(got.len() == 20 && got.iter().all(|message| message.contains("Subject: kept ") && message.ends_with("\r\n.\r\nGrüße\r\n")));
    let line = world.relay.log().wait_for("accepted", "b0@rcpt.test");
    assert_eq!(line["client_ehlo"], format!("uid-{}", rustix::process::getuid().as_raw()), "who handed it in");
}

#[test]
fn a_caller_that_speaks_smtp_is_served_while_the_relay_is_down() {
    let mut world = world("");
    world.relay.stop();
    let session = "EHLO c.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<b@rcpt.test>\r\nDATA\r\nSubject: bs\r\n\r\nhi\r\n.\r\nQUIT\r\n";
    let said = ok(&world.relay, &["-bs"], session);
    assert!(said.contains("250 2.0.0 Ok: kept until the relay is back"), "{said}");
    let names = BY_NAMES.replace("RCPT TO: both@localhost\r\n", "");
    assert!(ok(&world.relay, &["-bs"], &names).contains("kept until"));
    world.relay.run();
    world.relay.log().wait_for("delivered", "b@rcpt.test");
    world.relay.log().wait_for_many("delivered", "ann@rcpt.test", 1);
}

/// A session with names of this machine.
const BY_NAMES: &str = "EHLO c\r\nMAIL FROM:<cron>\r\nRCPT TO:<root> NOTIFY=NEVER\r\nRCPT TO: both@localhost\r\nRCPT TO:<list>\r\nDATA\r\n\
                        Subject: names\r\n\r\n.\r..\r\nRCPT TO:<root>\r\n.\r\nQUIT\r\n";

#[test]
fn names_of_this_machine_lead_to_addresses_in_a_session_too() {
    let world = world("");
    let out = sendmail(&world.relay, &["-bs"], BY_NAMES);
    let codes: Vec<&str> =
        text(&out.stdout).lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| line[..3].to_owned().leak() as &str).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "250", "550", "354", "250", "221"], "{}", text(&out.stdout));
    assert!(out.status.success() && text(&out.stderr).contains("both leads to |/usr/bin/archive"), "{}", text(&out.stderr));
    until("all", || (came(&world, 1).0 == set(&["ann@rcpt.test", "bob@rcpt.test"])).then_some(()));
    let got = &world.mx.wait_for(1)[0];
    assert_eq!(got.from, "cron@sender.test");
    assert!(body(got).contains("\r\nRCPT TO:<root>\r\n"), "{}", body(got));
}

#[test]
fn a_caller_in_a_session_is_offered_no_tls_and_every_verb_has_its_answer() {
    let mut world = listening(|relay| format!("[listen.default]\ntls = \"starttls\"\n{}", certificate(relay)));
    let verbs = ["STARTTLS", "NOOP", "VRFY a", "EXPN a", "HELP", "RSET", "ETRN x", "TURN", "FOO", "MAIL TO:<a>", "HELO c", "QUIT"];
    let session = |hello: &str| format!("{hello}\r\n{}\r\n", verbs.join("\r\n"));
    let codes = |said: &str| -> Vec<u16> {
        said.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| line[..3].parse().unwrap()).collect()
    };
    let mut answers = Vec::new();
    for is_up in [true, false] {
        if !is_up {
            world.relay.stop();
        }
        let said = ok(&world.relay, &["-bs"], &session("EHLO c"));
        assert!(!said.lines().any(|line| line.get(4..) == Some("STARTTLS")), "{said}");
        assert_eq!(codes(&said).len(), verbs.len() + 2, "{said}");
        answers.push(codes(&said));
    }
    assert_eq!(answers[0], answers[1], "with the relay and without it");
    assert_eq!(answers[0][..4], [220, 250, 502, 250]);
    assert_eq!(answers[0][12..], [250, 221]);
    assert!(answers[0][7..12].iter().all(|code| *code == 250 || (500..505).contains(code)), "{answers:?}");
}

#[test]
fn an_alias_that_leads_to_a_program_too_says_that_it_gets_nothing() {
    let world = world("");
    let out = sendmail(&world.relay, &["-f", "a@sender.test", "both"], "Subject: x\n\nhi\n");
    assert!(out.status.success() && text(&out.stderr).contains("both leads to |/usr/bin/archive"), "{}", text(&out.stderr));
    world.relay.log().wait_for("delivered", "bob@rcpt.test");
    let out = sendmail(&world.relay, &["-bi"], "");
    assert!(
        text(&out.stderr).contains("both leads to") && text(&out.stdout).contains("4 aliases, 1 of them leads nowhere"),
        "{}",
        text(&out.stdout)
    );
}

#[test]
fn a_relay_that_is_stopped_in_its_tracks_gets_the_message_later() {
    let world = world("");
    until("the maildrop", || drop_of(&world.relay).is_dir().then_some(()));
    let signal = |signal| world.relay.signal(signal);
    signal(rustix::process::Signal::STOP);
    let began = support::wait::instant();
    let by_session = std::thread::scope(|scope| {
        let session = scope.spawn(|| ok(&world.relay, &["-bs"], BY_NAMES.replace("RCPT TO: both@localhost\r\n", "").as_str()));
        ok(&world.relay, &["-i", "-f", "a@sender.test", "b@rcpt.test"], "Subject: x\n\nhi\n");
        session.join().unwrap()
    });
    assert!(by_session.contains("kept until") && began.elapsed().as_secs() < 60, "{by_session}");
    signal(rustix::process::Signal::CONT);
    world.relay.log().wait_for("delivered", "b@rcpt.test");
    world.relay.log().wait_for("delivered", "ann@rcpt.test");
}

#[test]
fn a_letter_that_the_relay_refuses_later_comes_back_to_its_sender() {
    let mut world = world("limits.received_hops = 5");
    world.relay.stop();
    ok(&world.relay, &["-f", "a@sender.test", "round@rcpt.test"], &format!("{}Subject: round\n\nhi\n", "Received: by x\n".repeat(6)));
    world.relay.run();
    world.relay.log().wait_for("delivered", "a@sender.test");
    let notice = body(&world.mx.wait_for(1)[0]);
    assert!(notice.contains("Final-Recipient: rfc822; round@rcpt.test") && notice.contains("Action: failed"), "{notice}");
    assert!(notice.contains("Subject: round") && notice.contains("Status: 5.4.6"), "{notice}");
    assert_eq!(world.relay.log().wait_for("rejected", "")["reason"], "too_many_hops");
    assert!(world.relay.ok(["alarms"]).contains("a@sender.test has been told"));
}

#[test]
fn nothing_is_lost_over_a_restart_in_mid_traffic() {
    let mut world = world("");
    for n in 0..40 {
        match n {
            15 => world.relay.kill(),
            30 => world.relay.run(),
            _ => {}
        }
        ok(&world.relay, &["-i", "-f", "a@sender.test", &format!("b{n}@rcpt.test")], &format!("Subject: n{n}\n\nhi\n"));
    }
    for n in 0..40 {
        world.relay.log().wait_for("delivered", &format!("b{n}@rcpt.test"));
        assert_eq!(world.relay.log().of("accepted", &format!("b{n}@rcpt.test")).len(), 1);
    }
}

#[test]
fn a_letter_that_was_taken_before_a_crash_is_not_taken_again() {
    let mut world = world("");
    world.relay.stop();
    ok(&world.relay, &["-f", "a@sender.test", "b@rcpt.test"], "Subject: once\n\nhi\n");
    let kept = fs::read_dir(drop_of(&world.relay)).unwrap().next().unwrap().unwrap().path();
    let copy = world.relay.dir().join("copy");
    fs::copy(&kept, &copy).unwrap();
    world.relay.run();
    let line = world.relay.log().wait_for("delivered", "b@rcpt.test");
    assert_eq!(line["message"], kept.file_name().unwrap().to_str().unwrap(), "its name is the message's id");
    until("the letter to be taken", || (!kept.exists()).then_some(()));
    world.relay.kill();
    fs::copy(&copy, &kept).unwrap();
    world.relay.run();
    until("the letter to be known", || (!kept.exists()).then_some(()));
    assert_eq!(world.relay.log().of("accepted", "b@rcpt.test").len(), 1);
}

#[test]
fn nothing_else_in_the_maildrop_is_believed() {
    let mut world = world("limits.received_hops = 5");
    world.relay.stop();
    let dir = drop_of(&world.relay);
    let secret = world.relay.dir().join("secret");
    fs::write(&secret, "{\"maildrop\":1,\"uid\":0,\"sender\":\"\",\"recipients\":[\"spy@rcpt.test\"],\"length\":0}\n").unwrap();
    symlink(&secret, dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC0")).unwrap();
    fs::hard_link(&secret, dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC1")).unwrap();
    fs::write(dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC2"), "#!/bin/sh\nrm -rf /\n").unwrap();
    fs::create_dir(dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC3")).unwrap();
    // Names that could stand in the way of others.
    fs::write(dir.join("core"), "").unwrap();
    fs::write(dir.join("x".repeat(255)), "").unwrap();
    fs::create_dir(dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC0.bad")).unwrap();
    if rustix::process::geteuid().is_root() {
        // Another user's, who says that it is root's.
        fs::copy(&secret, dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC4")).unwrap();
        chown(dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC4"), Some(NOBODY), None).unwrap();
    }
    ok(&world.relay, &["-f", "a@sender.test", "good@rcpt.test"], "Subject: x\n\nhi\n");
    ok(&world.relay, &["-f", "a@sender.test", "round@rcpt.test"], &format!("{}\nhi\n", "Received: by x\n".repeat(6)));
    world.relay.run();
    world.relay.log().wait_for("delivered", "good@rcpt.test");
    until("all to be put aside", || {
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| name.ends_with(".bad")).reduce(|all, one| all && one)
    });
    assert!(world.relay.log().of("accepted", "spy@rcpt.test").is_empty());
    assert_eq!(fs::read_to_string(&secret).unwrap().lines().count(), 1);
    let alarms = world.relay.ok(["alarms"]);
    let day_and_user = alarms.matches("cannot be taken from the maildrop").count();
    assert!((1..=4).contains(&day_and_user), "one alarm a day for each user: {alarms}");
    assert!(alarms.contains("files of this user are put aside there"), "it counts: {alarms}");
    let lines = || {
        let said = world.relay.log().of("relay", "").into_iter().filter_map(|e| e["detail"].as_str().map(str::to_owned));
        said.filter(|detail| detail.contains("cannot be taken from the maildrop")).count()
    };
    assert!(lines() >= 6, "each is told: {}", lines());
    world.relay.ok(["alarms", "acknowledge", "--all"]);
    let before = lines();
    fs::write(dir.join("01K6Z5D0V4QK9M2T8YJ3N7RXC9"), "no letter").unwrap();
    until("the next to be told", || (lines() > before).then_some(()));
    assert!(world.relay.ok(["alarms"]).contains("cannot be taken from the maildrop"), "another alarm, once the first was acknowledged");
    assert_eq!(world.relay.log().wait_for("rejected", "")["reason"], "too_many_hops");
}

#[test]
fn every_user_may_put_something_into_a_maildrop_outside_of_the_relays_folder_and_nobody_else_reads_it() {
    let mut world = world("");
    if !support::tools::have_root("another user's mail needs one") {
        return;
    }
    let folder = tempfile::Builder::new().prefix("posthaste-").permissions(fs::Permissions::from_mode(0o711)).tempdir().unwrap();
    let (dir, config) = (folder.path().join("drop"), folder.path().join("posthaste.toml"));
    world.relay.configure(&format!("sendmail.maildrop = {dir:?}"));
    world.relay.stop();
    world.relay.run();
    until("the folder", || dir.exists().then_some(()));
    world.relay.stop();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o3733);
    fs::copy(world.relay.config_path(), &config).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let program = folder.path().join("sendmail");
    if fs::hard_link(binary(), &program).is_err() {
        fs::copy(binary(), &program).unwrap();
    }
    let mut command = Command::new(&program);
    command.args(["-i", "-f", "a@sender.test", "b@rcpt.test"]).env("POSTHASTE_CONFIG", &config).current_dir("/").uid(NOBODY).gid(NOBODY);
    let out = give(&mut command, "Subject: x\n\nhi\n");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let letter = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let meta = fs::metadata(&letter).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o640);
    let allowed = |command: &str, uid: u32| {
        let shell = ["-c", command, "sh"].map(str::to_owned);
        Command::new("/bin/sh")
            .args(shell)
            .arg(&letter)
            .arg(&dir)
            .uid(uid)
            .gid(uid)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    for forbidden in ["cat \"$1\"", "ls \"$2\"", "rm -f \"$1\"", "mv \"$1\" \"$1.x\""] {
        assert!(!allowed(forbidden, NOBODY - 1), "{forbidden}");
    }
    // Another user fills the folder with what the relay cannot take: names that come first, and none of them can be opened.
    let other = NOBODY - 1;
    let flood = "i=0; while [ $i -lt 600 ]; do echo x > \"$2/00$i\"; i=$((i+1)); done";
    assert!(allowed(flood, other), "anybody may put something in");
    world.relay.run();
    world.relay.log().wait_for("delivered", "b@rcpt.test");
    assert_eq!(world.relay.log().wait_for("accepted", "b@rcpt.test")["client_ehlo"], format!("uid-{NOBODY}"));
    until("all of it to be put aside", || world.relay.ok(["alarms"]).contains("600 files of this user").then_some(()));
}

#[test]
fn what_cannot_be_kept_is_said() {
    let mut world = world("");
    world.relay.stop();
    fs::remove_dir(drop_of(&world.relay)).unwrap();
    let out = sendmail(&world.relay, &["-f", "a@sender.test", "b@rcpt.test"], "Subject: x\n\nhi\n");
    assert_eq!(out.status.code(), Some(75), "EX_TEMPFAIL");
    assert!(text(&out.stderr).contains("cannot be kept in"), "{}", text(&out.stderr));
    let out = sendmail(&world.relay, &["-bs"], "");
    assert_eq!((out.status.code(), text(&out.stdout).get(..4)), (Some(75), Some("421 ")));
}

#[test]
fn more_recipients_than_a_message_may_have_get_several() {
    let world = world("limits.recipients = 100");
    let all: Vec<String> = (0..250).map(|n| format!("b{n}@rcpt.test")).collect();
    ok(&world.relay, &["-i", "-f", "a@sender.test", &all.join(",")], "Subject: x\n\nhi\n");
    world.relay.log().wait_for("delivered", "b249@rcpt.test");
    let messages: BTreeSet<String> =
        world.relay.log().events().iter().filter(|line| line["event"] == "accepted").map(|line| line["message"].to_string()).collect();
    assert_eq!(messages.len(), 3);
}

#[test]
fn the_queue_is_shown_as_scripts_expect_it_and_tried_again() {
    let world = world("retry.schedule = [\"1h\"]");
    let mailq = link(&world.relay, "mailq");
    let listed = || text(&Command::new(&mailq).env("POSTHASTE_CONFIG", world.relay.config_path()).output().unwrap().stdout);
    assert_eq!(listed(), "Mail queue is empty\n");
    world.dns.mx("late.test", 10, "mx1.example.test").fault("late.test", Fault::ServFail);
    ok(&world.relay, &["-f", "a@sender.test", "b@late.test"], "Subject: x\n\nhi\n");
    world.relay.log().wait_for("deferred", "b@late.test");
    let waiting = listed();
    assert!(
        waiting.contains("a@sender.test\n") && waiting.contains("b@late.test") && waiting.ends_with("-- 1 Kbytes in 1 Request.\n"),
        "{waiting}"
    );
    assert_eq!(ok(&world.relay, &["-bp"], ""), waiting);
    world.dns.heal("late.test");
    until("the message to be tried", || {
        ok(&world.relay, &["-q"], "");
        (!world.relay.log().of("delivered", "b@late.test").is_empty()).then_some(())
    });
    assert!(ok(&world.relay, &["--help"], "").contains("-t  "));
    let checked = sendmail(&world.relay, &["-bi"], "");
    assert!(text(&checked.stdout).starts_with("4 aliases, 1 of them") && text(&checked.stderr).contains("list leads to |/usr/bin/list"));
}

#[test]
fn the_configuration_that_is_named_is_the_one_that_holds() {
    let world = world("");
    let named = world.relay.config_path();
    let mut command = Command::new(binary());
    command.args(["sendmail", "-i", "-f", "a@sender.test", "-C"]).arg(&named).arg("b@rcpt.test").env_remove("POSTHASTE_CONFIG");
    assert!(give(&mut command, "Subject: x\n\nhi\n").status.success());
    world.relay.log().wait_for("delivered", "b@rcpt.test");
    for (file, content) in [("absent.cf", None), ("sendmail.cf", Some("O QueueDirectory=/var/spool/mqueue\n"))] {
        let path = world.relay.dir().join(file);
        content.iter().for_each(|content| fs::write(&path, content).unwrap());
        let out = sendmail(&world.relay, &["-C", path.to_str().unwrap(), "b@rcpt.test"], "");
        assert_eq!(out.status.code(), Some(78), "EX_CONFIG");
        assert!(text(&out.stderr).contains(file), "{}", text(&out.stderr));
    }
}

#[test]
fn a_message_is_kept_only_where_the_configuration_that_holds_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // A maildrop of the defaults, which no relay empties.
    fs::create_dir_all(folder.path().join("posthaste-data/maildrop")).unwrap();
    let mut command = Command::new(binary());
    command.args(["sendmail", "-i", "-f", "a@sender.test", "b@rcpt.test"]).current_dir(folder.path());
    let out = give(command.env("POSTHASTE_CONFIG", "/no/such/posthaste.toml"), "Subject: x\n\nhi\n");
    assert_eq!(out.status.code(), Some(78), "EX_CONFIG: {}", text(&out.stderr));
    assert!(text(&out.stderr).contains("/no/such/posthaste.toml"), "{}", text(&out.stderr));
    assert_eq!(fs::read_dir(folder.path().join("posthaste-data/maildrop")).unwrap().count(), 0);
    if Path::new("/etc/posthaste/posthaste.toml").exists() {
        return eprintln!("skipped: this machine has a configuration");
    }
    // The one in the folder where the command stands is found, as by every other command.
    let world = world("");
    command.env_remove("POSTHASTE_CONFIG").current_dir(world.relay.dir());
    let out = give(&mut command, "Subject: x\n\nhi\n");
    assert!(out.status.success(), "{}", text(&out.stderr));
    world.relay.log().wait_for("delivered", "b@rcpt.test");
}

#[test]
fn a_listener_for_users_alone_is_not_asked() {
    let port = free_port();
    let world = world(&format!("listen.users.address = \"127.0.0.1:{port}\"\nlisten.users.allow = []"));
    ok(&world.relay, &["-f", "a@sender.test", "b@rcpt.test"], "Subject: x\n\nhi\n");
    world.relay.log().wait_for("delivered", "b@rcpt.test");
    assert!(world.relay.log().of("rejected", "").is_empty());
}

#[test]
fn a_letter_that_is_read_at_two_ends_of_the_relay_is_put_aside_and_others_are_taken() {
    let mut world = world("");
    world.relay.stop();
    let dir = drop_of(&world.relay);
    for rcpt in ["bad@rcpt.test", "good@rcpt.test"] {
        ok(&world.relay, &["-f", "a@sender.test", rcpt], "Subject: x\n\nhi\n");
    }
    let letters: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let bad = letters.iter().find(|path| fs::read_to_string(path).unwrap().contains("bad@rcpt.test")).unwrap();
    let name = bad.file_name().unwrap().to_str().unwrap();
    // As two ends of the relay leave it.
    fs::write(world.relay.dir().join("data/maildrop.reading"), format!("reading 1 {name}\n")).unwrap();
    world.relay.run();
    world.relay.log().wait_for("delivered", "good@rcpt.test");
    until("the letter to be put aside", || (!bad.exists()).then_some(()));
    assert!(world.relay.log().of("accepted", "bad@rcpt.test").is_empty());
    let aside: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(matches!(&*aside, [kept] if kept.extension().is_some_and(|end| end == "bad")), "{aside:?}");
    let alarms = world.relay.ok(["alarms"]);
    assert!(alarms.contains("ended 2 times in a row while it read it") && alarms.contains("sendmail"), "{alarms}");
    assert_eq!(fs::read_to_string(world.relay.dir().join("data/maildrop.reading")).unwrap(), "");
}

#[test]
fn a_letter_is_noted_while_it_is_read() {
    let mut world = world("");
    world.relay.stop();
    ok(&world.relay, &["-f", "a@sender.test", "b@rcpt.test"], &format!("Subject: x\n\n{}", "hi there\n".repeat(1_000_000)));
    world.relay.spawn();
    let path = world.relay.dir().join("data/maildrop.reading");
    until("the letter to be read", || {
        (0..100_000).any(|_| fs::read_to_string(&path).unwrap_or_default().starts_with("reading 0 ")).then_some(())
    });
    world.relay.log().wait_for("delivered", "b@rcpt.test");
    until("the note to be gone", || fs::read(&path).unwrap().is_empty().then_some(()));
}

fn drop_of(relay: &Relay) -> PathBuf {
    relay.dir().join("data/maildrop")
}

fn link(relay: &Relay, name: &str) -> PathBuf {
    let link: PathBuf = Path::new(relay.dir()).join(name);
    symlink(binary(), &link).unwrap();
    link
}
