//! The OpenAPI document and the server agree: every documented answer occurs, and no answer is undocumented. (In all API tests, the client
//! checks each answer against the document.)

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{
    Act, Step, World,
    http::{Api, Connection, config},
    relay::free_port,
    wait,
};

const FROM: &str = "shop@sender.test";
const TO: &str = "reader@example.test";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const CSV: (&str, &str) = ("Content-Type", "text/csv");

/// Answers that occur only when the spool cannot write although it accepted mail a moment before, or when all memory for bodies is in use for
/// ten seconds: no test here can produce them.
const NOT_TO_BE_HAD: [(&str, &str, u16); 7] = [
    ("put", "/v1/suppressions/{address}", 503),
    ("delete", "/v1/suppressions/{address}", 503),
    ("post", "/v1/suppressions/import", 503),
    ("get", "/v1/suppressions", 503),
    ("get", "/v1/suppressions/export", 503),
    ("get", "/v1/incidents", 503),
    ("get", "/v1/findings", 503),
];

struct Ask<'a>(&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);

#[track_caller]
fn all(api: &Api, asks: &[Ask<'_>]) {
    for Ask(method, path, headers, body, status) in asks {
        let reply = api.call(method, path, headers, body);
        assert_eq!(reply.status, *status, "{method} {path}: {}", reply.text());
    }
}

/// Sends a head and waits until the relay asks for the body. Meanwhile another client asks; then the body is sent, or not.
fn half_way(api: &Api, port: u16, path: &str, headers: &[(&str, &str)], length: usize) -> Connection {
    let mut connection = Connection::open(port).unwrap();
    let headers = [headers, &[("Expect", "100-continue")]].concat();
    connection.send(api.head(if path.contains('@') { "PUT" } else { "POST" }, path, &headers, length).as_bytes()).unwrap();
    assert_eq!(connection.hear().unwrap().status, 100);
    connection
}

/// What can be done with an incident: there is one about the disk, which is never as free as is asked for.
fn incidents(boss: &Api, mute: &str, close: &str, large: &[u8]) {
    let reason = json!({"reason": "we know"}).to_string();
    let first = || boss.get("/v1/incidents?rule=house&state=open").json()["incidents"][0]["id"].as_str().map(str::to_owned);
    let one = format!("/v1/incidents/{}", wait::until("an incident", first));
    let [muted, closed] = ["mute", "close"].map(|what| format!("{one}/{what}"));
    all(
        boss,
        &[
            Ask("GET", &one, &[], b"", 200),
            Ask("POST", &muted, &[JSON], reason.as_bytes(), 200),
            Ask("POST", &muted, &[JSON], b"{", 400),
            Ask("POST", &muted, &[JSON], b"{\"reason\": \" \"}", 422),
            Ask("POST", &muted, &[JSON], b"{\"reason\": \"x\", \"until\": \"2026-01-01T00:00:00Z\"}", 422),
            Ask("POST", &muted, &[JSON], large, 413),
            Ask("POST", mute, &[JSON], reason.as_bytes(), 404),
            Ask("POST", &closed, &[], b"", 200),
            Ask("POST", &closed, &[], b"", 409),
            Ask("POST", close, &[], b"", 404),
        ],
    );
    let shown = boss.get(&one).json();
    assert_eq!((&shown["state"], &shown["mute"]["reason"], &shown["mute"]["by"]), (&"closed".into(), &"we know".into(), &"boss".into()));
}

fn documented(document: &Value) -> BTreeSet<(String, String, u16)> {
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys();
            all.extend(statuses.map(|s| (method.clone(), path.clone(), s.parse().unwrap())));
        }
    }
    all
}

#[test]
fn every_documented_answer_can_be_had_and_no_other() {
    let port = free_port();
    let tokens = config(
        port,
        &[
            ("all", "all", &["send", "read", "suppress", "monitor"]),
            ("leaper", "leaper", &["send"]),
            ("none", "none", &["send"]),
            ("reader", "reader", &["read"]),
            ("boss", "boss", &["admin"]),
        ],
    );
    let extra =
        format!("{tokens}\nuser.none.rate = \"1/h\"\nhttp.body_timeout = \"1s\"\nhttp.body_size = \"1 MiB\"\nretry.schedule = [\"1h\"]");
    let extra = format!("{extra}\nguard.user.leaper.enabled = true\nrules.sender_leaps.per_hour = 2");
    let extra = format!("{extra}\nbans.failures = 2\nbans.delay = \"0s\"\nbans.exempt = []\nrules.house.disk_free = 1.0");
    let world = World::start(&extra);
    world.mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    let leaper = Api::new(port, "leaper");
    let [api, nobody, sender, reader, boss] = ["all", "", "none", "reader", "boss"].map(|token| Api::new(port, token));
    let good = json!({"from": FROM, "to": TO, "text": "x"}).to_string();
    let batch = json!({"messages": [{"from": FROM, "to": TO}]}).to_string();
    let large = vec![b' '; (1 << 20) + 1];
    let listed = "/v1/suppressions/a@x.test";
    let (release, removal) = ("/v1/guard/release", "/v1/guard/drop");
    (0..3).for_each(|_| drop(leaper.mail(&json!({"from": FROM, "to": TO, "text": "x"}))));

    all(
        &api,
        &[
            Ask("GET", "/healthz", &[], b"", 200),
            Ask("GET", "/readyz", &[], b"", 200),
            Ask("GET", "/v1/report?by=provider", &[], b"", 200),
            Ask("GET", "/v1/report?by=colour", &[], b"", 400),
            Ask("GET", "/v1/tallies?by=stream&grain=minute", &[], b"", 200),
            Ask("GET", "/v1/tallies?grain=year", &[], b"", 400),
            Ask("GET", "/v1/tallies?view=cohort&by=stream", &[], b"", 200),
            Ask("GET", "/v1/tallies?view=cohort&grain=hour", &[], b"", 400),
            Ask("GET", "/v1/score", &[], b"", 200),
            Ask("GET", "/v1/score?by=colour", &[], b"", 400),
            Ask("GET", "/v1/incidents?state=muted", &[], b"", 200),
            Ask("GET", "/v1/incidents?state=fixed", &[], b"", 400),
            Ask("GET", "/v1/incidents/20260101T000000-1", &[], b"", 404),
            Ask("GET", "/v1/findings?rule=score", &[], b"", 200),
            Ask("GET", "/v1/findings?rule=luck", &[], b"", 400),
            Ask("GET", "/metrics", &[], b"", 200),
            Ask("GET", "/v1/guard", &[], b"", 200),
            Ask("GET", "/v1/openapi.json", &[], b"", 200),
            Ask("POST", "/v1/messages", &[JSON], good.as_bytes(), 202),
            Ask("POST", "/v1/messages", &[JSON], b"{", 400),
            Ask("POST", "/v1/messages", &[JSON], b"{\"to\": 7}", 422),
            Ask("POST", "/v1/messages", &[JSON], &large, 413),
            Ask("POST", "/v1/messages", &[CSV], b"a,b", 415),
            Ask("POST", "/v1/messages/batch", &[JSON], batch.as_bytes(), 200),
            Ask("POST", "/v1/messages/batch", &[JSON], b"{", 400),
            Ask("POST", "/v1/messages/batch", &[JSON], b"[]", 422),
            Ask("POST", "/v1/messages/batch", &[JSON], &large, 413),
            Ask("POST", "/v1/messages/batch", &[CSV], b"a,b", 415),
            Ask("GET", "/v1/messages/01K6Z5D0V4QK9M2T8YJ3N7RXCE", &[], b"", 404),
            Ask("PUT", listed, &[], b"", 200),
            Ask("PUT", listed, &[JSON], b"{", 400),
            Ask("PUT", listed, &[JSON], b"{\"reason\": \"dislike\"}", 422),
            Ask("PUT", listed, &[JSON], b"{\"scope\": \"user:reader\"}", 404),
            Ask("PUT", listed, &[JSON], &large, 413),
            Ask("GET", listed, &[], b"", 200),
            Ask("GET", "/v1/suppressions/b@x.test", &[], b"", 404),
            Ask("GET", "/v1/suppressions/b", &[], b"", 422),
            Ask("GET", "/v1/suppressions", &[], b"", 200),
            Ask("GET", "/v1/suppressions?limit=x", &[], b"", 400),
            Ask("GET", "/v1/suppressions?cursor=%20", &[], b"", 400),
            Ask("GET", "/v1/suppressions/export?format=jsonl", &[], b"", 200),
            Ask("GET", "/v1/suppressions/export?format=xml", &[], b"", 400),
            Ask("POST", "/v1/suppressions/import", &[CSV], b"c@x.test\n", 200),
            Ask("POST", "/v1/suppressions/import?scope=x", &[CSV], b"", 400),
            Ask("POST", "/v1/suppressions/import?scope=user:reader", &[CSV], b"", 404),
            Ask("POST", "/v1/suppressions/import", &[CSV], &large, 413),
            Ask("POST", "/v1/suppressions/import", &[JSON], b"", 415),
            Ask("DELETE", listed, &[], b"", 204),
            Ask("DELETE", listed, &[], b"", 404),
            Ask("DELETE", "/v1/suppressions/b", &[], b"", 422),
            Ask("DELETE", "/v1/suppressions/a@x.test?who=me", &[], b"", 400),
            // An answer that is documented nowhere.
            Ask("GET", "/v1/nothing", &[], b"", 404),
            Ask("PUT", "/v1/messages", &[], b"", 405),
        ],
    );
    all(
        &boss,
        &[
            Ask("POST", release, &[JSON], b"{", 400),
            Ask("POST", release, &[JSON], b"{\"key\": \"user:nobody\"}", 404),
            Ask("POST", release, &[JSON], b"{\"key\": \"user:leaper\", \"for\": \"long\"}", 422),
            Ask("POST", release, &[JSON], &large, 413),
            Ask("POST", removal, &[JSON], b"{", 400),
            Ask("POST", removal, &[JSON], b"{\"key\": \"user:nobody\", \"reason\": \"x\"}", 404),
            Ask("POST", removal, &[JSON], b"{\"key\": \"nobody\", \"reason\": \"x\"}", 422),
            Ask("POST", removal, &[JSON], &large, 413),
        ],
    );
    let sending = [("POST", "/v1/messages"), ("POST", "/v1/messages/batch")];
    let reading = [("GET", "/v1/messages/x"), ("GET", "/v1/suppressions"), ("GET", listed), ("GET", "/v1/suppressions/export")];
    let (mute, close) = ("/v1/incidents/20260101T000000-1/mute", "/v1/incidents/20260101T000000-1/close");
    let counting = [("GET", "/v1/report"), ("GET", "/v1/tallies"), ("GET", "/v1/score"), ("GET", "/metrics"), ("GET", "/v1/guard")];
    let found = [("GET", "/v1/incidents"), ("GET", "/v1/incidents/20260101T000000-1"), ("GET", "/v1/findings")];
    let counting = [&counting[..], &found].concat();
    let reading = [&reading[..], &counting].concat();
    let changing = [("PUT", listed), ("DELETE", listed), ("POST", "/v1/suppressions/import"), ("POST", mute), ("POST", close)];
    let changing = [&changing[..], &[("POST", release), ("POST", removal)]].concat();
    for (method, path) in sending.iter().chain(&reading).chain(&changing) {
        assert_eq!(nobody.call(method, path, &[], b"").status, 401, "{method} {path}");
        let without_right = if sending.contains(&(method, path)) { &reader } else { &sender };
        assert_eq!(without_right.call(method, path, &[], b"").status, 403, "{method} {path}");
    }
    incidents(&boss, mute, close, &large);
    let id = api.mail(&json!({"from": FROM, "to": TO}));
    all(&api, &[Ask("GET", &format!("/v1/messages/{id}"), &[], b"", 200)]);

    // A user whose mail the guard holds.
    wait::until("the guard to hold", || Some(()).filter(|()| api.get("/v1/guard").json()["guard"][0]["state"] == "holding"));
    let keep = b"{\"key\": \"user:leaper\", \"keep_holding\": true}";
    let end = b"{\"key\": \"user:leaper\", \"reason\": \"x\"}";
    all(&boss, &[Ask("POST", release, &[JSON], keep, 200), Ask("POST", removal, &[JSON], end, 200)]);

    // This user may send one message an hour.
    all(&sender, &[Ask("POST", "/v1/messages", &[JSON], good.as_bytes(), 202), Ask("POST", "/v1/messages", &[JSON], good.as_bytes(), 429)]);

    // Bodies that never arrive; meanwhile their keys are busy.
    for path in ["/v1/messages", "/v1/messages/batch", "/v1/suppressions/import", listed, release, removal] {
        let headers = if path.ends_with("import") { [CSV, ("Idempotency-Key", path)] } else { [JSON, ("Idempotency-Key", path)] };
        let api = if path.starts_with("/v1/guard") { &boss } else { &api };
        let mut waiting = half_way(api, port, path, &headers, 10);
        if path.starts_with("/v1/messages") {
            all(api, &[Ask("POST", path, &headers, b"{}", 409)]);
        }
        let late = waiting.hear().unwrap();
        assert_eq!(late.status, 408, "{path}");
        api.judge(if path == listed { "PUT" } else { "POST" }, path, &late);
    }

    let mut waiting = half_way(&boss, port, mute, &[JSON], 10);
    boss.judge("POST", mute, &waiting.hear().unwrap());

    // A log that cannot be read; a queue that is full.
    let in_the_way = world.relay.dir().join("data/log/delivery-20990101T000000Z-9.log");
    // A file that can be opened and not read.
    std::os::unix::fs::symlink("/proc/self/mem", &in_the_way).unwrap();
    let unread = api.get(&format!("/v1/messages/{id}"));
    let uncounted = ["/v1/report", "/v1/tallies", "/v1/score"].map(|path| Ask("GET", path, &[], b"", 503));
    std::fs::remove_file(&in_the_way).unwrap();
    let [there, elsewhere] = ["data/tallies.db", "data/elsewhere"].map(|name| world.relay.dir().join(name));
    std::fs::rename(&there, &elsewhere).unwrap();
    // A file that is merely gone would be made again.
    std::fs::create_dir(&there).unwrap();
    all(&api, &uncounted);
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&elsewhere, &there).unwrap();
    assert_eq!(unread.status, 503, "{}", unread.text());
    world.relay.change_config("limits.queue_messages = 1");
    world.relay.ok(["reload"]);
    let full = wait::until("a full queue", || Some(api.call("POST", "/v1/messages", &[JSON], good.as_bytes())).filter(|r| r.status == 503));
    assert_eq!((full.header("retry-after"), full.json()["reason"].as_str()), ("30", Some("queue_full")));
    all(&api, &[Ask("POST", "/v1/messages/batch", &[JSON], batch.as_bytes(), 503), Ask("GET", "/readyz", &[], b"", 503)]);

    // A client that guesses tokens is banned.
    let guesser = Api::new(port, "wrong");
    all(&guesser, &[Ask("GET", listed, &[], b"", 401), Ask("GET", listed, &[], b"", 401)]);
    for (method, path) in sending.iter().chain(&reading).chain(&changing) {
        all(&api, &[Ask(method, path, &[], b"", 429)]);
    }

    let mut seen = api.seen();
    [&nobody, &sender, &reader, &boss].into_iter().for_each(|api| seen.extend(api.seen()));
    let mut wanted = documented(api.document());
    for (method, path, status) in NOT_TO_BE_HAD {
        assert!(wanted.remove(&(method.to_owned(), path.to_owned(), status)), "{method} {path} {status} is not documented");
    }
    let missing: Vec<_> = wanted.difference(&seen).collect();
    assert!(missing.is_empty(), "documented, and not seen: {missing:#?}");
}

#[test]
fn the_document_is_whole() {
    let port = free_port();
    let _world = World::start(&config(port, &[("all", "all", &["send"])]));
    let api = Api::new(port, "");
    let document = api.document();
    assert_eq!(document["openapi"], "3.1.0");
    // Every reference can be resolved.
    let text = document.to_string();
    for name in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    // Every operation that needs a token says so, and every operation has a description.
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = ["/healthz", "/readyz", "/v1/openapi.json"].contains(&path.as_str());
            assert_eq!(operation.get("security").is_none(), open, "{method} {path}");
            assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{method} {path}");
        }
    }
}
