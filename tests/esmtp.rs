//! ESMTP parameters of clients, and their effect in the queue and at the receiver.

use support::{Client, World};

const TO: &str = "reader@example.test";

/// Submits a small message with these parameters; every command is accepted.
fn submit(world: &World, mail: &str, rcpts: &[&str], data: &str) {
    let mut client = Client::hello(world.relay.port()).unwrap();
    let mut say = |line: &str, code| {
        let answer = client.say(line).unwrap();
        assert_eq!(answer.code, code, "{line}: {answer:?}");
    };
    say(mail, 250);
    rcpts.iter().for_each(|rcpt| say(rcpt, 250));
    say("DATA", 354);
    say(&format!("From: <writer@sender.test>\r\n{data}\r\n."), 250);
}

/// The commands with this beginning that the receiver got.
fn heard(world: &World, start: &str) -> Vec<String> {
    world.mx.commands().into_iter().filter(|command| command.starts_with(start)).collect()
}

#[test]
fn dsn_goes_on_where_it_is_understood_and_the_receiver_gives_the_notices() {
    let world = World::start("");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.extensions(&["PIPELINING", "DSN"]);
    let rcpt = format!("RCPT TO:<{TO}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old+2Bx@example.test");
    submit(&world, "MAIL FROM:<writer@sender.test> RET=HDRS ENVID=QQ+2B1", &[&rcpt], "Subject: one\r\n\r\nhi");
    world.relay.log().wait_for("delivered", TO);
    assert!(heard(&world, "MAIL")[0].contains(" RET=HDRS ENVID=QQ+2B1"), "{:?}", heard(&world, "MAIL"));
    assert_eq!(heard(&world, "RCPT"), [rcpt]);
}

#[test]
fn a_priority_is_granted_as_far_as_may_be_told_and_goes_on_where_it_is_understood() {
    let world = World::start("");
    world.mx.extensions(&["PIPELINING", "MT-PRIORITY"]);
    let mut client = Client::hello(world.relay.port()).unwrap();
    let answer = client.say("MAIL FROM:<writer@sender.test> MT-PRIORITY=4").unwrap();
    assert_eq!((answer.code, answer.lines[0].as_str()), (250, "2.3.6 0 is the new priority"), "whoever is no user may not step forward");
    client.say("RSET").unwrap();
    submit(&world, "MAIL FROM:<writer@sender.test> MT-PRIORITY=-4", &[&format!("RCPT TO:<{TO}>")], "Subject: one\r\n\r\nhi");
    let log = world.relay.log();
    assert_eq!(log.wait_for("accepted", TO)["priority"], -4);
    log.wait_for("delivered", TO);
    assert!(heard(&world, "MAIL")[0].contains(" MT-PRIORITY=-4"), "{:?}", heard(&world, "MAIL"));
    let high = "high@example.test";
    submit(&world, "MAIL FROM:<writer@sender.test>", &[&format!("RCPT TO:<{high}>")], "X-Posthaste-Priority: 9\r\n\r\nhi");
    assert!(log.wait_for("accepted", high)["priority"].is_null());
}

/// The notices that were sent to the sender.
fn notices(world: &World) -> Vec<String> {
    let notices = world.mx.messages().into_iter().filter(|message| message.from.is_empty());
    notices.map(|message| String::from_utf8(message.data).unwrap()).collect()
}

#[test]
fn a_time_to_deliver_by_counts_down_and_goes_on_where_it_is_understood() {
    let world = World::start("");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.extensions(&["PIPELINING", "DELIVERBY 20", "DSN"]);
    let rcpt = format!("RCPT TO:<{TO}>");
    submit(&world, "MAIL FROM:<writer@sender.test> BY=60;R", &[&rcpt], "Subject: one\r\n\r\nhi");
    let log = world.relay.log();
    log.wait_for("delivered", TO);
    let said = heard(&world, "MAIL")[0].clone();
    let left: i32 = said.split_once(" BY=").and_then(|(_, by)| by.strip_suffix(";R")).expect(&said).parse().unwrap();
    assert!((20..60).contains(&left), "{said}");
    submit(&world, "MAIL FROM:<writer@sender.test> BY=-30;NT", &["RCPT TO:<late@example.test>"], "Subject: two\r\n\r\nhi");
    log.wait_for("delivered", "late@example.test");
    log.wait_for("delivered", "writer@sender.test");
    let said = heard(&world, "MAIL")[1].clone();
    assert!(said.contains(" BY=-3") && said.ends_with(";NT"), "{said}");
    let notices = notices(&world);
    assert_eq!(notices.len(), 1, "the trace that was asked for");
    assert!(notices[0].contains("Final-Recipient: rfc822; late@example.test\r\nAction: relayed\r\nStatus: 2.0.0\r\n"), "{}", notices[0]);
    submit(&world, "MAIL FROM:<writer@sender.test> BY=15;R", &["RCPT TO:<short@example.test>"], "Subject: three\r\n\r\nhi");
    let bounced = log.wait_for("bounced", "short@example.test");
    assert!(bounced["smtp_text"].as_str().unwrap().contains("the receiver wants 20 s"), "{bounced}");
}

#[test]
fn where_nobody_looks_at_the_time_mail_to_be_returned_is_and_of_other_mail_the_sender_hears_so() {
    let world = World::start("");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    let (strict, lax, never) = ("strict@example.test", "lax@example.test", "never@example.test");
    submit(&world, "MAIL FROM:<writer@sender.test> BY=60;R", &[&format!("RCPT TO:<{strict}>")], "Subject: one\r\n\r\nhi");
    let log = world.relay.log();
    let bounced = log.wait_for("bounced", strict);
    assert!(bounced["smtp_text"].as_str().unwrap().starts_with("5.4.7 "), "{bounced}");
    assert_eq!(bounced["rule"], "enhanced.deliver-by", "{bounced}");
    assert_eq!((&bounced["class"], &bounced["action"]), (&"protocol_error".into(), &"none".into()), "the recipient is not to blame");
    log.wait_for("delivered", "writer@sender.test");
    let rcpts = [format!("RCPT TO:<{lax}>"), format!("RCPT TO:<{never}> NOTIFY=NEVER")];
    submit(&world, "MAIL FROM:<writer@sender.test> BY=60;N", &[&rcpts[0], &rcpts[1]], "Subject: two\r\n\r\nhi");
    log.wait_for_many("delivered", "writer@sender.test", 2);
    let notices = notices(&world);
    assert_eq!(notices.len(), 2);
    assert!(notices[0].contains("Action: failed\r\nStatus: 5.4.7\r\n") && notices[0].contains("\r\nDeliver-By-Date: "), "{}", notices[0]);
    assert!(notices[1].contains(&format!("{lax}\r\nAction: relayed\r\nStatus: 2.1.9\r\n")), "{}", notices[1]);
    assert!(!notices[1].contains(never), "{}", notices[1]);
    assert!(!heard(&world, "MAIL").iter().any(|said| said.contains(" BY=")));
}

#[test]
fn at_its_time_mail_that_cannot_be_delivered_comes_back_or_its_sender_hears_that_it_is_late() {
    let world = World::start("retry.schedule = [\"1h\"]");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.extensions(&["PIPELINING", "DELIVERBY"]);
    world.mx.script(|_, step| match step {
        support::Step::Rcpt(rcpt) if rcpt.ends_with("example.test") => support::Act::Say("451 4.7.1 come back later".into()),
        _ => support::Act::Usual,
    });
    let log = world.relay.log();
    submit(&world, "MAIL FROM:<writer@sender.test> BY=2;R", &[&format!("RCPT TO:<{TO}>")], "Subject: one\r\n\r\nhi");
    let expired = log.wait_for("expired", TO);
    assert_eq!((&expired["cause"], &expired["rule"]), (&"too_late".into(), &"deliver_by".into()), "{expired}");
    log.wait_for("delivered", "writer@sender.test");
    let late = ["RCPT TO:<late@example.test>", "RCPT TO:<quiet@example.test> NOTIFY=FAILURE"];
    submit(&world, "MAIL FROM:<writer@sender.test> BY=1;N", &late, "Subject: two\r\n\r\nhi");
    log.wait_for_many("delivered", "writer@sender.test", 2);
    let notices = notices(&world);
    assert_eq!(notices.len(), 2);
    assert!(notices[0].contains(&format!("{TO}\r\nAction: failed\r\nStatus: 5.4.7\r\n")), "{}", notices[0]);
    assert!(notices[1].contains("late@example.test\r\nAction: delayed\r\nStatus: 4.4.7\r\n"), "{}", notices[1]);
    assert!(notices[1].contains("\r\nDeliver-By-Date: ") && !notices[1].contains("quiet@"), "{}", notices[1]);
    assert_eq!(log.history("late@example.test"), ["accepted", "deferred"], "it is tried on");
}

#[test]
fn a_time_to_deliver_by_outlives_kills_and_restarts() {
    let mut world = World::start("retry.schedule = [\"1h\"]");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.extensions(&["PIPELINING", "DELIVERBY"]);
    world.mx.script(|_, step| match step {
        support::Step::Rcpt(rcpt) if rcpt.ends_with("example.test") => support::Act::Say("451 4.7.1 come back later".into()),
        _ => support::Act::Usual,
    });
    let (late, returned) = ("late@example.test", "returned@example.test");
    submit(&world, "MAIL FROM:<writer@sender.test> BY=1;N", &[&format!("RCPT TO:<{late}>")], "Subject: one\r\n\r\nhi");
    world.relay.log().wait_for("delivered", "writer@sender.test");
    assert!(world.relay.stop().success());
    world.relay.run();
    submit(&world, "MAIL FROM:<writer@sender.test> BY=2;R", &[&format!("RCPT TO:<{returned}>")], "Subject: two\r\n\r\nhi");
    world.relay.log().wait_for("deferred", returned);
    world.relay.kill();
    world.relay.run();
    let log = world.relay.log();
    assert_eq!(log.wait_for("expired", returned)["cause"], "too_late");
    log.wait_for_many("delivered", "writer@sender.test", 2);
    let of = |rcpt: &str| notices(&world).into_iter().filter(|notice| notice.contains(&format!("Final-Recipient: rfc822; {rcpt}"))).count();
    assert_eq!((of(late), of(returned)), (1, 1), "each is told once");
}

#[test]
fn what_is_held_back_for_longer_than_it_may_take_is_refused() {
    let world = World::start("");
    let mut client = Client::hello(world.relay.port()).unwrap();
    for (line, code) in [("MAIL FROM:<writer@sender.test> HOLDFOR=60 BY=60;N", 250), ("RCPT TO:<reader@example.test>", 250), ("DATA", 354)]
    {
        assert_eq!(client.say(line).unwrap().code, code);
    }
    let answer = client.say("From: <writer@sender.test>\r\n\r\nhi\r\n.").unwrap();
    assert!(answer.code == 554 && answer.lines[0].starts_with("5.5.4 the message is held back"), "{answer:?}");
}

#[test]
fn a_success_that_the_receiver_will_not_tell_is_told_as_relayed_and_never_is_never() {
    let world = World::start("");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.script(|_, step| match step {
        support::Step::Rcpt(rcpt) if rcpt.starts_with("gone") => support::Act::Say("550 5.1.1 no such user".into()),
        _ => support::Act::Usual,
    });
    let good = format!("RCPT TO:<{TO}> NOTIFY=SUCCESS ORCPT=rfc822;old@example.test");
    let rcpts = [&*good, "RCPT TO:<gone@example.test> NOTIFY=NEVER"];
    submit(&world, "MAIL FROM:<writer@sender.test> ENVID=E1", &rcpts, "Subject: one\r\n\r\nhi");
    world.relay.log().wait_for("bounced", "gone@example.test");
    world.relay.log().wait_for("delivered", "writer@sender.test");
    let notices: Vec<_> = world.mx.messages().into_iter().filter(|message| message.from.is_empty()).collect();
    assert_eq!(notices.len(), 1);
    let text = String::from_utf8(notices[0].data.clone()).unwrap();
    assert!(text.contains("Original-Envelope-Id: E1\r\n"), "{text}");
    let block =
        format!("Original-Recipient: rfc822; old@example.test\r\nFinal-Recipient: rfc822; {TO}\r\nAction: relayed\r\nStatus: 2.1.9\r\n");
    assert!(text.contains(&block) && !text.contains("gone@"), "{text}");
}

#[test]
fn a_failure_brings_back_the_whole_message_where_that_was_asked_for_and_its_header_else() {
    let world = World::start("notice.full_max = \"4 KiB\"");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.script(|_, step| match step {
        support::Step::Rcpt(rcpt) if rcpt.ends_with("example.test") => support::Act::Say("550 5.1.1 no such user".into()),
        _ => support::Act::Usual,
    });
    let long = "long ".repeat(1000);
    for (n, (ret, body, whole)) in
        [("RET=FULL", "the b\u{f6}dy", true), ("RET=HDRS", "the b\u{f6}dy", false), ("RET=FULL", &long, false)].into_iter().enumerate()
    {
        let mail = format!("MAIL FROM:<writer@sender.test> BODY=8BITMIME {ret}");
        // Another each time: after a bounce there is none to the same.
        submit(&world, &mail, &[&format!("RCPT TO:<reader{n}@example.test>")], &format!("Subject: one\r\n\r\n{body}"));
        let notices = || world.mx.messages().into_iter().filter(|message| message.from.is_empty());
        let notice = support::wait::until("a notice", || notices().nth(n));
        let text = String::from_utf8(notice.data).unwrap();
        assert_eq!(text.contains("Content-Type: message/rfc822\r\n"), whole, "{text}");
        assert_eq!(text.contains(body), whole, "{text}");
        assert!(text.contains("Subject: one\r\n"), "{text}");
    }
}

#[test]
fn who_asks_hears_once_that_a_message_takes_long() {
    let world = World::start("notice.delay = \"30m\"\nretry.schedule = [\"1h\"]");
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world.mx.script(|_, step| match step {
        support::Step::Rcpt(rcpt) if rcpt.ends_with("example.test") => support::Act::Say("451 4.7.1 come back later".into()),
        _ => support::Act::Usual,
    });
    let asks = format!("RCPT TO:<{TO}> NOTIFY=DELAY,FAILURE");
    submit(&world, "MAIL FROM:<writer@sender.test> RET=FULL", &[&asks, "RCPT TO:<quiet@example.test>"], "Subject: one\r\n\r\nthe body");
    world.relay.log().wait_for("delivered", "writer@sender.test");
    world.relay.log().wait_for("deferred", "quiet@example.test");
    let notices: Vec<_> = world.mx.messages().into_iter().filter(|message| message.from.is_empty()).collect();
    assert_eq!(notices.len(), 1);
    let text = String::from_utf8(notices[0].data.clone()).unwrap();
    assert!(text.contains(&format!("Final-Recipient: rfc822; {TO}\r\nAction: delayed\r\nStatus: 4.7.1\r\n")), "{text}");
    assert!(text.contains("\r\nWill-Retry-Until: ") && !text.contains("quiet@") && !text.contains("the body"), "{text}");
}

#[test]
fn utf8_addresses_need_a_receiver_that_takes_them_and_ascii_ones_beside_them_do_not() {
    let world = World::start("");
    let (mail, utf8) = ("MAIL FROM:<> SMTPUTF8", "RCPT TO:<δοκιμή@example.test>");
    submit(&world, mail, &[utf8, &format!("RCPT TO:<{TO}>")], "Subject: one\r\n\r\nhi");
    let log = world.relay.log();
    log.wait_for("delivered", TO);
    let bounced = log.wait_for("bounced", "δοκιμή@example.test");
    assert!(bounced["smtp_text"].as_str().unwrap().starts_with("5.6.7 "), "{bounced}");
    assert!(!heard(&world, "MAIL").iter().any(|command| command.contains("SMTPUTF8")), "nothing in UTF-8 was left to send");

    let able = World::start("");
    able.mx.extensions(&["8BITMIME", "SMTPUTF8"]);
    submit(&able, mail, &[utf8], "Subject: grüße\r\n\r\nhi");
    able.relay.log().wait_for("delivered", "δοκιμή@example.test");
    assert!(heard(&able, "MAIL")[0].contains(" SMTPUTF8"), "{:?}", heard(&able, "MAIL"));
}

#[test]
fn a_binary_message_that_is_lines_after_all_goes_by_data_and_one_that_is_not_comes_back() {
    let world = World::start("");
    let mut client = Client::hello(world.relay.port()).unwrap();
    for (rcpt, body) in [("lines@example.test", "From: a@b.c\r\n\r\nhi\r\n"), ("bytes@example.test", "From: a@b.c\r\n\r\na\n\0b\r")] {
        assert_eq!(client.say("MAIL FROM:<> BODY=BINARYMIME").unwrap().code, 250);
        assert_eq!(client.say(&format!("RCPT TO:<{rcpt}>")).unwrap().code, 250);
        client.send(format!("BDAT {} LAST\r\n{body}", body.len()).as_bytes()).unwrap();
        assert_eq!(client.answer().unwrap().code, 250);
    }
    world.relay.log().wait_for("delivered", "lines@example.test");
    let bounced = world.relay.log().wait_for("bounced", "bytes@example.test");
    assert!(bounced["smtp_text"].as_str().unwrap().starts_with("5.6.1 "), "{bounced}");
}

#[test]
fn mail_that_is_held_goes_out_at_its_time_and_not_before() {
    let world = World::start("");
    submit(&world, "MAIL FROM:<> HOLDFOR=2", &[&format!("RCPT TO:<{TO}>")], "Subject: later\r\n\r\nhi");
    let log = world.relay.log();
    let (held, delivered) = (log.wait_for("held", TO), log.wait_for("delivered", TO));
    assert_eq!(held["reason"], "scheduled");
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&delivered["time"]) >= time(&held["until"]), "{held} {delivered}");
    assert_eq!(delivered["hold_ms"], 2000, "of its age, its sender's");
    assert_eq!(log.history(TO), ["accepted", "held", "delivered"]);
}

#[test]
fn held_mail_is_still_held_after_a_crash() {
    let mut world = World::start("");
    submit(&world, "MAIL FROM:<> HOLDFOR=3600", &[&format!("RCPT TO:<{TO}>")], "Subject: later\r\n\r\nhi");
    world.relay.log().wait_for("held", TO);
    world.relay.kill();
    world.relay.run();
    submit(&world, "MAIL FROM:<>", &["RCPT TO:<now@example.test>"], "Subject: now\r\n\r\nhi");
    world.relay.log().wait_for("delivered", "now@example.test");
    assert_eq!(world.mx.messages().len(), 1, "the other one waits");
}
