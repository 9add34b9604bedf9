//! The admin socket, over which `posthaste queue`, `audit`, `reload` and others talk to the running relay: one line of JSON each way.

use std::{io, path::Path, sync::Arc};

use posthaste_delivery::{Outbound, read_record};
use posthaste_governor::warmup;
use posthaste_host::{clock, descriptors::Accepting, rights};
use posthaste_journal::{Alarms, StandingNow};
use posthaste_mail::{Domain, Name};
use posthaste_monitor::{Horizon, audit};
use posthaste_queue::{
    LaneRow, MessageRow, MessageSelection, Messages, QueueChange, QueueCounts, QueueHandle, QueueTable, Reasons, SourceNow, Stopping,
};
use posthaste_signing::rotation::Rotation;
use posthaste_spool::ReadError;
use posthaste_submission::Intake;
use posthaste_suppression::ListRequest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
};

use crate::{
    recover::spooled,
    reload::ReloadError,
    settings::{SettingsError, Swap},
    why::{self, Subject, WaitingMail, Why},
};

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
    /// Read or change the suppression list.
    Suppression(ListRequest),
    /// Read or steer the warm-up.
    Warmup(warmup::WarmupQuestion),
    /// Move on to a domain's next DKIM key.
    RotateKeys {
        /// The domain.
        domain: Domain,
    },
    /// Read the configuration again.
    Reload,
    /// Retry, hold, release or remove messages. Their JSON is that of the change itself, not one level deeper.
    #[serde(untagged)]
    Change(QueueChange),
}

/// The answer to `Queue`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Totals.
    pub counts: QueueCounts,
    /// By provider.
    pub lanes: Vec<LaneRow>,
    /// Why no mail is accepted at present.
    pub closed: Option<String>,
    /// Why deliveries are halted at present.
    #[serde(default)]
    pub halted: Option<String>,
    /// The alarms that stand.
    #[serde(flatten, default)]
    pub standing: StandingNow,
}

/// The answer to `List`.
#[derive(Debug, Serialize, Deserialize)]
pub struct List {
    /// The number of matching messages.
    pub total: usize,
    /// The first of them.
    pub messages: Vec<Listed>,
}

/// A message with its addresses.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The message's row in the queue.
    #[serde(flatten)]
    pub row: MessageRow,
    /// The reverse-path.
    pub from: String,
    /// The addresses of the recipients still to be delivered, in the row's order.
    pub addresses: Vec<String>,
}

/// The answer to a change.
#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    /// The number of changed messages.
    pub messages: usize,
    /// Of those that were to be tried now: why some are not, and what helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_sent: Vec<String>,
}

/// The answer to `Audit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Audited {
    /// accepted = ended + queued.
    pub balanced: bool,
    /// The figures, for people.
    pub text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default)]
    answer: Value,
}

/// A requested reload, as the sender of its result.
pub type Reload = oneshot::Sender<Result<String, ReloadError>>;

/// Serves the admin socket.
pub struct Admin {
    /// Gives access to the spool, and says why no mail is accepted.
    pub intake: Arc<Intake>,
    /// Gives the state of remote hosts.
    pub outbound: Arc<Outbound>,
    /// The alarms that stand.
    pub alarms: Alarms,
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
            accepting.note("admin", &accepted);
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
                let QueueTable { counts, lanes, halted } = self.queue().table().await?;
                let (closed, standing) = (self.intake.closed().map(|refused| refused.answer.text), self.alarms.now());
                json(&Queue { counts, lanes, halted, closed, standing })
            }
            Request::List { selection, limit } => {
                let Messages { rows, total } = self.queue().messages(selection, limit).await?;
                let spool = self.intake.spool.clone();
                let messages = tokio::task::spawn_blocking(move || rows.into_iter().map(|row| listed(&spool, row)).collect());
                json(&List { total, messages: messages.await.map_err(Undone::of)? })
            }
            Request::Change(change) => self.change(change).await,
            Request::Why { subject } => self.why(subject).await,
            Request::Audit => self.audit().await,
            Request::Alarms => json(&self.alarms.now()),
            Request::Acknowledge { ids, by } => self.acknowledge(ids, by).await,
            Request::Warmup(question) => self.warmup(question).await,
            Request::Suppression(request) => self.suppression(request).await,
            Request::RotateKeys { domain } => {
                let (keys, news) = self.rotation.rotate(&domain, clock::now().as_second()).await.map_err(Undone::of)?;
                news.iter().for_each(|news| news.write(&self.intake.journal));
                json(&keys)
            }
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
        let posthaste_queue::Changed { messages, not_sent } = self.queue().change(change).await?;
        json(&Changed { messages, not_sent })
    }

    /// Answered once it is durable.
    async fn acknowledge(&self, ids: Option<Vec<u64>>, by: String) -> Result<Value, Undone> {
        let (alarms, now) = (self.alarms.clone(), clock::now());
        let acknowledge = move || alarms.acknowledge(ids.as_deref(), &by, now);
        let done = tokio::task::spawn_blocking(acknowledge).await.map_err(Undone::of)?.map_err(Undone::of)?;
        self.intake.journal.say_acknowledged(&done);
        json(&done)
    }

    /// One report per domain; none for a message that is not in the queue.
    async fn why(&self, subject: Subject) -> Result<Value, Undone> {
        let settings = self.settings.load_full();
        let resolver = settings.new_resolver()?;
        let mut pages = Vec::new();
        for (domain, selection) in self.domains_of(&subject).await? {
            let mut why = Why::of(&settings, &domain, &resolver.route(&domain).await);
            let provider = why.provider.as_ref().map(|known| known.name.clone());
            let sources: Vec<Name> = why.lanes.iter().map(|lane| lane.source.clone()).collect();
            let Reasons { lanes, waiting, halted } = self.queue().why(selection, why::READ_MAX, provider, sources).await?;
            for SourceNow { source, now } in lanes {
                why.lanes.iter_mut().filter(|lane| lane.source == source).for_each(|lane| lane.now = Some(now.clone()));
            }
            why.halted = halted;
            let (spool, subject) = (self.intake.spool.clone(), subject.clone());
            let read = move || {
                WaitingMail::read(&subject, waiting.first, waiting.total, |seq| Some(read_record(&spool, seq).ok()?.envelope.recipients))
            };
            why.waiting = Some(tokio::task::spawn_blocking(read).await.map_err(Undone::of)?);
            pages.push(why);
        }
        json(&pages)
    }

    /// The domains to report on, each with the filter of what waits there.
    async fn domains_of(&self, subject: &Subject) -> Result<Vec<(Domain, MessageSelection)>, Undone> {
        let at =
            |domain: Domain, id| (domain.clone(), MessageSelection { id, domain: Some(domain.to_string()), ..MessageSelection::default() });
        let id = match subject {
            Subject::Domain(domain) => return Ok(vec![at(domain.clone(), None)]),
            Subject::Address(address) => return Ok(vec![at(address.to_domain(), None)]),
            Subject::Message(id) => *id,
        };
        let waits = self.queue().why(MessageSelection::one(id), why::READ_MAX, None, Vec::new()).await?.waiting.first;
        let mut domains: Vec<Domain> = waits.iter().filter_map(|waits| Domain::new(&waits.domain).ok()).collect();
        domains.sort();
        domains.dedup();
        domains.truncate(why::DOMAINS_MAX);
        Ok(domains.into_iter().map(|domain| at(domain, Some(id))).collect())
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
            json(&Audited { balanced: audit.balanced(), text: audit.to_string() })
        });
        audited.await.map_err(Undone::of)?
    }
}

fn json<T: Serialize>(value: &T) -> Result<Value, Undone> {
    serde_json::to_value(value).map_err(Undone::of)
}

fn listed(spool: &posthaste_spool::Spool, row: MessageRow) -> Listed {
    match read_record(spool, row.seq) {
        Ok(record) => {
            let address = |rcpt: &u16| record.envelope.recipients.get(usize::from(*rcpt)).map_or_else(String::new, ToString::to_string);
            let addresses = row.rcpts.iter().map(|recipient| address(&recipient.rcpt)).collect();
            Listed { from: record.envelope.reverse_path.to_string(), addresses, row }
        }
        // The message ended after the queue was asked.
        Err(_) => Listed { from: String::new(), addresses: Vec::new(), row },
    }
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

/// Sends a request to the relay behind `socket`. Blocks.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, AskError> {
    use std::io::{BufRead, Write};
    let mut stream = rights::along(socket, || std::os::unix::net::UnixStream::connect(socket)).map_err(AskError::NotRunning)?;
    let broken = |e: io::Error| AskError::Failed(e.to_string());
    let line = serde_json::to_string(request).expect("a request has nothing that JSON can't hold") + "\n";
    stream.write_all(line.as_bytes()).map_err(broken)?;
    let mut answer = String::new();
    io::BufReader::new(stream).read_line(&mut answer).map_err(broken)?;
    let reply: Reply = serde_json::from_str(&answer).map_err(|e| AskError::Failed(e.to_string()))?;
    match reply.error {
        Some(error) => Err(AskError::Failed(error)),
        None => serde_json::from_value(reply.answer).map_err(|e| AskError::Failed(e.to_string())),
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No relay listens on the socket.
    #[error("no relay answers: {0}")]
    NotRunning(io::Error),
    /// The request could not be carried out.
    #[error("{0}")]
    Failed(String),
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
