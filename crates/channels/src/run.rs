//! Runs the channels: one task that sends what is due, and keeps the outbox on disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use posthaste_host::{InForce, clock, guarded};
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_mail::Name;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{Message, Notification, Outbox, Sender, Settings, store};

/// The channels. Cheap to clone.
#[derive(Clone)]
pub struct Channels(Arc<Shared>);

struct Shared {
    outbox: Mutex<Kept>,
    /// Something was offered.
    offered: Notify,
    settings: InForce<Settings>,
    journal: Journal,
    path: PathBuf,
}

/// The outbox, the settings that it knows, and whether it is other than on disk.
struct Kept {
    outbox: Outbox,
    known: Option<Arc<Settings>>,
    unsaved: bool,
}

/// How a test of a channel went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// The channel.
    pub channel: Name,
    /// Its kind.
    pub kind: String,
    /// Why it has not taken the message; None: it has.
    pub failed: Option<String>,
}

/// There is no such channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no channel {name}; {}", if .channels.is_empty() { "the configuration has no [alarm.NAME]".into() } else { format!("channels are: {}", .channels.join(", ")) })]
pub struct NoSuchChannel {
    /// The name that was asked for.
    pub name: Name,
    /// The channels that there are.
    pub channels: Vec<String>,
}

impl Channels {
    /// The channels of these settings, with what waited in the data folder when the relay stopped. Blocks on the disk.
    pub fn new(settings: InForce<Settings>, journal: Journal, data_dir: &Path) -> Self {
        let path = store::path(data_dir);
        let (outbox, trouble) = store::load(&path, clock::now());
        if let Some(trouble) = trouble {
            journal.say(Part::Channels, State::Alarm, trouble);
        }
        let outbox = Mutex::new(Kept { outbox, known: None, unsaved: false });
        Self(Arc::new(Shared { outbox, offered: Notify::new(), settings, journal, path }))
    }

    /// Offers news of incidents to all channels; they are sent by [`Self::run`]. Never waits.
    ///
    /// Offers may be repeated. After a start, and after a reload for the sake of new channels, all open incidents should be offered as opened:
    /// who has heard of them hears nothing.
    pub fn offer(&self, news: impl IntoIterator<Item = Notification>) {
        let now = clock::now();
        let mut kept = self.0.kept();
        for news in news {
            kept.outbox.offer(news, now);
            kept.unsaved = true;
        }
        drop(kept);
        self.0.offered.notify_one();
    }

    /// Sends a test message to a channel, or to all, and says for each how it went. Neither limits nor retries apply.
    ///
    /// # Errors
    /// There is no channel of this name.
    pub async fn test(&self, name: Option<&Name>) -> Result<Vec<Tested>, NoSuchChannel> {
        let settings = self.0.settings.get();
        if let Some(name) = name.filter(|name| !settings.channels.contains_key(*name)) {
            return Err(NoSuchChannel { name: name.clone(), channels: settings.channels.keys().map(ToString::to_string).collect() });
        }
        let now = clock::now();
        let message = Message::one(Notification::test(settings.node.clone(), now));
        let mut sends = JoinSet::new();
        for (channel, sender) in senders(&settings).filter(|(channel, _)| name.is_none_or(|name| name == channel)) {
            let message = message.clone();
            sends.spawn(async move {
                let failed = sender.send(&message, now).await.err().map(|error| error.to_string());
                Tested { channel, kind: sender.channel.way.kind().into(), failed }
            });
        }
        let mut tested = sends.join_all().await;
        tested.sort_by(|a, b| a.channel.cmp(&b.channel));
        Ok(tested)
    }

    /// Sends what is due, until told to stop; then waits a little for what is under way. What is not told by then is told after the next start.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut running = Running { shared: self.0, sends: JoinSet::new(), saving: None };
        loop {
            running.send_what_is_due();
            running.save();
            let wait = running.wait();
            tokio::select! {
                () = running.shared.offered.notified() => {}
                Some(done) = running.sends.join_next() => running.done(done),
                saved = finished(&mut running.saving) => running.saved(saved),
                () = sleep(wait) => {}
                stopped = stop.wait_for(|stop| *stop) => {
                    // Err: nobody is left who could say so.
                    let _ = stopped.map(drop);
                    break;
                }
            }
        }
        running.finish().await;
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = self.settings.get();
        if kept.known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &settings)) {
            kept.outbox.set_channels(settings.channels.iter().map(|(name, (channel, _))| (name.clone(), channel.into())).collect());
            kept.known = Some(settings);
        }
        kept
    }
}

/// A sender for each channel.
fn senders(settings: &Settings) -> impl Iterator<Item = (Name, Sender)> {
    let sender =
        |(channel, tls): &(_, _)| Sender { channel: Clone::clone(channel), tls: Clone::clone(tls), hostname: settings.hostname.clone() };
    settings.channels.iter().map(move |(name, channel)| (name.clone(), sender(channel)))
}

/// What has become of a message to a channel.
type Done = (Name, Result<(), String>);

struct Running {
    shared: Arc<Shared>,
    sends: JoinSet<Done>,
    /// The write that is under way. A disk that hangs must not keep word of it from being sent.
    saving: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    fn send_what_is_due(&mut self) {
        let now = clock::now();
        let mut kept = self.shared.kept();
        let due = kept.outbox.due(now);
        let settings = kept.known.clone().expect("they are known once the outbox is asked for");
        drop(kept);
        let mut senders: BTreeMap<Name, Sender> = if due.is_empty() { BTreeMap::new() } else { senders(&settings).collect() };
        for (name, message) in due {
            let sender = senders.remove(&name).expect("the outbox has the channels of the settings");
            self.sends.spawn(async move {
                let sent = guarded(sender.send(&message, now)).await;
                (
                    name,
                    sent.map_err(|panicked| format!("a fault of posthaste: {panicked}")).and_then(|sent| sent.map_err(|e| e.to_string())),
                )
            });
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        // A panic has been caught, and nobody cancels a send but the end of this task.
        let Ok((name, result)) = done else { return };
        let now = clock::now();
        let mut kept = self.shared.kept();
        let given_up = match &result {
            Ok(()) => {
                kept.outbox.succeeded(&name, now);
                0
            }
            Err(_) => kept.outbox.failed(&name, now),
        };
        kept.unsaved = true;
        drop(kept);
        let journal = &self.shared.journal;
        match result {
            Err(error) => journal.raise(Finding {
                rule: FAILS,
                key: name.to_string(),
                part: Some(Part::Channels),
                what: format!("alarm.{name} cannot tell of incidents: {error}"),
                remedy: format!("It is tried again for a day; `posthaste alarm test {name}` tries now"),
            }),
            Ok(()) => journal.mended(Part::Channels, FAILS, name.as_str(), || format!("alarm.{name} tells of incidents again")),
        }
        if given_up > 0 {
            let what = format!(
                "alarm.{name} could not tell of {given_up} incidents for a day, and gives them up: `posthaste incidents` lists them"
            );
            journal.say(Part::Channels, State::Alarm, what);
        }
    }

    /// How long nothing will be due.
    fn wait(&self) -> Duration {
        let (next, now) = (self.shared.kept().outbox.next_due(), clock::now());
        let wait = next.map_or(LOOK_AGAIN, |at: Timestamp| at.duration_since(now).clamp(SignedDuration::ZERO, LOOK_AGAIN));
        clock::sleep_for(wait)
    }

    fn save(&mut self) {
        if self.saving.is_some() {
            return;
        }
        let mut kept = self.shared.kept();
        if std::mem::take(&mut kept.unsaved) {
            let (bytes, path) = (kept.outbox.to_bytes(), self.shared.path.clone());
            self.saving = Some(tokio::task::spawn_blocking(move || store::save(&path, &bytes)));
        }
    }

    fn saved(&mut self, result: std::io::Result<()>) {
        self.saving = None;
        let (journal, path) = (&self.shared.journal, self.shared.path.display());
        match result {
            Err(error) => {
                // It is written again with the next news.
                journal.raise(Finding {
                    rule: UNWRITABLE,
                    key: String::new(),
                    part: Some(Part::Channels),
                    what: format!("{path} cannot be written: {error}. Until it can, a restart tells of incidents twice or not at all"),
                    remedy: "Make room on the disk, and see that the file belongs to the relay's user".into(),
                });
            }
            Ok(()) => journal.mended(Part::Channels, UNWRITABLE, "", || format!("{path} can be written again")),
        }
    }

    async fn finish(mut self) {
        // What is under way may just arrive; then it is not told again after the start.
        let rest = async {
            while let Some(done) = self.sends.join_next().await {
                self.done(done);
            }
        };
        let _ = timeout(GRACE, rest).await;
        if self.saving.is_some() {
            let saved = finished(&mut self.saving).await;
            self.saved(saved);
        }
        self.save();
        if self.saving.is_some() {
            let saved = finished(&mut self.saving).await;
            self.saved(saved);
        }
    }
}

/// The result of the write that is under way; never, if none is.
async fn finished(saving: &mut Option<JoinHandle<std::io::Result<()>>>) -> std::io::Result<()> {
    match saving {
        Some(saving) => saving.await.unwrap_or_else(|error| Err(std::io::Error::other(error))),
        None => std::future::pending().await,
    }
}

/// The rules of the alarms that are raised here, and mended.
const FAILS: &str = "channel_fails";
const UNWRITABLE: &str = "channels_unwritable";
/// So often the settings are looked at, and the clock, which may have been set.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// How long a stopping relay waits for what is under way.
const GRACE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
