//! The answer to "may this lane send now?".

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};

use crate::{key::LaneId, shape::Shape};

/// Whether something may go.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, as far as the permit goes.
    Go(Permit),
    /// At this time one recipient may, if nothing else happens before; not a nanosecond earlier. And why not now.
    NotBefore(Timestamp, Hold),
}

/// Why a lane does not send now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The day's budget is gone.
    DayCap {
        /// What the day allows.
        cap: u32,
        /// What of it is gone, with what is reserved.
        used: u32,
    },
    /// The day's budget is spread over the day, and so much of it was released by now.
    Spread {
        /// What the day allows.
        cap: u32,
        /// What of it is gone, with what is reserved.
        used: u32,
    },
    /// The hour's share of the budget is gone.
    HourCap {
        /// What an hour allows.
        cap: u32,
    },
    /// Outside of the sending window, or a day off.
    Window,
    /// The clock went back into a day that is over.
    DayOver,
    /// A provider asked for a pause.
    Paused {
        /// Its reason.
        why: Arc<str>,
    },
    /// Until an operator says otherwise.
    Stopped {
        /// The operator's reason.
        why: Arc<str>,
    },
    /// A provider pushed back, and the lane climbs.
    Slowed {
        /// The rate at present.
        per_hour: u32,
        /// The provider's reason.
        why: Arc<str>,
    },
    /// A short window is full.
    Shaped(Shape),
}

/// A number of recipients reserved from a lane's budget. It has to be settled with [`Governor::settle`](crate::Governor::settle),
/// whole or split into parts; the recipients of a dropped permit stay reserved until its day is over.
#[must_use = "an unsettled permit is lost budget"]
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    pub(crate) lane: LaneId,
    pub(crate) date: Date,
    pub(crate) hour: i64,
    pub(crate) count: u32,
    pub(crate) durable: u64,
}

/// What became of the recipients of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider took them.
    Accepted,
    /// The provider refused them for good because the address is no good.
    HardBounce,
    /// The provider refused them for good for another reason.
    Refused,
    /// The provider put them off because of rate or reputation.
    Throttled,
    /// The provider put them off for another reason.
    Deferred,
    /// The provider blocks the sending address.
    Blocked,
    /// The provider never saw them: no connection, no TLS, or put off before MAIL. The budget comes back.
    GivenBack,
}

impl Permit {
    /// The lane it is for.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The civil day whose budget it is from.
    pub fn date(&self) -> Date {
        self.date
    }

    /// How many recipients. At least 1, at most what was asked for.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The batch of the ledger that has to be on disk before anything is offered to the provider; 0 for none.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Takes in another permit of the same lane, day and hour; gives it back where it is not.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        if (other.lane, other.date, other.hour) != (self.lane, self.date, self.hour) {
            return Err(other);
        }
        self.count += other.count;
        self.durable = self.durable.max(other.durable);
        Ok(())
    }

    /// Takes `count` recipients out of this permit into one of their own; `None` when that many are not in it, or none were asked for.
    pub fn split(&mut self, count: u32) -> Option<Self> {
        if count == 0 || count > self.count {
            return None;
        }
        self.count -= count;
        Some(Self { lane: self.lane, date: self.date, hour: self.hour, count, durable: self.durable })
    }
}
