//! The RFC's own words for a code, which explain nothing: `550-Requested action not taken: mailbox unavailable`, with the reason on the
//! next line.

/// What the texts of RFC 5321 §4.2.3 begin with.
const BEGINS: &[&str] = &[
    "requested action not taken",
    "requested mail action not taken",
    "requested action aborted",
    "requested mail action aborted",
    "mailbox unavailable",
    "service not available",
];
/// What they say about a mailbox: for 450, 550 and 553.
const OF_A_MAILBOX: &[&str] = &["mailbox unavailable", "mailbox name not allowed"];
/// What they say about something else: for 421, 451, 452 and 552.
const OF_THE_HOST: &[&str] = &[
    "closing transmission channel",
    "local error in processing",
    "error in processing",
    "insufficient system storage",
    "exceeded storage allocation",
];

/// The reason that a receiver gives behind the RFC's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason<'t> {
    /// What stands behind those words.
    pub(crate) text: &'t str,
    /// Whether they are about a mailbox: they stand for every refusal of a recipient, and what follows is the only reason.
    pub(crate) instead_of_a_mailbox: bool,
}

/// The reason behind the RFC's own words; None: the reply has no such words, or nothing is said behind them.
pub(crate) fn reason(text: &str) -> Option<Reason<'_>> {
    let start = text.find(|c: char| c.is_alphabetic()).unwrap_or(0);
    let begins = |phrase: &&str| text.get(start..start + phrase.len()).is_some_and(|t| t.eq_ignore_ascii_case(phrase));
    if !BEGINS.iter().any(begins) {
        return None;
    }
    let end = |sayings: &[&str]| sayings.iter().find_map(|saying| end_of(saying, &text[start..])).map(|end| start + end);
    let (end, instead_of_a_mailbox) = end(OF_A_MAILBOX).map(|end| (end, true)).or_else(|| end(OF_THE_HOST).map(|end| (end, false)))?;
    let rest = without_examples(&text[end..]);
    (begins_anew(rest) && says_something(rest)).then_some(Reason { text: rest, instead_of_a_mailbox })
}

/// The end of a saying close to the start, in bytes.
fn end_of(saying: &str, text: &str) -> Option<usize> {
    let head = &text.as_bytes()[..text.len().min(NEAR)];
    let at = head.windows(saying.len()).position(|w| w.eq_ignore_ascii_case(saying.as_bytes()))?;
    Some(at + saying.len())
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
            assert_eq!(reason(text), Some(Reason { text: wanted, instead_of_a_mailbox: true }));
        }
        for (text, wanted) in [
            ("Requested mail action aborted: exceeded storage allocation\nno credit left", "\nno credit left"),
            ("4.3.2 Service not available, closing transmission channel\nYour reputation is bad", "\nYour reputation is bad"),
            ("Requested action aborted: local error in processing\ntoo many messages", "\ntoo many messages"),
        ] {
            assert_eq!(reason(text), Some(Reason { text: wanted, instead_of_a_mailbox: false }));
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
            "Requested mail action aborted: exceeded storage allocation",
            "Requested mail action aborted: exceeded storage allocation of this mailbox",
            "",
        ] {
            assert_eq!(reason(text), None);
        }
    }
}
