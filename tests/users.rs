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
    assert!(text(&told.stderr).contains("may be used to send, read (before: send)"), "{told:?}");
    let rights = "http = [\"send\", \"read\"]";
    assert!(fs::read_to_string(&file).unwrap().contains(rights));
    // The application that has the first token is not to be refused from now on.
    let before = fs::read_to_string(&file).unwrap();
    let refused = user(&relay, &["token", "app@example.com", "--rights", "read"], "");
    assert!(!refused.status.success() && text(&refused.stderr).contains("would take send from the 2 tokens"), "{refused:?}");
    assert!(refused.stdout.is_empty() && fs::read_to_string(&file).unwrap() == before);
    let taken = user(&relay, &["token", "app@example.com", "--rights", "read", "--take-away"], "");
    assert!(text(&taken.stderr).contains("may be used to read (before: send, read)"), "{taken:?}");
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
fn who_may_open_the_page_has_a_role_and_sends_no_mail_unless_told() {
    let relay = Relay::prepare("");
    let file = || fs::read_to_string(relay.dir().join("data/users.toml")).unwrap();
    let refused = |arguments: &[&str], words: &str| {
        let out = user(&relay, arguments, "opensesame\n");
        assert!(!out.status.success() && text(&out.stderr).contains(words), "{arguments:?}: {}", text(&out.stderr));
    };
    let told = text(&user(&relay, &["add", "ann", "--role", "viewer"], "opensesame\n").stderr);
    assert!(told.contains("ann may not send mail; --sender WHO would let it"), "{told}");
    ok(&relay, &["add", "bob", "--role", "operator", "--sender", "example.com"], "opensesame\n");
    ok(&relay, &["add", "app"], "opensesame\n");
    ok(&relay, &["add", "bot", "--no-password"], "");
    let listed = ok(&relay, &["list"], "");
    for line in [
        "ann  by password, scram  as nobody  viewer on the page\n",
        "bob  by password, scram  as example.com  operator on the page\n",
        "app  by password, scram  as *\n",
    ] {
        assert!(listed.contains(line), "{listed}");
    }
    refused(&["add", "eve", "--role", "admin"], "roles are: viewer, operator");
    refused(&["add", "eve", "--role", "viewer", "--no-password"], "cannot be used with");
    refused(&["role", "bot", "viewer"], "`posthaste user passwd bot` gives it one");
    refused(&["role", "eve", "viewer"], "there is no user eve");
    ok(&relay, &["role", "ann", "operator"], "");
    ok(&relay, &["role", "bob", "none"], "");
    ok(&relay, &["role", "app", "viewer"], "");
    let rows = ok(&relay, &["list", "--json"], "");
    let roles: Vec<_> = rows.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()).collect();
    let role = |name: &str| roles.iter().find(|row| row["name"] == name).unwrap()["role"].clone();
    assert_eq!(
        [role("ann"), role("bob"), role("app"), role("bot")],
        ["operator".into(), serde_json::Value::Null, "viewer".into(), serde_json::Value::Null]
    );
    assert!(ok(&relay, &["list"], "").contains("app  by password, scram  as *  viewer on the page"), "it sends as before");
    assert!(!file().contains("none"), "{}", file());
    relay.ok(["check"]);
}

#[test]
fn a_running_relay_learns_of_a_new_user_at_once() {
    let relay = Relay::start("");
    let told = user(&relay, &["add", "app"], "opensesame\n");
    assert!(told.status.success() && text(&told.stderr).contains("the relay has reloaded its users"), "{told:?}");
    relay.log().wait_for_relay("reloaded");
}
