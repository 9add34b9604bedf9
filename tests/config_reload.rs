//! Valid and invalid configurations, at start and on reload.

use std::{
    net::TcpListener,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use support::{
    Act, Client, Mail, Relay, Step, World,
    relay::{binary, text},
    wait,
};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// The SIZE line of the EHLO reply.
fn announced(relay: &Relay) -> String {
    let (mut client, _) = Client::connect(relay.port()).unwrap();
    let answer = client.say("EHLO client.test").unwrap();
    answer.lines.into_iter().find(|l| l.starts_with("SIZE ")).expect("SIZE is announced")
}

#[test]
fn a_bad_file_is_refused_with_file_and_line_and_all_errors_at_once() {
    let relay = Relay::prepare("");
    relay.write_config("[limits]\nrecipients = \"many\"\n\n[retry]\nschedul = [\"5m\"]\n");
    for command in ["check", "run"] {
        let out = relay.cli([command]);
        let said = text(&out.stderr);
        assert!(!out.status.success(), "{command}");
        assert!(said.contains("posthaste.toml:2: limits.recipients"), "{command}: {said}");
        assert!(said.contains("posthaste.toml:5: retry.schedul"), "{command}: {said}");
    }
}

#[test]
fn files_of_providers_and_feedback_are_checked_with_their_lines_and_examples() {
    let relay = Relay::prepare("delivery.providers = [\"mine.toml\"]\ndelivery.feedback = [\"rules.toml\"]");
    let write = |name: &str, toml: &str| std::fs::write(relay.dir().join(name), toml).unwrap();
    let refused = |line: &str| {
        let out = relay.cli(["check"]);
        assert!(!out.status.success() && text(&out.stderr).contains(line), "{}", text(&out.stderr));
    };
    write("rules.toml", "");
    write("mine.toml", "[provider.mine]\nmx = [\"mx.mine.test\"]\nconnections = 0\n");
    refused("mine.toml:3: provider.mine.connections: expected a whole number from 1");
    write("mine.toml", "[provider.mine]\nmx = [\"mx.mine.test\"]\n");
    let rule = "[[rule]]\nid = \"mine\"\nprovider = [\"mine\"]\ncode = [421]\npause = \"5m\"\nreason = \"as it asks\"\n";
    write("rules.toml", &format!("{rule}example = [\"450 slow down\"]\n"));
    refused("rules.toml:1: mine's example \"450 slow down\"");
    write("rules.toml", &format!("{rule}example = [\"421 slow down\"]\n"));
    assert!(relay.ok(["check"]).contains("the configuration is valid"));
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let relay = Relay::prepare("");
    let out = relay.cli(["check", "--config", "nowhere.toml"]);
    assert!(!out.status.success() && text(&out.stderr).contains("nowhere.toml"), "{}", text(&out.stderr));
}

#[test]
fn a_good_file_is_good() {
    let relay = Relay::prepare("");
    assert!(relay.ok(["check"]).contains("the configuration is valid"));
}

#[test]
fn the_documented_defaults_are_good_as_a_file() {
    let relay = Relay::prepare("");
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/posthaste.toml");
    relay.ok(["check", "--config", documented]);
}

#[test]
fn sighup_puts_a_new_limit_in_force() {
    let relay = Relay::start("limits.message_size = \"1 MiB\"");
    assert_eq!(announced(&relay), "SIZE 1048576");
    relay.change_config("limits.message_size = \"2 MiB\"");
    relay.signal(Signal::HUP);
    assert!(relay.log().wait_for_relay("reloaded")["detail"].as_str().unwrap().contains("in force"));
    assert_eq!(announced(&relay), "SIZE 2097152");
}

#[test]
fn reload_puts_new_routes_and_schedules_in_force_for_mail_that_waits() {
    let world = World::start("retry.schedule = [\"1h\"]\nroute.\"example.test\" = \"127.0.0.1:1\"");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    assert_eq!(world.relay.log().wait_for("deferred", TO)["cause"], "connection_refused");
    world.relay.change_config(&format!("route.\"example.test\" = \"{}\"", world.mx.address()));
    let said = world.relay.ok(["reload"]);
    assert!(said.contains("the new configuration is in force"), "{said}");
    world.relay.ok(["queue", "retry", "--all"]);
    world.mx.wait_for(1);
    world.relay.log().wait_for("delivered", TO);
}

#[test]
fn mail_that_waits_leaves_from_a_new_pool_when_a_reload_took_its_source_away() {
    let old = "source.one = { address = \"127.0.0.2\" }\npool.default.sources = [\"one\"]\nretry.schedule = [\"1h\"]";
    let world = World::start(old);
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("deferred", TO);
    let config = std::fs::read_to_string(world.relay.config_path()).unwrap();
    world.relay.write_config(&config.replace("127.0.0.2", "127.0.0.3").replace("source.one", "source.two").replace("\"one\"", "\"two\""));
    world.relay.ok(["reload"]);
    world.mx.behave();
    world.relay.ok(["queue", "retry", "--all"]);
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!((&event["source"], &event["source_ip"]), (&"two".into(), &"127.0.0.3".into()));
}

#[test]
fn reload_says_what_needs_a_restart() {
    let relay = Relay::start("");
    relay.change_config("threads = 3\nlog.dir = \"elsewhere\"");
    let said = relay.ok(["reload"]);
    assert!(said.contains("threads") && said.contains("log.dir"), "{said}");
}

#[test]
fn a_bad_new_file_leaves_the_old_one_in_force_and_says_so() {
    let world = World::start("limits.message_size = \"1 MiB\"");
    let good = std::fs::read_to_string(world.relay.config_path()).unwrap();
    world.relay.write_config("[limits]\nmessage_size = \"3 MiB\"\nrecipients = 0\n");
    world.relay.signal(Signal::HUP);
    let event = world.relay.log().wait_for_relay("reload_failed");
    assert!(event["detail"].as_str().unwrap().contains("posthaste.toml:3: limits.recipients"), "{event}");
    assert_eq!(announced(&world.relay), "SIZE 1048576");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.mx.wait_for(1);
    world.relay.write_config(&good);
    world.relay.ok(["reload"]);
}

#[test]
fn reload_exits_with_an_error_when_the_new_file_is_bad() {
    let relay = Relay::start("");
    // The command must find the admin socket, so the file itself is valid: the error is in a file that it names.
    let roots = relay.dir().join("roots.pem");
    relay.change_config(&format!("tls.roots = {roots:?}"));
    std::fs::write(&roots, support::certs::authority_pem()).unwrap();
    relay.ok(["reload"]);
    std::fs::write(&roots, "no certificate").unwrap();
    let out = relay.cli(["reload"]);
    assert!(!out.status.success() && text(&out.stderr).contains("roots"), "{}", text(&out.stderr));
}

#[test]
fn without_a_configuration_the_defaults_run() {
    if TcpListener::bind(("127.0.0.1", 2525)).is_err() {
        eprintln!("SKIPPED: port 2525 is taken on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("stderr");
    let mut command = Command::new(binary());
    command.arg("run").current_dir(folder.path()).env_remove("POSTHASTE_CONFIG").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
    let mut child = command.spawn().unwrap();
    // Once it says where its data are, it listens everywhere.
    let introduced = || std::fs::read_to_string(&said).unwrap().contains("; delivery log: ");
    let greeting = wait::within(wait::PATIENCE, || match child.try_wait().unwrap() {
        Some(status) => Some(Err(status)),
        None => introduced().then(|| Ok(Client::connect(2525).expect("it listens").1)),
    });
    let http = support::http::Connection::open(8025).and_then(|mut connection| {
        connection.send(b"GET /healthz HTTP/1.1\r\nhost: relay.test\r\n\r\n")?;
        connection.hear()
    });
    let ended = match &greeting {
        Some(Ok(_)) => {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
            wait::within(wait::PATIENCE, || child.try_wait().unwrap())
        }
        _ => None,
    };
    // It may be gone already.
    let _ = child.kill();
    let _ = child.wait();
    let said = std::fs::read_to_string(said).unwrap();
    assert_eq!(greeting.unwrap_or_else(|| panic!("no greeting:\n{said}")).unwrap_or_else(|e| panic!("{e}:\n{said}")).code, 220);
    assert!(ended.is_some_and(|status| status.success()), "{said}");
    if said.contains("cannot listen on 127.0.0.1:8025") {
        eprintln!("SKIPPED in part: port 8025 is taken on this machine");
    } else {
        assert!(said.contains("the HTTP API are at http://127.0.0.1:8025"), "{said}");
        assert_eq!(http.unwrap_or_else(|e| panic!("{e}:\n{said}")).status, 200);
    }
    assert!(folder.path().join("posthaste-data/spool").is_dir() && folder.path().join("posthaste-data/log/delivery.log").is_file());
}
