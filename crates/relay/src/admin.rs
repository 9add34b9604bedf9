//! The admin socket, over which `posthaste queue`, `audit`, `reload` and others talk to the running relay: one line of JSON each way.

mod client;

use std::sync::Arc;

use posthaste_findings::Mute;
use posthaste_governor::warmup;
use posthaste_guard::EndRequest;
use posthaste_host::descriptors::Accepting;
use posthaste_mail::{Domain, Name};
use posthaste_monitor::{LineFilter, Position};
use posthaste_queue::{MessageSelection, QueueChange};
use posthaste_suppression::ListRequest;
use posthaste_watch::ReportRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
};

pub use crate::{
    desk::{Audited, Changed, List, Listed, Logged, Queue, Traced},
    private::UserRow,
};
use crate::{
    desk::{Desk, Undone},
    why::Subject,
};

pub use client::{AskError, ask};

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

/// Serves the admin socket.
pub struct Admin {
    desk: Arc<Desk>,
}

impl Admin {
    /// Answers with what the desk says.
    pub fn new(desk: Arc<Desk>) -> Arc<Self> {
        Arc::new(Self { desk })
    }

    /// Answers requests until the relay stops.
    pub async fn serve(self: Arc<Self>, listener: UnixListener, mut stopping: watch::Receiver<bool>) {
        let mut accepting = Accepting::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|s| *s) => return,
            };
            self.desk.intake.journal.note_accepting("admin", accepting.note("admin", &accepted));
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
        let desk = &self.desk;
        match request {
            Request::Queue => json(&desk.queue().await?),
            Request::List { selection, limit } => json(&desk.list(selection, limit).await?),
            Request::Change(change) => json(&desk.change(change).await?),
            Request::Why { subject } => json(&desk.why(subject).await?),
            Request::Log { filter, last, after } => json(&desk.log(filter, last, after).await?),
            Request::Trace { what } => json(&desk.trace(what).await?),
            Request::Report { request, full } => json(&desk.report(request, full).await?),
            Request::MailReport => json(&desk.mail_report().await?),
            Request::Top { minutes } => json(&desk.top(minutes).await?),
            Request::MessagesNamed { text } => json(&desk.messages_named(text).await?),
            Request::Incidents => json(&desk.incidents()?),
            Request::Findings => json(&desk.findings()?),
            Request::MuteIncident { id, mute } => json(&desk.mute_incident(id, mute).await?),
            Request::CloseIncident { id, by } => json(&desk.close_incident(id, by).await?),
            Request::Guard => json(&desk.guarded().await?),
            Request::EndGuard(request) => json(&desk.end_guard(request).await?),
            Request::Audit => json(&desk.audit().await?),
            Request::Alarms => json(&desk.alarms.now()),
            Request::Acknowledge { ids, by } => json(&desk.acknowledge(ids, by).await?),
            Request::TestAlarm { name } => json(&desk.test_alarm(name).await?),
            Request::Warmup(question) => json(&desk.warmup(question).await?),
            Request::Suppression(request) => json(&desk.suppression(request).await?),
            Request::RotateKeys { domain } => json(&desk.rotate_keys(&domain).await?),
            Request::Users => json(&desk.users()),
            Request::DkimKeys { look_up } => json(&desk.dkim_keys(look_up).await?),
            Request::Reload => json(&desk.reload().await?),
        }
    }
}

fn json<T: Serialize>(value: &T) -> Result<Value, Undone> {
    serde_json::to_value(value).map_err(Undone::of)
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
