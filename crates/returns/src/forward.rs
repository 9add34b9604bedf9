//! Mail for people that came to an address for reports: it goes on to the postmaster, as an attachment of a mail of the relay's own. What a
//! stranger wrote is thus not sent, nor signed, under any name but ours, and an answer to it does not look like one to us.

use std::fmt::Write;

use bytes::Bytes;
use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::{Address, BodyKind, Domain, Foreign, MessageId, ReversePath, rfc5322_date};
use posthaste_smtp::server::{Answer, Refused};

use crate::{sent::SentTo, settings::Settings};

/// The field of what was passed on once. Mail with it is in a circle.
const FORWARDED: &str = "X-Posthaste-Forwarded";
/// How many of its recipients are named.
const NAMED_MAX: usize = 10;

/// A mail that is no report, and the message whose reverse-path it came to, if it did.
pub(crate) struct Stray<'a> {
    pub(crate) reverse_path: &'a ReversePath,
    pub(crate) recipients: &'a [Address],
    pub(crate) mail: &'a [u8],
    pub(crate) about: Option<&'a SentTo>,
}

/// Whether a mail was not passed on before, by whichever relay: two of them could pass it to and fro.
pub(crate) fn is_new(mail: &[u8], hostname: &Domain) -> Result<(), Refused> {
    let header = &mail[..memmem::find(mail, b"\r\n\r\n").unwrap_or(mail.len())];
    let went = header
        .split(|byte| *byte == b'\n')
        .any(|line| line.get(..FORWARDED.len()).is_some_and(|name| name.eq_ignore_ascii_case(FORWARDED.as_bytes())));
    if went {
        let text = format!("{hostname} was passed this mail on already: it goes in circles");
        return Err(Refused::new(Answer::new(554, 4, 6, text), "forward_loop"));
    }
    Ok(())
}

impl Stray<'_> {
    /// Whether it can be passed on.
    pub(crate) fn may_go_on(&self, body: BodyKind) -> Result<(), Refused> {
        if body == BodyKind::BinaryMime {
            return Err(Refused::new(Answer::new(554, 6, 1, "no binary mail is taken here"), "binary_mail"));
        }
        Ok(())
    }

    /// The mail that holds it.
    pub(crate) fn wrapped(&self, id: MessageId, settings: &Settings, to: &Address, now: Timestamp) -> Bytes {
        let (host, from) = (&settings.hostname, &settings.notice.from);
        let mut out = format!(
            "From: Mail relay {host} <{from}>\r\nTo: <{to}>\r\nSubject: Mail to an address for delivery reports\r\nDate: {}\r\n\
             Message-ID: <{id}@{host}>\r\nAuto-Submitted: auto-forwarded\r\n{FORWARDED}: {host}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"{id}\"\r\n",
            rfc5322_date(now)
        );
        if let ReversePath::Mailbox(sender) = self.reverse_path
            && sender.is_ascii()
        {
            let _ = write!(out, "Reply-To: <{sender}>\r\n");
        }
        let to: Vec<_> = self.recipients.iter().take(NAMED_MAX).map(|to| format!("<{to}>")).collect();
        let _ = write!(
            out,
            "\r\n--{id}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
             The attached mail came to {host}, where only reports about sent mail are read. It is no report.\r\n\r\n\
             From: <{}>\r\nTo: {}\r\n",
            self.reverse_path.as_str(),
            to.join("\r\n    ")
        );
        if let Some(sent) = self.about {
            let _ = write!(
                out,
                "This is the reverse-path of message {} from <{}> to <{}>.\r\n",
                sent.facts.message,
                Foreign::new(&*sent.facts.from),
                sent.address
            );
        }
        let _ = write!(out, "\r\n--{id}\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"mail.eml\"\r\n\r\n");
        let end = format!("\r\n--{id}--\r\n");
        [out.as_bytes(), self.mail, end.as_bytes()].concat().into()
    }
}

/// Counts what was passed on in the current hour.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    hour: i64,
    count: u32,
}

impl Forwards {
    /// Counts one more; false if there were `most` in this hour.
    pub(crate) fn may_go(&mut self, now: Timestamp, most: u32) -> bool {
        let hour = now.as_second().div_euclid(3600);
        if hour != self.hour {
            *self = Self { hour, count: 0 };
        }
        let goes = self.count < most;
        self.count += u32::from(goes);
        goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_go_on_in_an_hour() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let mut forwards = Forwards::default();
        assert_eq!([0, 1, 2].map(|s| forwards.may_go(at(s), 2)), [true, true, false]);
        assert!(forwards.may_go(at(3600), 2));
        assert!(forwards.may_go(at(-3600), 1), "a clock that was set back begins an hour too");
    }

    #[test]
    fn what_was_passed_on_once_does_not_go_on() {
        let host = Domain::new("relay.test").unwrap();
        let may = |mail: &str, body| {
            let stray = Stray { reverse_path: &ReversePath::Null, recipients: &[], mail: mail.as_bytes(), about: None };
            is_new(stray.mail, &host).and_then(|()| stray.may_go_on(body)).map_err(|refused| refused.answer.code)
        };
        assert_eq!(may("Subject: x\r\nx-posthaste-FORWARDED: other.test\r\n\r\nHello.\r\n", BodyKind::SevenBit), Err(554));
        assert_eq!(may("Subject: x\r\n\r\nX-Posthaste-Forwarded: quoted\r\n", BodyKind::EightBitMime), Ok(()));
        assert_eq!(may("Subject: x\r\n\r\n\0\r\n", BodyKind::BinaryMime), Err(554));
    }
}
