//! A simulated run ahead of time, on copies of lanes or of a stream's own rate.

use std::num::NonZeroU32;

use jiff::Timestamp;
use posthaste_governor::{Forecast, Priority, Shaper};

/// A simulated run ahead of time. Each call lets the next recipients go, after those of the calls before.
pub(crate) enum Ahead {
    /// On copies of lanes.
    Lanes(Box<Forecast>),
    /// On a copy of a stream's own rate.
    Stream(Box<Shaper>, Timestamp),
}

impl Ahead {
    /// When the next `n` recipients will have gone; None where that cannot be foreseen.
    pub(crate) fn step(&mut self, n: u32, priority: Priority) -> Option<Timestamp> {
        match self {
            Self::Lanes(forecast) => forecast.take(n, priority),
            Self::Stream(shaper, now) => {
                let mut left = NonZeroU32::new(n);
                while let Some(n) = left {
                    match shaper.take(n, *now) {
                        Ok(taken) => left = NonZeroU32::new(n.get() - taken.get()),
                        Err(at) => *now = at,
                    }
                }
                Some(*now)
            }
        }
    }
}
