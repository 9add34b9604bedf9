//! The health score: 0 to 100, from what receivers and recipients do with the mail. A local estimate; no receiver publishes its own.
//!
//! [`Inputs`] gathers what the tallies know, [`Scores::of`] judges it by [`Settings`], and [`explain`] prints the formula with the values in
//! force. The formula:
//! - A rate is the share of something bad: of unknown users among finished recipients, of deliveries without an aligned signature, … It is
//!   taken at the lower end of its one-sided 90 % Wilson interval, so that small numbers cost nothing that they do not prove.
//! - Points are lost in a straight line from `good` to `bad`. The measures of a factor share its weight, the factors share the 100 points; what
//!   is not measured (too little mail, or nothing known) takes no part, and the others share its weight.
//! - Two views, of which the lower counts, so that a score falls at once and recovers slowly: the last days by the day on which messages were
//!   accepted, and the last 24 hours alone. In the first, what is one half-life old counts half, in the rate and in the interval's n alike: an
//!   interval over fewer recipients is wider, so old mail convicts less. Whether a minimum is reached is asked of the plain numbers.
//! - A pair of stream and provider has a score, and so has a lane (source and provider). Streams, providers, sources and the whole are means of
//!   theirs, weighted by finished recipients, or by first tries where these are more: mail that a provider puts off for days has not finished.
//!   Pairs that are too small for a score of their own are judged together, as one. A domain of the From field has no pairs, and is scored
//!   from its own figures.
//!
//! Invariants, which `tests/properties.rs` holds:
//! - A score is from 0 to 100, and its losses add up to what it lacks.
//! - As long as the same is measured, more bad events never raise a score, in these forms:
//!   1. Of the same mail. Whatever goes badly in place of well (a recipient bounces or expires, of any class, or bounces after the delivery;
//!      complains, unsubscribes, is put off at first; a delivery lacks TLS or a signature) lowers the pair's score and all that are made of
//!      it, or leaves them. Well means in every way: who bounces in place of an unsigned delivery is one unsigned delivery fewer.
//!   2. Of mail that is added, a suppressed recipient never raises a score; and recipients that end badly never leave a pair with more than the same
//!      number of good deliveries would.
//!   3. Recipients that end badly never raise a pair's score by themselves: it rises only if something else of theirs costs points, as a share of
//!      the same recipients. The formula's shares have one denominator (finished recipients), so 1,000 unknown users more make full
//!      mailboxes a smaller share. What would rule that out, `x / (delivered + x)` for each x, is another formula wherever two things go
//!      badly, and not the published one.
//! - More good mail never lowers a pair's score, as long as the same is measured. It can lower a mean: a stream that sends more to its worse
//!   provider scores worse.

mod beside;
mod counts;
mod explain;
mod figures;
mod found;
mod inputs;
mod judge;
mod loss;
mod measure;
mod scores;
mod settings;
mod shown;

pub use counts::{Counts, Days, History, Share};
pub use explain::explain;
pub(crate) use found::drafts;
pub use inputs::Inputs;
pub use judge::Window;
pub use loss::Loss;
pub use measure::{Cause, Factor, Measure};
pub use scores::{LaneScore, PairScore, Scores};
pub use settings::{Bands, Line, Settings, Traits};
pub use shown::{Band, Beside, FactorScore, MeasureScore, Score, Trend};

#[cfg(test)]
mod tests;
