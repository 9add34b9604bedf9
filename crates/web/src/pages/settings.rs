//! The configuration in force, with the line that each value comes from.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use maud::{Markup, html};
use posthaste_config::{KeyInForce, Origin};
use posthaste_host::clock;
use serde_json::json;

use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, form_token, part},
    site::Site,
    snapshot::zone,
    viewer::{Query, Steering, Viewer, go_on},
    words::{At, counted, foreign},
};

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/settings", get(page)).route("/settings/reload", post(reload))
}

async fn page(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let (keys, last) = (site.desk.keys_in_force(), site.desk.reloads.last());
    let own_only = query.get("show") != Some("all");
    let is_own = |key: &&KeyInForce| matches!(key.origin, Origin::File { .. });
    let own = keys.iter().filter(is_own).count();
    let mut tables: BTreeMap<&str, Vec<&KeyInForce>> = BTreeMap::new();
    for key in keys.iter().filter(|key| !own_only || is_own(key)) {
        tables.entry(key.key.split_once('.').map_or("", |(table, _)| table)).or_default().push(key);
    }
    let (now, zone) = (clock::now(), zone(&site.desk));
    let main = html! {
        (part("settings", &html! {
            h1 { "Settings" }
            p { "In force since " (At { time: last.in_force_since, now, zone: &zone }) "."
                @if !last.succeeded { " " span .wrong { "The last reload was refused; these stayed in force." } } }
            @if query.get("done") == Some("reload") { p .good role="status" { "The configuration was read again and is in force." } }
            p .quiet { "To change them, change the files and reload: " code { "posthaste reload" } ". Secrets are not shown." }
            @if viewer.steers() { form .inline method="post" action="/settings/reload" { (form_token(&viewer.form_token)) button { "Reload" } } }
            nav .tabs aria-label="Which" {
                a href="/settings" aria-current=[own_only.then_some("page")] { "Your own " (own) }
                a href="/settings?show=all" aria-current=[(!own_only).then_some("page")] { "All " (keys.len()) }
            }
            @for (name, keys) in &tables { (table(name, keys)) }
            p { a href="/settings?as=json" { "JSON" } }
        }))
    };
    let of = |key: &KeyInForce| json!({ "key": key.key, "value": key.value, "from": key.origin.to_string() });
    let data = json!({ "in_force_since": last.in_force_since, "last_reload_succeeded": last.succeeded, "keys": keys.iter().map(of).collect::<Vec<_>>() });
    Ok(form.answer(Page { title: "Settings".into(), here: Here::Settings, live: false, main, data }, &viewer))
}

fn table(name: &str, keys: &[&KeyInForce]) -> Markup {
    let title = if name.is_empty() { "General".to_owned() } else { format!("[{}]", foreign(name)) };
    html! {
        h2 { (title) small { " " (counted(keys.len() as u64, "key", "keys")) } }
        div .scroll tabindex="0" role="region" aria-label=(title) { table .settings {
            thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } th scope="col" { "From" } } }
            tbody { @for key in keys { tr {
                th scope="row" { code { (foreign(&key.key)) } }
                td { @match &key.value { Some(value) => { code { (foreign(value)) } } None => { em { "its file has changed since; a reload is due" } } } }
                td { (foreign(&key.origin.to_string())) }
            } } }
        } }
    }
}

async fn reload(State(site): Shared, Steering { .. }: Steering) -> Answered {
    site.desk.reload().await?;
    Ok(go_on("/settings?done=reload"))
}
