use std::{io::Write as _, process::Command};

use jiff::Timestamp;
use posthaste_mail::{Address, Class, Failure};
use posthaste_mail::{LocalCause, Reply, Stage};
use serde_json::Value;

use super::*;
use crate::notice::Original;

const HEADER: &[u8] = b"From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn refused(rcpt: &str, code: u16, text: &str) -> NoticeRecipient {
    NoticeRecipient {
        orcpt: None,
        rcpt: rcpt.parse().unwrap(),
        failure: Some(Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(code, text) }),
        class: Class::InvalidRecipient,
        mx_host: Some("mx1.example.org".into()),
        attempts: 7,
        earlier: None,
        last_attempt: Some(at("2026-11-23T10:11:12Z")),
        retry_until: Some(at("2026-11-28T10:11:12Z")),
        ending: Ending::Bounced,
    }
}

fn expired(rcpt: &str) -> NoticeRecipient {
    let failure =
        Failure::Local { stage: Stage::Connect, cause: LocalCause::ConnectTimeout, detail: "no answer from 192.0.2.25:25 in 30 s".into() };
    NoticeRecipient {
        failure: Some(failure),
        class: Class::ConnectionFailure,
        mx_host: None,
        ending: Ending::Expired,
        ..refused(rcpt, 0, "")
    }
}

fn message(header: &[u8], recipients: &[NoticeRecipient]) -> Vec<u8> {
    message_about(header, None, recipients)
}

fn message_about(header: &[u8], whole: Option<&[u8]>, recipients: &[NoticeRecipient]) -> Vec<u8> {
    let reverse_path: Address = "ann@example.com".parse().unwrap();
    let from: Address = "MAILER-DAEMON@mx.example.com".parse().unwrap();
    let original = Original {
        id: "01KAS24AVSK49P4R25FDFMPS6Z".parse().unwrap(),
        reverse_path: &reverse_path,
        arrived: at("2026-11-18T10:11:12Z"),
        envid: None,
        deliver_by: None,
        message_id: Some("<1@example.com>"),
        header,
        whole,
    };
    let id = "01KAS24AVSK49P4R25FDFMPS70".parse().unwrap();
    Notice { id, now: at("2026-11-23T10:11:13Z"), hostname: "mx.example.com", from: &from, original, recipients }.to_message().to_vec()
}

/// What Python's email package reads in it: header fields, and for each part its type and its fields or text.
fn read_back(message: &[u8]) -> Value {
    const SCRIPT: &str = r#"
import sys, json, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
def part(p):
    if p.get_content_type() == "message/delivery-status":
        body = [[[k, str(v)] for k, v in block.items()] for block in p.get_payload()]
    else:
        body = p.get_content()
    return {"type": p.get_content_type(), "body": body, "defects": [str(d) for d in p.defects]}
print(json.dumps({
    "header": {k: str(v) for k, v in m.items()}, "type": m.get_content_type(), "report": m.get_param("report-type"),
    "defects": [str(d) for d in m.defects], "parts": [part(p) for p in m.iter_parts()],
}))
"#;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(message).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = Command::new("python3").args(["-c", SCRIPT]).stdin(file).output().expect("the tests need python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A field of a block of the delivery status; block 0 is about the message.
fn field<'a>(report: &'a Value, block: usize, name: &str) -> Option<&'a str> {
    let fields = report["parts"][1]["body"][block].as_array()?;
    fields.iter().find(|field| field[0] == name)?[1].as_str()
}

fn is_sound(message: &[u8]) {
    assert!(message.is_ascii() && !message.contains(&0));
    let text = std::str::from_utf8(message).unwrap();
    assert!(text.ends_with("\r\n"));
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    assert!(text.split("\r\n").all(|line| line.len() <= 998));
}

#[test]
fn a_notice_is_what_the_golden_file_shows() {
    let message = message(
        HEADER,
        &[refused("bob@example.org", 550, "5.1.1 No such user\n5.1.1 See https://example.org/help"), expired("cid@example.net")],
    );
    is_sound(&message);
    assert_eq!(String::from_utf8(message).unwrap(), include_str!("golden.eml").replace('\n', "\r\n"));
}

#[test]
fn a_mail_program_reads_all_of_it() {
    let report = read_back(&message(HEADER, &[refused("bob@example.org", 550, "5.1.1 No such user"), expired("cid@example.net")]));
    assert_eq!((&report["type"], &report["report"]), (&"multipart/report".into(), &"delivery-status".into()));
    assert_eq!(report["header"]["To"], "ann@example.com");
    assert_eq!(report["header"]["Auto-Submitted"], "auto-replied");
    assert_eq!(report["header"]["In-Reply-To"], "<1@example.com>");
    assert_eq!(report["defects"].as_array().unwrap().len(), 0);
    let kinds: Vec<&str> = report["parts"].as_array().unwrap().iter().map(|part| part["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text/plain", "message/delivery-status", "text/rfc822-headers"]);
    assert_eq!(field(&report, 0, "Reporting-MTA"), Some("dns; mx.example.com"));
    assert_eq!(field(&report, 1, "Final-Recipient"), Some("rfc822; bob@example.org"));
    assert_eq!(field(&report, 1, "Status"), Some("5.1.1"));
    assert_eq!(field(&report, 1, "Diagnostic-Code"), Some("smtp; 550 5.1.1 No such user"));
    assert_eq!(field(&report, 1, "Remote-MTA"), Some("dns; mx1.example.org"));
    assert_eq!(field(&report, 2, "Status"), Some("4.4.1"));
    assert_eq!(field(&report, 2, "Remote-MTA"), None);
    assert_eq!(report["parts"][1]["body"].as_array().unwrap().len(), 3);
    assert_eq!(report["parts"][2]["body"].as_str().unwrap().as_bytes(), HEADER);
}

#[test]
fn a_hostile_reply_stays_inside_its_field() {
    let reply = "5.1.1 no\r\n\r\nFinal-Recipient: rfc822; boss@example.com\r\n--=_01KAS24AVSK49P4R25FDFMPS70--\r\n\0\u{7}\u{1b}[31mred";
    let message = message(HEADER, &[refused("bob@example.org", 550, reply)]);
    is_sound(&message);
    let report = read_back(&message);
    assert_eq!(report["parts"].as_array().unwrap().len(), 3);
    assert_eq!(report["parts"][1]["body"].as_array().unwrap().len(), 2);
    assert_eq!(field(&report, 1, "Final-Recipient"), Some("rfc822; bob@example.org"));
    assert!(field(&report, 1, "Diagnostic-Code").unwrap().contains("boss@example.com"));
}

#[test]
fn a_reply_in_another_language_is_readable() {
    let message = message(HEADER, &[refused("bob@example.org", 550, "5.1.1 Empfänger unbekannt – 受信者不明")]);
    is_sound(&message);
    let report = read_back(&message);
    assert!(report["parts"][0]["body"].as_str().unwrap().contains("550 5.1.1 Empfänger unbekannt – 受信者不明"));
    assert_eq!(field(&report, 1, "Diagnostic-Code"), Some("smtp; 550 5.1.1 Empf?nger unbekannt ? ?????"));
}

#[test]
fn endless_replies_and_odd_headers_still_make_a_sound_message() {
    let header = [b"Subject: Gr\xfc\xdfe \0 ".as_slice(), &[b'x'; 3000], b"\r\n", &b"X-A: 1\r\n".repeat(20_000)].concat();
    let message = message(&header, &[refused("bob@example.org", 550, &"é \n".repeat(100_000))]);
    is_sound(&message);
    assert!(message.len() < 2 * HEADER_MAX);
    let report = read_back(&message);
    assert_eq!(report["parts"].as_array().unwrap().len(), 3);
    let header = report["parts"][2]["body"].as_str().unwrap().trim_end();
    assert!(header.ends_with("X-Posthaste-Note: the rest of the header is left out"), "{:?}", &header[header.len() - 200..]);
}

#[test]
fn one_that_expired_without_an_attempt_says_so() {
    let failed =
        NoticeRecipient { failure: None, last_attempt: None, class: Class::TransientOther, attempts: 0, ..expired("cid@example.net") };
    let report = read_back(&message(HEADER, &[failed]));
    assert_eq!(field(&report, 1, "Status"), Some("4.4.7"));
    assert_eq!(field(&report, 1, "Diagnostic-Code"), None);
    assert_eq!(report["header"]["Subject"], "Not delivered to cid@example.net");
    assert!(report["parts"][0]["body"].as_str().unwrap().contains("could not be tried before the time allowed"));
}

#[test]
fn one_that_waited_here_until_it_expired_has_the_receivers_words_and_none_of_the_operators() {
    let detail = "expired while it waited: ip1 at google: the day's 50 are used; posthaste warmup resume ip1 google".into();
    let failure = Some(Failure::Local { stage: Stage::Dns, cause: LocalCause::NoBudget, detail });
    let reply = Reply::new(451, "4.3.0 our antivirus is broken");
    let answer = posthaste_mail::Answered { mx_host: Some("mx1.example.org".into()), stage: Stage::Dot, reply };
    for (attempts, earlier, tried) in [(1, Some(answer), "It was tried once, and"), (9, None, "It was tried 9 times until")] {
        let failed = NoticeRecipient { failure: failure.clone(), attempts, earlier: earlier.clone(), ..expired("cid@example.net") };
        let report = read_back(&message(HEADER, &[failed]));
        let text = report["parts"][0]["body"].as_str().unwrap();
        assert!(text.contains(tried) && !text.contains("warmup") && !text.contains("ip1"), "{text}");
        let (words, code) = match earlier {
            Some(_) => ("mx1.example.org had answered the message", "smtp; 451 4.3.0 our antivirus is broken"),
            None => ("limits, or has stopped,", "x-posthaste; no_budget: it waited until it expired"),
        };
        assert!(text.contains(words), "{text}");
        assert_eq!(field(&report, 1, "Diagnostic-Code"), Some(code));
    }
}

#[test]
fn a_message_that_comes_back_whole_is_a_message_and_byte_for_byte_the_same() {
    for (body, encoding) in [("plain\r\n", "7bit"), ("gr\u{fc}\u{df}e\r\nno line end", "8bit")] {
        let whole = [HEADER, b"\r\n", body.as_bytes()].concat();
        let message = message_about(HEADER, Some(&whole), &[refused("bob@example.org", 550, "5.1.1 no")]);
        let head = format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        assert!(memchr::memmem::find(&message, &[head.as_bytes(), &whole, b"\r\n--"].concat()).is_some());
        assert!(memchr::memmem::find(&message, b"text/rfc822-headers").is_none());
    }
}

#[test]
fn a_delay_is_no_failure_and_says_until_when_it_is_tried() {
    let recipient = NoticeRecipient { ending: Ending::Delayed, ..refused("bob@example.org", 451, "4.7.1 greylisted, come back") };
    let message = String::from_utf8(message(HEADER, &[recipient])).unwrap();
    assert!(message.contains("Subject: Not delivered yet to\r\n bob@example.org\r\n"), "{message}");
    let fields = "Action: delayed\r\nStatus: 4.7.1\r\n";
    assert!(message.contains(fields) && message.contains("Will-Retry-Until: Sat, 28 Nov 2026 10:11:12 +0000\r\n"), "{message}");
    assert!(message.contains("could not be delivered yet to the recipient below. It is tried again by itself"), "{message}");
    assert!(!message.contains("What to do"), "{message}");
}
