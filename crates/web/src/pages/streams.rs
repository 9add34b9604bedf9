//! Streams: how much each sends, how it fares, how fast it is against its aim, and its score.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use jiff::SignedDuration;
use maud::{Markup, html};
use posthaste_findings::score::Score;
use posthaste_host::clock;
use posthaste_tallies::{Block, Cell, Counter, Dimension, PAIR, Time};
use serde_json::json;

use crate::{
    answer::{Answered, As, Shared},
    chart::Columns,
    layout::{Here, Page, part},
    overview::{but, marks},
    site::Site,
    snapshot::Snapshot,
    spans::{Back, figures, tabs},
    trouble::Trouble,
    viewer::{Query, Viewer},
    words::{age, foreign, lasting, milliseconds, number, rate, share, short},
};

/// Rows of a table.
const SHOWN_MAX: usize = 50;

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/streams", get(list)).route("/streams/{name}", get(one))
}

async fn list(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let (snapshot, back, now) = (site.snapshots.of(&site.desk).await?, Back::of(query.get("since")), clock::now());
    let block = figures(&site.desk, move |tallies| tallies.sum(Dimension::Stream, back.span(now))).await?;
    let names = names(&snapshot, &block);
    let main = html! { (part("streams", &html! {
        h1 { "Streams" }
        (tabs("/streams?", back))
        div .scroll tabindex="0" role="region" aria-label="Streams" { table {
            thead { tr { th scope="col" { "Stream" } th .n scope="col" { "Accepted" } th .n scope="col" { "Delivered of finished" } th .n scope="col" { "Complaints of delivered" }
                th .n scope="col" { "95 % within" } th .n scope="col" { "Aim" } th .n scope="col" { "Waiting" } th .n scope="col" { "Score" } th scope="col" { "" } } }
            tbody { @for name in names.iter().take(SHOWN_MAX) { (row(&snapshot, name, block.get(name))) } }
        } }
        p { a href=(format!("/streams?since={}&as=json", back.word)) { "JSON" } }
    })) };
    let data = json!({ "since": back.word, "streams": names.iter().map(|name| figures_of(name, block.get(name))).collect::<Vec<_>>() });
    Ok(form.answer(Page { title: "Streams".into(), here: Here::Streams, live: true, main, data }, &viewer))
}

/// The streams of the configuration and those that had mail, the largest first.
fn names(snapshot: &Snapshot, block: &Block) -> Vec<String> {
    let configured = snapshot.facts.iter().flat_map(|facts| &facts.streams).map(|stream| stream.name.clone());
    let mut names: Vec<String> = configured.chain(block.iter().map(|(name, _)| name.to_owned())).collect();
    names.sort();
    names.dedup();
    names.sort_by_key(|name| std::cmp::Reverse(block.get(name).map_or(0, |cell| cell.get(Counter::Accepted))));
    names
}

fn row(snapshot: &Snapshot, name: &str, cell: Option<&Cell>) -> Markup {
    let empty = Cell::default();
    let cell = cell.unwrap_or(&empty);
    let score = snapshot.scores.as_ref().and_then(|scores| scores.streams.get(name));
    html! { tr {
        th scope="row" { a href=(path(name)) { (foreign(name)) } }
        td .n { (short(cell.get(Counter::Accepted))) }
        td .n { (rate(cell.get(Counter::Delivered), cell.finished())) }
        td .n { (rate(cell.get(Counter::Complained), cell.get(Counter::Delivered))) }
        td .n { (p95(cell)) }
        td .n { (aim(snapshot, name)) }
        td .n { (waiting(snapshot, name)) }
        td .n { (score_of(score)) }
        td { (marks(snapshot, "stream", name)) }
    } }
}

fn path(name: &str) -> String {
    format!("/streams/{}", form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>())
}

fn p95(cell: &Cell) -> String {
    cell.times().and_then(|times| times.quantile(Time::Delivery, 0.95)).map_or_else(|| "–".into(), milliseconds)
}

fn aim(snapshot: &Snapshot, name: &str) -> String {
    let aim = snapshot.facts.iter().flat_map(|facts| &facts.streams).find(|stream| stream.name == name).map(|stream| stream.aim);
    aim.and_then(|aim| SignedDuration::try_from(aim).ok()).map_or_else(|| "–".into(), lasting)
}

fn waiting(snapshot: &Snapshot, name: &str) -> Markup {
    let rows = || snapshot.facts.iter().flat_map(|facts| &facts.waiting).filter(|waits| waits.stream == name);
    let (n, oldest) = (rows().map(|waits| waits.recipients).sum::<u64>(), rows().filter_map(|waits| waits.oldest).min());
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    html! { @if n > 0 { a href=(format!("/queue?stream={encoded}")) { (short(n)) } @if let Some(oldest) = oldest { br; small { (age(oldest, snapshot.now)) } } } @else { "0" } }
}

fn score_of(score: Option<&Score>) -> String {
    score.and_then(|score| score.value).map_or_else(|| "–".into(), |value| value.to_string())
}

fn figures_of(name: &str, cell: Option<&Cell>) -> serde_json::Value {
    let get = |counter| cell.map_or(0, |cell| cell.get(counter));
    json!({ "stream": name, "accepted": get(Counter::Accepted), "delivered": get(Counter::Delivered), "finished": cell.map_or(0, Cell::finished),
        "complained": get(Counter::Complained), "unsubscribed": get(Counter::Unsubscribed) })
}

async fn one(State(site): Shared, viewer: Viewer, form: As, Path(name): Path<String>, Query(query): Query) -> Answered {
    let (snapshot, back, now) = (site.snapshots.of(&site.desk).await?, Back::of(query.get("since")), clock::now());
    let read = figures(&site.desk, move |tallies| {
        let span = back.span(now);
        Ok((
            tallies.sum(Dimension::Stream, span)?,
            tallies.sum(Dimension::StreamProvider, span)?,
            tallies.series(Dimension::Stream, span, back.grain())?,
        ))
    });
    let (block, pairs, series) = read.await?;
    if !names(&snapshot, &block).contains(&name) {
        return Err(Trouble::NotFound("There is no such stream in the configuration, and none had mail in this time.".into()));
    }
    let cell = block.get(&name).cloned().unwrap_or_default();
    let score = snapshot.scores.as_ref().and_then(|scores| scores.streams.get(&name));
    let of = |(begin, block): &(jiff::Timestamp, Block)| {
        let get = |counter| block.get(&name).map_or(0, |cell| cell.get(counter));
        (
            begin.to_zoned_datetime(snapshot.zone.clone()).strftime(back.step()).to_string(),
            vec![get(Counter::Delivered), get(Counter::Deferred), get(Counter::Bounced) + get(Counter::Expired)],
        )
    };
    let steps: Vec<(String, Vec<u64>)> = series.iter().map(of).collect();
    let mut providers: Vec<(&str, &Cell)> = pairs
        .iter()
        .filter_map(|(key, cell)| key.split_once(PAIR).filter(|(stream, _)| *stream == name).map(|(_, provider)| (provider, cell)))
        .collect();
    providers.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.get(Counter::Attempts)));
    let here = path(&name);
    let main = html! {
        (part("stream", &html! {
            h1 { "Stream " (foreign(&name)) }
            p { (marks(&snapshot, "stream", &name)) }
            (tabs(&format!("{here}?"), back))
            (facts(&snapshot, &name, &cell))
            p { a href=(format!("{here}?since={}&as=json", back.word)) { "JSON" } " · " a href=(crate::events::events(&format!("stream:{name}"))) { "The messages" } }
        }))
        (part("score", &score_part(score, &snapshot)))
        (part("time", &html! { h2 { "Over time" } @if steps.is_empty() { p .quiet { "No mail in this time." } }
            @else { (Columns { kinds: &["delivered", "deferred", "bounced or expired"], steps: &steps, bars: &[], label: format!("Stream {name}, {}", back.name) }.draw()) } }))
        (part("providers", &html! { h2 { "Providers" } (provider_table(&providers, &name)) }))
    };
    let data = json!({ "since": back.word, "figures": figures_of(&name, Some(&cell)), "score": score });
    Ok(form.answer(Page { title: format!("Stream {}", foreign(&name)), here: Here::Streams, live: true, main, data }, &viewer))
}

fn facts(snapshot: &Snapshot, name: &str, cell: &Cell) -> Markup {
    let times = cell
        .times()
        .map(|times| [0.5, 0.95, 0.99].map(|share| times.quantile(Time::Delivery, share).map_or_else(|| "–".into(), milliseconds)));
    html! { dl .facts {
        dt { "Accepted" } dd { (number(cell.get(Counter::Accepted))) " recipients" }
        dt { "Delivered" } dd { (share(cell.get(Counter::Delivered), cell.finished())) " finished" }
        dt { "Deferred" } dd { (share(cell.get(Counter::Deferred), cell.get(Counter::Attempts))) " attempts" }
        dt { "Complaints" } dd { (share(cell.get(Counter::Complained), cell.get(Counter::Delivered))) " delivered" }
        dt { "Unsubscribed" } dd { (share(cell.get(Counter::Unsubscribed), cell.get(Counter::Delivered))) " delivered" }
        dt { "Time to deliver" } dd { @match times { Some([half, most, nearly]) => { "half within " (half) ", 95 % within " (most) ", 99 % within " (nearly) } None => { "–" } } "; aim " (aim(snapshot, name)) }
        dt { "Waiting" } dd { (waiting(snapshot, name)) }
        dt { "Signed for its From domain" } dd { (share(cell.get(Counter::DkimAligned), cell.get(Counter::FromKnown))) " deliveries" }
        dt { "Under TLS" } dd { (share(cell.get(Counter::DeliveredTls), cell.get(Counter::Delivered))) " deliveries" }
    } }
}

/// A score with all that it lost.
pub(crate) fn score_part(score: Option<&Score>, snapshot: &Snapshot) -> Markup {
    html! {
        h2 { "Health score" }
        @match score {
            None => { p .quiet { "Not judged: no mail in the last days." } }
            Some(score) => {
                p .score { @if let Some(value) = score.value { strong { (value) } " of 100 · " } (score.note) (but(score, snapshot)) }
                @if !score.losses.is_empty() { ol .losses { @for loss in &score.losses {
                    li { strong { "−" (format!("{:.1}", loss.points)) } " " (foreign(&loss.sentence)) " " em { (crate::words::sentence(loss.next_step)) } }
                } } }
            }
        }
    }
}

fn provider_table(providers: &[(&str, &Cell)], stream: &str) -> Markup {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    html! {
        @if providers.is_empty() { p .quiet { "No attempts in this time." } }
        @else { div .scroll tabindex="0" role="region" aria-label="Providers" { table {
            thead { tr { th scope="col" { "Provider" } th .n scope="col" { "Attempts" } th .n scope="col" { "Delivered of attempts" } th .n scope="col" { "Deferred of attempts" } th .n scope="col" { "Bounced of finished" } } }
            tbody { @for (provider, cell) in providers.iter().take(SHOWN_MAX) { tr {
                th scope="row" { a href=(format!("/messages?since=24h&stream={}&provider={}", encoded(stream), encoded(provider))) { (foreign(provider)) } }
                td .n { (short(cell.get(Counter::Attempts))) }
                td .n { (rate(cell.get(Counter::Delivered), cell.get(Counter::Attempts))) }
                td .n { (rate(cell.get(Counter::Deferred), cell.get(Counter::Attempts))) }
                td .n { (rate(cell.get(Counter::Bounced) + cell.get(Counter::Expired), cell.finished())) }
            } } }
        } } }
    }
}
