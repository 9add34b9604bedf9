//! The words of a message, for people.

use jiff::Timestamp;
use posthaste_mail::Foreign;

use crate::{Change, Message, Notification, Severity};

/// The most characters of a title in a list of many.
const LISTED_TITLE_MAX: usize = 150;

/// The message in one line.
pub(super) fn headline(message: &Message) -> String {
    match &message.news[..] {
        [one] if message.left_out == 0 => format!("{}: {}", state(one), line(&one.title)),
        all => {
            let count = all.len() + message.left_out;
            let over = all.iter().filter(|news| news.change == Change::Closed).count();
            let critical = message.open().filter(|news| news.severity == Severity::Critical).count();
            let parts = [(critical, "critical"), (over, "over")].into_iter().filter(|(count, _)| *count > 0);
            let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
            if parts.is_empty() { format!("{count} incidents") } else { format!("{count} incidents, {}", parts.join(", ")) }
        }
    }
}

/// A sign for the worst that is told.
pub(super) fn sign(message: &Message) -> &'static str {
    match message.severity() {
        _ if message.news.iter().all(|news| news.change == Change::Test) => "🔵",
        _ if message.is_all_over() => "🟢",
        Severity::Critical => "🔴",
        Severity::Warn => "🟠",
    }
}

/// What is told below the headline, in lines.
pub(super) fn lines(message: &Message) -> Vec<String> {
    if let ([one], 0) = (&message.news[..], message.left_out) {
        return details(one);
    }
    let listed = message.listed().iter().map(|news| format!("{}: {}", state(news), Foreign::new(&news.title).first(LISTED_TITLE_MAX)));
    let mut lines: Vec<String> = listed.collect();
    if message.more() > 0 {
        lines.push(format!("and {} more: `posthaste incidents` lists all", message.more()));
    }
    lines.extend(message.news.first().map(|news| format!("Relay: {}", news.node)));
    lines
}

fn details(news: &Notification) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |what: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("{what}{}", line(text)));
        }
    };
    add("", &news.detail);
    add("Problem of: ", &news.problem_of);
    if news.change != Change::Closed {
        add("Next step: ", &news.next_step);
    }
    match news.change {
        Change::Test => {}
        Change::Closed => add("", &format!("From {} to {}", time(news.since), time(news.at))),
        _ => add("", &format!("Since {}", time(news.since))),
    }
    let about = if news.key.is_empty() { String::new() } else { format!(", {}", news.key) };
    add("Relay: ", &format!("{}. Incident {} ({}{about})", news.node, news.incident, news.rule));
    lines
}

fn state(news: &Notification) -> &'static str {
    match (news.change, news.severity) {
        (Change::Test, _) => "Test",
        (Change::Closed, _) => "Over",
        (Change::Opened, Severity::Critical) => "Critical",
        (Change::Opened, Severity::Warn) => "Warning",
        (Change::Changed, Severity::Critical) => "Changed, critical",
        (Change::Changed, Severity::Warn) => "Changed, warning",
        (Change::ToldAgain, Severity::Critical) => "Still critical",
        (Change::ToldAgain, Severity::Warn) => "Still a warning",
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Text that may be a stranger's, in one line.
pub(super) fn line(text: &str) -> String {
    Foreign::new(text).to_string()
}

/// The text if it has no more bytes than that, else its beginning.
pub(super) fn fit(text: String, most: usize) -> String {
    if text.len() <= most { text } else { format!("{}…", &text[..text.floor_char_boundary(most - '…'.len_utf8())]) }
}
