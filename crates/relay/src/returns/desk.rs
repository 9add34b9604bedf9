//! Where returning mail is taken: judged, written down once, answered when the line is durable and all that follows from it is done.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_governor::Note;
use posthaste_host::clock;
use posthaste_mail::{Address, Class, What};
use posthaste_smtp::server::Answer;
use posthaste_spool::Spool;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use {posthaste_suppression, posthaste_suppression::Register};

use super::{
    Believe, Judge, LogSent, Return, believed,
    claims::{Claims, Settling, Turn},
    notice,
    paths::Unwanted,
    record, settle,
    tally::{Tally, word},
};
use crate::{
    dispatch::Input,
    engine::Command,
    intake::{Intake, Refused},
    live::Live,
    scribe::{Ticket, event},
};

/// Mails judged at once: each may read the log, and none must keep outgoing mail from the disk.
const JUDGING_MAX: usize = 2;
/// How long a line may take to become durable before the other side is asked to come again.
const DURABLE_WITHIN: Duration = Duration::from_secs(60);
/// How often the sums are written down.
const SUMS_EVERY: Duration = Duration::from_mins(10);
/// How often what has expired is deleted.
const SWEEP_EVERY: Duration = Duration::from_hours(24);

/// Takes what comes back. Shared by listeners and mailboxes.
pub struct Desk {
    intake: Arc<Intake>,
    register: Arc<Register<Spool>>,
    claims: Claims,
    judging: Semaphore,
    tally: Tally,
}

impl Desk {
    /// Beside the intake, whose log and configuration it shares.
    pub fn new(intake: Arc<Intake>, register: Arc<Register<Spool>>) -> Arc<Self> {
        let (claims, judging, tally) = (Claims::default(), Semaphore::new(JUDGING_MAX), Tally::default());
        Arc::new(Self { intake, register, claims, judging, tally })
    }

    /// Why nothing is taken at present; None while it is.
    pub fn closed(&self) -> Option<Refused> {
        let trouble = self.intake.log.trouble().or_else(|| self.intake.spool.trouble());
        trouble.map(|_| (Answer::full("the relay has trouble with its disk, try again later"), "disk_trouble"))
    }

    /// Whether mail to this address is read.
    pub fn want(&self, rcpt: &Address) -> Result<(), Refused> {
        self.intake.live.load().paths.want(rcpt, clock::now()).map_err(|why| match why {
            Unwanted::Expired => (Answer::new(550, 1, 1, "this reverse-path has expired"), "expired_return"),
            Unwanted::Forged => (Answer::new(550, 1, 1, "nobody here made this reverse-path"), "forged_return"),
            Unwanted::Unknown => (Answer::new(550, 1, 1, "no such address"), "unknown_return"),
            Unwanted::Elsewhere => (Answer::new(550, 7, 1, "mail to this domain is not taken here"), "relaying_denied"),
        })
    }

    /// Takes a mail that came to `rcpt`; None where only the mail itself knows. All that it says is written down and done when this returns.
    pub async fn take(&self, mail: Bytes, rcpts: Vec<Option<Address>>) -> Result<(), Refused> {
        let (live, now) = (self.intake.live.load_full(), clock::now());
        let returns = self.judge(live.clone(), mail, rcpts, now).await?;
        let mut waiting = Vec::new();
        for found in returns {
            waiting.extend(self.note(&live, found, now).await?);
        }
        for (done, known) in waiting {
            if !matches!(timeout(DURABLE_WITHIN, done).await, Ok(Ok(()))) {
                return Err((Answer::trouble("the report could not be written down, try again later"), "log_trouble"));
            }
            known.into_iter().for_each(|known| drop(self.intake.engine.send(Command::Input(known))));
        }
        self.tally.mail();
        Ok(())
    }

    async fn judge(&self, live: Arc<Live>, mail: Bytes, rcpts: Vec<Option<Address>>, now: Timestamp) -> Result<Vec<Return>, Refused> {
        let _turn = self.judging.acquire().await.expect("the semaphore is never closed");
        let log = self.intake.log.clone();
        let judged = tokio::task::spawn_blocking(move || {
            // A host next door may answer before the line of the message that it answers is written. A log in trouble shows later.
            let _ = log.flush();
            let look_back = live.config.returns.look_back.unwrap_or_default();
            let sent = LogSent { dir: &live.config.log.dir, look_back, now };
            let judge = Judge { verps: live.paths.all(), rules: &live.rules, sent: &sent };
            let mut returns: Vec<Return> = Vec::new();
            for found in rcpts.iter().flat_map(|rcpt| judge.judge(rcpt.as_ref(), &mail, now)) {
                let about = settle::identity(&found);
                if about.is_none() || returns.iter().all(|r| settle::identity(r) != about) {
                    returns.push(found);
                }
            }
            returns
        });
        judged.await.map_err(|error| {
            tracing::error!(%error, "a returning mail could not be judged");
            (Answer::trouble("the mail could not be read, try again later"), "return_trouble")
        })
    }

    /// Writes one return down, if it is new; what tells when its line is durable, and what the lane is to know then.
    async fn note(&self, live: &Arc<Live>, found: Return, now: Timestamp) -> Result<Option<Noted>, Refused> {
        let Some(what) = record::what(&found, now) else {
            self.tally.count(word(&found));
            return Ok(None);
        };
        let claim = match self.claims.claim(self.register.facts(), &found, now) {
            Some(Turn::Mine(claim)) => claim,
            Some(Turn::UnderWay) => {
                return Err((Answer::trouble("the same report is just being written down, try again later"), "return_under_way"));
            }
            Some(Turn::Over) | None => {
                self.tally.count("repeated");
                return Ok(None);
            }
        };
        // As with every ending: the notice is in the spool before the line says what it is about.
        if let Return::LateBounce(about) = &found
            && believed(about.trust, live.config.returns.trust)
        {
            notice::tell_sender(&self.intake, live, about, now).await?;
        }
        self.tally.count(word(&found));
        let known = known(&found, live.config.returns.trust);
        let (done, wait) = oneshot::channel();
        let settling = Box::new(Settling { found, at: now, live: live.clone(), claim, done });
        self.intake.log.append(event(&live.config.node, now, what), Some(Ticket::Returned(settling)));
        Ok(Some((wait, known)))
    }

    /// The configuration in force.
    pub(super) fn live(&self) -> Arc<Live> {
        self.intake.live.load_full()
    }

    /// A line about the taking of returns.
    pub(super) fn say(&self, state: &str, detail: String) {
        let what = What::Relay { state: state.into(), part: Some("returns".into()), detail };
        self.intake.log.append(event(&self.live().config.node, clock::now(), what), None);
    }

    /// Writes down the sums since the last time, if anything came.
    pub fn say_sums(&self) {
        if let Some(sums) = self.tally.take() {
            self.say("returned", sums.to_string());
        }
    }

    /// What is to be done now and then, for as long as the relay runs: the sums, and deleting what has expired.
    pub async fn chores(self: Arc<Self>) {
        let mut sums = tokio::time::interval(SUMS_EVERY);
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                _ = sums.tick() => self.say_sums(),
                _ = sweeps.tick() => {
                    let desk = self.clone();
                    drop(tokio::task::spawn_blocking(move || desk.sweep(clock::now())).await);
                }
            }
        }
    }

    fn sweep(&self, now: Timestamp) {
        let rules = &self.intake.live.load().config.suppression;
        let gone = posthaste_suppression::sweep(&self.register, rules, now) + super::sweep(self.register.facts(), now);
        tracing::debug!(gone, "swept what has expired from the suppression list and the memory of returns");
    }
}

/// A return that is being written down: what tells when it is, and what its lane is to know then.
type Noted = (oneshot::Receiver<()>, Option<Input>);

/// What a return says of the health of the lane that the message went by.
pub(super) fn known(found: &Return, believe: Believe) -> Option<Input> {
    let (about, note) = match found {
        Return::Complaint(about) => (about, Note::Complaint),
        // What else comes back late says nothing of the addresses that are written to.
        Return::LateBounce(about) if matches!(about.class(), Some(Class::InvalidRecipient | Class::InactiveMailbox)) => {
            (about, Note::LateBounce)
        }
        _ => return None,
    };
    let lane = &about.sent.lane;
    let known = || Some(Input::Known { source: lane.source.clone()?, provider: lane.provider.clone()?, note });
    believed(about.trust, believe).then(known).flatten()
}
