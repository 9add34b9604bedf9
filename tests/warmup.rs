//! A warm-up within minutes, with real sockets: caps, urgency, overflow, and kill -9 in the middle.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{Client, FakeMx, Mail, Relay, dns::DnsServer, wait};

/// The speed of time: a day passes in 12 seconds.
const TIMES: u32 = 7_200;
const CAPS: [usize; 4] = [30, 45, 60, 80];
const SENDERS: usize = 20;
const KILLS: usize = 5;

fn config(dns: &DnsServer, port: u16) -> String {
    format!(
        r#"
        tls.policy = "none"
        [dns]
        nameservers = ["{}"]
        private_addresses = true
        max_ttl = "1h"
        [delivery]
        port = {port}
        [retry]
        schedule = ["1h"]
        [source.cold]
        address = "127.0.0.2"
        warmup = "mine"
        [source.warm]
        address = "127.0.0.3"
        [pool.default]
        sources = ["cold"]
        [pool.both]
        sources = ["cold", "warm"]
        [stream.default]
        [stream.resets]
        priority = 100
        [stream.spilling]
        pool = "both"
        cold = "first"
        [curve.mine]
        caps = [30, 45, 60, 80]
        after = "last"
        burst = 4
        min_sample = 5
        [curve.mine."mx.spill.test"]
        overflow = "spill"
        [curve.mine."spill.test"]
        overflow = "spill"
        "#,
        dns.address()
    )
}

fn mail(n: usize, stream: &str, domain: &str) -> (String, String) {
    let rcpt = format!("{stream}{n}@{domain}");
    let text = format!("From: <a@sender.test>\r\nX-Posthaste-Stream: {stream}\r\nSubject: {n}\r\n\r\nHello.\r\n");
    (rcpt, text)
}

/// Submits until the message is accepted, as the relay may be down at the moment. True if it was.
fn hand_in(port: u16, rcpt: &str, text: &str) -> bool {
    let mail = Mail::raw("a@sender.test", &[rcpt], text.as_bytes());
    Client::hello(port).and_then(|mut client| client.submit(&mail)).is_ok_and(|answer| answer.id().is_some())
}

fn time(event: &Value, key: &str) -> jiff::Timestamp {
    event[key].as_str().unwrap().parse().unwrap()
}

/// Deliveries from the cold source to a domain, by the day whose budget they used.
fn by_day(events: &[Value], domain: &str) -> BTreeMap<String, usize> {
    let mut days = BTreeMap::new();
    for event in events.iter().filter(|e| e["event"] == "delivered" && e["domain"] == domain && e["source"] == "cold") {
        *days
            .entry(event["lane_day"].as_str().expect("what goes from the cold source is from some day's budget").to_owned())
            .or_default() += 1;
    }
    days
}

#[test]
fn caps_hold_to_the_message_under_ten_times_the_budget_and_five_kills() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    for domain in ["wait.test", "spill.test"] {
        dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), "127.0.0.1");
    }
    let mut relay = Relay::prepare(&config(&dns, mx.port()));
    relay.rehearse(TIMES);
    relay.run();
    let (port, taken, done) = (relay.port(), AtomicUsize::new(0), AtomicBool::new(false));
    let resets = 12;
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (taken, done) = (&taken, &done);
            scope.spawn(move || {
                // Ten times the first days' total budget, all to one provider; some mail that spills; some that is urgent.
                for n in 0.. {
                    if done.load(Ordering::Relaxed) || n >= 25 {
                        return;
                    }
                    let number = sender * 1000 + n;
                    let (rcpt, text) = mail(number, "default", "wait.test");
                    taken.fetch_add(usize::from(hand_in(port, &rcpt, &text)), Ordering::Relaxed);
                    let (rcpt, text) = mail(number, "spilling", "spill.test");
                    if n < 10 {
                        taken.fetch_add(usize::from(hand_in(port, &rcpt, &text)), Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        for kill in 0..KILLS {
            thread::sleep(Duration::from_millis(4_300 + 700 * kill as u64));
            relay.kill();
            relay.run();
        }
        done.store(true, Ordering::Relaxed);
    });
    // Urgent mail arrives while hundreds of messages wait.
    for n in 0..resets {
        let (rcpt, text) = mail(n, "resets", "wait.test");
        assert!(hand_in(port, &rcpt, &text));
        taken.fetch_add(1, Ordering::Relaxed);
    }
    wait::until("the urgent mail to be delivered", || {
        let urgent = relay.log().events().into_iter().filter(|e| e["event"] == "delivered" && e["stream"] == "resets").count();
        (urgent == resets).then_some(())
    });
    wait::until("what spills to be delivered", || {
        let queue: Value = serde_json::from_str(&relay.ok(["queue", "--json"])).unwrap();
        let lanes = queue["lanes"].as_array().unwrap();
        lanes.iter().all(|lane| lane["provider"] != "spill.test").then_some(())
    });
    // The current day may still fill up; after two more, every announced wait has ended or was announced anew.
    thread::sleep(Duration::from_secs(2 * 86_400 / u64::from(TIMES)));
    let events = relay.log().events();

    // Caps: according to the log, and to the receiver.
    let (waiting, spilling) = (by_day(&events, "wait.test"), by_day(&events, "spill.test"));
    assert!(waiting.len() >= 4 && !spilling.is_empty(), "{waiting:?} {spilling:?}");
    for days in [&waiting, &spilling] {
        for (stage, (day, count)) in days.iter().enumerate() {
            assert!(*count <= CAPS[stage.min(3)], "{day}: {count}, stage {stage}: {days:?}");
        }
    }
    let from_cold = mx.messages().iter().filter(|t| t.peer.is_some_and(|p| p.ip().to_string() == "127.0.0.2")).count();
    let logged: usize = waiting.values().chain(spilling.values()).sum();
    assert!(from_cold >= logged && from_cold <= logged + KILLS * 20, "{from_cold} arrived from the cold source, {logged} are in the log");
    // Overflow: mail that spills went at once, from the warm source when the cold one had no budget; mail that waits never left from there.
    assert!(events.iter().any(|e| e["event"] == "delivered" && e["domain"] == "spill.test" && e["source"] == "warm"));
    assert!(!events.iter().any(|e| e["event"] == "delivered" && e["domain"] == "wait.test" && e["source"] == "warm"));

    // Every wait whose end is known: the mail went within a burst's time of the last announcement.
    let mut last_said: HashMap<&str, &Value> = HashMap::new();
    let (mut true_ones, mut wrong) = (0, Vec::new());
    for event in &events {
        let Some(rcpt) = event["rcpt"].as_str() else { continue };
        match event["event"].as_str().unwrap() {
            "held" => {
                assert!(event["detail"].is_string() && event["provider"].is_string(), "{event}");
                last_said.insert(rcpt, event);
            }
            "delivered" => {
                let Some(held) = last_said.remove(rcpt) else { continue };
                let burst = 86_400 * 4 / held["cap"].as_i64().unwrap_or(30).max(1);
                let off = time(event, "time").duration_since(time(held, "until")).as_secs().abs();
                if off <= burst { true_ones += 1 } else { wrong.push(format!("{rcpt}: off by {off} s of {burst}: {held}")) }
            }
            _ => {}
        }
    }
    assert!(true_ones > 50, "{true_ones}");
    assert!(wrong.is_empty(), "{} of {} were untrue:\n{}", wrong.len(), true_ones + wrong.len(), wrong[..wrong.len().min(5)].join("\n"));

    // Nothing is lost: each message is delivered once according to the log, or still waits.
    let accepted: HashSet<&str> = events.iter().filter(|e| e["event"] == "accepted").filter_map(|e| e["rcpt"].as_str()).collect();
    assert!(accepted.len() >= taken.load(Ordering::Relaxed), "what was acknowledged is in the log");
    relay.assert_balanced();
    relay.ok(["queue", "drop", "--all", "--reason", "the rehearsal is over"]);
}
