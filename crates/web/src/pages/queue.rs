//! Queue: what waits for whom, why and until when; and what operators do with it.

mod change;
mod lanes;
mod list;
mod which;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use maud::{Markup, html};
use posthaste_queue::MessageSelection;
use posthaste_relay::desk::List;
use serde_json::json;

use self::which::Which;
pub(super) use self::{change::done, which::buttons};
use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, part},
    site::Site,
    snapshot::Snapshot,
    trouble::Trouble,
    viewer::{Query, Viewer},
    words::{At, foreign, number},
};

/// Up to so many waiting messages the page is kept fresh while it lists some: each list goes through all of them.
const LIVE_MAX: usize = 20_000;

/// The pages about the queue.
pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/queue", get(page)).route("/queue/ask", post(change::ask)).route("/queue/change", post(change::change))
}

async fn page(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let (snapshot, which) = (site.snapshots.of(&site.desk).await?, Which::read(&query)?);
    let from: usize = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let list = match &which {
        Some(which) => Some(site.desk.list_from(which.selection.clone(), from, list::SHOWN_MAX).await?),
        None => None,
    };
    let (sight, streams) = (viewer.sight, streams(&site));
    let main = html! {
        (part("now", &now(&snapshot, which.as_ref(), &query)))
        (part("which", &filter(&snapshot, which.as_ref(), &streams)))
        @if let (Some(which), Some(list)) = (&which, &list) {
            (part("steer", &steer(which, list, &viewer)))
            (part("messages", &list::draw(list, which, from, &snapshot, sight)))
        }
        (part("lanes", &lanes::draw(&snapshot, which.as_ref(), sight)))
    };
    let live = list.is_none() || snapshot.queue.counts.messages <= LIVE_MAX;
    let data = json!({ "now": snapshot.now, "queue": snapshot.queue, "list": list });
    Ok(form.answer(Page { title: "Queue".into(), here: Here::Queue, live, main, data }, &viewer))
}

/// The streams of the configuration.
fn streams(site: &Site) -> Vec<String> {
    site.desk.settings.load().config.streams.keys().map(ToString::to_string).collect()
}

fn now(snapshot: &Snapshot, which: Option<&Which>, query: &crate::viewer::Fields) -> Markup {
    let (queue, counts) = (&snapshot.queue, snapshot.queue.counts);
    let n = |n: usize| number(n as u64);
    let json = which.map_or_else(|| "/queue?as=json".into(), |which| format!("/queue?{}&as=json", which.query()));
    html! {
        h1 { "Queue" }
        (change::done(query))
        p { strong { (n(counts.messages)) @if counts.messages == 1 { " message waits" } @else { " messages wait" } } ", " (n(counts.recipients))
            @if counts.recipients == 1 { " recipient: " } @else { " recipients: " }
            (n(counts.due)) " due, " (n(counts.later)) " later, " (n(counts.in_flight)) " under way, " (n(counts.held)) " held. "
            (n(counts.connections)) @if counts.connections == 1 { " connection." } @else { " connections." } }
        @if let Some(why) = &queue.closed { p .wrong { "No mail is accepted: " (foreign(why)) } }
        @if let Some(why) = &queue.halted { p .wrong { "Deliveries are halted: " (foreign(why)) } }
        @if let Some(why) = &queue.blocked { p .wrong { (foreign(why)) } }
        @for held in &queue.guarded { p { a .state .stopped href="/senders" { "guard" } " The guard holds " (number(held.messages)) " of " (foreign(&held.key)) "." } }
        p .asof { "As of " (At { time: snapshot.now, now: snapshot.now, zone: &snapshot.zone }) " · " a href=(json) { "JSON" } }
    }
}

fn filter(snapshot: &Snapshot, which: Option<&Which>, streams: &[String]) -> Markup {
    let empty = MessageSelection::default();
    let given = which.map_or(&empty, |which| &which.selection);
    let provider = given.provider.as_deref().unwrap_or_default();
    let mut providers: Vec<&str> = snapshot.queue.lanes.iter().map(|row| &*row.provider).collect();
    if !provider.is_empty() && !providers.contains(&provider) {
        providers.push(provider);
    }
    providers.sort_unstable();
    html! {
        h2 { "Look at messages that wait" }
        form .fields method="get" action="/queue" {
            div { label for="provider" { "Provider" } select #provider name="provider" {
                option value="" { "any" }
                @for name in providers { option value=(name) selected[name == provider] { (foreign(name)) } }
            } }
            div { label for="stream" { "Stream" } select #stream name="stream" {
                option value="" { "any" }
                @for name in streams { option value=(name) selected[given.stream.as_ref() == Some(name)] { (foreign(name)) } }
            } }
            div { label for="domain" { "Recipients at domain" } input #domain name="domain" pattern="[^@]*" title="a domain, without @" value=(given.domain.as_deref().unwrap_or_default()) spellcheck="false" autocapitalize="none"; }
            div { label for="user" { "Sent by user" } input #user name="user" value=(given.user.as_deref().unwrap_or_default()) spellcheck="false" autocapitalize="none"; }
            input type="hidden" name="all" value="yes";
            div { button .main { "Show" } @if which.is_some() { " " a href="/queue" { "Lanes only" } } }
        }
    }
}

fn steer(which: &Which, list: &List, viewer: &Viewer) -> Markup {
    html! {
        @if viewer.steers() && list.total > 0 {
            h2 { "Steer " @if list.total == 1 { "this message" } @else { "these " (number(list.total as u64)) " messages" } small { " " (which.words()) } }
            (buttons(&which.selection, viewer))
        }
    }
}

impl Trouble {
    fn no_selection() -> Self {
        Self::Bad("It is not said which messages are meant.".into())
    }
}
