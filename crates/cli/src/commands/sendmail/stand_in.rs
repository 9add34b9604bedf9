//! `-bs` while the relay is down: the command itself speaks SMTP with the caller, and keeps each message for the relay. A framework that sends by
//! `-bs` gets the same answer as one that sends by `-t`.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::BytesMut;
use posthaste_host::clock;
use posthaste_smtp::server::{Answer, BareLineEnds, Offers, Session, SessionLimits, SessionSettings, Step, Submission};

use super::{failure::Failure, site::Site};

/// Bytes read at once.
const PIECE: usize = 16 << 10;

/// Speaks SMTP with the caller until it says QUIT or is gone. `keep` keeps a message.
pub(super) fn speak(
    site: &Site,
    from: &mut impl Read,
    to: &mut impl Write,
    keep: impl Fn(&Submission) -> Result<(), Failure>,
) -> io::Result<()> {
    let mut session = Session::new(Arc::new(settings(site)), clock::now());
    let (mut input, mut out) = (BytesMut::new(), Vec::new());
    session.greet(&mut out);
    loop {
        let step = session.feed(&mut input, &mut out);
        match step {
            Step::Mail(_) | Step::Rcpt(_) => session.answer(Ok(()), &mut out),
            Step::Message(message) => {
                let answer = match keep(&message) {
                    Ok(()) => Answer::new(250, 0, 0, "Ok: kept until the relay is back"),
                    Err(Failure::Refused(why)) => Answer::new(554, 6, 0, why),
                    Err(failure) => Answer::trouble(failure.to_string()),
                };
                session.answer_message(&answer, &mut out);
            }
            // Neither is offered.
            Step::StartTls | Step::Authenticate(_) => return Ok(()),
            Step::Refused(_) => {}
            Step::More | Step::Flush | Step::Close => {
                to.write_all(&out)?;
                to.flush()?;
                out.clear();
                if step == Step::Close || (step == Step::More && read(from, &mut input)? == 0) {
                    return Ok(());
                }
            }
        }
    }
}

fn settings(site: &Site) -> SessionSettings {
    let usual = SessionLimits::default();
    let message_size = site.message_size.unwrap_or(usual.message_size);
    SessionSettings {
        hostname: site.hostname.to_string(),
        banner: "ESMTP posthaste (the relay is down: mail is kept)".into(),
        limits: SessionLimits { recipients: site.recipients_max, message_size, ..usual },
        offers: Offers { bare_line_ends: BareLineEnds::Fix, lenient: true, ..Offers::default() },
    }
}

fn read(from: &mut impl Read, input: &mut BytesMut) -> io::Result<usize> {
    let mut piece = [0; PIECE];
    loop {
        match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                let read = read?;
                input.extend_from_slice(&piece[..read]);
                return Ok(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn spoken(input: &str, keep: impl Fn(&Submission) -> Result<(), Failure>) -> String {
        let site = Site::of(&"hostname = \"mx.x.test\"".parse().unwrap());
        let mut out = Vec::new();
        speak(&site, &mut input.as_bytes(), &mut out, keep).unwrap();
        String::from_utf8(out).unwrap()
    }

    const SESSION: &str = "EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nSubject: x\n\r\nhi\r\n.\r\nQUIT\r\n";

    #[test]
    fn each_message_is_kept_before_it_is_answered() {
        let kept = RefCell::new(Vec::new());
        let said = spoken(SESSION, |message| {
            kept.borrow_mut().push((message.envelope.recipients.len(), message.data.clone()));
            Ok(())
        });
        assert!(said.starts_with("220 mx.x.test ") && said.contains("\r\n250 2.0.0 Ok: kept until the relay is back\r\n221 "), "{said}");
        assert_eq!(*kept.borrow(), [(1, "Subject: x\r\n\r\nhi\r\n".into())]);
    }

    #[test]
    fn what_is_not_offered_is_not_implemented() {
        let said = spoken("EHLO c\r\nSTARTTLS\r\nAUTH PLAIN AGEAYg==\r\nXCLIENT NAME=a\r\nQUIT\r\n", |_| Ok(()));
        let offers = |what: &str| said.lines().any(|line| line.starts_with("250") && line[4..].starts_with(what));
        assert!(!offers("STARTTLS") && !offers("AUTH") && offers("SIZE"), "{said}");
        let codes: Vec<&str> = said.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
        assert!(matches!(codes[..], ["220", "250", "500" | "502", "500" | "502" | "503", "500" | "502", "221"]), "{said}");
    }

    #[test]
    fn what_is_not_kept_is_not_taken() {
        assert!(
            spoken(SESSION, |_| Err(Failure::Later("the disk is full".into())))
                .contains("\r\n451 4.3.0 the disk is full; try again later\r\n")
        );
        assert!(spoken(SESSION, |_| Err(Failure::Refused("two From".into()))).contains("\r\n554 5.6.0 two From\r\n"));
    }
}
