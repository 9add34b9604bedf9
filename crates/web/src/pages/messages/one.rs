//! A message's page: what became of each recipient, what was said, and what it waits for.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::IntoResponse as _,
};
use maud::{Markup, html};
use posthaste_host::clock;
use posthaste_mail::MessageId;
use posthaste_monitor::LogRecord;
use posthaste_queue::MessageSelection;
use posthaste_relay::desk::{List, Traced};
use serde_json::Value;

use super::{
    attempt::{self, Showing},
    history::{History, Recipient},
    id::id_of,
};
use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, part},
    pages::{queue, standing},
    sight::Sight,
    site::Site,
    snapshot::zone,
    trouble::Trouble,
    viewer::{Query, Viewer},
    words::{At, age, bytes, counted},
};

/// Recipients on a page.
const SHOWN_MAX: usize = 50;
/// Lines of one recipient that are shown: the first and the last ones.
const LINES_MAX: usize = 40;

/// The page.
pub(super) async fn page(State(site): Shared, viewer: Viewer, form: As, Path(id): Path<String>, Query(query): Query) -> Answered {
    let id = id_of(&id)?;
    let (traced, list) = asked(&site, id).await?;
    let history = History::read(id, &traced.lines, list.messages.first());
    if history.is_empty() {
        return Err(Trouble::NotFound(format!("Neither the queue nor the delivery log knows message {id}.")));
    }
    let (zone, settings, sight) = (zone(&site.desk), site.desk.settings.load_full(), viewer.sight);
    let showing = Showing { now: clock::now(), zone: &zone, rules: &settings.rules, sight };
    let from = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let main = html! {
        (part("message", &head(id, &history, showing, &query)))
        (part("steer", &html! {
            @if viewer.steers() && history.queued.is_some() { h2 { "Steer it" } (queue::buttons(&MessageSelection::one(id), &viewer)) }
        }))
        (part("recipients", &recipients(id, &history, showing, from)))
    };
    let live = history.recipients.iter().any(|recipient| recipient.ending().is_none());
    let page = Page { title: format!("Message {id}"), here: Here::Messages, live, main, data: history.data(id) };
    Ok(form.answer(page, &viewer))
}

/// Its lines of the log, as they stand there.
pub(super) async fn lines(State(site): Shared, viewer: Viewer, Path(id): Path<String>) -> Answered {
    let id = id_of(&id)?;
    let (traced, sight) = (site.desk.trace(id.to_string()).await?, viewer.sight);
    if traced.lines.is_empty() {
        return Err(Trouble::NotFound(format!("The delivery log has no line about message {id}.")));
    }
    let mut text = String::new();
    for line in traced.lines {
        match serde_json::from_str::<Value>(&line) {
            Ok(value) if sight.masks => text += &sight.json(value).to_string(),
            Ok(_) => text += &line,
            Err(_) => continue,
        }
        text.push('\n');
    }
    // As plain text a browser shows it; each line is an object of JSON.
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], text).into_response())
}

async fn asked(site: &Site, id: MessageId) -> Result<(Traced, List), Trouble> {
    // The queue first: what ends between the two questions stands in the log.
    let list = site.desk.list(MessageSelection::one(id), 1).await?;
    Ok((site.desk.trace(id.to_string()).await?, list))
}

fn head(id: MessageId, history: &History<'_>, showing: Showing<'_>, query: &crate::viewer::Fields) -> Markup {
    let Showing { now, zone, sight, .. } = showing;
    let first = history.first();
    html! {
        h1 { "Message " code { (id) } }
        (queue::done(query))
        p { strong { (history.sentence()) } }
        dl .facts {
            @if let Some(record) = first { (about(record, sight)) }
            @else if let Some(listed) = history.queued { dt { "From" } dd { (sight.address(&listed.from)) } dt { "Stream" } dd { (listed.row.stream) } }
            @if let Some(time) = first.and_then(LogRecord::time) {
                dt { "Accepted" } dd { (At { time, now, zone }) " (" (age(time, now)) " ago)" }
            }
            @for notice in &history.notices {
                dt { "Failure notice" } dd { a href=(format!("/messages/{notice}")) { code { (notice) } } }
            }
        }
        form .inline method="get" action=(format!("/messages/{id}/why")) { button { "Why?" } small .quiet { "Where it goes, which limits apply, and what it waits for." } }
        p .asof { a href=(format!("/messages/{id}?as=json")) { "JSON" } " · " a href=(format!("/messages/{id}/lines")) { "Lines of the log" } }
    }
}

/// What its first line says of it.
fn about(record: &LogRecord<'_>, sight: Sight) -> Markup {
    let link = |name: &str, value: &str| {
        let asked: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        html! { a href=(format!("/messages?{name}={asked}")) { (sight.line(value)) } }
    };
    html! {
        @if let Some(from) = &record.from { dt { "From" } dd { (sight.address(from)) @if let Some(domain) = &record.from_domain { " (From field: " (sight.line(domain)) ")" } } }
        @if let Some(id) = &record.message_id { dt { "Message-ID" } dd { (crate::words::foreign(id)) } }
        @if let Some(stream) = &record.stream { dt { "Stream" } dd { (link("stream", stream)) } }
        @if let Some(user) = &record.user { dt { "User" } dd { @if user.contains('@') { (sight.line(user)) } @else { (link("user", user)) } } }
        @if let Some(size) = record.size { dt { "Size" } dd { (bytes(size)) } }
        @if !record.tags.is_empty() { dt { "Tags" } dd { @for tag in &record.tags { @if tag.contains('@') { (sight.line(tag)) } @else { (link("tag", tag)) } " " } } }
        @if !record.meta.is_empty() { dt { "Metadata" } dd { @for fact in &record.meta { code { (sight.line(fact)) } " " } } }
        dt { "DKIM" } dd { @match record.dkim.as_deref() {
            Some("aligned") => { "signed for the domain of the From field" }
            Some(how) => { "signed, " (sight.line(how)) }
            None => { "not signed" }
        } }
        @if record.one_click { dt { "Unsubscribing" } dd { "by one click (RFC 8058)" } }
        @if let Some(of) = &record.notice_of { dt { "It is" } dd { "a failure notice about " a href=(format!("/messages/{}", crate::words::foreign(of))) { (sight.line(of)) } } }
    }
}

fn recipients(id: MessageId, history: &History<'_>, showing: Showing<'_>, from: usize) -> Markup {
    let shown = history.recipients.iter().skip(from).take(SHOWN_MAX);
    let left = history.recipients.len().saturating_sub(from.saturating_add(SHOWN_MAX));
    html! {
        h2 { "Recipients" }
        @if from > 0 { p { a href=(format!("/messages/{id}?from={}", from.saturating_sub(SHOWN_MAX))) { "The recipients before" } } }
        @for recipient in shown { (one(recipient, showing)) }
        @if left > 0 { p { a href=(format!("/messages/{id}?from={}", from + SHOWN_MAX)) { (counted(left as u64, "more recipient", "more recipients")) } } }
    }
}

fn one(recipient: &Recipient<'_>, showing: Showing<'_>) -> Markup {
    let state = recipient.state();
    let (lines, begin) = (&recipient.lines, LINES_MAX / 2);
    let left_out = lines.len().saturating_sub(LINES_MAX);
    html! {
        article .recipient {
            h3 { (showing.sight.address(&recipient.address)) " "
                @match (recipient.ending(), recipient.waits) {
                    (None, Some(waits)) => { (standing::sign(waits)) }
                    _ => { span .state .(state) { (state) } }
                }
            }
            @if let (None, Some(waits)) = (recipient.ending(), recipient.waits) {
                p { strong { "Now: " } (standing::until(waits, showing.now, showing.zone, showing.sight)) }
            }
            ol .timeline {
                @for (place, (record, _)) in lines.iter().enumerate() {
                    @if place == begin && left_out > 0 { li .quiet { "… " (counted(left_out as u64, "line", "lines")) " between" } }
                    @if place < begin || place >= begin + left_out { (attempt::draw(record, showing)) }
                }
            }
        }
    }
}
