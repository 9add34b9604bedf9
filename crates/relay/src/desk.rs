//! What operators ask the running relay and what they make it do, whichever door they come by: the admin socket or the page.

mod answers;
mod figures;
mod listed;
mod looks;
mod reasons;
mod recalled;
mod searching;
mod top;
mod undone;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use posthaste_access::{Lockout, users::Passwords};
use posthaste_channels::{Channels, Tested};
use posthaste_config::{KeyInForce, Written};
use posthaste_delivery::Outbound;
use posthaste_findings::Mute;
use posthaste_governor::warmup::{WarmupAnswer, WarmupQuestion};
use posthaste_guard::{Done, EndRequest, Shown as Guarded};
use posthaste_host::clock;
use posthaste_journal::{Acknowledgement, Alarms, Part, State};
use posthaste_mail::{Domain, MessageId, Name};
use posthaste_monitor::{Criteria, Cursor, Horizon, LineFilter, LogError, Position, audit, messages_named};
use posthaste_queue::{MessageSelection, Messages, QueueChange, QueueTable, Stopping};
use posthaste_signing::rotation::{Rotation, news::NextKey};
use posthaste_submission::Intake;
use posthaste_suppression::{ListAnswer, ListRequest};
use posthaste_watch::{Figures, Incidents, OFF, Reloads, Report, ReportRequest, Shown, ShownFinding, open_in};
use tokio::sync::{mpsc, oneshot};

use crate::{
    daily::Daily,
    private::{KeyRow, UserRow, keys},
    recorder::OnDisk,
    recover::spooled,
    reload::{ReloadError, Reloaded},
    settings::Swap,
};

pub use answers::{Audited, Changed, List, Listed, Queue};
pub use looks::{Logged, Traced};
pub use recalled::Recalled;
pub use searching::{Searches, Searching};
pub use undone::Undone;
use undone::{Answered, blocking};

/// The most sessions that `Queue` tells of.
const SLOW_SHOWN: usize = 10;
/// The most messages of one list, whatever limit is asked for: an answer is made in memory, at about a KiB for each.
const LISTED_MAX: usize = 10_000;

/// A requested reload, as the sender of its result.
pub type Reload = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// Where operators' questions are answered.
pub struct Desk {
    /// Gives access to the spool, and says why no mail is accepted.
    pub intake: Arc<Intake>,
    /// Gives the state of remote hosts.
    pub outbound: Arc<Outbound>,
    /// The alarms that stand.
    pub alarms: Alarms,
    /// What the log comes to; None: it is not counted.
    pub figures: Option<Figures>,
    /// Mails the report of each day; None: the log is not counted.
    pub daily: Option<Daily>,
    /// What is wrong, and what was.
    pub incidents: Incidents,
    /// The channels that tell of incidents.
    pub channels: Channels,
    /// The settings in force.
    pub settings: Swap,
    /// The rotation of DKIM keys.
    pub rotation: Arc<Rotation>,
    /// Shuts out clients that guess.
    pub lockout: Arc<Lockout>,
    /// Checks passwords.
    pub passwords: Arc<Passwords>,
    /// Where the page is found: `http://127.0.0.1:8025`.
    pub pages: Vec<String>,
    /// When the configuration came into force, and how the last reload went.
    pub reloads: Reloads,
    /// What stood in the configuration's files when they were read.
    pub read: Arc<Mutex<Written>>,
    /// The room for searches of the log.
    pub searches: Searches,
    /// Last errors from before the start.
    pub recalled: Recalled,
    /// Knows when what was decided is on disk.
    pub(crate) on_disk: OnDisk,
    /// Requests reloads.
    pub reload: mpsc::Sender<Reload>,
}

fn off() -> Undone {
    Undone::Failed(OFF.into())
}

impl Desk {
    /// The queue by provider, and what stands in the mail's way.
    pub async fn queue(&self) -> Answered<Queue> {
        let QueueTable { counts, mut lanes, holds, halted, .. } = self.intake.queue.table().await?;
        self.recalled.add(&mut lanes, &self.intake.spool, &self.intake.journal, self.settings.load_full()).await;
        let (closed, standing) = (self.closed(), self.alarms.now());
        let (blocked, slow) = (self.outbound.reach.blocked(), self.outbound.under_way.slow(SLOW_SHOWN, clock::instant()));
        let guarded = self.guarded().await?.into_iter().filter(|shown| shown.state == "holding").collect();
        Ok(Queue { counts, lanes, halted, closed, blocked, holds, guarded, slow, standing })
    }

    /// Why no mail is accepted at present; None: it is.
    pub fn closed(&self) -> Option<String> {
        self.intake.closed().map(|refused| refused.answer.text)
    }

    /// Messages of the queue, the oldest first.
    pub async fn list(&self, selection: MessageSelection, limit: usize) -> Answered<List> {
        self.list_from(selection, 0, limit).await
    }

    /// Messages of the queue, the oldest first, without the first `skip`.
    pub async fn list_from(&self, selection: MessageSelection, skip: usize, limit: usize) -> Answered<List> {
        let most = skip.saturating_add(limit).min(LISTED_MAX);
        let Messages { mut rows, total } = self.intake.queue.messages(selection, most).await?;
        rows.drain(..skip.min(rows.len()));
        Ok(List { total, messages: self.listed(rows).await? })
    }

    /// Retries, holds, releases or removes messages. What was held, released or removed stays so through a crash once this returns.
    ///
    /// # Errors
    /// The relay stops, or the change is not on disk yet.
    pub async fn change(&self, change: QueueChange) -> Answered<Changed> {
        let retry = match &change {
            QueueChange::Retry { selection, by, .. } => Some((selection.to_string(), by.clone())),
            _ => None,
        };
        if retry.is_some() {
            self.outbound.down.clear();
        }
        let posthaste_queue::Changed { messages, not_sent, scheduled, guarded } = self.intake.queue.change(change).await?;
        if let Some((which, by)) = retry {
            if messages > 0 {
                let count = format!("{messages} {}", if messages == 1 { "message" } else { "messages" });
                self.intake.journal.say(Part::Delivery, State::QueueRetried, format!("{by} had {count} tried again at once ({which})"));
            }
        } else if messages > 0 {
            self.on_disk.wait().await.map_err(|why| {
                Undone::Failed(format!(
                    "it is done, but not on disk yet: {why}. If the relay is killed before it is, the mail is as it was"
                ))
            })?;
        }
        Ok(Changed { messages, not_sent, scheduled, guarded })
    }

    /// Lines of the delivery log: the last ones, or those after a position.
    pub async fn log(&self, filter: LineFilter, last: Option<usize>, after: Option<Position>) -> Answered<Logged> {
        self.read_log(move |dir| looks::log(dir, filter, last, after)).await
    }

    /// The lines of the messages that a text names, or the messages that it could mean.
    pub async fn trace(&self, what: String) -> Answered<Traced> {
        self.read_log(move |dir| looks::trace(dir, &what)).await
    }

    /// Begins a search of the log, the newest line first; or goes on with one, where a step of it ended.
    ///
    /// # Errors
    /// There are too many searches at present, or the log cannot be read.
    pub async fn search(&self, criteria: Criteria, after: Option<Cursor>) -> Answered<Searching> {
        let (searches, dir) = (self.searches.clone(), self.settings.load().config.log.dir.clone());
        blocking(move || searches.begin(&dir, criteria, after)).await?
    }

    /// The messages that a text names: by an id, a part of one, or a Message-ID.
    pub async fn messages_named(&self, text: String) -> Answered<Vec<MessageId>> {
        self.read_log(move |dir| messages_named(dir, &text)).await
    }

    /// What the log comes to. `full`: told apart in all ways that say something.
    pub async fn report(&self, request: ReportRequest, full: bool) -> Answered<Report> {
        let (figures, settings) = (self.figures.clone(), self.settings.load_full());
        let (kept, stopped) = (self.incidents.list(), self.incidents.stopped_lanes());
        let incidents = open_in(&kept, (request.from, request.to));
        let read = move || figures::report(figures.as_ref(), (&request, full), &settings.config.score, (&stopped, &kept));
        let report = blocking(read).await?.map_err(Undone::Failed)?;
        Ok(Report { incidents: Some(incidents), ..report })
    }

    /// Mails the report of yesterday.
    pub async fn mail_report(&self) -> Answered<String> {
        let daily = self.daily.as_ref().ok_or_else(off)?;
        daily.try_out(clock::now()).await.map_err(Undone::Failed)
    }

    /// The incidents that are kept, the open ones first.
    ///
    /// # Errors
    /// Monitoring is off, so that nobody knows whether there are any.
    pub fn incidents(&self) -> Answered<Vec<Shown>> {
        self.figures.as_ref().map(|_| self.incidents.list()).ok_or_else(off)
    }

    /// What was found, also what is too small for an incident.
    ///
    /// # Errors
    /// Monitoring is off.
    pub fn findings(&self) -> Answered<Vec<ShownFinding>> {
        self.figures.as_ref().map(|_| self.incidents.findings()).ok_or_else(off)
    }

    /// Tells nobody of an incident for a while.
    pub async fn mute_incident(&self, id: String, mute: Mute) -> Answered<()> {
        let (incidents, journal) = (self.incidents.clone(), self.intake.journal.clone());
        blocking(move || incidents.mute(&id, mute, &journal, clock::now())).await?.map_err(Undone::of)
    }

    /// Closes an incident. If it lasts, it opens again.
    pub async fn close_incident(&self, id: String, by: String) -> Answered<()> {
        let (incidents, journal, settings) = (self.incidents.clone(), self.intake.journal.clone(), self.settings.load_full());
        let close = move || incidents.close(&id, &by, &settings.config.rules.incidents, &journal, clock::now());
        blocking(close).await?.map_err(Undone::of)
    }

    /// Whose new mail the guard holds, and who is left alone for a while.
    pub async fn guarded(&self) -> Answered<Vec<Guarded>> {
        Ok(self.intake.guard.list_now().await?)
    }

    /// Releases or drops what the guard holds of somebody.
    pub async fn end_guard(&self, request: EndRequest) -> Answered<Done> {
        self.intake.guard.end(request, clock::now()).await.map_err(Undone::of)
    }

    /// Acknowledges alarms; None: all. Answered once it is durable.
    pub async fn acknowledge(&self, ids: Option<Vec<u64>>, by: String) -> Answered<Acknowledgement> {
        let (alarms, now) = (self.alarms.clone(), clock::now());
        let done = blocking(move || alarms.acknowledge(ids.as_deref(), &by, now)).await?.map_err(Undone::of)?;
        self.intake.journal.say_acknowledged(&done);
        Ok(done)
    }

    /// Sends a test message to channels that tell of incidents; None: to all.
    pub async fn test_alarm(&self, name: Option<Name>) -> Answered<Vec<Tested>> {
        self.channels.test(name.as_ref()).await.map_err(Undone::of)
    }

    /// Reads or changes the suppression list.
    pub async fn suppression(&self, request: ListRequest) -> Answered<ListAnswer> {
        let rules = self.settings.load().config.suppression.clone();
        posthaste_suppression::answer(&self.intake.register, rules, request, clock::now()).await.map_err(Undone::of)
    }

    /// Reads or steers the warm-up. A change is answered once it is durable.
    pub async fn warmup(&self, question: WarmupQuestion) -> Answered<WarmupAnswer> {
        let steers = matches!(question, WarmupQuestion::Steer { .. });
        let answer = self.intake.queue.warmup(question).await?;
        if steers {
            self.intake.spool.sync().await.map_err(Undone::of)?;
        }
        Ok(answer)
    }

    /// Moves on to a domain's next DKIM key.
    pub async fn rotate_keys(&self, domain: &Domain) -> Answered<Vec<NextKey>> {
        let (keys, news) = self.rotation.rotate(domain, clock::now().as_second()).await.map_err(Undone::of)?;
        news.iter().for_each(|news| news.write(&self.intake.journal));
        Ok(keys)
    }

    /// The users, without their secrets.
    pub fn users(&self) -> Vec<UserRow> {
        self.settings.load().config.users.values().map(|user| UserRow::of(user)).collect()
    }

    /// The DKIM keys, without their private halves; with what DNS holds for each if `look_up`.
    pub async fn dkim_keys(&self, look_up: bool) -> Answered<Vec<KeyRow>> {
        keys(&self.settings.load_full(), look_up).await.map_err(Undone::of)
    }

    /// The configuration in force, without secrets.
    pub fn keys_in_force(&self) -> Vec<KeyInForce> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.settings.load().config.in_force(&read)
    }

    /// Reads the configuration again.
    pub async fn reload(&self) -> Answered<Reloaded> {
        let (done, result) = oneshot::channel();
        self.reload.send(done).await.map_err(|_| Stopping)?;
        Ok(result.await.map_err(|_| Stopping)??)
    }

    /// Proves that nothing is lost. Reads horizon, spool and log, in the order that `posthaste_monitor::audit` requires.
    pub async fn audit(&self) -> Answered<Audited> {
        let (spool, journal) = (self.intake.spool.clone(), self.intake.journal.clone());
        let dir = self.settings.load().config.log.dir.clone();
        blocking(move || {
            let horizon = Horizon::of(&dir, clock::now()).map_err(Undone::of)?;
            let queued = spooled(&spool)?;
            journal.flush().map_err(Undone::of)?;
            let audit = audit(&dir, queued, Some(horizon)).map_err(Undone::of)?;
            Ok(Audited::of(&audit))
        })
        .await?
    }

    /// Reads the delivery log, on a thread that may block.
    async fn read_log<T: Send + 'static>(&self, read: impl FnOnce(&Path) -> Result<T, LogError> + Send + 'static) -> Answered<T> {
        let dir = self.settings.load().config.log.dir.clone();
        blocking(move || read(&dir)).await?.map_err(Undone::of)
    }
}
