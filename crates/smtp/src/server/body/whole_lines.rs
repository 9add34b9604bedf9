//! Whole lines of a message at once. Most lines of most messages need no closer look, and taking each by itself took twice as long.

use memchr::memchr3;

use super::{BodyFraming, BodyReceiver};

impl BodyReceiver {
    /// How many bytes of `rest`, which begins with a line, are whole lines that belong to the message as they are; the lines are counted, not
    /// stored. They end before the first line that has to be looked at byte by byte. `length`: bytes of the message up to here.
    pub(super) fn whole_lines(&mut self, rest: &[u8], length: u64) -> usize {
        let mut end = 0;
        loop {
            let line = &rest[end..];
            if self.kind == BodyFraming::Dotted && line.first() == Some(&b'.') {
                return end;
            }
            let Some(at) = memchr3(b'\r', b'\n', 0, line) else { return end };
            let next = end + at + 2;
            let is_odd = line.get(at..at + 2) != Some(b"\r\n") || at > self.line_max;
            if is_odd || (self.in_header && length + next as u64 > self.header_max) {
                return end;
            }
            self.in_header &= at != 0;
            end = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::*;
    use crate::server::{Offers, SessionLimits};

    /// What becomes of a message that comes in these pieces: after how many bytes it ended and how, and what was received.
    fn received<'p>(
        mut receiver: BodyReceiver,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> (usize, Option<Progress>, Result<ReceivedBody, Flaw>) {
        let mut read = 0;
        for piece in pieces {
            match receiver.push(piece) {
                Progress::More => read += piece.len(),
                Progress::End(length) => return (read + length, Some(Progress::End(0)), receiver.finish()),
                Progress::Endless => return (0, Some(Progress::Endless), receiver.finish()),
            }
        }
        (read, None, receiver.finish())
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let usual = prop_oneof![Just("A: 1"), Just("xxxxxxxx"), Just("b"), Just(""), Just("a.b c"), Just("0123456789")];
        let odd =
            prop_oneof![Just("."), Just(".."), Just(".a"), Just("\u{e9}"), Just("a\0"), Just("a\rb"), Just("a\nb"), Just("\r"), Just("\n")];
        let line = (prop_oneof![12 => usual, 1 => odd], prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")]);
        let text =
            prop::collection::vec(line, 0..12).prop_map(|lines| lines.into_iter().flat_map(|(text, end)| [text, end]).collect::<String>());
        (text, any::<bool>()).prop_map(|(text, ends)| (text + if ends { ".\r\n" } else { "" }).into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn lines_taken_at_once_are_the_lines_taken_byte_by_byte(
            text in text(), cut in 1..60_usize, kind in 0..3_usize, fixes: bool,
            text_line in prop_oneof![2 => Just(0), 1 => Just(9_usize)],
            header_size in prop_oneof![2 => Just(0_u64), 1 => 4..30_u64],
            message_size in prop_oneof![3 => Just(4096_u64), 1 => 5..60_u64],
        ) {
            let limits = SessionLimits { text_line, header_size, message_size, ..SessionLimits::default() };
            let bare_line_ends = if fixes { BareLineEnds::Fix } else { BareLineEnds::default() };
            let offers = Offers { bare_line_ends, ..Offers::default() };
            let settings = SessionSettings { hostname: String::new(), banner: String::new(), limits, offers };
            let kind = [BodyFraming::Dotted, BodyFraming::Lines, BodyFraming::Binary][kind];
            // A single byte is no line.
            let slowly = received(BodyReceiver::of_kind(&settings, None, kind), text.chunks(1));
            prop_assert_eq!(&received(BodyReceiver::of_kind(&settings, None, kind), text.chunks(cut)), &slowly);
            prop_assert_eq!(&received(BodyReceiver::of_kind(&settings, None, kind), std::iter::once(&text[..])), &slowly);
        }
    }
}
