//! Offering a job over an open session, in as many transactions as the receiver wants, and going on to the next host with what this one did
//! not take (RFC 5321 §5.1).

use std::sync::Arc;

use posthaste_host::clock;
use posthaste_mail::{Address, Attempt, Failure, LocalCause, Name, ReversePath, Stage};
use posthaste_message::Message;
use posthaste_queue::{AttemptResult, DeliveryJob, JobOutcome, Offered, Rcpt, SessionId, Site, Suppressed};
use posthaste_smtp::client::{Needs, RecipientResult, Report, Transaction};
use posthaste_verp::Stamped;

use crate::{
    at_once, logins,
    needs::needs,
    next_host::Answer,
    open::Open,
    outbound::Outbound,
    published::{Sender, Standing},
    refuser::Refuser,
    session::NotOpened,
    turned_away::{ends, turns_away},
};

/// What one host said of a job.
struct Said {
    /// Each recipient's result.
    results: Vec<Answer>,
    facts: Arc<Attempt>,
}

impl Outbound {
    /// Sends one job. What is known of some recipients before the others is reported at once, and `job` is then about the others.
    ///
    /// Err: the receiver does not want this session, and nothing was offered.
    pub(crate) async fn deliver(
        &self,
        id: SessionId,
        open: &mut Open,
        site: &Site,
        source: &Name,
        job: &mut Box<DeliveryJob>,
    ) -> Result<JobOutcome, NotOpened> {
        if let Some((seq, address)) = open.left.take()
            && seq == job.seq
            && !job.earlier.is_empty()
        {
            self.turned_away.went_on(seq, address);
        }
        // A connection that has carried mail before may have died since, which says nothing about this job.
        let mut used = std::mem::replace(&mut open.used, true);
        if used && let Some(failure) = open.connection.gone() {
            return Ok(JobOutcome::NotOffered { failure });
        }
        if used && self.turned_away.has(job.seq, &open.address) {
            if !self.begin_elsewhere(open, site, source, job.seq).await {
                return Ok(JobOutcome::NotOffered { failure: no_other_host() });
            }
            used = std::mem::replace(&mut open.used, true);
        }
        if job.durable > 0 && !self.ledger.clone().durable(job.durable).await {
            return Ok(self.not_tried(open, site, job, LocalCause::Shutdown, "the relay stops".into()));
        }
        let (message, _share) = match self.message(job).await {
            Ok(message) => message,
            Err(error) => return Ok(self.not_tried(open, site, job, error.cause(), error.to_string())),
        };
        if self.is_outdated(site) && job.earlier.is_empty() {
            return Ok(JobOutcome::Outdated);
        }
        let said = match self.offer(id, open, site, job, &message, used).await {
            Ok(said) => said,
            Err(failure) => return Ok(JobOutcome::NotOffered { failure }),
        };
        if let Some(host) = open.facts.mx_host.as_ref().filter(|_| site.fixed) {
            self.logins.note_results(&self.journal, &self.queue, site, host, said.results.iter().map(|(_, said, _)| said)).await;
        }
        if said.results.iter().all(|(_, said, _)| ends(said)) {
            self.turned_away.forget(job.seq, &site.hosts);
        }
        self.next_host(id, open, site, source, job, said).await
    }

    /// Offers a job to the host of an open session. Err: the connection, which had carried mail before, died before the recipients that are
    /// left in the job were offered.
    async fn offer(
        &self,
        id: SessionId,
        open: &mut Open,
        site: &Site,
        job: &mut DeliveryJob,
        message: &Message,
        used: bool,
    ) -> Result<Said, Failure> {
        let needs = needs(message, self.settings.get().unfit, clock::now());
        let beforehand = job.rcpts.iter().copied().zip(self.beforehand(open, site, message, &job.rcpts, needs));
        let (known, mut left): (Vec<_>, Vec<_>) = beforehand.partition(|(_, said)| said.is_some());
        let mut results: Vec<_> = known.into_iter().filter_map(|(rcpt, said)| Some((rcpt, said?, false))).collect();
        let mut facts = Arc::new(open.facts.clone());
        let mut before = used;
        while !left.is_empty() {
            let most = self.at_once.most(&open.facts, clock::instant()).min(left.len());
            let these: Vec<Rcpt> = left.drain(..most).map(|(rcpt, _)| rcpt).collect();
            let (mut report, standing) = self.transact(open, site, job, message, &these, needs).await;
            facts = Arc::new(self.facts(open, job, &report, standing));
            if before && let Some(failure) = never_offered(&report) {
                self.report_part(id, job, &mut results, &facts, |_| true).await;
                return Err(failure);
            }
            before = true;
            let again = at_once::too_many(&report);
            if let Some(most) = again.most {
                self.at_once.learn(&open.facts, most, clock::instant());
            }
            let again: Vec<Rcpt> = again.places.iter().map(|place| these[*place]).collect();
            let answers = these.iter().copied().zip(report.recipients.drain(..)).filter(|(rcpt, _)| !again.contains(rcpt));
            let known = results.len();
            results.extend(answers.map(|(rcpt, result)| (rcpt, self.result(result, site, open), true)));
            if has_others(site) && results[known..].iter().any(|(_, said, _)| turns_away(said)) {
                self.turned_away.note(job.seq, open.address, clock::instant());
            }
            left.splice(0..0, again.into_iter().map(|rcpt| (rcpt, None)));
            if !left.is_empty() {
                let goes_on = |(_, said, _): &Answer| Refuser::of(said).is_some();
                let is_open = open.connection.usable();
                self.report_part(id, job, &mut results, &facts, |answer| !is_open || !goes_on(answer)).await;
                if !is_open {
                    return Err(ended_between(&facts));
                }
            }
        }
        Ok(Said { results, facts })
    }

    /// One transaction for some of a job's recipients, and what DNS publishes about their message's sender.
    async fn transact(
        &self,
        open: &mut Open,
        site: &Site,
        job: &DeliveryJob,
        message: &Message,
        rcpts: &[Rcpt],
        needs: Needs,
    ) -> (Report, Standing) {
        let envelope = &message.record.envelope;
        let recipients: Vec<&Address> = rcpts.iter().map(|rcpt| &envelope.recipients[usize::from(*rcpt)]).collect();
        let stamped = self.stamped(message, &job.rcpts).filter(|_| rcpts.len() == job.rcpts.len());
        let mut parameters = message.record.parameters_for(rcpts, clock::now());
        if let Some(stamped) = &stamped {
            // An ENVID of the relay's own if the client gave none: reports that come back are matched by it.
            parameters.envid.get_or_insert_with(|| stamped.envid.as_str().into());
        }
        let path = stamped.as_ref().map_or(&envelope.reverse_path, |s| &s.reverse_path);
        let transaction = Transaction {
            reverse_path: path,
            recipients: &recipients,
            body_kind: envelope.body,
            has_8bit: message.record.has_8bit,
            needs,
            parameters: &parameters,
            size: stamped.as_ref().map_or(message.record.size, |s| s.size),
            body: stamped.as_ref().map_or(&message.body, |s| &s.body),
        };
        // What is not known now is asked while the receiver answers.
        let standing = self.standing(open, site, message, path);
        let report = open.connection.transact(transaction).await;
        (report, if standing.is_whole() { standing } else { self.standing(open, site, message, path) })
    }

    /// What DNS publishes about a message's sender, as far as it is known.
    fn standing(&self, open: &Open, site: &Site, message: &Message, path: &ReversePath) -> Standing {
        let settings = self.settings.get();
        if !settings.sender_records {
            return Standing::default();
        }
        let ehlo = open.facts.source.as_ref().map_or(&settings.hostname, |source| settings.ehlo_name(source)).as_str();
        let sender = Sender {
            // A smart host delivers from an address of its own.
            ip: open.facts.source_ip.filter(|_| !site.fixed),
            path: path.domain().unwrap_or(ehlo),
            ehlo,
            from: message.record.from_domain.as_deref(),
        };
        self.published.of(sender, &settings.resolver, clock::instant())
    }

    /// What the events say of a transaction.
    fn facts(&self, open: &mut Open, job: &DeliveryJob, report: &Report, standing: Standing) -> Attempt {
        let mut facts = open.facts.clone();
        facts.lane_day = job.lane_day;
        (facts.spf, facts.dmarc) = (standing.spf, standing.dmarc);
        (facts.envelope_ms, facts.body_ms) = (Some(report.envelope_ms), report.body_ms);
        (facts.dns_ms, facts.connect_ms, facts.tls_ms) = (open.dns_ms.take(), open.connect_ms.take(), open.tls_ms.take());
        facts
    }

    fn result(&self, result: RecipientResult, site: &Site, open: &Open) -> AttemptResult {
        match result {
            RecipientResult::Delivered(reply) => AttemptResult::Delivered(reply),
            RecipientResult::Failed(failure) | RecipientResult::NotOffered(failure) => {
                let verdict = self.judge(&failure, site, Some(&open.facts));
                AttemptResult::Failed(failure, verdict)
            }
            RecipientResult::Unknown(failure) => {
                let verdict = self.judge(&failure, site, Some(&open.facts));
                AttemptResult::Unknown(failure, verdict)
            }
        }
    }

    /// Reports the recipients of a job that have their results, so that none of them waits for the others: a crash would deliver to them
    /// again.
    async fn report_part(
        &self,
        id: SessionId,
        job: &mut DeliveryJob,
        results: &mut Vec<Answer>,
        facts: &Arc<Attempt>,
        which: impl Fn(&Answer) -> bool,
    ) {
        let (rcpts, said): (Vec<Rcpt>, Vec<AttemptResult>) =
            results.extract_if(.., |answer| which(answer)).map(|(rcpt, said, _)| (rcpt, said)).unzip();
        if rcpts.is_empty() {
            return;
        }
        let part = Box::new(job.split_off(&rcpts));
        self.queue.part_finished(id, part, said, facts.clone()).await;
    }

    /// Goes on with the recipients that another host may take, if there is one; the others end their attempt here.
    async fn next_host(
        &self,
        id: SessionId,
        open: &mut Open,
        site: &Site,
        source: &Name,
        job: &mut Box<DeliveryJob>,
        said: Said,
    ) -> Result<JobOutcome, NotOpened> {
        let Said { results, facts } = said;
        let refuser = results.iter().filter(|(_, _, receivers)| *receivers).filter_map(|(_, said, _)| Refuser::of(said)).max();
        let tried: Vec<_> = job.earlier.iter().map(|offered| offered.address).chain([open.address]).collect();
        let candidates = match refuser {
            Some(_) if tried.len() < self.settings.get().hosts_per_attempt => self.candidates(site, source, &tried),
            _ => Vec::new(),
        };
        let Some(refuser) = refuser.filter(|_| !candidates.is_empty()) else {
            let is_refused = open.facts.mx_host.as_ref().is_some_and(|host| self.logins.is_refused(site, host));
            let refused = logins::all_refused(results.iter().map(|(_, said, _)| said)).filter(|_| is_refused);
            return match refused {
                Some((failure, verdict)) => Err(NotOpened { failure, verdict, facts: Arc::unwrap_or_clone(facts) }),
                None => Ok(answered(job, results, facts)),
            };
        };
        let goes_on = |(_, said, receivers): &Answer| *receivers && Refuser::of(said).is_some();
        let mut on = results;
        self.report_part(id, job, &mut on, &facts, |answer| !goes_on(answer)).await;
        if !self.move_on(open, site, source, candidates, refuser).await {
            return Ok(answered(job, on, facts));
        }
        let address = *tried.last().expect("the open session's address is the last");
        if !self.turned_away.has(job.seq, &address) {
            // The lane may have no budget for a second offer, above all if the host said that it sends too fast: then the next attempt begins
            // elsewhere, or no other host would ever be asked.
            self.turned_away.note(job.seq, address, clock::instant());
            open.left = Some((job.seq, address));
        }
        job.rcpts = on.iter().map(|(rcpt, _, _)| *rcpt).collect();
        let said = on.into_iter().map(|(rcpt, said, _)| (rcpt, said)).collect();
        Ok(JobOutcome::GoesOn(Offered { address, said, facts }))
    }

    /// The outcome of a job that the relay itself could not offer.
    fn not_tried(&self, open: &Open, site: &Site, job: &DeliveryJob, cause: LocalCause, detail: String) -> JobOutcome {
        let failure = Failure::Local { stage: Stage::Mail, cause, detail };
        let verdict = self.judge(&failure, site, Some(&open.facts));
        JobOutcome::Answered { said: vec![AttemptResult::Failed(failure, verdict); job.rcpts.len()], facts: Arc::new(open.facts.clone()) }
    }

    /// For each of these recipients, the result that is known before the receiver is asked: its address is suppressed, or the receiver
    /// lacks an extension that the message needs.
    fn beforehand(&self, open: &Open, site: &Site, message: &Message, rcpts: &[u16], needs: Needs) -> Vec<Option<AttemptResult>> {
        let known = |(rcpt, entry): (&u16, Option<Arc<Suppressed>>)| {
            entry.map(AttemptResult::Suppressed).or_else(|| {
                let failure = open.connection.lacks(needs, &message.record.envelope.recipients[usize::from(*rcpt)])?;
                let verdict = self.judge(&failure, site, Some(&open.facts));
                Some(AttemptResult::Failed(failure, verdict))
            })
        };
        rcpts.iter().zip(self.suppressed(message, rcpts)).map(known).collect()
    }

    /// The message as it goes out if its returns come to the relay. Recipients that were grouped before a bounce domain came into force get
    /// the message as it is.
    fn stamped(&self, message: &Message, rcpts: &[u16]) -> Option<Stamped> {
        let [rcpt] = rcpts else { return None };
        let marks = self.settings.get().paths.towards(&message.record, *rcpt)?;
        Some(Stamped::new(marks, message))
    }
}

/// The outcome of a job with these results, in the order of its recipients.
fn answered(job: &mut DeliveryJob, results: Vec<Answer>, facts: Arc<Attempt>) -> JobOutcome {
    let (rcpts, said) = results.into_iter().map(|(rcpt, said, _)| (rcpt, said)).unzip();
    job.rcpts = rcpts;
    JobOutcome::Answered { said, facts }
}

/// Whether a site has more than one address.
fn has_others(site: &Site) -> bool {
    site.hosts.iter().map(|host| host.addresses.len()).sum::<usize>() > 1
}

/// A session was to leave a host for another one, and none took it.
fn no_other_host() -> Failure {
    let detail = "the session left a host that had turned the message away, and no other let it in".into();
    Failure::Local { stage: Stage::Rset, cause: LocalCause::ConnectionLost, detail }
}

/// Why none of a transaction's recipients was offered, if that is so.
fn never_offered(report: &Report) -> Option<Failure> {
    let [RecipientResult::NotOffered(failure), ..] = &report.recipients[..] else { return None };
    report.recipients.iter().all(|result| matches!(result, RecipientResult::NotOffered(_))).then(|| failure.clone())
}

/// The receiver took some recipients and ended the session before it heard of the others.
fn ended_between(facts: &Attempt) -> Failure {
    let detail = format!("{} ended the session between two transactions", facts.mx_host.as_deref().unwrap_or("the receiver"));
    Failure::Local { stage: Stage::Mail, cause: LocalCause::ConnectionLost, detail }
}
