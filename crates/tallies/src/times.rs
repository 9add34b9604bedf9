//! How long things took.

use sketches_ddsketch::{Config, DDSketch};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Time {
    /// From a recipient's acceptance to its delivery.
    Delivery = 0,
    /// From a recipient's acceptance to its first attempt, for those that are delivered by it.
    Wait = 1,
    /// Connecting.
    Connect = 2,
    /// The TLS handshake.
    Tls = 3,
    /// From MAIL to the reply after the message.
    Dialogue = 4,
}

impl Time {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Delivery, Self::Wait, Self::Connect, Self::Tls, Self::Dialogue];

    /// The word for it in reports and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Wait => "wait",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Dialogue => "dialogue",
        }
    }
}

/// The times of a cell, in milliseconds, from which any quantile can be read with an error of 2 %.
#[derive(Clone, Default)]
pub struct Times(pub(crate) [Option<DDSketch>; Time::ALL.len()]);

impl Times {
    /// Counts one.
    pub fn add(&mut self, time: Time, milliseconds: u64) {
        #[allow(clippy::cast_precision_loss)] // a difference of milliseconds in 200,000 years
        self.sketch(time).add(milliseconds as f64);
    }

    /// How many were measured.
    pub fn count(&self, time: Time) -> u64 {
        self.0[time as usize].as_ref().map_or(0, |sketch| sketch.count() as u64)
    }

    /// The time, in milliseconds, that this share (0 to 1) of them did not exceed; None if there are none.
    pub fn quantile(&self, time: Time, share: f64) -> Option<f64> {
        self.0[time as usize].as_ref()?.quantile(share).ok().flatten()
    }

    /// Adds others.
    pub fn merge(&mut self, others: &Self) {
        for time in Time::ALL {
            if let Some(other) = &others.0[time as usize] {
                self.sketch(time).merge(other).expect("all sketches have the same accuracy; others are not decoded");
            }
        }
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn sketch(&mut self, time: Time) -> &mut DDSketch {
        self.0[time as usize].get_or_insert_with(|| DDSketch::new(config()))
    }
}

impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(Time::ALL.map(|time| (time.as_str(), (self.count(time), self.quantile(time, 0.5))))).finish()
    }
}

/// 2 % of error: 640 numbers are enough for one millisecond to a week.
pub(crate) fn config() -> Config {
    Config::new(0.02, 2048, 1e-9)
}
