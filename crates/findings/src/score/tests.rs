//! Tests of the health score, on cells as the tallies have them.

mod examples;
mod means;
mod properties;
mod shape;

use jiff::{ToSpan, civil::Date};
use posthaste_mail::Class;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, pair};

use super::*;

const TODAY: Date = Date::constant(2026, 11, 29);

fn days_ago(days: i32) -> Date {
    TODAY.checked_sub(days.days()).unwrap()
}

/// Mail of one day at one provider. Deliveries are as they should be unless `plain`, `unsigned` or `no_fields` says otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Mail {
    delivered: u64,
    unknown: u64,
    full: u64,
    refused: u64,
    /// Bounced for a reason that costs nothing.
    too_large: u64,
    late_unknown: u64,
    complained: u64,
    put_off: u64,
    greylisted: u64,
    unsubscribed: u64,
    plain: u64,
    unsigned: u64,
    spf_failed: u64,
    no_dmarc: u64,
    no_fields: u64,
}

impl Mail {
    fn good(delivered: u64) -> Self {
        Self { delivered, ..Self::default() }
    }

    fn cell(&self) -> Cell {
        let mut cell = Cell::default();
        let bounced = self.unknown + self.full + self.refused + self.too_large;
        let tries = self.delivered + bounced;
        for counter in [Counter::FromKnown, Counter::SpfKnown, Counter::DmarcKnown, Counter::Delivered] {
            cell.add(counter, self.delivered);
        }
        for counter in [Counter::Accepted, Counter::Attempts, Counter::FirstAttempts] {
            cell.add(counter, tries);
        }
        cell.add(Counter::Bounced, bounced);
        cell.add((ByClass::Bounced, Class::InvalidRecipient), self.unknown);
        cell.add((ByClass::Bounced, Class::MailboxFull), self.full);
        cell.add((ByClass::Bounced, Class::IpReputation), self.refused);
        cell.add((ByClass::Bounced, Class::MessageTooLarge), self.too_large);
        cell.add(Counter::LateBounced, self.late_unknown);
        cell.add((ByClass::LateBounced, Class::InvalidRecipient), self.late_unknown);
        cell.add(Counter::Complained, self.complained);
        cell.add((ByClass::FirstDeferred, Class::RateLimited), self.put_off);
        cell.add((ByClass::FirstDeferred, Class::Greylisting), self.greylisted);
        cell.add(Counter::Unsubscribed, self.unsubscribed);
        cell.add(Counter::DeliveredTls, self.delivered - self.plain);
        cell.add(Counter::DkimAligned, self.delivered - self.unsigned);
        cell.add(Counter::SpfPassed, self.delivered - self.spf_failed);
        cell.add(Counter::DmarcPublished, self.delivered - self.no_dmarc);
        cell.add(Counter::OneClick, self.delivered - self.no_fields);
        cell
    }
}

/// A block with one cell.
fn block(key: &str, cell: &Cell) -> Block {
    let mut block = Block::default();
    block.cell(key).merge(cell);
    block
}

/// The tallies of a relay with the streams `news` (bulk, tracking) and `app`.
struct Relay {
    inputs: Inputs,
    settings: Settings,
}

impl Relay {
    fn new() -> Self {
        let settings = Settings::default();
        let news = || ["news".to_owned()].into();
        let settings = Settings { traits: Traits { bulk: news(), tracking: news() }, ..settings };
        Self { inputs: Inputs::new(TODAY, &settings), settings }
    }

    /// Mail of a day, as the log's lines would be counted: in the pair's cell and the stream's, and of today in the last 24 hours.
    fn on(self, days: i32, stream: &str, provider: &str, mail: Mail) -> Self {
        self.counted(days, stream, provider, &mail.cell())
    }

    fn counted(mut self, days: i32, stream: &str, provider: &str, cell: &Cell) -> Self {
        let blocks = [(Dimension::StreamProvider, block(&pair(stream, provider), cell)), (Dimension::Stream, block(stream, cell))];
        for (dimension, block) in &blocks {
            self.inputs.add_cohort(*dimension, days_ago(days), block);
            if days == 0 {
                self.inputs.add_last_day(*dimension, block);
            }
        }
        self
    }

    fn today(self, stream: &str, provider: &str, mail: Mail) -> Self {
        self.on(0, stream, provider, mail)
    }

    fn suppressed(mut self, stream: &str, suppressed: u64) -> Self {
        let mut cell = Cell::default();
        cell.add(Counter::Suppressed, suppressed);
        self.inputs.add_cohort(Dimension::Stream, TODAY, &block(stream, &cell));
        self.inputs.add_last_day(Dimension::Stream, &block(stream, &cell));
        self
    }

    fn stopped(mut self, source: &str, provider: &str) -> Self {
        self.inputs.stopped.insert((source.to_owned(), provider.to_owned()));
        self
    }

    fn scores(&self) -> Scores {
        Scores::of(&self.inputs, &self.settings)
    }

    /// The score of the only pair.
    fn score(&self) -> Score {
        let scores = self.scores();
        assert_eq!(scores.pairs.len(), 1);
        scores.pairs[0].score.clone()
    }
}

fn causes(score: &Score) -> Vec<(&'static str, f64)> {
    score.losses.iter().map(|loss| (loss.cause.as_str(), (loss.points * 100.0).round() / 100.0)).collect()
}
