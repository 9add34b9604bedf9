//! The HTTP API: mail submitted as JSON or MIME is handled like all mail; nothing is sent twice; the suppression list is the same list.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use mail_parser::MessageParser;
use serde_json::{Value, json};
use support::{
    Act, Relay, Step, World,
    http::{Api, Connection},
    relay::free_port,
    tools::have,
    wait,
};

const ALL: &str = "all-rights-token";
const FROM: &str = "shop@sender.test";
const TO: &str = "reader@example.test";
const PYTHON: &str = "/usr/bin/python3";

/// A world whose relay has the API, with more TOML.
fn start(extra: &str) -> (World, Api) {
    let port = free_port();
    let world = World::start(&format!("{}\n{extra}", support::http::config(port, &[("all", ALL, &["send", "read", "suppress"])])));
    (world, Api::new(port, ALL))
}

fn draft(to: &str, subject: &str) -> Value {
    json!({"from": FROM, "to": to, "subject": subject, "text": "Hello.\n"})
}

/// A message as parsed by Python.
fn python(message: &[u8]) -> Value {
    const READ: &str = r"
import sys, json, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
leaves = [p for p in m.walk() if not p.is_multipart()]
print(json.dumps({
    'from': str(m['from']), 'to': str(m['to']), 'subject': str(m['subject']), 'bcc': m['bcc'], 'defects': [str(d) for p in m.walk() for d in p.defects],
    'parts': [[p.get_content_type(), p.get_filename(), p.get_payload(decode=True).hex()] for p in leaves]}))
";
    let mut child = Command::new(PYTHON).args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    serde_json::from_slice(&out.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn mail_sent_as_json_arrives_as_mime() {
    let (world, api) = start("");
    let picture = b"\x89PNG\r\n\x1a\n\0picture";
    let id = api.mail(&json!({
        "from": "Käse & Söhne <shop@sender.test>", "to": ["Ann Reader <reader@example.test>"], "bcc": "secret@example.test",
        "subject": "Grüße", "text": "Hallo.\n.\nEnde\n", "html": "<p>Hallo <img src=\"cid:logo\"></p>",
        "attachments": [
            {"filename": "Rechnung März.pdf", "content_type": "application/pdf", "content": "JVBERi0xLjcKAA=="},
            {"filename": "logo.png", "content_type": "image/png", "cid": "logo", "content": "iVBORw0KGgoAcGljdHVyZQ=="},
        ],
        "headers": {"X-Order": "7"}, "tags": ["may", "orders"], "meta": {"Order": "4711"},
    }));
    let sent = world.mx.wait_for(1).swap_remove(0);
    assert_eq!((sent.from.as_str(), sent.rcpts.clone()), (FROM, vec![TO.to_owned(), "secret@example.test".to_owned()]));
    let message = MessageParser::new().parse(&sent.data).unwrap();
    assert_eq!(message.subject(), Some("Grüße"));
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Käse & Söhne"));
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), "Hallo.\n.\nEnde\n");
    assert_eq!(message.attachment(0).map(|a| a.contents().to_vec()).as_deref(), Some(&picture[..]));
    assert!(message.date().is_some() && message.message_id().is_some() && message.header("Bcc").is_none());
    let head = String::from_utf8_lossy(&sent.data).into_owned();
    assert!(head.starts_with("Received: from unknown ([127.0.0.1])\r\n\tby relay.test with HTTP id "), "{head}");
    assert!(!head.contains("X-Posthaste") && head.contains("X-Order: 7\r\n"), "{head}");
    if have(PYTHON) {
        let seen = python(&sent.data);
        assert_eq!((&seen["subject"], &seen["bcc"], &seen["defects"]), (&json!("Grüße"), &Value::Null, &json!([])));
        let parts: Vec<_> =
            seen["parts"].as_array().unwrap().iter().map(|p| (p[0].as_str().unwrap(), p[1].clone(), p[2].clone())).collect();
        assert_eq!(parts[0].2, hex(b"Hallo.\r\n.\r\nEnde\r\n"));
        assert_eq!(parts[2], ("image/png", json!("logo.png"), json!(hex(picture))));
        assert_eq!(parts[3], ("application/pdf", json!("Rechnung März.pdf"), json!(hex(b"%PDF-1.7\n\0"))));
    }
    let event = world.relay.log().wait_for("accepted", TO);
    assert_eq!(event["meta"], json!(["order=4711"]));
    assert_eq!((&event["message"], &event["tags"], event.get("client_ehlo")), (&json!(id), &json!(["may", "orders"]), None));
}

#[test]
fn mime_goes_as_it_is() {
    let (world, api) = start("");
    let mime = "From: a@sender.test\nSubject: raw\nX-Posthaste-Tag: t\n\nbody with \u{e4}\n";
    let path = "/v1/messages?from=bounces@sender.test&to=reader@example.test&to=second@example.test";
    let reply = api.call("POST", path, &[("Content-Type", "message/rfc822")], mime.as_bytes());
    assert_eq!((reply.status, reply.json()["recipients"].as_u64()), (202, Some(2)));
    assert_eq!(reply.header("location"), format!("/v1/messages/{}", reply.json()["id"].as_str().unwrap()));
    world.mx.wait_for(1);
    // The same inside JSON: base64 of "Subject: raw\r\n\r\nbody\r\n".
    api.mail(&json!({"from": FROM, "to": TO, "raw": "U3ViamVjdDogcmF3DQoNCmJvZHkNCg=="}));
    let sent = world.mx.wait_for(2);
    assert_eq!((sent[0].from.as_str(), sent[0].rcpts.len()), ("bounces@sender.test", 2));
    let text = String::from_utf8_lossy(&sent[0].data).into_owned();
    assert!(text.contains("From: a@sender.test\r\nSubject: raw\r\n") && text.ends_with("\r\n\r\nbody with ä\r\n"), "{text}");
    assert!(String::from_utf8_lossy(&sent[1].data).ends_with("\r\n\r\nbody\r\n"));
    assert_eq!(world.relay.log().wait_for("accepted", "second@example.test")["tags"], json!(["t"]));
}

#[test]
fn a_key_and_its_answer_survive_kill_9_and_nothing_is_sent_twice() {
    let (mut world, api) = start("");
    let key = [("Idempotency-Key", "order-7")];
    let first = api.post_with("/v1/messages", &key, &draft(TO, "one"));
    let again = api.post_with("/v1/messages", &key, &draft(TO, "one"));
    assert_eq!((first.status, first.json(), first.header("idempotency-replayed")), (202, again.json(), ""));
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"));
    let other = api.post_with("/v1/messages", &key, &draft(TO, "two"));
    assert_eq!((other.status, other.json()["reason"].as_str()), (422, Some("idempotency_key_reused")));
    world.relay.log().wait_for("delivered", TO);
    world.relay.kill();
    world.relay.run();
    let after = api.post_with("/v1/messages", &key, &draft(TO, "one"));
    assert_eq!((after.status, after.json(), after.header("idempotency-replayed")), (202, first.json(), "true"));
    // Another user's key, and the key of a refused request, do not count.
    let bad = api.post_with("/v1/messages", &[("Idempotency-Key", "bad")], &draft("nobody", "x"));
    let mended = api.post_with("/v1/messages", &[("Idempotency-Key", "bad")], &draft(TO, "x"));
    assert_eq!((bad.status, mended.status), (422, 202));
    world.relay.log().wait_for_many("accepted", TO, 2);
    assert_eq!(world.relay.log().of("accepted", TO).len(), 2);
}

#[test]
fn who_comes_back_with_his_key_after_any_crash_has_sent_once() {
    const MESSAGES: usize = 400;
    const KILLS: usize = 8;
    let (mut world, api) = start("");
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ids = std::sync::Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= MESSAGES {
                        return;
                    }
                    let (key, body) = (format!("k{n}"), draft(&format!("r{n}@example.test"), "x").to_string());
                    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
                    // As an application would: repeat the request until there is an answer.
                    let id = wait::until("an answer", || {
                        let reply = api.try_call("POST", "/v1/messages", &headers, body.as_bytes()).ok().filter(|r| r.status == 202)?;
                        Some(reply.json()["id"].as_str().unwrap().to_owned())
                    });
                    ids.lock().unwrap().insert(n, id);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for kill in 1..=KILLS {
            wait::until("some messages", || (done.load(Ordering::Relaxed) >= kill * MESSAGES / (KILLS + 1)).then_some(()));
            world.relay.kill();
            world.relay.run();
        }
    });
    let accepted = world.relay.log().wait_for_many("accepted", "", MESSAGES);
    wait::until("all to be delivered", || (world.relay.log().of("delivered", "").len() >= MESSAGES).then_some(()));
    assert_eq!((accepted.len(), world.relay.log().of("accepted", "").len()), (MESSAGES, MESSAGES), "one message for each key");
    for (n, id) in ids.lock().unwrap().iter() {
        let event = accepted.iter().find(|e| e["rcpt"] == format!("r{n}@example.test")).unwrap();
        assert_eq!(event["message"], *id);
    }
}

#[test]
fn a_wrong_recipient_is_told_in_a_sentence() {
    let (_world, api) = start("");
    for (to, said) in [
        (json!(7), "/to: give a mailbox, such as \"Ann <ann@example.org>\", or a list of mailboxes (line 1, column "),
        (
            json!("a@example.test, b@example.test"),
            "/to: these are several mailboxes in one text: give a list, such as [\"ann@example.org\", ",
        ),
        (json!("Ann <a@example.test>; b@example.test"), "/to: these are several mailboxes in one text"),
    ] {
        let answer = api.post("/v1/messages", &json!({"from": FROM, "to": to, "subject": "x", "text": "Hello.\n"}));
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 422 && detail.contains(said), "{to}: {detail}");
    }
}

#[test]
fn each_message_of_a_batch_has_an_answer_of_its_own() {
    let (world, api) = start("http.batch = 150");
    let mut messages: Vec<Value> = (0..100).map(|n| draft(&format!("r{n}@example.test"), "x")).collect();
    messages[7]["to"] = json!("nobody");
    messages[50] = json!({"from": FROM, "to": TO, "colour": "blue"});
    let key = [("Idempotency-Key", "batch")];
    let headers = [("Content-Type", "application/json"), key[0]];
    let batch = || api.call("POST", "/v1/messages/batch", &headers, json!({"messages": messages}).to_string().as_bytes());
    let reply = batch();
    let answer = reply.json();
    assert_eq!((reply.status, &answer["accepted"], &answer["refused"]), (200, &json!(98), &json!(2)));
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[7]["status"], &results[7]["problem"]["errors"][0]["field"]), (&json!(422), &json!("/to")));
    assert!(results[50]["problem"]["detail"].as_str().unwrap().contains("colour"), "{}", results[50]);
    let ids: HashSet<_> = results.iter().filter_map(|r| r["id"].as_str()).collect();
    assert_eq!(ids.len(), 98);
    assert_eq!(batch().json(), answer);
    assert_eq!(world.relay.log().wait_for("accepted", "r99@example.test")["message"], results[99]["id"]);
    wait::until("all to be delivered", || (world.relay.log().of("delivered", "").len() == 98).then_some(()));
    assert_eq!(world.relay.log().of("rejected", "").len(), 2);
    let many: Vec<_> = (0..151).map(|_| draft(TO, "x")).collect();
    assert_eq!(api.post("/v1/messages/batch", &json!({"messages": many})).status, 413);
}

#[test]
fn a_refusal_has_smtps_words_and_an_event() {
    let (world, api) = start("limits.recipients = 100");
    let said = |reply: support::http::Reply| {
        let problem = reply.json();
        (reply.status, problem["reason"].as_str().unwrap().to_owned(), problem["smtp_code"].as_u64(), problem["smtp_enhanced"].clone())
    };
    let many: Vec<String> = (0..101).map(|n| format!("r{n}@example.test")).collect();
    let refused = [
        (json!({"from": FROM, "to": "a b@example.test"}), 422, "bad_address", 501, "5.1.3"),
        (json!({"from": FROM, "to": many}), 422, "too_many_recipients", 550, "5.5.3"),
        (json!({"from": FROM}), 422, "no_recipients", 554, "5.5.1"),
        (json!({"from": FROM, "to": TO, "stream": "nowhere"}), 422, "no_such_stream", 550, "5.6.0"),
    ];
    for (draft, status, reason, code, enhanced) in &refused {
        assert_eq!(said(api.post("/v1/messages", draft)), (*status, (*reason).to_owned(), Some(*code), json!(enhanced)), "{draft}");
    }
    let stranger = Api::new(api_port(&world), "wrong");
    assert_eq!(said(stranger.post("/v1/messages", &draft(TO, "x"))), (401, "bad_token".into(), Some(535), json!("5.7.8")));
    let events = world.relay.log().wait_for_many("rejected", "", refused.len() + 1);
    let told: Vec<_> = events.iter().map(|e| (e["reason"].as_str().unwrap(), e["smtp_code"].as_u64().unwrap())).collect();
    assert_eq!(
        told,
        [("bad_address", 501), ("too_many_recipients", 550), ("no_recipients", 554), ("no_such_stream", 550), ("bad_token", 535)]
    );
    assert!(events.iter().all(|e| e["command"] == "http" && e["client_ip"] == "127.0.0.1"));
    assert_eq!((&events[0]["from"], &events[0]["rcpt"], &events[3]["from"]), (&json!(FROM), &json!("a b@example.test"), &json!(FROM)));
    assert_eq!(world.relay.log().of("accepted", "").len(), 0);
}

/// The port of the API, from the configuration.
#[test]
fn who_guesses_tokens_is_shut_out_of_both_doors() {
    let (world, api) = start("[bans]\nfailures = 3\ndelay = \"0s\"\nexempt = []");
    let stranger = Api::new(api_port(&world), "wrong");
    let reason = |reply: support::http::Reply| (reply.status, reply.json()["reason"].as_str().unwrap().to_owned());
    for path in ["/v1/suppressions", "/v1/messages/01M8749TX55657FDG446ANKAQG", "/v1/suppressions"] {
        assert_eq!(reason(stranger.get(path)), (401, "bad_token".into()));
    }
    let detail = world.relay.log().wait_for_relay("banned")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("127.0.0.1 is shut out"), "{detail}");
    for _ in 0..5 {
        let refused = api.post("/v1/messages", &draft(TO, "x"));
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(reason(refused), (429, "banned".into()), "though this token is right");
    }
    let (_, refused) = support::Client::connect(world.relay.port()).unwrap();
    assert_eq!(refused.code, 421);
    let told = world.relay.log().wait_for_many("rejected", "", 3);
    assert_eq!(told.len(), 3, "of five the first, the second and the fourth");
    assert!(told.iter().all(|event| event["reason"] == "banned"), "{told:?}");
}

#[test]
fn who_gives_no_token_is_told_so_and_not_shut_out() {
    let (world, api) = start("[bans]\nfailures = 2\ndelay = \"0s\"\nexempt = []");
    for _ in 0..4 {
        assert_eq!(Api::new(api_port(&world), "").get("/v1/suppressions").status, 401);
    }
    assert_eq!(api.get("/v1/suppressions").status, 200);
}

fn api_port(world: &World) -> u16 {
    let config: toml::Table = std::fs::read_to_string(world.relay.config_path()).unwrap().parse().unwrap();
    config["http"]["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_user_may_what_it_may_by_smtp_and_no_more() {
    let (world, _) = start("user.shop.senders = [\"sender.test\"]\nuser.shop.recipients = 2\nuser.shop.daily_quota = 3");
    let port = api_port(&world);
    world.relay.change_config(&support::http::config(port, &[("shop", "shop", &["send"])]));
    world.relay.ok(["reload"]);
    let api = Api::new(port, "shop");
    let said = |draft: Value| {
        let reply = api.post("/v1/messages", &draft);
        (reply.status, reply.json()["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(said(json!({"from": "x@other.test", "to": TO})), (403, "sender_not_allowed".into()));
    assert_eq!(said(json!({"from": "x@other.test", "return_path": FROM, "to": TO})), (403, "sender_not_allowed".into()), "From counts too");
    assert_eq!(said(json!({"from": FROM, "to": [TO, "b@example.test", "c@example.test"]})), (422, "too_many_recipients".into()));
    assert_eq!(said(json!({"from": FROM, "to": [TO, "b@example.test"]})).0, 202);
    assert_eq!(said(json!({"from": FROM, "to": [TO, "b@example.test"]})), (429, "user_quota".into()));
    assert_eq!(world.relay.log().wait_for("accepted", TO)["user"], "shop");
    assert!(world.relay.log().wait_for_many("rejected", "", 4).iter().all(|e| e["user"] == "shop" && e["command"] == "http"));
}

#[test]
fn a_message_tells_its_story_until_it_ends() {
    let (world, api) = start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("later") => Act::Say("451 4.2.0 come back later".into()),
        Step::Rcpt(rcpt) if rcpt.starts_with("gone") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    let id = api.mail(&json!({"from": FROM, "to": [TO, "later@example.test", "gone@example.test"], "subject": "s", "tags": ["t"]}));
    let path = format!("/v1/messages/{id}");
    world.relay.log().wait_for("deferred", "later@example.test");
    world.relay.log().wait_for("bounced", "gone@example.test");
    world.relay.log().wait_for("delivered", TO);
    let story = api.get(&path).json();
    let of = |story: &Value, n: usize, key: &str| story["recipients"][n][key].clone();
    assert_eq!((&story["id"], &story["from"], &story["tags"], &story["ended"]), (&json!(id), &json!(FROM), &json!(["t"]), &json!(false)));
    let states: Vec<_> = (0..3).map(|n| (of(&story, n, "address"), of(&story, n, "state"), of(&story, n, "attempts"))).collect();
    assert_eq!(states[0], (json!(TO), json!("delivered"), json!(1)));
    assert_eq!(states[1], (json!("later@example.test"), json!("deferred"), json!(1)));
    assert_eq!(states[2], (json!("gone@example.test"), json!("bounced"), json!(1)));
    assert_eq!(of(&story, 1, "next_attempt"), story["recipients"][1]["events"][1]["retry_at"], "{story:#}");
    assert_eq!(story["accepted"].as_str().map(str::len), Some("2026-01-01T00:00:00.000Z".len()), "{story:#}");
    assert_eq!(story["recipients"][2]["events"][1]["smtp_text"], "5.1.1 no such user");
    world.relay.ok(["queue", "hold", &id]);
    assert_eq!(of(&api.get(&path).json(), 1, "state"), "held");
    world.relay.ok(["queue", "drop", &id, "--reason", "not needed"]);
    let ended = wait::until("the end", || Some(api.get(&path).json()).filter(|s| s["ended"] == true));
    assert_eq!(of(&ended, 1, "state"), "cancelled");
    for none in ["01K6Z5D0V4QK9M2T8YJ3N7RXCE", "nothing", "%ff"] {
        assert_eq!(api.get(&format!("/v1/messages/{none}")).status, 404);
    }
}

#[test]
fn the_suppression_list_is_the_same_list() {
    let (mut world, api) = start("");
    let one = format!("/v1/suppressions/{TO}");
    assert_eq!(api.get(&one).status, 404);
    let put = api.call("PUT", &one, &[("Content-Type", "application/json")], br#"{"reason": "complaint", "text": "by phone"}"#);
    assert_eq!((put.status, &put.json()["scope"], &put.json()["by"]), (200, &json!("global"), &json!("all")));
    assert!(world.relay.ok(["suppress", "list", TO]).contains("complaint"));
    api.mail(&draft(TO, "x"));
    assert_eq!(world.relay.log().wait_for("suppressed", TO)["reason"], "complaint");
    world.relay.kill();
    world.relay.run();
    assert_eq!(api.get(&one).json()["suppressions"][0]["text"], "by phone");
    let csv = "email,reason,scope\r\na@x.test,manual,\r\nb@x.test,unsubscribe,stream:news\r\nno address,manual,\r\n";
    let imported = api.call("POST", "/v1/suppressions/import?scope=stream:default", &[("Content-Type", "text/csv")], csv.as_bytes()).json();
    assert_eq!((&imported["added"], &imported["bad"], &imported["bad_lines"][0]["line"]), (&json!(2), &json!(1), &json!(4)));
    let lines = r#"{"address": "c@x.test"}"#;
    let imported = api.call("POST", "/v1/suppressions/import", &[("Content-Type", "application/x-ndjson")], lines.as_bytes()).json();
    assert_eq!(imported["added"], 1);
    let addresses = |path: &str| {
        let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = api.get(&format!("{path}{cursor}")).json();
            all.extend(page["suppressions"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap().to_owned()));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        all.sort();
        (all, pages)
    };
    let (all, pages) = addresses("/v1/suppressions?limit=1");
    assert_eq!(all, ["a@x.test", "b@x.test", "c@x.test", TO]);
    assert!(pages >= 4, "{pages}");
    assert_eq!(addresses("/v1/suppressions?scope=stream:default").0, ["a@x.test"]);
    assert_eq!(addresses("/v1/suppressions?reason=unsubscribe").0, ["b@x.test"]);
    assert_eq!(addresses("/v1/suppressions?domain=x.test").0.len(), 3);
    let exported = api.get("/v1/suppressions/export?format=jsonl&domain=x.test").text();
    assert_eq!(exported.lines().count(), 3);
    assert!(api.get("/v1/suppressions/export").text().starts_with("address,scope,reason,"));
    assert_eq!(api.call("DELETE", "/v1/suppressions/b@x.test?scope=global", &[], b"").status, 404);
    for gone in [TO, "a@x.test", "b@x.test", "c@x.test"] {
        assert_eq!(api.call("DELETE", &format!("/v1/suppressions/{gone}"), &[], b"").status, 204);
    }
    api.mail(&draft(TO, "x"));
    world.relay.log().wait_for("delivered", TO);
    assert!(!world.relay.cli(["suppress", "list"]).status.success(), "the list is empty");
}

#[test]
fn a_client_gets_no_more_than_its_limits() {
    let (world, api) = start(
        "http.header_timeout = \"1s\"\nhttp.max_connections_per_ip = 3\nhttp.requests_per_connection = 2\nhttp.body_size = \"64 KiB\"",
    );
    let port = api_port(&world);
    // Two requests, and no third.
    let mut connection = Connection::open(port).unwrap();
    for close in ["", "close"] {
        connection.send(api.head("GET", "/healthz", &[], 0).as_bytes()).unwrap();
        let reply = connection.hear().unwrap();
        assert_eq!((reply.status, reply.header("connection")), (200, close));
    }
    assert!(connection.is_over());
    // A body that is declared too long, and one that is too long.
    assert_eq!(api.call("POST", "/v1/messages", &[("Content-Type", "application/json")], &vec![b' '; 65_537]).status, 413);
    // A head that arrives too slowly, one that never ends, and one that is too large.
    let mut slow = Connection::open(port).unwrap();
    slow.send(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    assert!(slow.is_over());
    let mut large = Connection::open(port).unwrap();
    let _ = large.send(format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes());
    assert!(large.hear().is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock) || large.is_over());
    // One connection too many.
    let turned_away = wait::until("the fourth to be turned away", || {
        let _held: Vec<_> = (0..3).map(|_| Connection::open(port).unwrap()).collect();
        Connection::open(port).ok()?.hear().ok().filter(|reply| reply.status == 503)
    });
    assert_eq!(turned_away.header("retry-after"), "5");
    wait::until("room again", || api.try_call("GET", "/healthz", &[], b"").ok().filter(|r| r.status == 200));
}

#[test]
fn a_request_under_way_is_answered_before_the_relay_stops() {
    let (mut world, api) = start("");
    let body = draft(TO, "last").to_string();
    let mut connection = Connection::open(api_port(&world)).unwrap();
    let head = api.head("POST", "/v1/messages", &[("Content-Type", "application/json"), ("Expect", "100-continue")], body.len());
    connection.send(head.as_bytes()).unwrap();
    assert_eq!(connection.hear().unwrap().status, 100, "the relay waits for the body");
    world.relay.signal(rustix::process::Signal::TERM);
    world.relay.log().wait_for_relay("stopping");
    wait::until("the door to close", || Connection::open(api_port(&world)).err());
    connection.send(body.as_bytes()).unwrap();
    let reply = connection.hear().unwrap();
    assert_eq!((reply.status, reply.header("connection")), (202, "close"), "{}", reply.text());
    assert!(world.relay.wait().success());
    assert_eq!(world.relay.log().of("accepted", TO).len(), 1);
}

#[test]
fn a_token_comes_and_goes_by_a_reload() {
    let (world, api) = start("");
    let new = Api::new(api_port(&world), "new-token");
    assert_eq!(new.post("/v1/messages", &draft(TO, "x")).status, 401);
    world.relay.change_config(&support::http::config(api_port(&world), &[("all", "other", &["send"]), ("new", "new-token", &["send"])]));
    world.relay.ok(["reload"]);
    assert_eq!(new.post("/v1/messages", &draft(TO, "x")).status, 202);
    assert_eq!(api.post("/v1/messages", &draft(TO, "x")).status, 401);
    assert_eq!(new.get("/v1/suppressions").status, 403);
}

#[test]
fn without_an_address_there_is_no_api() {
    let relay = Relay::start("");
    relay.log().wait_for_relay("started");
    let listening = std::fs::read_to_string(format!("/proc/{}/net/tcp", relay.pid())).unwrap();
    let own = format!("{:04X}", relay.port());
    assert!(listening.contains(&own), "{listening}");
    let sockets =
        std::fs::read_dir(format!("/proc/{}/fd", relay.pid())).unwrap().flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let inodes: HashSet<String> =
        sockets.filter_map(|s| s.to_string_lossy().strip_prefix("socket:[").map(|s| s.trim_end_matches(']').to_owned())).collect();
    // The sockets in state 0A (LISTEN) of this process: only the SMTP listener.
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let open =
        listening.lines().map(fields).filter(|f| f.get(3).is_some_and(|s| s == "0A") && f.get(9).is_some_and(|i| inodes.contains(i)));
    assert_eq!(open.map(|f| f[1].rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>(), [own]);
}
