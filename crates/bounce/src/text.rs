//! The normalised form of a text, in which patterns are searched.
//!
//! It is in lower case and without accents; everything but letters and digits is one blank, and there is a blank at both ends. So
//! `User-Unknown` and `user unknown` are the same words, and a pattern that begins with a blank matches at the start of a word. E-mail
//! addresses become `@`, so that the word in `spam@example.org` does not match.

use crate::mojibake::repaired;

/// The bytes of a reply that are read: enough for the longest replies of receivers, and a limit on the work.
pub(crate) const TEXT_MAX: usize = 4096;

/// The normalised form of `text`; anything beyond [`TEXT_MAX`] bytes is ignored.
pub(crate) fn normalise(text: &str) -> String {
    let text = &*repaired(head(text, TEXT_MAX));
    let mut out = String::with_capacity(text.len() + text.len() / 8 + 2);
    out.push(' ');
    // Every byte between words is ASCII, so words begin and end at character boundaries.
    let mut start = 0;
    let (mut at, mut dots) = (false, false);
    for (i, b) in text.bytes().chain([b' ']).enumerate() {
        match KIND[usize::from(b)] {
            GAP => {
                if start < i {
                    push(&mut out, &text[start..i], at, dots);
                }
                (start, at, dots) = (i + 1, false, false);
            }
            AT => at = true,
            DOT => dots = true,
            _ => {}
        }
    }
    out
}

/// Appends a word of a reply.
fn push(out: &mut String, word: &str, has_at: bool, has_dots: bool) {
    if has_at {
        push_addressed(out, word);
    } else if !(is_code(word) || has_dots && is_ip(word)) {
        push_word(out, word);
        if has_dots && is_domain(word) {
            blank(out);
            out.push(DOMAIN);
        }
    }
    blank(out);
}

/// Whether a word is an IPv4 address. It is dropped like a code: its numbers mean nothing, and a receiver's own code may be a number.
fn is_ip(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':']);
    word.bytes().all(|b| b.is_ascii_digit() || b == b'.') && word.bytes().filter(|b| *b == b'.').count() == 3
}

const GAP: u8 = 1;
const AT: u8 = 2;
const DOT: u8 = 3;

/// The kind of each byte: between words, or special inside them.
const KIND: [u8; 256] = {
    let mut kind = [0; 256];
    let gaps = b" \t\r\n<>()\",;'[]";
    let mut i = 0;
    while i < gaps.len() {
        kind[gaps[i] as usize] = GAP;
        i += 1;
    }
    kind[b'@' as usize] = AT;
    kind[b'.' as usize] = DOT;
    kind
};

/// The mark after every word that is a domain: `example.org does not exist` is about a domain, `He does not exist` about a person.
const DOMAIN: char = '\u{1}';

fn is_domain(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':', '!', '?']);
    let Some((rest, last)) = word.rsplit_once('.') else { return false };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic()) && !rest.is_empty() && rest.bytes().all(fits)
}

/// The normalised form of a pattern. Stars are dropped: the caller splits the pattern at them before.
pub(crate) fn normalise_pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_word(&mut out, text);
    out
}

/// The first `max` bytes of the text, cut at a character boundary.
pub(crate) fn head(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[..text.floor_char_boundary(max)] }
}

/// Whether a word is a code: `550`, `5.7.1`, `550-5.7.1`. Codes are dropped, as those at the start of each line would separate the words
/// of a long reply.
fn is_code(word: &str) -> bool {
    let word = word.trim_matches(['#', ':', '.']);
    if !word.starts_with(['2', '4', '5']) || word.len() > 15 || word.bytes().any(|b| !(b.is_ascii_digit() || matches!(b, b'.' | b'-'))) {
        return false;
    }
    let (basic, enhanced) = word.split_once('-').unwrap_or(if word.contains('.') { ("", word) } else { (word, "") });
    let fits = |code: &str| code.is_empty() || code.parse::<posthaste_mail::EnhancedCode>().is_ok();
    (basic.is_empty() || basic.len() == 3) && fits(enhanced)
}

/// Appends a word with an '@': an address, perhaps joined to other text by a colon (`found:a@b.org`) or by a script without blanks
/// (`收件人（a@b.org）不存在`).
fn push_addressed(out: &mut String, word: &str) {
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| c.is_ascii() == first.is_ascii() && c != ':';
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (part, more) = rest.split_at(end);
        if part.contains('@') {
            blank(out);
            out.push('@');
        } else {
            push_word(out, part);
        }
        blank(out);
        rest = more;
    }
}

fn blank(out: &mut String) {
    if out.as_bytes().last() != Some(&b' ') {
        out.push(' ');
    }
}

fn push_word(out: &mut String, word: &str) {
    if word.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let at = out.len();
        out.push_str(word);
        out[at..].make_ascii_lowercase();
        return;
    }
    for c in word.chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            'A'..='Z' => out.push(c.to_ascii_lowercase()),
            // The form of the mark in patterns.
            '°' => out.push(DOMAIN),
            '*' => {}
            _ if c.is_ascii() => blank(out),
            _ => push_foreign(out, c),
        }
    }
}

/// Keeps letters of other alphabets, removes accents from Latin letters, and turns everything else into a blank.
fn push_foreign(out: &mut String, c: char) {
    if let Some(plain) = unaccented(c) {
        out.push_str(plain);
    } else if c.is_alphanumeric() {
        out.extend(c.to_lowercase());
    } else {
        blank(out);
    }
}

fn unaccented(c: char) -> Option<&'static str> {
    Some(match c {
        'à'..='å' | 'À'..='Å' | 'ā' | 'ă' | 'ą' | 'Ą' => "a",
        'ç' | 'Ç' | 'ć' | 'č' | 'Ć' | 'Č' => "c",
        'ď' | 'đ' | 'Ď' => "d",
        'è'..='ë' | 'È'..='Ë' | 'ē' | 'ė' | 'ę' | 'ě' | 'Ę' | 'Ě' => "e",
        'ğ' | 'Ğ' => "g",
        'ì'..='ï' | 'Ì'..='Ï' | 'ī' | 'ı' | 'İ' => "i",
        'ł' | 'Ł' => "l",
        'ñ' | 'Ñ' | 'ń' | 'ň' | 'Ń' => "n",
        'ò'..='ö' | 'ø' | 'Ò'..='Ö' | 'Ø' | 'ō' | 'ő' => "o",
        'ř' | 'Ř' => "r",
        'ś' | 'š' | 'ş' | 'Ś' | 'Š' | 'Ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' => "t",
        'ù'..='ü' | 'Ù'..='Ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' | 'Ý' => "y",
        'ź' | 'ż' | 'ž' | 'Ź' | 'Ż' | 'Ž' => "z",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        '’' | '‘' => " ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_whatever_stands_between_them() {
        assert_eq!(normalise("User-Unknown\n(UserUnknown)"), " user unknown userunknown ");
        assert_eq!(normalise("Empfänger: Boîte pleine. Größe"), " empfanger boite pleine grosse ");
        assert_eq!(normalise("пользователь НЕ найден"), " пользователь не найден ");
    }

    #[test]
    fn a_domain_is_marked() {
        assert_eq!(
            normalise("mx.example.org: not found; see http://x.org/ or v1.2"),
            " mx example org \u{1} not found see http x org or v1 2 "
        );
    }

    #[test]
    fn codes_and_addresses_of_hosts_do_not_stand_between_words() {
        assert_eq!(normalise("550-5.7.1 likely\n550 5.7.1 unsolicited mail (#5.7.1) 192.0.2.4"), " likely unsolicited mail ");
        assert_eq!(normalise("554 30 a OFR_506 [506]"), " 30 a ofr 506 ");
    }

    #[test]
    fn addresses_are_not_words() {
        assert_eq!(normalise("User not found:spam@example.org <blocked@x.org>..."), " user not found @ @ ");
        assert_eq!(normalise("收件人（spam@example.org）不存在"), " 收件人 @ 不存在 ");
    }

    #[test]
    fn only_the_head_is_read() {
        assert!(normalise(&"é".repeat(10_000)).len() <= TEXT_MAX + 2);
    }
}
