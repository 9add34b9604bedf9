//! Each kind of body, held against a file. With POSTHASTE_WRITE_GOLDENS=1 the files are written.

use std::{fs, path::Path};

use serde_json::Value;

use super::*;
use crate::{Change, Mail, Message, Notification, Ntfy, PagerDuty, SecretUrl, Severity, notification::tests::opened};

/// What a stranger would like a channel to obey.
const HOSTILE: &str =
    "550 <!channel> <@U1|x> @everyone @here *b* _i_ `c` [l](https://evil.test) <https://evil.test|ok> \u{1b}[31m\u{202e}\r\nBcc: x@y";

fn hostile() -> Notification {
    Notification { title: HOSTILE.into(), detail: HOSTILE.into(), key: HOSTILE.into(), ..opened("01JHOSTILE") }
}

fn messages() -> Vec<(&'static str, Message)> {
    let closed = Notification { change: Change::Closed, at: "2026-11-29T15:02:00Z".parse().unwrap(), ..opened("01J2") };
    let storm = |count: usize| -> Vec<Notification> {
        let one =
            |n: usize| Notification { title: format!("provider {n} refuses mail"), key: format!("p{n}"), ..opened(&format!("01J{n}")) };
        let mut all: Vec<_> = (0..count).map(one).collect();
        all[count - 1].change = Change::Closed;
        all[count - 2].severity = Severity::Warn;
        all
    };
    let storm = Message { news: storm(25), thread: "storm-01J0".into(), over: vec!["01J24".into()], left_out: 0 };
    let test = Notification::test(opened("x").node, opened("x").at);
    vec![
        ("opened", Message::one(opened("01J1"))),
        ("closed", Message::one(closed)),
        ("storm", storm),
        ("hostile", Message::one(hostile())),
        ("test", Message::one(test)),
    ]
}

fn topic() -> Ntfy {
    let server = SecretUrl::new("https://ntfy.example/".parse().unwrap()).unwrap();
    Ntfy { server, topic: posthaste_mail::Secret::new("alarms"), token: None, warn: 3, critical: 5 }
}

fn integration() -> PagerDuty {
    let url = SecretUrl::new("https://events.pagerduty.com/v2/enqueue".parse().unwrap()).unwrap();
    PagerDuty { url, routing_key: posthaste_mail::Secret::new("KEY") }
}

fn letter(message: &Message) -> String {
    let address = |text: &str| posthaste_mail::Address::new(text).unwrap();
    let to = vec![address("ops@example.org"), address("night@example.org")];
    let server = posthaste_mail::NextHop { host: posthaste_mail::Domain::new("mail.example.org").unwrap(), port: 587 };
    let channel = Mail { from: address("posthaste@example.com"), to, server, auth: None };
    let hostname = posthaste_mail::Domain::new("mx1.example.com").unwrap();
    let now = opened("x").at;
    let id = format!("{}.{:016x}", now.as_second(), 7);
    let letter = Letter { mail: &channel, hostname: &hostname, now, id: &id };
    String::from_utf8(mail(message, letter)).unwrap()
}

fn bodies(message: &Message) -> Vec<(&'static str, String)> {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap() + "\n";
    let json_of: [(&str, Value); 6] = [
        ("webhook.json", json(message)),
        ("slack.json", slack(message)),
        ("teams.json", teams(message)),
        ("discord.json", discord(message)),
        ("ntfy.json", ntfy(message, &topic())),
        ("pagerduty.json", pagerduty(message, &integration()).into()),
    ];
    let all = json_of.iter().map(|(kind, value)| (*kind, pretty(value)));
    all.chain([("mail.eml", letter(message))]).collect()
}

#[test]
fn each_kind_of_body_is_as_it_was_written_down() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/body/goldens");
    let write = std::env::var_os("POSTHASTE_WRITE_GOLDENS").is_some();
    let mut other = Vec::new();
    for (name, message) in messages() {
        for (kind, body) in bodies(&message) {
            let path = dir.join(format!("{name}.{kind}"));
            if write {
                fs::write(&path, &body).unwrap();
            }
            let golden = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if golden != body {
                other.push(format!("{}:\n{body}", path.display()));
            }
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}

#[test]
fn strangers_text_formats_nothing_and_mentions_nobody() {
    let message = Message::one(hostile());
    for (kind, body) in bodies(&message).into_iter().filter(|(kind, _)| *kind != "mail.eml") {
        assert!(!body.contains(['\u{1b}', '\u{202e}']), "{kind}: {body}");
    }
    let slack = slack(&message)["text"].as_str().unwrap().to_owned();
    assert!(!slack.contains(['<', '>']) && !slack.contains("@everyone") && !slack.contains("@here"), "{slack}");
    let discord = discord(&message);
    assert_eq!(discord["allowed_mentions"]["parse"], Value::Array(Vec::new()));
    let text = discord["embeds"][0]["description"].as_str().unwrap();
    assert!(text.contains(r"\[l\]\(https\://evil.test\)") && text.contains(r"\*b\*") && !text.contains("@everyone"), "{text}");
    assert!(!teams(&message).to_string().contains("\"TextBlock\""), "a text block would read Markdown");
    let mail = letter(&message);
    let (header, _) = mail.split_once("\r\n\r\n").unwrap();
    assert!(!header.contains("\nBcc"), "{header}");
}

#[test]
fn no_body_is_longer_than_its_service_takes() {
    let long = |n: usize| Notification { title: "*é@all".repeat(2000), detail: "<&".repeat(5000), ..opened(&n.to_string()) }.bounded();
    let storm = Message { news: (0..1000).map(long).collect(), thread: "storm-0".into(), over: Vec::new(), left_out: 9 };
    for message in [Message::one(long(0)), storm] {
        let text = |value: &Value| value.as_str().unwrap().len();
        let embed = &discord(&message)["embeds"][0];
        assert!(text(&embed["title"]) <= 256 && text(&embed["description"]) <= 4096);
        assert!(text(&slack(&message)["text"]) <= 40_000);
        assert!(teams(&message).to_string().len() <= 28 << 10);
        assert!(text(&ntfy(&message, &topic())["message"]) <= 4096);
        assert!(text(&pagerduty(&message, &integration())[0]["payload"]["summary"]) <= 1024);
        assert!(json(&message).to_string().len() < 100_000);
    }
}

#[test]
fn pagerduty_gets_one_incident_for_a_storm_and_its_end_with_the_last() {
    let actions = |message: &Message| -> Vec<(String, String)> {
        let events = pagerduty(message, &integration());
        let word = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        events.iter().map(|event| (word(event, "event_action"), word(event, "dedup_key"))).collect()
    };
    let said = |pairs: &[(&str, &str)]| -> Vec<_> { pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect() };
    let all = messages();
    assert_eq!(actions(&all[0].1), said(&[("trigger", "01J1")]));
    assert_eq!(actions(&all[1].1), said(&[("resolve", "01J2")]));
    assert_eq!(actions(&all[2].1), said(&[("trigger", "storm-01J0"), ("resolve", "01J24")]));
    let member = Message { thread: "storm-01J0".into(), over: Vec::new(), ..all[1].1.clone() };
    assert_eq!(actions(&member), [], "the rest of the storm goes on");
    assert_eq!(actions(&all[4].1).len(), 2, "a test ends at once");
}
