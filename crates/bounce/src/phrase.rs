//! The RFC's own words for a code, which explain nothing: `550-Requested action not taken: mailbox unavailable`, with the reason on the
//! next line.

/// What the texts of RFC 5321 §4.2.3 for 450 and 550 begin with, and what they say.
const BEGINS: &[&str] = &["requested action not taken", "requested mail action not taken", "mailbox unavailable"];
const SAYS: &str = "mailbox unavailable";

/// The part of a reply's text that gives the reason: what stands behind the RFC's own words, if it says anything; else all of it.
pub(crate) fn reason(text: &str) -> &str {
    let start = text.find(|c: char| c.is_alphabetic()).unwrap_or(0);
    let begins = |phrase: &&str| text.get(start..start + phrase.len()).is_some_and(|t| t.eq_ignore_ascii_case(phrase));
    if !BEGINS.iter().any(begins) {
        return text;
    }
    let Some(end) = end_of_saying(&text[start..]).map(|end| start + end) else { return text };
    let rest = without_examples(&text[end..]);
    if begins_anew(rest) && says_something(rest) { rest } else { text }
}

/// The end of "mailbox unavailable" close to the start, in bytes.
fn end_of_saying(text: &str) -> Option<usize> {
    let head = &text.as_bytes()[..text.len().min(NEAR)];
    let at = head.windows(SAYS.len()).position(|w| w.eq_ignore_ascii_case(SAYS.as_bytes()))?;
    Some(at + SAYS.len())
}

/// The RFC's texts are shorter than this.
const NEAR: usize = 80;

/// The text without the examples of the RFC that some receivers quote: `(e.g., mailbox not found, no access, …)`.
fn without_examples(text: &str) -> &str {
    match text.trim_start().strip_prefix("(e.g.").and_then(|t| t.split_once(')')) {
        Some((_, rest)) => rest,
        None => text,
    }
}

/// Whether a sentence, a line or a code begins here: "mailbox unavailable or access denied" is one saying.
fn begins_anew(rest: &str) -> bool {
    let blank = |c: char| c == ' ' || c == '\t';
    !rest.trim_start_matches(blank).starts_with(char::is_alphabetic)
}

/// Whether a text says more than where to read on.
fn says_something(text: &str) -> bool {
    let words = text.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()));
    let is_said = |w: &&str| w.len() >= 2 && w.chars().all(char::is_alphabetic) && !POINTERS.iter().any(|p| w.eq_ignore_ascii_case(p));
    words.filter(is_said).count() >= WORDS_LEAST
}

/// The least number of words that are a reason.
const WORDS_LEAST: usize = 2;

/// The words of pointers: "For explanation visit https://…".
const POINTERS: &[&str] = &[
    "for",
    "an",
    "the",
    "more",
    "further",
    "information",
    "explanation",
    "explanations",
    "detail",
    "details",
    "visit",
    "see",
    "please",
    "go",
    "to",
    "at",
    "refer",
    "read",
    "help",
    "support",
    "contact",
    "your",
    "our",
    "postmaster",
    "and",
    "or",
    "in",
    "reply",
    "rcpt",
    "command",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_words_are_no_reason_if_another_follows() {
        for (text, wanted) in [
            ("Requested action not taken: mailbox unavailable\nSender address is not allowed.", "\nSender address is not allowed."),
            ("550-Requested action not taken: mailbox unavailable 550 Failure sending mail.", " 550 Failure sending mail."),
            ("5.1.1 mailbox unavailable\n5.1.1 rejected by policy", "\n5.1.1 rejected by policy"),
        ] {
            assert_eq!(reason(text), wanted);
        }
    }

    #[test]
    fn a_link_or_an_id_is_no_reason() {
        for text in [
            "Requested action not taken: mailbox unavailable",
            "Requested action not taken: mailbox unavailable\nFor explanation visit https://postmaster.gmx.net/en/error-messages?c=rnp",
            "5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [mx1.hotmail.com 2024-01-01T00:00:00Z 08DD]",
            "Requested action not taken: mailbox unavailable (e.g., mailbox not found, no access, or command rejected for policy reasons)",
            "Mailbox unavailable or access denied for you",
            "user unknown\nmailbox unavailable or not",
            "",
        ] {
            assert_eq!(reason(text), text);
        }
    }
}
