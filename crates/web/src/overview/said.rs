//! What receivers said most often when they refused, explained; what no rule knows comes first.

use maud::{Markup, html};
use posthaste_bounce::Rules;
use posthaste_tallies::{Counter, PAIR};

use crate::{
    snapshot::Snapshot,
    words::{foreign, number},
};

/// So many are shown.
const SHOWN_MAX: usize = 10;

pub(super) fn draw(snapshot: &Snapshot, rules: &Rules) -> Markup {
    let Some(hours) = snapshot.counted.as_ref().map(|counted| &counted.hours) else { return html! {} };
    let refusals = |cell: &posthaste_tallies::Cell| cell.get(Counter::Deferred) + cell.get(Counter::Bounced) + cell.get(Counter::Expired);
    let mut said: Vec<(&str, &str, u64)> = hours
        .rules
        .iter()
        .filter_map(|(key, cell)| key.split_once(PAIR).map(|(rule, provider)| (rule, provider, refusals(cell))))
        .collect();
    said.retain(|(_, _, n)| *n > 0);
    let is_unknown = |rule: &str| rule.starts_with("code.") || rule == "unknown";
    said.sort_by_key(|(rule, _, n)| (!is_unknown(rule), std::cmp::Reverse(*n)));
    said.truncate(SHOWN_MAX);
    html! {
        h2 { "What receivers say" small { " the most frequent refusals of 24 h" } }
        @if said.is_empty() { p .quiet { "No refusals." } }
        @else {
            div .scroll tabindex="0" role="region" aria-label="What receivers say" { table {
                thead { tr { th .n scope="col" { "Times" } th scope="col" { "Provider" } th scope="col" { "What it means" } th scope="col" { "Rule" } } }
                tbody { @for (rule, provider, n) in said { tr {
                    td .n { a href=(format!("/bounces?rule={rule}&provider={provider}")) { (number(n)) } }
                    td { (foreign(provider)) }
                    td { @if is_unknown(rule) { strong { "No rule knows these words. " } "See " code { "posthaste bounce unknown" } }
                        @else { (rules.meaning_of(rule).map_or_else(|| "–".to_owned(), |(why, _)| foreign(why))) } }
                    td { code { (foreign(rule)) } }
                } } }
            } }
        }
    }
}
