use base64::{Engine, prelude::BASE64_STANDARD};
use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use posthaste_config::Config;
use posthaste_host::ThisHost;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{common::decoded, *};

fn limits() -> ClientLimits {
    Config::parse("", "test", &ThisHost).unwrap().limits
}

fn composed(draft: &Value) -> Result<Composed, BoxedRefusal> {
    let text = draft.to_string();
    let draft: Draft<'_> = serde_json::from_str(&text).unwrap();
    compose(&draft, &limits())
}

/// A draft with what every draft needs.
fn draft(more: Value) -> Value {
    let mut draft = json!({"from": "shop@example.com", "to": "ann@example.org"});
    let Value::Object(more) = more else { panic!("fields go here: {more}") };
    draft.as_object_mut().unwrap().extend(more);
    draft
}

fn read(data: &[u8]) -> Message<'_> {
    assert!(data.is_ascii() && data.ends_with(b"\r\n"), "{}", String::from_utf8_lossy(data));
    assert!(data.split(|b| *b == b'\n').all(|line| line.len() < 999), "a line is too long");
    MessageParser::new().parse(data).unwrap()
}

fn flaw(more: Value) -> (String, &'static str, Vec<String>) {
    let refused = composed(&draft(more)).unwrap_err();
    let codes = format!("{} {}", refused.answer.code, refused.answer.enhanced);
    (codes, refused.reason, refused.errors.iter().map(|e| e.field.clone()).collect())
}

#[test]
fn a_draft_becomes_the_message_that_a_reader_sees() {
    let picture = b"\x89PNG\r\n\x1a\n\0\0";
    let made = composed(&json!({
        "from": {"address": "shop@example.com", "name": "Käse & Söhne, Inc."},
        "to": ["Ann \"the\" Reader <ann@example.org>", {"address": "bob@example.org"}],
        "cc": "\"Doe, \\\"J\\\"\" <doe@example.org>",
        "bcc": ["secret@example.net", "ann@example.org"],
        "reply_to": "help@example.com",
        "subject": "Ihre Bestellung №7 – «danke»",
        "text": "Hallo Ann,\r\n\r\nbis bald\n.\nFrom us\n",
        "html": "<p>Hällo <img src=\"cid:logo\"></p>",
        "attachments": [
            {"filename": "Rechnung März.pdf", "content_type": "application/pdf", "content": BASE64_STANDARD.encode(b"%PDF-1.7\n\0")},
            {"filename": "logo.png", "content_type": "image/png", "content": BASE64_STANDARD.encode(picture), "cid": "<logo>"},
        ],
        "headers": {"X-Order": "7", "References": ["<a@b>", "<c@d>"]},
    }))
    .unwrap();
    assert_eq!(made.envelope.reverse_path.as_str(), "shop@example.com");
    let recipients: Vec<_> = made.envelope.recipients.iter().map(Address::as_str).collect();
    assert_eq!(recipients, ["ann@example.org", "bob@example.org", "doe@example.org", "secret@example.net"]);
    assert!(!String::from_utf8_lossy(&made.data).contains("secret"), "Bcc is nobody's to see");
    let message = read(&made.data);
    let from = message.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Käse & Söhne, Inc."), Some("shop@example.com")));
    let to: Vec<_> = message.to().unwrap().iter().map(|a| (a.name(), a.address().unwrap())).collect();
    assert_eq!(to, [(Some("Ann \"the\" Reader"), "ann@example.org"), (None, "bob@example.org")]);
    assert_eq!(message.cc().unwrap().first().unwrap().name(), Some("Doe, \"J\""));
    assert_eq!(message.reply_to().unwrap().first().unwrap().address(), Some("help@example.com"));
    assert_eq!(message.subject(), Some("Ihre Bestellung №7 – «danke»"));
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), "Hallo Ann,\n\nbis bald\n.\nFrom us\n");
    assert_eq!(message.body_html(0).unwrap().trim_end(), "<p>Hällo <img src=\"cid:logo\"></p>");
    assert_eq!(message.header_raw("X-Order").unwrap().trim(), "7");
    let kinds: Vec<_> =
        message.parts.iter().filter_map(|p| p.content_type()).map(|t| format!("{}/{}", t.ctype(), t.subtype().unwrap())).collect();
    let want = ["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png", "application/pdf"];
    assert_eq!(kinds, want);
    let part = |kind: &str| &message.parts[want.iter().position(|w| *w == kind).unwrap()];
    assert_eq!((part("image/png").contents(), part("image/png").content_id()), (&picture[..], Some("logo")));
    assert_eq!(part("application/pdf").contents(), b"%PDF-1.7\n\0");
    assert_eq!(part("application/pdf").attachment_name(), Some("Rechnung März.pdf"));
}

#[test]
fn a_domain_in_any_alphabet_goes_as_dns_has_it() {
    let made = composed(&draft(json!({"to": ["info@bücher.test", "Buch <info@xn--bcher-kva.test>"]}))).unwrap();
    assert_eq!(made.envelope.recipients, ["info@xn--bcher-kva.test".parse().unwrap()]);
    assert!(!made.envelope.parameters.smtputf8, "any receiver takes it");
    assert_eq!(read(&made.data).to().unwrap().first().unwrap().address(), Some("info@xn--bcher-kva.test"));
    let made = composed(&draft(json!({"to": "jürgen@bücher.test"}))).unwrap();
    assert_eq!(made.envelope.recipients[0].as_str(), "j\u{fc}rgen@xn--bcher-kva.test");
    assert!(made.envelope.parameters.smtputf8 && made.has_8bit);
}

#[test]
fn a_list_of_mailboxes_is_never_taken_for_one() {
    let made = composed(&json!({"from": "a@example.com", "to": ["x@example.org", "y@example.org"]})).unwrap();
    assert_eq!(made.envelope.recipients.len(), 2);
    for bad in
        [json!(["a@example.com", "b@example.com"]), json!({"address": 7}), json!({"name": "a"}), json!({"address": "a@x.org", "nam": "a"})]
    {
        let text = json!({"from": bad, "to": "x@example.org"}).to_string();
        assert!(serde_json::from_str::<Draft<'_>>(&text).is_err(), "{text}");
    }
}

#[test]
fn a_message_to_nobody_in_sight_says_so_and_needs_no_text() {
    let made = composed(&json!({"from": "a@example.com", "return_path": "", "bcc": "b@example.org"})).unwrap();
    assert!(made.envelope.reverse_path.is_null());
    let text = String::from_utf8_lossy(&made.data).into_owned();
    assert!(text.contains("\r\nTo: undisclosed-recipients:;\r\n") && text.contains("\r\n\r\n"), "{text}");
}

#[test]
fn files_arrive_byte_for_byte_whatever_they_are() {
    for content in [&b"a\nb\r\nc\rd"[..], b"", b"\0\xff", "ä\n".repeat(3000).as_bytes(), b"last line without end"] {
        for kind in ["text/plain; charset=utf-8", "text/csv", "application/octet-stream", "image/png"] {
            let file = json!({"filename": "f", "content_type": kind, "content": BASE64_STANDARD.encode(content)});
            let made = composed(&draft(json!({"text": "see f", "attachments": [file]}))).unwrap();
            let message = read(&made.data);
            let part = message.attachment(0).unwrap();
            // As encoded: the reader would turn what it takes for text into UTF-8.
            let encoded = &made.data[part.raw_body_offset() as usize..part.raw_end_offset() as usize];
            assert_eq!(decoded(std::str::from_utf8(encoded).unwrap()).unwrap(), content, "{kind}");
        }
    }
}

#[test]
fn a_plain_header_value_stays_as_it_was_written() {
    let url = format!("<https://example.com/u?id={}&a=b=c>", "0123456789".repeat(40));
    let headers = json!({"List-Unsubscribe": format!("{url}, <mailto:u@example.com?subject=x>"), "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"});
    let made = composed(&draft(json!({"headers": headers}))).unwrap();
    let text = String::from_utf8_lossy(&made.data).replace("\r\n ", " ");
    assert!(text.contains(&url) && text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{text}");
}

#[test]
fn what_steers_the_relay_goes_as_the_fields_that_intake_reads() {
    let made = composed(&draft(json!({"stream": "receipts", "tags": ["may", "für alle"]}))).unwrap();
    let text = String::from_utf8_lossy(&made.data).into_owned();
    assert!(text.starts_with("X-Posthaste-Stream: receipts\r\nX-Posthaste-Tag: may\r\nX-Posthaste-Tag: für alle\r\n"), "{text}");
}

#[test]
fn what_is_wrong_is_said_field_by_field_with_smtps_codes() {
    let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let cases = [
        (json!({"to": ["ann@example.org", "no address", "x@"]}), "501 5.1.3", "bad_address", vec!["/to/1", "/to/2"]),
        (json!({"from": "nobody"}), "501 5.1.7", "bad_address", vec!["/from"]),
        (json!({"return_path": "a b@x.org"}), "501 5.1.7", "bad_address", vec!["/return_path"]),
        (json!({"to": []}), "554 5.5.1", "no_recipients", vec![]),
        (json!({"to": (0..1001).map(|n| format!("r{n}@x.org")).collect::<Vec<_>>()}), "550 5.5.3", "too_many_recipients", vec![]),
        (json!({"subject": "a\r\nBcc: b@x.org"}), "554 5.6.0", "bad_field", vec!["/subject"]),
        (json!({"from": {"address": "a@x.org", "name": "a\nb"}}), "554 5.6.0", "bad_field", vec!["/from"]),
        (
            json!({"headers": {"Bcc": "x@x.org", "X y": "1", "X-Posthaste-Tag": "t", "Content-Type": "x"}}),
            "554 5.6.0",
            "bad_field",
            vec!["/headers/Bcc", "/headers/Content-Type", "/headers/X y", "/headers/X-Posthaste-Tag"],
        ),
        (json!({"headers": {"X-A": "a\r\n\r\nbody"}}), "554 5.6.0", "bad_field", vec!["/headers/X-A"]),
        (json!({"tags": ["fine", "a\r\nb"], "stream": "a\r\nb"}), "554 5.6.0", "bad_field", vec!["/stream", "/tags/1"]),
        (json!({"text": "a\0b"}), "554 5.6.0", "bad_field", vec!["/text"]),
        (
            json!({"attachments": [{"content": "%%"}, {"content": "", "content_type": "x", "cid": "a b"}]}),
            "554 5.6.0",
            "bad_field",
            vec!["/attachments/0/content", "/attachments/1/content_type", "/attachments/1/cid"],
        ),
        (
            json!({"attachments": [{"content": "", "content_type": "message/rfc822"}]}),
            "554 5.6.0",
            "bad_field",
            vec!["/attachments/0/content_type"],
        ),
        (json!({"raw": "", "text": "t", "subject": "s"}), "554 5.6.0", "bad_field", vec!["/subject", "/text"]),
        (json!({"raw": BASE64_STANDARD.encode("A: b\r\n\r\nc\rd")}), "550 5.6.0", "bare_cr", vec![]),
    ];
    for (more, codes, reason, fields) in cases {
        assert_eq!(flaw(more.clone()), (codes.to_owned(), reason, strings(&fields)), "{more}");
    }
}

#[test]
fn a_message_that_grows_beyond_the_limit_is_refused() {
    let limits = ClientLimits { message_size: 3000, ..limits() };
    let text = draft(json!({"text": "x ".repeat(1500)})).to_string();
    let refused = compose(&serde_json::from_str(&text).unwrap(), &limits).unwrap_err();
    assert_eq!((refused.reason, refused.from.as_deref(), refused.answer.code), ("too_large", Some("shop@example.com"), 552));
}

#[test]
fn a_raw_message_goes_as_it_is() {
    let raw = b"From: a@example.com\r\nSubject: \xc3\xa4\r\n\r\nbody \xff\r\n";
    let made = composed(&draft(json!({"raw": BASE64_STANDARD.encode(raw), "tags": ["t"]}))).unwrap();
    assert_eq!(made.data, [&b"X-Posthaste-Tag: t\r\n"[..], raw].concat());
    assert!(made.has_8bit && made.envelope.body == BodyKind::EightBitMime);
}

#[test]
fn an_envelope_may_come_in_the_query() {
    let query = |text: &[(&str, &str)]| text.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>();
    let message = Bytes::from_static(b"From: x@y.org\n\nhello\n");
    let made = compose_raw(&query(&[("from", ""), ("to", "a@x.org"), ("to", "b@x.org"), ("tag", "t")]), &message, &limits()).unwrap();
    assert!(made.envelope.reverse_path.is_null() && made.envelope.recipients.len() == 2);
    assert_eq!(made.data, &b"X-Posthaste-Tag: t\r\nFrom: x@y.org\r\n\r\nhello\r\n"[..]);
    for (bad, reason) in [
        (query(&[("to", "a@x.org")]), "bad_address"),
        (query(&[("from", "a@x.org")]), "no_recipients"),
        (query(&[("from", "a@x.org"), ("to", "nobody")]), "bad_address"),
        (query(&[("from", "a@x.org"), ("to", "a@x.org"), ("rcpt", "b")]), "bad_field"),
    ] {
        assert_eq!(compose_raw(&bad, &message, &limits()).unwrap_err().reason, reason);
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,120}",
        "[a-zäöü€😀\"\\\\<>,;:=?_\t -]{0,200}",
        proptest::collection::vec(any::<char>(), 0..60).prop_map(|c| c.into_iter().collect::<String>()),
        Just("Subject: x\r\n\r\n.\r\nMAIL FROM:<>".to_owned()),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_said_in_a_field_becomes_another_field(subject in text(), name in text(), body in text(), file in text(), value in text()) {
        let made = composed(&json!({
            "from": {"address": "shop@example.com", "name": name},
            "to": "ann@example.org",
            "subject": subject,
            "text": body,
            "attachments": [{"filename": file, "content": ""}],
            "headers": {"X-Value": value},
        }));
        let Ok(made) = made else { return Ok(()) };
        let header = posthaste_message::header_block(&made.data);
        let names: Vec<_> = header.split(|b| *b == b'\n').filter(|l| !l.is_empty() && !l.starts_with(b" ") && !l.starts_with(b"\t"))
            .map(|l| String::from_utf8_lossy(l.split(|b| *b == b':').next().unwrap()).into_owned()).collect();
        prop_assert_eq!(names, ["From", "To", "Subject", "X-Value", "MIME-Version", "Content-Type"]);
        let message = read(&made.data);
        prop_assert_eq!(message.parts.len(), 3);
        let PartType::Text(text) = &message.parts[1].body else { panic!("not a text: {:?}", message.parts[1]) };
        let plain = |t: &str| t.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned();
        prop_assert_eq!(plain(text), plain(&body));
        let blanks = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(blanks(message.subject().unwrap_or_default()), blanks(&subject));
    }
}
