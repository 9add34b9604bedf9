//! Repeated kill -9 under load: every acknowledged message arrives, and the log accounts for all of them.
//!
//! `POSTHASTE_CRASH_MESSAGES` is the number of acknowledged messages after which the first of these tests ends.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use support::{
    Act, FakeMx, Relay, Step,
    load::{FROM, Load, arrived, serial},
    wait,
};

const KILLS: usize = 20;
const CLIENTS: usize = 8;
const ENDINGS: [&str; 4] = ["delivered", "bounced", "expired", "cancelled"];

fn relay(mx: &FakeMx, extra: &str) -> Relay {
    Relay::start(&format!("route.\"*\" = \"{}\"\ntls.policy = \"none\"\n{extra}", mx.address()))
}

/// How many lines of these kinds each message has. No JSON is parsed, since there are tens of thousands of lines.
fn lines(relay: &Relay, events: &[&str]) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    for file in std::fs::read_dir(relay.dir().join("data/log")).unwrap() {
        let text = String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned();
        for line in text.lines().filter(|line| events.iter().any(|e| line.contains(&format!("\"event\":\"{e}\"")))) {
            let rcpt = line.split_once("\"rcpt\":\"").and_then(|(_, rest)| rest.split('"').next());
            if let Some(serial) = serial(rcpt.expect("a line about a message has a recipient")) {
                *counts.entry(serial).or_default() += 1;
            }
        }
    }
    counts
}

fn wait_until_empty(relay: &Relay) {
    wait::until("the queue to drain", || {
        let queue: serde_json::Value = serde_json::from_str(&relay.ok(["queue", "--json"])).unwrap();
        (queue["counts"]["messages"] == 0).then_some(())
    });
    relay.assert_balanced();
}

/// Each accepted message, acknowledged or not, has exactly one `accepted` line and one final line.
fn assert_told_once(relay: &Relay, acknowledged: &HashSet<usize>) {
    let both = || (lines(relay, &["accepted"]), lines(relay, &ENDINGS));
    // The queue is empty before the last lines are written.
    wait::within(wait::PATIENCE, || Some(both()).filter(|(accepted, ended)| accepted.len() == ended.len()));
    let (accepted, ended) = both();
    let odd: Vec<_> = accepted.iter().chain(&ended).filter(|(_, count)| **count != 1).take(10).collect();
    assert!(odd.is_empty(), "told more than once: {odd:?}");
    assert_eq!(accepted.len(), ended.len());
    let silent: Vec<_> = acknowledged.iter().filter(|serial| !ended.contains_key(serial)).take(10).collect();
    assert!(silent.is_empty(), "acknowledged and without an end: {silent:?}");
}

fn assert_nothing_lost(acknowledged: &HashSet<usize>, has: &HashMap<usize, usize>) {
    let lost: Vec<_> = acknowledged.iter().filter(|serial| !has.contains_key(serial)).collect();
    assert!(lost.is_empty(), "{} messages were acknowledged and are lost: {:?}", lost.len(), &lost[..lost.len().min(20)]);
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_duplicates_are_no_more_than_what_was_in_flight() {
    let wanted = std::env::var("POSTHASTE_CRASH_MESSAGES").map_or(10_000, |n| n.parse().expect("a number of messages"));
    let mx = FakeMx::start();
    let mut relay = relay(&mx, "");
    let load = Load::new(relay.port(), wanted);
    let mut in_flight = 0;
    load.run(CLIENTS, KILLS, |_| {
        relay.kill();
        mx.wait_until_alone();
        // Only a message that the receiver has but that the log has no line for can arrive a second time.
        let known = lines(&relay, &["delivered"]);
        in_flight += arrived(&mx).keys().filter(|serial| !known.contains_key(serial)).count();
        relay.run();
    });
    wait_until_empty(&relay);
    let (acknowledged, has) = (load.acknowledged(), arrived(&mx));
    let duplicates: usize = has.values().map(|n| n - 1).sum();
    let figures = format!(
        "{} acknowledged, {} arrived, {KILLS} kills, {duplicates} duplicates; at the kills {in_flight} had arrived and were not in the log",
        acknowledged.len(),
        has.len()
    );
    eprintln!("{figures}");
    assert_nothing_lost(&acknowledged, &has);
    assert!(duplicates <= in_flight, "{figures}");
    assert_told_once(&relay, &acknowledged);
    assert!(relay.stop().success());
    relay.assert_balanced();
}

#[test]
fn kill_9_amid_refusals_leaves_each_message_one_end_and_each_sender_a_notice() {
    let mx = FakeMx::start();
    let deferred = Mutex::new(HashSet::new());
    mx.script(move |_, step| match step {
        Step::Rcpt(rcpt) => match serial(rcpt) {
            Some(n) if n % 10 == 0 => Act::Say("550 5.1.1 no such user".into()),
            Some(n) if n % 10 == 1 && deferred.lock().unwrap().insert(n) => Act::Say("451 4.3.0 once more".into()),
            _ => Act::Usual,
        },
        Step::Dot(t) if t.rcpts.iter().any(|r| serial(r).is_some_and(|n| n % 100 == 2)) && t.session % 7 == 0 => Act::Close,
        _ => Act::Usual,
    });
    let mut relay = relay(&mx, "");
    let load = Load::new(relay.port(), 1500);
    load.run(CLIENTS, 6, |_| {
        relay.kill();
        relay.run();
    });
    wait_until_empty(&relay);
    let acknowledged = load.acknowledged();
    let (good, bad): (HashSet<usize>, HashSet<usize>) = acknowledged.iter().partition(|n| *n % 10 != 0);
    assert_nothing_lost(&good, &arrived(&mx));
    let noticed: HashSet<usize> = mx.look(|all| {
        let notices = all.iter().filter(|t| t.taken && t.rcpts == [FROM]).map(|t| String::from_utf8_lossy(&t.data).into_owned());
        notices.filter_map(|text| serial(text.split_once("Final-Recipient: rfc822; ")?.1.lines().next()?)).collect()
    });
    let untold: Vec<_> = bad.iter().filter(|serial| !noticed.contains(serial)).take(10).collect();
    assert!(untold.is_empty(), "bounced, and nobody was told: {untold:?}");
    assert_told_once(&relay, &acknowledged);
}

#[test]
fn restarts_by_sigterm_under_load_lose_nothing_and_send_nothing_twice() {
    let mx = FakeMx::start();
    let mut relay = relay(&mx, "");
    let load = Load::new(relay.port(), 1500);
    load.run(CLIENTS, 6, |_| {
        assert!(relay.stop().success());
        relay.run();
    });
    wait_until_empty(&relay);
    let (acknowledged, has) = (load.acknowledged(), arrived(&mx));
    assert_nothing_lost(&acknowledged, &has);
    let twice: Vec<_> = has.iter().filter(|(_, count)| **count > 1).take(10).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
    assert_told_once(&relay, &acknowledged);
    assert!(!lines(&relay, &["accepted"]).is_empty());
}

/// Whether a process has a matching file open.
fn has_open(pid: u32, part: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.to_string_lossy().contains(part))
}

#[test]
fn a_relay_killed_while_it_starts_starts_again() {
    let mx = FakeMx::start();
    mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let mut relay = relay(&mx, "retry.schedule = [\"1h\"]");
    let load = Load::new(relay.port(), 300);
    load.run(CLIENTS, 1, |_| ());
    relay.kill();
    for file in ["data/lock", "data/spool/", "data/log/", "data/lock", "data/spool/", "data/log/"] {
        relay.spawn();
        wait::until(&format!("the relay to open {file}"), || has_open(relay.pid(), file).then_some(()));
        relay.kill();
    }
    relay.run();
    mx.behave();
    relay.ok(["queue", "retry", "--all"]);
    wait_until_empty(&relay);
    let acknowledged = load.acknowledged();
    assert_nothing_lost(&acknowledged, &arrived(&mx));
    assert_told_once(&relay, &acknowledged);
}
