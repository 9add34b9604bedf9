//! What the dispatcher is told, and what it wants done.

use std::{collections::HashSet, sync::Arc};

use jiff::{Timestamp, civil::Date};
use posthaste_bounce::Verdict;
use posthaste_governor::{Batch, LaneChange, LaneKey, Permit, Plan};
use posthaste_mail::{Attempt, Domain, Failure, MessageId, Name, Reply, TransferPriority};
use posthaste_message::{Letter, Progress};

use crate::Way;
use crate::{Deadline, DomainIx, Policy, Rcpt, Seq, SessionId, Unroutable, Wait};

/// A message that the spool has: new, or found there at the start.
#[derive(Debug)]
pub struct Arrival {
    /// Its number in the spool.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Its stream.
    pub stream: Name,
    /// How it stands among others of its stream.
    pub priority: TransferPriority,
    /// By when its sender wants it delivered, where it said so.
    pub deliver_by: Option<Deadline>,
    /// Bytes as stored.
    pub size: u64,
    /// Every recipient's domain, in the envelope's order.
    pub domains: Vec<Domain>,
    /// Where they stand; None for a new message.
    pub progress: Option<Progress>,
    /// The message itself, if it is in memory.
    pub warm: Option<Arc<Letter>>,
}

/// What a session is to send.
#[derive(Debug)]
pub struct Load {
    /// The message.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// To whom of its recipients.
    pub rcpts: Vec<Rcpt>,
    /// Which attempt it is, 1 for the first; the largest where recipients differ.
    pub attempt: u32,
    /// The message, if it is in memory.
    pub warm: Option<Arc<Letter>>,
    /// Its part of the lane's budget. A load without one has nothing to offer.
    pub permit: Option<Box<Permit>>,
    /// The day from whose budget that is, where the source warms up.
    pub lane_day: Option<Date>,
    /// The batch of the ledger that has to be on disk before anything is offered.
    pub durable: u64,
}

/// The entry of the suppression list that forbids an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Why it is there, in a word.
    pub reason: &'static str,
    /// For whom it holds.
    pub scope: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

/// What became of one recipient in one attempt.
#[derive(Debug, Clone)]
pub enum Said {
    /// Taken.
    Delivered(Reply),
    /// Refused, or it could not be tried.
    Failed(Failure, Verdict),
    /// The address is on the suppression list: it was not offered.
    Suppressed(Arc<Suppressed>),
    /// The connection died behind the final dot: taken or not, nobody knows.
    Unknown(Failure, Verdict),
}

/// What a session says of a load.
#[derive(Debug)]
pub enum Outcome {
    /// Every recipient has an answer.
    Answered {
        /// In the order of the load's recipients.
        said: Vec<Said>,
        /// What the events say of the attempt.
        facts: Arc<Attempt>,
    },
    /// The connection, used before, died before the receiver was offered the message: it is as if it had never been tried.
    NotOffered {
        /// Why, for diagnostics.
        failure: Failure,
    },
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The spool has a message.
    Arrived(Box<Arrival>),
    /// DNS was asked.
    Resolved(DomainIx, Result<Arc<Way>, Arc<Unroutable>>, std::time::Duration),
    /// A session can take mail.
    Opened(SessionId),
    /// A session could not be opened; the load was not offered to anybody.
    OpenFailed {
        /// Which.
        session: SessionId,
        /// What it was to send.
        load: Box<Load>,
        /// Why.
        failure: Failure,
        /// What that means.
        verdict: Verdict,
        /// What the events say of the attempt.
        facts: Arc<Attempt>,
    },
    /// A session is through with a load.
    Finished {
        /// Which.
        session: SessionId,
        /// What it was to send.
        load: Box<Load>,
        /// What became of it.
        outcome: Outcome,
        /// Whether the connection can carry more.
        usable: bool,
    },
    /// An idle session's connection is gone.
    Closed(SessionId),
    /// These sources are not on this host at present; all others are.
    Sources(HashSet<Name>),
    /// Something became known of mail that was sent before, from this source to this provider.
    Known {
        /// The source.
        source: Name,
        /// The provider.
        provider: Name,
        /// What.
        note: posthaste_governor::Note,
    },
    /// Time passed.
    Wake,
    /// A new configuration is in force.
    Policy(Box<Policy>),
    /// Open nothing more, close what is idle: the relay stops.
    Drain,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Ask DNS.
    Resolve(DomainIx, Arc<Domain>),
    /// Open a session and send the load over it.
    Open {
        /// Its number.
        session: SessionId,
        /// Where to.
        route: Arc<Way>,
        /// From where.
        source: Name,
        /// What.
        load: Box<Load>,
    },
    /// Send a load over an open session.
    Deliver(SessionId, Box<Load>),
    /// Say QUIT.
    Close(SessionId),
    /// Write down what became of recipients, then let the spool know.
    Record(Box<Record>),
    /// Put this into the ledger on the disk.
    Ledger(Batch),
    /// Write down what happened to a lane.
    Lane {
        /// Which.
        key: LaneKey,
        /// What it goes by.
        plan: Arc<Plan>,
        /// What happened.
        change: LaneChange,
    },
}

/// What became of some recipients of one message, decided.
#[derive(Debug)]
pub struct Record {
    /// The message's number.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// The message, if it is in memory.
    pub warm: Option<Arc<Letter>>,
    /// When it was decided.
    pub now: Timestamp,
    /// What the events say of the attempt.
    pub facts: Arc<Attempt>,
    /// Each recipient's fate.
    pub fates: Vec<Fate>,
    /// What the spool is to keep; None: forget the message.
    pub after: Option<Progress>,
}

/// What becomes of one recipient.
#[derive(Debug)]
pub struct Fate {
    /// Who.
    pub rcpt: Rcpt,
    /// Which attempt it was.
    pub attempt: u32,
    /// What was said, if anything was.
    pub said: Option<Said>,
    /// What becomes of it.
    pub next: Next,
    /// When it was due, where it was tried: 1970 for the first time.
    pub was_due: Timestamp,
}

/// What becomes of a recipient.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It has the message.
    Delivered,
    /// Tried again at that time.
    Deferred(Timestamp),
    /// Refused for good.
    Bounced,
    /// Given up for its age.
    Expired,
    /// Not to be written to.
    Suppressed,
    /// Removed by an operator: who, why.
    Cancelled(Arc<str>, Arc<str>),
    /// Kept back by an operator: why.
    Held(Arc<str>),
    /// Let go by an operator: who.
    Released(Arc<str>),
    /// No lane may send it yet: why, until when.
    Waits(Arc<Wait>),
    /// The time within which its sender wanted it delivered is over; it is tried on.
    Late,
}
