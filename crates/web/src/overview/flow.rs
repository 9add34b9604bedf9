//! What was delivered in each of the last 24 hours, by provider, with the incidents of that time.

use maud::{Markup, html};
use posthaste_tallies::Counter;

use crate::{chart::Columns, sight::Sight, snapshot::Snapshot};

/// Providers with a colour of their own.
const KINDS: usize = 8;

pub(super) fn draw(snapshot: &Snapshot, sight: Sight) -> Markup {
    let Some(hours) = snapshot.counted.as_ref().map(|counted| &counted.hours) else { return html! {} };
    let mut largest: Vec<(&str, u64)> = hours.providers.iter().map(|(name, cell)| (name, cell.get(Counter::Delivered))).collect();
    largest.sort_by_key(|(_, delivered)| std::cmp::Reverse(*delivered));
    largest.truncate(KINDS);
    largest.retain(|(_, delivered)| *delivered > 0);
    if largest.is_empty() {
        return html! {};
    }
    let mut kinds: Vec<&str> = largest.iter().map(|(name, _)| *name).collect();
    kinds.push("others");
    let steps: Vec<(String, Vec<u64>)> = hours
        .by_hour
        .iter()
        .map(|(begin, block)| {
            let own = |name: &str| block.get(name).map_or(0, |cell| cell.get(Counter::Delivered));
            let all: u64 = block.iter().map(|(_, cell)| cell.get(Counter::Delivered)).sum();
            let mut values: Vec<u64> = largest.iter().map(|(name, _)| own(name)).collect();
            values.push(all - values.iter().sum::<u64>());
            (begin.to_zoned_datetime(snapshot.zone.clone()).strftime("%H:%M").to_string(), values)
        })
        .collect();
    let bars: Vec<(usize, usize, String)> =
        snapshot.troubles(None).into_iter().map(|(from, to, _, what)| (from, to, sight.line(&what))).collect();
    html! {
        h2 { "Delivered by hour" small { " 24 h; shaded: incidents" } }
        (Columns { kinds: &kinds, steps: &steps, label: "Delivered by hour and provider in the last 24 hours".into(), bars: &bars }.draw())
    }
}
