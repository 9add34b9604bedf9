//! The addresses that a display name or comment shows, to people or to programs.
//!
//! What is found is held against the addresses that the sender may use, so that one too many is refused where somebody has such a list, and one
//! too few is a name that was not checked. So texts are read in every way that readers may have: with and without what few see, with neighbours
//! joined, by the letters that characters look like, and by the bytes.

use encoding_rs::{Encoding, ISO_2022_JP};
use mail_parser::parsers::MessageStream;
use unicode_normalization::UnicodeNormalization as _;

use super::letters::{ended, is_angle, is_unseen, letter};

/// The addresses in display names and comments, once encoded words (RFC 2047) are decoded. None: what they hold cannot be known, or looks like
/// another mailbox once it is decoded.
pub(super) fn shown(names: &[Vec<&str>]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for name in names {
        let raw = name.join(" ");
        let is_encoded = raw.contains("=?");
        let texts = if is_encoded { decodings(&raw)? } else { vec![raw.clone()] };
        let turned: Vec<String> = texts.iter().filter_map(|text| turned(text)).collect();
        for text in texts.into_iter().chain(turned) {
            if is_encoded && hides_more(&text) {
                return None;
            }
            found.extend(addresses(&text));
        }
        if is_encoded {
            found.extend(addresses(&by_the_bytes(&raw)));
        }
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// What readers make of a text with encoded words: of those that stand by themselves, as RFC 2047 has it; of all, wherever they stand; and of
/// neighbours as one, as if a character might be cut between them. None: a charset or a word whose content cannot be known.
fn decodings(raw: &str) -> Option<Vec<String>> {
    // The reader here leaves the escapes of ISO-2022-JP as they are.
    let strict = decoded(raw).replace('\u{1b}', "");
    let (loose, joined) = (loosely(raw, false)?, loosely(raw, true)?);
    (!is_left_over(raw, &loose)).then(|| vec![strict, loose, joined])
}

/// What programs show that obey the character which turns the letters behind it around (U+202E, Unicode's bidirectional algorithm, UAX #9), up to
/// the one that ends it or the end. None: there is none.
fn turned(text: &str) -> Option<String> {
    const OVERRIDE: char = '\u{202e}';
    let ends = ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'];
    text.contains(OVERRIDE).then(|| {
        let mut parts = text.split(OVERRIDE);
        let before = parts.next().unwrap_or_default().to_owned();
        parts.fold(before, |shown, part| {
            let (inside, behind) = part.split_at(part.find(ends).unwrap_or(part.len()));
            shown + &inside.chars().rev().collect::<String>() + behind
        })
    })
}

/// Whether a decoded text would be another mailbox, or end where it has no end.
fn hides_more(text: &str) -> bool {
    let seen: String = text.chars().filter(|c| !is_unseen(*c)).map(letter).collect();
    (seen.contains('@') && seen.contains(is_angle)) || seen.contains(char::is_control)
}

pub(super) fn decoded(raw: &str) -> String {
    let line = ended(raw.as_bytes());
    MessageStream::new(&line).parse_unstructured().as_text().unwrap_or_default().to_owned()
}

/// Decodes encoded words wherever they stand, blanks between two of them left out. `joined`: neighbours of one kind are decoded as one word.
fn loosely(raw: &str, joined: bool) -> Option<String> {
    unwrapped(raw, joined, |word| word.decoded().filter(|_| word.charset_is_known()))
}

/// The text as readers have it that know no charset: the bytes of ASCII, wherever they stand, also those that take part in a longer character
/// or are written in more bytes than UTF-8 allows.
fn by_the_bytes(raw: &str) -> String {
    unwrapped(raw, false, |word| Some(word.ascii())).unwrap_or_default()
}

/// The text with its encoded words replaced.
fn unwrapped(raw: &str, joined: bool, decode: impl Fn(&EncodedWord<'_>) -> Option<String>) -> Option<String> {
    let (mut text, mut rest) = (String::new(), raw);
    let mut open: Option<EncodedWord<'_>> = None;
    // Behind the last end no word begins.
    let last = raw.rfind("?=").unwrap_or(0);
    while let Some(start) = rest.find("=?").filter(|start| raw.len() - rest.len() + start < last) {
        let Some((word, length)) = EncodedWord::read(&rest[start..]) else {
            text.push_str(&flushed(&mut open, &decode)?);
            text.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        };
        let between = &rest[..start];
        match &mut open {
            Some(before) if joined && between.trim().is_empty() && before.is_like(&word) => before.content.push_str(&word.content),
            _ => {
                let is_first = open.is_none();
                text.push_str(&flushed(&mut open, &decode)?);
                if is_first || !between.trim().is_empty() {
                    text.push_str(between);
                }
                open = Some(word);
            }
        }
        rest = &rest[start + length..];
    }
    text.push_str(&flushed(&mut open, &decode)?);
    text.push_str(rest);
    Some(text)
}

/// The word that was not replaced yet, decoded; empty if there is none.
fn flushed(open: &mut Option<EncodedWord<'_>>, decode: impl Fn(&EncodedWord<'_>) -> Option<String>) -> Option<String> {
    open.take().map_or_else(|| Some(String::new()), |word| decode(&word))
}

/// One encoded word (RFC 2047 §2).
struct EncodedWord<'t> {
    charset: &'t str,
    encoding: char,
    content: String,
}

impl<'t> EncodedWord<'t> {
    /// The word at the beginning of this text, and its length in bytes.
    fn read(text: &'t str) -> Option<(Self, usize)> {
        let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
        let (encoding, rest) = rest.split_once('?')?;
        // Before the end is looked for, which may be far away: what is taken for a word is passed over as one.
        let encoding = encoding.chars().next().filter(|_| encoding.len() == 1)?.to_ascii_lowercase();
        let (content, behind) = rest.split_once("?=")?;
        // RFC 2231 §5: a language may follow the charset.
        let charset = charset.split('*').next().unwrap_or(charset);
        Some((Self { charset, encoding, content: content.to_owned() }, text.len() - behind.len()))
    }

    fn is_like(&self, other: &Self) -> bool {
        self.encoding == other.encoding && self.charset.eq_ignore_ascii_case(other.charset)
    }

    /// Whether readers know the charset, and how it writes ASCII: as bytes of the same values. Others hide what they say from one reader or
    /// the next. ISO-2022-JP, which escapes, is widespread.
    fn charset_is_known(&self) -> bool {
        Encoding::for_label(self.charset.as_bytes()).is_some_and(|known| known.is_ascii_compatible() || known == ISO_2022_JP)
    }

    /// The bytes of ASCII that it holds, others as replacement characters. Reads on behind whatever does not belong there.
    fn ascii(&self) -> String {
        let bytes = self.bytes();
        let (mut text, mut rest) = (String::new(), &bytes[..]);
        while let [first, behind @ ..] = rest {
            // Two bytes for what has seven bits at most.
            let overlong = behind.first().filter(|next| matches!(first, 0xc0 | 0xc1) && matches!(next, 0x80..=0xbf));
            text.push(match overlong {
                Some(next) => char::from((first & 1) << 6 | (next & 0x3f)),
                None if first.is_ascii() => char::from(*first),
                None => char::REPLACEMENT_CHARACTER,
            });
            rest = if overlong.is_some() { &behind[1..] } else { behind };
        }
        text
    }

    fn decoded(&self) -> Option<String> {
        let charset = Encoding::for_label(self.charset.as_bytes())?;
        Some(charset.decode_without_bom_handling(&self.bytes()).0.into_owned())
    }

    fn bytes(&self) -> Vec<u8> {
        if self.encoding == 'b' { from_base64(&self.content) } else { from_q(&self.content) }
    }
}

/// The bytes of a Q-encoded text (RFC 2047 §4.2).
fn from_q(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        let hex = (*first == b'=').then(|| behind.get(..2)).flatten();
        let byte = hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(if *first == b'_' { b' ' } else { *first }));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

/// The bytes of a text in base64 (RFC 4648 §4), wherever there is padding.
fn from_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            // Behind padding the next group begins.
            b'=' => {
                held = 0;
                continue;
            }
            _ => continue,
        };
        (bits, held) = (bits << 6 | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// Whether an encoded word was not decoded in which an '@' may be hidden: as `=40` in Q, and as anything in B.
fn is_left_over(raw: &str, decoded: &str) -> bool {
    let (raw, decoded) = (raw.to_ascii_lowercase(), decoded.to_ascii_lowercase());
    raw.contains("=?utf-7?") || (decoded.contains("=?") && (decoded.contains("=40") || decoded.contains("?b?") || decoded.contains('@')))
}

/// The addresses in a text.
fn addresses(text: &str) -> Vec<String> {
    let text: String = text.chars().filter(|c| !is_unseen(*c)).map(letter).collect();
    let text: String = text.nfkc().map(letter).collect();
    let is_mark = |c: char| !c.is_alphanumeric() && !c.is_ascii_punctuation() && !c.is_whitespace();
    // A mark may be seen by nobody, be part of a letter, or part two words.
    let without: String = text.chars().filter(|c| !is_mark(*c)).collect();
    let with_blanks: String = text.chars().map(|c| if is_mark(c) { ' ' } else { c }).collect();
    let without_comments = without_comments(&without);
    let all = [&without, &with_blanks, &without_comments];
    all.into_iter().flat_map(|text| text.match_indices('@').filter_map(move |(at, _)| address_at(text, at))).collect()
}

/// The text without what stands in parentheses, which is no part of an address (RFC 5322 §3.2.2).
fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let outside = |c: &char| {
        depth += usize::from(*c == '(');
        let is_outside = depth == 0;
        depth = depth.saturating_sub(usize::from(*c == ')'));
        is_outside
    };
    text.chars().filter(outside).collect()
}

/// The address whose '@' stands here, if there is one for somebody who reads over blanks, quotes and brackets around the '@'.
fn address_at(text: &str, at: usize) -> Option<String> {
    let is_part = |c: char| c.is_alphanumeric() || "!#$%&*+-/=^_{|}~.".contains(c);
    let is_skipped = |c: char| c.is_whitespace() || "\"'`)]}>".contains(c);
    let (mut before, mut behind) = (text[..at].trim_end(), text[at + 1..].trim_start());
    for brackets in [['(', ')'], ['[', ']'], ['{', '}'], ['<', '>']] {
        // An '@' in brackets of its own.
        if let (Some(outer), Some(rest)) = (before.strip_suffix(brackets[0]), behind.strip_prefix(brackets[1])) {
            (before, behind) = (outer, rest);
        }
    }
    let before = before.trim_end_matches(is_skipped);
    let local = before[before.trim_end_matches(is_part).len()..].trim_start_matches('.');
    let domain = domain(behind.trim_start_matches(|c| is_skipped(c) || "([{<".contains(c)));
    let is_name = domain.rsplit_once('.').is_some_and(|(_, last)| !last.chars().all(|c| c.is_ascii_digit()));
    (is_name && local.contains(char::is_alphanumeric)).then(|| format!("{local}@{domain}"))
}

/// The domain at the beginning of a text, with blanks around its dots left out where it goes on behind them rather than a new sentence.
fn domain(text: &str) -> String {
    let (mut domain, mut rest) = (String::new(), text);
    loop {
        let label = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').unwrap_or(rest.len())];
        let is_sentence =
            rest.len() < text.len() && text[..text.len() - rest.len()].ends_with(char::is_whitespace) && begins_a_sentence(label);
        if label.is_empty() || is_sentence {
            break;
        }
        if !domain.is_empty() {
            domain.push('.');
        }
        domain.push_str(label);
        let behind = rest[label.len()..].trim_start();
        if !behind.starts_with('.') {
            break;
        }
        rest = behind.trim_start_matches('.').trim_start();
    }
    domain
}

/// Whether a word looks like the first one of a sentence, or a name, and not like a label of a domain.
fn begins_a_sentence(word: &str) -> bool {
    word.chars().count() > 3 && word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase)
}
