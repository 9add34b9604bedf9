//! A line of a message's history: what happened, what was said, and what it means.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, Render as _, html};
use posthaste_bounce::Rules;
use posthaste_monitor::{LogRecord, LogText};
use posthaste_relay::why::Told;

use super::timings;
use crate::{
    sight::Sight,
    words::{At, lasting},
};

/// How lines are shown, and to whom.
#[derive(Clone, Copy)]
pub(super) struct Showing<'s> {
    pub(super) now: Timestamp,
    pub(super) zone: &'s TimeZone,
    pub(super) rules: &'s Rules,
    pub(super) sight: Sight,
}

impl Showing<'_> {
    /// A time of the log with its seconds.
    fn exact(&self, text: &str) -> Markup {
        let Ok(time) = text.parse::<Timestamp>() else { return html! { (self.sight.line(text)) } };
        let (there, now) = (time.to_zoned_datetime(self.zone.clone()), self.now.to_zoned_datetime(self.zone.clone()));
        let form = if there.date() == now.date() { "%H:%M:%S" } else { "%-d %b %Y %H:%M:%S" };
        html! { time datetime=(time.to_string()) title=(there.strftime("%F %T %Z").to_string()) { (there.strftime(form).to_string()) } }
    }

    /// A time to come, as in the log.
    fn coming(&self, text: &str) -> Markup {
        match text.parse::<Timestamp>() {
            Ok(time) if time > self.now => {
                let at = At { time, now: self.now, zone: self.zone }.render();
                html! { (at) " (in " (lasting(time.duration_since(self.now))) ")" }
            }
            Ok(_) => self.exact(text),
            Err(_) => html! { (self.sight.line(text)) },
        }
    }

    fn said(&self, text: Option<&LogText<'_>>) -> Option<String> {
        text.map(|text| self.sight.line(text))
    }
}

/// The line as an entry of the time-line.
pub(super) fn draw(record: &LogRecord<'_>, showing: Showing<'_>) -> Markup {
    let sight = showing.sight;
    html! {
        li {
            p .when { (showing.exact(&record.time_text)) " " span .state .(class_of(&record.event)) { (sight.line(&words(&record.event))) } " " (headline(record, showing)) }
            @if let (Some(code), Some(reply)) = (record.smtp_code, &record.smtp_text) {
                @if let Some(stage) = &record.smtp_stage { p .quiet { "Answer to " (sight.line(&stage_words(stage))) ":" } }
                pre { (code) " " (sight.text(reply)) }
            }
            @if let Some(cause) = &record.cause {
                p { (sight.line(&cause.replace('_', " "))) @if let Some(stage) = &record.smtp_stage { " at " (sight.line(&stage_words(stage))) }
                    @if let Some(detail) = &record.detail { ": " (sight.line(detail)) } }
            } @else if let Some(detail) = &record.detail { pre { (sight.text(detail)) } }
            @if record.ambiguous {
                p .wrong { @if *record.event == *"delivered" { "An earlier attempt may have arrived as well." }
                    @else { "The connection broke after the end of the message: it may have arrived." } }
            }
            (facts(record, showing))
            (timings::draw(record))
        }
    }
}

/// The event in people's words.
fn words(event: &str) -> String {
    event.replace('_', " ")
}

/// The class of an event's sign.
pub(super) fn class_of(event: &str) -> &'static str {
    match event {
        "delivered" => "delivered",
        "deferred" | "held" | "delayed" => "deferred",
        "bounced" | "late_bounced" | "complained" | "rejected" | "suppressed" => "bounced",
        "expired" => "expired",
        "cancelled" => "stopped",
        _ => "",
    }
}

/// A stage of the dialogue as people write it.
fn stage_words(stage: &str) -> String {
    match stage {
        "connect" => "the connection".into(),
        "banner" => "the connection (greeting)".into(),
        "dot" => "the end of the message".into(),
        stage => stage.to_uppercase(),
    }
}

/// Which attempt it was, from where to where, or who did it.
fn headline(record: &LogRecord<'_>, showing: Showing<'_>) -> String {
    let said = |text: &Option<LogText<'_>>| showing.said(text.as_ref());
    let with_ip = |name: String, ip: &Option<LogText<'_>>| said(ip).map_or_else(|| name.clone(), |ip| format!("{name} [{ip}]"));
    let mut parts = Vec::new();
    if record.not_tried {
        parts.push("not tried".into());
    } else {
        parts.extend(record.attempt.filter(|n| *n > 0).map(|n| format!("attempt {n}")));
    }
    parts.extend(said(&record.source).map(|source| format!("by {}", with_ip(source, &record.source_ip))));
    parts.extend(said(&record.mx_host).map(|host| format!("to {}", with_ip(host, &record.mx_ip))));
    parts.extend(said(&record.provider).map(|provider| format!("({provider})")));
    if let Some(ip) = said(&record.client_ip) {
        parts.push(match said(&record.client_ehlo) {
            Some(name) => format!("from client {ip} ({name})"),
            None => format!("from client {ip}"),
        });
    }
    parts.extend(record.recovered.then(|| "found in the spool after a crash".into()));
    parts.extend(said(&record.by).map(|by| format!("by {by}")));
    parts.extend(said(&record.reason).map(|reason| format!("because of: {reason}")));
    parts.join(" ")
}

/// Verdict, protection and what follows, as a list.
fn facts(record: &LogRecord<'_>, showing: Showing<'_>) -> Markup {
    let said = |text: &Option<LogText<'_>>| showing.said(text.as_ref());
    let told = Told::of(record, showing.rules);
    let rule = record.rule.as_deref();
    let meaning = told.meaning.or_else(|| rule.and_then(|rule| showing.rules.meaning_of(rule)).map(|(why, _)| why.to_owned()));
    let link = rule.and_then(|rule| showing.rules.meaning_of(rule)).and_then(|(_, link)| link).filter(|link| link.starts_with("https://"));
    let others: Vec<String> = record.other_hosts.iter().map(|other| other_host(other, showing.sight)).collect();
    let mut rows: Vec<(&str, Markup)> = Vec::new();
    rows.extend(meaning.map(|meaning| {
        let meaning =
            html! { (showing.sight.line(&meaning)) @if let Some(link) = link { " " a href=(link) rel="noreferrer" { "Read more" } } };
        ("It means", meaning)
    }));
    rows.extend(told.advice.map(|advice| ("What to do", html! { (advice) })));
    rows.extend(said(&record.class).map(|class| {
        let verdict = html! { code { (class) } @if let Some(action) = said(&record.action) { " → " code { (action) } }
        @if let Some(rule) = said(&record.rule) { ", by rule " code { (rule) } } };
        ("Verdict", verdict)
    }));
    rows.extend(record.retry_at.as_ref().map(|at| ("Tried again", showing.coming(at))));
    rows.extend(record.until.as_ref().map(|at| ("Until", showing.coming(at))));
    rows.extend((!others.is_empty()).then(|| ("Other hosts", html! { @for other in &others { div { (other) } } })));
    rows.extend(tls(record, showing).map(|tls| ("TLS", html! { (tls) })));
    rows.extend(said(&record.spf).map(|spf| ("SPF", html! { (spf) })));
    rows.extend(said(&record.dmarc).map(|dmarc| ("DMARC policy", html! { (dmarc) })));
    rows.extend(came_back(record, showing).map(|text| ("Came back", html! { (text) })));
    html! { @if !rows.is_empty() { dl .facts { @for (name, value) in rows { dt { (name) } dd { (value) } } } } }
}

/// How the connection was protected; None: there was none.
fn tls(record: &LogRecord<'_>, showing: Showing<'_>) -> Option<String> {
    let said = |text: &Option<LogText<'_>>| showing.said(text.as_ref());
    let mut parts: Vec<String> = said(&record.tls_version).into_iter().chain(said(&record.tls_cipher)).collect();
    parts.extend(record.tls_verified.map(|is_valid| if is_valid { "certificate valid" } else { "certificate not valid" }.to_owned()));
    parts.extend(said(&record.tls_fallback).map(|why| format!("in plain text although the receiver offers TLS: {why}")));
    if parts.is_empty() && record.tls_policy.is_some() && record.connect_ms.is_some() {
        parts.push("none".into());
    }
    parts.extend(said(&record.tls_policy).map(|policy| format!("policy {policy}")));
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What another host said to which the attempt offered the message.
fn other_host(other: &posthaste_monitor::OtherHostRecord<'_>, sight: Sight) -> String {
    let said = |text: &Option<LogText<'_>>| text.as_ref().map(|text| sight.line(text)).unwrap_or_default();
    let what = match (other.smtp_code, &other.smtp_text) {
        (Some(code), Some(text)) => format!("{code} {}", sight.line(&text.replace('\n', " "))),
        _ => format!("{} {}", said(&other.cause).replace('_', " "), said(&other.detail)),
    };
    format!("{} [{}] at {}: {what}", said(&other.mx_host), said(&other.mx_ip), said(&other.smtp_stage))
}

/// How a report came back and how far it is believed.
fn came_back(record: &LogRecord<'_>, showing: Showing<'_>) -> Option<String> {
    let said = |text: &Option<LogText<'_>>| showing.said(text.as_ref());
    let by = said(&record.matched_by)?;
    let mut parts: Vec<String> = said(&record.kind).into_iter().collect();
    parts.extend(said(&record.feedback_type).map(|kind| format!("feedback: {kind}")));
    parts.extend(said(&record.reporting_mta).map(|host| format!("reported by {host}")));
    parts.extend(said(&record.remote_mta).map(|host| format!("refused by {host}")));
    parts.extend(said(&record.names).map(|name| format!("it names {name}")));
    parts.push(format!("matched by {by}"));
    parts.extend(said(&record.trust).map(|trust| {
        let why = said(&record.why).map_or_else(String::new, |why| format!(" ({why})"));
        format!("believed as {trust}{why}")
    }));
    parts.extend(record.again.then(|| "told before".to_owned()));
    Some(parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(line: &str, masks: bool) -> String {
        let rules = Rules::shipped();
        let showing = Showing { now: "2026-11-29T14:00:00Z".parse().unwrap(), zone: &TimeZone::UTC, rules, sight: Sight { masks } };
        draw(&LogRecord::parse(line.as_bytes()).unwrap(), showing).0
    }

    #[test]
    fn an_attempt_says_its_whole_reply_what_it_means_and_what_follows() {
        let line = r#"{"time":"2026-11-29T13:59:01.250Z","event":"deferred","message":"01KAQ2V3W4X5Y6Z7A8B9C0D1E2","rcpt":"ann@gmail.com","provider":"google",
            "source":"ip1","source_ip":"192.0.2.1","mx_host":"mx.google.com","mx_ip":"192.0.2.9","attempt":2,"smtp_code":421,"smtp_stage":"rcpt",
            "smtp_text":"4.7.28 first\n4.7.28 second <ann@gmail.com>","class":"rate_limited","action":"slow_down","rule":"google-421-4.7.28",
            "retry_at":"2026-11-29T14:10:00.000Z","spf":"pass","dmarc":"reject","tls_version":"TLSv1.3","tls_verified":true,"tls_policy":"opportunistic",
            "connect_ms":20,"other_hosts":[{"mx_host":"alt.google.com","mx_ip":"192.0.2.8","smtp_code":421,"smtp_text":"no","smtp_stage":"mail"}]}"#;
        let seen = drawn(line, false);
        for part in [
            ">13:59:01</time>",
            "attempt 2 by ip1 [192.0.2.1] to mx.google.com [192.0.2.9] (google)",
            "Answer to RCPT:",
            "421 4.7.28 first\n4.7.28 second &lt;ann@gmail.com&gt;",
            "<dt>It means</dt>",
            "<dt>What to do</dt>",
            "<code>rate_limited</code> → <code>slow_down</code>, by rule <code>google-421-4.7.28</code>",
            ">14:10</time> (in 10 min)",
            "TLSv1.3, certificate valid, policy opportunistic",
            "<dt>SPF</dt><dd>pass</dd><dt>DMARC policy</dt><dd>reject</dd>",
            "alt.google.com [192.0.2.8] at mail: 421 no",
            "connection 20 ms",
        ] {
            assert!(seen.contains(part), "{part}\nin {seen}");
        }
        assert!(!drawn(line, true).contains("ann@"), "{}", drawn(line, true));
    }

    #[test]
    fn what_strangers_wrote_is_text() {
        let hostile = r#"\u001b[31m<script>alert(1)</script>\" onload=x"#;
        let line = format!(
            r#"{{"time":"{hostile}","event":"{hostile}","reason":"{hostile}","by":"{hostile}","provider":"{hostile}","source":"{hostile}","mx_host":"{hostile}",
            "client_ip":"{hostile}","client_ehlo":"{hostile}","smtp_code":550,"smtp_text":"{hostile}","smtp_stage":"{hostile}","cause":"{hostile}",
            "detail":"{hostile}","class":"{hostile}","action":"{hostile}","rule":"{hostile}","retry_at":"{hostile}","until":"{hostile}","spf":"{hostile}",
            "dmarc":"{hostile}","tls_version":"{hostile}","tls_cipher":"{hostile}","tls_policy":"{hostile}","tls_fallback":"{hostile}",
            "matched_by":"{hostile}","trust":"{hostile}","why":"{hostile}","kind":"{hostile}","names":"{hostile}","remote_mta":"{hostile}",
            "other_hosts":[{{"mx_host":"{hostile}","smtp_text":"{hostile}","smtp_code":421}}]}}"#
        );
        let seen = drawn(&line, false);
        assert!(seen.contains("&lt;script&gt;") && !seen.contains("<script") && !seen.contains('\u{1b}'), "{seen}");
        assert!(!seen.contains("\" onload") && !seen.contains("\"onload"), "{seen}");
    }
}
