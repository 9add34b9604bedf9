use proptest::prelude::*;

use super::*;

const RECEIVED: &str = "Received: from client.example.com ([192.0.2.7])\r\n\tby mx.example.com with ESMTP id 01KAS24AVSK49P4R25FDFMPS6Z;\r\n\tMon, 23 Nov 2026 10:11:12 +0000\r\n";
const ADDED_FROM: &str = "From: <bounces@example.com>\r\n";
const DATE: &str = "Date: Mon, 23 Nov 2026 10:11:12 +0000\r\n";
const MESSAGE_ID: &str = "Message-ID: <01KAS24AVSK49P4R25FDFMPS6Z@mx.example.com>\r\n";

fn submission() -> Submission<'static> {
    Submission {
        client_ip: "192.0.2.7".parse().unwrap(),
        helo: "client.example.com",
        esmtp: true,
        tls: false,
        authenticated: false,
        http: false,
        reverse_path: "bounces@example.com",
        hostname: "mx.example.com",
        id: "01KAS24AVSK49P4R25FDFMPS6Z".parse().unwrap(),
        now: "2026-11-23T10:11:12.345Z".parse().unwrap(),
    }
}

fn prepared(data: &[u8]) -> Prepared {
    prepare(&Bytes::copy_from_slice(data), &submission(), HeaderLimits::default()).unwrap()
}

fn text(prepared: &Prepared) -> String {
    String::from_utf8(prepared.parts.concat()).unwrap()
}

const WHOLE: &str = "Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nFrom: a@example.com\r\nMessage-ID: <1@example.com>\r\n";

#[test]
fn a_complete_message_only_gains_a_received_field() {
    let data = format!("{WHOLE}\r\nHello.\r\n");
    let message = prepared(data.as_bytes());
    assert_eq!(text(&message), format!("{RECEIVED}{data}"));
    assert_eq!(message.message_id.as_deref(), Some("<1@example.com>"));
    assert_eq!(message.from_domains, ["example.com"]);
    assert_eq!((message.size, message.hops, message.header_8bit), ((RECEIVED.len() + data.len()) as u64, 0, false));
}

#[test]
fn the_body_is_not_copied() {
    let data = Bytes::from(format!("{WHOLE}\r\nHello.\r\n"));
    let message = prepare(&data, &submission(), HeaderLimits::default()).unwrap();
    assert_eq!(message.parts.last().unwrap().as_ptr(), data[WHOLE.len()..].as_ptr());
}

#[test]
fn date_and_message_id_are_added_where_they_are_missing_or_empty() {
    let message = prepared(b"From: a@example.com\r\n\r\nHello.\r\n");
    assert_eq!(text(&message), format!("{RECEIVED}From: a@example.com\r\n{DATE}{MESSAGE_ID}\r\nHello.\r\n"));
    assert_eq!(message.message_id.as_deref(), Some("<01KAS24AVSK49P4R25FDFMPS6Z@mx.example.com>"));
    let empty = prepared(b"Message-Id:  \r\nFrom: a@example.com\r\nDATE:\r\n \r\n\r\nHello.\r\n");
    assert_eq!(text(&empty), text(&message));
}

#[test]
fn bcc_is_taken_out_whole_wherever_it_stands() {
    let data = "Bcc: x@example.org,\r\n\ty@example.org\r\nFrom: a@example.com\r\nbcc : z@example.org\r\nDate: d\r\nResent-Bcc:\r\n z@example.org\r\nMessage-ID: <1@x>\r\nBCC:\r\n\r\nBcc: this stays\r\n";
    let message = prepared(data.as_bytes());
    assert_eq!(text(&message), format!("{RECEIVED}From: a@example.com\r\nDate: d\r\nMessage-ID: <1@x>\r\n\r\nBcc: this stays\r\n"));
}

#[test]
fn stream_and_tags_are_read_and_taken_out() {
    let message =
        prepared(format!("X-Posthaste-Stream: receipts\r\n{WHOLE}x-posthaste-tag: may\r\nX-Posthaste-Tag: a b\r\n\r\n").as_bytes());
    assert_eq!(text(&message), format!("{RECEIVED}{WHOLE}\r\n"));
    assert_eq!(message.stream.as_deref(), Some("receipts"));
    assert_eq!(message.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["may", "a b"]);
}

#[test]
fn tags_have_their_limits() {
    let refused = |data: String| prepare(&Bytes::from(data), &submission(), HeaderLimits::default()).unwrap_err();
    assert_eq!(refused("X-Posthaste-Tag: a\r\n".repeat(TAGS_MAX + 1)), Unfit::BadTag);
    assert_eq!(refused(format!("X-Posthaste-Tag: {}\r\n\r\n", "a".repeat(TAG_MAX + 1))), Unfit::BadTag);
    assert_eq!(refused("X-Posthaste-Tag: a\0b\r\n\r\n".into()), Unfit::BadTag);
    assert_eq!(Unfit::BadTag.reply().code, 554);
}

#[test]
fn a_message_without_header_gets_one() {
    let added = format!("{RECEIVED}{ADDED_FROM}{DATE}{MESSAGE_ID}\r\n");
    assert_eq!(text(&prepared(b"Hello.\r\nHow: are you?\r\n")), format!("{added}Hello.\r\nHow: are you?\r\n"));
    assert_eq!(text(&prepared(b"\r\nHello.\r\n")), format!("{added}Hello.\r\n"));
    assert_eq!(text(&prepared(b"")), added);
}

#[test]
fn a_line_that_is_no_field_begins_the_body() {
    let message = prepared(format!("{WHOLE}oops\r\nBcc: x@example.org\r\n\r\nHello.\r\n").as_bytes());
    assert_eq!(text(&message), format!("{RECEIVED}{WHOLE}\r\noops\r\nBcc: x@example.org\r\n\r\nHello.\r\n"));
}

#[test]
fn a_message_of_header_alone_is_closed() {
    assert_eq!(text(&prepared(WHOLE.as_bytes())), format!("{RECEIVED}{WHOLE}\r\n"));
    assert_eq!(text(&prepared(WHOLE.trim_end().as_bytes())), format!("{RECEIVED}{WHOLE}\r\n"));
    assert_eq!(text(&prepared(b"Bcc: x@example.org")), format!("{RECEIVED}{ADDED_FROM}{DATE}{MESSAGE_ID}\r\n"));
}

#[test]
fn a_message_in_circles_is_refused() {
    let data = |hops| Bytes::from(format!("{}{WHOLE}\r\n", "Received: by x\r\n".repeat(hops)));
    assert_eq!(prepare(&data(100), &submission(), HeaderLimits::default()).unwrap().hops, 100);
    let unfit = prepare(&data(101), &submission(), HeaderLimits::default()).unwrap_err();
    assert_eq!(unfit.reply().to_string(), "554 5.4.6 101 hops, more than 100: the message goes in circles");
    assert_eq!(unfit.reason(), "too_many_hops");
}

#[test]
fn an_endless_header_is_refused() {
    let data = Bytes::from(format!("A: {}\r\n\r\n", "x".repeat(2000)));
    let unfit = prepare(&data, &submission(), HeaderLimits { header: 1000, ..HeaderLimits::default() }).unwrap_err();
    assert_eq!((unfit.reply().code, unfit.reason()), (552, "header_too_large"));
}

#[test]
fn eight_bit_bytes_of_the_body_are_kept_and_are_none_of_the_header() {
    let data = [WHOLE.as_bytes(), b"\r\nGr\xfc\xdfe\r\n"].concat();
    let message = prepared(&data);
    assert!(!message.header_8bit);
    assert!(message.parts.concat().ends_with(b"\r\nGr\xfc\xdfe\r\n"));
}

#[test]
fn a_clients_name_cannot_forge_the_received_field() {
    let forged = Submission { helo: "a b) (evil\r\nX: y;é", client_ip: "2001:db8::1".parse().unwrap(), esmtp: false, ..submission() };
    let received = forged.received();
    assert!(
        received.starts_with("Received: from a?b???evil??X:?y?? ([IPv6:2001:db8::1])\r\n\tby mx.example.com with SMTP id "),
        "{received}"
    );
    assert!(Submission { helo: "", ..submission() }.received().starts_with("Received: from unknown ("));
}

#[test]
fn the_received_field_says_by_what_protocol_it_came() {
    for (tls, authenticated, with) in [(true, false, "ESMTPS"), (false, true, "ESMTPA"), (true, true, "ESMTPSA")] {
        let received = Submission { tls, authenticated, ..submission() }.received();
        assert!(received.contains(&format!(" with {with} id ")), "{received}");
    }
}

#[test]
fn all_authors_are_known_or_none() {
    let authors = |header: &str| prepared(format!("{header}\r\nHello.\r\n").as_bytes()).authors;
    let both = ["a@example.com".to_owned(), "b@example.org".to_owned()];
    assert_eq!(authors("From: a@example.com, B <b@example.org>\r\n").as_deref(), Some(&both[..]));
    assert_eq!(authors("From: nobody\r\n"), None);
    let sent = "From: a@example.com\r\nSender: b@example.org\r\nResent-From: c@example.net\r\n";
    assert_eq!(authors(sent).map(|all| all.join(" ")).as_deref(), Some("a@example.com b@example.org c@example.net"));
    assert_eq!(prepared(format!("{sent}\r\nHello.\r\n").as_bytes()).from_domains, ["example.com", "example.org", "example.net"]);
    let sender = ["bounces@example.com".to_owned()];
    assert_eq!(authors("Date: x\r\n").as_deref(), Some(&sender[..]), "who sends it is its author");
    assert_eq!(authors("From: \r\n").as_deref(), Some(&sender[..]));
}

#[test]
fn a_message_has_one_author_field_that_names_somebody() {
    let by = |reverse_path, header: &str| {
        let data = Bytes::from(format!("{header}\r\nHello.\r\n"));
        prepare(&data, &Submission { reverse_path, ..submission() }, HeaderLimits::default())
    };
    let unfit = |header| by("bounces@example.com", header).unwrap_err();
    assert_eq!(unfit("From: a@example.com\r\nX: y\r\nfrom: b@example.org\r\n"), Unfit::ManyFroms { count: 2 });
    assert_eq!(unfit("From: <>\r\n"), Unfit::NullFrom);
    assert_eq!(unfit("From: \"Shop\" <>\r\n"), Unfit::NullFrom);
    assert_eq!(by("", "To: a@example.com\r\n").unwrap_err(), Unfit::NoFrom);
    assert_eq!(Unfit::NoFrom.reply().to_string(), "554 5.6.0 there is no From field: receivers refuse that");
    let added = by("bounces@example.com", "To: a@example.com\r\n").unwrap();
    assert_eq!(added.from_domains, ["example.com"], "so that it is signed");
    assert!(text(&added).contains(&format!("To: a@example.com\r\n{ADDED_FROM}")));
    assert!(by("", WHOLE).is_ok() && by("x@y.z", "From: undisclosed:;\r\n").is_ok());
}

#[test]
fn facts_of_the_application_are_read_and_taken_out() {
    let message =
        prepared(format!("X-Posthaste-Meta-Order: 4711\r\n{WHOLE}x-posthaste-meta-Shop_2:\r\n d\u{e9}j\u{e0} vu\r\n\r\n").as_bytes());
    assert_eq!(text(&message), format!("{RECEIVED}{WHOLE}\r\n"));
    let facts: Vec<_> = message.meta.iter().map(|fact| &**fact).collect();
    assert_eq!(facts, ["order=4711", "shop_2=d\u{e9}j\u{e0} vu"]);
    let refused = |data: String| prepare(&Bytes::from(data), &submission(), HeaderLimits::default()).unwrap_err();
    let many: String = (0..=META_MAX).map(|n| format!("X-Posthaste-Meta-{n}: x\r\n")).collect();
    let long = "a".repeat(META_VALUE_MAX + 1);
    for bad in [
        many,
        format!("X-Posthaste-Meta-a: {long}\r\n"),
        "X-Posthaste-Meta-a: 1\r\nX-Posthaste-Meta-A: 2\r\n".into(),
        "X-Posthaste-Meta-: 1\r\n".into(),
        "X-Posthaste-Meta-a.b: 1\r\n".into(),
    ] {
        assert_eq!(refused(bad), Unfit::BadMeta);
    }
}

#[test]
fn the_time_to_send_it_is_read_in_both_notations_and_taken_out() {
    let moment = "2030-01-31T08:00:00Z".parse::<Timestamp>().unwrap();
    for said in ["2030-01-31T08:00:00Z", "2030-01-31T09:00:00+01:00", "Thu, 31 Jan 2030 08:00:00 +0000"] {
        let message = prepared(format!("X-Posthaste-Send-At: {said}\r\n{WHOLE}\r\n").as_bytes());
        assert_eq!((message.send_at, text(&message)), (Some(moment), format!("{RECEIVED}{WHOLE}\r\n")));
    }
    let refused = |data: &str| prepare(&Bytes::copy_from_slice(data.as_bytes()), &submission(), HeaderLimits::default()).unwrap_err();
    assert_eq!(prepared(format!("X-Posthaste-Priority: -3\r\n{WHOLE}\r\n").as_bytes()).priority.map(|p| p.get()), Some(-3));
    assert_eq!(refused("X-Posthaste-Priority: high\r\n"), Unfit::BadPriority);
    assert_eq!(refused(&"X-Posthaste-Priority: 1\r\n".repeat(2)), Unfit::BadPriority);
    assert_eq!(refused("X-Posthaste-Send-At: tomorrow\r\n"), Unfit::BadSendAt);
    assert_eq!(refused(&"X-Posthaste-Send-At: 2030-01-31T08:00:00Z\r\n".repeat(2)), Unfit::BadSendAt);
}

#[test]
fn an_odd_message_id_is_put_down_as_far_as_it_is_one() {
    let id = |value: &str| prepared(format!("Message-ID:{value}\r\n\r\n").as_bytes()).message_id;
    assert_eq!(id(" <a@b> (comment)").as_deref(), Some("<a@b>"));
    assert_eq!(id("\r\n <a@b>").as_deref(), Some("<a@b>"));
    assert_eq!(id(" no brackets").as_deref(), Some("no brackets"));
    assert_eq!(id(" <a\0@b>"), None);
    assert_eq!(id(&format!(" <{}>", "x".repeat(1000))), None);
}

#[test]
fn the_header_of_a_stored_message_is_found_again() {
    assert_eq!(header_block(b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\n"), b"A: 1\r\nB: 2\r\n");
    assert_eq!(header_block(b"\r\nbody\r\n\r\n"), b"");
    assert_eq!(header_block(b"A: 1\r\n"), b"A: 1\r\n");
}

proptest! {
    #[test]
    fn nothing_but_bcc_and_our_own_fields_is_ever_lost(lines in prop::collection::vec(prop::sample::select(vec![
        "X: a@b.c", "Date: x", "Message-ID: <1@x>", "X: y", " folded", "\tfolded", "", " ", "body text", "a:b", "\u{e9}: x", ":", "Received: by x",
    ]), 0..14), end in prop::sample::select(vec!["", "\r\n"])) {
        let data = lines.join("\r\n") + end;
        let message = prepared(data.as_bytes());
        let out = text(&message);
        prop_assert_eq!(message.size as usize, out.len());
        let rest = out.strip_prefix(RECEIVED).unwrap().replacen(ADDED_FROM, "", 1).replacen(DATE, "", 1).replacen(MESSAGE_ID, "", 1);
        // What was there is still there, in order; only one line end may have been put in.
        let same = rest == data || (0..=data.len()).filter(|&at| data.is_char_boundary(at)).any(|at| {
            let joined = [&data[..at], "\r\n", &data[at..]].concat();
            rest.strip_prefix(&joined).is_some_and(|more| more.is_empty() || more == "\r\n")
        });
        prop_assert!(same, "{data:?} became {rest:?}");
        // Whoever reads it back finds the same header.
        let header = header_block(out.as_bytes());
        prop_assert!(Header::scan(out.as_bytes(), 100_000).unwrap().end == header.len());
    }
}

#[test]
fn a_from_field_with_blanks_before_its_colon_is_no_mbox_line() {
    for field in ["From : a@x.test", "From\t: a@x.test", "From  : a@x.test\r\nFrom: b@y.test", ">From : a@x.test"] {
        let whole = Bytes::from(format!("{field}\r\nSubject: s\r\n\r\nhi\r\n"));
        assert_eq!(without_mbox_lines(&whole), whole, "{field}");
        let behind = Bytes::from(format!("From a@x.test Sat Nov 28 10:00:00 2026\r\n{field}\r\n\r\nhi\r\n"));
        assert!(without_mbox_lines(&behind).starts_with(field.as_bytes()), "{field}");
    }
}
