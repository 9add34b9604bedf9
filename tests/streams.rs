//! Streams: which mail is in which stream, and how they differ.

use support::{Act, Client, Mail, Relay, Step, World, relay::free_port};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

fn with_header(header: &str, rcpt: &str) -> Mail {
    Mail::raw(FROM, &[rcpt], format!("{header}From: <{FROM}>\r\nSubject: x\r\n\r\nHello.\r\n").as_bytes())
}

#[test]
fn a_header_field_names_stream_and_tags_and_does_not_leave_the_house() {
    let world = World::start("stream.letters = {}");
    world.relay.send(&with_header("X-Posthaste-Stream: letters\r\nX-Posthaste-Tag: may\r\nX-Posthaste-Tag: shop 7\r\n", TO));
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!((&event["stream"], &event["tags"]), (&"letters".into(), &serde_json::json!(["may", "shop 7"])));
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(!got.to_ascii_lowercase().contains("x-posthaste"), "{got}");
}

#[test]
fn facts_of_the_application_stand_in_every_event_and_do_not_leave_the_house() {
    let world = World::start("");
    world.relay.send(&with_header("X-Posthaste-Meta-Order: 4711\r\nX-Posthaste-Meta-Shop: \u{fc}ber 7\r\n", TO));
    for event in ["accepted", "delivered"] {
        assert_eq!(world.relay.log().wait_for(event, TO)["meta"], serde_json::json!(["order=4711", "shop=\u{fc}ber 7"]));
    }
    assert!(world.relay.ok(["trace", TO]).contains("order=4711"));
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(!got.to_ascii_lowercase().contains("x-posthaste"), "{got}");
}

#[test]
fn a_header_field_says_when_it_is_to_be_sent() {
    let world = World::start("limits.future_release = \"1h\"");
    world.relay.send(&with_header("", "now@example.test"));
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let now = time(&world.relay.log().wait_for("accepted", "now@example.test")["time"]);
    let at = |seconds| now + jiff::SignedDuration::from_secs(seconds);
    world.relay.send(&with_header(&format!("X-Posthaste-Send-At: {}\r\n", at(2)), TO));
    let (held, delivered) = (world.relay.log().wait_for("held", TO), world.relay.log().wait_for("delivered", TO));
    assert_eq!(held["reason"], "scheduled");
    assert!(time(&delivered["time"]) >= at(2), "{held} {delivered}");
    let answer = world.relay.submit(&with_header(&format!("X-Posthaste-Send-At: {}\r\n", at(4_000)), TO));
    assert!(answer.code == 554 && answer.text().contains("until"), "{answer:?}");
    assert_eq!(world.relay.log().wait_for("rejected", "")["reason"], "bad_send_at");
}

#[test]
fn who_is_nobody_is_told_so() {
    let world = World::start("");
    for header in ["From: <>\r\n", "From: <a@sender.test>\r\nFrom: <b@sender.test>\r\n"] {
        let answer = world.relay.submit(&Mail::raw(FROM, &[TO], format!("{header}Subject: x\r\n\r\nHello.\r\n").as_bytes()));
        assert!(answer.code == 554 && answer.text().contains("From field"), "{answer:?}");
    }
    let rejected = world.relay.log().wait_for_many("rejected", "", 2);
    assert_eq!([&rejected[0]["reason"], &rejected[1]["reason"]], ["null_from", "many_froms"]);
    world.relay.send(&Mail::raw(FROM, &[TO], b"Subject: x\r\n\r\nHello.\r\n"));
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(got.contains(&format!("\r\nFrom: <{FROM}>\r\n")), "{got}");
}

#[test]
fn a_stream_that_nobody_knows_is_refused() {
    let relay = Relay::start("");
    let answer = relay.submit(&with_header("X-Posthaste-Stream: leters\r\n", TO));
    assert_eq!(answer.code, 550);
    assert!(answer.text().contains("leters"), "{answer:?}");
    assert_eq!(relay.log().wait_for("rejected", "")["reason"], "no_such_stream");
}

#[test]
fn a_listener_has_its_stream_and_its_clients() {
    let port = free_port();
    let world = World::start(&format!(
        r#"
        stream.receipts = {{}}
        listen.second = {{ address = "127.0.0.1:{port}", stream = "receipts", banner = "ESMTP second" }}
        "#
    ));
    let (mut client, greeting) = Client::connect(port).unwrap();
    assert!(greeting.text().ends_with("ESMTP second"), "{greeting:?}");
    client.say("EHLO client.test").unwrap();
    assert_eq!(client.submit(&Mail::new(FROM, &[TO], "one")).unwrap().code, 250);
    assert_eq!(world.relay.log().wait_for("delivered", TO)["stream"], "receipts");
    world.relay.send(&Mail::new(FROM, &["second@example.test"], "two"));
    assert_eq!(world.relay.log().wait_for("delivered", "second@example.test")["stream"], "default");
}

#[test]
fn streams_have_schedules_and_ages_of_their_own() {
    let world = World::start("retry.schedule = [\"1h\"]\nstream.codes = { schedule = [\"1s\"], expire = \"2s\" }");
    world.mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("451 4.3.0 later".into()) } else { Act::Usual });
    world.relay.send(&Mail::new("", &["slow@example.test"], "one"));
    let mut code = with_header("X-Posthaste-Stream: codes\r\n", TO);
    code.from = String::new();
    world.relay.send(&code);
    world.relay.log().wait_for("expired", TO);
    assert_eq!(world.relay.log().history("slow@example.test"), ["accepted", "deferred"]);
}

#[test]
fn a_streams_mail_leaves_from_its_pool() {
    let world = World::start(
        r#"
        source.one = { address = "127.0.0.1" }
        source.two = { address = "127.0.0.2" }
        pool.default.sources = ["one"]
        pool.apart.sources = ["two"]
        stream.letters.pool = "apart"
        "#,
    );
    world.relay.send(&with_header("X-Posthaste-Stream: letters\r\n", TO));
    world.relay.send(&Mail::new(FROM, &["second@example.test"], "two"));
    let log = world.relay.log();
    assert_eq!(log.wait_for("delivered", TO)["source_ip"], "127.0.0.2");
    assert_eq!(log.wait_for("delivered", "second@example.test")["source_ip"], "127.0.0.1");
}
