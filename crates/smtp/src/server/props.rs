//! Properties that hold whatever a client sends and however its bytes are cut.

use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;

use super::{Answer, Offers, Session, SessionLimits, SessionSettings, Step};

const LIMITS: SessionLimits = SessionLimits {
    line: 80,
    text_line: 0,
    recipients: 3,
    message_size: 400,
    header_size: 200,
    bad_commands: 4,
    idle_commands: 8,
    refusals: 6,
    logins: 3,
    messages: 5,
};

/// The replies and steps of a session, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Transcript {
    out: Vec<u8>,
    steps: Vec<Step>,
    open: bool,
}

impl Transcript {
    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.steps.iter().filter_map(|step| match step {
            Step::Message(submission) => Some(&submission.data[..]),
            _ => None,
        })
    }
}

fn talk<'a>(limits: &SessionLimits, chunks: impl Iterator<Item = &'a [u8]>) -> Transcript {
    let settings =
        SessionSettings { hostname: "mx.test".into(), banner: "ESMTP".into(), limits: limits.clone(), offers: Offers::default() };
    let mut session = Session::new(Arc::new(settings), jiff::Timestamp::UNIX_EPOCH);
    let mut transcript = Transcript { open: true, ..Transcript::default() };
    let mut input = BytesMut::new();
    for chunk in chunks {
        input.extend_from_slice(chunk);
        transcript.open = drain(&mut session, &mut input, &mut transcript);
        assert!(input.len() < limits.line, "what is left is less than a command line");
    }
    transcript
}

/// Feeds until more input is wanted; false once the session is over.
fn drain(session: &mut Session, input: &mut BytesMut, transcript: &mut Transcript) -> bool {
    let mut out = Vec::new();
    loop {
        let step = session.feed(input, &mut out);
        assert!(out.len() < (16 << 10) + 1024, "replies do not pile up");
        match &step {
            Step::Mail(_) => session.answer(Ok(()), &mut out),
            Step::Rcpt(to) if to.domain() == "refuse.test" => session.answer(Err(Answer::new(550, 7, 1, "not there")), &mut out),
            Step::Rcpt(_) => session.answer(Ok(()), &mut out),
            Step::Message(_) => session.answer_message(&Answer::queued("1"), &mut out),
            Step::StartTls | Step::Authenticate(_) => unreachable!("neither is offered"),
            Step::More | Step::Flush | Step::Close => {}
            Step::Refused(refusal) => assert!(refusal.answer.code >= 400),
        }
        match step {
            Step::More | Step::Close => {
                transcript.out.append(&mut out);
                return step == Step::More;
            }
            Step::Flush => transcript.out.append(&mut out),
            asked => transcript.steps.push(asked),
        }
    }
}

/// Cuts `bytes` into pieces of these lengths, over and over.
fn cut<'a>(mut bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let length = (*lengths.next()?).clamp(1, bytes.len().max(1));
        (!bytes.is_empty()).then(|| bytes.split_off(..length)).flatten()
    })
}

/// The fragments that dialogues and attacks are made of.
fn scrap() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&[u8]] = &[
        b"EHLO c.test\r\n",
        b"HELO c.test\r\n",
        b"MAIL FROM:<a@b.test>\r\n",
        b"MAIL FROM:<> SIZE=300 BODY=8BITMIME\r\n",
        b"MAIL FROM:<a@b.test> SIZE=401\r\n",
        b"RCPT TO:<x@y.test>\r\n",
        b"RCPT TO:<z@y.test>\r\n",
        b"RCPT TO:<x@refuse.test>\r\n",
        b"DATA\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"Subject: s\r\n\r\n",
        b"text\r\n",
        b"..stuffed\r\n",
        b"\r\n.\r\n",
        b".\r\n",
        b".",
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"\"",
        b"<",
        b">",
        b" ",
    ];
    let long = (1usize..700).prop_map(|n| vec![b'x'; n]);
    prop_oneof![
        12 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => long,
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn soup() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(scrap(), 0..40).prop_map(|scraps| scraps.concat())
}

/// A soup that begins with a valid envelope, so that bodies are tested often.
fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    soup().prop_map(|soup| [b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n", &soup[..]].concat())
}

/// RFC 5321 §4.5.2, the sender's side.
fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    for line in text.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            sent.push(b'.');
        }
        sent.extend_from_slice(line);
    }
    sent
}

fn occurrences(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn how_the_bytes_are_cut_changes_nothing(bytes in prop_oneof![soup(), dialogue()], lengths in proptest::collection::vec(1usize..60, 1..8)) {
        let whole = talk(&LIMITS, std::iter::once(&bytes[..]));
        prop_assert_eq!(&talk(&LIMITS, cut(&bytes, &lengths)), &whole);
        prop_assert_eq!(&talk(&LIMITS, bytes.chunks(1)), &whole);
    }

    #[test]
    fn no_more_messages_come_out_than_ends_went_in(bytes in dialogue()) {
        let transcript = talk(&LIMITS, std::iter::once(&bytes[..]));
        // Overlapping ends, as in CRLF.CRLF.CRLF, share a CRLF.
        let ends = bytes.windows(5).filter(|w| w == b"\r\n.\r\n").count();
        prop_assert!(transcript.messages().count() <= ends);
        for message in transcript.messages() {
            prop_assert!(message.len() <= 400);
            prop_assert!(message.is_empty() || message.ends_with(b"\r\n"));
            prop_assert!(ends_are_clean(message) && !message.contains(&0));
        }
    }

    #[test]
    fn raw_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(talk(&LIMITS, std::iter::once(&bytes[..])).messages().count(), 0);
    }

    #[test]
    fn a_stuffed_message_comes_out_as_it_was(lines in proptest::collection::vec("[.a\u{e9}]{0,6}", 0..30)) {
        let text: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
        let bytes = [
            b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n",
            &stuffed(&text)[..],
            b".\r\n",
        ]
        .concat();
        let transcript = talk(&SessionLimits::default(), std::iter::once(&bytes[..]));
        prop_assert_eq!(transcript.messages().collect::<Vec<_>>(), vec![&text[..]]);
    }
}

/// Every CR has its LF and every LF its CR.
fn ends_are_clean(bytes: &[u8]) -> bool {
    let pairs = occurrences(bytes, b"\r\n");
    let count = |byte| bytes.iter().filter(|b| **b == byte).count();
    count(b'\r') == pairs && count(b'\n') == pairs
}

#[test]
fn nothing_but_crlf_dot_crlf_ends_a_message() {
    let ends: &[&[u8]] = &[
        b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\n\n", b"\r\r", b"\r\n\r", b"\r\n\n", b"\n\r\n", b"\0\r\n", b"\r\0\n", b" \r\n",
        b"\x85", b"\x0b", b"\x0c", b"",
    ];
    let dots: &[&[u8]] = &[b".", b"..", b". ", b".\0", b"\0.", b" ."];
    let first = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\nS: x\r\n\r\ntext";
    let smuggled = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nevil\r\n.\r\n";
    let mut ended = 0;
    for (before, dot, after) in ends.iter().flat_map(|b| dots.iter().flat_map(move |d| ends.iter().map(move |a| (b, d, a)))) {
        let middle = [before, dot, after].map(|part| &part[..]).concat();
        let transcript = talk(&SessionLimits::default(), std::iter::once(&[&first[..], &middle, smuggled].concat()[..]));
        let evil = transcript.steps.iter().any(|step| matches!(step, Step::Mail(mail) if mail.reverse_path.as_str() == "evil@b.test"));
        let end = memchr::memmem::find(&middle, b"\r\n.\r\n").map(|at| at + 5);
        // Without an end of its own the body continues to the end of the smuggled one.
        let body = &middle[..end.unwrap_or(middle.len())];
        let taken = transcript.messages().any(|message| message.starts_with(b"S: x"));
        assert_eq!(taken, ends_are_clean(body) && !body.contains(&0), "{:?}", String::from_utf8_lossy(&middle));
        // A second MAIL counts only after a true end, with no bare line end before it.
        assert_eq!(evil, end.is_some() && ends_are_clean(&middle), "{:?}", String::from_utf8_lossy(&middle));
        ended += usize::from(end.is_some());
    }
    assert!(ended > 0, "the true end is among them");
}

#[test]
fn a_flood_of_commands_leaves_nothing_piled_up() {
    let flood = b"EHLO c.test\r\n".repeat(20_000);
    let transcript = talk(&SessionLimits { idle_commands: 20_000, ..LIMITS }, std::iter::once(&flood[..]));
    assert!(transcript.open);
    assert_eq!(occurrences(&transcript.out, b"250 ENHANCEDSTATUSCODES\r\n"), 20_000);
}
