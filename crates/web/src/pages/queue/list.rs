//! Messages of the queue.

use maud::{Markup, html};
use posthaste_relay::desk::{List, Listed};

use super::Which;
use crate::{
    pages::standing,
    sight::Sight,
    snapshot::Snapshot,
    words::{age, number},
};

/// Messages on a page.
pub(super) const SHOWN_MAX: usize = 50;

/// Characters of an answer in the table.
const ANSWER_MAX: usize = 160;

pub(super) fn draw(list: &List, which: &Which, from: usize, snapshot: &Snapshot, sight: Sight) -> Markup {
    let (to, link) = (from + list.messages.len(), |from: usize| format!("/queue?{}&from={from}", which.query()));
    html! {
        h2 { "Messages" small { " " (which.words()) "; the oldest first" } }
        @if list.messages.is_empty() { p .quiet { "No message that waits fits." } }
        @else {
            (rows(&list.messages, snapshot, sight))
            p { (number(from as u64 + 1)) "–" (number(to as u64)) " of " (number(list.total as u64)) " messages"
                @if from > 0 { " · " a href=(link(from.saturating_sub(SHOWN_MAX))) { "Older" } }
                @if to < list.total { " · " a href=(link(to)) { "Newer" } } }
        }
    }
}

/// A table of messages.
pub(super) fn rows(messages: &[Listed], snapshot: &Snapshot, sight: Sight) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Messages" { table .mail {
            thead { tr {
                th scope="col" { "Message" } th scope="col" { "From and to" } th scope="col" { "Stream" } th .n scope="col" { "Age" }
                th .n scope="col" { "Attempts" } th scope="col" { "Waits" } th scope="col" { "Last answer" }
            } }
            tbody { @for message in messages { (row(message, snapshot, sight)) } }
        } }
    }
}

fn row(message: &Listed, snapshot: &Snapshot, sight: Sight) -> Markup {
    let Listed { row, from, addresses, answers } = message;
    let more = row.rcpts.len().saturating_sub(1);
    let answer = answers.iter().flatten().next();
    html! {
        tr {
            th scope="row" { a href=(format!("/messages/{}", row.id)) { code { (row.id) } } }
            td { (sight.address(from)) br; @if let Some(address) = addresses.first() { "→\u{a0}" (sight.address(address)) } @if more > 0 { " and " (number(more as u64)) " more" } }
            td { (row.stream) }
            td .n { (age(row.arrived, snapshot.now)) }
            td .n { (row.rcpts.first().map_or(0, |recipient| recipient.attempts)) }
            td .long { @if let Some(waits) = row.standing.first() { (standing::sign(waits)) br; small { (standing::until(waits, snapshot.now, &snapshot.zone, sight)) } } }
            td .long { @if let Some(answer) = answer {
                @if let Some(said) = &answer.said { small .error { (sight.beginning(said, ANSWER_MAX)) } }
                @if let Some(meaning) = &answer.meaning { br; small { (sight.line(meaning)) } } } }
        }
    }
}
