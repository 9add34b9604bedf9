//! Idempotency keys: a repeated request with the same key within a day gets the same answer and sends nothing twice, even after a crash.
//!
//! A key is a fact in the spool, with the ids that the messages will have. It is durable before the first of them is written: of a batch that was
//! not durable yet, a power cut may leave the end without the beginning. When a client repeats a request after a crash, the ids are found, and
//! the log tells which of them were accepted: these are answered, and the others are taken now, under the same ids.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use aws_lc_rs::digest;
use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use posthaste_mail::MessageId;
use posthaste_monitor::{Key, LogError, LogRecord, Lookup};
use posthaste_smtp::server::Answer;
use posthaste_spool::{Facts, delete_where, in_shards, sharded};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::{BoxedRefusal, Refusal};

/// How long a key is remembered, while a relay runs: a clock that is set forgets none.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// The longest key, in characters.
const KEY_MAX: usize = 255;
/// What a usual key and its fact take, in bytes. What is longer, because it has the ids of a batch or a long answer, counts as several keys.
const USUAL: usize = 300;
/// The longest answer that is remembered. A longer one is made again, from the request and from the log.
const ANSWER_MAX: usize = 64 << 10;
/// `idempotency/SHARD/USER\0KEY`
const PREFIX: &[u8] = b"idempotency/";
/// The fact that says for how many seconds a relay has run, in decimal.
const RAN: &[u8] = b"http/ran";

/// The keys.
pub(super) struct Keys<F> {
    facts: F,
    /// For how many seconds a relay had run before this one, and when this one began.
    before: u64,
    began: Instant,
    /// Keys whose requests are in progress.
    busy: Mutex<HashSet<Vec<u8>>>,
    /// Approximately how many keys each user has, longer facts counted as several.
    counts: Mutex<HashMap<String, usize>>,
}

/// A key whose request is in progress; no other request gets it until this is dropped.
pub(super) struct Claim<F> {
    of: Arc<Keys<F>>,
    user: String,
    key: Vec<u8>,
}

/// What is remembered of a key.
#[derive(Debug, PartialEq)]
pub(super) enum Memory {
    /// Nothing.
    New,
    /// Its messages have these ids; the log tells which of them were accepted.
    Begun(Vec<MessageId>),
    /// It was answered.
    Answered(u16, Value),
}

/// When something happens: by the clock, which may be set, and by the seconds that a relay has run, in this process and before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    ran: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Fact {
    /// The hash of the request.
    hash: String,
    at: Timestamp,
    /// [`Moment::ran`]; the first facts had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ran: Option<u64>,
    ids: Vec<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<(u16, Value)>,
}

impl Fact {
    fn new(hash: &str, ids: &[MessageId], now: Moment) -> Self {
        Self { hash: hash.to_owned(), at: now.at, ran: Some(now.ran), ids: ids.to_vec(), answer: None }
    }

    fn is_stale(&self, now: Moment) -> bool {
        match self.ran {
            Some(ran) => now.ran.saturating_sub(ran) > KEPT.as_secs().unsigned_abs(),
            None => now.at.duration_since(self.at) > KEPT,
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a fact has nothing that JSON can't hold")
    }
}

impl<F: Facts> Keys<F> {
    /// The keys among these facts. Their number is not known before [`Self::sweep`].
    pub(super) fn new(facts: F, now: Instant) -> Arc<Self> {
        let before = facts.get(RAN).and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0);
        Arc::new(Self { facts, before, began: now, busy: Mutex::default(), counts: Mutex::default() })
    }

    /// The moment that it is by these clocks.
    pub(super) fn moment(&self, at: Timestamp, now: Instant) -> Moment {
        Moment { at, ran: self.before.saturating_add(now.saturating_duration_since(self.began).as_secs()) }
    }

    /// Notes for the next start for how long a relay has run.
    pub(super) fn note(&self, now: Moment) {
        self.facts.put(RAN, now.ran.to_string().as_bytes());
    }

    /// Removes expired keys and counts the rest. Reads all keys.
    pub(super) fn sweep(&self, now: Moment) {
        // What cannot be read may be of a later version: it is left there.
        delete_where(&self.facts, PREFIX, |value| Fact::decode(value).is_some_and(|fact| fact.is_stale(now)));
        let mut counts = HashMap::new();
        let _ = in_shards(&self.facts, PREFIX, None, |key, value| {
            *counts.entry(user_of(key)).or_default() += weight(key.len() + value.len());
            ControlFlow::Continue(())
        });
        *self.counts() = counts;
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a user's key for one request.
    pub(super) fn claim(self: &Arc<Self>, user: &str, key: &str) -> Result<Claim<F>, BoxedRefusal> {
        if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(|b| (32..127).contains(&b)) {
            let text = format!("an Idempotency-Key is 1 to {KEY_MAX} printable ASCII characters");
            return Err(Refusal::http(StatusCode::BAD_REQUEST, "bad_idempotency_key", text));
        }
        let key = sharded(PREFIX, &format!("{user}\0{key}"));
        match self.busy().insert(key.clone()) {
            true => Ok(Claim { of: self.clone(), user: user.to_owned(), key }),
            false => Err(Refusal::http(StatusCode::CONFLICT, "idempotency_key_busy", "a request with this Idempotency-Key is under way")),
        }
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<Vec<u8>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Facts> Claim<F> {
    /// What is remembered of a request with this hash.
    pub(super) fn look(&self, hash: &str, now: Moment) -> Result<Memory, BoxedRefusal> {
        let Some(fact) = self.of.facts.get(&self.key).and_then(|f| Fact::decode(&f)).filter(|f| !f.is_stale(now)) else {
            return Ok(Memory::New);
        };
        if fact.hash != hash {
            let text = "this Idempotency-Key was used for another request within the last 24 hours";
            return Err(Refusal::http(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", text));
        }
        Ok(fact.answer.map_or(Memory::Begun(fact.ids), |(status, body)| Memory::Answered(status, body)))
    }

    /// Stores the ids that the messages will have; must be called before they are stored.
    pub(super) fn begin(&self, hash: &str, ids: &[MessageId], now: Moment, max: usize) -> Result<(), BoxedRefusal> {
        let fact = Fact::new(hash, ids, now).encode();
        let mut counts = self.of.counts();
        let (all, own) = (counts.values().sum::<usize>(), counts.get(&self.user).copied().unwrap_or(0));
        if all >= max || own >= max.div_ceil(2) {
            let text = format!("{max} idempotency keys of the last 24 hours are remembered, half of them for one user; try again later");
            return Err(Refusal::mail(Answer::full(text), "idempotency_keys"));
        }
        *counts.entry(self.user.clone()).or_default() += weight(self.key.len() + fact.len());
        drop(counts);
        self.of.facts.put(&self.key, &fact);
        Ok(())
    }

    /// Stores the answer, unless it is very long. It need not be durable: if it is lost, the same answer is made from the log.
    pub(super) fn answered(&self, hash: &str, ids: &[MessageId], now: Moment, status: u16, body: Value) {
        let begun = Fact::new(hash, ids, now);
        let without = begun.encode().len();
        let fact = Fact { answer: Some((status, body)), ..begun }.encode();
        if fact.len() > without + ANSWER_MAX {
            return;
        }
        *self.of.counts().entry(self.user.clone()).or_default() += weight(self.key.len() + fact.len()) - weight(self.key.len() + without);
        self.of.facts.put(&self.key, &fact);
    }

    /// Forgets the key because no message was accepted: the request may be repeated.
    pub(super) fn forget(&self) {
        let weight = self.of.facts.get(&self.key).map_or(1, |fact| weight(self.key.len() + fact.len()));
        self.of.counts().entry(self.user.clone()).and_modify(|count| *count = count.saturating_sub(weight));
        self.of.facts.delete(&self.key);
    }
}

/// As how many keys a key and its fact of this length together count.
fn weight(bytes: usize) -> usize {
    bytes.div_ceil(USUAL).max(1)
}

/// The user in a key.
fn user_of(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let named = text.split_once('\0').map_or(&*text, |(user, _)| user);
    named.rsplit_once('/').map_or(named, |(_, user)| user).to_owned()
}

impl<F> Drop for Claim<F> {
    fn drop(&mut self) {
        self.of.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The hash that distinguishes requests, over everything that matters in them.
pub(super) fn hash(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    BASE64_STANDARD.encode(context.finish())
}

/// Which of these messages were accepted, according to the log.
pub(super) fn accepted(log: &Lookup, ids: &[MessageId]) -> Result<HashSet<MessageId>, LogError> {
    let mut found = HashSet::new();
    for id in ids {
        log.lines(&Key::message(*id), |line| {
            let is_it = LogRecord::parse(line).is_some_and(|record| &*record.event == "accepted" && record.message() == Some(*id));
            if !is_it {
                return ControlFlow::Continue(());
            }
            found.insert(*id);
            ControlFlow::Break(())
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_spool::MemoryFacts as Map;

    fn time(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    /// A relay that never rested, with a clock that was never set.
    fn at(hour: i64) -> Moment {
        Moment { at: time(hour), ran: hour.unsigned_abs() * 3600 }
    }

    fn keys() -> Arc<Keys<Map>> {
        Keys::new(Map::default(), posthaste_host::clock::instant())
    }

    fn claim(keys: &Arc<Keys<Map>>, key: &str) -> Result<Claim<Map>, &'static str> {
        keys.claim("app", key).map_err(|r| r.reason)
    }

    fn ids() -> Vec<MessageId> {
        vec![MessageId::new(time(0), 1), MessageId::new(time(0), 2)]
    }

    #[test]
    fn a_key_is_new_then_begun_then_answered_then_new_again() {
        let keys = keys();
        let first = claim(&keys, "k").unwrap();
        assert_eq!(first.look("h", at(0)).unwrap(), Memory::New);
        first.begin("h", &ids(), at(0), 9).unwrap();
        assert_eq!(first.look("h", at(0)).unwrap(), Memory::Begun(ids()));
        first.answered("h", &ids(), at(0), 202, "yes".into());
        drop(first);
        let second = claim(&keys, "k").unwrap();
        assert_eq!(second.look("h", at(24)).unwrap(), Memory::Answered(202, "yes".into()));
        assert_eq!(second.look("other", at(24)).unwrap_err().reason, "idempotency_key_reused");
        assert_eq!(second.look("other", at(25)).unwrap(), Memory::New);
    }

    #[test]
    fn a_clock_that_is_set_forgets_no_key_and_keeps_none() {
        let keys = keys();
        claim(&keys, "k").unwrap().begin("h", &ids(), at(100), 9).unwrap();
        let look = |moment| claim(&keys, "k").unwrap().look("h", moment).unwrap();
        for clock in [-1000, 0, 124, 1000] {
            assert_eq!(look(Moment { at: time(clock), ..at(124) }), Memory::Begun(ids()), "{clock}");
            assert_eq!(look(Moment { at: time(clock), ..at(125) }), Memory::New, "{clock}");
        }
        // What a relay has run counts on after a start.
        keys.note(at(110));
        let now = posthaste_host::clock::instant();
        let next = Keys::new(Arc::into_inner(keys).unwrap().facts, now);
        assert_eq!(next.moment(time(0), now + std::time::Duration::from_secs(3600)).ran, 111 * 3600);
    }

    #[test]
    fn a_key_has_one_request_under_way_at_a_time_and_each_user_keys_of_his_own() {
        let keys = keys();
        let first = claim(&keys, "k").unwrap();
        assert_eq!(claim(&keys, "k").err(), Some("idempotency_key_busy"));
        assert!(keys.claim("other", "k").is_ok() && claim(&keys, "l").is_ok());
        drop(first);
        assert!(claim(&keys, "k").is_ok());
        for bad in ["", "a\u{7f}", "ä", &"x".repeat(256)] {
            assert_eq!(claim(&keys, bad).err(), Some("bad_idempotency_key"));
        }
    }

    #[test]
    fn no_more_keys_are_remembered_than_may_be_and_the_old_ones_make_room() {
        let keys = keys();
        for key in ["a", "b"] {
            claim(&keys, key).unwrap().begin("h", &ids(), at(0), 4).unwrap();
        }
        assert_eq!(claim(&keys, "c").unwrap().begin("h", &ids(), at(1), 4).unwrap_err().reason, "idempotency_keys", "one has half");
        keys.claim("other", "c").unwrap().begin("h", &ids(), at(0), 4).unwrap();
        claim(&keys, "b").unwrap().forget();
        claim(&keys, "c").unwrap().begin("h", &ids(), at(1), 4).unwrap();
        let of = |user: &str| keys.counts().get(user).copied();
        let counts = || (of("app"), of("other"));
        keys.sweep(at(24));
        assert_eq!(counts(), (Some(2), Some(1)));
        keys.sweep(at(25));
        assert_eq!(counts(), (Some(1), None));
        assert_eq!(claim(&keys, "c").unwrap().look("h", at(25)).unwrap(), Memory::Begun(ids()));
    }

    #[test]
    fn what_is_remembered_of_a_key_counts_by_its_length_and_a_long_answer_is_not_kept() {
        let keys = keys();
        let many: Vec<_> = (0..1000).map(|n| MessageId::new(time(0), n)).collect();
        claim(&keys, "batch").unwrap().begin("h", &many, at(0), 1000).unwrap();
        let counted = keys.counts()["app"];
        assert!((90..120).contains(&counted), "{counted}");
        claim(&keys, "batch").unwrap().answered("h", &many, at(0), 200, "x".repeat(ANSWER_MAX + 1).into());
        assert_eq!(claim(&keys, "batch").unwrap().look("h", at(1)).unwrap(), Memory::Begun(many.clone()));
        claim(&keys, "batch").unwrap().answered("h", &many, at(0), 200, "x".repeat(6000).into());
        assert_eq!(keys.counts()["app"], counted + 20, "an answer counts too");
        claim(&keys, &"k".repeat(KEY_MAX)).unwrap().begin("h", &ids(), at(0), 1000).unwrap();
        assert_eq!(keys.counts()["app"], counted + 22, "and so does a long key");
        claim(&keys, &"k".repeat(KEY_MAX)).unwrap().forget();
        keys.sweep(at(0));
        assert_eq!(keys.counts()["app"], counted + 20);
        claim(&keys, "batch").unwrap().forget();
        assert_eq!(keys.counts()["app"], 0);
    }

    #[test]
    fn parts_of_a_request_cannot_be_moved_into_each_other() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
    }
}
