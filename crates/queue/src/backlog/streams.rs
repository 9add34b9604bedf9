//! Streams by number. Mail with a priority other than the usual one (RFC 6710) counts as a stream of its own, with queues and a share of
//! its own; everything else is common to the whole stream.

use posthaste_mail::{Name, TransferPriority};

use super::table::StreamIx;

/// The factor of a stream's share at each priority from -9 to 9: it doubles every two steps. The middle one is 64, not 1, so that the lower
/// ones are whole numbers.
const WEIGHTS: [u32; 19] = [3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448];

/// All streams that had mail.
#[derive(Default)]
pub(crate) struct Streams(Vec<Stream>);

struct Stream {
    name: Name,
    priority: TransferPriority,
    /// The number of its mail of usual priority.
    whole: StreamIx,
}

impl Streams {
    /// The number of a stream's mail of usual priority; true if it is new.
    pub(crate) fn whole_of(&mut self, name: &Name) -> (StreamIx, bool) {
        let usual = TransferPriority::default();
        match self.find(name, usual) {
            Some(ix) => (ix, false),
            None => (self.add(name.clone(), usual, None), true),
        }
    }

    /// The number of a stream's mail of this priority.
    pub(crate) fn part_of(&mut self, whole: StreamIx, priority: TransferPriority) -> StreamIx {
        if priority.is_usual() {
            return whole;
        }
        let name = self.name(whole).clone();
        self.find(&name, priority).unwrap_or_else(|| self.add(name, priority, Some(whole)))
    }

    /// The number that stands for all mail of a stream, for limits that count it together.
    pub(crate) fn whole(&self, ix: StreamIx) -> StreamIx {
        self.0[usize::from(ix)].whole
    }

    /// The numbers that stand for whole streams.
    pub(crate) fn wholes(&self) -> Vec<StreamIx> {
        (0..).zip(&self.0).filter(|(ix, stream)| stream.whole == *ix).map(|(ix, _)| ix).collect()
    }

    /// The name of a stream.
    pub(crate) fn name(&self, ix: StreamIx) -> &Name {
        &self.0[usize::from(ix)].name
    }

    /// The share of a connection that mail has, given its stream's share.
    pub(crate) fn share(&self, ix: StreamIx, share: u32) -> u32 {
        let place = self.0[usize::from(ix)].priority.get() - TransferPriority::MIN;
        share.saturating_mul(WEIGHTS[usize::from(place.unsigned_abs())])
    }

    fn find(&self, name: &Name, priority: TransferPriority) -> Option<StreamIx> {
        (0..).zip(&self.0).find(|(_, stream)| stream.name == *name && stream.priority == priority).map(|(ix, _)| ix)
    }

    fn add(&mut self, name: Name, priority: TransferPriority, whole: Option<StreamIx>) -> StreamIx {
        // A stream's name is configured, or falls back to one that is, and there are nineteen priorities: there are never many.
        let ix = StreamIx::try_from(self.0.len()).expect("there are never many streams");
        self.0.push(Stream { name, priority, whole: whole.unwrap_or(ix) });
        ix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_its_streams_name_and_a_share_of_its_own() {
        let mut streams = Streams::default();
        let (news, receipts) = (Name::new("news").unwrap(), Name::new("receipts").unwrap());
        let (whole, is_new) = streams.whole_of(&news);
        assert!(is_new && !streams.whole_of(&news).1 && streams.whole_of(&receipts).1);
        let parts = [-9, -1, 1, 2, 9].map(|n| streams.part_of(whole, TransferPriority::new(n).unwrap()));
        assert!(parts.iter().all(|part| streams.name(*part) == &news && streams.whole(*part) == whole && *part != whole));
        assert_eq!(streams.part_of(whole, TransferPriority::default()), whole);
        assert_eq!(streams.wholes().len(), 2);
        let usual = streams.share(whole, 10);
        let shares = parts.map(|part| f64::from(streams.share(part, 10)) / f64::from(usual));
        assert!(shares.is_sorted() && (shares[3] - 2.0).abs() < 0.01 && (shares[1] * shares[2] - 1.0).abs() < 0.01, "{shares:?}");
        assert!(shares[0] > 0.04 && shares[4] < 23.0, "nobody starves: {shares:?}");
    }
}
