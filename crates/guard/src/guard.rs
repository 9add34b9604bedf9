//! The guard at work: the door asks it about each message, the rules tell it what was found, operators release and drop by it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use posthaste_findings::{Guarded, Key, shell_word};
use posthaste_host::{InForce, clock, span};
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_mail::Name;
use posthaste_queue::{GuardChange, GuardEnd, GuardedRow, MailOf, QueueHandle, Stopping};
use posthaste_smtp::server::{Answer, Refused};
use posthaste_spool::Spool;
use serde::{Deserialize, Serialize};

use crate::{
    Ended, Grace, Hold, Holds, Room, Settings, Shown, Sighting,
    shown::{Sum, guarded},
    sighting::key_of,
};

/// The spool's key for the holds.
const STATE: &[u8] = b"guard/holds";
/// How often what is held is counted, and what was held for too long ends.
const EVERY: Duration = Duration::from_secs(10);
/// The rule of the alarm that held mail expires soon. It ends by itself, also by a start, after which it is raised again if it is still so.
pub const ENDS_SOON: &str = "guard_ends";

/// The guard of a relay. Clones share it.
#[derive(Clone)]
pub struct Guard(Arc<Shared>);

struct Shared {
    spool: Spool,
    queue: QueueHandle,
    journal: Journal,
    settings: InForce<Settings>,
    kept: Mutex<Kept>,
    /// Whether new mail of anybody is held: what is asked for each message.
    holds_any: AtomicBool,
    /// One at a time counts or ends what is held.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    holds: Holds,
    room: Room,
    /// What the spool has.
    saved: Vec<u8>,
}

/// How an operator ends a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// What is held goes out.
    Release {
        /// For how long it is not held again, whatever its figures; None: until the figures that made the guard hold are gone.
        lasts: Option<SignedDuration>,
    },
    /// What is held is removed.
    Drop {
        /// Why, for the log.
        reason: String,
    },
}

/// An operator wants what the guard holds to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRequest {
    /// Whose.
    pub of: MailOf,
    /// How.
    pub how: How,
    /// Whether new mail is still held afterwards.
    #[serde(default)]
    pub keep_holding: bool,
    /// Who wants it.
    pub by: String,
}

/// What became of such a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whose mail it was.
    pub key: String,
    /// Messages that were released or removed.
    pub messages: usize,
    /// Whether new mail is still held.
    pub holding: bool,
    /// Until when the same figures hold nothing, at most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
}

/// Why a hold was not ended.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// There is none.
    #[error("the guard holds no mail of {0}; `posthaste guard list` shows what it holds")]
    NotHeld(MailOf),
    /// The relay stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Guard {
    /// The guard, with the holds of before. If they cannot be read, what is held in the spool gets new ones.
    pub fn open(spool: Spool, queue: QueueHandle, journal: Journal, settings: InForce<Settings>) -> Self {
        let saved = spool.get(STATE).unwrap_or_default();
        let holds = if saved.is_empty() { Ok(Holds::default()) } else { Holds::from_bytes(&saved) };
        let holds = holds.unwrap_or_else(|error| {
            journal.say(Part::Guard, State::Alarm, format!("{error}; what is held stays held, and why it is has been forgotten"));
            Holds::default()
        });
        let (holds_any, kept) = (AtomicBool::new(holds.holds_any()), Mutex::new(Kept { holds, room: Room::default(), saved }));
        Self(Arc::new(Shared { spool, queue, journal, settings, kept, holds_any, turn: tokio::sync::Mutex::default() }))
    }

    /// Whether a message of this user and stream is held: then why, and it counts as held from now on. Err: no more of its mail fits.
    ///
    /// # Errors
    /// As much of it is held as may be.
    pub fn admit(&self, user: Option<&str>, stream: &Name, bytes: u64) -> Result<Option<Arc<str>>, Refused> {
        if !self.0.holds_any.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut kept = self.lock();
        let why = self.0.judge(&kept, user, stream, bytes)?;
        if why.is_some() {
            kept.room.take(user, stream, bytes);
        }
        Ok(why)
    }

    /// Whether a user may begin a message of so many bytes, whatever stream it will name: more of the user's mail fits, or none is held.
    ///
    /// # Errors
    /// As much of it is held as may be.
    pub fn may_begin(&self, user: &str, bytes: u64) -> Result<(), Refused> {
        if !self.0.holds_any.load(Ordering::Acquire) {
            return Ok(());
        }
        let (kept, of) = (self.lock(), MailOf::User(user.into()));
        let is_full = kept.holds.get(&of).is_some() && !kept.room.has_room(&of, bytes, &self.0.settings.get().room);
        if is_full { Err(full(&of)) } else { Ok(()) }
    }

    /// Whether anybody is guarded at present.
    pub fn is_on(&self) -> bool {
        self.0.settings.get().is_on()
    }

    /// Holds the new mail of those of whom something critical is found now. Blocks on the log.
    pub fn look(&self, found: &[Sighting], now: Timestamp) {
        let mut kept = self.lock();
        let new = kept.holds.look(found, &self.0.settings.get(), now);
        self.0.holds_any.store(kept.holds.holds_any(), Ordering::Release);
        self.0.save(&mut kept);
        drop(kept);
        for hold in new {
            let detail = hold.detail();
            tracing::warn!("{detail}");
            self.0.journal.say(Part::Guard, State::GuardHolds, detail);
        }
    }

    /// Whose new mail is held, for the rules of `findings`.
    pub fn facts(&self) -> BTreeMap<Key, Guarded> {
        let (kept, settings) = (self.lock(), self.0.settings.get());
        kept.holds.iter().map(|hold| (key_of(&hold.of), guarded(hold, &kept.room, &settings))).collect()
    }

    /// Whose new mail is held, and who is left alone for a while.
    pub fn list(&self) -> Vec<Shown> {
        let (kept, settings) = (self.lock(), self.0.settings.get());
        let holds = kept.holds.iter().map(|hold| Shown::hold(hold, &kept.room, &settings));
        holds.chain(kept.holds.ended().filter_map(|(of, ended)| Shown::ended(of, ended, &settings))).collect()
    }

    /// The same, with what is held counted just now.
    ///
    /// # Errors
    /// The relay stops.
    pub async fn list_now(&self) -> Result<Vec<Shown>, Stopping> {
        let _turn = self.0.turn.lock().await;
        self.0.count().await?;
        Ok(self.list())
    }

    /// Releases or drops what is held of somebody. The decision is durable before any mail moves, and a start makes up for what a crash cut off.
    ///
    /// # Errors
    /// Nothing of it is held, or the relay stops.
    pub async fn end(&self, request: EndRequest, now: Timestamp) -> Result<Done, GuardError> {
        let _turn = self.0.turn.lock().await;
        let EndRequest { of, how, keep_holding, by } = request;
        let (change, until) = self.0.decide(&of, &how, keep_holding, &by, now)?;
        if let Err(error) = self.0.spool.sync().await {
            // A start would hold again what has not moved by then.
            tracing::warn!(%error, "a decision about what the guard holds is not durable");
        }
        let messages = self.0.queue.end_guarded(change).await?;
        self.0.count().await?;
        self.0.journal.mended_silently(ENDS_SOON, &of.to_string());
        let (state, what) = match &how {
            How::Release { .. } => (State::GuardReleased, "sent".to_owned()),
            How::Drop { reason } => (State::GuardDropped, format!("removed ({reason})")),
        };
        let left = if keep_holding { "its new mail is still held" } else { "its new mail is held no longer" };
        let detail = format!("{messages} messages that the guard held of {} {} are {what}, by {by}; {left}", of.word(), of.name());
        self.0.journal.say(Part::Guard, state, detail);
        Ok(Done { key: of.to_string(), messages, holding: keep_holding, until })
    }

    /// Counts what is held, every ten seconds until the relay stops; finds what is held without a hold, and ends what was held for too long.
    pub async fn keep(self) {
        loop {
            let turn = self.0.turn.lock().await;
            if self.0.look_after(clock::now()).await.is_err() {
                return;
            }
            drop(turn);
            tokio::time::sleep(EVERY).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, kept: &Kept, user: Option<&str>, stream: &Name, bytes: u64) -> Result<Option<Arc<str>>, Refused> {
        let settings = self.settings.get();
        let mut why: Option<Arc<str>> = None;
        for hold in kept.holds.of(user, stream) {
            if !kept.room.has_room(&hold.of, bytes, &settings.room) {
                return Err(full(&hold.of));
            }
            why.get_or_insert_with(|| hold.detail().into());
        }
        Ok(why)
    }

    /// Writes the holds to the spool if they have changed.
    fn save(&self, kept: &mut Kept) {
        let bytes = if kept.holds.is_empty() { Vec::new() } else { kept.holds.to_bytes() };
        if bytes != kept.saved {
            match bytes.is_empty() {
                true => self.spool.delete(STATE),
                false => self.spool.put(STATE, &bytes),
            }
            kept.saved = bytes;
        }
    }

    /// Notes an operator's decision. Returns what the queue is to do, and until when the figures are left alone.
    fn decide(
        &self,
        of: &MailOf,
        how: &How,
        keep_holding: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<(GuardChange, Option<Timestamp>), GuardError> {
        let (settings, mut kept) = (self.settings.get(), self.lock());
        let Some(hold) = kept.holds.get(of).cloned() else { return Err(GuardError::NotHeld(of.clone())) };
        let mut until = None;
        if !keep_holding {
            let grace = grace(&hold, how, &settings, now);
            until = grace.as_ref().map(|grace| grace.until);
            let dropped = match how {
                How::Release { .. } => None,
                How::Drop { reason } => Some(reason.clone()),
            };
            kept.holds.end(of, Ended { at: now, by: by.to_owned(), dropped, grace });
            self.holds_any.store(kept.holds.holds_any(), Ordering::Release);
            self.save(&mut kept);
        }
        let end = match how {
            How::Release { .. } => GuardEnd::Released { by: by.into() },
            How::Drop { reason } => GuardEnd::Dropped { by: by.into(), reason: reason.as_str().into() },
        };
        // What is held for another reason too stays held; what is dropped is gone.
        let others = kept.holds.iter().map(|hold| hold.of.clone()).filter(|other| other != of);
        let except = if matches!(how, How::Drop { .. }) { Vec::new() } else { others.collect() };
        Ok((GuardChange { of: Some(of.clone()), except, before: None, end }, until))
    }

    async fn count(&self) -> Result<Vec<GuardedRow>, Stopping> {
        self.lock().room.asked();
        let rows = self.queue.guarded().await?;
        self.lock().room.counted(rows.clone());
        Ok(rows)
    }

    async fn look_after(&self, now: Timestamp) -> Result<(), Stopping> {
        let rows = self.count().await?;
        let mut changes = self.strays(&rows, now);
        let settings = self.settings.get();
        let before = now.checked_sub(settings.keep).unwrap_or(Timestamp::MIN);
        if rows.iter().any(|row| row.oldest < before) {
            let detail = format!("held by the guard for {}, and nobody released it", span(before, now));
            changes.push(GuardChange { of: None, except: Vec::new(), before: Some(before), end: GuardEnd::Expired { detail } });
        }
        let changed = !changes.is_empty();
        for change in changes {
            self.queue.end_guarded(change).await?;
        }
        if changed {
            self.count().await?;
        }
        self.warn(&settings, now);
        Ok(())
    }

    /// What is held without a hold: mail that was on its way when its hold ended, or when the relay was killed, ends as that has; of the rest
    /// the hold was lost.
    fn strays(&self, rows: &[GuardedRow], now: Timestamp) -> Vec<GuardChange> {
        let mut kept = self.lock();
        let mut changes = Vec::new();
        for row in rows {
            let user = row.user.as_deref();
            if kept.holds.of(user, &row.stream).next().is_some() {
                continue;
            }
            if let Some((of, ended)) = kept.holds.ended_of(user, &row.stream) {
                let by: Arc<str> = ended.by.as_str().into();
                let end = match &ended.dropped {
                    None => GuardEnd::Released { by },
                    Some(reason) => GuardEnd::Dropped { by, reason: reason.as_str().into() },
                };
                let except = kept.holds.iter().map(|hold| hold.of.clone()).collect();
                changes.push(GuardChange { of: Some(of.clone()), except, before: None, end });
                continue;
            }
            let of = row.user.clone().map_or_else(|| MailOf::Stream(row.stream.clone()), MailOf::User);
            let detail = kept.holds.adopt(&of, now).detail();
            self.journal.say(Part::Guard, State::GuardHolds, detail);
        }
        self.holds_any.store(kept.holds.holds_any(), Ordering::Release);
        self.save(&mut kept);
        changes
    }

    /// Raises an alarm about what expires soon, and ends it where that is over.
    fn warn(&self, settings: &Settings, now: Timestamp) {
        let kept = self.lock();
        let sums: Vec<(MailOf, Sum)> = kept.holds.iter().map(|hold| (hold.of.clone(), Sum::of(&hold.of, &kept.room))).collect();
        drop(kept);
        for (of, sum) in sums {
            let soon = sum.expires(settings).filter(|at| at.duration_since(now) <= signed(settings.warn_before));
            let key = shell_word(&of.to_string());
            match soon {
                Some(at) => self.journal.raise(Finding {
                    rule: ENDS_SOON,
                    key: of.to_string(),
                    part: Some(Part::Guard),
                    what: format!(
                        "the guard holds {} messages of {} {}, and the oldest expires at {at:.0}: its sender is notified then",
                        sum.messages,
                        of.word(),
                        of.name()
                    ),
                    remedy: format!(
                        "Send it with `posthaste guard release {key}`, or remove it with `posthaste guard drop {key} --reason WHY`"
                    ),
                }),
                None => self.journal.mended(Part::Guard, ENDS_SOON, &of.to_string(), || format!("nothing held of {of} expires soon")),
            }
        }
    }
}

/// The figures that an operator has judged.
fn grace(hold: &Hold, how: &How, settings: &Settings, now: Timestamp) -> Option<Grace> {
    let (lasts, promised) = match how {
        How::Release { lasts: Some(lasts) } => (*lasts, true),
        How::Release { lasts: None } => (signed(settings.grace), false),
        How::Drop { .. } => (signed(settings.grace_after_drop), false),
    };
    let until = now.checked_add(lasts).ok().filter(|until| *until > now)?;
    Some(Grace { until, promised, rules: hold.rules.iter().map(|rule| (*rule, now)).collect() })
}

fn full(of: &MailOf) -> Refused {
    let text = format!(
        "mail of {} {} is held until the operator of this relay has looked at it, and no more of it fits: try again later",
        of.word(),
        of.name()
    );
    Refused::new(Answer::new(451, 7, 1, text), "guard_full")
}

fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}
