//! Takes the letters out of the maildrop.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_host::{
    InForce, clock, guarded,
    letterbox::{self, Found, Seen, Turns},
    readings::{CRASHES_MAX, Readings},
};
use posthaste_journal::{Alarms, Finding, StandingAlarm};
use posthaste_mail::{MessageId, ReversePath, What};
use posthaste_monitor::{Key, LogError, LogRecord};
use posthaste_smtp::server::{Answer, Refused, Submission};
use posthaste_submission::{Client, Intake, Listener, Role};
use rustix::process::geteuid;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use super::letter::{ENVELOPE_MAX, Letter};
use crate::notify::{NotifySettings, Unsendable};

/// Letters that are looked at in one round, at most: users take turns, and each round looks who has come. If there are more, the next round follows
/// at once.
const ROUND: usize = 250;
/// How old a file that is not complete has to be before it is deleted, in seconds: its writer was killed.
const UNFINISHED_SECONDS: i64 = 24 * 3600;
/// The alarm about a maildrop that cannot be emptied.
const TROUBLE: &str = "maildrop";

/// Settings of the maildrop.
pub(crate) struct MaildropSettings {
    /// The folder; None: there is none.
    dir: Option<PathBuf>,
    /// Whether all users of this machine may put letters into it.
    for_all: bool,
    /// How often it is emptied.
    every: Duration,
}

impl MaildropSettings {
    /// Those of this configuration. In the data folder, others than the relay's user have nothing to look for.
    pub(crate) fn of(config: &Config) -> Self {
        let dir = config.sendmail.maildrop.clone();
        let for_all = dir.as_ref().is_some_and(|dir| !dir.starts_with(&config.data_dir));
        Self { dir, for_all, every: config.sendmail.pickup }
    }
}

/// Empties the maildrop again and again.
pub(crate) struct Pickup {
    intake: Arc<Intake>,
    settings: InForce<MaildropSettings>,
    notices: InForce<NotifySettings>,
    alarms: Alarms,
    /// What keeps a letter that ends the relay from being read for ever.
    readings: Arc<Readings>,
    /// How many files of each user are put aside; None: nobody asked in this round.
    aside: Mutex<Option<HashMap<u32, usize>>>,
}

/// What became of a letter.
enum Fate {
    /// The relay has it, or it is put aside: the file is gone.
    Done,
    /// It stays for the next round.
    Stays,
}

impl Pickup {
    /// One that has not begun yet.
    pub(crate) fn new(
        intake: Arc<Intake>,
        settings: InForce<MaildropSettings>,
        notices: InForce<NotifySettings>,
        alarms: Alarms,
        readings: Arc<Readings>,
    ) -> Self {
        Self { intake, settings, notices, alarms, readings, aside: Mutex::default() }
    }

    /// Takes letters until the relay stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        // What was said last, so that it is said once.
        let (mut trouble, mut turns): (Option<String>, _) = (None, Turns::default());
        loop {
            let (left, now) = match self.round(&mut turns, &stopping).await {
                Ok(round) => round,
                Err(why) => (false, Some(why)),
            };
            let journal = &self.intake.journal;
            match &now {
                // The rest may be in trouble.
                None if left => {}
                None => journal.mended(None, TROUBLE, "", || "the maildrop is emptied again".into()),
                Some(why) if trouble.as_ref() != Some(why) => {
                    let (what, remedy) = (why.clone(), "Its letters stay there and are taken as soon as that is possible".into());
                    journal.raise_again(Finding { rule: TROUBLE, key: String::new(), part: None, what, remedy });
                }
                Some(_) => {}
            }
            if !left || now.is_some() {
                trouble = now;
            }
            if left && !*stopping.borrow() {
                continue;
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = sleep(self.settings.get().every) => {}
            }
        }
    }

    /// Takes letters that are there. Returns whether there are more that can be taken, and what is wrong with the others, for people. Err: the
    /// maildrop cannot be read.
    async fn round(&self, turns: &mut Turns, stopping: &watch::Receiver<bool>) -> Result<(bool, Option<String>), String> {
        let settings = self.settings.get();
        let Some(dir) = settings.dir.clone() else { return Ok((false, None)) };
        let named = |error: io::Error| format!("the maildrop {}: {error}", dir.display());
        let (path, for_all, before) = (dir.clone(), settings.for_all, clock::now().as_second() - UNFINISHED_SECONDS);
        let mut theirs = std::mem::take(turns);
        let looked = blocking(move || {
            letterbox::make(&path, for_all)?;
            Ok((letterbox::look(&path, ROUND, before, &mut theirs)?, theirs))
        });
        let (Seen { names, has_more }, theirs) = looked.await.map_err(named)?;
        *turns = theirs;
        *self.aside() = None;
        let (mut done, mut trouble) = (0, None);
        for name in names {
            if *stopping.borrow() || self.intake.closed().is_some() {
                return Ok((false, None));
            }
            // What is wrong with one letter keeps no other one back.
            match self.letter(&dir, name).await {
                Ok(Fate::Done) => done += 1,
                Ok(Fate::Stays) => {}
                Err(why) => drop(trouble.get_or_insert(why)),
            }
        }
        Ok((has_more && done > 0, trouble))
    }

    fn aside(&self) -> MutexGuard<'_, Option<HashMap<u32, usize>>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn letter(&self, dir: &Path, name: String) -> Result<Fate, String> {
        let named = |error: io::Error| format!("the maildrop {}: {error}", dir.display());
        let most = self.intake.settings.get().limits.message_size.saturating_add(ENVELOPE_MAX);
        let (path, file) = (dir.to_owned(), name.clone());
        let (content, uid) = match blocking(move || letterbox::read(&path, &file, most)).await.map_err(named)? {
            Found::Nothing => return Ok(Fate::Done),
            Found::Unfit { why, uid } => {
                return self.put_aside(dir, name, uid, why).await.map_err(named);
            }
            Found::File { content, uid } => (content, uid),
        };
        let Ok(id) = name.parse::<MessageId>() else {
            return self.put_aside(dir, name, uid, "its name is no id").await.map_err(named);
        };
        match self.taken(id).await {
            Ok(true) => return self.remove(dir, name).await.map_err(named),
            Ok(false) => {}
            Err(error) => return Err(format!("the maildrop {}: the log cannot be read: {error}", dir.display())),
        }
        let crashes = self.readings.crashes(&name);
        let (taken, why) = if crashes >= CRASHES_MAX {
            (None, format!("the relay ended {crashes} times in a row while it read it"))
        } else {
            let _reading = self.readings.begin(&name);
            match guarded(self.whole(dir, name.clone(), id, content, uid)).await {
                Ok(taken) => (Some(taken), String::new()),
                Err(panicked) => (None, format!("reading it failed inside the relay ({panicked})")),
            }
        };
        if let Some(taken) = taken {
            return taken;
        }
        let aside = self.put_aside(dir, name.clone(), uid, &why).await.map_err(named);
        if aside.is_ok() {
            self.readings.forget(&name);
        }
        aside
    }

    /// Takes a whole file.
    async fn whole(&self, dir: &Path, name: String, id: MessageId, content: Vec<u8>, uid: u32) -> Result<Fate, String> {
        let named = |error: io::Error| format!("the maildrop {}: {error}", dir.display());
        let letter = match Letter::from_bytes(content) {
            // Root works with the rights of the folder's owner, so that only these two may speak for another.
            Ok(letter) if letter.uid == uid || uid == 0 || uid == geteuid().as_raw() => letter,
            Ok(_) => return self.put_aside(dir, name, uid, "it is another user's").await.map_err(named),
            Err(why) => return self.put_aside(dir, name, uid, why).await.map_err(named),
        };
        self.hand_in(dir, name, id, letter).await
    }

    /// Hands a letter to the intake, with the rights of a client at loopback.
    async fn hand_in(&self, dir: &Path, name: String, id: MessageId, letter: Letter) -> Result<Fate, String> {
        let named = |error: io::Error| format!("the maildrop {}: {error}", dir.display());
        let settings = self.intake.settings.get();
        let Some(client) = client(settings.listeners.values()) else {
            let why = "no listener takes mail from this machine without a login: add 127.0.0.1 to listen.NAME.allow";
            return Err(format!("the maildrop {} is not emptied: {why}", dir.display()));
        };
        let (envelope, uid, sender) = (letter.envelope(), letter.uid, letter.sender.clone());
        let (recipients, data) = (envelope.recipients.clone(), letter.data.clone());
        let limits = &settings.limits;
        let taken = match unfit(&letter, limits.message_size, limits.recipients, limits.text_line) {
            Some(answer) => Err(Refused::new(answer, "too_large")),
            None => {
                let submission = Submission {
                    envelope,
                    has_8bit: !letter.data.is_ascii(),
                    data: letter.data,
                    helo: format!("uid-{uid}").into(),
                    esmtp: true,
                    user: None,
                    tls: false,
                };
                self.intake.take_as(id, submission, &client).await
            }
        };
        match taken {
            Ok(()) => self.remove(dir, name).await.map_err(named),
            Err(Refused { answer, .. }) if answer.code < 500 => Ok(Fate::Stays),
            Err(refused) => {
                let message = Unsendable { id, sender: &sender, recipients: &recipients, data: &data, reply: refused.answer.to_reply() };
                let told = match self.notices.get().give_back(&message, &self.intake, clock::now()).await {
                    Ok(told) => told,
                    Err(why) => {
                        tracing::warn!(maildrop = name, why = why.answer.text, "a failure notice waits to be stored");
                        return Ok(Fate::Stays);
                    }
                };
                let told = if told { format!("{sender} has been told") } else { "nobody has been told".into() };
                let why = format!("the relay refused it: {} {}; {told}", refused.answer.code, refused.answer.text);
                self.rejected(&client, &sender, uid, refused);
                self.put_aside(dir, name, uid, &why).await.map_err(named)
            }
        }
    }

    fn rejected(&self, client: &Client, sender: &ReversePath, uid: u32, Refused { answer, reason }: Refused) {
        let what = What::Rejected {
            client_ip: client.ip,
            client_ehlo: Some(format!("uid-{uid}")),
            user: None,
            command: "dot".into(),
            from: Some(sender.to_string()),
            rcpt: None,
            reply: answer.to_reply(),
            reason: reason.into(),
        };
        self.intake.journal.append(clock::now(), what);
    }

    /// Whether the log knows a message of this id: the relay took the letter and was killed before it could delete the file.
    async fn taken(&self, id: MessageId) -> Result<bool, String> {
        let journal = self.intake.journal.clone();
        let look = move || {
            journal.flush()?;
            let mut found = false;
            journal.index().caught_up()?.lines(&Key::message(id), |line| {
                found = LogRecord::parse(line).is_some_and(|record| &*record.event == "accepted" && record.message() == Some(id));
                if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok::<_, LogError>(found)
        };
        spawn_blocking(look).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn remove(&self, dir: &Path, name: String) -> io::Result<Fate> {
        let path = dir.to_owned();
        blocking(move || letterbox::remove(&path, &name)).await.map(|()| Fate::Done)
    }

    /// Keeps what cannot be taken under another name, and says so. One alarm a day for each user counts them, so that nobody drowns the alarms of
    /// others; once it was acknowledged, the next one is another alarm.
    async fn put_aside(&self, dir: &Path, name: String, uid: u32, why: &str) -> io::Result<Fate> {
        let now = clock::now();
        // Nobody can foresee it, and so nothing can stand in its way.
        let id = MessageId::new(now, rand::random());
        let (path, was) = (dir.to_owned(), name.clone());
        // Counted once a round: it takes a look at all of them.
        let known = self.aside().take();
        let (aside, mut counts) = blocking(move || {
            let aside = letterbox::put_aside(&path, &was, &id.to_string())?;
            let counts = match known {
                Some(mut counts) => {
                    *counts.entry(uid).or_default() += 1;
                    counts
                }
                None => letterbox::aside(&path)?,
            };
            Ok((aside, counts))
        })
        .await?;
        let kept = *counts.entry(uid).or_default();
        *self.aside() = Some(counts);
        let this = format!("{}, {name:?} of user {uid}, cannot be taken from the maildrop: {why}", dir.join(&aside).display());
        let what = if kept > 1 { format!("{this}; with it, {kept} files of this user are put aside there (*.bad)") } else { this };
        let remedy = "It is kept under that name: send what is mail again with `posthaste sendmail`, and delete it";
        let (alarms, day) = (self.alarms.clone(), now.strftime("%F").to_string());
        let said = blocking(move || Ok(tell_aside(&alarms, uid, &day, &what, remedy, now))).await?;
        said.iter().for_each(|alarm| self.intake.journal.say_alarm(alarm, false));
        Ok(Fate::Done)
    }
}

/// Raises the alarm about files of a user that were put aside on a day, or gives the one that stands these words. Blocks on the disk.
fn tell_aside(alarms: &Alarms, uid: u32, day: &str, what: &str, remedy: &'static str, now: Timestamp) -> Option<StandingAlarm> {
    for nth in 1..=ASIDE_ALARMS_MAX {
        let nth = if nth == 1 { String::new() } else { format!(" ({nth})") };
        let (key, what) = (format!("user {uid} {day}{nth}"), what.to_owned());
        let finding = Finding { rule: "maildrop_unfit", key, part: None, what, remedy: remedy.into() };
        if let Some(reworded) = alarms.reword(&finding) {
            alarms.save();
            return Some(reworded);
        }
        // None, and none more that is only counted: it was acknowledged.
        let counted = alarms.now().more;
        let raised = alarms.raise(vec![finding], now).pop();
        if raised.is_some() || alarms.now().more > counted {
            return raised;
        }
    }
    None
}

/// Alarms about one user's files in a day, at most: so often somebody acknowledged what was there until then.
const ASIDE_ALARMS_MAX: u32 = 50;

/// A client on this machine, as the listener sees it that takes mail from there without a login; one at loopback goes first. None: none does.
fn client<'a>(listeners: impl Iterator<Item = &'a Listener>) -> Option<Client> {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let fit = listeners.filter(|listener| listener.role == Role::Submission && listener.allows(here) && !listener.require_auth);
    let listener = fit.min_by_key(|listener| !listener.addresses.iter().any(|address| address.ip().is_loopback()))?;
    let (stream, streams) = (listener.stream.clone(), listener.streams.clone());
    Some(Client { ip: here, stream, streams, arc: false, user: None, http: false })
}

/// What a session would have refused already.
fn unfit(letter: &Letter, size: u64, recipients: usize, line: Option<usize>) -> Option<Answer> {
    if letter.data.len() as u64 > size {
        return Some(Answer::new(552, 3, 4, format!("a message has at most {size} bytes here")));
    }
    if letter.recipients.len() > recipients {
        return Some(Answer::new(550, 5, 3, format!("a message has at most {recipients} recipients here")));
    }
    let most = line?;
    let is_long = |text: &[u8]| text.strip_suffix(b"\r").unwrap_or(text).len() > most;
    let long = letter.data.split(|byte| *byte == b'\n').any(is_long);
    long.then(|| Answer::new(550, 6, 0, format!("the message holds a line longer than {most} bytes")))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
