//! The handler of returned mail: it judges each mail, logs each report once, and answers when the line is durable and its consequences are
//! done.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_governor::Note;
use posthaste_host::{InForce, clock, guarded_here};
use posthaste_journal::{Finding, Journal, Part, State, Ticket};
use posthaste_mail::{Address, Class, Envelope, MessageId, Name, ReversePath};
use posthaste_monitor::LogError;
use posthaste_queue::QueueHandle;
use posthaste_smtp::server::{Answer, Refused, Submission};
use posthaste_spool::Spool;
use posthaste_submission::{Accepting, ConnectedClient, Inbox, Intake};
use posthaste_suppression::Register;
use posthaste_verp::{OpenedPath, Unwanted};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{
    forward::{self, Forwards, Stray},
    found::{Belief, Believe, Return, believed},
    identity,
    judge::ReturnJudge,
    notice,
    once::{Claimed, Claims, Settling},
    origin::{Origins, PeerHost, Way},
    peers::Peers,
    record::{self, Telling},
    sent::LogSent,
    settings::Settings,
    tally::{Tally, word},
    tokens::PATHS_MAX,
    unread::{Begun, Unread, Untaken},
};

/// Mails judged at once, of those that came to a reverse-path in force and of all others: judging must not keep outgoing mail from the disk,
/// and reports about what was sent do not wait for what strangers send.
const JUDGING_MAX: usize = 2;
/// Mails that are looked into at once behind their answers. The reports of those beyond it stay hints.
const CONFIRMING_MAX: usize = 32;
/// How long a line may take to become durable before the client is asked to try again later.
const DURABLE_WITHIN: Duration = Duration::from_secs(60);
/// How often the sums are logged.
const SUMS_EVERY: Duration = Duration::from_mins(10);
/// How often expired entries are deleted.
const SWEEP_EVERY: Duration = Duration::from_hours(24);
/// The alarm about a mailbox that cannot be read.
const MAILBOX: &str = "mailbox_unreadable";

/// The handler of returned mail, shared by listeners and mailboxes.
pub struct ReturnHandler {
    settings: InForce<Settings>,
    pub(crate) journal: Journal,
    queue: QueueHandle,
    /// Takes the notices of late bounces, and what is passed on to the postmaster.
    intake: Arc<Intake>,
    forwards: Mutex<Forwards>,
    register: Arc<Register<Spool>>,
    claims: Claims,
    judging: [Arc<Semaphore>; 2],
    pub(crate) peers: Peers,
    pub(crate) confirming: Arc<Semaphore>,
    tally: Tally,
    /// What keeps a mail that ends the relay from being read for ever.
    pub(crate) unread: Unread,
    /// This handler itself, for what it does in the background.
    pub(crate) me: Weak<Self>,
}

impl ReturnHandler {
    /// A handler that shares the intake's spool, log and queue, and keeps in `data_dir` what cannot be read.
    pub fn new(settings: InForce<Settings>, intake: Arc<Intake>, data_dir: &Path) -> Arc<Self> {
        let judging = [JUDGING_MAX; 2].map(|most| Arc::new(Semaphore::new(most)));
        let (claims, tally, unread) = (Claims::default(), Tally::default(), Unread::open(data_dir));
        let (journal, queue, register) = (intake.journal.clone(), intake.queue.clone(), intake.register.clone());
        let (peers, confirming) = (Peers::default(), Arc::new(Semaphore::new(CONFIRMING_MAX)));
        Arc::new_cyclic(|me| Self {
            settings,
            journal,
            queue,
            intake,
            forwards: Mutex::default(),
            register,
            claims,
            judging,
            peers,
            confirming,
            tally,
            unread,
            me: me.clone(),
        })
    }

    /// Whether mail to this address is read.
    fn wants(&self, rcpt: &Address) -> Result<(), Refused> {
        self.settings.get().paths.want(rcpt, clock::now()).map_err(|why| match why {
            Unwanted::Expired => Refused::new(Answer::new(550, 1, 1, "this reverse-path has expired"), "expired_return"),
            Unwanted::Forged => Refused::new(Answer::new(550, 1, 1, "nobody here made this reverse-path"), "forged_return"),
            Unwanted::Unknown => Refused::new(Answer::new(550, 1, 1, "no such address"), "unknown_return"),
            Unwanted::Elsewhere => Refused::new(Answer::new(550, 7, 1, "mail to this domain is not taken here"), "relaying_denied"),
        })
    }

    /// Takes a mail that was fetched from a mailbox. Its reports are logged and their consequences done when this returns. What cannot be read is
    /// put aside.
    pub async fn take_fetched(&self, mail: Bytes) -> Result<(), Refused> {
        self.or_aside(mail.clone(), self.read_fetched(mail)).await.map(|_| ())
    }

    async fn read_fetched(&self, mail: Bytes) -> Result<(), Untaken> {
        let (settings, now) = (self.settings.get(), clock::now());
        let way = Way::default();
        let begun = self.unread.begin(&mail).await?;
        let returns = self.judge(&begun, settings.clone(), mail.clone(), vec![None], way.clone(), now).await?;
        let returns = self.with_authors(&begun, &settings, mail, returns, way.clone()).await;
        drop(begun);
        // A person's mail stays where it is, for those who read the mailbox.
        Ok(self.note_all(&settings, returns, &way, None, now).await?)
    }

    /// Takes a mail that came by SMTP. Its reports are logged and their consequences done when this returns; a person's mail is passed on, or
    /// refused. What cannot be read is put aside.
    async fn take_submitted(&self, submission: Submission, ip: IpAddr) -> Result<Answer, Refused> {
        let mail = submission.data.clone();
        let taken = self.or_aside(mail, self.read_submitted(submission, ip)).await?;
        Ok(taken.unwrap_or_else(|| Answer::new(250, 0, 0, "Ok: kept for the postmaster, since it could not be read")))
    }

    async fn read_submitted(&self, submission: Submission, ip: IpAddr) -> Result<Answer, Untaken> {
        let (settings, now) = (self.settings.get(), clock::now());
        let Envelope { reverse_path, recipients, body, .. } = submission.envelope;
        // What was passed on says that no person wrote it, and would be taken for an automatic reply.
        forward::is_new(&submission.data, &settings.hostname)?;
        let rcpts = recipients.iter().cloned().map(Some).collect();
        let host = PeerHost { ip, names: self.peers.known(ip, now) };
        let way = Way { host: Some(host), is_from_nobody: reverse_path == ReversePath::Null, authors: Vec::new() };
        let begun = self.unread.begin(&submission.data).await?;
        let mut returns = self.judge(&begun, settings.clone(), submission.data.clone(), rcpts, way.clone(), now).await?;
        // Others are not kept from reading while this one waits for its lines.
        let reading = begun.reading.clone();
        drop(begun);
        let is_mail = returns.iter().all(Return::is_mail);
        let about = returns.iter().find_map(|found| found.about()).map(|about| about.sent.clone());
        if is_mail {
            // What is refused or passed on has lines of its own.
            returns.retain(|found| found.about().is_some());
        }
        self.note_all(&settings, returns.clone(), &way, recipients.first(), now).await?;
        if !is_mail {
            self.confirm_later(reading, &settings, submission.data, returns, way, now);
            return Ok(Answer::new(250, 0, 0, "Ok: read"));
        }
        let Some(postmaster) = &settings.postmaster else {
            return Err(
                Refused::new(Answer::new(550, 1, 1, "nobody reads mail here, only reports about mail that was sent"), "no_report").into()
            );
        };
        let came = Stray { reverse_path: &reverse_path, recipients: &recipients, mail: &submission.data, about: about.as_ref() };
        came.may_go_on(body)?;
        if !self.forwards.lock().unwrap_or_else(PoisonError::into_inner).may_go(now, settings.returns.forwards_per_hour) {
            return Err(Refused::new(Answer::trouble("too much mail for the postmaster, try again later"), "too_many_forwards").into());
        }
        let id = MessageId::new(now, rand::random());
        let stream = about.as_ref().map_or_else(|| self.intake.usual_stream(), |sent| sent.facts.stream.clone());
        let text = came.wrapped(id, &settings, postmaster, now);
        self.intake.take_own(id, &stream, about.as_ref().map(|sent| sent.facts.message), text, postmaster).await?;
        self.tally.count("passed_on");
        Ok(Answer::new(250, 0, 0, format!("Ok: passed on to the postmaster as {id}")))
    }

    /// Logs all returns of one mail, which are durable when this returns.
    pub(crate) async fn note_all(
        &self,
        settings: &Arc<Settings>,
        returns: Vec<Return>,
        way: &Way,
        rcpt: Option<&Address>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let ip = way.host.as_ref().map(|host| host.ip);
        let mut waiting = Vec::new();
        for found in returns {
            if let Some((reason, what)) = record::unmatched(&found, ip, rcpt) {
                self.journal.refuse_stranger(now, ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), reason, what);
            }
            waiting.extend(self.note(settings, found, ip, now).await?);
        }
        for (done, known) in waiting {
            if !matches!(timeout(DURABLE_WITHIN, done).await, Ok(Ok(()))) {
                return Err(Refused::new(Answer::trouble("the report could not be written down, try again later"), "log_trouble"));
            }
            if let Some(LaneNote { source, provider, note }) = known {
                self.queue.known(source, provider, note).await;
            }
        }
        self.tally.mail();
        Ok(())
    }

    async fn judge(
        &self,
        begun: &Begun,
        settings: Arc<Settings>,
        mail: Bytes,
        rcpts: Vec<Option<Address>>,
        way: Way,
        now: Timestamp,
    ) -> Result<Vec<Return>, Untaken> {
        let keyed = rcpts.iter().flatten().any(|rcpt| is_keyed(&settings, rcpt, now));
        let reading = begun.reading.clone();
        let place = self.judging[usize::from(keyed)].clone().acquire_owned().await.expect("the semaphore is never closed");
        let journal = self.journal.clone();
        let judged = tokio::task::spawn_blocking(move || {
            // For as long as this thread works, whoever waits for it.
            let _held = (reading, place);
            // A nearby host may answer before the line of the message that it answers is written. A failing log is noticed later.
            let _ = journal.flush();
            let look_back = settings.returns.look_back.unwrap_or_default();
            let log = journal.index().caught_up()?;
            let sent = LogSent { log: &log, look_back, now };
            let is_feedback = rcpts.iter().any(|rcpt| rcpt.as_ref().is_none_or(|rcpt| settings.paths.reads(rcpt)));
            let origins = Origins { way: &way, providers: settings.resolver.providers() };
            let judge = ReturnJudge { verps: settings.paths.all(), rules: &settings.rules, sent: &sent, is_feedback, origins };
            Ok::<_, LogError>(guarded_here(|| judge.judge(&rcpts, &mail, now)))
        });
        let trouble = |error: &dyn Display| {
            tracing::error!(%error, "a returning mail could not be judged");
            Refused::new(Answer::trouble("the mail could not be read, try again later"), "return_trouble")
        };
        Ok(judged.await.map_err(|error| trouble(&error))?.map_err(|error| trouble(&error))??)
    }

    /// Logs one return if it is new. Returns a receiver that is signalled when its line is durable, and the note for its lane.
    async fn note(&self, settings: &Arc<Settings>, found: Return, ip: Option<IpAddr>, now: Timestamp) -> Result<Option<Noted>, Refused> {
        if identity::subject(&found).is_none() {
            self.tally.count(word(&found));
            return Ok(None);
        }
        let claim = match self.claims.claim(self.register.facts(), &found, now) {
            Some(Claimed::Granted(claim)) => claim,
            Some(Claimed::UnderWay) => {
                return Err(Refused::new(
                    Answer::trouble("the same report is just being written down, try again later"),
                    "return_under_way",
                ));
            }
            Some(Claimed::Known) | None => {
                self.tally.count("repeated");
                return Ok(None);
            }
        };
        let believe = settings.returns.trust;
        let again = identity::was_told(self.register.facts(), &found, believe, now);
        let Some(what) = record::what(&found, &Telling { believe, client_ip: ip, again }, now) else { return Ok(None) };
        // As with every ending, the notice is in the spool before the line.
        if let Return::LateBounce(about) = &found
            && believed(&found, believe) > Belief::Nothing
            && !again
        {
            notice::tell_sender(&self.intake, settings, about, now).await?;
        }
        self.tally.count(if again { "told_again" } else { word(&found) });
        let known = lane_note(&found, believe).filter(|_| !again);
        let (done, wait) = oneshot::channel();
        let settling = Settling { found, at: now, settings: settings.clone(), claim, done };
        let register = self.register.clone();
        self.journal.append_with(now, what, Ticket::then(move || settling.settle(&register)));
        Ok(Some((wait, known)))
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.get()
    }

    /// Logs a state of the handling of returns.
    pub(crate) fn say(&self, state: State, detail: String) {
        self.journal.say(Part::Returns, state, detail);
    }

    /// A mailbox cannot be read: that is an alarm until it can.
    pub(crate) fn mailbox_fails(&self, name: &str, why: &str) {
        let (what, remedy) = (format!("the mailbox {name} cannot be read: {why}"), "Bounces in it are not noticed until it can".into());
        self.journal.raise_again(Finding { rule: MAILBOX, key: name.to_owned(), part: Some(Part::Returns), what, remedy });
    }

    /// A mailbox was read: the alarm about it is over, if there is one.
    pub(crate) fn mailbox_is_read(&self, name: &str) {
        self.journal.mended(Part::Returns, MAILBOX, name, || format!("the mailbox {name} is read again"));
    }

    /// The relay stops: the last sums are logged, and what is being read now is not what ends it.
    pub fn stop(&self) {
        self.say_sums();
        self.unread.stop();
    }

    /// Logs the sums since the last time, if any mail came.
    fn say_sums(&self) {
        if let Some(sums) = self.tally.take() {
            self.say(State::Returned, sums.to_string());
        }
    }

    /// Logs the sums and deletes expired entries from time to time, for as long as the relay runs.
    pub async fn chores(self: Arc<Self>) {
        let mut sums = tokio::time::interval(SUMS_EVERY);
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                _ = sums.tick() => self.say_sums(),
                _ = sweeps.tick() => {
                    let handler = self.clone();
                    drop(tokio::task::spawn_blocking(move || handler.sweep(clock::now())).await);
                }
            }
        }
    }

    fn sweep(&self, now: Timestamp) {
        let rules = &self.settings.get().suppression;
        let gone = posthaste_suppression::sweep(&self.register, rules, now) + identity::sweep(self.register.facts(), now);
        tracing::debug!(gone, "swept what has expired from the suppression list and the memory of returns");
    }
}

impl Inbox for ReturnHandler {
    fn closed(&self) -> Option<Refused> {
        let trouble = self.journal.trouble().or_else(|| self.journal.owes()).or_else(|| self.intake.spool.trouble());
        trouble.map(|_| Refused::new(Answer::full("the relay has trouble with its disk, try again later"), "disk_trouble"))
    }

    /// Returns may come from anywhere; only their recipients are checked.
    fn may_send(&self, _: &ConnectedClient<'_>, _: &ReversePath, _: Option<u64>) -> Result<(), Refused> {
        Ok(())
    }

    fn wants(&self, client: &ConnectedClient<'_>, rcpt: &Address, recipients: u64) -> Result<(), Refused> {
        // RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction.
        if recipients > PATHS_MAX as u64 {
            return Err(Refused::new(Answer::new(452, 5, 3, "too many recipients in one report"), "too_many_recipients"));
        }
        Self::wants(self, rcpt)?;
        let (settings, now) = (self.settings.get(), clock::now());
        if is_keyed(&settings, rcpt, now) {
            self.peers.look_up(&settings.resolver, client.ip.to_canonical(), now);
        }
        Ok(())
    }

    fn take<'a>(&'a self, submission: Submission, client: &ConnectedClient<'_>) -> Accepting<'a> {
        let ip = client.ip.to_canonical();
        Box::pin(self.take_submitted(submission, ip))
    }
}

/// Whether an address is a reverse-path in force.
fn is_keyed(settings: &Settings, rcpt: &Address, now: Timestamp) -> bool {
    settings.paths.all().iter().any(|verp| matches!(verp.open(rcpt, now), OpenedPath::Valid(_)))
}

/// A return that is being logged: the signal when it is durable, and the note for its lane.
type Noted = (oneshot::Receiver<()>, Option<LaneNote>);

/// A note on a lane's health, for the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LaneNote {
    pub(crate) source: Name,
    pub(crate) provider: Name,
    pub(crate) note: Note,
}

/// The note of a return on the health of the lane that the message was sent over.
pub(crate) fn lane_note(found: &Return, believe: Believe) -> Option<LaneNote> {
    let (about, note) = match found {
        Return::Complaint(about) => (about, Note::Complaint),
        // Other late bounces say nothing about the quality of the recipients' addresses.
        Return::LateBounce(about) if matches!(about.class(), Some(Class::InvalidRecipient | Class::InactiveMailbox)) => {
            (about, Note::LateBounce)
        }
        _ => return None,
    };
    let lane = &about.sent.lane;
    let known = || Some(LaneNote { source: lane.source.clone()?, provider: lane.provider.clone()?, note });
    (believed(found, believe) > Belief::Nothing).then(known).flatten()
}
