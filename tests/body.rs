//! The receiver gets what the client sent, byte for byte, after the header lines that the relay added.

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Act, Mail, Step, World, wait};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";
/// A complete message: the relay adds only its Received field.
const HEADER: &str =
    "Date: Mon, 1 Jun 2026 10:00:00 +0200\r\nMessage-ID: <one@sender.test>\r\nFrom: <writer@sender.test>\r\nSubject: bytes\r\n\r\n";

/// Sends each body through one relay and compares.
fn arrive(extra: &str, bodies: &[(&str, Vec<u8>)]) {
    let world = World::start(extra);
    for (count, (what, body)) in bodies.iter().enumerate() {
        let sent = [HEADER.as_bytes(), body].concat();
        world.relay.send(&Mail::raw(FROM, &[TO], &sent));
        let got = world.mx.wait_for(count + 1).remove(count).data;
        let added = got.len().checked_sub(sent.len()).unwrap_or_else(|| panic!("{what}: shorter than it was"));
        // Not assert_eq!: some are 25 MB.
        assert!(got[added..] == sent, "{what}: not what was sent");
        let added = String::from_utf8_lossy(&got[..added]);
        assert!(added.starts_with("Received: ") && added.ends_with("\r\n"), "{what}: {added}");
        assert!(!added.contains("\r\n\r\n") && added.trim_end().lines().skip(1).all(|l| l.starts_with([' ', '\t'])), "{what}: {added}");
    }
}

#[test]
fn bodies_arrive_as_they_were_sent() {
    let bytes: Vec<u8> = (1..=255).filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("one empty line", b"\r\n".to_vec()),
        ("empty lines only", b"\r\n\r\n\r\n".to_vec()),
        ("a dot at the very start", b".\r\n".to_vec()),
        ("dots at line starts", b".one\r\n..two\r\n...\r\n.\r\n..\r\nend\r\n".to_vec()),
        ("a dot on the last line", b"text\r\n.\r\n".to_vec()),
        ("what looks like the end of an smtp dialogue", b".\r\nQUIT\r\n.\r\nMAIL FROM:<x@y>\r\n".to_vec()),
        ("every byte but NUL, CR and LF", [&bytes[..], b"\r\n", &bytes, b"\r\n"].concat()),
        ("blanks at line ends", b"a \r\nb\t\r\n \r\n".to_vec()),
        ("lines of 1000 bytes", [b"x".repeat(998), b"\r\n".to_vec(), b"y".repeat(1000), b"\r\n".to_vec()].concat()),
        ("a line that is longer than any buffer", [b".".repeat(300_000), b"\r\n".to_vec()].concat()),
        ("dots where buffers end", [b"z".repeat(65_533 - HEADER.len()), b"\r\n.\r\n".repeat(20_000)].concat()),
        ("a last line without text", b"text\r\n\r\n".to_vec()),
    ];
    arrive("limits.unfit_text = \"send\"", &bodies);
}

/// A message with a long line and one with 8-bit text, for a receiver without 8BITMIME; returns what became of each.
fn unfit(extra: &str) -> (World, Vec<serde_json::Value>) {
    let world = World::start(extra);
    world.mx.extensions(&["PIPELINING"]);
    let log = world.relay.log();
    let mut ends = Vec::new();
    for (name, body) in [("long", "y".repeat(2000)), ("wide", "Gr\u{fc}\u{df}e".to_owned())] {
        let rcpt = format!("{name}@example.test");
        let text = format!("{HEADER}{body}\r\n");
        world.relay.send(&Mail::raw(FROM, &[&rcpt], text.as_bytes()));
        ends.push(wait::until("an end", || log.events().into_iter().find(|e| e["rcpt"] == rcpt.as_str() && e["event"] != "accepted")));
    }
    (world, ends)
}

#[test]
fn text_that_a_receiver_does_not_take_bounces_with_a_reason_of_ours_before_it_is_sent() {
    let (world, ends) = unfit("");
    for (end, reason) in ends.iter().zip(["a line of more than 998 bytes", "8-bit text"]) {
        assert_eq!((&end["event"], &end["smtp_code"], &end["smtp_enhanced"]), (&"bounced".into(), &554.into(), &"5.6.3".into()), "{end}");
        assert!(end["smtp_text"].as_str().unwrap().contains(reason), "{end}");
    }
    assert!(!world.mx.commands().iter().any(|command| command.starts_with("MAIL")));
}

#[test]
fn text_that_a_receiver_does_not_take_is_encoded_where_the_operator_says_so() {
    let (world, ends) = unfit("limits.unfit_text = \"encode\"");
    assert!(ends.iter().all(|end| end["event"] == "delivered"), "{ends:?}");
    let got = world.mx.messages();
    for (message, body) in got.iter().zip(["y".repeat(2000), "Gr\u{fc}\u{df}e".to_owned()]) {
        assert!(message.data.is_ascii() && message.data.split(|b| *b == b'\n').all(|line| line.len() <= 999));
        let parsed = mail_parser::MessageParser::new().parse(&message.data).unwrap();
        assert_eq!(parsed.body_text(0).unwrap().trim_end(), body);
    }
}

#[test]
fn headers_that_a_receiver_does_not_take_are_encoded_and_what_cannot_be_comes_back_with_a_true_reason() {
    let world = World::start("limits.unfit_text = \"encode\"");
    world.mx.extensions(&["PIPELINING"]);
    let subject = "Gr\u{fc}\u{df}e ".repeat(200).trim().to_owned();
    let text = format!(
        "From: J\u{fc}rgen <{FROM}>\r\nTo: <a@example.test>\r\nSubject: {subject}\r\nX-List: {}\r\n\r\nhi\r\n",
        "word ".repeat(400)
    );
    world.relay.send(&Mail::raw(FROM, &["a@example.test"], text.as_bytes()));
    world.relay.log().wait_for("delivered", "a@example.test");
    let got = world.mx.messages().remove(0).data;
    assert!(got.is_ascii() && got.split(|b| *b == b'\n').all(|line| line.len() <= 999), "{}", String::from_utf8_lossy(&got));
    let parsed = mail_parser::MessageParser::new().parse(&got).unwrap();
    let name = parsed.from().unwrap().first().unwrap().name().map(str::to_owned);
    assert_eq!((parsed.subject(), name.as_deref()), (Some(&*subject), Some("J\u{fc}rgen")));

    for (rcpt, field) in
        [("b@example.test", format!("X-Id: <{}>", "x".repeat(2000))), ("c@example.test", "Cc: <\u{fc}@example.test>".to_owned())]
    {
        let field = field.replace("X-Id", "References");
        let text = format!("From: <{FROM}>\r\nTo: <{rcpt}>\r\n{field}\r\nSubject: x\r\n\r\nhi\r\n");
        world.relay.send(&Mail::raw(FROM, &[rcpt], text.as_bytes()));
        let end = world.relay.log().wait_for("bounced", rcpt);
        assert_eq!((&end["smtp_code"], &end["smtp_enhanced"]), (&554.into(), &"5.6.3".into()), "{end}");
        assert!(end["smtp_text"].as_str().unwrap().contains("a field of its header has an address outside ASCII"), "{end}");
    }
}

#[test]
fn a_body_of_25_mb_arrives_as_it_was_sent_from_memory_and_from_disk() {
    let mut body = Vec::with_capacity(25_000_100);
    for line in 0_u32.. {
        body.extend_from_slice(format!(".{line:>70} \u{e9}\r\n").as_bytes());
        if body.len() >= 25_000_000 {
            break;
        }
    }
    arrive("limits.body_cache = \"64 MiB\"", &[("from memory", body.clone())]);
    arrive("limits.body_cache = 0", &[("from disk", body)]);
}

#[test]
fn a_message_without_a_header_gets_one_and_keeps_its_body() {
    let world = World::start("");
    world.relay.send(&Mail::raw(FROM, &[TO], b"\r\njust text\r\n"));
    let got = world.mx.wait_for(1).remove(0).data;
    assert!(got.ends_with(b"\r\n\r\njust text\r\n"), "{}", String::from_utf8_lossy(&got));
}

#[test]
fn the_bytes_are_the_same_at_every_attempt_and_to_every_recipient() {
    let world = World::start("");
    world.dns.mx("cousin.test", 10, "mx2.cousin.test").a("mx2.cousin.test", "127.0.0.1");
    let refusals = AtomicUsize::new(3);
    let refuse = move || refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    world.mx.script(move |_, step| match step {
        Step::Dot(_) if refuse() => Act::Say("451 4.3.0 once more".into()),
        _ => Act::Usual,
    });
    let sent = [HEADER.as_bytes(), b".\r\n\xff\r\n"].concat();
    world.relay.send(&Mail::raw(FROM, &[TO, "reader@cousin.test"], &sent));
    world.mx.wait_for(2);
    let all = world.mx.transactions();
    assert!(all.len() == 5 && all.iter().all(|t| t.data == all[0].data));
}

#[test]
fn eight_bit_mail_is_declared() {
    let world = World::start("");
    world.relay.send(&Mail::raw(FROM, &[TO], &[HEADER.as_bytes(), "gr\u{fc}n\r\n".as_bytes()].concat()));
    let got = world.mx.wait_for(1).remove(0);
    assert!(got.parameters.contains("BODY=8BITMIME"), "{}", got.parameters);
    assert!(got.parameters.contains(&format!("SIZE={}", got.data.len())), "{} of {}", got.parameters, got.data.len());
}
