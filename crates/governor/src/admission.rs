//! The answer to "may this lane send now?".

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};

use crate::{key::LaneId, shape::Shape};

/// Whether recipients may go now.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes: as many as the permit covers.
    Go(Permit),
    /// One recipient may go at this time if nothing else happens until then, and not a nanosecond earlier; and why not now.
    NotBefore(Timestamp, Hold),
}

/// Why a lane does not send now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The day's budget is used up.
    DayCap {
        /// The day's cap, in recipients.
        cap: u32,
        /// How much of it is used, reserved recipients included.
        used: u32,
    },
    /// The day's budget is spread over the day, and everything released so far is used.
    Spread {
        /// The day's cap, in recipients.
        cap: u32,
        /// How much of it is used, reserved recipients included.
        used: u32,
    },
    /// The hour's share of the budget is used up.
    HourCap {
        /// The cap of an hour, in recipients.
        cap: u32,
    },
    /// Outside the sending window, or a day off.
    Window,
    /// The clock went back into a day that is over, or to before a day whose budget was given already.
    DayOver,
    /// The lane pauses because the provider pushed back.
    Paused {
        /// The end of the pause; other limits may hold the lane back for longer.
        until: Timestamp,
        /// The provider's reason.
        why: Arc<str>,
    },
    /// Stopped until an operator resumes the lane.
    Stopped {
        /// The operator's reason.
        why: Arc<str>,
    },
    /// The provider pushed back, and the lane climbs back to its usual rate.
    Slowed {
        /// The current rate, in recipients an hour.
        per_hour: u32,
        /// The provider's reason.
        why: Arc<str>,
    },
    /// A limit of the shape (per second, minute, hour or 24 hours) is reached.
    Shaped(Shape),
}

impl Hold {
    /// Whether it is the consequence of a provider's push-back, and neither a limit of ours nor an operator's.
    pub fn is_push_back(&self) -> bool {
        matches!(self, Self::Paused { .. } | Self::Slowed { .. })
    }
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

/// What happened to the recipients of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider accepted them.
    Accepted,
    /// The provider rejected them for good because the address is invalid.
    HardBounce,
    /// The provider rejected them for good for another reason.
    Refused,
    /// The provider deferred them because of rate or reputation.
    Throttled,
    /// The provider deferred them for another reason.
    Deferred,
    /// The provider blocks the sending address.
    Blocked,
    /// The provider never saw them: no connection, no TLS, or a deferral before MAIL. The budget is returned.
    GivenBack,
}

impl Permit {
    /// The lane whose budget it reserves.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// The civil day whose budget it reserves.
    pub fn date(&self) -> Date {
        self.date
    }

    /// The number of recipients: at least 1, at most as many as were asked for.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The batch of the ledger that has to be on disk before anything is offered to the provider; 0 for none.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Merges another permit of the same lane, day and hour into this one; returns it as the error if it is of another.
    pub fn join(&mut self, other: Self) -> Result<(), Self> {
        if (other.lane, other.date, other.hour) != (self.lane, self.date, self.hour) {
            return Err(other);
        }
        self.count += other.count;
        self.durable = self.durable.max(other.durable);
        Ok(())
    }

    /// Moves `count` recipients from this permit into a new one; `None` if `count` is 0 or more than this permit holds.
    pub fn split(&mut self, count: u32) -> Option<Self> {
        if count == 0 || count > self.count {
            return None;
        }
        self.count -= count;
        Some(Self { lane: self.lane, date: self.date, hour: self.hour, count, durable: self.durable })
    }
}
