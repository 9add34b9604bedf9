//! The guard: the new mail of a user that behaves like a stolen account is held within a minute, nothing of it is lost, and others notice nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use support::{
    Client, Mail, World,
    http::{Api, config},
    relay::free_port,
    wait::until,
};

/// A leap is 30 recipients an hour, and nothing else is wrong.
const RULES: &str = "rules.house.enabled = false\nrules.sender_leaps.per_hour = 30\nguard.enabled = true\n";

struct Guarded {
    world: World,
    shop: Api,
    other: Api,
    watch: Api,
    root: Api,
}

impl Guarded {
    fn start(extra: &str) -> Self {
        let port = free_port();
        let rights: [(&str, &[&str]); 4] = [("shop", &["send"]), ("other", &["send"]), ("watch", &["monitor"]), ("root", &["admin"])];
        let tokens: Vec<_> = rights.iter().map(|(name, rights)| (*name, *name, *rights)).collect();
        let world = World::start(&format!("{}{RULES}{extra}", config(port, &tokens)));
        let [shop, other, watch, root] = ["shop", "other", "watch", "root"].map(|token| Api::new(port, token));
        Self { world, shop, other, watch, root }
    }

    /// `shop` leaps; its mail is held when this returns. Returns how long that took by the log's times, in seconds.
    fn leap(&self) -> f64 {
        mail(&self.shop, "leap", 0..40);
        let log = self.world.relay.log();
        let holds = log.wait_for_relay("guard_holds");
        let thirtieth = &log.wait_for_many("accepted", "", 30)[29];
        time(&holds).duration_since(time(thirtieth)).as_secs_f64()
    }

    fn list(&self) -> Vec<Value> {
        let said = self.world.relay.ok(["guard", "list", "--json"]);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    fn incidents(&self, rule: &str) -> Vec<Value> {
        let out = self.world.relay.cli(["incidents", "list", "--all", "--json"]);
        let all: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
        all.into_iter().filter(|incident| incident["rule"] == rule).collect()
    }

    /// How often each recipient with this prefix got its message.
    fn got(&self, prefix: &str) -> BTreeMap<String, usize> {
        let mut got = BTreeMap::new();
        for rcpt in self.world.mx.messages().into_iter().flat_map(|message| message.rcpts).filter(|rcpt| rcpt.starts_with(prefix)) {
            *got.entry(rcpt).or_default() += 1;
        }
        got
    }

    fn delivered(&self, rcpts: &[String]) {
        rcpts.iter().for_each(|rcpt| drop(self.world.relay.log().wait_for("delivered", rcpt)));
    }
}

fn time(event: &Value) -> Timestamp {
    event["time"].as_str().unwrap().parse().unwrap()
}

fn mail(api: &Api, word: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let to: Vec<String> = numbers.map(|n| format!("{word}{n}@example.test")).collect();
    to.iter().for_each(|to| drop(api.mail(&json!({"from": "shop@sender.test", "to": to, "text": "x"}))));
    to
}

#[test]
fn a_users_leap_is_held_within_a_minute_survives_a_kill_and_is_released_once() {
    let mut guarded = Guarded::start("");
    let before = mail(&guarded.other, "other", 0..3);
    let took = guarded.leap();
    assert!(took < 60.0, "held after {took} s");
    let held = mail(&guarded.shop, "held", 0..10);
    let beside = mail(&guarded.other, "other", 3..8);
    guarded.delivered(&beside);
    guarded.delivered(&before);
    let log = guarded.world.relay.log();
    for rcpt in &beside {
        let age = log.wait_for("delivered", rcpt)["age_ms"].as_u64().unwrap();
        assert!(age < 10_000, "{rcpt} notices something: {age} ms");
    }
    for rcpt in &held {
        log.wait_for("held", rcpt);
        assert_eq!(log.history(rcpt), ["accepted", "held"]);
    }
    let line = &log.of("held", &held[0])[0];
    let detail = line["detail"].as_str().unwrap();
    assert_eq!((&line["reason"], &line["user"]), (&"guard".into(), &"shop".into()), "{line}");
    assert!(detail.contains("sender_leaps: ") && detail.contains("`posthaste guard release user:shop`"), "{detail}");
    shown_everywhere(&guarded, &held);

    guarded.world.relay.kill();
    guarded.world.relay.run();
    let more = mail(&guarded.shop, "held", 10..12);
    assert_eq!(guarded.list()[0]["messages"], 12, "the hold and what it holds are there again");
    guarded.world.relay.log().wait_for("held", &more[0]);
    assert_eq!(guarded.world.relay.log().history(&more[0]), ["accepted", "held"]);
    assert!(guarded.got("held").is_empty());
    guarded.world.relay.assert_balanced();

    // What operators hold and release otherwise has nothing to do with it.
    let left = guarded.world.relay.cli(["queue", "release", "--all"]);
    assert!(String::from_utf8_lossy(&left.stdout).contains("12 messages held by the guard"), "{left:?}");
    let said = guarded.world.relay.ok(["guard", "release", "user:shop"]);
    assert!(said.contains("12 messages of user:shop released"), "{said}");
    guarded.delivered(&held);
    guarded.delivered(&more);
    assert_eq!(guarded.got("held").into_values().collect::<Vec<_>>(), [1; 12], "each once");
    let log = guarded.world.relay.log();
    assert_eq!(log.history(&held[0]), ["accepted", "held", "released", "delivered"]);
    assert_eq!(log.of("released", &held[0])[0]["by"], "tester");
    assert!(log.wait_for_relay("guard_released")["detail"].as_str().unwrap().contains("by tester"));

    // The same figures still stand, and hold nothing: the next looks close the guard's incident, and its mail goes out.
    until("the guard's incident to close", || Some(()).filter(|()| guarded.incidents("guard")[0]["state"] == "closed"));
    assert_eq!(guarded.incidents("sender_leaps")[0]["state"], "open");
    guarded.delivered(&mail(&guarded.shop, "after", 0..3));
    assert_eq!((guarded.list().len(), &guarded.list()[0]["state"]), (1, &"left_alone".into()));
    guarded.world.relay.assert_balanced();
    let again = guarded.world.relay.cli(["guard", "release", "user:shop"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("holds no mail of user:shop"), "{again:?}");
    assert_eq!(guarded.world.relay.log().of("relay", "").iter().filter(|line| line["state"] == "guard_holds").count(), 1);
    assert!(relay_says_nothing_else(&guarded), "nobody else is held");
}

/// Queue, why, trace, report, incidents: each says that it is held, why, and what ends it.
fn shown_everywhere(guarded: &Guarded, held: &[String]) {
    let relay = &guarded.world.relay;
    let opened = until("the guard's incident", || guarded.incidents("guard").pop());
    assert_eq!((&opened["key"], &opened["state"], &opened["severity"]), (&"user:shop".into(), &"open".into(), &"critical".into()));
    assert!(
        guarded.incidents("sender_leaps").iter().any(|incident| {
            incident["key"] == "user:shop" && incident["done"].as_str().unwrap().contains("The guard holds its new mail")
        })
    );
    let id = opened["id"].as_str().unwrap();
    let refused = relay.cli(["incidents", "close", id]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("guard release user:shop"), "{refused:?}");
    let command = "posthaste guard release user:shop";
    let listed = relay.ok(["queue", "list", "--user", "shop"]);
    assert!(listed.contains(command) && !listed.contains("other"), "{listed}");
    for asked in [relay.ok(["why", &held[0]]), relay.ok(["trace", &held[0]]), relay.ok(["guard"]), relay.ok(["incidents", "show", id])] {
        assert!(asked.contains(command), "{asked}");
    }
    let queue = relay.ok(["queue"]);
    assert!(queue.contains("the guard holds new mail of user:shop") && queue.contains("10 held"), "{queue}");
    let report: Value = serde_json::from_str(&relay.ok(["report", "--by", "user", "--json"])).unwrap();
    assert_eq!(report["held"], 10, "{report}");
    let [entry] = &guarded.list()[..] else { panic!("one user is held: {:?}", guarded.list()) };
    let (key, rules) = (&entry["key"], &entry["rules"]);
    assert_eq!((key, rules, &entry["messages"]), (&"user:shop".into(), &json!(["sender_leaps"]), &10.into()), "{entry}");
    assert_eq!(guarded.watch.get("/v1/guard").json()["guard"][0]["key"], "user:shop");
}

/// Whether every line about what is held is about `shop`.
fn relay_says_nothing_else(guarded: &Guarded) -> bool {
    guarded.world.relay.log().of("held", "").iter().all(|line| line["user"] == "shop")
}

#[test]
fn by_http_it_is_dropped_with_an_ending_for_each_message_by_whoever_may() {
    let guarded = Guarded::start("guard.max_messages = 4\n");
    guarded.leap();
    let held = mail(&guarded.shop, "held", 0..4);
    // As much as may be held is held: others go on.
    let full = guarded.shop.post("/v1/messages", &json!({"from": "shop@sender.test", "to": "late@example.test", "text": "x"}));
    let problem = full.json();
    assert_eq!((full.status, &problem["reason"], &problem["smtp_code"]), (503, &"guard_full".into(), &451.into()), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("mail of user shop is held"), "{problem}");
    guarded.delivered(&mail(&guarded.other, "beside", 0..2));
    let listed = guarded.watch.get("/v1/guard").json();
    let [entry] = &listed["guard"].as_array().unwrap()[..] else { panic!("one entry: {listed}") };
    assert_eq!((&entry["state"], &entry["messages"], &entry["full"]), (&"holding".into(), &4.into(), &true.into()), "{entry}");

    let drop = |api: &Api, body: Value| {
        let reply = api.post("/v1/guard/drop", &body);
        (reply.status, reply.json())
    };
    let asked = json!({"key": "user:shop", "reason": "stolen", "keep_holding": true});
    for api in [&guarded.shop, &guarded.watch] {
        assert_eq!(drop(api, asked.clone()).0, 403);
    }
    assert_eq!(guarded.shop.get("/v1/guard").status, 403);
    assert_eq!(drop(&guarded.root, json!({"key": "user:other", "reason": "x"})).0, 404);
    for wrong in [json!({"key": "shop", "reason": "x"}), json!({"key": "user:shop", "reason": " "}), json!({"key": "user:shop"})] {
        assert_eq!(drop(&guarded.root, wrong.clone()).0, 422, "{wrong}");
    }
    let (status, done) = drop(&guarded.root, asked);
    assert_eq!((status, &done["messages"], &done["holding"]), (200, &4.into(), &true.into()), "{done}");
    let log = guarded.world.relay.log();
    for rcpt in &held {
        let cancelled = log.wait_for("cancelled", rcpt);
        assert_eq!((&cancelled["by"], &cancelled["reason"]), (&"root".into(), &"stolen".into()));
        assert_eq!(log.history(rcpt), ["accepted", "held", "cancelled"]);
    }
    // New mail is still held, and there is room for it again.
    let more = mail(&guarded.shop, "more", 0..2);
    log.wait_for("held", &more[0]);
    assert_eq!(log.history(&more[0]), ["accepted", "held"]);
    let released = guarded.root.post("/v1/guard/release", &json!({"key": "user:shop", "for": "24h"}));
    assert_eq!((released.status, &released.json()["messages"], &released.json()["holding"]), (200, &2.into(), &false.into()));
    guarded.delivered(&more);
    guarded.delivered(&mail(&guarded.shop, "free", 0..1));
    assert_eq!((guarded.got("held").len(), guarded.got("more").len()), (0, 2));
    guarded.world.relay.assert_balanced();
}

/// Clients that do not log in have no user: their stream can be held, and others go on.
#[test]
fn a_stream_is_held_where_the_operator_wants_it() {
    let guarded = Guarded::start("guard.stream.open.enabled = true\nstream.open.priority = 10\nlisten.default.stream = \"open\"\n");
    let mut client = Client::hello(guarded.world.relay.port()).unwrap();
    let send = |client: &mut Client, to: &str| client.submit(&Mail::new("a@sender.test", &[to], "x")).unwrap();
    (0..35).for_each(|n| assert_eq!(send(&mut client, &format!("leap{n}@example.test")).code, 250));
    let log = guarded.world.relay.log();
    assert!(log.wait_for_relay("guard_holds")["detail"].as_str().unwrap().contains("stream open"));
    assert_eq!(send(&mut client, "held@example.test").code, 250);
    log.wait_for("held", "held@example.test");
    assert_eq!(log.history("held@example.test"), ["accepted", "held"]);
    let said = guarded.world.relay.ok(["guard", "drop", "stream:open", "--reason", "a loop"]);
    assert!(said.contains("1 message of stream:open removed"), "{said}");
    assert_eq!(log.wait_for("cancelled", "held@example.test")["reason"], "a loop");
    assert_eq!(send(&mut client, "again@example.test").code, 250);
    log.wait_for("delivered", "again@example.test");
}
