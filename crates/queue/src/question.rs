//! What can be asked of the queue, as values: each question brings along where its answer goes.

use jiff::Timestamp;
use posthaste_mail::Name;
use tokio::sync::oneshot;

use crate::{
    dispatcher::Dispatcher,
    exchange::Action,
    operator::{
        steer::{Counts, LaneRow, MessageRow, Selection},
        why::{LaneNow, Waits},
    },
    warmup,
};

/// Where an answer goes. Whoever asked may be gone by then.
pub type Reply<T> = oneshot::Sender<T>;

/// A question, or a change that an operator wants.
#[derive(Debug)]
pub enum Question {
    /// The queue's table.
    Overview(Reply<Overview>),
    /// Some of the messages that fit, and how many there are.
    Messages {
        /// Which.
        selection: Selection,
        /// How many at most.
        limit: usize,
        /// The answer.
        reply: Reply<Page>,
    },
    /// Change what becomes of the messages that fit.
    Change {
        /// Which.
        selection: Selection,
        /// How.
        change: Change,
        /// How many messages it concerned.
        reply: Reply<usize>,
    },
    /// Why mail waits.
    Waiting {
        /// Which.
        selection: Selection,
        /// How many recipients at most.
        limit: usize,
        /// The lanes to tell about: a provider and the sources that could send there.
        lanes: Option<(Name, Vec<Name>)>,
        /// The answer.
        reply: Reply<Waiting>,
    },
    /// When the oldest message that waits was accepted.
    Oldest(Reply<Option<Timestamp>>),
    /// Look at the warm-up, or steer it.
    Warmup {
        /// What.
        ask: warmup::Ask,
        /// The answer.
        reply: Reply<warmup::Answer>,
    },
    /// Give back the budget that is leased and not used; for a stop, when no session is left.
    ReturnLeases(Reply<()>),
    /// Nothing: answered once everything that came before is done.
    Barrier(Reply<()>),
}

/// What an operator does to messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make them due now.
    Retry,
    /// Keep them back.
    Hold {
        /// Why, for the log.
        reason: String,
    },
    /// Let them go.
    Release {
        /// Who.
        by: String,
    },
    /// Remove them.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

/// The queue's table.
#[derive(Debug)]
pub struct Overview {
    /// The whole.
    pub counts: Counts,
    /// By provider, the fullest first.
    pub lanes: Vec<LaneRow>,
}

/// Some messages of many.
#[derive(Debug)]
pub struct Page {
    /// The first of them.
    pub rows: Vec<MessageRow>,
    /// How many there are.
    pub total: usize,
}

/// Recipients that wait, and the lanes that could take them.
#[derive(Debug)]
pub struct Waiting {
    /// By source; those that never sent to the provider are left out.
    pub lanes: Vec<(Name, LaneNow)>,
    /// The recipients of the oldest messages.
    pub recipients: Vec<Waits>,
    /// How many there are.
    pub total: usize,
}

impl Dispatcher {
    /// Answers a question at `now`, and says what is to be done about it.
    pub fn answer(&mut self, question: Question, now: Timestamp) -> Vec<Action> {
        match question {
            Question::Overview(reply) => {
                let _ = reply.send(Overview { counts: self.counts(now), lanes: self.lane_rows(now) });
            }
            Question::Messages { selection, limit, reply } => {
                let (rows, total) = self.message_rows(&selection, limit);
                let _ = reply.send(Page { rows, total });
            }
            Question::Change { selection, change, reply } => {
                let (messages, actions) = match change {
                    Change::Retry => self.retry(&selection, now),
                    Change::Hold { reason } => self.hold(&selection, &reason, now),
                    Change::Release { by } => self.release(&selection, &by, now),
                    Change::Cancel { by, reason } => self.cancel(&selection, &by, &reason, now),
                };
                let _ = reply.send(messages);
                return actions;
            }
            Question::Waiting { selection, limit, lanes, reply } => {
                let lanes = lanes.map(|(provider, sources)| self.lanes_now(&provider, &sources, now)).unwrap_or_default();
                let (recipients, total) = self.waits(&selection, limit, now);
                let _ = reply.send(Waiting { lanes, recipients, total });
            }
            Question::Oldest(reply) => {
                let _ = reply.send(self.lane_rows(now).iter().filter_map(|row| row.oldest).min());
            }
            Question::Warmup { ask, reply } => {
                let (answer, actions) = self.warmup(&ask, now);
                let _ = reply.send(answer);
                return actions;
            }
            Question::ReturnLeases(reply) => {
                let actions = self.return_leases(now);
                let _ = reply.send(());
                return actions;
            }
            Question::Barrier(reply) => {
                let _ = reply.send(());
            }
        }
        Vec::new()
    }
}
