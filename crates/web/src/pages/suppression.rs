//! The suppression list: who gets no mail, why and until when; search, add, remove.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use jiff::Timestamp;
use maud::{Markup, html};
use posthaste_host::clock;
use posthaste_mail::Address;
use posthaste_suppression::{Breadth, EntryFilter, EntrySource, ListAnswer, ListRequest, Over, Reason, SuppressionEntry};
use serde_json::json;

use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, form_token, part},
    site::Site,
    snapshot::zone,
    trouble::Trouble,
    viewer::{Fields, Query, Sent, Steering, Viewer, go_on},
    words::{At, counted, foreign, masked},
};

/// Entries of a page.
const SHOWN_MAX: usize = 50;
/// How long an entry may last.
const LASTS: [(&str, &str, Option<u64>); 4] =
    [("", "for ever", None), ("7d", "7 days", Some(7)), ("30d", "30 days", Some(30)), ("365d", "a year", Some(365))];
/// The longest note, in bytes.
const NOTE_MAX: usize = 512;

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/suppression", get(list))
        .route("/suppression/find", post(find))
        .route("/suppression/add", post(add))
        .route("/suppression/remove", post(remove))
}

/// The list by domain, reason and scope, which name nobody.
async fn list(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    show(&site, &viewer, form, &query).await
}

/// The same with an address, or from a place in the list, which no address of a page may hold.
async fn find(State(site): Shared, Sent { by, form: fields }: Sent) -> Answered {
    show(&site, &by, As::Whole, &fields).await
}

async fn show(site: &Site, viewer: &Viewer, form: As, asked: &Fields) -> Answered {
    let filter = filter(asked)?;
    let opened = |sealed: &str| {
        site.seal.open(sealed).ok_or_else(|| {
            Trouble::Bad("Where this page ended is not known any more, because the relay was started since: search again.".into())
        })
    };
    let request = ListRequest::List { filter, after: asked.get("after").map(opened).transpose()?, limit: SHOWN_MAX };
    let ListAnswer::Entries { entries, next } = site.desk.suppression(request).await? else {
        return Err(Trouble::Unavailable("The suppression list gave an unexpected answer.".into()));
    };
    let masks = viewer.sight.masks;
    let (now, zone) = (clock::now(), zone(&site.desk));
    let at = |time| At { time, now, zone: &zone };
    let main = html! {
        (part("suppression", &html! {
            h1 { "Suppression" }
            p .quiet { "Addresses that get no mail. What is sent to them ends as " code { "suppressed" } " in the log." }
            @if let Some(done) = asked.get("done").and_then(said) { p .good role="status" { (done) } }
            (search(asked, viewer))
            @if entries.is_empty() { p .quiet { "No entry fits." } }
            @else { (table(&entries, viewer, masks, &at)) }
            @if let Some(next) = &next { form .inline method="post" action="/suppression/find" {
                (form_token(&viewer.form_token))
                @for name in ["address", "domain", "reason", "scope"] { @if let Some(value) = asked.get(name) { input type="hidden" name=(name) value=(value); } }
                input type="hidden" name="after" value=(site.seal.close(next));
                button { "More" }
            } }
            p { a href="/suppression?as=json" { "JSON" } " · all of it: " code { "posthaste suppress export" } }
        }))
        @if viewer.steers() { (part("add", &add_form(viewer))) }
    };
    let shown = |entry: &SuppressionEntry| {
        let mut json = json!(entry);
        if masks {
            json["address"] = masked(&entry.address.to_string()).into();
            json["text"] = serde_json::Value::Null;
        }
        json
    };
    // A place in the list names an address.
    let data = json!({ "entries": entries.iter().map(shown).collect::<Vec<_>>(), "more": next.is_some() });
    Ok(form.answer(Page { title: "Suppression".into(), here: Here::Suppression, live: false, main, data }, viewer))
}

fn filter(asked: &Fields) -> Result<EntryFilter, Trouble> {
    let bad = |error: &dyn std::fmt::Display| Trouble::Bad(error.to_string());
    Ok(EntryFilter {
        address: asked.get("address").map(address).transpose()?,
        domain: asked.get("domain").map(str::to_lowercase),
        scope: asked.get("scope").map(|scope| scope.parse::<Breadth>()).transpose().map_err(|error| bad(&error))?,
        reason: asked.get("reason").map(|reason| reason.parse::<Reason>()).transpose().map_err(|error| bad(&error))?,
        within: None,
    })
}

fn address(text: &str) -> Result<Address, Trouble> {
    Address::international(text).map_err(|error| Trouble::Bad(format!("This is no address: {error}")))
}

/// What was done, for people.
fn said(done: &str) -> Option<String> {
    let (what, n) = done.split_once('-')?;
    let n: u64 = n.parse().ok()?;
    match what {
        "added" => Some(if n == 0 {
            "Nothing was added: an entry that lasts longer is there already.".into()
        } else {
            format!("{} added.", counted(n, "entry was", "entries were"))
        }),
        "removed" => Some(if n == 0 {
            "Nothing was removed: there was no such entry.".into()
        } else {
            format!("{} removed.", counted(n, "entry was", "entries were"))
        }),
        _ => None,
    }
}

fn search(asked: &Fields, viewer: &Viewer) -> Markup {
    html! {
        form .fields method="post" action="/suppression/find" {
            (form_token(&viewer.form_token))
            div { label for="address" { "Address" } input #address name="address" type="text" autocapitalize="none" spellcheck="false" value=(asked.get("address").unwrap_or_default()); }
            div { label for="domain" { "Domain" } input #domain name="domain" value=(asked.get("domain").unwrap_or_default()); }
            div { label for="reason" { "Reason" } select #reason name="reason" {
                option value="" { "any" }
                @for reason in Reason::ALL { option value=(reason.as_str()) selected[asked.get("reason") == Some(reason.as_str())] { (words(reason)) } }
            } }
            div { label for="scope" { "Scope" } input #scope name="scope" placeholder="global, stream:NAME, user:NAME" value=(asked.get("scope").unwrap_or_default()); }
            div { button { "Search" } }
        }
    }
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::HardBounce => "bounced",
        Reason::Complaint => "complained",
        Reason::Unsubscribe => "unsubscribed",
        Reason::Manual => "by hand",
    }
}

fn table<'z>(entries: &[SuppressionEntry], viewer: &Viewer, masks: bool, at: &impl Fn(Timestamp) -> At<'z>) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Entries" { table {
            thead { tr { th scope="col" { "Address" } th scope="col" { "Scope" } th scope="col" { "Reason" } th scope="col" { "Since" } th scope="col" { "Until" }
                th scope="col" { "Because of" } @if viewer.steers() && !masks { th scope="col" { span .hidden { "Change" } } } } }
            tbody { @for entry in entries { tr {
                th scope="row" { @if masks { (masked(&entry.address.to_string())) } @else { (foreign(&entry.address.to_string())) } }
                td { (foreign(&entry.scope.to_string())) }
                td { (words(entry.reason)) }
                td { (at(entry.since)) }
                td { @match entry.until { Some(until) => (at(until)), None => { "for ever" } } }
                td { (because(&entry.source, masks)) }
                @if viewer.steers() && !masks { td { form method="post" action="/suppression/remove" {
                    (form_token(&viewer.form_token))
                    input type="hidden" name="address" value=(entry.address.to_string());
                    input type="hidden" name="scope" value=(entry.scope.to_string());
                    button { "Remove" span .hidden { " " (foreign(&entry.address.to_string())) } }
                } } }
            } } }
        } }
    }
}

fn because(source: &EntrySource, masks: bool) -> Markup {
    html! {
        @if let Some(class) = source.class { (class) " " }
        @if let Some(rule) = &source.rule { code { (foreign(rule)) } " " }
        @if let Some(message) = source.message { a href=(format!("/messages/{message}")) { "the message" } " " }
        @if let Some(by) = &source.by { "by " (foreign(by)) " " }
        @if let Some(text) = source.text.as_ref().filter(|_| !masks) { br; small { (foreign(text)) } }
    }
}

fn add_form(viewer: &Viewer) -> Markup {
    html! {
        h2 { "Add" }
        form .fields method="post" action="/suppression/add" {
            (form_token(&viewer.form_token))
            div { label for="new-address" { "Address" } input #new-address name="address" required autocapitalize="none" spellcheck="false"; }
            div { label for="new-scope" { "Scope" } input #new-scope name="scope" value="global"; }
            div { label for="new-lasts" { "Lasts" } select #new-lasts name="lasts" { @for (word, name, _) in LASTS { option value=(word) { (name) } } } }
            div { label for="new-note" { "Note" } input #new-note name="note" maxlength=(NOTE_MAX); }
            div { button { "Add" } }
        }
    }
}

async fn add(State(site): Shared, Steering { by, form }: Steering) -> Answered {
    let address = address(form.need("address")?)?;
    let scope = form.get("scope").unwrap_or("global").parse::<Breadth>().map_err(|error| Trouble::Bad(error.to_string()))?;
    let lasts = LASTS.iter().find(|(word, ..)| *word == form.get("lasts").unwrap_or_default());
    let (.., days) = lasts.ok_or_else(|| Trouble::Bad("The time is none of those that can be chosen.".into()))?;
    let note = form.get("note").map(str::to_owned);
    if note.as_ref().is_some_and(|note| note.len() > NOTE_MAX) {
        return Err(Trouble::Bad(format!("A note has at most {NOTE_MAX} bytes.")));
    }
    let source = EntrySource { text: note, by: Some(by.name.to_string()), ..EntrySource::default() };
    let entry =
        SuppressionEntry::new(address, scope, Reason::Manual, clock::now(), days.map(|days| Duration::from_hours(24 * days)), source);
    let changed = changed(&site, ListRequest::Add { entries: vec![entry], over: Over::Stronger }).await?;
    Ok(go_on(&format!("/suppression?done=added-{changed}")))
}

async fn remove(State(site): Shared, Steering { by, form }: Steering) -> Answered {
    let address = address(form.need("address")?)?;
    let scope = form.get("scope").map(|scope| scope.parse::<Breadth>()).transpose().map_err(|error| Trouble::Bad(error.to_string()))?;
    if form.get("confirm").is_none() {
        return Ok(As::Whole.answer(confirm(&address, scope.as_ref(), &by), &by));
    }
    let changed = changed(&site, ListRequest::Remove { addresses: vec![address], scope }).await?;
    Ok(go_on(&format!("/suppression?done=removed-{changed}")))
}

fn confirm(address: &Address, scope: Option<&Breadth>, by: &Viewer) -> Page {
    let main = html! { (part("confirm", &html! {
        h1 { "Remove from the list?" }
        p { strong { (foreign(&address.to_string())) } @if let Some(scope) = scope { " (" (foreign(&scope.to_string())) ")" }
            " gets mail again, and the bounces counted against it are forgotten. If it complained or unsubscribed, that may be against the law." }
        form .inline method="post" action="/suppression/remove" {
            (form_token(&by.form_token))
            input type="hidden" name="address" value=(address.to_string());
            @if let Some(scope) = scope { input type="hidden" name="scope" value=(scope.to_string()); }
            input type="hidden" name="confirm" value="yes";
            button .grave { "Remove" }
            a href="/suppression" { "Leave it" }
        }
    })) };
    Page { title: "Remove from the list?".into(), here: Here::Suppression, live: false, main, data: serde_json::Value::Null }
}

async fn changed(site: &Site, request: ListRequest) -> Result<usize, Trouble> {
    match site.desk.suppression(request).await? {
        ListAnswer::Changed { changed, .. } => Ok(changed),
        ListAnswer::Entries { .. } => Err(Trouble::Unavailable("The suppression list gave an unexpected answer.".into())),
    }
}
