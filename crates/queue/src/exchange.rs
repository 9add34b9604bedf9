//! The dispatcher's inputs, and the actions it returns.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp, civil::Date};
use posthaste_bounce::Verdict;
use posthaste_governor::{Batch, LaneChange, LaneKey, Note, Permit, Plan};
use posthaste_mail::{Answered, Attempt, Domain, Failure, MessageId, Name, Reply, TransferPriority};
use posthaste_message::{Message, Progress};

use crate::{
    Site,
    backlog::{
        streams::Party,
        table::{DomainIx, PutOff, Rcpt, Seq},
    },
    policy::Policy,
};

/// A session's number.
pub type SessionId = u64;

/// A message in the spool: newly accepted, or found there at the start.
#[derive(Debug)]
pub struct Arrival {
    /// Its number in the spool.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// When it was accepted, or the time before which its sender does not want it sent.
    pub arrived: Timestamp,
    /// How its sender gave that time; None: the sender gave none.
    pub put_off: Option<PutOff>,
    /// Its stream.
    pub stream: Name,
    /// The user who submitted it, if the client logged in.
    pub user: Option<Arc<str>>,
    /// Its priority among others of its stream (RFC 6710, MT-PRIORITY).
    pub priority: TransferPriority,
    /// The time by which its sender wants it delivered, if one was given (RFC 2852, BY).
    pub deliver_by: Option<Deadline>,
    /// Bytes as stored.
    pub size: u64,
    /// Every recipient's domain, in the envelope's order.
    pub domains: Vec<Domain>,
    /// The state of its recipients; None for a new message.
    pub progress: Option<Progress>,
    /// Why the guard holds it, and the command that ends it; None: it does not hold it, or no longer.
    pub guarded: Option<Arc<str>>,
    /// The message itself, if it is in memory.
    pub warm: Option<Arc<Message>>,
}

/// A delivery job: what a session is to send.
#[derive(Debug)]
pub struct DeliveryJob {
    /// The message.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// The recipients, by their positions in its envelope.
    pub rcpts: Vec<Rcpt>,
    /// Which attempt it is, 1 for the first; the largest where recipients differ.
    pub attempt: u32,
    /// When it was given out.
    pub begun: Timestamp,
    /// The message, if it is in memory.
    pub warm: Option<Arc<Message>>,
    /// Its part of the lane's budget. A job without one must not be offered.
    pub permit: Option<Box<Permit>>,
    /// The day from whose budget the permit was taken, if the source warms up.
    pub lane_day: Option<Date>,
    /// The number of the ledger batch that has to be on disk before anything is offered.
    pub durable: u64,
    /// Whether it was another source's turn to send it, which had no budget.
    pub spilled: bool,
    /// What became of it at the hosts that this attempt offered it to before, in their order.
    pub earlier: Vec<Offered>,
}

/// What became of a job at a host that did not take it: the attempt may go on to the next one (RFC 5321 §5.1).
#[derive(Clone, Debug)]
pub struct Offered {
    /// The host's address.
    pub address: SocketAddr,
    /// Each recipient's result there.
    pub said: Vec<(Rcpt, AttemptResult)>,
    /// What the events say of the attempt there.
    pub facts: Arc<Attempt>,
}

/// What became of one recipient at another host that its attempt was offered to.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// What the events say of the attempt there.
    pub facts: Arc<Attempt>,
    /// Why the host did not take it.
    pub failure: Failure,
    /// What that means.
    pub verdict: Verdict,
}

/// The entry of the suppression list that forbids an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Why it is there, in a word.
    pub reason: &'static str,
    /// The scope in which the address is suppressed.
    pub scope: Arc<str>,
    /// When the entry was made.
    pub since: Timestamp,
}

/// The result of one attempt for one recipient.
#[derive(Debug, Clone)]
pub enum AttemptResult {
    /// The receiver accepted the message.
    Delivered(Reply),
    /// The receiver refused the recipient or the message, or it could not be tried.
    Failed(Failure, Verdict),
    /// The address is on the suppression list: it was not offered.
    Suppressed(Arc<Suppressed>),
    /// The connection died after the final dot: whether the message was accepted is not known.
    Unknown(Failure, Verdict),
}

/// The result of a delivery job.
#[derive(Debug)]
pub enum JobOutcome {
    /// Every recipient has an answer.
    Answered {
        /// In the order of the job's recipients.
        said: Vec<AttemptResult>,
        /// What the events say of the attempt.
        facts: Arc<Attempt>,
    },
    /// A connection that had been used before died before the message was offered: it counts as not tried.
    NotOffered {
        /// Why, for diagnostics.
        failure: Failure,
    },
    /// A reload came since its site was looked up: it was not offered, and goes where mail goes now.
    Outdated,
    /// No host has taken it yet, and the session is connected to the next one. It gets the job again if there is budget for that: each
    /// host's recipients count on their own.
    GoesOn(Offered),
}

impl DeliveryJob {
    /// Takes some of the recipients out into a job of their own, with their part of the permit.
    pub fn split_off(&mut self, part: &[Rcpt]) -> Self {
        self.rcpts.retain(|rcpt| !part.contains(rcpt));
        let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let permit = self.permit.as_mut().and_then(|permit| permit.split(count)).map(Box::new);
        let (rcpts, warm, earlier) = (part.to_vec(), self.warm.clone(), self.earlier.clone());
        let Self { seq, id, attempt, begun, lane_day, durable, spilled, .. } = *self;
        Self { seq, id, rcpts, attempt, begun, warm, permit, lane_day, durable, spilled, earlier }
    }
}

/// Something that happened, for the dispatcher to handle.
#[derive(Debug)]
pub enum Input {
    /// A message is in the spool.
    Arrived(Box<Arrival>),
    /// The answer of DNS for a domain, and how long it may be kept.
    Resolved(DomainIx, Result<Arc<Site>, Arc<Unroutable>>, Duration),
    /// A session can take mail.
    Opened(SessionId),
    /// A session could not be opened; its job was not offered to anybody.
    OpenFailed {
        /// Which.
        session: SessionId,
        /// Its job.
        job: Box<DeliveryJob>,
        /// Why.
        failure: Failure,
        /// What that means.
        verdict: Verdict,
        /// What the events say of the attempt.
        facts: Arc<Attempt>,
    },
    /// A session has finished a job.
    Finished {
        /// Which.
        session: SessionId,
        /// What it was to send.
        job: Box<DeliveryJob>,
        /// Its result.
        outcome: JobOutcome,
        /// Whether the connection can carry another job.
        usable: bool,
    },
    /// Some recipients of a session's job have their results; the session goes on with the others, and finishes them as another job.
    PartFinished {
        /// Which.
        session: SessionId,
        /// The recipients that have results.
        job: Box<DeliveryJob>,
        /// In the order of the job's recipients.
        said: Vec<AttemptResult>,
        /// What the events say of the attempt.
        facts: Arc<Attempt>,
    },
    /// Smart hosts that refused the relay's login take its mail again, or are no longer asked with that login. By the keys of their sites.
    LoginsChanged(Vec<Arc<str>>),
    /// The addresses of these sources are not on this host at present; those of all others are.
    Sources(HashSet<Name>),
    /// Something became known about mail sent earlier from this source to this provider: a complaint, a late bounce.
    Known {
        /// The source.
        source: Name,
        /// The provider.
        provider: Name,
        /// What.
        note: Note,
    },
    /// This many results, of those that records of this kind ([`FateRecord::unoffered`]) counted ([`FateRecord::results`]), have become durable in
    /// the log.
    Logged(Option<Party>, usize),
    /// The log or the spool cannot be written, for this reason; None: both can.
    Trouble(Option<Arc<str>>),
    /// Time has passed.
    Wake,
    /// A new configuration is in force.
    Policy(Box<Policy>),
    /// The relay stops: open no session, close those that are idle.
    Drain,
}

/// Something that the dispatcher wants done.
#[derive(Debug)]
pub enum Action {
    /// Ask DNS about a domain, for mail of this stream and user. The same domain may be asked for on behalf of several.
    Resolve(DomainIx, Arc<Domain>, Party),
    /// Open a session and send a job over it.
    Open {
        /// Its number.
        session: SessionId,
        /// Where to.
        site: Arc<Site>,
        /// From where.
        source: Name,
        /// What.
        job: Box<DeliveryJob>,
    },
    /// Send a job over an open session.
    Deliver(SessionId, Box<DeliveryJob>),
    /// End a session with QUIT.
    Close(SessionId),
    /// Log the fates of recipients, then update the spool.
    Record(Box<FateRecord>),
    /// Write this to the ledger on disk.
    Ledger(Batch),
    /// Log what happened to a lane.
    Lane {
        /// Which.
        key: LaneKey,
        /// Its warm-up plan.
        plan: Arc<Plan>,
        /// What happened.
        change: LaneChange,
    },
    /// Tell the operator what the clock did.
    Clock(ClockNews),
}

/// What a clock that was set means for mail.
#[derive(Clone, Debug, PartialEq)]
pub enum ClockNews {
    /// The clock went back by this much; what waited for a time waits for the rest of its time.
    WentBack {
        /// How far, at least.
        by: SignedDuration,
    },
    /// A lane's mail waits, because the day that the clock went back into is over and its budget closed.
    LaneWaits {
        /// Which.
        lane: LaneKey,
        /// When it goes on.
        until: Timestamp,
    },
    /// Such a lane goes on.
    LaneGoesOn {
        /// Which.
        lane: LaneKey,
    },
}

/// A decision about some recipients of one message.
#[derive(Debug)]
pub struct FateRecord {
    /// The message's number.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// The message, if it is in memory.
    pub warm: Option<Arc<Message>>,
    /// When the decision was made.
    pub now: Timestamp,
    /// What the events say of the attempt.
    pub facts: Arc<Attempt>,
    /// Each recipient's fate.
    pub fates: Vec<Fate>,
    /// The recipients' state that the spool is to keep; None: delete the message.
    pub after: Option<Progress>,
    /// How many of the fates are results of attempts, of which the dispatcher wants to hear when they are durable ([`Input::Logged`]).
    pub results: usize,
    /// Whose mail it is, if the attempt offered nothing to anybody.
    pub unoffered: Option<Party>,
}

impl FateRecord {
    /// Whether it tells of nothing but deferrals, and the dispatcher waits for none of them.
    pub fn is_deferral(&self) -> bool {
        self.results == 0 && self.after.is_some() && self.fates.iter().all(|fate| matches!(fate.next, Next::Deferred(_)))
    }

    /// Adds deferrals that were decided later about the same message. The lines of all are as of then.
    pub fn append(&mut self, later: Self) {
        let Self { now, facts, fates, after, .. } = later;
        self.fates.extend(fates.into_iter().map(|fate| Fate { facts: fate.facts.or_else(|| Some(facts.clone())), ..fate }));
        (self.now, self.after) = (now, after);
    }
}

/// The decision about one recipient.
#[derive(Debug)]
pub struct Fate {
    /// The recipient.
    pub rcpt: Rcpt,
    /// The number of attempts so far, this one included. What was not tried is no attempt.
    pub attempt: u32,
    /// The result of the attempt, if there was one.
    pub said: Option<AttemptResult>,
    /// What the events say of the attempt, where it differs from the record's: the result is another host's.
    pub facts: Option<Arc<Attempt>>,
    /// The other hosts that the attempt offered it to.
    pub elsewhere: Vec<Elsewhere>,
    /// What the last host that answered an earlier attempt said, where this ending has no answer of its own. Whoever has the log fills it in.
    pub earlier: Option<Box<Answered>>,
    /// What becomes of it.
    pub next: Next,
    /// When the attempt had been due, if it was tried; 1970 for a first attempt.
    pub was_due: Timestamp,
}

/// What becomes of a recipient.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The message is delivered.
    Delivered,
    /// It is tried again at this time.
    Deferred(Timestamp),
    /// Refused for good.
    Bounced,
    /// It is given up because of its age.
    Expired,
    /// Its address is on the suppression list.
    Suppressed,
    /// An operator removed it: who, why.
    Cancelled(Arc<str>, Arc<str>),
    /// An operator holds it: why.
    Held(Arc<str>),
    /// An operator released it: who.
    Released(Arc<str>),
    /// It waits for budget: why, until when.
    Waits(Arc<Wait>),
    /// The time by which its sender wanted it delivered has passed; delivery goes on.
    Late,
}

/// The time by which a message is to be delivered (RFC 2852, BY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time.
    pub at: Timestamp,
    /// Whether the message is returned then (BY with R); otherwise its sender is told that it is late, and delivery goes on.
    pub returns: bool,
}

/// There are no hosts to send a domain's mail to.
#[derive(Clone, Debug)]
pub struct Unroutable {
    /// The failure of the look-up.
    pub failure: Failure,
    /// What that means for the mail.
    pub verdict: Verdict,
}

/// The fields of an event about mail that waits for budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// The reason, as a word: `day_cap`, `spread`, `paused`, ...
    pub reason: &'static str,
    /// When it will go if nothing else happens; None if that cannot be foreseen.
    pub until: Option<Timestamp>,
    /// The source whose turn it was.
    pub source: Option<Name>,
    /// The provider of the mailboxes.
    pub provider: Option<Name>,
    /// The lane's cap.
    pub cap: Option<u32>,
    /// How much of the cap is used.
    pub used: Option<u32>,
    /// When the lane may send again.
    pub next_release: Option<Timestamp>,
    /// The reason, as a sentence.
    pub detail: String,
}
