//! `-bs`: the caller speaks SMTP with the relay. Names of this machine in MAIL and RCPT become addresses on the way, as those of `-t` do.
//!
//! One command at a time is passed on and its reply waited for, by plain reads and writes: `io::copy` would have the kernel do it (splice), which
//! holds a pipe while it waits for the socket, so that a caller who waits for what is in the pipe waits for ever.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::names::Names;

/// The longest line, in bytes: AUTH has the longest (RFC 4954 §4).
const LINE_MAX: u64 = 12_288;
/// Lines of one reply, at most.
const REPLY_LINES_MAX: usize = 1000;

/// A session with the relay, or with what stands in for it.
pub(super) struct Relayed<R: Read, W: Write> {
    read: BufReader<R>,
    write: W,
    greeting: Reply,
}

/// A reply, with its line ends.
struct Reply(Vec<u8>);

impl Reply {
    fn begins(&self, digits: &[u8]) -> bool {
        self.0.starts_with(digits)
    }

    /// The answer to EHLO as it holds between the caller and this program: a caller that is offered TLS would have to use it (RFC 3207 §4), or
    /// give up.
    fn without_tls(self) -> Self {
        let is_tls = |line: &&[u8]| line.get(4..).is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"STARTTLS"));
        let mut lines: Vec<Vec<u8>> =
            self.0.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_tls(line)).map(<[u8]>::to_vec).collect();
        // The last line of a reply has a blank behind its code (RFC 5321 §4.2.1).
        if let Some(mark) = lines.last_mut().and_then(|last| last.get_mut(3)) {
            *mark = b' ';
        }
        Self(lines.concat())
    }
}

impl<R: Read, W: Write> Relayed<R, W> {
    /// Waits for the greeting, which has to be a friendly one.
    pub(super) fn begin(read: R, write: W) -> io::Result<Self> {
        let mut relay = Self { read: BufReader::new(read), write, greeting: Reply(Vec::new()) };
        relay.greeting = relay.hear()?;
        if relay.greeting.begins(b"2") {
            return Ok(relay);
        }
        Err(io::Error::other(String::from_utf8_lossy(&relay.greeting.0).trim_end().to_owned()))
    }

    /// Passes commands and replies until one side ends it.
    pub(super) fn pass(&mut self, names: &Names, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
        tell(to, &self.greeting)?;
        loop {
            let line = match read_line(from) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                line => line?,
            };
            let reply = self.command(names, &line, from, to)?;
            tell(to, &reply)?;
            if reply.begins(b"221") || reply.begins(b"421") {
                return Ok(());
            }
            if reply.begins(b"354") {
                self.text(from)?;
                tell(to, &self.hear()?)?;
            }
        }
    }

    /// Passes one command on, with what belongs to it, and returns the last reply.
    fn command(&mut self, names: &Names, line: &[u8], from: &mut impl BufRead, to: &mut impl Write) -> io::Result<Reply> {
        if line.len() as u64 > LINE_MAX {
            return Ok(Reply(b"500 5.5.2 line too long\r\n".to_vec()));
        }
        let mut words = line.split(u8::is_ascii_whitespace);
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        match &verb[..] {
            b"EHLO" => Ok(self.ask(line)?.without_tls()),
            b"STARTTLS" => Ok(Reply(b"502 5.5.1 STARTTLS is not offered here: there is no TLS in a pipe\r\n".to_vec())),
            b"BDAT" => {
                self.write.write_all(line)?;
                let length = words.next().and_then(|word| str::from_utf8(word).ok()?.parse().ok());
                self.chunk(length.unwrap_or(0), from)?;
                self.hear()
            }
            b"AUTH" => {
                let mut reply = self.ask(line)?;
                while reply.begins(b"334") {
                    tell(to, &reply)?;
                    reply = self.ask(&read_line(from)?)?;
                }
                Ok(reply)
            }
            _ => self.addressed(names, line),
        }
    }

    /// Passes on what becomes of a command with its addresses. The reply is that of the first that is taken.
    fn addressed(&mut self, names: &Names, line: &[u8]) -> io::Result<Reply> {
        let mut answer: Option<Reply> = None;
        for line in with_addresses(names, line) {
            let reply = match line {
                Ok(line) => self.ask(&line)?,
                Err(why) => Reply(format!("550 5.1.1 {}\r\n", why.replace(['\r', '\n'], " ")).into_bytes()),
            };
            if answer.as_ref().is_none_or(|before| !before.begins(b"2") && reply.begins(b"2")) {
                answer = Some(reply);
            }
        }
        Ok(answer.expect("something becomes of every command"))
    }

    /// Passes `left` bytes on.
    fn chunk(&mut self, mut left: u64, from: &mut impl BufRead) -> io::Result<()> {
        while left > 0 {
            let piece = filled(from)?;
            let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.write.write_all(&piece[..length])?;
            from.consume(length);
            left -= length as u64;
        }
        self.write.flush()
    }

    fn ask(&mut self, line: &[u8]) -> io::Result<Reply> {
        self.write.write_all(line)?;
        self.write.flush()?;
        self.hear()
    }

    /// Passes a message on, as far as the line with the dot.
    fn text(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        let mut end = TextEnd::LineStart;
        while end != TextEnd::Over {
            let piece = filled(from)?;
            let over = piece.iter().position(|byte| {
                end = end.after(*byte);
                end == TextEnd::Over
            });
            let length = over.map_or(piece.len(), |at| at + 1);
            self.write.write_all(&piece[..length])?;
            from.consume(length);
        }
        self.write.flush()
    }

    fn hear(&mut self) -> io::Result<Reply> {
        let mut reply = Vec::new();
        for _ in 0..REPLY_LINES_MAX {
            let begin = reply.len();
            let read = (&mut self.read).take(LINE_MAX).read_until(b'\n', &mut reply)?;
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the relay closed the connection"));
            }
            if reply[begin..].get(3) != Some(&b'-') {
                return Ok(Reply(reply));
            }
        }
        Err(io::Error::other("the relay's reply has no end"))
    }
}

/// How much of the end of a message, CRLF.CRLF, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextEnd {
    No,
    Cr,
    LineStart,
    Dot,
    DotCr,
    Over,
}

impl TextEnd {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::DotCr, b'\n') => Self::Over,
            (Self::Cr, b'\n') => Self::LineStart,
            (Self::LineStart, b'.') => Self::Dot,
            (Self::Dot, b'\r') => Self::DotCr,
            (_, b'\r') => Self::Cr,
            _ => Self::No,
        }
    }
}

/// The commands that a caller's line becomes: names of this machine lead to addresses, and an alias to several. Err: nobody can be reached.
fn with_addresses(names: &Names, line: &[u8]) -> Vec<Result<Vec<u8>, String>> {
    let as_it_is = || vec![Ok(line.to_vec())];
    let Some(Path { before, path, behind }) = str::from_utf8(line).ok().and_then(Path::read) else { return as_it_is() };
    if path.is_empty() || !names.is_local(path) {
        return as_it_is();
    }
    let with = |address: &dyn std::fmt::Display| format!("{before}<{address}>{behind}").into_bytes();
    if before.trim_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case("MAIL")) {
        return vec![names.sender(path).map(|sender| with(&sender)).map_err(|why| why.to_string())];
    }
    match names.recipients(std::iter::once(path)) {
        Ok(addresses) => addresses.iter().map(|address| Ok(with(address))).collect(),
        Err(why) => vec![Err(why.to_string())],
    }
}

/// MAIL or RCPT, taken apart.
struct Path<'a> {
    /// As far as the colon.
    before: &'a str,
    /// The path without its brackets.
    path: &'a str,
    /// The parameters and the line's end.
    behind: &'a str,
}

impl<'a> Path<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let colon = line.find(':')?;
        let words: Vec<&str> = line[..colon].split_ascii_whitespace().collect();
        let [verb, keyword] = words[..] else { return None };
        let fits = |wanted: [&str; 2]| verb.eq_ignore_ascii_case(wanted[0]) && keyword.eq_ignore_ascii_case(wanted[1]);
        if !(fits(["MAIL", "FROM"]) || fits(["RCPT", "TO"])) {
            return None;
        }
        let (before, rest) = line.split_at(colon + 1);
        let rest = rest.trim_start_matches([' ', '\t']);
        let (path, behind) = match rest.strip_prefix('<') {
            Some(inner) => inner.split_once('>')?,
            None => rest.split_at(rest.find(|c: char| c.is_ascii_whitespace())?),
        };
        Some(Self { before, path: path.trim(), behind })
    }
}

/// A line with its end; of one that is too long as much as shows that. Err: there is no more.
fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let piece = filled(from)?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |at| at + 1);
        if line.len() as u64 <= LINE_MAX {
            line.extend_from_slice(&piece[..length]);
        }
        from.consume(length);
        if end.is_some() {
            return Ok(line);
        }
    }
}

/// What the caller has said and nobody has read. Err: there is no more.
fn filled(from: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match from.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Asked once more, because a reference that is returned is held for the whole loop.
            Ok(_) => return from.fill_buf(),
            Err(error) => return Err(error),
        }
    }
}

fn tell(to: &mut impl Write, reply: &Reply) -> io::Result<()> {
    to.write_all(&reply.0)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_the_relay_sees_its_end() {
        let end = |text: &str| text.bytes().fold(TextEnd::LineStart, |end, byte| if end == TextEnd::Over { end } else { end.after(byte) });
        for text in [".\r\n", "a\r\n.\r\n", "a\n.\n\r\n.\r\n", ".\r\r\n.\r\n"] {
            assert_eq!(end(text), TextEnd::Over, "{text:?}");
        }
        for text in ["a\n.\r\n", "a\r\n.\n", "..\r\n", "a\r\n.b\r\n", "a.\r\n"] {
            assert_ne!(end(text), TextEnd::Over, "{text:?}");
        }
    }

    #[test]
    fn tls_is_not_offered_to_a_caller_and_the_reply_is_whole_without_it() {
        let heard = |reply: &str| String::from_utf8(Reply(reply.as_bytes().to_vec()).without_tls().0).unwrap();
        assert_eq!(heard("250-mx\r\n250-STARTTLS\r\n250 SIZE 5\r\n"), "250-mx\r\n250 SIZE 5\r\n");
        assert_eq!(heard("250-mx\r\n250-SIZE 5\r\n250 starttls\r\n"), "250-mx\r\n250 SIZE 5\r\n");
        assert_eq!(heard("250-STARTTLS.test\r\n250 STARTTLSX\r\n"), "250-STARTTLS.test\r\n250 STARTTLSX\r\n");
        assert_eq!(heard("501 5.5.4 no\r\n"), "501 5.5.4 no\r\n");
    }

    #[test]
    fn a_command_is_taken_apart_where_it_has_a_path() {
        let read = |line: &'static str| Path::read(line).map(|path| (path.before, path.path, path.behind));
        assert_eq!(read("RCPT TO:<root> NOTIFY=NEVER\r\n"), Some(("RCPT TO:", "root", " NOTIFY=NEVER\r\n")));
        assert_eq!(read("mail from: root\n"), Some(("mail from:", "root", "\n")));
        assert_eq!(read("MAIL FROM:<>\r\n"), Some(("MAIL FROM:", "", "\r\n")));
        for line in ["DATA\r\n", "EHLO [IPv6:::1]\r\n", "VRFY a:b\r\n", "RCPT TO:<root\r\n"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
