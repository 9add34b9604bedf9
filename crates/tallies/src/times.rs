//! How long things took.

use std::sync::LazyLock;

use sketches_ddsketch::Config;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Time {
    /// From a recipient's acceptance to its delivery, without the time that its sender had it wait (RFC 4865).
    Delivery = 0,
    /// The same to its first attempt, for those that are delivered by it.
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

/// The times of a cell, in milliseconds, from which any quantile can be read with an error of 2 %: DDSketch's buckets
/// (<https://arxiv.org/abs/1908.10693>), of which most cells need a few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(pub(crate) [Buckets; Time::ALL.len()]);

/// How often each bucket was met, by its number, rising.
pub(crate) type Buckets = Vec<(u16, u64)>;

impl Times {
    /// Counts so many more in a bucket.
    pub(crate) fn add_to(&mut self, time: Time, bucket: u16, more: u64) {
        add(&mut self.0[time as usize], bucket, more);
    }

    /// How many were measured.
    pub fn count(&self, time: Time) -> u64 {
        self.0[time as usize].iter().map(|(_, count)| *count).fold(0, u64::saturating_add)
    }

    /// The time, in milliseconds, that this share (0 to 1) of them did not exceed; None if there are none.
    pub fn quantile(&self, time: Time, share: f64) -> Option<f64> {
        let rank = (share.clamp(0.0, 1.0) * (self.count(time).checked_sub(1)? as f64)) as u64;
        let mut below = 0_u64;
        let (bucket, _) = self.0[time as usize].iter().find(|(_, count)| {
            below = below.saturating_add(*count);
            below > rank
        })?;
        Some(MAPPING.value((*bucket).into()))
    }

    /// Adds others.
    pub fn merge(&mut self, others: &Self) {
        for (mine, others) in self.0.iter_mut().zip(&others.0) {
            others.iter().for_each(|(bucket, count)| add(mine, *bucket, *count));
        }
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

fn add(buckets: &mut Buckets, bucket: u16, count: u64) {
    match buckets.binary_search_by_key(&bucket, |(number, _)| *number) {
        Ok(at) => buckets[at].1 = buckets[at].1.saturating_add(count),
        Err(at) => buckets.insert(at, (bucket, count)),
    }
}

/// The bucket of a time. Nothing is shorter than a millisecond, nor longer than some months.
pub(crate) fn bucket(milliseconds: u64) -> u16 {
    u16::try_from(MAPPING.key(milliseconds.clamp(1, 1 << 34) as f64)).unwrap_or(0)
}

/// 2 % of error: 600 buckets for a millisecond to half a year.
static MAPPING: LazyLock<Config> = LazyLock::new(|| Config::new(0.02, 2048, 1e-9));
