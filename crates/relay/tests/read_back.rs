//! What a door takes is read back: from the spool as the same record, from the log as the same recipient.

use std::{fmt::Write, net::Ipv6Addr, sync::Arc, time::Duration};

use bytes::BytesMut;
use jiff::Timestamp;
use posthaste_mail::{Address, BodyKind, Envelope, Event, EventId, Name, ReversePath, SCHEMA_VERSION, TransferPriority, What};
use posthaste_message::{Message, MessageRecord};
use posthaste_monitor::{CURRENT, LogRecord, encode, tail_since};
use posthaste_smtp::server::{Offers, Session, SessionLimits, SessionSettings, Step};
use posthaste_submission::arrival;
use proptest::prelude::*;

const LIMITS: SessionLimits = SessionLimits {
    line: 2048,
    text_line: 0,
    recipients: 20,
    message_size: 10_000,
    header_size: 10_000,
    bad_commands: 100,
    idle_commands: 100,
    refusals: 100,
    logins: 3,
    messages: 5,
};

/// The envelope that the SMTP door takes of these commands, if it takes one.
fn taken(mail: &str, rcpts: &[String]) -> Option<(Envelope, Arc<str>)> {
    let offers = Offers { hold: Some(Duration::from_secs(86_400)), priority: true, ..Offers::default() };
    let settings = SessionSettings { hostname: "mx.test".into(), banner: "ESMTP".into(), limits: LIMITS, offers };
    let mut session = Session::new(Arc::new(settings), Timestamp::UNIX_EPOCH);
    let mut input = BytesMut::from("EHLO [IPv6:2001:db8::1]\r\n");
    input.extend_from_slice(format!("{mail}\r\n").as_bytes());
    rcpts.iter().for_each(|rcpt| input.extend_from_slice(format!("{rcpt}\r\n").as_bytes()));
    input.extend_from_slice(b"BDAT 1 LAST\r\nx");
    let mut out = Vec::new();
    loop {
        match session.feed(&mut input, &mut out) {
            Step::Mail(_) | Step::Rcpt(_) => session.answer(Ok(()), &mut out),
            Step::Message(submission) => return Some((submission.envelope, submission.helo)),
            Step::More | Step::Close => return None,
            Step::Flush | Step::Refused(_) => out.clear(),
            Step::StartTls | Step::Authenticate(_) => unreachable!("neither is offered"),
        }
    }
}

fn record(envelope: Envelope, helo: Arc<str>, texts: Vec<String>) -> MessageRecord {
    let texts: Vec<Arc<str>> = texts.into_iter().map(Into::into).collect();
    MessageRecord {
        id: posthaste_mail::MessageId::new(at(), 7),
        arrived: at(),
        stream: Name::new("default").unwrap(),
        tags: texts.clone(),
        meta: texts.clone(),
        message_id: texts.first().cloned(),
        envelope,
        size: u64::MAX,
        has_8bit: true,
        utf8_header: true,
        binary: true,
        client_ip: Some(Ipv6Addr::LOCALHOST.into()),
        client_ehlo: Some(helo),
        user: texts.last().cloned(),
        from_domain: texts.first().cloned(),
        aligned: Some(true),
        one_click: true,
        notice_of: Some(posthaste_mail::MessageId::new(at(), 8)),
        guarded: None,
    }
}

fn at() -> Timestamp {
    "2026-11-29T06:00:00.123456789Z".parse().unwrap()
}

fn is_read_back(record: MessageRecord) {
    let stored = record.encode().unwrap_or_else(|why| panic!("{why}: {record:?}"));
    assert_eq!(MessageRecord::decode(&stored).unwrap(), record);
    let (message, mut log) = (Message::new(record, Vec::new(), None), Vec::new());
    let record = &message.record;
    let arrival = arrival(record, 5, None);
    assert_eq!(
        (&arrival.stream, arrival.user.as_deref()),
        (&record.stream, record.user.as_deref()),
        "whose mail the dispatcher takes it for"
    );
    for (place, rcpt) in (0..).zip(&record.envelope.recipients) {
        let begin = log.len();
        let what = What::Accepted {
            about: message.about(place, record.arrived),
            client_ip: record.client_ip,
            client_ehlo: record.client_ehlo.clone(),
            priority: TransferPriority::default(),
            spool_seq: 5,
            notice_of: record.notice_of,
            recovered: false,
        };
        let node = Name::new("mx1").unwrap();
        encode(&Event { time: at(), v: SCHEMA_VERSION, id: EventId::new(at(), 1), node, what }, &mut log);
        let line = LogRecord::parse(&log[begin..]).expect("a line");
        assert_eq!((line.message(), line.rcpt.as_deref()), (Some(record.id), Some(rcpt.as_str())));
        assert_eq!(line.from.as_deref(), Some(record.envelope.reverse_path.as_str()));
        assert_eq!(line.client_ehlo.as_deref(), record.client_ehlo.as_deref());
        assert_eq!(line.user.as_deref(), record.user.as_deref());
        assert!(line.tags.iter().map(|tag| &**tag).eq(record.tags.iter().map(|tag| &**tag)));
        assert!(log.len() - begin < 1 << 20, "the reader takes a longer line for damage");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(CURRENT), &log).unwrap();
    let tail = tail_since(dir.path(), None).unwrap();
    assert!(record.envelope.recipients.iter().all(|rcpt| tail.was_accepted(5, rcpt.as_str())), "{record:?}");
}

/// Local parts that a door may take, and some that it must not.
fn local() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]{1,70}", "[a-zäß日😀é\u{301}\u{200f}.]{1,20}", "\"([ !#-\\[\\]-~äß日]|\\\\[ -~]){0,40}\""]
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_-]{1,64}(\\.[a-zA-Z0-9-]{1,64}){0,4}\\.?",
        "[a-zäßéü日本]{1,12}(。|\\.)[a-zäü]{1,8}",
        Just("[192.0.2.1]".to_owned()),
        Just("[iPv6:2001:DB8::1]".to_owned()),
        Just("xn--mnchen-3ya.de".to_owned()),
        Just("faß.de".to_owned()),
    ]
}

fn mailbox() -> impl Strategy<Value = String> {
    (local(), domain()).prop_map(|(local, domain)| format!("{local}@{domain}"))
}

fn mail_parameters() -> impl Strategy<Value = Vec<String>> {
    let some = |text: &'static str| prop_oneof![Just(String::new()), Just(text.to_owned())];
    let one = |text: &'static str| prop_oneof![Just(String::new()), text.prop_map(|value: String| value)];
    let list = (
        one("ENVID=([!-*,-<>-~]|\\+[2-7][0-9A-F]){1,100}"),
        some("REQUIRETLS"),
        some("RET=HDRS"),
        some("HOLDFOR=3600"),
        one("BY=[+-]?[0-9]{1,9};[RN]T?"),
        one("MT-PRIORITY=-?[0-9]"),
        one("BODY=(7BIT|8BITMIME|BINARYMIME)"),
    );
    list.prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g])
}

fn rcpt_parameters() -> impl Strategy<Value = String> {
    let notify = prop_oneof![Just(String::new()), " NOTIFY=(NEVER|SUCCESS|FAILURE,DELAY|DELAY)".prop_map(|text: String| text)];
    let orcpt = prop_oneof![
        Just(String::new()),
        " ORCPT=rfc822;([!-*,-<>-~]|\\+[2-7][0-9A-F]){1,200}".prop_map(|text: String| text),
        " ORCPT=utf-8;[a-zäß日@.\\\\x{}]{1,60}".prop_map(|text: String| text),
    ];
    (notify, orcpt).prop_map(|(notify, orcpt)| notify + &orcpt)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// By SMTP: every parameter, every form of an address, with and without SMTPUTF8.
    #[test]
    fn what_the_smtp_door_takes_is_read_back(
        from in prop_oneof![Just(String::new()), mailbox()],
        utf8 in any::<bool>(),
        parameters in mail_parameters(),
        rcpts in prop::collection::vec((mailbox(), rcpt_parameters()), 1..4),
        texts in prop::collection::vec("\\PC{0,128}|[\\x00-\\x1f\\x7f\"\\\\]{0,20}", 0..3),
    ) {
        let mut mail = format!("MAIL FROM:<{from}>{}", if utf8 { " SMTPUTF8" } else { "" });
        parameters.iter().filter(|one| !one.is_empty()).for_each(|one| write!(mail, " {one}").unwrap());
        let rcpts: Vec<_> = rcpts.iter().map(|(rcpt, parameters)| format!("RCPT TO:<{rcpt}>{parameters}")).collect();
        if let Some((envelope, helo)) = taken(&mail, &rcpts) {
            is_read_back(record(envelope, helo, texts));
        }
    }

    /// By HTTP, by `sendmail` and as the relay's own notice: an envelope is made of addresses.
    #[test]
    fn an_envelope_of_any_addresses_is_read_back(
        from in prop::option::of(mailbox()),
        rcpts in prop::collection::vec(mailbox(), 1..4),
        body in prop_oneof![Just(BodyKind::SevenBit), Just(BodyKind::EightBitMime), Just(BodyKind::BinaryMime)],
        texts in prop::collection::vec("\\PC{0,128}", 0..3),
    ) {
        let from = from.map_or(Some(ReversePath::Null), |from| Address::international(&from).ok().map(ReversePath::Mailbox));
        let rcpts: Vec<_> = rcpts.iter().filter_map(|rcpt| Address::international(rcpt).ok()).collect();
        if let Some(from) = from.filter(|_| !rcpts.is_empty()) {
            is_read_back(record(Envelope { body, ..Envelope::new(from, rcpts) }, "app.test".into(), texts));
        }
    }
}

#[test]
fn the_doors_take_what_the_properties_are_about() {
    let rcpt = ["RCPT TO:<\"a \\\" b\"@faß.de> NOTIFY=NEVER ORCPT=rfc822;a+20b@c.d".to_owned()];
    let (envelope, helo) = taken("MAIL FROM:<jörg@b.test> SMTPUTF8 RET=HDRS ENVID=Q+2BQ HOLDFOR=60 BY=-5;N", &rcpt).expect("taken");
    assert_eq!(envelope.reverse_path.as_str(), "jörg@b.test");
    is_read_back(record(envelope, helo, vec!["ä\u{0}\"".to_owned()]));
}
