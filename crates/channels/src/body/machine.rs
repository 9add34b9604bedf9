//! Bodies for programs.

use serde_json::{Value, json};

use super::words::{fit, headline, line, lines};
use crate::{Change, Message, Notification, PagerDuty, Severity};

/// The JSON of webhooks and commands. A new version (`v`) takes away or changes what is there; what is only added has the same.
pub fn json(message: &Message) -> Value {
    json!({
        "v": 1,
        "node": message.news.first().map(|news| news.node.as_str()),
        "summary": headline(message),
        "severity": message.severity().as_str(),
        "incidents": message.listed().iter().map(incident).collect::<Vec<_>>(),
        "more": message.more(),
    })
}

fn incident(news: &Notification) -> Value {
    json!({
        "id": line(&news.incident),
        "rule": line(&news.rule),
        "key": line(&news.key),
        "state": news.change.as_str(),
        "severity": news.severity.as_str(),
        "title": line(&news.title),
        "detail": line(&news.detail),
        "problem_of": line(&news.problem_of),
        "next_step": line(&news.next_step),
        "since": news.since,
        "at": news.at,
    })
}

/// Events for PagerDuty (<https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>), to be sent one after the other. All may be
/// repeated: what has the same `dedup_key` opens nothing new. A storm opens one incident, which is resolved once all in it are over; what has
/// no effect there makes no event.
pub fn pagerduty(message: &Message, integration: &PagerDuty) -> Vec<Value> {
    let key = integration.routing_key.reveal();
    let resolve = |thread: &str| json!({ "routing_key": key, "event_action": "resolve", "dedup_key": thread });
    let test = message.news.iter().any(|news| news.change == Change::Test);
    let mut events: Vec<Value> = message.open().next().map(|worst| trigger(message, worst, key)).into_iter().collect();
    events.extend(message.over.iter().map(|thread| resolve(thread)));
    // A test disturbs nobody for long.
    events.extend(test.then(|| resolve(&message.thread)));
    events
}

fn trigger(message: &Message, worst: &Notification, key: &str) -> Value {
    let severity = match (worst.change, message.severity()) {
        (Change::Test, _) => "info",
        (_, Severity::Critical) => "critical",
        (_, Severity::Warn) => "warning",
    };
    let about = if worst.key.is_empty() { "relay".to_owned() } else { line(&worst.key) };
    json!({
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": message.thread,
        "payload": {
            "summary": fit(headline(message), SUMMARY_MAX),
            "source": worst.node.as_str(),
            "severity": severity,
            "timestamp": worst.at,
            "component": about,
            "class": worst.rule,
            "custom_details": { "text": lines(message).join("\n"), "more": message.more() },
        },
    })
}

/// The longest summary has 1,024 characters.
const SUMMARY_MAX: usize = 1024;
