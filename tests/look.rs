//! What commands say where there is little to see: no data, no relay, no file, a file for another host, a user without keys, a narrow terminal.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output},
};

use support::{
    Act, Mail, Relay, Step, World,
    relay::{binary, text},
};

/// `posthaste` in this folder, with no configuration named.
fn posthaste(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env_remove("POSTHASTE_CONFIG").env_remove("RUST_LOG");
    command.output().unwrap()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn who_looks_at_nothing_is_told_so_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["audit"][..],
        &["audit", "--json"],
        &["warmup", "audit"],
        &["suppress", "list"],
        &["suppress", "export"],
        &["bounce", "unknown"],
        &["log"],
        &["trace", "a@example.test"],
        &["alarms"],
        &["alarms", "acknowledge", "--all"],
    ] {
        let out = posthaste(folder.path(), arguments);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {said}{}", text(&out.stdout));
        assert!(out.stdout.is_empty() && said.contains("posthaste-data") && said.contains("is --config missing?"), "{arguments:?}: {said}");
        assert_eq!(entries(folder.path()), 0, "{arguments:?} made something");
    }
    let config = folder.path().join("posthaste.toml");
    fs::write(&config, format!("data_dir = {:?}\n", folder.path().join("elsewhere"))).unwrap();
    let out = posthaste(folder.path(), &["audit"]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("elsewhere"), "{out:?}");
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn who_finds_no_relay_is_told_how_to_start_it() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["queue"][..], &["log"]] {
        let said = text(&posthaste(folder.path(), arguments).stderr);
        assert!(said.contains("is --config missing? If not, `posthaste run` starts the relay"), "{arguments:?}: {said}");
    }
    let config = folder.path().join("mine.toml");
    fs::write(&config, "hostname = \"mx1.example.com\"\n").unwrap();
    let config = config.to_str().unwrap();
    for arguments in [&["queue", "-c", config][..], &["log", "-c", config]] {
        let said = text(&posthaste(folder.path(), arguments).stderr);
        let starts = format!("the configuration is {config}: `posthaste run --config {config}` starts the relay");
        assert!(said.contains(&starts) && !said.contains("is --config missing?"), "{arguments:?}: {said}");
    }
}

#[test]
fn errors_fit_a_narrow_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("stty cols 60; {} queue", binary().display());
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &script, "/dev/null"]).current_dir(folder.path()).stdin(std::process::Stdio::null());
    let said = text(&terminal.env_remove("POSTHASTE_CONFIG").env_remove("RUST_LOG").output().unwrap().stdout);
    assert!(said.contains("no relay answers") && said.lines().count() > 3, "{said}");
    assert!(said.lines().all(|line| line.trim_end().chars().count() <= 60), "{said}");
}

#[test]
fn a_selector_is_a_keys_name_once() {
    let relay = Relay::prepare("");
    relay.ok(["dkim", "new", "sender.test", "s1"]);
    let file = relay.config_path().parent().unwrap().join("s1.sender.test.pem");
    relay.write_config(&format!(
        "hostname = \"mx1.example.com\"\n[dkim.domain.\"sender.test\"]\nkeys = [{{ selector = \"s1\", file = {file:?} }}]\n"
    ));
    let again = relay.cli(["dkim", "new", "sender.test", "S1", "--out", relay.dir().join("other.pem").to_str().unwrap()]);
    let said = text(&again.stderr);
    assert!(!again.status.success() && said.contains("sender.test has a key with the selector s1 already (active)"), "{said}");
    assert!(said.contains("`posthaste dkim rotate sender.test`") && !relay.dir().join("other.pem").exists(), "{said}");
    relay.ok(["dkim", "new", "sender.test", "s2"]);
    relay.ok(["dkim", "new", "other.test", "s1"]);
}

#[test]
fn check_says_that_nobody_reads_what_this_machine_writes_to_root() {
    let relay = Relay::prepare("");
    let (aliases, config) = (relay.dir().join("aliases"), |more: &str| format!("hostname = \"mx1.example.com\"\n{more}\n"));
    let named = |more: &str| config(&format!("sendmail.aliases = {aliases:?}\n{more}"));
    let cautions = |config: &str| {
        relay.write_config(config);
        relay.ok(["check"]).lines().filter(|line| line.contains("as cron does")).map(str::to_owned).collect::<Vec<_>>()
    };
    let [said] = &cautions(&named(""))[..] else { panic!("no caution") };
    assert!(
        said.contains("it goes to root@mx1.example.com, which is this host itself") && said.contains("in ") && said.contains("aliases"),
        "{said}"
    );
    assert_eq!(cautions(&named("postmaster = \"ops@people.test\"")), Vec::<String>::new());
    assert_eq!(cautions(&named("origin = \"people.test\"")), Vec::<String>::new(), "other hosts may have its mailboxes");
    fs::write(&aliases, "root: ann@people.test\npostmaster: root\n").unwrap();
    assert_eq!(cautions(&named("")), Vec::<String>::new());
    fs::write(&aliases, "root: postmaster\n").unwrap();
    assert!(cautions(&named(""))[0].contains("postmaster@mx1.example.com"), "where it ends is told");
}

#[test]
fn a_configuration_that_nobody_named_is_found_here_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let none = posthaste(folder.path(), &["queue"]);
    assert!(!none.status.success() && text(&none.stderr).contains("no configuration file: the defaults apply"), "{none:?}");
    fs::write(folder.path().join("posthaste.toml"), "hostname = \"mx1.example.com\"\n").unwrap();
    for arguments in [&["queue"][..], &["log"], &["trace", "a@example.test"], &["audit"], &["user", "list"]] {
        let said = text(&posthaste(folder.path(), arguments).stderr);
        assert!(said.contains("the configuration is posthaste.toml"), "{arguments:?}: {said}");
    }
    let check = posthaste(folder.path(), &["check"]);
    assert!(text(&check.stdout).contains("valid: 1 listener, 1 source, 1 stream (posthaste.toml)"), "{check:?}");
    let mut empty = Command::new(binary());
    let empty = empty.args(["check"]).current_dir(folder.path()).env("POSTHASTE_CONFIG", "").output().unwrap();
    assert!(empty.status.success(), "an empty variable names no file: {empty:?}");
}

#[test]
fn check_says_of_which_file_and_in_json_too() {
    let relay = Relay::prepare("hostname = \"mx1\"");
    let said = relay.ok(["check"]);
    assert!(said.contains(&format!("({})", relay.config_path().display())), "{said}");
    assert!(said.contains("caution: hostname is \"mx1\""), "{said}");
    let json: serde_json::Value = serde_json::from_str(&relay.ok(["check", "--json"])).unwrap();
    assert_eq!((&json["valid"], &json["file"]), (&true.into(), &relay.config_path().to_str().unwrap().into()));
    relay.write_config("hostname = \"192.0.2.1\"\n[listen.a]\naddress = \"192.0.2.10:25\"\n");
    let bad = relay.cli(["check", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert!(!bad.status.success() && json["errors"].as_array().is_some_and(|errors| errors.len() == 2), "{json}");
    let folder = tempfile::tempdir().unwrap();
    let none = posthaste(folder.path(), &["check"]);
    assert!(text(&none.stdout).contains("there is no configuration file"), "{none:?}");
}

#[test]
fn a_file_for_another_host_is_checked_without_its_addresses_and_keys() {
    let relay = Relay::prepare("");
    relay.write_config(concat!(
        "hostname = \"mx1.example.com\"\n[listen.a]\naddress = \"192.0.2.10:25\"\nallow = [\"0.0.0.0/0\"]\n",
        "[source.ip1]\naddress = \"192.0.2.11\"\n[dkim]\nalso_sign_as = \"example.com\"\n",
        "[dkim.domain.\"example.com\"]\nkeys = [{ selector = \"a\", file = \"/nowhere/a.pem\" }]\n",
    ));
    assert!(!relay.cli(["check"]).status.success());
    let said = relay.ok(["check", "--offline"]);
    assert!(said.contains("not checked: ") && said.contains("/nowhere/a.pem") && said.contains("open relay"), "{said}");
    relay.write_config("hostnam = \"mx1.example.com\"\n");
    assert!(!relay.cli(["check", "--offline"]).status.success());
}

#[test]
fn keys_that_others_can_read_and_keys_that_dns_does_not_have_are_told() {
    let dns = support::dns::DnsServer::start();
    let relay = Relay::prepare(&format!("dns.nameservers = [\"{}\"]", dns.address()));
    relay.ok(["dkim", "new", "sender.test", "s1"]);
    let key = relay.dir().join("s1.sender.test.pem");
    relay.change_config("[dkim.domain.\"sender.test\"]\nkeys = [{ selector = \"s1\", file = \"s1.sender.test.pem\" }]");
    let said = relay.ok(["check"]);
    assert!(said.contains("signs with the key s1, and DNS does not have it"), "{said}");
    assert!(!said.contains("chmod"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = relay.ok(["check"]);
    assert!(said.contains(&format!("chmod 600 {}", key.display())), "{said}");
}

#[test]
fn looking_needs_no_keys_and_a_broken_file_hides_nothing() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.relay.send(&Mail::new("", &["reader@example.test"], "one"));
    world.relay.log().wait_for("delivered", "reader@example.test");
    world.relay.change_config("[dkim.domain.\"sender.test\"]\nkeys = [{ selector = \"s1\", file = \"/nowhere/of-others.pem\" }]");
    for arguments in [&["log"][..], &["trace", "reader@example.test"], &["why", "example.test"], &["queue"], &["audit"], &["alarms"]] {
        let out = world.relay.cli(arguments);
        assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
    }
    assert!(!world.relay.cli(["check"]).status.success());
}

#[test]
fn a_relay_says_where_it_listens_and_by_which_file() {
    let world = World::start("");
    let said =
        support::wait::until("the relay to say where its data are", || Some(world.relay.stderr()).filter(|said| said.contains("data: ")));
    let file = world.relay.config_path();
    for part in
        [format!("configuration: {}", file.display()), format!("127.0.0.1:{}", world.relay.port()), "data: ".into(), "relay.test".into()]
    {
        assert!(said.contains(&part), "{part}: {said}");
    }
}

#[test]
fn a_terminal_of_80_columns_gets_lines_that_fit() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("gone") => Act::Say(format!("550 5.1.1 {}", "no such user here ".repeat(6))),
        _ => Act::Usual,
    });
    let id = world.relay.send(&Mail::new("", &["gone@example.test"], "one"));
    world.relay.log().wait_for("bounced", "gone@example.test");
    let program = binary();
    let script = format!("stty cols 80; {} log --all --event bounced", program.display());
    let mut command = world.relay.command([""; 0]);
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &script, "/dev/null"]).current_dir(world.relay.dir());
    terminal.envs(
        command.envs(std::iter::empty::<(&str, &str)>()).get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))),
    );
    let said = text(&terminal.output().unwrap().stdout);
    assert!(said.contains(&id[18..]) && !said.contains(&id) && said.contains("no such user here"), "{said}");
    assert!(said.lines().all(|line| line.trim_end().chars().count() <= 80), "{said}");
    assert!(world.relay.ok(["log", "--all", "--event", "bounced"]).contains(&id), "elsewhere it is one line with the whole id");
}

#[test]
fn the_group_of_the_socket_may_look_and_reads_no_file_of_the_relay() {
    if !support::tools::have_root("takes the rights of another user") {
        return;
    }
    const NOBODY: u32 = 65534;
    let world = support::world::listening(|relay| {
        fs::set_permissions(relay.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        format!("admin = {{ socket = {:?}, mode = \"0660\" }}", relay.dir().join("socket"))
    });
    fs::set_permissions(world.relay.config_path(), fs::Permissions::from_mode(0o644)).unwrap();
    let id = world.relay.send(&Mail::new("", &["reader@example.test"], "one"));
    world.relay.log().wait_for("delivered", "reader@example.test");
    let as_group = |arguments: &[&str]| world.relay.command(arguments).uid(NOBODY).gid(0).output().unwrap();
    assert!(fs::metadata(world.relay.dir().join("data")).unwrap().permissions().mode() & 0o077 == 0);
    for (arguments, part) in [
        (&["log", "--event", "delivered"][..], "reader@example.test"),
        (&["log", "--since", "1h"], "accepted"),
        (&["trace", &id[18..]], "= delivered"),
        (&["why", &id[18..]], "delivered"),
        (&["queue"], "0 messages"),
    ] {
        let out = as_group(arguments);
        assert!(out.status.success() && text(&out.stdout).contains(part), "{arguments:?}: {out:?}");
    }
    let stranger = world.relay.command(["log"]).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(!stranger.status.success() && text(&stranger.stderr).contains("one of the socket's group"), "{stranger:?}");
}
