//! What commands say of mail that waits: the same, whoever is asked; and of what an operator has to mend.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use support::{
    Act, FakeMx, Mail, Relay, Step, World,
    dns::DnsServer,
    relay::{binary, text},
    wait, world,
};

const LIFTS: &str = "posthaste warmup resume default/example.test --reason";

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The alarms that stand, by their rules.
fn standing(relay: &Relay) -> Vec<Value> {
    lines(&relay.ok(["alarms", "--json"])).remove(0)["alarms"].as_array().expect("a list").clone()
}

fn stands(relay: &Relay, rule: &str) -> Option<Value> {
    standing(relay).into_iter().find(|alarm| alarm["rule"] == rule)
}

#[test]
fn whoever_is_asked_names_the_same_pause_its_end_and_the_command_that_lifts_it() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt("a@example.test") => {
            Act::Say("554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org".into())
        }
        Step::Rcpt("c@example.test") => Act::Say("451 4.7.1 greylisted".into()),
        _ => Act::Usual,
    });
    let log = world.relay.log();
    world.relay.send(&Mail::new("", &["c@example.test"], "one"));
    log.wait_for("deferred", "c@example.test");
    world.relay.send(&Mail::new("", &["a@example.test"], "two"));
    log.wait_for("bounced", "a@example.test");
    let id = world.relay.send(&Mail::new("", &["b@example.test"], "three"));
    for n in 0..3 {
        world.relay.send(&Mail::new("", &[&format!("d{n}@example.test")], "four"));
    }
    log.wait_for("held", "d2@example.test");
    let end: jiff::Timestamp = log.of("lane", "")[0]["until"].as_str().unwrap().parse().unwrap();
    let end = format!("pauses until {} UTC", end.strftime("%F %T"));
    let held = log.wait_for("held", "b@example.test");
    assert!(held["detail"].as_str().unwrap().contains(&end), "{held}");
    for asked in [
        &["queue"][..],
        &["queue", "list"],
        &["queue", "show", &id],
        &["sendmail", "-bp"],
        &["why", &id],
        &["why", "example.test"],
        &["trace", &id],
        &["queue", "retry", "--all"],
    ] {
        let said = world.relay.ok(asked);
        assert!(said.contains(&end) && said.contains(LIFTS), "{asked:?}: {end}: {said}");
        assert!(!said.contains("waiting for budget"), "{asked:?}: {said}");
    }
    for asked in [&["queue", "list"][..], &["queue", "show", &id[..]], &["sendmail", "-bp"]] {
        let has_reply = world.relay.ok(asked).contains("451 4.7.1 greylisted");
        assert_eq!(has_reply, asked != ["queue", "show", &id], "the last reply is told with its own recipient: {asked:?}");
    }
    let listed = lines(&world.relay.ok(["queue", "show", &id, "--json"])).remove(0);
    assert_eq!((&listed["standing"][0]["state"], &listed["rcpts"][0][4]), (&"paused".into(), &"paused".into()), "{listed}");
}

#[test]
fn mail_of_a_refused_login_says_what_the_smart_host_said_and_what_to_do() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    mx.extensions(&["AUTH PLAIN"]);
    mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("535 5.7.8 wrong password".into()) } else { Act::Usual });
    let password = tempfile::NamedTempFile::new().unwrap();
    fs::write(password.path(), "old").unwrap();
    let route = format!("route.\"*\" = {{ hosts = [\"{}\"], user = \"relay\", password_file = {:?} }}\n", mx.address(), password.path());
    let mut relay = world::relay(&dns, 25, &(route + "retry.schedule = [\"1h\"]\ndelivery.host_down = \"1h\"\n"));
    let ids = ["one", "two"].map(|name| {
        let rcpt = format!("{name}@d.test");
        let id = relay.send(&Mail::new("me@sender.test", &[&rcpt], name));
        relay.log().wait_for("deferred", &rcpt);
        id
    });
    let passed_over = relay.log().wait_for("deferred", "two@d.test");
    assert_eq!((&passed_over["cause"], &passed_over["rule"]), (&"session_refused".into(), &"route.login".into()), "{passed_over}");
    for asked in [&["queue"][..], &["queue", "list"], &["queue", "show", &ids[1]], &["why", "d.test"], &["why", &ids[1]], &["alarms"]] {
        let said = relay.ok(asked);
        assert!(said.contains("535 5.7.8 wrong password") && said.contains("password_file"), "{asked:?}: {said}");
        assert!(
            !said.contains("nothing listens") && !said.contains("connection refused") && !said.contains("connection_refused"),
            "{said}"
        );
    }
    // It stands, also after a restart, until the login is accepted.
    assert_eq!(stands(&relay, "route.login").unwrap()["mends"], true);
    relay.stop();
    relay.run();
    assert!(stands(&relay, "route.login").is_some());
    mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("235 2.7.0 welcome".into()) } else { Act::Usual });
    // The start has tried the login again. If that was before it was right, an operator's command has it tried once more.
    relay.command(["queue", "retry", "--all"]).output().unwrap();
    relay.log().wait_for_many("delivered", "", 2);
    assert_eq!(stands(&relay, "route.login"), None);
}

#[test]
fn what_an_operator_has_to_mend_stands_until_it_is_mended_or_acknowledged() {
    let world = World::start("retry.schedule = [\"1h\"]");
    let good = fs::read_to_string(world.relay.config_path()).unwrap();
    world.relay.write_config(&format!("{good}\nhostnam = \"x\"\n"));
    assert!(!world.relay.cli(["reload"]).status.success());
    let alarm = stands(&world.relay, "reload_refused").expect("a refused reload is an alarm");
    assert!(alarm["what"].as_str().unwrap().contains("hostnam"), "{alarm}");
    assert!(world.relay.ok(["queue"]).contains("the old configuration stays in force"));
    world.relay.write_config(&good);
    world.relay.ok(["reload"]);
    assert_eq!(stands(&world.relay, "reload_refused"), None);

    for n in 0..3 {
        let domain = format!("d{n}.test");
        world.dns.fault(&domain, support::dns::Fault::ServFail);
        world.relay.send(&Mail::new("", &[&format!("r@{domain}")], "one"));
        world.relay.log().wait_for("deferred", &format!("r@{domain}"));
    }
    let alarm = stands(&world.relay, "dns_silent").expect("DNS that gives no answers is an alarm");
    world.relay.ok(["alarms", "acknowledge", &alarm["id"].to_string()]);
    assert_eq!(stands(&world.relay, "dns_silent"), None);
    world.relay.send(&Mail::new("", &["reader@example.test"], "one"));
    world.relay.log().wait_for("delivered", "reader@example.test");
    wait::until("the log to say that DNS answers again", || {
        let is_it = |event: &Value| event["state"] == "alarm_over" && event["detail"].as_str().is_some_and(|said| said.contains("DNS"));
        world.relay.log().events().into_iter().find(is_it)
    });
}

#[test]
fn mail_that_its_sender_wants_sent_later_says_so_and_is_not_sent_early() {
    let world = World::start("");
    let started: jiff::Timestamp = world.relay.log().wait_for_relay("started")["time"].as_str().unwrap().parse().unwrap();
    let at = jiff::Timestamp::from_second(started.as_second() + 5 * 24 * 3_600).unwrap();
    let shown = at.strftime("%F %T").to_string();
    let id = world.relay.send(&Mail::raw(
        "",
        &["reader@example.test"],
        format!("From: a@sender.test\r\nX-Posthaste-Send-At: {at}\r\nSubject: later\r\n\r\nhi\r\n").as_bytes(),
    ));
    for asked in [&["why", &id][..], &["trace", &id], &["queue", "show", &id], &["queue", "list"], &["sendmail", "-bp"]] {
        let said = world.relay.ok(asked);
        assert!(said.contains(&shown) && said.contains("its sender wants it sent then"), "{asked:?}: {said}");
    }
    for asked in [&["queue", "retry", "--all"][..], &["queue", "retry", &id], &["sendmail", "-q"]] {
        let out = world.relay.cli(asked);
        if asked[0] == "queue" {
            assert!(text(&out.stdout).contains("--scheduled sends it before that"), "{out:?}");
        }
    }
    assert!(world.relay.ok(["why", &id]).contains("not tried yet"));
    world.relay.ok(["queue", "retry", &id, "--scheduled"]);
    world.relay.log().wait_for("delivered", "reader@example.test");
}

#[test]
fn why_takes_a_message_id_and_says_which_messages_a_part_of_an_id_may_mean() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.7.1 later".into()) } else { Act::Usual });
    let ids = ["a", "b"].map(|name| {
        let rcpt = format!("{name}@example.test");
        let id = world.relay.send(&Mail::raw(
            "",
            &[&rcpt],
            format!("From: a@sender.test\r\nMessage-ID: <{name}.1@app.test>\r\nSubject: x\r\n\r\nhi\r\n").as_bytes(),
        ));
        world.relay.log().wait_for("deferred", &rcpt);
        id
    });
    for asked in ["<a.1@app.test>", "a.1@app.test", "Message-ID: <a.1@app.test>", &ids[0][16..]] {
        let said = world.relay.ok(["why", asked]);
        assert!(said.contains("a@example.test") && !said.contains("b@example.test"), "{asked}: {said}");
        assert!(world.relay.ok(["queue", "show", asked]).contains("a@example.test"), "{asked}");
    }
    let common = &ids[0][..6];
    let out = world.relay.cli(["why", common]);
    let said = text(&out.stderr);
    assert!(!out.status.success() && said.contains("names several messages") && ids.iter().all(|id| said.contains(id.as_str())), "{out:?}");
}

/// `posthaste` in this folder, with these words in its environment beside an empty one.
fn posthaste(folder: &Path, config: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env_remove("POSTHASTE_CONFIG").env_remove("RUST_LOG").stdin(std::process::Stdio::null());
    command.envs(config.map(|config| ("POSTHASTE_CONFIG", config))).output().unwrap()
}

#[test]
fn a_wrong_folder_or_a_wrong_variable_makes_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["suppress", "add", "a@example.test"][..],
        &["suppress", "import", "-"],
        &["user", "add", "ann", "--no-password"],
        &["user", "token", "ann"],
        &["user", "remove", "ann"],
    ] {
        let out = posthaste(folder.path(), None, arguments);
        assert!(!out.status.success() && text(&out.stderr).contains("is --config missing?"), "{arguments:?}: {out:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} made something");
    }
    let wrong = posthaste(folder.path(), Some("/nowhere/posthaste.toml"), &["dkim", "new", "sender.test", "s1"]);
    let said = text(&wrong.stderr);
    assert!(!wrong.status.success() && said.contains("POSTHASTE_CONFIG names /nowhere/posthaste.toml"), "{said}");
    let no_file = posthaste(folder.path(), None, &["-c", ".", "dkim", "new", "sender.test", "s1"]);
    assert!(!no_file.status.success(), "{no_file:?}");
    let at = posthaste(folder.path(), None, &["dkim", "new", "sender.test", "s1", "--config", "none.toml"]);
    assert!(text(&at.stderr).contains("--config names none.toml"), "{at:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_plain_code_is_explained_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let explain = |reply: &str| text(&posthaste(folder.path(), None, &["explain", reply]).stdout);
    for reply in ["535", "535 5.7.8", "535 wrong password", "530", "534", "538 5.7.11 x", "454 4.7.0 authentication failed"] {
        let said = explain(reply);
        assert!(said.contains("smart host") && said.contains("its mail waits"), "{reply}: {said}");
    }
    for reply in ["550", "550 5.1.1 no such user", "451 4.7.1 greylisted"] {
        let said = explain(reply);
        assert!(said.contains("retried") && !said.contains("smart host of a [route]"), "{reply}: {said}");
    }
    for reply in ["250", "354 go ahead", "220 hello"] {
        assert!(explain(reply).contains("this is no refusal"), "{reply}: {}", explain(reply));
    }
}

#[test]
fn every_answer_has_json() {
    let world = World::start("");
    let file = world.relay.dir().join("list.csv");
    fs::write(&file, "a@example.test\nb@example.test\n").unwrap();
    let file = file.display().to_string();
    for (arguments, key) in [
        (&["user", "add", "ann", "--no-password", "--json"][..], "name"),
        (&["user", "token", "ann", "--json"], "token"),
        (&["user", "remove", "ann", "--json"], "name"),
        (&["suppress", "import", &file, "--json"], "added"),
        (&["suppress", "add", "c@example.test", "--json"], "added"),
        (&["suppress", "remove", "c@example.test", "--json"], "removed"),
        (&["reload", "--json"], "changed"),
        (&["queue", "retry", "--all", "--json"], "messages"),
        (&["alarms", "--json"], "alarms"),
        (&["audit", "--json"], "balanced"),
    ] {
        let out = world.relay.cli(arguments);
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out:?}"));
        assert!(!answer[key].is_null(), "{arguments:?}: {answer}");
    }
}

#[test]
fn a_reload_names_what_changed_and_what_needs_a_restart_however_often_it_is_asked() {
    let world = World::start("");
    let none = world.relay.ok(["reload"]);
    assert!(none.contains("no key in the file has changed"), "{none}");
    world.relay.change_config("threads = 3\nretry.schedule = [\"7m\"]");
    let said = world.relay.ok(["reload"]);
    assert!(said.contains("needs a restart: threads") && said.contains("changed: retry.schedule, threads"), "{said}");
    let again = world.relay.ok(["reload"]);
    assert!(again.contains("needs a restart: threads"), "what has not been restarted is not in force: {again}");
}

#[test]
fn the_relays_group_looks_at_users_keys_and_the_whole_log_without_its_files() {
    if !support::tools::have_root("takes the rights of another user") {
        return;
    }
    const NOBODY: u32 = 65534;
    let world = world::listening(|relay| {
        fs::set_permissions(relay.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        relay.ok(["dkim", "new", "sender.test", "s1"]);
        let keys = "[dkim.domain.\"sender.test\"]\nkeys = [{ selector = \"s1\", file = \"s1.sender.test.pem\" }]";
        format!("admin = {{ socket = {:?}, mode = \"0660\" }}\n{keys}\n", relay.dir().join("socket"))
    });
    fs::set_permissions(world.relay.config_path(), fs::Permissions::from_mode(0o644)).unwrap();
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.9.9 zyxwv plugh".into()) } else { Act::Usual });
    world.relay.ok(["user", "add", "ann", "--no-password"]);
    world.relay.send(&Mail::new("", &["reader@example.test"], "one"));
    world.relay.log().wait_for("deferred", "reader@example.test");
    for (arguments, part) in [
        (&["user", "list"][..], "ann"),
        (&["dkim", "status"], "s1"),
        (&["dkim", "dns", "sender.test"], "s1._domainkey"),
        (&["bounce", "unknown"], "plugh"),
        (&["warmup", "audit"], "ledger and log"),
        (&["explain", "550 5.1.1 no such user"], "invalid_recipient"),
    ] {
        let out = world.relay.command(arguments).uid(NOBODY).gid(0).output().unwrap();
        assert!(text(&out.stdout).contains(part), "{arguments:?}: {out:?}");
        assert!(!text(&out.stdout).contains("PRIVATE"), "{arguments:?}");
    }
    let stranger = world.relay.command(["user", "list"]).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(!stranger.status.success() && stranger.stdout.is_empty(), "{stranger:?}");
    let mailq = world.relay.command(["sendmail", "-bp"]).uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = text(&mailq.stderr);
    assert!(mailq.status.code() == Some(77) && said.contains("the queue is for root and the relay's group"), "{mailq:?}");
    let check = world.relay.command(["check"]).uid(NOBODY).gid(0).output().unwrap();
    let said = text(&check.stderr);
    assert!(
        !check.status.success() && said.contains("it belongs to user 0, and this is user 65534: run this as the relay's user or as root"),
        "{said}"
    );
}

#[test]
fn whatever_prints_a_table_fits_a_terminal_of_80_columns() {
    let long = format!("{}.{}.example.test", "a".repeat(50), "b".repeat(50));
    let provider = format!("{}.test", "p".repeat(60));
    let world = World::start(
        "retry.schedule = [\"1h\"]\nsource.ip2 = { address = \"127.0.0.2\", warmup = \"tiny\" }\npool.default.sources = [\"ip2\"]\n\
         curve.tiny = { caps = [5, 6], burst = 1 }\n",
    );
    let host = format!("mx.{provider}");
    world.dns.mx(&long, 10, &host).a(&host, "127.0.0.1");
    world.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say(format!("451 4.9.9 {} {}", "x".repeat(90), "come again later ".repeat(20))),
        _ => Act::Usual,
    });
    let rcpt = format!("{}@{long}", "r".repeat(60));
    let id = world.relay.send(&Mail::new(&format!("{}@sender.test", "s".repeat(60)), &[&rcpt], "one"));
    world.relay.log().wait_for("deferred", &rcpt);
    world.relay.ok(["suppress", "add", &format!("{}@{long}", "t".repeat(60)), "--note", &"a long note ".repeat(20)]);
    world.relay.ok(["user", "add", &"u".repeat(60), "--no-password", "--sender", &long]);
    world.relay.ok(["dkim", "new", &long, &"s".repeat(40), "--out", "key.pem"]);
    world.relay.change_config(&format!("[dkim.domain.{long:?}]\nkeys = [{{ selector = {:?}, file = \"key.pem\" }}]", "s".repeat(40)));
    world.relay.ok(["reload"]);
    let commands: [&[&str]; 28] = [
        &["queue"],
        &["queue", "list"],
        &["queue", "show", &id],
        &["queue", "retry", "--all"],
        &["why", &rcpt],
        &["why", &long],
        &["trace", &id],
        &["trace", &rcpt],
        &["log", "--all"],
        &["suppress", "list"],
        &["user", "list"],
        &["dkim", "status"],
        &["warmup", "status"],
        &["warmup", "plot", &format!("ip2/{provider}")],
        &["warmup", "simulate", "--days", "3", "--volume", "100/day", "--mix", &format!("{provider}=1")],
        &["warmup", "audit"],
        &["audit"],
        &["alarms"],
        &["bounce", "unknown"],
        &["explain", &format!("550 5.1.1 {}", "no ".repeat(60))],
        &["check"],
        &["reload"],
        &["sendmail", "-bp"],
        &["report", "--full"],
        &["top", "--once"],
        &["top", "--help"],
        &["--help"],
        &["queue", "retry", "--help"],
    ];
    for command in commands {
        let said = at_a_terminal(&world.relay, command);
        assert!(!said.trim().is_empty(), "{command:?} says nothing");
        for line in said.lines().map(|line| line.trim_end_matches('\r')) {
            let width = line.chars().count();
            assert!(width <= 80, "{command:?}: {width} columns: {line}");
        }
    }
    let json = at_a_terminal(&world.relay, &["queue", "list", "--json"]);
    assert!(serde_json::from_str::<Value>(json.trim()).is_ok(), "JSON is not folded: {json}");
}

/// What a command writes to its standard output at a terminal of 80 columns. Its standard error goes elsewhere.
fn at_a_terminal(relay: &Relay, arguments: &[&str]) -> String {
    let words: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let script = format!("stty cols 80; {} {} 2>/dev/null", binary().display(), words.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &script, "/dev/null"]).current_dir(relay.dir()).stdin(std::process::Stdio::null());
    terminal.env("POSTHASTE_CONFIG", relay.config_path()).env("NO_COLOR", "1").env("USER", "tester").env_remove("RUST_LOG");
    text(&terminal.output().unwrap().stdout)
}
