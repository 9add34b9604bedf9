//! The messages that are owed: one small entry each, so that a million of them fit in memory.

use std::{collections::HashMap, sync::Arc};

use posthaste_mail::MessageId;
use posthaste_message::Letter;

/// The spool's number of a message.
pub type Seq = u64;
/// A recipient's place in its message's envelope.
pub type Rcpt = u16;
/// A domain's place in the dispatcher's list of domains.
pub type DomainIx = u32;
/// A stream's place in the dispatcher's list of streams.
pub(crate) type StreamIx = u16;

/// Where one recipient of one message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecipientState {
    /// Milliseconds since 1970: not tried before.
    pub(crate) due: i64,
    /// Its domain.
    pub(crate) domain: DomainIx,
    /// Attempts that ended.
    pub(crate) attempts: u16,
    /// What is the matter with it now.
    pub(crate) phase: Phase,
}

/// What is the matter with a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In a queue: waiting for its time, its route, its turn.
    Waiting,
    /// A session has it in hand.
    InFlight,
    /// The same, and an operator wants it gone: it goes unless that attempt delivers it.
    Cancelling,
    /// An operator holds it.
    Held,
    /// Its story is over.
    Ended,
}

/// A message with at least one recipient whose story is not over.
pub(crate) struct QueuedMessage {
    /// The id the client was told.
    pub(crate) id: MessageId,
    /// When it was accepted, milliseconds since 1970.
    pub(crate) arrived: i64,
    /// Its stream.
    pub(crate) stream: StreamIx,
    /// Rises when its groups are made anew: older groups in any queue are then void.
    pub(crate) epoch: u16,
    /// Bytes as stored.
    pub(crate) size: u32,
    /// The message itself, while it is fresh.
    pub(crate) warm: Option<Arc<Letter>>,
    states: States,
}

/// Nearly all messages have one recipient: those need no allocation.
enum States {
    One([RecipientState; 1]),
    Many(Box<[RecipientState]>),
}

impl QueuedMessage {
    /// A message with its recipients' states, in the envelope's order.
    pub(crate) fn new(id: MessageId, arrived: i64, stream: StreamIx, size: u32, states: Vec<RecipientState>) -> Self {
        let states = match <[RecipientState; 1]>::try_from(states) {
            Ok(one) => States::One(one),
            Err(many) => States::Many(many.into()),
        };
        Self { id, arrived, stream, epoch: 0, size, warm: None, states }
    }

    /// Every recipient's state.
    pub(crate) fn recipients(&self) -> &[RecipientState] {
        match &self.states {
            States::One(one) => one,
            States::Many(many) => many,
        }
    }

    /// Every recipient's state, to change.
    pub(crate) fn recipients_mut(&mut self) -> &mut [RecipientState] {
        match &mut self.states {
            States::One(one) => one,
            States::Many(many) => many,
        }
    }

    /// One recipient's state.
    pub(crate) fn recipient(&mut self, rcpt: Rcpt) -> &mut RecipientState {
        &mut self.recipients_mut()[usize::from(rcpt)]
    }

    /// Recipients whose story is not over.
    pub(crate) fn owed(&self) -> usize {
        self.recipients().iter().filter(|s| s.phase != Phase::Ended).count()
    }
}

/// Some recipients of one message that go the same way at the same time.
#[derive(Debug)]
pub(crate) struct RecipientGroup {
    /// The message.
    pub(crate) seq: Seq,
    /// Which of its recipients.
    pub(crate) rcpts: Rcpts,
    /// The message's epoch when the group was made.
    pub(crate) epoch: u16,
}

/// One recipient without an allocation, or several.
#[derive(Debug)]
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

/// All messages that are owed, by their number in the spool.
#[derive(Default)]
pub(crate) struct Table {
    messages: HashMap<Seq, QueuedMessage>,
    recipients: usize,
}

impl Table {
    /// Adds a message.
    pub(crate) fn insert(&mut self, seq: Seq, owed: QueuedMessage) {
        self.recipients += owed.owed();
        self.messages.insert(seq, owed);
    }

    /// A message, while it is owed.
    pub(crate) fn get(&self, seq: Seq) -> Option<&QueuedMessage> {
        self.messages.get(&seq)
    }

    /// A message, to change.
    pub(crate) fn get_mut(&mut self, seq: Seq) -> Option<&mut QueuedMessage> {
        self.messages.get_mut(&seq)
    }

    /// Ends one recipient's story; true when it was the message's last. The message then is forgotten.
    pub(crate) fn end(&mut self, seq: Seq, rcpt: Rcpt) -> bool {
        let Some(owed) = self.messages.get_mut(&seq) else { return true };
        let state = owed.recipient(rcpt);
        if state.phase != Phase::Ended {
            state.phase = Phase::Ended;
            self.recipients -= 1;
        }
        let gone = owed.owed() == 0;
        if gone {
            self.messages.remove(&seq);
        }
        gone
    }

    /// Takes out of a group what is still to be sent; None where nothing is left of it.
    pub(crate) fn open(&mut self, group: &RecipientGroup) -> Option<(&mut QueuedMessage, Vec<Rcpt>)> {
        let owed = self.messages.get_mut(&group.seq)?;
        if owed.epoch != group.epoch {
            return None;
        }
        let rcpts: Vec<Rcpt> =
            group.rcpts.as_slice().iter().copied().filter(|r| owed.recipients()[usize::from(*r)].phase == Phase::Waiting).collect();
        if rcpts.is_empty() { None } else { Some((owed, rcpts)) }
    }

    /// A group's first `n` recipients that are still to be sent, and the rest, if there is one.
    pub(crate) fn split(&mut self, group: &RecipientGroup, n: usize) -> Option<(RecipientGroup, RecipientGroup)> {
        let (seq, epoch) = (group.seq, group.epoch);
        let (_, mut first) = self.open(group)?;
        let rest = first.split_off(n.min(first.len()));
        let part = |rcpts: Vec<Rcpt>| RecipientGroup { seq, rcpts: Rcpts::new(rcpts), epoch };
        (!rest.is_empty()).then(|| (part(first), part(rest)))
    }

    /// Messages owed.
    pub(crate) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Recipients owed.
    pub(crate) fn recipients(&self) -> usize {
        self.recipients
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, &QueuedMessage)> {
        self.messages.iter().map(|(seq, owed)| (*seq, owed))
    }

    /// The number of the message with this id.
    pub(crate) fn find(&self, id: MessageId) -> Option<Seq> {
        self.iter().find(|(_, owed)| owed.id == id).map(|(seq, _)| seq)
    }
}
