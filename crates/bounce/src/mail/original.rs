//! Where a notice ends and the returned mail begins, in running text; and reports whose MIME part was lost.

/// Where the returned mail begins in the text, in bytes; the length of the text if it contains none.
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

/// Whether a mail begins with this line: `Return-Path:` and `Received:` begin one anywhere, other fields only after an empty line.
fn is_header_block(line: &str, before: &str) -> bool {
    let starts = |name: &str| line.get(..name.len()).is_some_and(|l| l.eq_ignore_ascii_case(name));
    starts("return-path:")
        || (starts("received:") && (line.contains(" by ") || line.contains("from")))
        || (before.is_empty() && (starts("message-id:") || starts("mime-version:")))
}

/// The lines of an SMTP dialogue, `>>> RCPT To:<a@b.org>` and `<<< 550 …`, in the text of a returned mail: gateways report the replies of
/// the server behind them like this. `None` unless both sides occur.
pub(super) fn dialogue(text: &str) -> Option<String> {
    let spoken = |line: &&str| line.starts_with(">>> ") || line.starts_with("<<< ");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(spoken).take(DIALOGUE_MAX).collect();
    let both = [">>> ", "<<< "].iter().all(|side| lines.iter().any(|l| l.starts_with(side)));
    both.then(|| lines.join("\n"))
}

/// The most lines of a dialogue that are kept.
const DIALOGUE_MAX: usize = 100;

/// The reply to the RCPT command for this recipient.
pub(super) fn answer_to_recipient<'d>(dialogue: &'d str, rcpt: &str) -> Option<&'d str> {
    let mut lines = dialogue.lines();
    let named = format!("<{}>", rcpt.to_ascii_lowercase());
    lines.find(|l| l.to_ascii_lowercase().strip_prefix(">>> rcpt to:").is_some_and(|to| to.trim_start().starts_with(&named)))?;
    lines.next()?.strip_prefix("<<< ")
}

/// A delivery status inside the text, whose MIME type was lost on the way.
pub(super) fn loose_status(words: &str) -> Option<String> {
    let lower = words.to_ascii_lowercase();
    let at = ["reporting-mta:", "final-recipient:", "original-recipient:"].iter().filter_map(|s| lower.find(s)).min()?;
    let rest = &lower[at..];
    let whole = rest.contains("final-recipient:") && (rest.contains("action:") || rest.contains("status:"));
    // It may have been forwarded as a quotation.
    whole.then(|| words[at..].lines().map(|l| l.trim_start_matches(['>', ' '])).collect::<Vec<_>>().join("\n"))
}
