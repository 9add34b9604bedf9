//! The shape of a reply, which many replies share: words stay, and parts that differ between recipients become placeholders.

use std::net::IpAddr;

/// Placeholders look like what they replace, so that a shape can serve as an example, and contains nobody's address.
const ADDRESS: &str = "someone@example.org";
const IP: &str = "192.0.2.1";
const HOST: &str = "host.example.org";
const URL: &str = "https://example.org/page";
const NUMBER: &str = "0";
const ID: &str = "x0x0x0x0";
/// The longest shape, in bytes.
const SHAPE_MAX: usize = 400;
/// The most words in a pattern: more words would match fewer replies.
const WORDS_MAX: usize = 8;

/// The reply's text with placeholders, on one line.
pub(super) fn shape(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if out.len() + word.len() > SHAPE_MAX {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out += &stand_in(word);
    }
    out
}

/// The longest run of words without a placeholder, which a rule can match. None if there is no word.
pub(super) fn pattern(shape: &str) -> Option<String> {
    let mut best: Vec<&str> = Vec::new();
    let mut run: Vec<&str> = Vec::new();
    let words = shape.split_whitespace();
    for word in words.map(Some).chain([None]) {
        match word.filter(|w| is_fixed(w)) {
            Some(word) => run.push(word),
            None => {
                if letters(&run) > letters(&best) {
                    best = std::mem::take(&mut run);
                }
                run.clear();
            }
        }
    }
    best.truncate(WORDS_MAX);
    let plain =
        |w: &&str| w.chars().map(|c| if c.is_alphanumeric() { c.to_lowercase().to_string() } else { " ".into() }).collect::<String>();
    let text = best.iter().map(plain).collect::<Vec<_>>().join(" ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

fn letters(run: &[&str]) -> usize {
    run.iter().take(WORDS_MAX).map(|w| w.chars().filter(|c| c.is_alphabetic()).count()).sum()
}

/// Whether the word is neither a placeholder nor a code: patterns are matched against texts without these.
fn is_fixed(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let stands_in = [ADDRESS, IP, HOST, ID, NUMBER].contains(&bare) || word.contains("https://example.org");
    !stands_in && bare.chars().any(char::is_alphabetic) && !word.contains(['@', '*'])
}

fn stand_in(word: &str) -> String {
    let is_edge = |c: char| !c.is_alphanumeric();
    let bare = word.trim_matches(is_edge);
    if bare.is_empty() {
        return word.to_owned();
    }
    let start = word.find(bare).unwrap_or(0);
    let (before, after) = (&word[..start], &word[start + bare.len()..]);
    // `mx.example.net[192.0.2.1]` and `id=abc123`: the parts for themselves.
    let divider = if bare.contains("://") || bare.contains('@') { None } else { bare.find(['[', '(', '=', '<', ',', ';']) };
    if let Some(at) = divider {
        let (left, right) = (&bare[..at], &bare[at + 1..]);
        return format!("{before}{}{}{}{after}", stand_in(left), &bare[at..=at], stand_in(right));
    }
    match replaced(bare) {
        Some(URL) => format!("{before}{URL}{}", after.trim_start_matches('/')),
        Some(other) => format!("{before}{other}{after}"),
        None => word.to_owned(),
    }
}

fn replaced(bare: &str) -> Option<&'static str> {
    let lower = bare.to_ascii_lowercase();
    let digits = bare.bytes().filter(u8::is_ascii_digit).count();
    if is_code(bare) {
        return None;
    }
    Some(if lower.starts_with("http://") || lower.starts_with("https://") {
        URL
    } else if bare.contains('@') {
        ADDRESS
    } else if bare.parse::<IpAddr>().is_ok() {
        IP
    } else if is_host(bare) {
        HOST
    } else if digits > 0 && bare.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':' | b'/' | b'%')) {
        NUMBER
    } else if bare.len() >= 6 && digits > 0 || bare.len() >= 24 {
        ID
    } else {
        return None;
    })
}

/// `550`, `5.7.1`, `550-5.7.1`: they decide, so they stay.
fn is_code(word: &str) -> bool {
    let (basic, enhanced) = word.split_once('-').unwrap_or(if word.contains('.') { ("", word) } else { (word, "") });
    let is_basic =
        basic.is_empty() || (basic.len() == 3 && basic.starts_with(['2', '4', '5']) && basic.bytes().all(|b| b.is_ascii_digit()));
    is_basic && (enhanced.is_empty() || enhanced.parse::<posthaste_mail::EnhancedCode>().is_ok())
}

/// Labels and a top-level domain of letters.
fn is_host(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').collect();
    let is_label = |l: &&str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    labels.len() >= 2
        && labels.iter().all(is_label)
        && labels.last().is_some_and(|top| top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_that_differ_in_particulars_have_one_shape() {
        let one = "5.7.1 <max@gmail.com>: rejected by mx1.gmail.com[203.0.113.9] after 17 tries, id=4Zx81abcQ2 (see https://a.org/x?y=1)";
        let two = "5.7.1 <a.b+c@web.de>:\nrejected by mx22.web.de[2001:db8::1] after 2 tries, id=99QQab12 (see http://web.de/)";
        assert_eq!(shape(one), shape(two));
        assert_eq!(
            shape(one),
            "5.7.1 <someone@example.org>: rejected by host.example.org[192.0.2.1] after 0 tries, id=x0x0x0x0 (see https://example.org/page)"
        );
        assert_eq!(shape(&shape(one)), shape(one));
    }

    #[test]
    fn words_and_codes_stay() {
        for text in ["550 5.7.1 no thanks", "User-Unknown (here).", "Почта не принята", "550-5.7.1 a b"] {
            assert_eq!(shape(text), text);
        }
    }

    #[test]
    fn the_pattern_is_the_longest_run_of_fixed_words() {
        assert_eq!(
            pattern("550 5.7.1 <someone@example.org>: no, mail from 192.0.2.1 isn't wanted around here"),
            Some("isn t wanted around here".into())
        );
        assert_eq!(pattern("550 5.7.1 192.0.2.1"), None);
    }
}
