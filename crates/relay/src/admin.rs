//! The admin socket, over which `posthaste queue`, `audit`, `reload` and others talk to the running relay: one line of JSON each way.

mod answers;
mod client;
mod figures;
mod listed;
mod looks;
mod reasons;
mod top;

use std::{path::Path, sync::Arc};

use posthaste_channels::Channels;
use posthaste_delivery::Outbound;
use posthaste_findings::Mute;
use posthaste_governor::warmup;
use posthaste_guard::EndRequest;
use posthaste_host::{clock, descriptors::Accepting};
use posthaste_journal::Alarms;
use posthaste_mail::{Domain, Name};
use posthaste_monitor::{Horizon, LineFilter, LogError, Position, audit, messages_named};
use posthaste_queue::{MessageSelection, Messages, QueueChange, QueueHandle, QueueTable, Stopping};
use posthaste_signing::rotation::Rotation;
use posthaste_spool::ReadError;
use posthaste_submission::Intake;
use posthaste_suppression::ListRequest;
use posthaste_watch::{Figures, Incidents, Report, ReportRequest, open_in};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
};

pub use crate::private::UserRow;
use crate::{
    daily::Daily,
    private::keys,
    recover::spooled,
    reload::{ReloadError, Reloaded},
    settings::{SettingsError, Swap},
    why::Subject,
};

pub use answers::{Audited, Changed, List, Listed, Queue};
pub use client::{AskError, ask};
pub use looks::{Logged, Traced};

/// The most sessions that `Queue` tells of.
const SLOW_SHOWN: usize = 10;
/// The most messages of one list, whatever limit is asked for: an answer is made in memory, at about a KiB for each.
const LISTED_MAX: usize = 10_000;
/// The longest request, in bytes.
const REQUEST_MAX: u64 = 64 << 10;

/// A request to the running relay.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// The queue's table.
    Queue,
    /// Messages of the queue.
    List {
        /// The messages.
        selection: MessageSelection,
        /// The most messages to list.
        limit: usize,
    },
    /// Report where mail goes, what waits, and why.
    Why {
        /// A message, an address or a domain.
        subject: Subject,
    },
    /// Read the delivery log.
    Log {
        /// Which lines.
        filter: LineFilter,
        /// The last lines, this many; None: all of them, in parts.
        last: Option<usize>,
        /// Go on there, where the last part ended.
        after: Option<Position>,
    },
    /// Trace messages in the delivery log.
    Trace {
        /// A message's id, a part of it, its Message-ID, or an address.
        what: String,
    },
    /// Find the messages that a text names: by an id, a part of one, or a Message-ID.
    MessagesNamed {
        /// The text.
        text: String,
    },
    /// Report what the log comes to.
    Report {
        /// Of which time, and told apart by what.
        #[serde(flatten)]
        request: ReportRequest,
        /// Told apart in all ways that say something.
        #[serde(default)]
        full: bool,
    },
    /// Mail the report of yesterday now, to try it out.
    MailReport,
    /// How things stand.
    Top {
        /// With the last minutes, which cost more.
        #[serde(default)]
        minutes: bool,
    },
    /// The incidents that are kept.
    Incidents,
    /// What rules and score found, also what is too small for an incident.
    Findings,
    /// Do not tell of an incident for a while.
    MuteIncident {
        /// Its id.
        id: String,
        /// Who mutes it, why, and until when.
        mute: Mute,
    },
    /// Close an incident. If it lasts, it opens again.
    CloseIncident {
        /// Its id.
        id: String,
        /// Who closes it.
        by: String,
    },
    /// Whose new mail the guard holds, and who is left alone for a while.
    Guard,
    /// Release or drop what the guard holds of somebody.
    EndGuard(EndRequest),
    /// Prove that nothing is lost.
    Audit,
    /// The alarms that stand until they are acknowledged.
    Alarms,
    /// Acknowledge alarms.
    Acknowledge {
        /// Their ids; None: all.
        ids: Option<Vec<u64>>,
        /// Who does it.
        by: String,
    },
    /// Send a test message to channels that tell of incidents.
    TestAlarm {
        /// The channel; None: all.
        name: Option<Name>,
    },
    /// Read or change the suppression list.
    Suppression(ListRequest),
    /// Read or steer the warm-up.
    Warmup(warmup::WarmupQuestion),
    /// Move on to a domain's next DKIM key.
    RotateKeys {
        /// The domain.
        domain: Domain,
    },
    /// The users, without their secrets.
    Users,
    /// The DKIM keys, without their private halves.
    DkimKeys {
        /// With what DNS holds for each.
        look_up: bool,
    },
    /// Read the configuration again.
    Reload,
    /// Retry, hold, release or remove messages. Their JSON is that of the change itself, not one level deeper.
    #[serde(untagged)]
    Change(QueueChange),
}

#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default)]
    answer: Value,
}

/// A requested reload, as the sender of its result.
pub type Reload = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// Serves the admin socket.
pub struct Admin {
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
    /// Requests reloads.
    pub reload: mpsc::Sender<Reload>,
}

impl Admin {
    /// Answers requests until the relay stops.
    pub async fn serve(self: Arc<Self>, listener: UnixListener, mut stopping: watch::Receiver<bool>) {
        let mut accepting = Accepting::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|s| *s) => return,
            };
            self.intake.journal.note_accepting("admin", accepting.note("admin", &accepted));
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().answer(stream))),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }

    async fn answer(self: Arc<Self>, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        let read = BufReader::new(read.take(REQUEST_MAX)).read_line(&mut line).await;
        let answer = match read.map_err(|e| e.to_string()).and_then(|_| serde_json::from_str(&line).map_err(|e| e.to_string())) {
            Ok(request) => self.perform(request).await,
            Err(error) => Err(Undone::Failed(format!("not a request: {error}"))),
        };
        let reply = match answer {
            Ok(answer) => Reply { error: None, answer },
            Err(undone) => Reply { error: Some(undone.to_string()), answer: Value::Null },
        };
        let text = serde_json::to_string(&reply).expect("a reply has nothing that JSON can't hold") + "\n";
        drop(write.write_all(text.as_bytes()).await);
    }

    async fn perform(&self, request: Request) -> Result<Value, Undone> {
        match request {
            Request::Queue => {
                let QueueTable { counts, lanes, holds, halted, .. } = self.queue().table().await?;
                let (closed, standing) = (self.intake.closed().map(|refused| refused.answer.text), self.alarms.now());
                let (blocked, slow) = (self.outbound.reach.blocked(), self.outbound.under_way.slow(SLOW_SHOWN, clock::instant()));
                let guarded = self.intake.guard.list_now().await?.into_iter().filter(|shown| shown.state == "holding").collect();
                json(&Queue { counts, lanes, halted, closed, blocked, holds, guarded, slow, standing })
            }
            Request::List { selection, limit } => {
                let Messages { rows, total } = self.queue().messages(selection, limit.min(LISTED_MAX)).await?;
                json(&List { total, messages: self.listed(rows).await? })
            }
            Request::Change(change) => self.change(change).await,
            Request::Why { subject } => self.why(subject).await,
            Request::Log { filter, last, after } => self.read_log(move |dir| looks::log(dir, filter, last, after)).await,
            Request::Trace { what } => self.read_log(move |dir| looks::trace(dir, &what)).await,
            Request::Report { request, full } => {
                let (figures, settings) = (self.figures.clone(), self.settings.load_full());
                let (incidents, stopped) = (open_in(&self.incidents.list(), (request.from, request.to)), self.incidents.stopped_lanes());
                let report = tokio::task::spawn_blocking(move || {
                    figures::report(figures.as_ref(), (&request, full), &settings.config.score, &stopped)
                });
                let report = report.await.map_err(Undone::of)?.map_err(Undone::Failed)?;
                json(&Report { incidents: Some(incidents), ..report })
            }
            Request::MailReport => {
                let daily = self
                    .daily
                    .as_ref()
                    .ok_or_else(|| Undone::Failed("the delivery log is not counted: monitor.enabled is false".into()))?;
                json(&daily.try_out(clock::now()).await.map_err(Undone::Failed)?)
            }
            Request::Top { minutes } => json(&self.top(minutes).await?),
            Request::MessagesNamed { text } => self.read_log(move |dir| messages_named(dir, &text)).await,
            Request::Incidents => json(&self.incidents.list()),
            Request::Findings => json(&self.incidents.findings()),
            Request::MuteIncident { id, mute } => {
                let (incidents, journal) = (self.incidents.clone(), self.intake.journal.clone());
                let muted = tokio::task::spawn_blocking(move || incidents.mute(&id, mute, &journal, clock::now()));
                json(&muted.await.map_err(Undone::of)?.map_err(Undone::of)?)
            }
            Request::CloseIncident { id, by } => {
                let (incidents, journal, settings) = (self.incidents.clone(), self.intake.journal.clone(), self.settings.load_full());
                let closed = tokio::task::spawn_blocking(move || {
                    incidents.close(&id, &by, &settings.config.rules.incidents, &journal, clock::now())
                });
                json(&closed.await.map_err(Undone::of)?.map_err(Undone::of)?)
            }
            Request::Guard => json(&self.intake.guard.list_now().await?),
            Request::EndGuard(request) => json(&self.intake.guard.end(request, clock::now()).await.map_err(Undone::of)?),
            Request::Audit => self.audit().await,
            Request::Alarms => json(&self.alarms.now()),
            Request::Acknowledge { ids, by } => self.acknowledge(ids, by).await,
            Request::TestAlarm { name } => json(&self.channels.test(name.as_ref()).await.map_err(Undone::of)?),
            Request::Warmup(question) => self.warmup(question).await,
            Request::Suppression(request) => self.suppression(request).await,
            Request::RotateKeys { domain } => {
                let (keys, news) = self.rotation.rotate(&domain, clock::now().as_second()).await.map_err(Undone::of)?;
                news.iter().for_each(|news| news.write(&self.intake.journal));
                json(&keys)
            }
            Request::Users => json(&self.settings.load().config.users.values().map(|user| UserRow::of(user)).collect::<Vec<_>>()),
            Request::DkimKeys { look_up } => json(&keys(&self.settings.load_full(), look_up).await.map_err(Undone::of)?),
            Request::Reload => {
                let (done, result) = oneshot::channel();
                self.reload.send(done).await.map_err(|_| Stopping)?;
                json(&result.await.map_err(|_| Stopping)??)
            }
        }
    }

    fn queue(&self) -> &QueueHandle {
        &self.intake.queue
    }

    async fn suppression(&self, request: ListRequest) -> Result<Value, Undone> {
        let rules = self.settings.load().config.suppression.clone();
        json(&posthaste_suppression::answer(&self.intake.register, rules, request, clock::now()).await.map_err(Undone::of)?)
    }

    /// Reads or steers the warm-up. A change is answered once it is durable.
    async fn warmup(&self, question: warmup::WarmupQuestion) -> Result<Value, Undone> {
        let steers = matches!(question, warmup::WarmupQuestion::Steer { .. });
        let answer = self.queue().warmup(question).await?;
        if steers {
            self.intake.spool.sync().await.map_err(Undone::of)?;
        }
        json(&answer)
    }

    async fn change(&self, change: QueueChange) -> Result<Value, Undone> {
        if let QueueChange::Retry { .. } = change {
            self.outbound.down.clear();
        }
        let posthaste_queue::Changed { messages, not_sent, scheduled, guarded } = self.queue().change(change).await?;
        json(&Changed { messages, not_sent, scheduled, guarded })
    }

    /// Answered once it is durable.
    async fn acknowledge(&self, ids: Option<Vec<u64>>, by: String) -> Result<Value, Undone> {
        let (alarms, now) = (self.alarms.clone(), clock::now());
        let acknowledge = move || alarms.acknowledge(ids.as_deref(), &by, now);
        let done = tokio::task::spawn_blocking(acknowledge).await.map_err(Undone::of)?.map_err(Undone::of)?;
        self.intake.journal.say_acknowledged(&done);
        json(&done)
    }

    /// Reads the delivery log for an operator, on a thread that may block.
    async fn read_log<T: Serialize + Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, LogError> + Send + 'static,
    ) -> Result<Value, Undone> {
        let dir = self.settings.load().config.log.dir.clone();
        let read = tokio::task::spawn_blocking(move || read(&dir)).await;
        json(&read.map_err(Undone::of)?.map_err(Undone::of)?)
    }

    /// Reads horizon, spool and log, in the order that `posthaste_monitor::audit` requires.
    async fn audit(&self) -> Result<Value, Undone> {
        let (spool, journal) = (self.intake.spool.clone(), self.intake.journal.clone());
        let dir = self.settings.load().config.log.dir.clone();
        let audited = tokio::task::spawn_blocking(move || {
            let horizon = Horizon::of(&dir, clock::now()).map_err(Undone::of)?;
            let queued = spooled(&spool)?;
            journal.flush().map_err(Undone::of)?;
            let audit = audit(&dir, queued, Some(horizon)).map_err(Undone::of)?;
            json(&Audited::of(&audit))
        });
        audited.await.map_err(Undone::of)?
    }
}

fn json<T: Serialize>(value: &T) -> Result<Value, Undone> {
    serde_json::to_value(value).map_err(Undone::of)
}

/// Why a request was not carried out; for people.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Stopping(#[from] Stopping),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Spool(#[from] ReadError),
    #[error(transparent)]
    Reload(#[from] ReloadError),
    #[error("{0}")]
    Failed(String),
}

impl Undone {
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_queue_is_a_request_like_the_others() {
        let selection = MessageSelection { stream: Some("news".into()), ..MessageSelection::default() };
        let drop = QueueChange::Cancel { selection, by: "ann".into(), reason: "wrong list".into() };
        let selected = r#"{"id":null,"domain":null,"provider":null,"stream":"news"}"#;
        let drop_line = format!(r#"{{"ask":"drop","selection":{selected},"by":"ann","reason":"wrong list"}}"#);
        assert_eq!(serde_json::to_string(&Request::Change(drop)).unwrap(), drop_line);
        let read = |line: &str| serde_json::from_str::<Request>(line).unwrap();
        assert!(matches!(read(&drop_line), Request::Change(QueueChange::Cancel { selection, by, reason })
            if selection.stream.as_deref() == Some("news") && by == "ann" && reason == "wrong list"));
        assert!(matches!(read(&format!(r#"{{"ask":"retry","selection":{selected}}}"#)), Request::Change(QueueChange::Retry { .. })));
        assert!(matches!(read(r#"{"ask":"audit"}"#), Request::Audit));
        assert!(matches!(read(&format!(r#"{{"ask":"list","selection":{selected},"limit":3}}"#)), Request::List { limit: 3, .. }));
    }
}
