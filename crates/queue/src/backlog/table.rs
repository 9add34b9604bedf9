//! The queued messages: one small entry each, so that a million of them fit in memory.

use std::sync::Arc;

use posthaste_mail::MessageId;
use posthaste_message::Message;

use super::ids::Ids;
use crate::numbers::NumberMap;

/// A message's number in the spool.
pub type Seq = u64;
/// A recipient's position in its message's envelope.
pub type Rcpt = u16;
/// A domain's number in the dispatcher.
pub type DomainIx = u32;
/// A stream's number in the dispatcher.
pub(crate) type StreamIx = u16;

/// How a sender gave the time before which a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOff {
    /// As a time by the clock, which it stays whatever is done with the clock (HOLDUNTIL, a header field, the API).
    Until,
    /// As a wait from the message's acceptance (HOLDFOR).
    For,
}

/// The state of one recipient of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecipientState {
    /// The recipient is not tried before this time, in milliseconds since 1970.
    pub(crate) due: i64,
    /// Its domain.
    pub(crate) domain: DomainIx,
    /// Attempts that have ended.
    pub(crate) attempts: u16,
    /// How often it was due since the last of them and not tried, because its hosts were just out of reach.
    pub(crate) passed: u8,
    /// Where it is between acceptance and its end.
    pub(crate) phase: Phase,
}

/// Where a recipient is between acceptance and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In a queue: it waits for its time, its route or its turn.
    Waiting,
    /// A session is delivering to it.
    InFlight,
    /// A session is delivering to it, and an operator has removed it: it ends unless that attempt delivers.
    Cancelling,
    /// An operator holds it.
    Held,
    /// Delivered, bounced, expired, suppressed or removed.
    Ended,
}

/// A message with at least one recipient that has not ended.
pub(crate) struct QueuedMessage {
    /// The id that the client was told.
    pub(crate) id: MessageId,
    /// When it was accepted, or the time before which its sender does not want it sent, in milliseconds since 1970.
    pub(crate) arrived: i64,
    /// Its stream.
    pub(crate) stream: StreamIx,
    /// Raised when its recipients are grouped again: groups of an older epoch are void, whichever queue they are in.
    pub(crate) epoch: u16,
    /// Bytes as stored.
    pub(crate) size: u32,
    /// The message itself, while it is kept in memory.
    pub(crate) warm: Option<Arc<Message>>,
    recipients: States,
}

// Four more bits would cost 16 bytes.
const _: () = assert!(size_of::<QueuedMessage>() == 64, "a million of them wait");

/// The recipients' states. Nearly all messages have one recipient, which needs no allocation. Beside them is room for how the message was put off.
enum States {
    One(Option<PutOff>, [RecipientState; 1]),
    Many(Option<PutOff>, Box<[RecipientState]>),
}

impl RecipientState {
    /// The number of the wait that it is in or comes to next.
    pub(crate) fn waits(&self) -> u32 {
        (u32::from(self.attempts) + u32::from(self.passed)).max(1)
    }
}

impl QueuedMessage {
    /// A message with its recipients' states, in the envelope's order.
    pub(crate) fn new(
        id: MessageId,
        (arrived, put_off): (i64, Option<PutOff>),
        stream: StreamIx,
        size: u32,
        recipients: Vec<RecipientState>,
    ) -> Self {
        let recipients = match <[RecipientState; 1]>::try_from(recipients) {
            Ok(one) => States::One(put_off, one),
            Err(many) => States::Many(put_off, many.into()),
        };
        Self { id, arrived, stream, epoch: 0, size, warm: None, recipients }
    }

    /// How its sender gave the time before which it is not sent; None: the sender gave none.
    pub(crate) fn put_off(&self) -> Option<PutOff> {
        let (States::One(put_off, _) | States::Many(put_off, _)) = &self.recipients;
        *put_off
    }

    /// Every recipient's state.
    pub(crate) fn recipients(&self) -> &[RecipientState] {
        match &self.recipients {
            States::One(_, one) => one,
            States::Many(_, many) => many,
        }
    }

    /// Every recipient's state, to change.
    pub(crate) fn recipients_mut(&mut self) -> &mut [RecipientState] {
        match &mut self.recipients {
            States::One(_, one) => one,
            States::Many(_, many) => many,
        }
    }

    /// One recipient's state.
    pub(crate) fn recipient(&self, rcpt: Rcpt) -> &RecipientState {
        &self.recipients()[usize::from(rcpt)]
    }

    /// One recipient's state, to change.
    pub(crate) fn recipient_mut(&mut self, rcpt: Rcpt) -> &mut RecipientState {
        &mut self.recipients_mut()[usize::from(rcpt)]
    }

    /// Whether a recipient waits for the time before which its sender does not want it sent: the message's age counts from then. What was accepted
    /// while the clock was ahead is no such message.
    pub(crate) fn is_scheduled(&self, recipient: &RecipientState, now: i64) -> bool {
        self.put_off().is_some()
            && recipient.phase == Phase::Waiting
            && recipient.attempts == 0
            && self.arrived > now
            && recipient.due >= self.arrived
    }

    /// The recipients that have not ended.
    pub(crate) fn queued(&self) -> impl Iterator<Item = (Rcpt, &RecipientState)> {
        (0..).zip(self.recipients()).filter(|(_, recipient)| recipient.phase != Phase::Ended)
    }

    /// The recipients of a group that are still to be sent; none when the group is void.
    fn still_waiting(&self, group: &RecipientGroup) -> impl Iterator<Item = Rcpt> {
        let rcpts = if self.epoch == group.epoch { group.rcpts.as_slice() } else { &[] };
        rcpts.iter().copied().filter(|rcpt| self.recipient(*rcpt).phase == Phase::Waiting)
    }
}

/// Some recipients of one message that go to the same domain, or over the same hosts, at the same time.
#[derive(Clone, Debug)]
pub(crate) struct RecipientGroup {
    /// The message.
    pub(crate) seq: Seq,
    /// Which of its recipients.
    pub(crate) rcpts: Rcpts,
    /// The message's epoch when the group was made.
    pub(crate) epoch: u16,
}

/// One recipient without an allocation, or several.
#[derive(Clone, Debug)]
pub(crate) enum Rcpts {
    /// One.
    One([Rcpt; 1]),
    /// Several.
    Many(Box<[Rcpt]>),
}

impl Rcpts {
    /// From a list that is not empty.
    pub(crate) fn new(list: Vec<Rcpt>) -> Self {
        match <[Rcpt; 1]>::try_from(list) {
            Ok(one) => Self::One(one),
            Err(many) => Self::Many(many.into()),
        }
    }

    /// The recipients.
    pub(crate) fn as_slice(&self) -> &[Rcpt] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

/// All queued messages, by their number in the spool.
#[derive(Default)]
pub(crate) struct Table {
    messages: NumberMap<Seq, QueuedMessage>,
    ids: Ids,
    recipients: usize,
}

/// Room for so many messages is no burden.
const FEW: usize = 1024;

impl Table {
    /// Adds a message.
    pub(crate) fn insert(&mut self, seq: Seq, message: QueuedMessage) {
        self.recipients += message.queued().count();
        self.ids.insert(message.id, seq);
        self.messages.insert(seq, message);
    }

    /// A message, while it is queued.
    pub(crate) fn get(&self, seq: Seq) -> Option<&QueuedMessage> {
        self.messages.get(&seq)
    }

    /// A message, to change.
    pub(crate) fn get_mut(&mut self, seq: Seq) -> Option<&mut QueuedMessage> {
        self.messages.get_mut(&seq)
    }

    /// Ends one recipient. Returns its domain and whether it was the message's last, after which the message is forgotten; None if it had
    /// ended before.
    pub(crate) fn end(&mut self, seq: Seq, rcpt: Rcpt) -> Option<(DomainIx, bool)> {
        let message = self.messages.get_mut(&seq)?;
        let recipient = message.recipient_mut(rcpt);
        if recipient.phase == Phase::Ended {
            return None;
        }
        recipient.phase = Phase::Ended;
        let domain = recipient.domain;
        self.recipients -= 1;
        let last = message.queued().next().is_none();
        if last {
            self.ids.remove(message.id, seq);
            self.messages.remove(&seq);
        }
        Some((domain, last))
    }

    /// A group's stream, and how many of its recipients are still to be sent; None when nothing is left of it.
    pub(crate) fn count(&self, group: &RecipientGroup) -> Option<(StreamIx, usize)> {
        let message = self.messages.get(&group.seq)?;
        let count = message.still_waiting(group).count();
        (count > 0).then_some((message.stream, count))
    }

    /// A group's message and those recipients that are still to be sent; None when nothing is left of the group.
    pub(crate) fn open(&self, group: &RecipientGroup) -> Option<(&QueuedMessage, Vec<Rcpt>)> {
        let message = self.messages.get(&group.seq)?;
        let rcpts: Vec<Rcpt> = message.still_waiting(group).collect();
        (!rcpts.is_empty()).then_some((message, rcpts))
    }

    /// The same, to change.
    pub(crate) fn open_mut(&mut self, group: &RecipientGroup) -> Option<(&mut QueuedMessage, Vec<Rcpt>)> {
        let message = self.messages.get_mut(&group.seq)?;
        let rcpts: Vec<Rcpt> = message.still_waiting(group).collect();
        (!rcpts.is_empty()).then_some((message, rcpts))
    }

    /// A group's first `n` recipients that are still to be sent, and the rest, if there is one; None when nothing is left of the group.
    pub(crate) fn split(&self, group: &RecipientGroup, n: usize) -> Option<(RecipientGroup, Option<RecipientGroup>)> {
        let (seq, epoch) = (group.seq, group.epoch);
        let (_, mut first) = self.open(group)?;
        let rest = first.split_off(n.min(first.len()));
        let part = |rcpts: Vec<Rcpt>| RecipientGroup { seq, rcpts: Rcpts::new(rcpts), epoch };
        Some((part(first), (!rest.is_empty()).then(|| part(rest))))
    }

    /// Messages that are queued.
    pub(crate) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Recipients that are queued.
    pub(crate) fn recipients(&self) -> usize {
        self.recipients
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, &QueuedMessage)> {
        self.messages.iter().map(|(seq, message)| (*seq, message))
    }

    /// Gives back what a burst of messages took.
    pub(crate) fn give_back(&mut self) {
        if self.messages.capacity() / 8 > self.messages.len().max(FEW) {
            self.messages.shrink_to(2 * self.messages.len());
            self.ids.shrink();
        }
    }

    /// The same, to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut QueuedMessage> {
        self.messages.values_mut()
    }

    /// The number of the message with this id.
    pub(crate) fn find(&self, id: MessageId) -> Option<Seq> {
        self.ids.find(id, |seq| self.get(seq).is_some_and(|message| message.id == id))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut table = Table::default();
        let state = RecipientState { due: 0, domain: 1, attempts: 0, passed: 0, phase: Phase::Waiting };
        for seq in 0..100_000 {
            let id = MessageId::new(Timestamp::UNIX_EPOCH, u128::from(seq));
            table.insert(seq, QueuedMessage::new(id, (0, None), 0, 1, vec![state]));
        }
        table.give_back();
        assert!(table.messages.capacity() >= 100_000);
        for seq in 10..100_000 {
            assert!(table.end(seq, 0).is_some());
        }
        table.give_back();
        assert!(table.messages.len() == 10 && table.messages.capacity() < 1000, "{}", table.messages.capacity());
        let known = MessageId::new(Timestamp::UNIX_EPOCH, 9);
        assert_eq!(table.find(known), Some(9));
    }
}
