//! The SMTP dialogue for one message with this machine's relay.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
};

use posthaste_mail::{Address, ReversePath};

use super::site::DOT_PATIENCE;

/// The longest reply line that is read, in bytes (RFC 5321 §4.5.3.1.5 allows 512).
const REPLY_LINE_MAX: u64 = 4096;

/// A session.
pub(super) struct Dialogue(BufReader<TcpStream>);

/// The relay's refusal, or what failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// 4xx, or no reply at all.
    Now(String),
    /// 5xx.
    Ever(String),
}

impl Dialogue {
    /// Reads the greeting on `stream` and sends EHLO with this name.
    pub(super) fn begin(stream: TcpStream, hostname: &str) -> Result<Self, Refused> {
        let mut dialogue = Self(BufReader::new(stream));
        dialogue.hear()?;
        dialogue.say(&format!("EHLO {hostname}"))?;
        Ok(dialogue)
    }

    /// Submits to all recipients or to none: a caller that gets an error sends the message again.
    pub(super) fn hand_in(&mut self, sender: &ReversePath, recipients: &[Address], data: &[u8]) -> Result<(), Refused> {
        let body = if data.is_ascii() { "" } else { " BODY=8BITMIME" };
        let is_ascii = sender.as_str().is_ascii() && recipients.iter().all(Address::is_ascii);
        let utf8 = if is_ascii { "" } else { " SMTPUTF8" };
        self.say(&format!("MAIL FROM:<{sender}>{body}{utf8}"))?;
        for recipient in recipients {
            self.say(&format!("RCPT TO:<{recipient}>"))?;
        }
        self.say("DATA")?;
        let sent = self.0.get_mut().write_all(&stuffed(data));
        sent.and_then(|()| self.0.get_ref().set_read_timeout(Some(DOT_PATIENCE))).map_err(|error| failed(&error))?;
        self.hear()?;
        // The relay has the message now, whatever happens after this.
        let _ = self.say("QUIT");
        Ok(())
    }

    fn say(&mut self, line: &str) -> Result<(), Refused> {
        let said = self.0.get_mut().write_all(format!("{line}\r\n").as_bytes());
        said.map_err(|error| failed(&error))?;
        self.hear()
    }

    /// Reads a reply up to its last line.
    fn hear(&mut self) -> Result<(), Refused> {
        use std::io::Read;
        loop {
            let mut line = String::new();
            let read = self.0.by_ref().take(REPLY_LINE_MAX).read_line(&mut line);
            match read {
                Ok(0) => return Err(Refused::Now("the relay closed the connection".into())),
                Err(error) => return Err(failed(&error)),
                Ok(_) if line.as_bytes().get(3) == Some(&b'-') => {}
                Ok(_) => {
                    let line = line.trim_end().to_owned();
                    return match line.as_bytes().first() {
                        Some(b'2' | b'3') => Ok(()),
                        Some(b'5') => Err(Refused::Ever(line)),
                        _ => Err(Refused::Now(line)),
                    };
                }
            }
        }
    }
}

fn failed(error: &io::Error) -> Refused {
    Refused::Now(match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the relay does not answer".into(),
        _ => error.to_string(),
    })
}

/// RFC 5321 §4.5.2, with the final dot.
fn stuffed(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 64 + 3);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_at_a_lines_beginning_is_doubled() {
        assert_eq!(stuffed(b".\r\na.b\r\n..\r\n"), b"..\r\na.b\r\n...\r\n.\r\n");
        assert_eq!(stuffed(b""), b".\r\n");
    }
}
