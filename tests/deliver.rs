//! The outcome of a message for each reply of the receiver.

use support::{Act, Gate, Mail, Step, World, wait};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// Refuses this recipient with this reply.
fn refuse(rcpt: &'static str, reply: &'static str) -> impl Fn(usize, Step<'_>) -> Act + Send + Sync {
    move |_, step| match step {
        Step::Rcpt(r) if r == rcpt => Act::Say(reply.into()),
        _ => Act::Usual,
    }
}

#[test]
fn recipients_of_one_provider_share_a_transaction_and_each_has_its_own_reply() {
    let world = World::start("");
    world.mx.script(|_, step| match step {
        Step::Rcpt("gone@example.test") => Act::Say("550 5.1.1 no such user".into()),
        Step::Rcpt("full@example.test") => Act::Say("452-4.2.2 mailbox\r\n452 4.2.2 full".into()),
        _ => Act::Usual,
    });
    world.dns.mx("cousin.test", 10, "mx1.example.test");
    let to = [TO, "gone@example.test", "full@example.test", "second@example.test"];
    world.relay.send(&Mail::new("", &to, "one"));
    let log = world.relay.log();
    let (delivered, bounced, deferred) = (log.wait_for("delivered", TO), log.wait_for("bounced", to[1]), log.wait_for("deferred", to[2]));
    log.wait_for("delivered", to[3]);
    let got = world.mx.messages();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].rcpts, [TO, "second@example.test"]);
    assert_eq!((&bounced["smtp_code"], &bounced["smtp_text"]), (&550.into(), &"5.1.1 no such user".into()));
    assert_eq!((&bounced["class"], &bounced["smtp_stage"]), (&"invalid_recipient".into(), &"rcpt".into()));
    assert_eq!((&deferred["smtp_text"], &deferred["class"]), (&"4.2.2 mailbox\n4.2.2 full".into(), &"mailbox_full".into()));
    assert_eq!((&delivered["smtp_text"], &delivered["smtp_stage"]), (&"2.0.0 taken".into(), &"dot".into()));
    assert_eq!(delivered["session"], bounced["session"]);
    world.mx.behave();
    log.wait_for("delivered", to[2]);
}

#[test]
fn what_is_refused_for_now_is_tried_again_by_the_schedule() {
    let world = World::start("retry.schedule = [\"2s\", \"1h\"]");
    world.mx.script(refuse(TO, "451 4.7.1 greylisted, come back later"));
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let log = world.relay.log();
    let deferred = log.wait_for("deferred", TO);
    world.mx.behave();
    let delivered = log.wait_for("delivered", TO);
    assert_eq!((&deferred["attempt"], &delivered["attempt"]), (&1.into(), &2.into()));
    assert_eq!(deferred["class"], "greylisting");
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let wait = time(&deferred["retry_at"]).duration_since(time(&deferred["time"]));
    assert_eq!(wait.as_secs(), 2);
    assert!(time(&delivered["time"]) >= time(&deferred["retry_at"]));
    assert_eq!(log.history(TO), ["accepted", "deferred", "delivered"]);
}

#[test]
fn mail_that_grows_too_old_expires_and_its_sender_is_told() {
    let world = World::start("retry.expire = \"2s\"");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.script(refuse(TO, "451 4.3.0 never ready"));
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let log = world.relay.log();
    let expired = log.wait_for("expired", TO);
    assert_eq!((&expired["smtp_code"], &expired["smtp_text"]), (&451.into(), &"4.3.0 never ready".into()));
    assert!(expired["age_ms"].as_u64().unwrap() >= 2000);
    let notice = world.mx.wait_for(1).remove(0);
    assert_eq!((notice.from.as_str(), notice.rcpts.as_slice()), ("", &[FROM.to_owned()][..]));
    let text = String::from_utf8(notice.data).unwrap();
    assert!(text.contains("\r\nAction: failed\r\nStatus: 4.3.0\r\n"), "{text}");
}

#[test]
fn every_stage_may_refuse_and_the_log_says_which() {
    type Is = fn(Step<'_>) -> bool;
    let stages: [(&str, Is); 5] = [
        ("ehlo", |s| matches!(s, Step::Ehlo(_))),
        ("mail", |s| matches!(s, Step::Mail(_))),
        ("rcpt", |s| matches!(s, Step::Rcpt(_))),
        ("data", |s| matches!(s, Step::Data)),
        ("dot", |s| matches!(s, Step::Dot(_))),
    ];
    let world = World::start("delivery.idle = \"0s\"");
    for (stage, at) in stages {
        world.mx.script(move |_, step| if at(step) { Act::Say("451 4.3.0 not now".into()) } else { Act::Usual });
        let rcpt = format!("{stage}@example.test");
        world.relay.send(&Mail::new(FROM, &[&rcpt], stage));
        let event = world.relay.log().wait_for("deferred", &rcpt);
        assert_eq!((&event["smtp_stage"], &event["smtp_code"]), (&stage.into(), &451.into()));
        world.mx.behave();
        world.relay.log().wait_for("delivered", &rcpt);
    }
}

#[test]
fn many_recipients_are_cut_into_transactions_of_a_hundred() {
    let world = World::start("");
    let to: Vec<String> = (0..250).map(|i| format!("r{i}@example.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.relay.send(&Mail::new(FROM, &to, "one"));
    let got = world.mx.wait_for(3);
    let mut sizes: Vec<_> = got.iter().map(|t| t.rcpts.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    world.relay.log().wait_for_many("delivered", "", 250);
}

#[test]
fn a_message_larger_than_the_receiver_takes_is_not_offered() {
    let world = World::start("");
    world.mx.extensions(&["PIPELINING", "SIZE 1000"]);
    let text = [&b"From: a@b.c\r\n\r\n"[..], &b"0123456789\r\n".repeat(100)].concat();
    world.relay.send(&Mail::raw("", &[TO], &text));
    let event = world.relay.log().wait_for("bounced", TO);
    assert_eq!((&event["class"], &event["smtp_code"]), (&"message_too_large".into(), &552.into()));
    assert!(!world.mx.commands().iter().any(|c| c.starts_with("MAIL")));
}

#[test]
fn the_queue_waits_for_what_is_in_the_air() {
    let world = World::start("");
    let (arrived, gate) = (Gate::new(), Gate::new());
    let (tell, held) = (arrived.clone(), gate.clone());
    world.mx.script(move |_, step| match step {
        Step::Dot(_) => {
            tell.open();
            Act::Wait(held.clone())
        }
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    assert!(arrived.wait(wait::PATIENCE));
    let queue: serde_json::Value = serde_json::from_str(&world.relay.ok(["queue", "--json"])).unwrap();
    assert_eq!((&queue["counts"]["in_flight"], &queue["counts"]["messages"]), (&1.into(), &1.into()));
    gate.open();
    world.relay.log().wait_for("delivered", TO);
}

#[test]
fn recipients_deferred_together_are_tried_again_together_and_when_the_log_says() {
    let world = World::start("retry.schedule = [\"2s\"]\nretry.jitter = 0.5");
    let to: Vec<String> = (0..8).map(|i| format!("r{i}@example.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.mx.script(|session, step| match step {
        Step::Dot(_) if session == 1 => Act::SayAndClose("451 4.3.0 later".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &to, "one"));
    world.relay.log().wait_for_many("delivered", "", to.len());
    assert_eq!(world.mx.messages().len(), 1);
    let delivered = world.relay.log().of("delivered", "").swap_remove(0)["time"].as_str().unwrap().to_owned();
    for event in world.relay.log().of("deferred", "") {
        assert!(event["retry_at"].as_str().unwrap() <= delivered.as_str(), "{event} was tried again before, at {delivered}");
    }
}

#[test]
fn a_message_to_a_thousand_recipients_at_a_hundred_domains_has_a_thousand_ends() {
    let world = World::start("");
    let to: Vec<String> = (0..1000).map(|i| format!("r{i}@d{}.test", i % 100)).collect();
    for domain in 0..100 {
        world.dns.mx(&format!("d{domain}.test"), 10, &format!("mx.d{domain}.test")).a(&format!("mx.d{domain}.test"), "127.0.0.1");
    }
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.relay.send(&Mail::new(FROM, &to, "one"));
    let delivered = world.relay.log().wait_for_many("delivered", "", 1000);
    assert_eq!(delivered.len(), 1000);
    let got = world.mx.messages();
    assert_eq!(got.iter().map(|t| t.rcpts.len()).sum::<usize>(), 1000);
}
