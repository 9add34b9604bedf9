//! From what was said to what becomes of it: delivered, again later, given up.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_mail::{Action as BounceAction, Attempt, Class, Failure, LocalCause, MessageId, Scope};
use posthaste_message::{Letter, Progress, SavedStanding};

use crate::{
    Action, Dispatcher, Fate, Load, Next, Outcome, Record, Said, SessionId,
    backlog::{
        domains::Unroutable,
        table::{Phase, QueuedMessage, Rcpt, Rcpts, RecipientGroup, Seq},
    },
    budget::permits::expires,
    connections::lanes::QueueIx,
    dispatcher::{SQUEEZE, later, millis},
};

impl Dispatcher {
    pub(crate) fn finished(&mut self, session: SessionId, mut load: Load, outcome: Outcome, usable: bool, now: Timestamp) {
        match outcome {
            Outcome::Answered { said, facts } => {
                self.note_error(session, &said, now);
                self.spend(load.permit.take(), &said);
                self.settle(&load, said, facts, now);
            }
            Outcome::NotOffered { failure } => {
                tracing::debug!(message = %load.id, %failure, "the connection had died; the message goes to another");
                let path = self.sessions.get(&session).expect("a session that reports exists until it is closed").path;
                self.hand_back(path, load, now);
            }
        }
        self.session_free(session, usable, now);
    }

    /// No session came about. Where others to the same hosts are at work, the receiver wants no more of them; else the hosts are left alone for a while.
    pub(crate) fn open_failed(
        &mut self,
        session: SessionId,
        mut load: Load,
        failure: Failure,
        verdict: Verdict,
        facts: &Arc<Attempt>,
        now: Timestamp,
    ) {
        let Some(path) = self.forget(session) else {
            self.give_back(load.permit.take());
            return self.settle_same(&load, &failure, &verdict, facts.clone(), now);
        };
        // Others may send it: a bind that failed is no attempt.
        let source = &self.lanes.lanes[&self.lanes.paths[&path].lane].source;
        if matches!(failure, Failure::Local { cause: LocalCause::SourceUnavailable, .. }) && self.gone.contains(source) {
            self.hand_back(path, load, now);
            self.leave_sources();
            return self.after_close(path);
        }
        let established = self.lanes.paths[&path].established;
        if established > 0 && !verdict.permanent {
            self.squeeze(path, established, now.as_millisecond() + SQUEEZE);
            self.hand_back(path, load, now);
            return self.after_close(path);
        }
        self.lanes.lane_of(path).last_error = Some((now, failure.to_string().into()));
        let said = vec![Said::Failed(failure.clone(), verdict.clone()); load.rcpts.len()];
        self.spend(load.permit.take(), &said);
        self.settle_same(&load, &failure, &verdict, facts.clone(), now);
        if !verdict.permanent && !matches!(failure, Failure::Local { cause: LocalCause::LocalError | LocalCause::Shutdown, .. }) {
            self.leave_alone(path, failure, verdict, now);
        }
        self.after_close(path);
    }

    /// Hosts that could not be reached: what waits for them is tried later, without trying each message in vain.
    fn leave_alone(&mut self, path: QueueIx, failure: Failure, verdict: Verdict, now: Timestamp) {
        let queue = self.lanes.paths.get_mut(&path).expect("a session's path exists");
        // Doubles with each failure in a row, up to 32 times the configured time.
        let wait = millis(self.policy.host_down) << queue.failures.min(5);
        queue.failures += 1;
        let why = Arc::new(Unroutable { failure, verdict });
        queue.down = Some((now.as_millisecond() + wait, why.clone()));
        for ready in self.empty(path) {
            self.give_back(ready.permit);
            self.not_tried(path, &ready.group, &why);
        }
    }

    /// Defers a group whose hosts are known to be out of reach.
    pub(crate) fn not_tried(&mut self, path: QueueIx, group: &RecipientGroup, why: &Unroutable) {
        let Some(load) = self.take_for_failure(group) else { return };
        let facts = Arc::new(self.lane_facts(path));
        let failure = match &why.failure {
            Failure::Local { stage, cause, detail } => {
                Failure::Local { stage: *stage, cause: *cause, detail: format!("not tried, the hosts were just out of reach: {detail}") }
            }
            Failure::Refused { stage, reply } => Failure::Local {
                stage: *stage,
                cause: LocalCause::ConnectionRefused,
                detail: format!("not tried, the hosts just refused a connection: {reply}"),
            },
        };
        self.settle_same(&load, &failure, &why.verdict, facts, self.now);
    }

    pub(crate) fn unroutable(&mut self, why: &Unroutable, group: &RecipientGroup, now: Timestamp) {
        if let Some(load) = self.take_for_failure(group) {
            self.settle_same(&load, &why.failure, &why.verdict, Arc::new(Attempt::default()), now);
        }
    }

    fn settle_same(&mut self, load: &Load, failure: &Failure, verdict: &Verdict, facts: Arc<Attempt>, now: Timestamp) {
        let said = load.rcpts.iter().map(|_| Said::Failed(failure.clone(), verdict.clone())).collect();
        self.settle(load, said, facts, now);
    }

    fn note_error(&mut self, session: SessionId, said: &[Said], now: Timestamp) {
        let trouble = said.iter().find_map(|s| match s {
            Said::Failed(failure, _) | Said::Unknown(failure, _) => Some(failure),
            Said::Delivered(_) | Said::Suppressed(_) => None,
        });
        if let (Some(failure), Some(s)) = (trouble, self.sessions.get(&session)) {
            let path = s.path;
            let text: String = failure.to_string().lines().next().unwrap_or("").chars().take(160).collect();
            self.lanes.lane_of(path).last_error = Some((now, text.into()));
        }
    }

    /// Decides each recipient's fate, puts back what is to be tried again, and has it all written down.
    fn settle(&mut self, load: &Load, said: Vec<Said>, facts: Arc<Attempt>, now: Timestamp) {
        let Some(owed) = self.table.get_mut(load.seq) else { return };
        let retry = &self.policy.stream(self.streams.name(owed.stream)).retry;
        let warm = owed.warm.take().or_else(|| load.warm.clone());
        let mut fates = Vec::with_capacity(said.len());
        // What is deferred together goes together again, by the first one's draw.
        let mut together: Option<Timestamp> = None;
        for (rcpt, said) in load.rcpts.iter().copied().zip(said) {
            let state = owed.recipient(rcpt);
            let cancelling = state.phase == Phase::Cancelling;
            let was_due = Timestamp::from_millisecond(state.due).unwrap_or(Timestamp::UNIX_EPOCH);
            let attempt = u32::from(state.attempts) + 1;
            state.attempts = state.attempts.saturating_add(1);
            let salt = load.seq.wrapping_mul(0x1_0001).wrapping_add(u64::from(rcpt));
            let expires = self.deadlines.expires(load.seq, expires(owed.arrived, retry.expire));
            let next = match &said {
                Said::Delivered(_) => Next::Delivered,
                Said::Suppressed(_) => Next::Suppressed,
                Said::Failed(_, verdict) if verdict.permanent => Next::Bounced,
                _ if cancelling => cancelled_in_flight(),
                _ if now.as_millisecond() >= expires => Next::Expired,
                _ => {
                    let last = self.deadlines.last_attempt(load.seq, expires, now.as_millisecond());
                    let last = Timestamp::from_millisecond(last).unwrap_or(Timestamp::MAX);
                    Next::Deferred(*together.get_or_insert_with(|| later(now, retry.wait(attempt, salt)).min(last)))
                }
            };
            fates.push(Fate { rcpt, attempt, said: Some(said), next, was_due });
        }
        // While others of the same message are in flight or queued the body is worth keeping.
        if fates.iter().all(|f| !matches!(f.next, Next::Deferred(_))) {
            owed.warm.clone_from(&warm);
        }
        let deferred = self.apply(load.seq, &fates);
        self.record(load.seq, load.id, warm, facts, fates, now);
        if let Some((due, rcpts)) = deferred {
            self.schedule_later(load.seq, due, rcpts);
        }
    }

    /// Moves the states to where the fates say. Those deferred, with their common time.
    fn apply(&mut self, seq: Seq, fates: &[Fate]) -> Option<(i64, Vec<Rcpt>)> {
        let mut deferred: Option<(i64, Vec<Rcpt>)> = None;
        for fate in fates {
            match fate.next {
                Next::Deferred(at) => {
                    let Some(owed) = self.table.get_mut(seq) else { continue };
                    let state = owed.recipient(fate.rcpt);
                    state.phase = Phase::Waiting;
                    state.due = at.as_millisecond();
                    deferred.get_or_insert_with(|| (at.as_millisecond(), Vec::new())).1.push(fate.rcpt);
                }
                Next::Delivered | Next::Bounced | Next::Expired | Next::Suppressed | Next::Cancelled(..) => self.end(seq, fate.rcpt),
                Next::Held(_) | Next::Released(_) | Next::Waits(_) | Next::Late => {}
            }
        }
        deferred
    }

    /// One recipient's story is over.
    pub(crate) fn end(&mut self, seq: Seq, rcpt: Rcpt) {
        if let Some(owed) = self.table.get_mut(seq)
            && owed.recipient(rcpt).phase != Phase::Ended
        {
            let domain = owed.recipient(rcpt).domain;
            self.domains.settle(domain);
            if self.table.end(seq, rcpt) {
                self.deadlines.forget(seq);
            }
        }
    }

    fn schedule_later(&mut self, seq: Seq, due: i64, rcpts: Vec<Rcpt>) {
        let Some(owed) = self.table.get_mut(seq) else { return };
        let epoch = owed.epoch;
        let mut by_domain: Vec<(u32, Vec<Rcpt>)> = Vec::new();
        for rcpt in rcpts {
            let domain = owed.recipient(rcpt).domain;
            match by_domain.iter_mut().find(|(d, _)| *d == domain) {
                Some((_, list)) => list.push(rcpt),
                None => by_domain.push((domain, vec![rcpt])),
            }
        }
        for (domain, rcpts) in by_domain {
            self.schedule.add(due, (domain, RecipientGroup { seq, rcpts: Rcpts::new(rcpts), epoch }));
        }
    }

    /// Has fates written down, with what the spool is to keep afterwards.
    pub(crate) fn record(
        &mut self,
        seq: Seq,
        id: MessageId,
        warm: Option<Arc<Letter>>,
        facts: Arc<Attempt>,
        fates: Vec<Fate>,
        now: Timestamp,
    ) {
        let after = self.table.get(seq).map(|owed| Progress { told_late: self.deadlines.is_told(seq), ..progress(owed) });
        self.actions.push(Action::Record(Box::new(Record { seq, id, warm, now, facts, fates, after })));
    }
}

/// A verdict on what ends here though nobody refused anything: neither the recipient nor the receiver is to blame.
pub(crate) fn of_our_own(class: Class, rule: &str, why: &str) -> Verdict {
    Verdict {
        class,
        scope: Scope::Local,
        action: BounceAction::None,
        permanent: false,
        confidence: 1.0,
        rule: rule.into(),
        why: why.into(),
        link: None,
    }
}

/// The end of a recipient whose removal waited for an attempt.
pub(crate) fn cancelled_in_flight() -> Next {
    Next::Cancelled("operator".into(), "dropped while an attempt was under way".into())
}

/// What the spool is to keep of a message's recipients.
pub(crate) fn progress(owed: &QueuedMessage) -> Progress {
    let saved = owed.recipients().iter().enumerate().filter(|(_, s)| s.phase != Phase::Ended).map(|(i, s)| {
        let rcpt = Rcpt::try_from(i).expect("an envelope has at most 65,535 recipients");
        SavedStanding(rcpt, s.attempts, s.due, s.phase == Phase::Held)
    });
    Progress { owed: saved.collect(), told_late: false }
}
