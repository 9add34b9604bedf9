//! A hundred thousand events of every kind, made by the real relay: report, API, metrics and a plain count over the log agree to the unit,
//! after a kill, a restart, rotations and a full rebuild.

use std::{collections::HashSet, fs, path::PathBuf, process::Command, sync::Mutex, thread};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use support::{
    Act, Client, Mail, Step, Transaction, World,
    http::{Api, config},
    relay::free_port,
    wait::until,
};

const FBL: &str = "fbl@reports.test";
/// Messages, and recipients of each.
const MESSAGES: usize = 1_250;
const RECIPIENTS: usize = 32;
/// The attempts at a full mailbox before it waits for an hour.
const ATTEMPTS: usize = 3;
/// Who bring reports at the same time.
const CLIENTS: usize = 12;
/// At least so many lines about recipients.
const EVENTS: u64 = 100_000;
const USERS: [&str; 3] = ["ann", "ben", "cho"];
const DOMAINS: [&str; 6] = ["example.test", "one.test", "two.test", "three.test", "four.test", "five.test"];
/// How a recipient is finished.
const ENDS: [&str; 3] = ["delivered", "bounced", "expired"];
/// What a report counts that has a line of its own in the log: the same words in both.
const COUNTED: [&str; 9] = ["accepted", "delivered", "deferred", "bounced", "expired", "held", "suppressed", "late_bounced", "complained"];

struct Place {
    world: World,
    returns: u16,
    http: u16,
}

fn place() -> Place {
    let (returns, http) = (free_port(), free_port());
    let may_send: &[&str] = &["send"];
    let mut tokens: Vec<_> = USERS.iter().map(|user| (*user, *user, may_send)).collect();
    tokens.push(("watch", "watch", &["monitor"]));
    let world = World::start(&format!(
        "{}\nlisten.default.auth = \"always\"\nlisten.default.streams = [\"letters\"]\nstream.letters = {{}}\nstream.news = {{}}\n\
         user.ann.streams = [\"letters\", \"news\"]\nuser.ben.streams = [\"news\"]\n\
         returns.domain = \"bounce.relay.test\"\nreturns.addresses = [\"{FBL}\"]\n\
         listen.back.address = \"127.0.0.1:{returns}\"\nlisten.back.role = \"returns\"\n\
         source.one = {{ address = \"127.0.0.2\" }}\nsource.two = {{ address = \"127.0.0.3\" }}\npool.default.sources = [\"one\", \"two\"]\n\
         retry.schedule = [\"1s\", \"1s\", \"1h\"]\nlog.rotate_size = \"8 MiB\"",
        config(http, &tokens)
    ));
    for domain in DOMAINS.into_iter().chain(["sender.test"]) {
        world.dns.mx(domain, 10, "mx1.example.test");
    }
    let tried = Mutex::new(HashSet::new());
    world.mx.script(move |_, step| match step {
        Step::Rcpt(rcpt) => Act::Say(match rcpt.split(|c: char| c.is_ascii_digit()).next() {
            Some("gone") => "550 5.1.1 no such user".into(),
            Some("full") => "452 4.2.2 mailbox full".into(),
            Some("spam") => "550 5.7.1 message rejected as spam".into(),
            Some("grey") if tried.lock().unwrap().insert(rcpt.to_owned()) => "451 4.7.1 greylisted, try again later".into(),
            _ => return Act::Usual,
        }),
        _ => Act::Usual,
    });
    Place { world, returns, http }
}

/// The recipients of a message: most are there, some are not, and those that are not are written to again.
fn recipients(message: usize) -> Vec<String> {
    let local = |n: usize| match (message * RECIPIENTS + n) % 16 {
        0 => format!("gone{}", (message * RECIPIENTS + n) % 1_600),
        1 => format!("full{message}"),
        2 => format!("spam{message}"),
        3 | 4 => format!("grey{message}"),
        5 => format!("angry{message}"),
        6 => format!("late{message}"),
        _ => format!("there{message}"),
    };
    (0..RECIPIENTS).map(|n| format!("{}x{n}@{}", local(n), DOMAINS[(message + n * 7) % DOMAINS.len()])).collect()
}

/// Submits these messages, by each user in turn.
fn send(place: &Place, messages: std::ops::Range<usize>) {
    let client = |user: &&str| {
        let mut client = Client::hello(place.world.relay.port()).unwrap();
        let login = BASE64_STANDARD.encode(format!("user={user}\x01auth=Bearer {user}\x01\x01"));
        assert_eq!(client.say(&format!("AUTH XOAUTH2 {login}")).unwrap().code, 235);
        client
    };
    let mut clients: Vec<_> = USERS.iter().map(client).collect();
    for message in messages {
        let streams: &[&str] = [&["letters", "news", "default"][..], &["news", "default"], &["default"]][message % USERS.len()];
        let stream = streams[message / 3 % streams.len()];
        let text = format!(
            "X-Posthaste-Stream: {stream}\r\nX-Posthaste-Tag: t{}\r\nFrom: <writer@sender{}.test>\r\nSubject: x\r\n\r\nHello.\r\n",
            message % 5,
            message % 4
        );
        let to = recipients(message);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let answer = clients[message % USERS.len()].submit(&Mail::raw("writer@sender.test", &to, text.as_bytes())).unwrap();
        assert_eq!(answer.code, 250, "{answer:?}");
    }
}

/// The files of the log, the oldest first.
fn files(place: &Place) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut files: Vec<_> =
        fs::read_dir(place.world.relay.dir().join("data/log")).unwrap().map(|e| e.unwrap().path()).filter(named).collect();
    files.sort();
    files
}

/// What jq counts over all files of the log: by dimension and key, how many lines of each event.
fn jq(place: &Place) -> Value {
    let pairs: Vec<_> = DIMENSIONS.iter().map(|(by, key)| format!("[\"{by}\", ({key})]")).collect();
    let program = format!(
        "reduce inputs as $e ({{}}; reduce ($e | {} | select(.[1] != null)) as [$by, $keys] (.; \
         reduce ([$keys] | flatten | .[]) as $key (.; .[$by][$key | tostring][$e.event] += 1)))",
        pairs.join(", ")
    );
    let out = Command::new("jq").args(["-n", "-c", &program]).args(files(place)).output().expect("jq runs");
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).expect("jq writes JSON")
}

/// How many lines of an event jq counted.
fn total(counted: &Value, event: &str) -> u64 {
    counted["all"]["all"][event].as_u64().unwrap_or(0)
}

/// Waits until nothing is left but the full mailboxes that wait for an hour, and the log has not grown since the last look.
fn settle(place: &Place) {
    let mut last = 0;
    until("the log to grow no more", || {
        let queue: Value = serde_json::from_str(&place.world.relay.ok(["queue", "--json"])).unwrap();
        let count = |state: &str| queue["counts"][state].as_u64().unwrap_or_else(|| panic!("no {state} in {queue}"));
        let (mut length, mut put_off) = (0, 0);
        for file in files(place) {
            let text = fs::read_to_string(file).unwrap();
            length += text.len();
            put_off += text.matches(&*format!("\"attempt\":{ATTEMPTS},")).count();
        }
        let same = length == std::mem::replace(&mut last, length);
        (count("due") + count("in_flight") == 0 && put_off >= MESSAGES * RECIPIENTS / 16 && same).then_some(())
    });
}

/// Reports about messages that were delivered: some have bounced after all, some are complained about. Each is answered once it is durable, so
/// that several clients bring them.
fn come_back(place: &Place, of: &[Transaction]) {
    let bring = |some: &[Transaction]| {
        let mut client = Client::hello(place.returns).unwrap();
        for transaction in some.iter().filter(|transaction| transaction.taken) {
            let rcpt = &*transaction.rcpts[0];
            let (to, mail) = if rcpt.starts_with("late") {
                (&*transaction.from, bounce(rcpt))
            } else if rcpt.starts_with("angry") {
                (FBL, complaint(transaction))
            } else {
                continue;
            };
            let answer = client.submit(&Mail::raw("", &[to], mail.as_bytes())).unwrap();
            assert_eq!(answer.code, 250, "{answer:?}");
        }
    };
    thread::scope(|scope| of.chunks(of.len() / CLIENTS + 1).for_each(|some| drop(scope.spawn(|| bring(some)))));
}

fn bounce(rcpt: &str) -> String {
    format!(
        "From: <MAILER-DAEMON@mx1.example.test>\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx1.example.test\r\n\r\n\
         Final-Recipient: rfc822; {rcpt}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 <{rcpt}>: no such user\r\n\r\n--b--\r\n"
    )
}

fn complaint(about: &Transaction) -> String {
    format!(
        "From: <feedback@isp.test>\r\nTo: <{FBL}>\r\nSubject: FW\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Isp/1.0\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\n{}\r\n--b--\r\n",
        String::from_utf8_lossy(&about.data)
    )
}

/// The dimensions, and how jq reads the same from a line.
const DIMENSIONS: [(&str, &str); 13] = [
    ("all", "\"all\""),
    ("provider", ".provider"),
    ("source", ".source"),
    ("stream", ".stream"),
    ("user", ".user"),
    ("domain", ".domain"),
    ("from_domain", ".from_domain"),
    ("tag", ".tags"),
    ("class", FAILED),
    ("stream_provider", "select(.provider) | .stream + \" \" + .provider"),
    ("source_provider", "select(.provider and .source) | .source + \" \" + .provider"),
    ("user_stream", "select(.user and .stream) | .user + \" \" + .stream"),
    ("rule_provider", "select(.provider and .rule and .smtp_code) | .rule + \" \" + .provider"),
];
const FAILED: &str = "select(.event | IN(\"deferred\", \"bounced\", \"expired\", \"late_bounced\")) | .class";

/// Compares what is told about each key with what jq counts.
fn compare(what: &str, rows: &Value, counted: &Map<String, Value>) {
    let rows = rows.as_array().unwrap_or_else(|| panic!("{what}: no rows"));
    assert!(!rows.is_empty(), "{what}");
    let keys = |row: &Value| row["key"].as_str().unwrap().replace('\t', " ");
    let (told, found): (HashSet<_>, HashSet<_>) = (rows.iter().map(keys).collect(), counted.keys().cloned().collect());
    assert_eq!(told, found, "{what}");
    for row in rows {
        for event in COUNTED {
            let (told, found) = (row[event].as_u64(), counted[&keys(row)][event].as_u64().or(Some(0)));
            assert_eq!(told, found, "{what}: {} {event}", row["key"]);
        }
        // Each recipient is finished once: a late bounce was before.
        let finished = ENDS.iter().map(|event| row[event].as_u64().unwrap()).sum::<u64>();
        assert_eq!((row["finished"].as_u64(), &row["taken"]), (Some(finished), &row["delivered"]), "{what}: {}", row["key"]);
    }
}

/// Compares what became of the messages, by the day of their acceptance, with what jq counts: a late bounce stands in the place of its delivery.
fn compare_settled(by: &str, series: &Value, counted: &Map<String, Value>) {
    let steps = series["steps"].as_array().unwrap();
    let rows: Vec<&Value> = steps.iter().flat_map(|step| step["rows"].as_array().unwrap()).collect();
    for (key, found) in counted {
        let is_its = |row: &&&Value| row["key"].as_str().unwrap().replace('\t', " ") == *key;
        let told = |word: &str| rows.iter().filter(is_its).map(|row| row[word].as_u64().unwrap()).sum::<u64>();
        let found = |event: &str| found[event].as_u64().unwrap_or(0);
        let late = found("late_bounced");
        let (delivered, bounced) = (found("delivered").saturating_sub(late), found("bounced") + late);
        assert_eq!((told("delivered"), told("bounced"), told("late_bounced")), (delivered, bounced, late), "cohorts by {by}: {key}");
        assert_eq!(
            (told("taken"), told("finished")),
            (found("delivered"), delivered + bounced + found("expired")),
            "cohorts by {by}: {key}"
        );
    }
}

fn report(place: &Place, by: &str) -> Value {
    let told = place.world.relay.ok(["report", "--since", "3h", "--by", by, "--rows", "1000", "--json"]);
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// Report and API tell what jq counts, for each dimension; so do the metrics, for theirs.
fn agree(place: &Place) {
    let watch = Api::new(place.http, "watch");
    let counted = jq(place);
    for (by, _) in DIMENSIONS {
        let counted = counted[by].as_object().unwrap_or_else(|| panic!("nothing by {by}"));
        compare(&format!("report by {by}"), &report(place, by)["rows"], counted);
        compare(&format!("API by {by}"), &watch.get(&format!("/v1/report?by={by}&rows=1000")).json()["rows"], counted);
        compare_settled(by, &watch.get(&format!("/v1/tallies?view=cohort&by={by}&rows=1000&since=2026-01-01T00:00:00Z")).json(), counted);
    }
    let text = watch.get("/metrics").text();
    for (name, event) in [
        ("posthaste_accepted_total{", "accepted"),
        ("posthaste_deferrals_total{", "deferred"),
        ("posthaste_suppressed_total{", "suppressed"),
        ("posthaste_late_bounces_total{", "late_bounced"),
        ("posthaste_complaints_total{", "complained"),
    ] {
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok()).collect();
        assert!(!lines.is_empty(), "{name} is not in {text}");
        assert_eq!(lines.iter().sum::<f64>() as u64, total(&counted, event), "{name}");
    }
    for result in ["delivered", "bounced", "expired"] {
        let of = |line: &str| line.starts_with("posthaste_recipients_total{") && line.contains(&format!("result=\"{result}\""));
        let counted_there =
            text.lines().filter(|line| of(line)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
        assert_eq!(counted_there as u64, total(&counted, result), "{result} in /metrics");
    }
}

#[test]
fn every_view_of_a_hundred_thousand_events_says_the_same() {
    let mut place = place();
    send(&place, 0..MESSAGES / 2);
    place.world.relay.kill();
    place.world.relay.run();
    send(&place, MESSAGES / 2..MESSAGES);
    settle(&place);
    come_back(&place, &place.world.mx.transactions());
    settle(&place);
    let counted = jq(&place);
    let lines = COUNTED.iter().map(|event| total(&counted, event)).sum::<u64>();
    assert!(lines >= EVENTS, "{lines} lines");
    for event in COUNTED.iter().filter(|event| !["expired", "held"].contains(event)) {
        assert!(total(&counted, event) > 500, "{event}: {}", counted["all"]);
    }
    assert!(files(&place).len() > 2, "the log was rotated: {:?}", files(&place));
    agree(&place);

    place.world.relay.kill();
    place.world.relay.run();
    agree(&place);
    let before: Vec<_> = DIMENSIONS.iter().map(|(by, _)| report(&place, by)["rows"].clone()).collect();
    place.world.relay.stop();
    for part in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.world.relay.dir().join("data").join(format!("tallies.db{part}")));
    }
    place.world.relay.run();
    until("the log to be counted again", || place.world.relay.cli(["report"]).status.success().then_some(()));
    for ((by, _), before) in DIMENSIONS.iter().zip(&before) {
        assert_eq!(&report(&place, by)["rows"], before, "{by}, counted again");
    }
    agree(&place);
}
