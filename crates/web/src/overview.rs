//! The overview: what is wrong, since when, whose problem it is, what the relay did already, and what to do next.

mod flow;
mod house;
mod needs;
mod numbers;
pub(crate) mod providers;
mod said;
mod score;
mod sentence;
mod streams;
mod warming;

use axum::extract::State;
use maud::html;
use serde_json::json;

use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, part},
    sight::Sight,
    snapshot::Snapshot,
    viewer::Viewer,
};

pub(crate) use score::but;
pub(crate) use streams::marks;

/// The page.
pub(crate) async fn page(State(site): Shared, viewer: Viewer, form: As) -> Answered {
    let snapshot = site.snapshots.of(&site.desk).await?;
    let rules = site.desk.settings.load().rules.clone();
    let main = html! {
        (part("sentence", &sentence::draw(&snapshot, viewer.sight)))
        (part("needs", &needs::draw(&snapshot, &viewer)))
        (part("numbers", &numbers::draw(&snapshot)))
        (part("score", &score::draw(&snapshot)))
        (part("providers", &providers::draw(&snapshot, viewer.sight)))
        (part("flow", &flow::draw(&snapshot, viewer.sight)))
        (part("warming", &warming::draw(&snapshot)))
        (part("streams", &streams::draw(&snapshot, viewer.sight)))
        (part("said", &said::draw(&snapshot, &rules)))
        (part("house", &house::draw(&snapshot)))
    };
    let page =
        Page { title: sentence::of(&snapshot, viewer.sight), here: Here::Overview, live: true, main, data: data(&snapshot, viewer.sight) };
    Ok(form.answer(page, &viewer))
}

fn data(snapshot: &Snapshot, sight: Sight) -> serde_json::Value {
    json!({
        "now": snapshot.now,
        "sentence": sentence::of(snapshot, sight),
        "queue": snapshot.queue,
        "monitoring": !snapshot.is_off,
        "incidents": (!snapshot.is_off).then(|| snapshot.open().collect::<Vec<_>>()),
        "score": snapshot.scores.as_ref().map(|scores| &scores.all),
        "numbers": numbers::data(snapshot),
        "providers": providers::data(snapshot),
        "warmup": snapshot.lanes,
    })
}
