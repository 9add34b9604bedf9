//! The search for messages in the delivery log: rows are sent as they are found, the newest first.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use maud::{Markup, PreEscaped, html};
use posthaste_host::clock;
use posthaste_http::UnderWay;
use posthaste_monitor::{AddressText, Criteria, Cursor, Step};
use posthaste_relay::desk::Searching;
use serde_json::{Value, json};

use super::{asked::Asked, form::draw, found::Table};
use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, form_token, whole},
    sight::Sight,
    site::Site,
    snapshot::zone,
    trouble::{Trouble, html as answer},
    viewer::{Fields, Query, Sent, Viewer, go_on},
};

/// Rows of one answer.
const ROWS_MAX: usize = 50;
/// For so long one answer searches; then it goes on by a button.
const LOOK_MAX: Duration = Duration::from_secs(15);
/// How often it is said how far the search has come.
const SAY_EVERY: Duration = Duration::from_millis(500);
/// Where the rows stand in the page.
const ROWS_HERE: &str = "<!--rows-->";

/// A search that names nobody.
pub(super) async fn get(State(site): Shared, viewer: Viewer, form: As, under_way: UnderWay, Query(query): Query) -> Answered {
    let asked = Asked::read(&query);
    if asked.names_somebody() {
        return Err(Trouble::Bad(
            "An address has no place in a link: logs and histories keep links. Fill in the form on the page Messages instead.".into(),
        ));
    }
    look(&site, &viewer, form, under_way, asked, &query).await
}

/// A search that stays out of URLs, because it may name somebody; others go on to where they can be linked.
pub(super) async fn post(State(site): Shared, form: As, under_way: UnderWay, Sent { by, form: fields }: Sent) -> Answered {
    let asked = match fields.get("find") {
        Some(text) => Asked::guess(text),
        None => Asked::read(&fields),
    };
    if let Some(id) = asked.one_message() {
        return Ok(go_on(&format!("/messages/{id}")));
    }
    if asked.can_be_linked() {
        return Ok(go_on(&format!("/messages?{}", asked.query())));
    }
    look(&site, &by, form, under_way, asked, &fields).await
}

async fn look(site: &Arc<Site>, viewer: &Viewer, form: As, under_way: UnderWay, asked: Asked, fields: &Fields) -> Answered {
    let now = clock::now();
    let criteria = Criteria::read(asked.iter(), now).map_err(|error| error.to_string());
    let after = fields.get("cursor").map(str::parse::<Cursor>).transpose().map_err(|error| error.to_string());
    let (criteria, after) = match (criteria, after) {
        (Ok(criteria), Ok(after)) => (criteria, after),
        (Err(wrong), _) | (_, Err(wrong)) => return Ok(refused(site, viewer, form, &asked, &wrong)),
    };
    if viewer.sight.masks && [&criteria.rcpt, &criteria.sender].into_iter().flatten().any(|text| matches!(text, AddressText::Part(_))) {
        // What is found would tell one letter after the other.
        let wrong = "People's addresses are hidden from you, so that a part of one finds nothing: give a whole address, or @ and a domain.";
        return Ok(refused(site, viewer, form, &asked, wrong));
    }
    let table = Table { now, zone: zone(&site.desk), sight: viewer.sight, mail_only: criteria.event.is_none() };
    let searching = site.desk.search(criteria, after).await?;
    if form == As::Json {
        return Ok(axum::Json(all(searching, &table).await?).into_response());
    }
    let page = Page {
        title: "Messages".into(),
        here: Here::Messages,
        live: false,
        main: html! { (draw(site, &asked, viewer, None)) section { (title(&asked, after.is_some(), viewer, table.sight)) (PreEscaped(ROWS_HERE)) } },
        data: Value::Null,
    };
    let text = whole(&page, viewer.whom()).0;
    let (head, tail) = text.split_once(ROWS_HERE).unwrap_or((&text, ""));
    let (events, body) = Channel::<Bytes, std::convert::Infallible>::new(2);
    let answer = Answering { events, under_way, table, form_token: viewer.form_token.clone(), asked };
    tokio::spawn(answer.send(searching, head.to_owned() + Table::BEGIN, tail.to_owned()));
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], Body::new(body)).into_response())
}

/// The form again, with what is wrong in it.
fn refused(site: &Site, viewer: &Viewer, form: As, asked: &Asked, wrong: &str) -> Response {
    let page = Page {
        title: "Messages".into(),
        here: Here::Messages,
        live: false,
        main: draw(site, asked, viewer, Some(wrong)),
        data: json!({ "error": wrong }),
    };
    match form {
        As::Json => (StatusCode::BAD_REQUEST, axum::Json(page.data)).into_response(),
        _ => answer(StatusCode::BAD_REQUEST, &whole(&page, viewer.whom())),
    }
}

fn title(asked: &Asked, is_later: bool, viewer: &Viewer, sight: Sight) -> Markup {
    let json = if asked.is_empty() { "/messages?as=json".into() } else { format!("/messages?{}&as=json", asked.query()) };
    html! {
        h2 { @if asked.is_empty() { "Latest events of mail" } @else { "Found" } small { " " @if !asked.is_empty() { (asked.words(sight)) "; " } "the newest first" @if is_later { "; older ones" } } }
        @if asked.can_be_linked() { p .asof { a href=(json) { "JSON" } } }
        @else { form method="post" action="/messages?as=json" { (form_token(&viewer.form_token)) (asked.hidden()) button { "JSON" } } }
    }
}

/// An answer that is sent while it is searched for.
struct Answering {
    events: Sender<Bytes>,
    under_way: UnderWay,
    table: Table,
    form_token: Arc<str>,
    asked: Asked,
}

impl Answering {
    /// Searches and sends, until there are rows enough, the log is through, or nobody listens any more.
    async fn send(mut self, mut searching: Searching, head: String, tail: String) {
        let (begun, mut said, mut found, mut text) = (clock::instant(), None, 0, head);
        let end = loop {
            let step = match searching.step(ROWS_MAX - found).await {
                Ok(step) => step,
                Err(undone) => break html! { p .wrong { "The search ended here: " (crate::words::foreign(&undone.to_string())) } },
            };
            let records = self.table.records(&step.rows);
            found += records.len();
            records.iter().for_each(|(record, _)| text += &self.table.row(record).0);
            let now = clock::instant();
            if step.cursor.is_none() || found >= ROWS_MAX || now.saturating_duration_since(begun) >= LOOK_MAX {
                break self.end(&step, found);
            }
            if said.is_none_or(|then| now.saturating_duration_since(then) >= SAY_EVERY) {
                text += &self.table.progress(&step, found).0;
                said = Some(now);
            }
            if !text.is_empty() && !self.tell(&mut text).await {
                return;
            }
        };
        text += Table::END;
        text += &end.0;
        text += &tail;
        self.tell(&mut text).await;
    }

    /// Sends what there is. False: nobody listens.
    async fn tell(&mut self, text: &mut String) -> bool {
        self.under_way.goes_on();
        self.events.send_data(Bytes::from(std::mem::take(text))).await.is_ok()
    }

    /// How it ended, and the way on.
    fn end(&self, step: &Step, found: usize) -> Markup {
        html! {
            p role="status" { (self.table.end(step, found)) }
            @if step.damaged > 0 { p .wrong { (step.damaged) " lines hold it, but cannot be read." } }
            @if let Some(cursor) = step.cursor {
                @if self.asked.can_be_linked() {
                    form method="get" action="/messages" { (self.fields(cursor)) button { "Go on" } }
                } @else {
                    form method="post" action="/messages" { (form_token(&self.form_token)) (self.fields(cursor)) button { "Go on" } }
                }
            }
        }
    }

    fn fields(&self, cursor: Cursor) -> Markup {
        html! { (self.asked.hidden()) input type="hidden" name="cursor" value=(cursor); }
    }
}

/// The same for machines, whole.
async fn all(mut searching: Searching, table: &Table) -> Result<Value, Trouble> {
    let (begun, mut lines) = (clock::instant(), Vec::<Value>::new());
    loop {
        let step = searching.step(ROWS_MAX - lines.len()).await?;
        let kept = |line: &[u8]| serde_json::from_slice(line).ok().map(|value| table.sight.json(value));
        lines.extend(table.records(&step.rows).into_iter().filter_map(|(_, line)| kept(line)));
        let is_late = clock::instant().saturating_duration_since(begun) >= LOOK_MAX;
        if step.cursor.is_none() || lines.len() >= ROWS_MAX || is_late {
            return Ok(json!({ "lines": lines, "cursor": step.cursor, "passed": step.passed, "of": step.of, "reached": step.reached }));
        }
    }
}
