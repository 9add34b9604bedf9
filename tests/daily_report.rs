//! The report of each day by mail: once a day whatever restarts there are, by a way of its own.

use std::collections::BTreeSet;

use support::{Act, FakeMx, Mail, Relay, Step, dns::DnsServer, mx::Transaction, relay::text, wait::until, world};

/// A day passes in 12 seconds.
const TIMES: u32 = 7_200;

/// A letter: its subject, its text, its Message-ID.
fn read(letter: &Transaction) -> (String, String, String) {
    let parsed = mail_parser::MessageParser::default().parse(&letter.data).unwrap_or_else(|| panic!("no mail: {letter:?}"));
    let text = parsed.body_text(0).expect("a text").into_owned();
    (parsed.subject().unwrap_or_default().to_owned(), text, parsed.message_id().unwrap_or_default().to_owned())
}

fn config(dns: &DnsServer, port: u16, post: &FakeMx) -> String {
    format!(
        "dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {port}\nnode = \"mx1\"\n\
         rules.house.enabled = false\n\
         report = {{ to = [\"ops@example.org\", \"night@example.org\"], from = \"posthaste@sender.test\", server = \"{}\" }}\n",
        dns.address(),
        post.address()
    )
}

#[test]
fn each_day_has_one_report_whatever_restarts_while_no_mail_goes_out() {
    let (dns, mx, post) = (DnsServer::start(), FakeMx::start(), FakeMx::start());
    dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
    // The receiver takes nothing, and the server for reports is out of order for a while.
    mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("550 5.7.1 Service unavailable; blocked".into()) } else { Act::Usual });
    post.script(|session, step| match step {
        Step::Connect if session < 3 => Act::Say("421 4.3.2 out of order".into()),
        _ => Act::Usual,
    });
    let mut relay = Relay::prepare(&config(&dns, mx.port(), &post));
    relay.rehearse(TIMES);
    relay.run();
    for n in 0..3 {
        relay.send(&Mail::new("", &[&format!("a{n}@example.test")], "hello"));
    }
    // Before the hour of reports, the first one is of the day before, which had no mail.
    let is_of_a_day_with_mail = |letter: &Transaction| !read(letter).0.contains(": no mail, ");
    let first = until("the first report", || post.messages().into_iter().find(is_of_a_day_with_mail).map(|letter| read(&letter)));
    assert!(first.0.starts_with("posthaste mx1: 0 of 3 delivered, no score yet, "), "{first:?}");
    for part in ["bounced", "3 of 3 finished", "By provider", "example.test", "Health now", "Incidents", "posthaste report --day="] {
        assert!(first.1.contains(part), "{part:?} is not in {}", first.1);
    }
    assert!(first.1.lines().all(|line| line.chars().count() <= 80), "{}", first.1);
    let letter = &post.messages()[0];
    assert_eq!(letter.rcpts, ["ops@example.org", "night@example.org"]);
    assert!(String::from_utf8_lossy(&letter.data).contains("Auto-Submitted: auto-generated"));
    let over = |event: &serde_json::Value| {
        event["state"] == "alarm_over" && event["detail"].as_str().is_some_and(|said| said.contains("is mailed"))
    };
    until("the end of the alarm", || relay.log().events().iter().any(over).then_some(()));
    for _ in 0..2 {
        let before = post.messages().len();
        // What a kill keeps off the disk is sent again, with the same Message-ID.
        let (.., id) = read(&post.messages()[before - 1]);
        let day = id.split('.').nth(1).expect("report.DAY.NODE").to_owned();
        until("its note", || {
            std::fs::read_to_string(relay.dir().join("data/report.json")).ok()?.contains(&format!("{day:?}")).then_some(())
        });
        relay.kill();
        relay.run();
        until("the next report", || (post.messages().len() > before).then_some(()));
    }
    relay.stop();
    let all: Vec<_> = post.messages().iter().map(read).collect();
    let after = all.iter().position(|report| report == &first).expect("it is among them") + 1;
    assert!(all[after].0.starts_with("posthaste mx1: no mail, no score yet, "), "{:?}", all[after].0);
    let ids: BTreeSet<&str> = all.iter().map(|(.., id)| id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "each day once: {ids:?}");
    let standing =
        relay.log().events().into_iter().filter(|event| event["detail"].as_str().is_some_and(|said| said.contains("cannot be mailed")));
    assert!(standing.count() >= 1, "what was not taken is an alarm");
}

#[test]
fn without_anybody_to_tell_nothing_is_mailed_and_nothing_is_kept() {
    let relay = world::relay(&DnsServer::start(), 25, "");
    relay.log().wait_for_relay("started");
    relay.ok(["report"]);
    assert!(!relay.dir().join("data/report.json").exists());
    let said = relay.cli(["report", "--mail"]);
    assert!(!said.status.success() && text(&said.stderr).contains("[report] names nobody"), "{said:?}");
}

#[test]
fn an_operator_tries_it_out_at_once_and_hears_what_the_server_says() {
    let (dns, post) = (DnsServer::start(), FakeMx::start());
    let relay = Relay::start(&config(&dns, 25, &post));
    let said = relay.ok(["report", "--mail"]);
    assert!(said.contains("has taken the report of") && said.contains("ops@example.org, night@example.org"), "{said}");
    let (subject, text_of, _) = read(&post.messages()[0]);
    assert!(subject.starts_with("posthaste mx1: no mail, no score yet, ") && text_of.contains("No mail: nothing"), "{subject}: {text_of}");
    post.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("550 5.1.1 nobody of that name".into()) } else { Act::Usual });
    let said = relay.cli(["report", "--mail"]);
    assert!(!said.status.success() && text(&said.stderr).contains("nobody of that name"), "{said:?}");
}
