//! Failure notices: who gets them, what they say, and when none is sent.

use mail_parser::{MessageParser, MimeHeaders};
use support::{Act, FakeMx, Mail, Relay, Step, dns::DnsServer, world::relay};

const FROM: &str = "writer@sender.test";
const GONE: &str = "gone@example.test";

/// mx1.example.test refuses every recipient; sender.test's host accepts notices.
struct Post {
    relay: Relay,
    receiver: FakeMx,
    sender: FakeMx,
    _dns: DnsServer,
}

fn post(extra: &str) -> Post {
    let [receiver, sender] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    receiver.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("gone") => Act::Say(format!("550-5.1.1 <{rcpt}>: no such user\r\n550 5.1.1 go away")),
        _ => Act::Usual,
    });
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
    dns.mx("sender.test", 10, "mx.sender.test").a("mx.sender.test", "127.0.0.2");
    Post { relay: relay(&dns, receiver.port(), extra), receiver, sender, _dns: dns }
}

const TEXT: &[u8] = b"Message-ID: <one@sender.test>\r\nFrom: <writer@sender.test>\r\nSubject: the original\r\nX-Odd: =?utf-8?q?=C3=A9?=\r\n\r\nsecret body\r\n";

#[test]
fn a_refused_message_comes_back_as_an_rfc_3464_notice() {
    let post = post("");
    let id = post.relay.send(&Mail::raw(FROM, &[GONE, "fine@example.test"], TEXT));
    let log = post.relay.log();
    let bounced = log.wait_for("bounced", GONE);
    assert_eq!((&bounced["class"], &bounced["action"]), (&"invalid_recipient".into(), &"suppress".into()));
    assert_eq!(bounced["smtp_text"], format!("5.1.1 <{GONE}>: no such user\n5.1.1 go away"));
    let notice = post.sender.wait_for(1).remove(0);
    assert_eq!((notice.from.as_str(), notice.rcpts.as_slice()), ("", &[FROM.to_owned()][..]));

    let parsed = MessageParser::default().parse(&notice.data).unwrap();
    let kind = parsed.content_type().unwrap();
    assert_eq!((kind.c_type.as_ref(), kind.c_subtype.as_deref()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some(FROM));
    assert_eq!(parsed.in_reply_to().as_text(), Some("one@sender.test"));
    let text = String::from_utf8(notice.data.clone()).unwrap();
    let status = part(&text, "message/delivery-status");
    for line in [
        "Reporting-MTA: dns; relay.test",
        &format!("X-Posthaste-Id: {id}"),
        &format!("Final-Recipient: rfc822; {GONE}"),
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx1.example.test",
        &format!("Diagnostic-Code: smtp; 550 5.1.1 <{GONE}>: no such user"),
    ] {
        assert!(status.contains(&format!("{line}\r\n")), "{line:?} is not in\n{status}");
    }
    assert!(!status.contains("fine@example.test"));
    let header = part(&text, "text/rfc822-headers");
    assert!(
        header.contains("Subject: the original\r\nX-Odd: =?utf-8?q?=C3=A9?=\r\n") && header.contains("Received: from client.test"),
        "{header}"
    );
    assert!(!text.contains("secret body"));
    assert!(text.contains("\r\nAuto-Submitted: auto-replied\r\n"));

    let accepted = log.wait_for("accepted", FROM);
    assert_eq!((&accepted["notice_of"], &accepted["from"]), (&id.as_str().into(), &"".into()));
    assert_eq!(log.wait_for("delivered", FROM)["message"], accepted["message"]);
}

/// The MIME part of that type, including its header.
fn part<'a>(text: &'a str, kind: &str) -> &'a str {
    let from = text.find(&format!("Content-Type: {kind}")).unwrap_or_else(|| panic!("no {kind} in\n{text}"));
    &text[from..][..text[from..].find("\r\n--").expect("a part ends with a boundary")]
}

#[test]
fn recipients_that_fail_together_share_a_notice() {
    let post = post("");
    post.relay.send(&Mail::raw(FROM, &[GONE, "gone2@example.test"], TEXT));
    let text = String::from_utf8(post.sender.wait_for(1).remove(0).data).unwrap();
    assert_eq!(text.matches("Final-Recipient: ").count(), 2, "{text}");
    post.relay.log().wait_for("bounced", "gone2@example.test");
}

#[test]
fn the_null_sender_gets_no_notice() {
    let post = post("");
    post.relay.send(&Mail::raw("", &[GONE], TEXT));
    post.relay.log().wait_for("bounced", GONE);
    // The next message shows that nothing was sent in between.
    post.relay.send(&Mail::raw("", &["last@example.test"], TEXT));
    post.relay.log().wait_for("delivered", "last@example.test");
    assert_eq!(post.relay.log().of("accepted", "").len(), 2);
    assert_eq!(post.sender.sessions(), 0);
}

#[test]
fn a_notice_that_bounces_makes_no_notice() {
    let post = post("");
    post.sender.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("550 5.1.1 nobody".into()) } else { Act::Usual });
    post.relay.send(&Mail::raw(FROM, &[GONE], TEXT));
    let log = post.relay.log();
    assert_eq!(log.wait_for("bounced", FROM)["from"], "");
    post.relay.assert_balanced();
    assert_eq!(log.of("accepted", "").len(), 2);
}

#[test]
fn notices_can_be_switched_off() {
    let post = post("notice.send = false");
    post.relay.send(&Mail::raw(FROM, &[GONE], TEXT));
    post.relay.log().wait_for("bounced", GONE);
    assert_eq!(post.relay.log().of("accepted", "").len(), 1);
}

#[test]
fn a_notice_says_who_it_is_from() {
    let post = post("notice.from = \"postmaster@sender.test\"");
    post.relay.send(&Mail::raw(FROM, &[GONE], TEXT));
    let notice = post.sender.wait_for(1).remove(0).data;
    let parsed = MessageParser::default().parse(&notice).unwrap();
    assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("postmaster@sender.test"));
}

#[test]
fn a_refusal_of_the_whole_message_is_every_recipients() {
    let post = post("");
    post.receiver.script(|_, step| if let Step::Dot(_) = step { Act::Say("554 5.7.1 spam message rejected".into()) } else { Act::Usual });
    post.relay.send(&Mail::raw(FROM, &["a@example.test", "b@example.test"], TEXT));
    for rcpt in ["a@example.test", "b@example.test"] {
        let event = post.relay.log().wait_for("bounced", rcpt);
        assert_eq!((&event["smtp_stage"], &event["class"]), (&"dot".into(), &"spam_content".into()));
    }
}

#[test]
fn what_a_cap_holds_back_until_it_expires_has_the_receivers_words() {
    let (dns, [mx, home]) = (support::dns::DnsServer::start(), FakeMx::group(["127.0.0.1", "127.0.0.2"]));
    dns.mx("h.test", 10, "mx.h.test").a("mx.h.test", "127.0.0.1").mx("sender.test", 10, "mx.sender.test").a("mx.sender.test", "127.0.0.2");
    mx.script(|_, step| if let Step::Dot(_) = step { Act::Say("451 4.3.0 our antivirus is broken".into()) } else { Act::Usual });
    let cap = "source.default.warmup = \"tiny\"\ncurve.tiny = { caps = [1], burst = 1 }\n";
    let relay = support::world::relay(&dns, mx.port(), &format!("{cap}retry = {{ schedule = [\"1s\"], jitter = 0, expire = \"5s\" }}"));
    relay.send(&Mail::new("me@sender.test", &["b@h.test"], "one"));
    let event = relay.log().wait_for("expired", "b@h.test");
    let detail = event["detail"].as_str().unwrap();
    assert!(event["cause"] == "no_budget" && detail.contains("the day's 1 are used"), "{event}");
    assert!(detail.contains("mx.h.test at dot: 451 4.3.0 our antivirus is broken"), "{event}");
    let notice = support::wait::until("the notice", || home.messages().first().map(|m| String::from_utf8_lossy(&m.data).into_owned()));
    for said in
        ["tried once, and the time", "mx.h.test had answered the message", "Diagnostic-Code: smtp; 451 4.3.0 our antivirus is broken"]
    {
        assert!(notice.contains(said), "{notice}");
    }
    assert!(!notice.contains("warmup") && !notice.contains("the day's"), "{notice}");
}
