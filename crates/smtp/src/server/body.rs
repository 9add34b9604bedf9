//! Receives a message body: copies it once, removes stuffed dots, and ends only at CRLF.CRLF (RFC 5321 §4.1.1.4 and §4.5.2).

mod whole_lines;

use bytes::{Bytes, BytesMut};
use posthaste_mail::BodyKind;

use super::{BareLineEnds, SessionSettings};

/// The most memory that is reserved for a declared size, in bytes.
const RESERVE_MAX: u64 = 1 << 20;
/// The memory reserved for a message of undeclared size, in bytes.
const RESERVE_MIN: u64 = 8 << 10;
/// How many bytes beyond twice the size limit are read, so that stuffed dots alone never cut off a message that would have fitted.
const DRAIN_EXTRA: u64 = 64 << 10;

/// The bytes without the room that was reserved for more: the message may stay in memory for long. A short one is copied, so that the room
/// as a whole serves the next message; cut off, its rest would be too small for that.
fn exact(data: BytesMut) -> Bytes {
    if data.len() <= RESERVE_MIN as usize {
        return Bytes::copy_from_slice(&data);
    }
    let mut data = Vec::from(data);
    data.shrink_to_fit();
    data.into()
}

/// Why a message is refused, in order of importance: if several apply, the first is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    BareLf,
    BareCr,
    Nul,
    TooLarge,
    HeaderTooLarge,
    LineTooLong,
}

const FLAWS: [Flaw; 6] = [Flaw::BareLf, Flaw::BareCr, Flaw::Nul, Flaw::TooLarge, Flaw::HeaderTooLarge, Flaw::LineTooLong];

/// How the end and the lines of the body are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// DATA: up to a line that is a dot, with leading dots doubled.
    Dotted,
    /// BDAT: chunks that make up lines.
    Lines,
    /// BDAT with BINARYMIME (RFC 3030 §3): a header of lines, then any bytes.
    Binary,
}

impl BodyFraming {
    /// The framing of a body sent by BDAT.
    pub(super) fn of_chunks(body: BodyKind) -> Self {
        if body == BodyKind::BinaryMime { Self::Binary } else { Self::Lines }
    }
}

/// What a piece of input held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it belongs to the body, which continues.
    More,
    /// The message ended after this many bytes of the input.
    End(usize),
    /// The message did not end within the limit of bytes to read.
    Endless,
}

/// A received message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReceivedBody {
    pub(super) data: Bytes,
    pub(super) has_8bit: bool,
}

/// Where the next byte stands in its line.
#[derive(Clone, Copy, Debug)]
enum LinePosition {
    /// After CRLF, or at the start of the message.
    Start,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot and a CR at the start of a line: an LF ends the message.
    DotCr,
    /// Inside a line.
    Mid,
    /// After a CR inside a line.
    Cr,
}

/// Takes a message in pieces of any size; the result does not depend on where the input was cut.
#[derive(Debug)]
pub(super) struct BodyReceiver {
    kind: BodyFraming,
    /// Whether a bare CR or LF is replaced by CRLF.
    fixes: bool,
    /// Whether an LF ends lines and the message as CRLF does: where line ends are fixed, for a client of whom not one CRLF has come. A CRLF ends
    /// that, so that nobody can be told apart from a relay that passes on the lines of others.
    lf_ends: bool,
    at: LinePosition,
    data: BytesMut,
    /// How much room the first bytes get.
    room: usize,
    has_8bit: bool,
    /// One bit per flaw.
    flaws: u8,
    /// Bytes of the message so far without stuffed dots, whether stored or not.
    length: u64,
    /// Bytes of this line so far.
    line: usize,
    in_header: bool,
    /// Bytes that may still be read before the message has to end.
    budget: u64,
    message_max: u64,
    header_max: u64,
    line_max: usize,
}

impl BodyReceiver {
    /// A receiver for DATA. `lf_only`: all commands before it ended in an LF alone.
    pub(super) fn new(settings: &SessionSettings, declared: Option<u64>, lf_only: bool) -> Self {
        let receiver = Self::of_kind(settings, declared, BodyFraming::Dotted);
        Self { lf_ends: lf_only && receiver.fixes, ..receiver }
    }

    pub(super) fn of_kind(settings: &SessionSettings, declared: Option<u64>, kind: BodyFraming) -> Self {
        let limits = &settings.limits;
        let unlimited = |limit| if limit == 0 { u64::MAX } else { limit };
        let room = declared.unwrap_or(0).clamp(RESERVE_MIN, RESERVE_MAX);
        Self {
            kind,
            fixes: settings.offers.bare_line_ends == BareLineEnds::Fix,
            lf_ends: false,
            at: LinePosition::Start,
            data: BytesMut::new(),
            room: room as usize,
            has_8bit: false,
            flaws: 0,
            length: 0,
            line: 0,
            in_header: true,
            budget: limits.message_size.saturating_mul(2).saturating_add(DRAIN_EXTRA),
            message_max: limits.message_size,
            header_max: unlimited(limits.header_size),
            line_max: if limits.text_line == 0 { usize::MAX } else { limits.text_line },
        }
    }

    /// The memory that the text takes so far, in bytes. Of the room for more, the first few KiB count: the rest takes none until it is filled.
    pub(super) fn memory(&self) -> u64 {
        self.data.len().max(self.data.capacity().min(RESERVE_MIN as usize)) as u64
    }

    /// Takes the next bytes. After `End` or `Endless`, call [`Self::finish`].
    pub(super) fn push(&mut self, chunk: &[u8]) -> Progress {
        let view = &chunk[..chunk.len().min(usize::try_from(self.budget).unwrap_or(usize::MAX))];
        // view[kept..pos] belongs to the message and is not stored yet.
        let (mut pos, mut kept) = (0, 0);
        while pos < view.len() {
            if matches!(self.at, LinePosition::Start) {
                let whole = self.whole_lines(&view[pos..], self.length + (pos - kept) as u64);
                self.lf_ends &= whole == 0;
                pos += whole;
                if pos == view.len() {
                    break;
                }
            }
            match (self.at, view[pos]) {
                (LinePosition::Start, b'.') if self.kind == BodyFraming::Dotted => {
                    self.store(&view[kept..pos]);
                    pos += 1;
                    kept = pos;
                    self.at = LinePosition::Dot;
                }
                (LinePosition::Dot, b'\r') => {
                    pos += 1;
                    kept = pos;
                    self.at = LinePosition::DotCr;
                }
                (LinePosition::DotCr, b'\n') => return Progress::End(pos + 1),
                (LinePosition::Dot, b'\n') if self.lf_ends => return Progress::End(pos + 1),
                (LinePosition::Cr, b'\n') => {
                    pos += 1;
                    self.lf_ends = false;
                    self.end_line(self.length + (pos - kept) as u64);
                }
                (LinePosition::Cr | LinePosition::DotCr, _) => {
                    if self.fixes {
                        // A CR inside a line is stored or about to be. One after a dot is not: it was held back because it might have
                        // ended the message.
                        let cr: &[u8] = if matches!(self.at, LinePosition::DotCr) { b"\r" } else { b"" };
                        self.store(&view[kept..pos]);
                        kept = pos;
                        self.mend(cr);
                    } else {
                        self.bare(Flaw::BareCr);
                    }
                    self.at = LinePosition::Mid;
                }
                (LinePosition::Start | LinePosition::Dot, _) => self.at = LinePosition::Mid,
                (LinePosition::Mid, _) => {
                    pos += self.inside(&view[pos..]);
                    if self.fixes && matches!(self.at, LinePosition::Mid) && view[pos - 1] == b'\n' {
                        self.store(&view[kept..pos - 1]);
                        kept = pos;
                        self.mend(b"\r");
                    }
                }
            }
        }
        self.store(&view[kept..]);
        self.budget -= view.len() as u64;
        if self.budget == 0 { Progress::Endless } else { Progress::More }
    }

    /// Whether this many more bytes exceed what may still be read.
    pub(super) fn is_too_long(&self, more: u64) -> bool {
        more >= self.budget
    }

    /// Whether what came last would be the end of the message if it were CRLF . CRLF: its sender waits for an answer.
    pub(super) fn seems_ended(&self) -> bool {
        self.data.ends_with(b"\n.\r\n")
    }

    /// Whether a flaw has been found already.
    pub(super) fn is_flawed(&self) -> bool {
        self.flaws != 0
    }

    /// The message, or the most important of its flaws.
    pub(super) fn finish(mut self) -> Result<ReceivedBody, Flaw> {
        if self.kind != BodyFraming::Dotted {
            self.end_chunks();
        }
        match FLAWS.into_iter().find(|flaw| self.flaws & bit(*flaw) != 0) {
            Some(flaw) => Err(flaw),
            None => Ok(ReceivedBody { data: exact(self.data), has_8bit: self.has_8bit }),
        }
    }

    /// Consumes bytes up to and including the next CR, LF or NUL; returns how many.
    fn inside(&mut self, rest: &[u8]) -> usize {
        let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
            self.line += rest.len();
            return rest.len();
        };
        self.line += at;
        match rest[at] {
            b'\r' => self.at = LinePosition::Cr,
            b'\n' if self.fixes => {}
            b'\n' => self.bare(Flaw::BareLf),
            _ => self.bare(Flaw::Nul),
        }
        at + 1
    }

    /// `length`: bytes of the message up to here.
    fn end_line(&mut self, length: u64) {
        if self.line > self.line_max {
            self.flaw(Flaw::LineTooLong);
        }
        if self.in_header && length > self.header_max {
            self.flaw(Flaw::HeaderTooLarge);
        }
        self.in_header &= self.line != 0;
        self.line = 0;
        self.at = LinePosition::Start;
    }

    /// A body sent by BDAT may end anywhere. An unfinished last line gets its CRLF, as DATA would have required.
    fn end_chunks(&mut self) {
        if matches!(self.at, LinePosition::Cr) {
            if self.fixes { self.mend(b"") } else { self.bare(Flaw::BareCr) }
        } else if matches!(self.at, LinePosition::Mid) && self.line > 0 && self.kind == BodyFraming::Lines {
            self.store(b"\r\n");
        }
    }

    /// Stores the missing part of a line end; the line ends there.
    fn mend(&mut self, cr: &[u8]) {
        self.store(cr);
        self.store(b"\n");
        self.end_line(self.length);
        self.at = if self.lf_ends { LinePosition::Start } else { LinePosition::Mid };
    }

    /// Records a flaw that only a binary body may contain.
    fn bare(&mut self, flaw: Flaw) {
        if self.kind != BodyFraming::Binary || self.in_header {
            self.flaw(flaw);
        }
    }

    fn store(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.length > self.message_max {
            self.flaw(Flaw::TooLarge);
        }
        if self.flaws == 0 {
            self.has_8bit |= !bytes.is_ascii();
            if self.data.capacity() == 0 {
                // What comes first is often all: room that is too small for it would be taken in vain.
                self.data = BytesMut::with_capacity(self.room.max(bytes.len()));
            }
            self.data.extend_from_slice(bytes);
        }
    }

    /// A flawed message is read to its end but not kept.
    fn flaw(&mut self, flaw: Flaw) {
        self.flaws |= bit(flaw);
        self.data = BytesMut::new();
    }
}

fn bit(flaw: Flaw) -> u8 {
    1 << flaw as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::server::{Offers, SessionLimits};

    fn settings(limits: &SessionLimits) -> SessionSettings {
        SessionSettings { hostname: String::new(), banner: String::new(), limits: limits.clone(), offers: Offers::default() }
    }

    fn receive(limits: &SessionLimits, raw: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut receiver = BodyReceiver::new(&settings(limits), None, false);
        assert_eq!(receiver.push(raw), Progress::End(raw.len()), "{:?}", String::from_utf8_lossy(raw));
        receiver.finish().map(|body| body.data.to_vec())
    }

    #[test]
    fn a_client_that_has_sent_no_crlf_ends_its_message_as_it_ends_its_lines() {
        let mut settings = settings(&SessionLimits::default());
        settings.offers.bare_line_ends = BareLineEnds::Fix;
        let ends = |lf_only: bool, raw: &[u8]| {
            let mut receiver = BodyReceiver::new(&settings, None, lf_only);
            match receiver.push(raw) {
                Progress::End(length) => (length == raw.len()).then(|| receiver.finish().unwrap().data.to_vec()),
                _ => None,
            }
        };
        for (raw, data) in [
            (&b"A: 1\n\nb\n.\n"[..], &b"A: 1\r\n\r\nb\r\n"[..]),
            (b"..a\n.b\n.\n", b".a\r\nb\r\n"),
            (b".\n", b""),
            (b"a\n.\r\n", b"a\r\n"),
            (b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
            // A CRLF among its lines: what follows an LF is text.
            (b"a\r\nb\n.\nc\r\n.\r\n", b"a\r\nb\r\n.\r\nc\r\n"),
        ] {
            assert_eq!(ends(true, raw).as_deref(), Some(data), "{:?}", String::from_utf8_lossy(raw));
        }
        assert_eq!(ends(false, b"a\n.\n"), None, "a relay that speaks CRLF may pass on such lines");
        assert_eq!(ends(true, b"a\r\nb\n.\n"), None);
        let mut receiver = BodyReceiver::new(&settings, None, false);
        receiver.push(b"a\n.\n");
        assert!(receiver.seems_ended());
    }

    #[test]
    fn dots_at_line_starts_are_undone_the_first_line_included() {
        let limits = SessionLimits::default();
        for (raw, data) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..a\r\n...b\r\nc.d\r\n.e\r\n.\r\n", b".a\r\n..b\r\nc.d\r\ne\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n"),
        ] {
            assert_eq!(receive(&limits, raw).as_deref(), Ok(data), "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn a_flawed_message_is_read_to_its_real_end() {
        let limits = SessionLimits { text_line: 9, header_size: 20, message_size: 40, ..SessionLimits::default() };
        for (raw, flaw) in [
            (&b"a\nb\r\n.\r\n"[..], Flaw::BareLf),
            (b"a\n.\nb\r\n.\r\n", Flaw::BareLf),
            (b"a\n.\r\nb\r\n.\r\n", Flaw::BareLf),
            (b"a\r\n.\nb\r\n.\r\n", Flaw::BareLf),
            (b"a\r.\rb\r\n.\r\n", Flaw::BareCr),
            (b"a\r\n.\rb\r\n.\r\n", Flaw::BareCr),
            (b".\r\r\n.\r\n", Flaw::BareCr),
            (b"a\r\r\n.\r\n", Flaw::BareCr),
            (b"a\0b\r\n.\r\n", Flaw::Nul),
            (b"0123456789\r\n.\r\n", Flaw::LineTooLong),
            (b"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n.\r\n", Flaw::HeaderTooLarge),
            (b"A: 1\r\n\r\n12345678\r\n12345678\r\n12345678\r\n12345678\r\n.\r\n", Flaw::TooLarge),
        ] {
            assert_eq!(receive(&limits, raw), Err(flaw), "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn limits_are_exact() {
        let limits = SessionLimits { text_line: 9, header_size: 15, message_size: 20, ..SessionLimits::default() };
        assert!(receive(&limits, b"A: 456789\r\n\r\n..2345\r\n.\r\n").is_ok(), "20 bytes");
        assert_eq!(receive(&limits, b"A: 456789\r\n\r\n..23456\r\n.\r\n"), Err(Flaw::TooLarge), "21 bytes");
        assert!(receive(&limits, b"A: 456789\r\nB:\r\n.\r\n").is_ok(), "15 bytes of header");
        assert_eq!(receive(&limits, b"A: 456789\r\nBB:\r\n.\r\n"), Err(Flaw::HeaderTooLarge), "16 bytes of header");
    }

    #[test]
    fn a_message_without_end_is_given_up_and_was_not_kept() {
        let limits = SessionLimits { message_size: 1000, ..SessionLimits::default() };
        let mut receiver = BodyReceiver::new(&settings(&limits), Some(u64::MAX), false);
        let mut read = 0;
        loop {
            read += 100;
            match receiver.push(&[b'x'; 100]) {
                Progress::More => assert!(receiver.data.len() <= 1000),
                end => break assert_eq!(end, Progress::Endless),
            }
        }
        assert!((2000 + DRAIN_EXTRA..2200 + DRAIN_EXTRA).contains(&read), "{read}");
        assert_eq!(receiver.finish(), Err(Flaw::TooLarge));
    }

    #[test]
    fn bytes_above_127_are_noticed() {
        let mut receiver = BodyReceiver::new(&settings(&SessionLimits::default()), None, false);
        receiver.push("caf\u{e9}\r\n.\r\n".as_bytes());
        assert!(receiver.finish().unwrap().has_8bit);
    }

    #[test]
    fn a_message_that_was_taken_holds_its_own_bytes_and_no_more() {
        for length in [300, 20_000, 3_000_000] {
            let mut receiver =
                BodyReceiver::new(&settings(&SessionLimits { message_size: 9_000_000, ..SessionLimits::default() }), None, false);
            receiver.push(b"\r\n");
            for _ in 0..length / 100 {
                receiver.push(&[&[b'x'; 98][..], b"\r\n"].concat());
            }
            assert!(matches!(receiver.push(b".\r\n"), Progress::End(3)));
            let data = receiver.finish().unwrap().data;
            assert_eq!((data.len(), Vec::from(data).capacity()), (length + 2, length + 2));
        }
    }
}
