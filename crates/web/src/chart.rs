//! Charts as SVG, each with its table for those who do not see it.

use maud::{Markup, html};

/// A line over time with bars for the times at which something stood in the way.
pub(crate) struct Sparkline<'c> {
    /// The values, one for each step of time.
    pub(crate) values: &'c [u64],
    /// Steps from which to which something was wrong, and how wrong: 1 slowed, 2 stopped.
    pub(crate) bars: &'c [(usize, usize, u8)],
    /// What it shows, in words.
    pub(crate) label: String,
}

impl Sparkline<'_> {
    /// The picture: 120 by 24 units, as wide as its place.
    pub(crate) fn draw(&self) -> Markup {
        const WIDTH: f64 = 120.0;
        const HEIGHT: f64 = 24.0;
        let steps = self.values.len().max(2) as f64 - 1.0;
        let most = self.values.iter().copied().max().unwrap_or(0).max(1) as f64;
        let at = |place: usize| place as f64 * WIDTH / steps;
        let points: Vec<String> = self
            .values
            .iter()
            .enumerate()
            .map(|(place, value)| format!("{:.1},{:.1}", at(place), HEIGHT - 1.0 - *value as f64 / most * (HEIGHT - 3.0)))
            .collect();
        html! {
            svg .spark viewBox="0 0 120 24" preserveAspectRatio="none" role="img" aria-label=(self.label) {
                @for (from, to, how) in self.bars {
                    rect class=(if *how > 1 { "stopped" } else { "slowed" }) x=(format!("{:.1}", at(*from))) y="0"
                        width=(format!("{:.1}", (at(*to) - at(*from)).max(2.0))) height="24" {}
                }
                polyline points=(points.join(" ")) {}
            }
        }
    }
}

/// A part of a whole as a bar: the words beside it say the same.
pub(crate) fn bar(part: u64, of: u64) -> Markup {
    let share = if of == 0 { 0.0 } else { (part as f64 / of as f64 * 100.0).min(100.0) };
    html! {
        svg .bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect .whole width="100" height="8" {}
            rect .part width=(format!("{share:.1}")) height="8" {}
        }
    }
}

/// Columns over time, stacked by kind, with their table behind a summary.
pub(crate) struct Columns<'c> {
    /// The kinds, the lowest first.
    pub(crate) kinds: &'c [&'c str],
    /// Each step of time: its name, and a value for each kind.
    pub(crate) steps: &'c [(String, Vec<u64>)],
    /// What it shows, in words.
    pub(crate) label: String,
    /// Steps from which to which something was wrong, and what.
    pub(crate) bars: &'c [(usize, usize, String)],
}

impl Columns<'_> {
    /// The picture and its table.
    pub(crate) fn draw(&self) -> Markup {
        const HEIGHT: f64 = 120.0;
        let most = self.steps.iter().map(|(_, values)| values.iter().sum::<u64>()).max().unwrap_or(0).max(1) as f64;
        let width = 720.0 / self.steps.len().max(1) as f64;
        html! {
            figure .columns {
                svg viewBox="0 0 720 136" role="img" aria-label=(self.label) {
                    @for (from, to, what) in self.bars {
                        rect .trouble x=(format!("{:.1}", *from as f64 * width)) y="0"
                            width=(format!("{:.1}", (to - from).max(1) as f64 * width)) height="120" { title { (what) } }
                    }
                    @for (place, (name, values)) in self.steps.iter().enumerate() {
                        @for (kind, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
                            @let height = *value as f64 / most * (HEIGHT - 4.0);
                            @let top = values[..=kind].iter().sum::<u64>() as f64 / most * (HEIGHT - 4.0);
                            rect class=(format!("kind{}", kind % 9)) x=(format!("{:.1}", place as f64 * width + 1.0)) y=(format!("{:.1}", HEIGHT - top))
                                width=(format!("{:.1}", (width - 2.0).max(1.0))) height=(format!("{height:.1}")) {
                                title { (name) ": " (self.kinds[kind]) " " (crate::words::number(*value)) }
                            }
                        }
                        @if place % 6 == 0 { text x=(format!("{:.1}", place as f64 * width + 1.0)) y="133" { (name) } }
                    }
                }
                ul .key { @for (kind, name) in self.kinds.iter().enumerate() {
                    li { svg .swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(format!("kind{}", kind % 9)) width="10" height="10" {} } (name) }
                } }
                details { summary { "As a table" } (self.table()) }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            div .scroll tabindex="0" role="region" aria-label=(self.label) { table {
                thead { tr { th scope="col" { "Time" } @for kind in self.kinds { th .n scope="col" { (kind) } } } }
                tbody { @for (name, values) in self.steps {
                    tr { th scope="row" { (name) } @for value in values { td .n { (crate::words::number(*value)) } } }
                } }
            } }
        }
    }
}
