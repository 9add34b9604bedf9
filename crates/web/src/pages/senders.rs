//! Senders: users and domains of the From field, how they authenticate and fare, and whose mail the guard holds.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use jiff::Timestamp;
use maud::{Markup, html};
use posthaste_guard::{EndRequest, How, Shown as Held};
use posthaste_host::clock;
use posthaste_mail::Class;
use posthaste_queue::MailOf;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension};
use serde_json::json;

use crate::{
    answer::{Answered, As, Shared},
    events::sender,
    layout::{Here, Page, form_token, part},
    overview::marks,
    sight::Sight,
    site::Site,
    snapshot::Snapshot,
    spans::{Back, figures, tabs},
    trouble::Trouble,
    viewer::{Query, Steering, Viewer, go_on},
    words::{At, bytes, counted, foreign, rate, short},
};

/// Rows of a table.
const SHOWN_MAX: usize = 50;
/// The longest reason, in bytes.
const REASON_MAX: usize = 512;
/// Addresses that do not exist.
const UNKNOWN: [Class; 2] = [Class::InvalidRecipient, Class::BadDomain];

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/senders", get(page)).route("/senders/guard", post(end))
}

async fn page(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let (snapshot, back, now) = (site.snapshots.of(&site.desk).await?, Back::of(query.get("since")), clock::now());
    let read = figures(&site.desk, move |tallies| {
        Ok((tallies.sum(Dimension::User, back.span(now))?, tallies.sum(Dimension::FromDomain, back.span(now))?))
    });
    let (users, domains) = read.await?;
    let held = site.desk.guarded().await?;
    let main = html! {
        (part("guard", &html! {
            h1 { "Senders" }
            @if let Some(done) = query.get("done").and_then(said) { p .good role="status" { (done) } }
            h2 { "Guard" }
            @if held.is_empty() { p .quiet { "It holds nobody's mail." } }
            @for one in &held { (card(one, &viewer, &snapshot)) }
        }))
        (part("users", &html! { h2 { "Users" } (tabs("/senders?", back)) (table(&snapshot, "User", "user", &users, viewer.sight)) }))
        (part("domains", &html! { h2 { "Domains of the From field" } (domain_table(&snapshot, &domains, viewer.sight)) p { a href=(format!("/senders?since={}&as=json", back.word)) { "JSON" } } }))
    };
    let data = json!({ "since": back.word, "guard": held, "users": rows(&users), "from_domains": rows(&domains) });
    Ok(form.answer(Page { title: "Senders".into(), here: Here::Senders, live: true, main, data }, &viewer))
}

fn rows(block: &Block) -> Vec<serde_json::Value> {
    let of = |(key, cell): (&str, &Cell)| {
        json!({ "key": key, "accepted": cell.get(Counter::Accepted), "delivered": cell.get(Counter::Delivered), "finished": cell.finished(),
        "unknown_users": unknown(cell).0, "complained": cell.get(Counter::Complained), "dkim_aligned": cell.get(Counter::DkimAligned) })
    };
    block.iter().map(of).collect()
}

/// Unknown users among finished recipients, late bounces in the place of their deliveries.
fn unknown(cell: &Cell) -> (u64, u64) {
    let settled = cell.settled();
    (settled.of(ByClass::Bounced, &UNKNOWN), settled.finished())
}

fn sorted(block: &Block) -> Vec<(&str, &Cell)> {
    let mut rows: Vec<(&str, &Cell)> = block.iter().collect();
    rows.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.get(Counter::Accepted).max(cell.get(Counter::Attempts))));
    rows.truncate(SHOWN_MAX);
    rows
}

fn table(snapshot: &Snapshot, name: &str, about: &str, block: &Block, sight: Sight) -> Markup {
    let rows = sorted(block);
    html! {
        @if rows.is_empty() { p .quiet { "Nobody sent in this time." } }
        @else { div .scroll tabindex="0" role="region" aria-label=(name) { table {
            thead { tr { th scope="col" { (name) } th .n scope="col" { "Accepted" } th .n scope="col" { "Refused at the door" } th .n scope="col" { "Delivered of finished" }
                th .n scope="col" { "Unknown addresses of finished" } th .n scope="col" { "Complaints of delivered" } th scope="col" { "" } } }
            tbody { @for (key, cell) in rows { tr {
                th scope="row" { (sender(about, key, sight)) }
                td .n { (short(cell.get(Counter::Accepted))) }
                td .n { (short(cell.get(Counter::Rejected))) }
                td .n { (rate(cell.get(Counter::Delivered), cell.finished())) }
                @let (nobody, of) = unknown(cell);
                td .n { (rate(nobody, of)) }
                td .n { (rate(cell.get(Counter::Complained), cell.get(Counter::Delivered))) }
                td { (marks(snapshot, about, key)) }
            } } }
        } } }
    }
}

fn domain_table(snapshot: &Snapshot, block: &Block, sight: Sight) -> Markup {
    let rows = sorted(block);
    let score = |domain: &str| snapshot.scores.as_ref().and_then(|scores| scores.domains.get(domain)).and_then(|score| score.value);
    html! {
        @if rows.is_empty() { p .quiet { "Nobody sent in this time." } }
        @else { div .scroll tabindex="0" role="region" aria-label="Domains" { table {
            thead { tr { th scope="col" { "Domain" } th .n scope="col" { "Accepted" } th .n scope="col" { "Delivered of finished" } th .n scope="col" { "DKIM aligned of delivered" }
                th .n scope="col" { "SPF passes of known" } th .n scope="col" { "DMARC record of known" } th .n scope="col" { "Complaints of delivered" } th .n scope="col" { "Score" } th scope="col" { "" } } }
            tbody { @for (key, cell) in rows { tr {
                th scope="row" { (sender("from_domain", key, sight)) }
                td .n { (short(cell.get(Counter::Accepted))) }
                td .n { (rate(cell.get(Counter::Delivered), cell.finished())) }
                td .n { (rate(cell.get(Counter::DkimAligned), cell.get(Counter::Delivered))) }
                td .n { (rate(cell.get(Counter::SpfPassed), cell.get(Counter::SpfKnown))) }
                td .n { (rate(cell.get(Counter::DmarcPublished), cell.get(Counter::DmarcKnown))) }
                td .n { (rate(cell.get(Counter::Complained), cell.get(Counter::Delivered))) }
                td .n { (score(key).map_or_else(|| "–".to_owned(), |value| value.to_string())) }
                td { (marks(snapshot, "from_domain", key)) }
            } } }
        } } }
    }
}

fn card(held: &Held, viewer: &Viewer, snapshot: &Snapshot) -> Markup {
    let at = |time: Timestamp| At { time, now: snapshot.now, zone: &snapshot.zone };
    html! {
        article .incident .(if held.state == "holding" { "bad" } else { "closed" }) {
            h3 { (foreign(&held.key)) @if held.state == "holding" { ": new mail is held" } @else { ": left alone" } }
            p .meta { "since " (at(held.since)) @if let Some(until) = held.until { " until " (at(until)) " at most" } }
            p { (foreign(&held.why)) }
            @if held.messages > 0 {
                p { (counted(held.messages, "message", "messages")) " (" (counted(held.recipients, "recipient", "recipients")) ", " (bytes(held.bytes)) ") of " (held.max_messages) " at most"
                    @if held.full { "; there is no room for more: the rest is put off at the door" }
                    @if let Some(expires) = held.expires { "; the oldest expires at " (at(expires)) } "." }
            }
            @if viewer.steers() && held.state == "holding" {
                form .inline method="post" action="/senders/guard" {
                    (form_token(&viewer.form_token))
                    input type="hidden" name="of" value=(held.key);
                    button name="how" value="release" { "Release" }
                    button .grave name="how" value="drop" { "Drop" }
                }
            }
        }
    }
}

/// What was done, for people.
fn said(done: &str) -> Option<String> {
    let (what, n) = done.split_once('-')?;
    let n = counted(n.parse().ok()?, "message was", "messages were");
    match what {
        "release" => Some(format!("{n} released.")),
        "drop" => Some(format!("{n} dropped.")),
        _ => None,
    }
}

async fn end(State(site): Shared, Steering { by, form }: Steering) -> Answered {
    let of: MailOf = form.need("of")?.to_owned().try_into().map_err(|error: posthaste_queue::NoMailOf| Trouble::Bad(error.to_string()))?;
    let how = match form.need("how")? {
        how @ ("release" | "drop") => how,
        _ => return Err(Trouble::Bad("What is to become of the mail is neither release nor drop.".into())),
    };
    if form.get("confirm").is_none() {
        let held = site.desk.guarded().await?.into_iter().find(|held| held.key == of.to_string());
        let held = held.ok_or_else(|| Trouble::NotFound("The guard holds nothing of this sender any more.".into()))?;
        return Ok(As::Whole.answer(confirm(&held, how, &by), &by));
    }
    let wanted = match how {
        "release" => How::Release { lasts: None },
        _ => {
            let reason = form.need("reason")?;
            if reason.len() > REASON_MAX {
                return Err(Trouble::Bad(format!("A reason has at most {REASON_MAX} bytes.")));
            }
            How::Drop { reason: reason.to_owned() }
        }
    };
    let keep_holding = form.get("keep").is_some();
    let done = site.desk.end_guard(EndRequest { of, how: wanted, keep_holding, by: by.name.to_string() }).await?;
    Ok(go_on(&format!("/senders?done={how}-{}", done.messages)))
}

fn confirm(held: &Held, how: &str, by: &Viewer) -> Page {
    let title = if how == "release" { "Release held mail?" } else { "Drop held mail?" };
    let main = html! { (part("confirm", &html! {
        h1 { (title) }
        p { (counted(held.messages, "message", "messages")) " to " (counted(held.recipients, "recipient", "recipients")) " of " strong { (foreign(&held.key)) }
            @if how == "release" { " will be sent." } @else { " will be removed for ever; nobody gets them." } }
        p { "Held because: " (foreign(&held.why)) }
        form .inline method="post" action="/senders/guard" {
            (form_token(&by.form_token))
            input type="hidden" name="of" value=(held.key);
            input type="hidden" name="how" value=(how);
            input type="hidden" name="confirm" value="yes";
            @if how == "drop" { label for="reason" { "because" } input #reason name="reason" required maxlength=(REASON_MAX) placeholder="Reason, for the log"; }
            label { input type="checkbox" name="keep" value="yes"; " go on holding new mail" }
            button .grave[how == "drop"] .main[how == "release"] { @if how == "release" { "Release" } @else { "Drop" } }
            a href="/senders" { "Leave it held" }
        }
    })) };
    Page { title: title.into(), here: Here::Senders, live: false, main, data: serde_json::Value::Null }
}
