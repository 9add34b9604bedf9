//! A client's input: the result is the same in whatever pieces it arrives, and only CRLF.CRLF or a declared length ends a message.

use std::sync::Arc;

use bytes::BytesMut;
use posthaste_smtp::server::{
    Answer, Bindings, Credentials, Offers, Session, SessionLimits, SessionSettings, Step,
    sasl::{Mechanism, ScramKeys},
};

/// Input from the greeting on.
pub(crate) fn commands(bytes: &[u8]) {
    let told = talk(bytes, bytes.len());
    assert_eq!(told, talk(bytes, 1));
    assert_eq!(told, talk(bytes, 7));
}

/// Input after an envelope: DATA's bytes, or those of BDAT if they begin with a B.
pub(crate) fn body(bytes: &[u8]) {
    let envelope = &b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\n"[..];
    let begin = if bytes.first() == Some(&b'B') { &b""[..] } else { b"DATA\r\n" };
    let all = [envelope, begin, bytes].concat();
    let told = talk(&all, all.len());
    assert_eq!(told, talk(&all, 1));
    let ends = all.windows(5).filter(|w| *w == b"\r\n.\r\n").count() + all.windows(4).filter(|w| w.eq_ignore_ascii_case(b"LAST")).count();
    assert!(told.messages.len() <= ends, "{} messages, {ends} ends", told.messages.len());
    for message in &told.messages {
        let pairs = message.windows(2).filter(|w| *w == b"\r\n").count();
        let count = |byte| message.iter().filter(|b| **b == byte).count();
        let clean = count(b'\r') == pairs && count(b'\n') == pairs && count(0) == 0;
        assert!(clean || told.binary, "a bare line end or a NUL came through");
    }
}

/// What a session replied, and what it handed out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    out: Vec<u8>,
    messages: Vec<Vec<u8>>,
    binary: bool,
}

fn talk(bytes: &[u8], piece: usize) -> Told {
    let limits =
        SessionLimits { line: 512, recipients: 5, message_size: 4000, header_size: 1000, refusals: 50, ..SessionLimits::default() };
    let offers =
        Offers { auth: Mechanism::ALL.to_vec(), auth_in_clear: true, hold: Some(std::time::Duration::from_secs(60)), ..Offers::default() };
    let settings = SessionSettings { hostname: "mx.test".into(), banner: "ESMTP".into(), limits, offers };
    let mut session = Session::new(Arc::new(settings), jiff::Timestamp::UNIX_EPOCH);
    session.secured(Bindings { exporter: Some([1; 32]), server_end_point: None });
    let (mut told, mut input) = (Told::default(), BytesMut::new());
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        if !drain(&mut session, &mut input, &mut told) {
            break;
        }
    }
    told
}

/// False once the session is over.
fn drain(session: &mut Session, input: &mut BytesMut, told: &mut Told) -> bool {
    loop {
        let step = session.feed(input, &mut told.out);
        match step {
            Step::More => return true,
            Step::Close => return false,
            Step::Flush | Step::Refused(_) => {}
            Step::StartTls => unreachable!("TLS is on"),
            Step::Mail(mail) => {
                told.binary |= mail.body == posthaste_mail::BodyKind::BinaryMime;
                session.answer(Ok(()), &mut told.out);
            }
            Step::Rcpt(_) => session.answer(Ok(()), &mut told.out),
            Step::Authenticate(Credentials::Keys { user }) => {
                session.scram_keys(&ScramKeys::decoy(b"secret", &user, 4096, 16), &[0; 18], &mut told.out);
            }
            Step::Authenticate(credentials) => {
                let good = !credentials.user().is_empty();
                session.authenticated(if good { Ok(credentials.user().into()) } else { Err(Answer::auth_failed()) }, &mut told.out);
            }
            Step::Message(message) => {
                told.messages.push(message.data.to_vec());
                session.answer_message(&Answer::queued("1"), &mut told.out);
            }
        }
    }
}
