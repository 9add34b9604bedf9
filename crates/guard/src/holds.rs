//! Whose new mail is held, and whom an operator has judged.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use posthaste_findings::{Rule, shell_word};
use posthaste_mail::Name;
use posthaste_queue::MailOf;
use serde::{Deserialize, Serialize};

use crate::{Settings, Sighting};

/// New mail of a user or a stream is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose.
    pub of: MailOf,
    /// Since when.
    pub since: Timestamp,
    /// The rules that have found something critical since; none if the reason is lost.
    pub rules: Vec<Rule>,
    /// What was found, as a sentence.
    pub why: String,
    /// The figure and its limit, in words.
    pub figure: String,
}

/// An operator ended a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why what was held was dropped; None: it was released.
    pub dropped: Option<String>,
    /// The figures that are left alone for a while.
    pub grace: Option<Grace>,
}

/// The figures that made the guard hold are known, and hold nothing until they are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grace {
    /// At most until then.
    pub until: Timestamp,
    /// Whether it lasts until then although the figures are gone, because the operator said so.
    pub promised: bool,
    /// The rules, and when each of them found something last.
    pub rules: BTreeMap<Rule, Timestamp>,
}

/// All holds and ends.
///
/// | state | a critical finding | a release or drop | with keep-holding |
/// |---|---|---|---|
/// | free | held | – | – |
/// | held | its rule is noted | free, with a grace for the rules that were noted | held |
/// | free, with a grace | of another rule: held | – | – |
///
/// A rule's grace ends when it has found nothing critical for as long as an incident needs to close, or at its time. A stream is not held for what
/// is the mail of users that are held or in grace themselves: the others of the stream would pay for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    holds: BTreeMap<MailOf, Hold>,
    ended: BTreeMap<MailOf, Ended>,
}

/// Why a saved state cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guard's holds cannot be read: {0}")]
pub struct HoldsError(String);

/// The version of the saved state.
const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Saved<T> {
    version: u64,
    holds: T,
}

/// How long an end is remembered, so that mail that was on its way when it came ends the same way.
const REMEMBERED: Duration = Duration::from_hours(24);
/// The most ends that are remembered; beyond them, the oldest is forgotten.
const ENDED_MAX: usize = 1000;

impl Holds {
    /// Goes on to `now`, at which this is found. Returns the holds that are new.
    pub fn look(&mut self, found: &[Sighting], settings: &Settings, now: Timestamp) -> Vec<Hold> {
        self.end_graces(found, settings, now);
        let mut new = Vec::new();
        // Users first: what is held of them does not speak against their streams.
        let (users, streams): (Vec<_>, Vec<_>) = found.iter().partition(|seen| matches!(seen.of, MailOf::User(_)));
        for seen in users.into_iter().chain(streams).filter(|seen| settings.counts(&seen.of, seen.rule)) {
            if let Some(hold) = self.holds.get_mut(&seen.of) {
                if !hold.rules.contains(&seen.rule) {
                    hold.rules.push(seen.rule);
                }
                continue;
            }
            if self.is_left_alone(&seen.of, seen.rule) || self.is_explained(seen) {
                continue;
            }
            let hold = Hold { of: seen.of.clone(), since: now, rules: vec![seen.rule], why: seen.why.clone(), figure: seen.figure.clone() };
            self.holds.insert(seen.of.clone(), hold.clone());
            new.push(hold);
        }
        new
    }

    /// Holds the new mail of somebody whose hold was lost although mail is held of it.
    pub fn adopt(&mut self, of: &MailOf, now: Timestamp) -> &Hold {
        let why = "Mail of it was found held in the spool, and why is not known any more.".to_owned();
        let lost = || Hold { of: of.clone(), since: now, rules: Vec::new(), why, figure: "found in the spool".into() };
        self.holds.entry(of.clone()).or_insert_with(lost)
    }

    /// An operator ends a hold. False: there is none.
    pub fn end(&mut self, of: &MailOf, ended: Ended) -> bool {
        if self.holds.remove(of).is_none() {
            return false;
        }
        if self.ended.len() >= ENDED_MAX
            && let Some(oldest) = self.ended.iter().min_by_key(|(_, ended)| ended.at).map(|(of, _)| of.clone())
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(of.clone(), ended);
        true
    }

    /// All holds.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// The hold of somebody's mail.
    pub fn get(&self, of: &MailOf) -> Option<&Hold> {
        self.holds.get(of)
    }

    /// The holds that hold new mail of this user (None: of nobody who logged in) in this stream.
    pub fn of(&self, user: Option<&str>, stream: &Name) -> impl Iterator<Item = &Hold> {
        self.holds.values().filter(move |hold| hold.of.covers(user, stream))
    }

    /// How the last hold on mail of this user and stream ended, and whose it was.
    pub fn ended_of(&self, user: Option<&str>, stream: &Name) -> Option<(&MailOf, &Ended)> {
        self.ended.iter().filter(|(of, _)| of.covers(user, stream)).max_by_key(|(_, ended)| ended.at)
    }

    /// All who were judged lately.
    pub fn ended(&self) -> impl Iterator<Item = (&MailOf, &Ended)> {
        self.ended.iter()
    }

    /// Whether nothing is held and nobody was judged lately.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.ended.is_empty()
    }

    /// Whether new mail of anybody is held.
    pub fn holds_any(&self) -> bool {
        !self.holds.is_empty()
    }

    /// The state, to be saved.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&Saved { version: VERSION, holds: self }).expect("the state is plain data")
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// These bytes are none, or another version's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HoldsError> {
        let saved: Saved<serde_json::Value> = serde_json::from_slice(bytes).map_err(|error| HoldsError(error.to_string()))?;
        match saved.version {
            VERSION => serde_json::from_value(saved.holds).map_err(|error| HoldsError(error.to_string())),
            other => Err(HoldsError(format!("they have version {other}, and this posthaste knows {VERSION}"))),
        }
    }

    fn end_graces(&mut self, found: &[Sighting], settings: &Settings, now: Timestamp) {
        for (of, ended) in &mut self.ended {
            let Some(grace) = &mut ended.grace else { continue };
            for seen in found.iter().filter(|seen| seen.of == *of) {
                grace.rules.entry(seen.rule).and_modify(|last| *last = now);
            }
            if !grace.promised {
                grace.rules.retain(|_, last| !lasted(*last, now, settings.gone_after));
            }
            if grace.until <= now || (grace.rules.is_empty() && !grace.promised) {
                ended.grace = None;
            }
        }
        self.ended.retain(|_, ended| ended.grace.is_some() || !lasted(ended.at, now, REMEMBERED));
    }

    fn is_left_alone(&self, of: &MailOf, rule: Rule) -> bool {
        let grace = self.ended.get(of).and_then(|ended| ended.grace.as_ref());
        grace.is_some_and(|grace| grace.promised || grace.rules.contains_key(&rule))
    }

    fn is_explained(&self, seen: &Sighting) -> bool {
        let known = |user: &MailOf| self.holds.contains_key(user) || self.is_left_alone(user, seen.rule);
        !seen.explained_by.is_empty() && seen.explained_by.iter().all(known)
    }
}

impl Hold {
    /// Why a message is held, and what ends it, for its line in the log and for whoever asks.
    pub fn detail(&self) -> String {
        let Self { of, since, rules, figure, .. } = self;
        let rules: Vec<&str> = rules.iter().map(|rule| rule.as_str()).collect();
        let rule = rules.first().map_or_else(String::new, |rule| format!("{rule}: "));
        let key = shell_word(&of.to_string());
        format!(
            "the guard holds the new mail of {} {} since {since:.0} ({rule}{figure}); `posthaste guard release {key}` sends it, \
             `posthaste guard drop {key}` removes it",
            of.word(),
            of.name()
        )
    }
}

fn lasted(since: Timestamp, now: Timestamp, time: Duration) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed >= time)
}

#[cfg(test)]
mod tests;
