//! The warm-up: how far each source is at each provider, its budget of today, its days, what is to come, and how an operator steers it.

mod draw;
mod lane;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use maud::html;
use posthaste_governor::{
    LaneKey, Steer,
    warmup::{WarmupAnswer, WarmupQuestion},
};
use posthaste_host::clock;
use serde_json::json;

use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, part},
    site::Site,
    snapshot::zone,
    trouble::Trouble,
    viewer::{Query, Steering, Viewer, go_on},
};

/// Lanes of a list.
const SHOWN_MAX: usize = 200;
/// The longest reason, in bytes.
const REASON_MAX: usize = 512;
/// What an operator can do to a lane: the word in the form, the words on the button, and what it does.
const STEERS: [(&str, &str, &str, Steer); 7] = [
    ("stop", "Stop", "Send nothing over it until it is resumed.", Steer::Stop),
    ("resume", "Resume", "End its pauses and the slow climb after them now.", Steer::Resume),
    ("hold", "Keep on its stage", "It neither advances nor steps back until it is released.", Steer::Hold),
    ("release", "Release", "Its numbers decide its stage again.", Steer::Release),
    ("advance", "One stage up", "Now, whatever its numbers say.", Steer::Advance),
    ("back", "One stage down", "Now, whatever its numbers say.", Steer::Back),
    ("restart", "To the first stage", "The warm-up begins anew.", Steer::Restart),
];

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/warmup", get(list))
        .route("/warmup/{source}/{provider}", get(one))
        .route("/warmup/{source}/{provider}/steer", post(steer))
}

/// All lanes, or those of a source.
async fn list(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let WarmupAnswer::Lanes { mut lanes } = site.desk.warmup(WarmupQuestion::Status).await? else { return Err(odd()) };
    let (source, provider) = (query.get("source"), query.get("provider"));
    lanes.retain(|lane| source.is_none_or(|source| *lane.source == *source) && provider.is_none_or(|provider| *lane.provider == *provider));
    let more = lanes.len().saturating_sub(SHOWN_MAX);
    lanes.truncate(SHOWN_MAX);
    let (now, zone) = (clock::now(), zone(&site.desk));
    let main = html! {
        (part("lanes", &html! {
            h1 { "Warm-up" @if let Some(source) = source { " of " (crate::words::foreign(source)) } }
            (draw::lanes(&lanes, now, &zone))
            @if more > 0 { p .quiet { "And " (more) " more: choose a source." } }
            @if source.is_some() || provider.is_some() { p { a href="/warmup" { "All lanes" } } }
            p { a href="/warmup?as=json" { "JSON" } }
        }))
    };
    let data = json!({ "lanes": lanes });
    Ok(form.answer(Page { title: "Warm-up".into(), here: Here::Warmup, live: true, main, data }, &viewer))
}

/// One lane with its days.
async fn one(State(site): Shared, viewer: Viewer, form: As, Path((source, provider)): Path<(String, String)>) -> Answered {
    let key = LaneKey::new(source.as_str(), provider.as_str());
    let (lane, caps, days, ahead) = match site.desk.warmup(WarmupQuestion::Days { lane: key }).await? {
        WarmupAnswer::Days { lane, caps, days, ahead } => (lane, caps, days, ahead),
        WarmupAnswer::NoSuchLane { .. } => return Err(no_such()),
        _ => return Err(odd()),
    };
    let (now, zone) = (clock::now(), zone(&site.desk));
    let hours = lane::hours(&site, &source, &provider, now).await;
    let main = html! {
        (part("state", &draw::state(&lane, now, &zone)))
        @if viewer.steers() { (part("steer", &draw::steer(&lane, &viewer.form_token, &STEERS.map(|(word, name, what, _)| (word, name, what)))) ) }
        (part("today", &draw::today(&lane, &hours)))
        (part("days", &draw::days(&lane, &days, &ahead)))
    };
    let data = json!({ "lane": lane, "caps": caps, "days": days, "hours": hours, "ahead": ahead });
    let title = format!("{source}/{provider}");
    Ok(form.answer(Page { title: crate::words::foreign(&title), here: Here::Warmup, live: true, main, data }, &viewer))
}

async fn steer(State(site): Shared, Path((source, provider)): Path<(String, String)>, Steering { by, form }: Steering) -> Answered {
    let word = form.need("steer")?;
    let steer = STEERS.iter().find(|(known, ..)| *known == word).map(|(.., steer)| *steer);
    let steer = steer.ok_or_else(|| Trouble::Bad("What the lane is to do is none of those that can be chosen.".into()))?;
    let reason = form.need("reason")?;
    if reason.len() > REASON_MAX {
        return Err(Trouble::Bad(format!("A reason has at most {REASON_MAX} bytes.")));
    }
    let lane = LaneKey::new(source.as_str(), provider.as_str());
    let question = WarmupQuestion::Steer { lane, steer, reason: reason.to_owned(), by: by.name.to_string() };
    match site.desk.warmup(question).await? {
        WarmupAnswer::Lanes { .. } => Ok(go_on(&lane::path(&source, &provider))),
        WarmupAnswer::NoSuchLane { .. } => Err(no_such()),
        _ => Err(odd()),
    }
}

fn no_such() -> Trouble {
    Trouble::NotFound("There is no such lane. A lane appears with the first mail from a source to a provider.".into())
}

fn odd() -> Trouble {
    Trouble::Unavailable("The relay gave an unexpected answer about its warm-up.".into())
}
