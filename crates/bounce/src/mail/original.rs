//! Where a notice ends and the mail that it returns begins, in running text; and reports whose MIME part was lost.

/// Where the returned mail begins in the words, in bytes; their length where it does not.
pub(super) fn start_of_original(words: &str) -> usize {
    let mut at = 0;
    let mut before = String::new();
    for line in words.split_inclusive('\n') {
        let plain = line.trim().trim_start_matches('>').trim();
        if at > 0 && (is_marker(plain) || is_header_block(plain, &before)) {
            return at;
        }
        if !plain.is_empty() || before.is_empty() {
            before = plain.to_owned();
        } else {
            before.clear();
        }
        at += line.len();
    }
    words.len()
}

fn is_marker(line: &str) -> bool {
    let ruled = line.starts_with(['-', '=', '*', '_', '#']) || line.ends_with(['-', ':', '=']);
    let line = line.to_ascii_lowercase();
    ruled && MARKERS.iter().any(|m| line.contains(m))
}

const MARKERS: [&str; 21] = [
    "original message",
    "below this line is a copy",
    "this is a copy of",
    "copy of your message",
    "copy of the message",
    "copy of the original",
    "unsent message",
    "returned message",
    "message header",
    "message follows",
    "message headers",
    "returned mail",
    "your message follows",
    "undelivered message",
    "message text follows",
    "headers follow",
    "header follows",
    "rejected message",
    "returned content",
    "text of your message",
    "start of the message",
];

/// `Return-Path:` and `Received:` begin a mail wherever they stand; other headers do after an empty line.
fn is_header_block(line: &str, before: &str) -> bool {
    let starts = |name: &str| line.get(..name.len()).is_some_and(|l| l.eq_ignore_ascii_case(name));
    starts("return-path:")
        || (starts("received:") && (line.contains(" by ") || line.contains("from")))
        || (before.is_empty() && (starts("message-id:") || starts("mime-version:")))
}

/// A delivery status that stands in the words: its part's type was lost on the way.
pub(super) fn loose_status(words: &str) -> Option<String> {
    let lower = words.to_ascii_lowercase();
    let at = ["reporting-mta:", "final-recipient:", "original-recipient:"].iter().filter_map(|s| lower.find(s)).min()?;
    let rest = &lower[at..];
    let whole = rest.contains("final-recipient:") && (rest.contains("action:") || rest.contains("status:"));
    // Somebody may have forwarded it as a quotation.
    whole.then(|| words[at..].lines().map(|l| l.trim_start_matches(['>', ' '])).collect::<Vec<_>>().join("\n"))
}
