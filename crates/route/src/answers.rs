//! Answers of DNS, and those that are kept. Whoever owns a domain decides how long its answers are, so what they take in memory is bounded, and not only
//! their number.

use std::{any::Any, net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::proto::rr::RecordType;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::order::Mx;

/// The answer to one DNS query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DnsAnswer<T> {
    /// At least one record. `aliased`: the names to which CNAMEs led from the one that was asked for.
    Found { records: Vec<T>, ttl: Duration, aliased: Vec<String> },
    /// The name exists without a record of this type.
    NoData { ttl: Duration },
    /// NXDOMAIN.
    NoSuchName { ttl: Duration },
    /// No answer, or one that says nothing about the name: SERVFAIL, refused, timed out, garbled.
    Unavailable { why: String },
}

/// Answers to questions, each for its time. Clones share them.
#[derive(Clone)]
pub(crate) struct Answers(Option<Cache<Question, Arc<Kept>>>);

type Question = (Box<str>, RecordType);

struct Kept {
    /// A [`DnsAnswer`] of records of one type.
    answer: Box<dyn Any + Send + Sync>,
    until: Instant,
    /// In units of [`ANSWER`].
    weight: u32,
}

/// What routing reads of a record.
pub(crate) trait Record: Clone + Send + Sync + 'static {
    /// The memory that it takes outside of itself, in bytes.
    fn bytes(&self) -> usize;
}

/// What an answer is counted as, at least, in bytes: with its name and its place among others.
const ANSWER: usize = 1024;

impl Answers {
    /// Keeps as many answers of up to a KiB; longer ones count as several. 0: none.
    pub(crate) fn new(most: usize) -> Self {
        let keep = || Cache::builder().max_capacity(most as u64).weigher(|_: &Question, kept: &Arc<Kept>| kept.weight).build();
        Self((most > 0).then(keep))
    }

    /// The answer to a question, with the time for which it still holds.
    pub(crate) fn get<T: Record>(&self, name: &str, kind: RecordType, now: Instant) -> Option<DnsAnswer<T>> {
        let kept = self.0.as_ref()?.get(&(name.into(), kind))?;
        let left = kept.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(match kept.answer.downcast_ref::<DnsAnswer<T>>()?.clone() {
            DnsAnswer::Found { records, aliased, .. } => DnsAnswer::Found { records, ttl: left, aliased },
            DnsAnswer::NoData { .. } => DnsAnswer::NoData { ttl: left },
            DnsAnswer::NoSuchName { .. } => DnsAnswer::NoSuchName { ttl: left },
            unavailable @ DnsAnswer::Unavailable { .. } => unavailable,
        })
    }

    /// Keeps an answer for its time, unless it says nothing about the name.
    pub(crate) fn keep<T: Record>(&self, name: &str, kind: RecordType, answer: &DnsAnswer<T>, now: Instant) {
        let (Some(cache), Some(ttl)) = (&self.0, ttl_of(answer)) else { return };
        let weight = u32::try_from((name.len() + bytes(answer)).div_ceil(ANSWER)).unwrap_or(u32::MAX).max(1);
        cache.insert((name.into(), kind), Arc::new(Kept { answer: Box::new(answer.clone()), until: now + ttl, weight }));
    }
}

fn ttl_of<T>(answer: &DnsAnswer<T>) -> Option<Duration> {
    match answer {
        DnsAnswer::Found { ttl, .. } | DnsAnswer::NoData { ttl } | DnsAnswer::NoSuchName { ttl } => Some(*ttl),
        DnsAnswer::Unavailable { .. } => None,
    }
}

fn bytes<T: Record>(answer: &DnsAnswer<T>) -> usize {
    let DnsAnswer::Found { records, aliased, .. } = answer else { return 0 };
    let aliases: usize = aliased.iter().map(|name| size_of::<String>() + name.capacity()).sum();
    records.iter().map(|record| size_of::<T>() + record.bytes()).sum::<usize>() + aliases
}

impl Record for Mx {
    fn bytes(&self) -> usize {
        self.exchange.capacity()
    }
}

impl Record for String {
    fn bytes(&self) -> usize {
        self.capacity()
    }
}

impl Record for IpAddr {
    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
    fn begin() -> Instant {
        Instant::now()
    }

    fn mx(records: usize, length: usize) -> DnsAnswer<Mx> {
        let record = Mx { preference: 10, exchange: "x".repeat(length) };
        DnsAnswer::Found { records: vec![record; records], ttl: Duration::from_secs(3600), aliased: Vec::new() }
    }

    #[test]
    fn an_answer_is_kept_for_its_time() {
        let answers = Answers::new(10);
        let now = begin();
        let after = |seconds| now + Duration::from_secs(seconds);
        answers.keep("a.example", RecordType::MX, &mx(1, 10), now);
        let Some(DnsAnswer::Found { ttl, .. }) = answers.get::<Mx>("a.example", RecordType::MX, after(3000)) else { panic!("it is gone") };
        assert_eq!(ttl, Duration::from_secs(600));
        assert_eq!(answers.get::<Mx>("b.example", RecordType::MX, now), None);
        assert_eq!(answers.get::<IpAddr>("a.example", RecordType::A, now), None);
        assert_eq!(answers.get::<Mx>("a.example", RecordType::MX, after(3600)), None);
        answers.keep("c.example", RecordType::A, &DnsAnswer::<IpAddr>::Unavailable { why: "no answer".into() }, now);
        assert_eq!(answers.get::<IpAddr>("c.example", RecordType::A, now), None);
    }

    #[test]
    fn long_answers_count_as_many() {
        let (answers, now) = (Answers::new(1000), begin());
        for n in 0..200 {
            // A few hundred KiB each.
            answers.keep(&format!("d{n}.example"), RecordType::MX, &mx(2000, 200), now);
        }
        let cache = answers.0.as_ref().unwrap();
        cache.run_pending_tasks();
        let kept: usize = cache.iter().map(|(_, kept)| bytes(kept.answer.downcast_ref::<DnsAnswer<Mx>>().unwrap())).sum();
        assert!(kept > 0 && kept <= 1000 * ANSWER, "{kept} bytes");
        // Short ones have room for as many as were asked for.
        let answers = Answers::new(1000);
        (0..1000).for_each(|n| answers.keep(&format!("d{n}.example"), RecordType::MX, &mx(2, 20), now));
        let cache = answers.0.as_ref().unwrap();
        cache.run_pending_tasks();
        assert_eq!(cache.entry_count(), 1000);
    }
}
