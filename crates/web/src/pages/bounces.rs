//! Bounces: failures by class, provider, stream and time, and what receivers said.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};
use maud::{Markup, html};
use posthaste_host::clock;
use posthaste_mail::Class;
use posthaste_monitor::LineFilter;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, Span, Tallies, TalliesError, pair};
use serde_json::{Value, json};

use crate::{
    answer::{Answered, As, Shared},
    chart::Columns,
    layout::{Here, Page, part},
    sight::Sight,
    site::Site,
    snapshot::zone,
    spans::{Back, figures, tabs},
    trouble::Trouble,
    viewer::{Query, Viewer},
    words::{At, foreign, number, rate, short},
};

/// Rows of a table.
const SHOWN_MAX: usize = 20;
/// Examples from the log.
const EXAMPLES: usize = 10;
/// Lines in which examples are looked for.
const LOOKED_MAX: usize = 2_000;
/// Days of messages that are told by the day of their acceptance, and how long a day still moves.
const COHORTS: i64 = 14;
const MOVING: SignedDuration = SignedDuration::from_hours(72);

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/bounces", get(page))
}

/// What the page shows.
struct Bounces {
    all: Cell,
    providers: Block,
    streams: Block,
    steps: Vec<(Timestamp, Block)>,
    cohorts: Vec<(jiff::civil::Date, Block)>,
}

impl Bounces {
    fn read(tallies: &Tallies, back: Back, now: Timestamp) -> Result<Self, TalliesError> {
        let span: Span = back.span(now);
        let today = now.to_zoned_datetime(tallies.zone().clone()).date();
        let first = today.checked_sub(COHORTS.days()).unwrap_or(today);
        Ok(Self {
            all: tallies.sum(Dimension::All, span)?.iter().next().map(|(_, cell)| cell.clone()).unwrap_or_default(),
            providers: tallies.sum(Dimension::Provider, span)?,
            streams: tallies.sum(Dimension::Stream, span)?,
            steps: tallies.series(Dimension::All, span, back.grain())?,
            cohorts: tallies.cohorts(Dimension::All, first, today)?,
        })
    }
}

async fn page(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let (now, zone, back) = (clock::now(), zone(&site.desk), Back::of(query.get("since")));
    if let Some(rule) = query.get("rule") {
        return rule_page(&site, &viewer, form, rule, query.get("provider")).await;
    }
    let read = figures(&site.desk, move |tallies| Bounces::read(tallies, back, now)).await?;
    let main = html! {
        (part("bounces", &html! {
            h1 { "Bounces and deferrals" }
            (tabs("/bounces?", back))
            (classes(&read.all, back))
            p { a href=(format!("/bounces?since={}&as=json", back.word)) { "JSON" } }
        }))
        (part("time", &over_time(&read.steps, back, &zone)))
        (part("where", &html! {
            h2 { "Where" }
            div .columns2 { (by("Provider", "provider", &read.providers, back)) (by("Stream", "stream", &read.streams, back)) }
        }))
        (part("cohorts", &cohorts(&read.cohorts, now, &zone)))
    };
    let data = json!({
        "since": back.word, "attempts": read.all.get(Counter::Attempts), "finished": read.all.finished(),
        "classes": Class::ALL.iter().map(|class| (class.as_str().to_owned(), of_class(&read.all, *class).into_iter().collect::<Value>())).collect::<serde_json::Map<_, _>>(),
    });
    Ok(form.answer(Page { title: "Bounces".into(), here: Here::Bounces, live: true, main, data }, &viewer))
}

/// Deferred, bounced, expired, come back late.
fn of_class(cell: &Cell, class: Class) -> [u64; 4] {
    [ByClass::Deferred, ByClass::Bounced, ByClass::Expired, ByClass::LateBounced].map(|by| cell.get((by, class)))
}

fn classes(all: &Cell, back: Back) -> Markup {
    let mut rows: Vec<(Class, [u64; 4])> = Class::ALL.iter().map(|class| (*class, of_class(all, *class))).collect();
    rows.retain(|(_, counts)| counts.iter().any(|n| *n > 0));
    rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
    let link = |class: Class, event: &str, n: u64| {
        html! {
            td .n { @if n > 0 { a href=(format!("/messages?class={class}&event={event}&since={}", back.word)) { (number(n)) } } @else { "0" } }
        }
    };
    html! {
        @if rows.is_empty() { p .quiet { "Nothing was refused or put off." } }
        @else { div .scroll tabindex="0" role="region" aria-label="By class" { table {
            thead { tr { th scope="col" { "Class" } th .n scope="col" { "Deferred" } th .n scope="col" { "Bounced" } th .n scope="col" { "Expired" }
                th .n scope="col" { "Came back late" } th .n scope="col" { "Bounced of finished" } } }
            tbody { @for (class, [deferred, bounced, expired, late]) in rows { tr {
                th scope="row" { (class) }
                (link(class, "deferred", deferred)) (link(class, "bounced", bounced)) (link(class, "expired", expired)) (link(class, "late_bounced", late))
                td .n { (rate(bounced + expired, all.finished())) }
            } } }
        } } }
    }
}

fn over_time(steps: &[(Timestamp, Block)], back: Back, zone: &TimeZone) -> Markup {
    let of = |(begin, block): &(Timestamp, Block)| {
        let cell = block.iter().next().map(|(_, cell)| cell);
        let get = |counter| cell.map_or(0, |cell| cell.get(counter));
        let values = vec![get(Counter::Deferred), get(Counter::Bounced), get(Counter::Expired), get(Counter::LateBounced)];
        (begin.to_zoned_datetime(zone.clone()).strftime(back.step()).to_string(), values)
    };
    let steps: Vec<(String, Vec<u64>)> = steps.iter().map(of).collect();
    html! {
        h2 { "Over time" }
        @if steps.is_empty() { p .quiet { "No mail in this time." } }
        @else { (Columns { kinds: &["deferred", "bounced", "expired", "came back late"], steps: &steps, bars: &[],
            label: format!("Deferrals and bounces, {}", back.name) }.draw()) }
    }
}

fn by(name: &str, field: &str, block: &Block, back: Back) -> Markup {
    let failures = |cell: &Cell| cell.get(Counter::Bounced) + cell.get(Counter::Expired);
    let mut rows: Vec<(&str, &Cell)> = block.iter().filter(|(_, cell)| failures(cell) + cell.get(Counter::Deferred) > 0).collect();
    rows.sort_by_key(|(_, cell)| std::cmp::Reverse((failures(cell), cell.get(Counter::Deferred))));
    rows.truncate(SHOWN_MAX);
    html! {
        @if !rows.is_empty() { div .scroll tabindex="0" role="region" aria-label=(name) { table {
            thead { tr { th scope="col" { (name) } th .n scope="col" { "Bounced of finished" } th .n scope="col" { "Deferred of attempts" } th .n scope="col" { "Attempts" } } }
            tbody { @for (key, cell) in rows { tr {
                @let encoded: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
                th scope="row" { a href=(format!("/messages?{field}={encoded}&event=refused&since={}", back.word)) { (foreign(key)) } }
                td .n { (rate(failures(cell), cell.finished())) }
                td .n { (rate(cell.get(Counter::Deferred), cell.get(Counter::Attempts))) }
                td .n { (short(cell.get(Counter::Attempts))) }
            } } }
        } } }
    }
}

/// What became of the messages of each day, by the day of their acceptance: what comes back late counts on it.
fn cohorts(days: &[(jiff::civil::Date, Block)], now: Timestamp, zone: &TimeZone) -> Markup {
    let moves = |day: &jiff::civil::Date| {
        let begin = day.to_zoned_datetime(zone.clone()).map(|begin| begin.timestamp()).unwrap_or(now);
        now.duration_since(begin) < MOVING
    };
    html! {
        h2 { "By the day of acceptance" small { " what comes back late counts on the day of its message, as bounced and not as delivered" } }
        @if days.is_empty() { p .quiet { "No mail in the last two weeks." } }
        @else { div .scroll tabindex="0" role="region" aria-label="By the day of acceptance" { table {
            thead { tr { th scope="col" { "Day" } th .n scope="col" { "Accepted" } th .n scope="col" { "Delivered of finished" } th .n scope="col" { "Came back late" } th .n scope="col" { "Complaints of delivered" } th scope="col" { "" } } }
            tbody { @for (day, block) in days.iter().rev() { @for cell in block.iter().take(1).map(|(_, cell)| cell.settled()) { tr {
                th scope="row" { (day) }
                td .n { (number(cell.get(Counter::Accepted))) }
                td .n { (rate(cell.get(Counter::Delivered), cell.finished())) }
                td .n { (number(cell.get(Counter::LateBounced))) }
                td .n { (rate(cell.get(Counter::Complained), cell.get(Counter::Delivered))) }
                td { @if moves(day) { small { "still moving" } } }
            } } } }
        } } }
    }
}

/// What a rule means, how often it decided, and what was said.
async fn rule_page(site: &Site, viewer: &Viewer, form: As, rule: &str, provider: Option<&str>) -> Answered {
    let (now, zone) = (clock::now(), zone(&site.desk));
    let rules = site.desk.settings.load().rules.clone();
    let meaning = rules.meaning_of(rule).map(|(why, link)| (why.to_owned(), link.map(str::to_owned)));
    let is_code = rule.starts_with("code.");
    if meaning.is_none() && !is_code {
        return Err(Trouble::NotFound("No rule of the classifier has this name.".into()));
    }
    let key = provider.map(|provider| pair(rule, provider));
    let span = Back::ALL[1].span(now);
    let times = match key {
        Some(key) => figures(&site.desk, move |tallies| Ok(tallies.sum(Dimension::RuleProvider, span)?.get(&key).cloned())).await?,
        None => None,
    };
    let examples = examples(site, rule, provider, viewer.sight).await?;
    let at = |time| At { time, now, zone: &zone };
    let main = html! { (part("rule", &html! {
        h1 { "Rule " code { (foreign(rule)) } @if let Some(provider) = provider { " at " (foreign(provider)) } }
        @if let Some((why, link)) = &meaning {
            p { (foreign(why)) }
            @if let Some(link) = link.as_ref().filter(|link| link.starts_with("https://")) { p { "See " a href=(link) rel="noreferrer" { (foreign(link)) } } }
        }
        @if is_code { p { "No rule knows the words: the code alone decided. " code { "posthaste bounce unknown" } " drafts rules for such replies." } }
        @if let Some(cell) = &times { p { "In 24 hours: " (number(cell.get(Counter::Deferred))) " deferred, " (number(cell.get(Counter::Bounced))) " bounced, "
            (number(cell.get(Counter::Expired))) " expired." } }
        h2 { "The last that it decided" }
        @if examples.is_empty() { p .quiet { "None among the last lines of the log." } }
        ol .timeline { @for example in &examples { li {
            @if let Some(time) = example.time { (at(time)) " " } span .state .(example.event) { (example.event) } " "
            @if let Some(message) = &example.message { a href=(format!("/messages/{message}")) { (example.rcpt) } }
            pre { (example.code) " " (viewer.sight.text(&example.text)) }
        } } }
        p { a href="/bounces" { "All bounces" } }
    })) };
    let data = json!({ "rule": rule, "provider": provider, "meaning": meaning.as_ref().map(|(why, _)| why), "link": meaning.as_ref().and_then(|(_, link)| link.clone()),
        "examples": examples.iter().map(|e| json!({ "time": e.time, "event": e.event, "message": e.message, "rcpt": e.rcpt, "code": e.code, "text": e.text })).collect::<Vec<_>>() });
    Ok(form.answer(Page { title: format!("Rule {}", foreign(rule)), here: Here::Bounces, live: false, main, data }, viewer))
}

/// A line that a rule decided.
struct Example {
    time: Option<Timestamp>,
    event: String,
    message: Option<String>,
    rcpt: String,
    code: u64,
    text: String,
}

async fn examples(site: &Site, rule: &str, provider: Option<&str>, sight: Sight) -> Result<Vec<Example>, Trouble> {
    let filter = LineFilter { provider: provider.map(str::to_owned), ..LineFilter::default() };
    let logged = site.desk.log(filter, Some(LOOKED_MAX), None).await?;
    let of = |line: &String| {
        let json: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        (text("rule") == Some(rule)).then_some(())?;
        let rcpt = text("rcpt").unwrap_or_default();
        Some(Example {
            time: text("time").and_then(|time| time.parse().ok()),
            event: text("event").unwrap_or_default().to_owned(),
            message: text("message").map(str::to_owned),
            rcpt: sight.address(rcpt),
            code: json.get("smtp_code").and_then(Value::as_u64).unwrap_or_default(),
            text: text("smtp_text").or_else(|| text("detail")).unwrap_or_default().to_owned(),
        })
    };
    Ok(logged.lines.iter().rev().filter_map(of).take(EXAMPLES).collect())
}
