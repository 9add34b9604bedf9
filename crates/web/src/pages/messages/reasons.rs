//! "Why?": where a message goes, which limits apply, and what it waits for; as `posthaste why` tells it.

use std::time::Duration;

use axum::extract::{Path, State};
use maud::html;
use posthaste_host::clock;
use posthaste_relay::why::{Subject, Why};

use super::id::id_of;
use crate::{
    answer::{Answered, As, Shared},
    layout::{Here, Page, part},
    trouble::Trouble,
    viewer::Viewer,
};

/// How long DNS is waited for.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The page.
pub(super) async fn page(State(site): Shared, viewer: Viewer, form: As, Path(id): Path<String>) -> Answered {
    let id = id_of(&id)?;
    let asked = tokio::time::timeout(WAIT_MAX, site.desk.why(Subject::Message(id)));
    let Ok(whys) = asked.await else {
        return Err(Trouble::Unavailable(format!("DNS did not answer within {} seconds. Ask again.", WAIT_MAX.as_secs())));
    };
    let whys: Vec<Why> = whys?;
    if whys.is_empty() {
        return Err(Trouble::NotFound(format!("Neither the queue nor the delivery log knows message {id}.")));
    }
    let (now, sight) = (clock::now(), viewer.sight);
    let main = html! {
        section {
            h1 { "Why? Message " code { (id) } }
            p .asof { a href=(format!("/messages/{id}")) { "The message" } " · " a href=(format!("/messages/{id}/why?as=json")) { "JSON" }
                " · the same as " code { "posthaste why " (id) } }
        }
        @for why in &whys {
            (part(&format!("why-{}", why.domain), &html! {
                h2 { (why.domain) }
                pre { (sight.text(without_title(&why.page(now).to_string()))) }
            }))
        }
    };
    let data = serde_json::to_value(&whys).unwrap_or_default();
    Ok(form.answer(Page { title: format!("Why? {id}"), here: Here::Messages, live: false, main, data }, &viewer))
}

/// The text without its first line, the domain.
fn without_title(text: &str) -> &str {
    text.split_once('\n').map_or(text, |(_, rest)| rest).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_stands_in_the_heading_alone() {
        assert_eq!(without_title("a.test\n  nothing waits\n"), "  nothing waits");
        assert_eq!(without_title("a.test"), "a.test");
    }
}
