//! Streams by number. Mail with a priority other than the usual one (RFC 6710) counts as a stream of its own, with queues and a share of
//! its own; everything else is common to the whole stream. Each user's mail has a number of its own too, so that users of one stream take
//! turns.

use std::{collections::HashMap, sync::Arc};

use posthaste_mail::{Name, TransferPriority};

use super::table::StreamIx;

/// The factor of a stream's share at each priority from -9 to 9: it doubles every two steps. The middle one is 64, not 1, so that the lower
/// ones are whole numbers.
const WEIGHTS: [u32; 19] = [3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448];
/// The numbers that users' mail may take up; mail of further users counts as that of nobody. The rest is for streams and priorities.
const USERS_MAX: usize = 60_000;

/// A user's number; 0 is nobody.
type UserIx = u16;

/// Whose mail it is: connections and look-ups are shared out among streams, and in a stream among its users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    pub(crate) stream: StreamIx,
    pub(crate) user: UserIx,
}

impl Party {
    /// A number that no other stream and user have.
    pub fn number(self) -> u32 {
        u32::from(self.stream) << 16 | u32::from(self.user)
    }
}

/// All streams that had mail.
#[derive(Default)]
pub(crate) struct Streams {
    streams: Vec<Stream>,
    users: HashMap<Arc<str>, UserIx>,
    /// The numbers of users' mail, by the number of the same mail of nobody.
    of_users: HashMap<(StreamIx, UserIx), StreamIx>,
}

struct Stream {
    name: Name,
    priority: TransferPriority,
    /// The number of its mail of usual priority, of nobody.
    whole: StreamIx,
    /// The number of its mail of this priority, of nobody.
    part: StreamIx,
    user: UserIx,
}

impl Streams {
    /// The number of a stream's mail of usual priority; true if it is new.
    pub(crate) fn whole_of(&mut self, name: &Name) -> (StreamIx, bool) {
        let usual = TransferPriority::default();
        match self.find(name, usual) {
            Some(ix) => (ix, false),
            None => {
                let whole = self.next();
                self.streams.push(Stream { name: name.clone(), priority: usual, whole, part: whole, user: 0 });
                (whole, true)
            }
        }
    }

    /// The number of a stream's mail of this priority and user.
    pub(crate) fn part_of(&mut self, whole: StreamIx, priority: TransferPriority, user: Option<&str>) -> StreamIx {
        let part = match priority.is_usual() {
            true => whole,
            false => {
                let name = self.name(whole).clone();
                self.find(&name, priority).unwrap_or_else(|| {
                    let part = self.next();
                    self.streams.push(Stream { name, priority, whole, part, user: 0 });
                    part
                })
            }
        };
        user.map_or(part, |user| self.of_user(part, user))
    }

    fn of_user(&mut self, part: StreamIx, user: &str) -> StreamIx {
        let is_full = self.of_users.len() >= USERS_MAX;
        let known = self.users.get(user).copied();
        // Numbers from 1, as many as there may be numbers of users' mail at most.
        let next = UserIx::try_from(self.users.len() + 1).ok().filter(|_| !is_full);
        let Some(user_ix) = known.or(next) else { return part };
        if let Some(ix) = self.of_users.get(&(part, user_ix)) {
            return *ix;
        }
        if is_full {
            return part;
        }
        self.users.entry(user.into()).or_insert(user_ix);
        let (ix, Stream { name, priority, whole, .. }) = (self.next(), &self.streams[usize::from(part)]);
        let stream = Stream { name: name.clone(), priority: *priority, whole: *whole, part, user: user_ix };
        self.streams.push(stream);
        self.of_users.insert((part, user_ix), ix);
        ix
    }

    /// The number that stands for all mail of a stream, for limits that count it together.
    pub(crate) fn whole(&self, ix: StreamIx) -> StreamIx {
        self.streams[usize::from(ix)].whole
    }

    /// The number that stands for a stream's mail of one priority, whoever's it is.
    pub(crate) fn part(&self, ix: StreamIx) -> StreamIx {
        self.streams[usize::from(ix)].part
    }

    /// Whose mail it is.
    pub(crate) fn party(&self, ix: StreamIx) -> Party {
        let stream = &self.streams[usize::from(ix)];
        Party { stream: stream.whole, user: stream.user }
    }

    /// Whether mail is this user's. Users beyond those that have numbers have none that is known as theirs.
    pub(crate) fn is_of(&self, ix: StreamIx, user: &str) -> bool {
        self.users.get(user).is_some_and(|number| self.streams[usize::from(ix)].user == *number)
    }

    /// The numbers that stand for whole streams.
    pub(crate) fn wholes(&self) -> Vec<StreamIx> {
        (0..).zip(&self.streams).filter(|(ix, stream)| stream.whole == *ix).map(|(ix, _)| ix).collect()
    }

    /// The name of a stream.
    pub(crate) fn name(&self, ix: StreamIx) -> &Name {
        &self.streams[usize::from(ix)].name
    }

    /// The share of a connection that mail has, given its stream's share.
    pub(crate) fn share(&self, ix: StreamIx, share: u32) -> u32 {
        let place = self.streams[usize::from(ix)].priority.get() - TransferPriority::MIN;
        share.saturating_mul(WEIGHTS[usize::from(place.unsigned_abs())])
    }

    /// Mail of nobody: there are few streams and priorities, and users' mail may be far behind.
    fn find(&self, name: &Name, priority: TransferPriority) -> Option<StreamIx> {
        let is_it = |stream: &Stream| stream.user == 0 && stream.priority == priority && stream.name == *name;
        (0..).zip(&self.streams).find(|(_, stream)| is_it(stream)).map(|(ix, _)| ix)
    }

    fn next(&self) -> StreamIx {
        // A stream's name is configured, or falls back to one that is, there are nineteen priorities, and users are limited.
        StreamIx::try_from(self.streams.len()).expect("there are never many streams")
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
        let parts = [-9, -1, 1, 2, 9].map(|n| streams.part_of(whole, TransferPriority::new(n).unwrap(), None));
        assert!(parts.iter().all(|part| streams.name(*part) == &news && streams.whole(*part) == whole && *part != whole));
        assert_eq!(streams.part_of(whole, TransferPriority::default(), None), whole);
        assert_eq!(streams.wholes().len(), 2);
        let usual = streams.share(whole, 10);
        let shares = parts.map(|part| f64::from(streams.share(part, 10)) / f64::from(usual));
        assert!(shares.is_sorted() && (shares[3] - 2.0).abs() < 0.01 && (shares[1] * shares[2] - 1.0).abs() < 0.01, "{shares:?}");
        assert!(shares[0] > 0.04 && shares[4] < 23.0, "nobody starves: {shares:?}");
    }
    #[test]
    fn a_users_mail_has_numbers_of_its_own_and_its_streams_part_and_whole() {
        let mut streams = Streams::default();
        let (whole, urgent) = (streams.whole_of(&Name::new("news").unwrap()).0, TransferPriority::new(3).unwrap());
        let (other, _) = streams.whole_of(&Name::new("other").unwrap());
        let ann = streams.part_of(whole, TransferPriority::default(), Some("ann"));
        let ann_urgent = streams.part_of(whole, urgent, Some("ann"));
        let bob = streams.part_of(whole, TransferPriority::default(), Some("bob"));
        let elsewhere = streams.part_of(other, TransferPriority::default(), Some("ann"));
        assert_eq!(streams.part_of(whole, TransferPriority::default(), Some("ann")), ann);
        assert_eq!([ann, ann_urgent, bob].map(|ix| streams.whole(ix)), [whole; 3]);
        assert_eq!((streams.part(ann), streams.part(ann_urgent)), (whole, streams.part_of(whole, urgent, None)));
        assert_eq!(streams.party(ann), streams.party(ann_urgent), "a user's connections count together");
        let parties = [whole, ann, bob, elsewhere].map(|ix| streams.party(ix).number());
        assert!((0..4).all(|a| (0..a).all(|b| parties[a] != parties[b])), "{parties:?}");
        assert_eq!(streams.wholes(), [whole, other]);
    }

    #[test]
    fn more_users_than_there_are_numbers_share_one() {
        let mut streams = Streams::default();
        let (whole, _) = streams.whole_of(&Name::new("news").unwrap());
        let usual = TransferPriority::default();
        let numbers: std::collections::HashSet<_> = (0..70_000).map(|n| streams.part_of(whole, usual, Some(&format!("user{n}")))).collect();
        assert_eq!(numbers.len(), USERS_MAX + 1);
        assert_eq!(streams.part_of(whole, usual, Some("user69999")), whole);
        let known = streams.part_of(whole, usual, Some("user1"));
        assert!(known != whole && streams.part_of(whole, TransferPriority::new(1).unwrap(), Some("user1")) != known);
        assert!(!streams.whole_of(&Name::new("news").unwrap()).1 && streams.whole_of(&Name::new("receipts").unwrap()).1);
    }
}
