//! Streams and senders: how much they send, who leaps, and whose mail the guard holds.

use maud::{Markup, html};
use posthaste_tallies::{Block, Counter};

use crate::{
    events::sender,
    sight::Sight,
    snapshot::Snapshot,
    words::{rate, short},
};

/// Rows of each table.
const SHOWN_MAX: usize = 8;

pub(super) fn draw(snapshot: &Snapshot, sight: Sight) -> Markup {
    let Some(hours) = snapshot.counted.as_ref().map(|counted| &counted.hours) else { return html! {} };
    html! {
        h2 { "Streams and senders" small { " 24 h" } }
        div .columns2 {
            (table(snapshot, "Stream", "stream", &hours.streams, sight))
            (table(snapshot, "User", "user", &hours.users, sight))
            (table(snapshot, "From domain", "from_domain", &hours.froms, sight))
        }
    }
}

fn table(snapshot: &Snapshot, name: &str, about: &str, block: &Block, sight: Sight) -> Markup {
    let mut rows: Vec<_> = block.iter().collect();
    rows.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.get(Counter::Accepted)));
    let more = rows.len().saturating_sub(SHOWN_MAX);
    rows.truncate(SHOWN_MAX);
    html! {
        @if !rows.is_empty() {
            div .scroll tabindex="0" role="region" aria-label=(name) { table {
                thead { tr { th scope="col" { (name) } th .n scope="col" { "Accepted" } th .n scope="col" { "Delivered of finished" } th scope="col" { "" } } }
                tbody { @for (key, cell) in rows { tr {
                    th scope="row" { (sender(about, key, sight)) }
                    td .n { (short(cell.get(Counter::Accepted))) }
                    td .n { (rate(cell.get(Counter::Delivered), cell.finished())) }
                    td { (marks(snapshot, about, key)) }
                } } }
            } }
            @if more > 0 { p { a href=(if about == "stream" { "/streams" } else { "/senders" }) { (more) " more" } } }
        }
    }
}

/// What is remarkable about a sender.
pub(crate) fn marks(snapshot: &Snapshot, about: &str, key: &str) -> Markup {
    let wanted = format!("{about}:{key}");
    let held = snapshot.queue.guarded.iter().find(|held| held.key == wanted);
    let leaps = snapshot.open().find(|incident| incident.told.key == wanted && incident.told.rule == "sender_leaps");
    html! {
        @if let Some(incident) = leaps { a .state .stopped href=(format!("/incidents/{}", incident.id)) { "leaps" } " " }
        @if let Some(held) = held { a .state .stopped href="/senders" { "guard holds " (held.messages) } }
    }
}
