//! The room that held mail may take, counted as mail comes.

use std::{collections::BTreeMap, sync::Arc};

use posthaste_mail::Name;
use posthaste_queue::{GuardedRow, MailOf};

/// How much is held at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomLimits {
    /// Of one user or stream.
    pub each: Amount,
    /// Of all of them together.
    pub all: Amount,
}

/// An amount of mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Bytes as stored.
    pub bytes: u64,
}

/// What is held: as the queue counted it last, and what came since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    counted: Vec<GuardedRow>,
    /// What came after the queue was asked, and what came before: the answer to the question holds that, but for what was on its way.
    since: Came,
    before: Came,
}

type Came = BTreeMap<(Option<Arc<str>>, Name), Amount>;

impl Room {
    /// The queue is asked what is held.
    pub fn asked(&mut self) {
        let since = std::mem::take(&mut self.since);
        for (whose, came) in since {
            self.before.entry(whose).or_default().add(came);
        }
    }

    /// What it answered.
    pub fn counted(&mut self, rows: Vec<GuardedRow>) {
        self.counted = rows;
        self.before.clear();
    }

    /// A message of this many bytes is taken in, and held.
    pub fn take(&mut self, user: Option<&str>, stream: &Name, bytes: u64) {
        self.since.entry((user.map(Into::into), stream.clone())).or_default().add(Amount { messages: 1, bytes });
    }

    /// How much is held of somebody; None: of everybody.
    pub fn held(&self, of: Option<&MailOf>) -> Amount {
        let fits = |user: Option<&str>, stream: &Name| of.is_none_or(|of| of.covers(user, stream));
        let mut held = Amount::default();
        for row in self.counted.iter().filter(|row| fits(row.user.as_deref(), &row.stream)) {
            held.add(Amount { messages: row.messages, bytes: row.bytes });
        }
        for ((user, stream), came) in self.since.iter().chain(&self.before) {
            if fits(user.as_deref(), stream) {
                held.add(*came);
            }
        }
        held
    }

    /// Whether a message of this many bytes has room among what is held of somebody.
    pub fn has_room(&self, of: &MailOf, bytes: u64, limits: &RoomLimits) -> bool {
        self.held(Some(of)).has_room(bytes, limits.each) && self.held(None).has_room(bytes, limits.all)
    }

    /// What the queue counted last.
    pub fn rows(&self) -> &[GuardedRow] {
        &self.counted
    }
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    fn has_room(self, bytes: u64, most: Self) -> bool {
        self.messages < most.messages && self.bytes.saturating_add(bytes) <= most.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_counted_until_the_queue_counts_it() {
        let (mut room, stream, shop) = (Room::default(), Name::new("news").unwrap(), MailOf::User("shop".into()));
        let each = Amount { messages: 3, bytes: 1000 };
        let limits = RoomLimits { each, all: Amount { messages: 4, bytes: 5000 } };
        for _ in 0..2 {
            assert!(room.has_room(&shop, 400, &limits));
            room.take(Some("shop"), &stream, 400);
        }
        assert!(room.has_room(&shop, 200, &limits) && !room.has_room(&shop, 201, &limits), "by bytes");
        room.asked();
        room.take(Some("shop"), &stream, 1);
        assert_eq!(room.held(Some(&shop)), Amount { messages: 3, bytes: 801 });
        assert!(!room.has_room(&shop, 0, &limits), "by messages");
        let row = GuardedRow {
            user: Some("shop".into()),
            stream: stream.clone(),
            messages: 2,
            recipients: 2,
            bytes: 800,
            oldest: jiff::Timestamp::UNIX_EPOCH,
        };
        room.counted(vec![row]);
        assert_eq!(room.held(Some(&shop)), Amount { messages: 3, bytes: 801 }, "what came after the question is not in the answer");
        let other = MailOf::User("other".into());
        assert!(room.has_room(&other, 0, &limits));
        room.take(None, &stream, 1);
        assert!(!room.has_room(&other, 0, &limits), "all together have as much as they may");
        assert_eq!(room.held(Some(&MailOf::Stream(stream))), Amount { messages: 4, bytes: 802 });
        room.asked();
        room.counted(Vec::new());
        assert_eq!(room.held(None), Amount::default());
    }
}
