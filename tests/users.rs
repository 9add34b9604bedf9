//! `posthaste user`: manages who may send, and stores no password in any file.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use support::{Relay, relay::text};

/// Runs `posthaste user …` with this standard input.
fn user(relay: &Relay, arguments: &[&str], input: &str) -> Output {
    let mut child = relay
        .command(["user"].iter().chain(arguments))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What is refused at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn ok(relay: &Relay, arguments: &[&str], input: &str) -> String {
    let out = user(relay, arguments, input);
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

#[test]
fn a_user_is_made_changed_and_taken_away_and_the_file_holds_no_password() {
    let relay = Relay::prepare("");
    let file = relay.dir().join("data/users.toml");
    assert!(ok(&relay, &["list"], "").contains("no users"));
    ok(&relay, &["add", "app@example.com", "--sender", "example.com", "--rate", "100/m", "--daily-quota", "5000"], "opensesame\n");
    let first = fs::read_to_string(&file).unwrap();
    assert!(!first.contains("opensesame") && first.contains("$argon2id$") && first.contains("SCRAM-SHA-256$"), "{first}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = ok(&relay, &["list"], "");
    assert!(listed.contains("app@example.com  by password, scram  as example.com  100/m  5000 a day"), "{listed}");

    ok(&relay, &["passwd", "app@example.com"], "sesameopen\n");
    let second = fs::read_to_string(&file).unwrap();
    assert_ne!(first, second);
    assert!(second.contains("rate = \"100/m\""), "{second}");

    let shown = ok(&relay, &["token", "app@example.com"], "");
    assert_eq!(shown.lines().count(), 1, "the token alone: {shown}");
    let token = shown.lines().next().unwrap();
    assert!(
        user(&relay, &["token", "app@example.com", "--rights", "read,sent"], "")
            .stderr
            .ends_with(b"did you mean send?\n\nFor more information, try '--help'.\n")
    );
    let told = user(&relay, &["token", "app@example.com", "--rights", "read,send"], "");
    assert!(text(&told.stderr).contains("may be used to send, read"), "{told:?}");
    assert!(fs::read_to_string(&file).unwrap().contains("http = [\"send\", \"read\"]"));
    assert!(token.starts_with("posthaste_") && !fs::read_to_string(&file).unwrap().contains(token), "{shown}");
    assert!(ok(&relay, &["list"], "").contains("by password, scram, token"));

    ok(&relay, &["remove", "app@example.com"], "");
    assert!(ok(&relay, &["list"], "").contains("no users"));
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let relay = Relay::prepare("[user.fixed]\n");
    let refused = |arguments: &[&str], input: &str, why: &str| {
        let out = user(&relay, arguments, input);
        assert!(!out.status.success() && text(&out.stderr).contains(why), "{arguments:?}: {}", text(&out.stderr));
        assert!(!relay.dir().join("data/users.toml").exists(), "{arguments:?}");
    };
    refused(&["add", "a b"], "x\n", "printable ASCII");
    refused(&["add", "app"], "\n", "the password is empty");
    refused(&["add", "app", "--sender", "*@x"], "x\n", "expected an address");
    refused(&["add", "app", "--stream", "news"], "x\n", "no such stream");
    refused(&["add", "app", "--rate", "many"], "x\n", "1000/h");
    refused(&["add", "fixed"], "x\n", "already");
    refused(&["passwd", "fixed"], "x\n", "in the configuration file itself");
    refused(&["remove", "nobody"], "", "no user nobody");
}

#[test]
fn a_running_relay_learns_of_a_new_user_at_once() {
    let relay = Relay::start("");
    let told = user(&relay, &["add", "app"], "opensesame\n");
    assert!(told.status.success() && text(&told.stderr).contains("the relay has reloaded its users"), "{told:?}");
    relay.log().wait_for_relay("reloaded");
}
