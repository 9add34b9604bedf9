//! Parses replies (RFC 5321 §4.2): strict about codes, tolerant of line ends, with a limit on every size and on their number. No I/O.

use std::collections::VecDeque;

use memchr::memchr;
use posthaste_mail::Reply;

/// How many bytes of a line are kept; the rest is dropped. RFC 5321 §4.5.3.1.5 asks for 512.
const LINE_KEPT: usize = 4096;
/// The most lines of one reply.
const LINES_MAX: usize = 100;
/// The most bytes of one reply, including dropped ones.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of replies that wait to be taken: a thousand refused recipients with a kilobyte of reasons each.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// Takes bytes in any pieces and returns whole replies. Bytes that follow a reply are kept for the next one, as long as one is owed.
///
/// A receiver owes a reply for each command, and may say one more without being asked: why it ends the dialogue (a 421, or a refusal of what
/// is still being sent). Whatever it says beyond that is no SMTP, and nothing more is taken in.
#[derive(Default)]
pub(crate) struct Replies {
    ready: VecDeque<Reply>,
    /// Bytes of those.
    waiting: usize,
    /// Replies that are still to come for commands.
    owed: usize,
    /// Whether a refusal came that no command asked for: it is the last reply.
    unasked: bool,
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// The reply that is not complete yet.
    code: u16,
    text: String,
    lines: usize,
    bytes: usize,
    garbage: Option<NotAReply>,
}

/// Why bytes are no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAReply {
    #[error("a reply of more than {REPLY_BYTES_MAX} bytes")]
    TooLong,
    #[error("a reply of more than {LINES_MAX} lines")]
    TooManyLines,
    #[error("a reply with two codes, {0} and {1}")]
    TwoCodes(u16, u16),
    #[error("not an SMTP reply: {0:?}")]
    Malformed(String),
    #[error("{0:?} without a command")]
    Unasked(String),
    #[error("more than {WAITING_BYTES_MAX} bytes of replies at once")]
    TooMuch,
}

impl Replies {
    /// Commands are sent that the receiver owes so many replies for.
    pub(crate) fn expect(&mut self, more: usize) {
        self.owed = self.owed.saturating_add(more);
    }

    /// Takes bytes from the receiver.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while self.garbage.is_none() && !bytes.is_empty() {
            let end = memchr(b'\n', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            bytes = end.map_or(&[], |at| &bytes[at + 1..]);
            self.bytes += part.len() + usize::from(end.is_some());
            if self.bytes > REPLY_BYTES_MAX {
                self.garbage = Some(NotAReply::TooLong);
                return;
            }
            let room = LINE_KEPT - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if end.is_some() {
                self.end_line();
            } else if self.line.len() >= 4 && split(&self.line).is_none() {
                // A server of another protocol may never end its line, so do not wait for the end.
                self.garbage = Some(not_a_reply(&self.line));
            }
        }
    }

    /// The next whole reply; None while there is none; Err once the bytes were no reply.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, NotAReply> {
        match (self.ready.pop_front(), &self.garbage) {
            (Some(reply), _) => {
                self.waiting -= reply.text.len();
                Ok(Some(reply))
            }
            (None, Some(why)) => Err(why.clone()),
            (None, None) => Ok(None),
        }
    }

    /// Whether anything is left to take: a reply, part of one, or bytes that are no reply.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.has_next() || self.is_midway()
    }

    /// Whether [`Self::next`] returns a reply or an error.
    pub(crate) fn has_next(&self) -> bool {
        !self.ready.is_empty() || self.garbage.is_some()
    }

    /// Whether the dialogue is over once what is ready has been taken: something came that no command asked for.
    pub(crate) fn is_out_of_step(&self) -> bool {
        self.ready.is_empty() && (self.unasked || self.garbage.is_some())
    }

    /// Whether bytes came that are no reply to anything.
    pub(crate) fn is_garbage(&self) -> bool {
        self.garbage.is_some()
    }

    /// Whether part of a reply has arrived.
    pub(crate) fn is_midway(&self) -> bool {
        self.lines > 0 || !self.line.is_empty()
    }

    /// The receiver has closed the connection. A refusal of which only the end is missing is its answer all the same: the code and the words
    /// that came count (RFC 5321 §4.2.1: each line has the code). Anything else that is not whole is no answer: its words are returned.
    pub(crate) fn close(&mut self) -> Option<String> {
        if self.garbage.is_some() || !self.is_midway() {
            return None;
        }
        let line = std::mem::take(&mut self.line);
        let last = split(&line).filter(|(code, ..)| self.lines == 0 || *code == self.code);
        let code = last.map_or(self.code, |(code, ..)| code);
        let words = last.map_or(&line[..], |(_, _, text)| text).trim_ascii_end();
        let lines = [self.text.clone(), String::from_utf8_lossy(words).into_owned()];
        let is_known = last.is_some() || self.lines > 0;
        let kept = &lines[..if last.is_some() || !is_known { 2 } else { 1 }];
        let text = kept.iter().map(String::as_str).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        (self.lines, self.bytes, self.text) = (0, 0, String::new());
        match code {
            400.. => self.take(Reply::new(code, text)),
            _ if is_known => return Some(Reply::new(code, text).to_string()),
            _ => return Some(text),
        }
        None
    }

    fn end_line(&mut self) {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let Some((code, more, text)) = split(&self.line) else {
            self.garbage = Some(not_a_reply(&self.line));
            return;
        };
        if self.lines > 0 && code != self.code {
            // RFC 5321 §4.2.1: the code on each line must be the same; it is unclear which one would count.
            self.garbage = Some(NotAReply::TwoCodes(self.code, code));
            return;
        }
        if self.lines > 0 {
            self.text.push('\n');
        }
        self.text.push_str(&String::from_utf8_lossy(text));
        self.code = code;
        self.lines += 1;
        self.line.clear();
        if !more {
            let reply = Reply::new(code, std::mem::take(&mut self.text));
            (self.lines, self.bytes) = (0, 0);
            self.take(reply);
        } else if self.lines == LINES_MAX {
            self.garbage = Some(NotAReply::TooManyLines);
        }
    }
}

impl Replies {
    /// Keeps a whole reply if it was asked for, or is a first refusal that was not.
    fn take(&mut self, reply: Reply) {
        if self.owed > 0 {
            self.owed -= 1;
        } else if reply.code >= 400 && !self.unasked {
            self.unasked = true;
        } else {
            self.garbage = Some(NotAReply::Unasked(reply.to_string().trim_end().chars().take(SHOWN).collect()));
            return;
        }
        if self.waiting + reply.text.len() > WAITING_BYTES_MAX {
            self.garbage = Some(NotAReply::TooMuch);
            return;
        }
        self.waiting += reply.text.len();
        self.ready.push_back(reply);
    }
}

/// How many characters of a reply that nobody asked for are shown.
const SHOWN: usize = 200;

/// The replies in bytes that arrived in these pieces, and what is wrong with the first part that is no reply. An incomplete reply at the
/// end is ignored.
pub fn replies_in<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Reply>, Option<String>) {
    let mut replies = asked_for(usize::MAX);
    pieces.into_iter().for_each(|piece| replies.feed(piece));
    (replies.ready.into(), replies.garbage.map(|garbage| garbage.to_string()))
}

/// Replies of which so many are owed.
fn asked_for(owed: usize) -> Replies {
    Replies { owed, ..Replies::default() }
}

/// Code, whether more lines follow, text. None if it is no reply line (RFC 5321 §4.2: `Reply-line`; without text the space may be missing
/// too).
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let digits = line.get(..3)?;
    if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    match &line[3..] {
        [] => Some((code, false, &[])),
        [b' ', text @ ..] => Some((code, false, text)),
        [b'-', text @ ..] => Some((code, true, text)),
        // The line end is incomplete, or begins with more than one CR.
        ends if ends.iter().all(|byte| *byte == b'\r') => Some((code, false, &[])),
        _ => None,
    }
}

fn not_a_reply(line: &[u8]) -> NotAReply {
    NotAReply::Malformed(String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> (Vec<Reply>, Option<String>) {
        let mut replies = asked_for(usize::MAX);
        replies.feed(bytes);
        let mut got = Vec::new();
        loop {
            match replies.next() {
                Ok(Some(reply)) => got.push(reply),
                Ok(None) => return (got, None),
                Err(garbage) => return (got, Some(garbage.to_string())),
            }
        }
    }

    #[test]
    fn a_reply_is_kept_whole_and_what_follows_is_kept_too() {
        let (got, end) = all(b"550-5.7.511 Access\r\n550-denied, see\n550 here\r\n421 closing\r\n250\r\n");
        assert_eq!(got, [Reply::new(550, "5.7.511 Access\ndenied, see\nhere"), Reply::new(421, "closing"), Reply::new(250, "")]);
        assert_eq!(end, None);
        assert_eq!(got[0].enhanced, "5.7.511".parse().ok());
    }

    #[test]
    fn what_is_no_reply_is_told_with_the_replies_before_it_intact() {
        for bad in [
            "hello\r\n",
            "25\r\n",
            "150 x\r\n",
            "650 x\r\n",
            "2x0 x\r\n",
            "250_x\r\n",
            "\r\n",
            "250-a\r\n251 b\r\n",
            "SSH-2.0-",
            "\x16\x03\x01\x02",
        ] {
            let (got, end) = all(format!("220 hi\r\n{bad}").as_bytes());
            assert_eq!(got, [Reply::new(220, "hi")], "{bad:?}");
            assert!(end.is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_reply_that_comes_byte_by_byte_is_the_same_reply() {
        for wire in ["421\r\r\n250 x\r\n", "250\n", "250-a\r\n250\r\n", "421\rx\r\n"] {
            let mut piecemeal = asked_for(usize::MAX);
            wire.as_bytes().chunks(1).for_each(|byte| piecemeal.feed(byte));
            let (got, end) = all(wire.as_bytes());
            assert_eq!((Vec::from(piecemeal.ready), piecemeal.garbage.is_some()), (got, end.is_some()), "{wire:?}");
        }
        assert_eq!(all(b"421\r\r\n").0, [Reply::new(421, "")]);
        let long = [b"250 ".as_slice(), &vec![b'x'; REPLY_BYTES_MAX - 10], b"\r\n"].concat();
        let (replies, end) = replies_in(long.chunks(1));
        assert_eq!((replies.len(), end), (1, None), "a byte is counted once");
    }

    #[test]
    fn a_refusal_that_breaks_off_is_an_answer_and_nothing_else_is() {
        for (wire, answer) in [
            ("550-5.1.1 no such user here\r\n", Reply::new(550, "5.1.1 no such user here")),
            ("554-5.7.1 Access denied, see\r\n554-https://a.test\r\n", Reply::new(554, "5.7.1 Access denied, see\nhttps://a.test")),
            ("550-5.7.1 Access denied, see\r\n550 https://a.t", Reply::new(550, "5.7.1 Access denied, see\nhttps://a.t")),
            ("550-5.7.1 Access denied\r\n55", Reply::new(550, "5.7.1 Access denied")),
            ("450 4.2.0 greylisted", Reply::new(450, "4.2.0 greylisted")),
            ("421 closing\r", Reply::new(421, "closing")),
            ("550", Reply::new(550, "")),
        ] {
            let mut replies = asked_for(1);
            replies.feed(wire.as_bytes());
            assert_eq!((replies.next(), replies.close()), (Ok(None), None), "{wire:?}");
            assert_eq!((replies.next(), replies.has_leftovers()), (Ok(Some(answer)), false), "{wire:?}");
        }
        for (wire, words) in
            [("250 taken", Some("250 taken")), ("250-mx.test\r\n25", Some("250 mx.test")), ("25", Some("25")), ("250 ok\r\n", None)]
        {
            let mut replies = asked_for(1);
            replies.feed(wire.as_bytes());
            assert_eq!(replies.close().as_deref(), words, "{wire:?}");
            assert_eq!(replies.next().unwrap().is_some(), words.is_none(), "{wire:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        assert_eq!(all(b"550 caf\xe9 \0\r\n").0, [Reply::new(550, "caf\u{fffd} \0")]);
    }

    #[test]
    fn everything_has_an_end() {
        let long = format!("250 {}\r\n250 next\r\n", "x".repeat(10_000));
        let (got, end) = all(long.as_bytes());
        assert_eq!((got.len(), got[0].text.len(), got[1].text.as_str(), end), (2, LINE_KEPT - 4, "next", None));
        assert!(all("250-x\r\n".repeat(LINES_MAX + 1).as_bytes()).1.unwrap().contains("lines"));
        assert!(all(&[b"250 ".as_slice(), &vec![b'x'; REPLY_BYTES_MAX]].concat()).1.unwrap().contains("bytes"));
    }

    #[test]
    fn a_flood_is_cut_at_the_first_reply_too_many() {
        let mut replies = asked_for(3);
        for _ in 0..1000 {
            replies.feed(&b"250\n".repeat(1000));
        }
        assert_eq!((replies.ready.len(), replies.waiting, replies.line.len()), (3, 0, 0));
        assert!((0..3).all(|_| replies.next() == Ok(Some(Reply::new(250, "")))));
        assert_eq!(replies.next(), Err(NotAReply::Unasked("250".into())));
        let mut replies = asked_for(usize::MAX);
        for _ in 0..1000 {
            replies.feed(&[b"550 ".as_slice(), &[b'x'; 4000], b"\r\n"].concat());
        }
        assert!(replies.waiting <= WAITING_BYTES_MAX && replies.garbage == Some(NotAReply::TooMuch));
    }

    #[test]
    fn one_refusal_may_come_without_a_command_and_nothing_else_may() {
        let mut replies = asked_for(1);
        replies.feed(b"220 hi\r\n421 busy\r\n");
        assert!(replies.next().is_ok_and(|reply| reply.is_some()) && !replies.is_out_of_step());
        assert_eq!(replies.next(), Ok(Some(Reply::new(421, "busy"))));
        assert!(replies.is_out_of_step());
        replies.feed(b"421 busy\r\n");
        assert!(replies.next().is_err());
        let mut replies = asked_for(0);
        replies.feed(b"250 why not\r\n");
        assert_eq!(replies.next(), Err(NotAReply::Unasked("250 why not".into())));
    }

    proptest! {
        #[test]
        fn cuts_between_reads_change_nothing(
            lines in prop::collection::vec(("[2-5][0-5][0-9]", "[ -~]{0,30}"), 1..8),
            cuts in prop::collection::vec(1_usize..9, 1..100),
        ) {
            let wire: String = lines.iter().map(|(code, text)| format!("{code}-{text}\r\n{code} {text}\r\n")).collect();
            let mut replies = asked_for(usize::MAX);
            let mut rest = wire.as_bytes();
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*cut));
                replies.feed(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            for (code, text) in &lines {
                prop_assert_eq!(replies.next(), Ok(Some(Reply::new(code.parse().unwrap(), format!("{text}\n{text}")))));
            }
            prop_assert!(!replies.has_leftovers());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            all(&bytes);
        }
    }
}
