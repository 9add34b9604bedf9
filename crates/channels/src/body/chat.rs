//! Bodies for people's chats and telephones.

use serde_json::{Value, json};

use super::words::{fit, headline, lines, sign};
use crate::{Message, Ntfy, Severity};

/// For an incoming webhook of Slack, and of what takes its format (Mattermost, Rocket.Chat).
///
/// The text is plain (`mrkdwn` is off), and `&`, `<` and `>` are escaped: by them Slack writes mentions and links
/// (<https://docs.slack.dev/messaging/formatting-message-text>). Others read `@all` too.
pub fn slack(message: &Message) -> Value {
    let text = format!("{} {}\n{}", sign(message), headline(message), lines(message).join("\n"));
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({
        "text": fit(without_mentions(&text), SLACK_MAX),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// For a workflow of Microsoft Teams ("Post to a channel when a webhook request is received"): an Adaptive Card.
///
/// Its texts are runs of rich text, which, unlike text blocks, know no Markdown
/// (<https://adaptivecards.io/explorer/TextRun.html>). A mention needs an entity, of which the card has none.
pub fn teams(message: &Message) -> Value {
    let colour = match message.severity() {
        _ if message.is_all_over() => "good",
        Severity::Critical => "attention",
        Severity::Warn => "warning",
    };
    let title = format!("{} {}", sign(message), headline(message));
    let run = |text: String| json!({ "type": "TextRun", "text": text });
    let block = |run: Value| json!({ "type": "RichTextBlock", "inlines": [run] });
    let first = json!({ "type": "TextRun", "text": title, "weight": "bolder", "size": "medium", "color": colour });
    let blocks = std::iter::once(first).chain(lines(message).into_iter().map(run)).map(block);
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "fallbackText": title,
                "msteams": { "width": "Full" },
                "body": blocks.collect::<Vec<_>>(),
            },
        }],
    })
}

/// For a webhook of Discord: an embed, which mentions nobody, with Markdown escaped
/// (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).
pub fn discord(message: &Message) -> Value {
    let colour = match message.severity() {
        _ if message.is_all_over() => 0x2e_a0_43,
        Severity::Critical => 0xd7_3a_49,
        Severity::Warn => 0xdb_ab_09,
    };
    let plain = |text: &str| without_mentions(&without_markdown(text));
    json!({
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": fit(plain(&format!("{} {}", sign(message), headline(message))), DISCORD_TITLE_MAX),
            "description": fit(plain(&lines(message).join("\n")), DISCORD_MAX),
            "color": colour,
        }],
    })
}

/// For a topic of ntfy, published as JSON to the server's root (<https://docs.ntfy.sh/publish/#publish-as-json>). Markdown is off.
pub fn ntfy(message: &Message, topic: &Ntfy) -> Value {
    // What is over wakes nobody.
    let (priority, tag) = match message.severity() {
        _ if message.is_all_over() => (topic.warn.min(NTFY_QUIET), "white_check_mark"),
        Severity::Critical => (topic.critical, "rotating_light"),
        Severity::Warn => (topic.warn, "warning"),
    };
    json!({
        "topic": topic.topic.reveal(),
        "title": fit(headline(message), NTFY_TITLE_MAX),
        "message": fit(lines(message).join("\n"), NTFY_MAX),
        "priority": priority,
        "tags": [tag],
    })
}

/// Breaks the words that mention all by a space that nobody sees.
fn without_mentions(text: &str) -> String {
    const ALL: [&str; 4] = ["everyone", "here", "channel", "all"];
    let mut out = String::with_capacity(text.len());
    for (place, c) in text.char_indices() {
        out.push(c);
        let rest = &text.as_bytes()[place + c.len_utf8()..];
        let begins = |word: &&str| rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()));
        // An address at hereford.example mentions nobody.
        let mentions = |word: &str| begins(&word) && !rest.get(word.len()).is_some_and(u8::is_ascii_alphanumeric);
        if c == '@' && ALL.iter().any(|word| mentions(word)) {
            out.push('\u{200b}');
        }
    }
    out
}

/// With a backslash before everything that Discord's Markdown obeys.
fn without_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\*_~`|>#-[]()<:".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Slack cuts off what is longer than 40,000 characters.
const SLACK_MAX: usize = 30_000;
/// An embed's title has at most 256 characters, its description 4,096; counted here in bytes, which are not fewer.
const DISCORD_TITLE_MAX: usize = 256;
const DISCORD_MAX: usize = 4096;
/// A message of more than 4,096 bytes becomes an attachment.
const NTFY_MAX: usize = 4000;
const NTFY_TITLE_MAX: usize = 250;
/// The priority "default", which makes no long noise.
const NTFY_QUIET: u8 = 3;
