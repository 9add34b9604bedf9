//! What strangers write onto the operator's terminal: nothing that it would obey, whichever command shows their text, and no line of their own.

use std::fs;

use posthaste_mail::Foreign;
use support::{
    Mail, World,
    mx::{Act, Step},
    relay::text,
};

/// A window's title, a cleared screen in 8 bits, text written backwards.
const ORDERS: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}";
/// A line as the program's own.
const FORGED: &str = "9 messages, 9 recipients: 0 due";

#[test]
fn no_command_hands_on_what_a_terminal_would_obey() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("gone") => Act::Say(format!("550-5.1.1 no such user {ORDERS}\r\n550 5.1.1 {FORGED}")),
        Step::Rcpt(rcpt) if rcpt.starts_with("later") => Act::Say(format!("451-4.7.1 {ORDERS} zyxwv plugh\r\n451 4.7.1 {FORGED}")),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new("", &["gone@example.test"], "one"));
    let id = world.relay.send(&Mail::new("", &["later@example.test"], "two"));
    world.relay.log().wait_for("bounced", "gone@example.test");
    world.relay.log().wait_for("deferred", "later@example.test");
    world.relay.ok(["suppress", "add", "noted@example.test", "--note", &format!("{ORDERS}\n{FORGED}")]);

    let folder = world.relay.dir();
    let (mail, list) = (folder.join(format!("{ORDERS}.eml").replace('/', "")), folder.join("list.csv"));
    let subject = format!(
        "From: x@y.test\r\nSubject: failed {ORDERS}\r\nX-Failed-Recipients: gone@y.test\r\n\r\n<gone@y.test>: 550 5.1.1 {ORDERS}\r\n"
    );
    fs::write(&mail, subject).unwrap();
    fs::write(&list, format!("address\n{ORDERS}@y.test\n")).unwrap();
    let (mail, list) = (mail.display().to_string(), list.display().to_string());
    let commands: [&[&str]; 22] = [
        &["log", "--all"],
        &["log", "--all", "--json"],
        &["trace", &id],
        &["trace", &id, "--json"],
        &["trace", ORDERS],
        &["trace", "gone@example.test"],
        &["why", "example.test"],
        &["why", "later@example.test"],
        &["why", &id, "--json"],
        &["queue"],
        &["queue", "--json"],
        &["queue", "list"],
        &["queue", "show", &id],
        &["suppress", "list"],
        &["suppress", "list", "--json"],
        &["suppress", "export"],
        &["suppress", "import", &list],
        &["bounce", "unknown"],
        &["bounce", "read", &mail],
        &["bounce", "read", &mail, "--json"],
        &["explain", ORDERS],
        &["user", "add", ORDERS],
    ];
    for command in commands {
        let out = world.relay.cli(command);
        for said in [text(&out.stdout), text(&out.stderr)] {
            assert!(!said.contains(|c| Foreign::is_obeyed(c) && c != '\n' && c != '\t'), "{command:?}: {said:?}");
            assert!(!said.lines().any(|line| line.trim() == FORGED && !line.starts_with(' ')), "{command:?}: {said}");
        }
        if command.contains(&"--json") {
            for line in text(&out.stdout).lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{command:?}: {error}: {line}"));
            }
        }
    }
    // The program at the other end of a pipe still gets what was written.
    let entries = world.relay.ok(["suppress", "list", "noted@example.test", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&entries).unwrap()["text"], format!("{ORDERS}\n{FORGED}"));
}
