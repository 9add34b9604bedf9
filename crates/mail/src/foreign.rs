//! Text of strangers, as people may see it.

use std::{borrow::Cow, fmt};

/// Text that somebody else wrote: replies, addresses, subjects, file names, names from DNS. Nothing can be done with it but to show it, and that
/// in one line and with escapes for all that a terminal would obey: control characters, line ends, and what changes the direction of writing or
/// is not to be seen. The escapes are those of JSON (`\u001b`), so that escaped JSON is the same JSON. Bytes that are not UTF-8 are `\xff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign<'t>(Cow<'t, [u8]>);

impl<'t> Foreign<'t> {
    /// Text of a stranger's.
    pub fn new(text: &'t (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self(text.as_ref().into())
    }

    /// Its lines, for those who show them one below the other.
    pub fn lines(&self) -> impl Iterator<Item = Foreign<'_>> {
        self.0.split(|byte| *byte == b'\n').map(|line| Foreign(line.strip_suffix(b"\r").unwrap_or(line).into()))
    }

    /// The same, without the characters after the first `most`.
    pub fn first(&self, most: usize) -> String {
        self.to_string().chars().take(most).collect()
    }

    /// Whether a terminal obeys this character instead of showing it, or shows nothing. Line ends and tabs are among them.
    pub fn is_obeyed(c: char) -> bool {
        c.is_control()
            || matches!(c,
                // Marks, embeddings, overrides and isolates of bidirectional text (UAX #9), also the deprecated ones.
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
                // Blanks, joiners, hyphens and letters that nobody sees. U+200C and U+200D stand in words of Persian and Hindi.
                | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'
                | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{ffa0}' | '\u{1d173}'..='\u{1d17a}'
                // Line and paragraph separators; the byte order mark; annotations; tags, which nobody sees.
                | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    }

    /// Writes a character as JSON escapes it.
    pub fn escape(c: char, to: &mut impl fmt::Write) -> fmt::Result {
        match c {
            '\n' => to.write_str("\\n"),
            '\r' => to.write_str("\\r"),
            '\t' => to.write_str("\\t"),
            c => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}")),
        }
    }
}

impl fmt::Display for Foreign<'_> {
    /// Width and alignment count the escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if Self::is_obeyed(c) { Self::escape(c, &mut shown)? } else { shown.push(c) }
            }
            for byte in chunk.invalid() {
                shown += &format!("\\x{byte:02x}");
            }
        }
        f.pad(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown_and_everything_else_is() {
        let shown = |text: &str| Foreign::new(text).to_string();
        assert_eq!(shown("Grüße, 中文 🚀 e\u{301} \u{200d}"), "Grüße, 中文 🚀 e\u{301} \u{200d}");
        assert_eq!(shown("\u{1b}]0;x\u{7}\u{7f}\u{9b}2J"), "\\u001b]0;x\\u0007\\u007f\\u009b2J");
        assert_eq!(shown("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(shown("\u{202e}txt.exe\u{2066}\u{61c}\u{2028}"), "\\u202etxt.exe\\u2066\\u061c\\u2028");
        assert_eq!(shown("\u{e0041}"), "\\udb40\\udc41");
        assert_eq!(Foreign::new(b"a\xff\xc3(").to_string(), "a\\xff\\xc3(");
        assert_eq!(format!("[{:>8}|{:<4}]", Foreign::new("\u{1b}"), Foreign::new("b")), "[  \\u001b|b   ]");
        let lines: Vec<String> = Foreign::new("a\r\nb\u{85}c\n").lines().map(|line| line.to_string()).collect();
        assert_eq!(lines, ["a", "b\\u0085c", ""]);
        assert_eq!(Foreign::new("\u{1b}bcd").first(7), "\\u001bb");
    }

    #[test]
    fn escapes_are_those_of_json() {
        let every: String = (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| Foreign::is_obeyed(*c)).collect();
        let read: String = serde_json::from_str(&format!("\"{}\"", Foreign::new(&every))).unwrap();
        assert_eq!(read, every);
    }
}
