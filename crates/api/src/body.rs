//! Request bodies, limited in length and time each, and in memory all together.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use posthaste_host::clock;
use posthaste_smtp::server::Answer;
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use crate::problem::{BoxedRefusal, Refusal};
use crate::settings::{Requests, Settings};

/// Memory is reserved for so many bytes of a body at once.
const STEP: u64 = 64 << 10;
/// How many times as much as is free one user may hold.
const TIMES_FREE: u64 = 4;
/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a body may be coming before it has to give way: those that come fast are whole by then.
const GRACE: Duration = Duration::from_secs(5);

/// Memory for bodies and what is made from them. One user takes more of it only while it holds less than [`TIMES_FREE`] times as much as is
/// free, so that something is left for others. While a user waits for memory, those who hold most give up bodies that have been coming for
/// [`GRACE`], the oldest first: however slowly they come, nobody keeps out who holds less.
#[derive(Clone, Debug)]
pub(super) struct Bodies(Arc<Memory>);

#[derive(Debug)]
struct Memory {
    bytes: u64,
    held: Mutex<Holdings>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Holdings {
    /// What each user holds.
    users: HashMap<Arc<str>, u64>,
    /// Bodies that are still coming, by their numbers: the oldest first.
    coming: BTreeMap<u64, Coming>,
    next: u64,
}

/// A body that is still coming.
#[derive(Debug)]
struct Coming {
    user: Arc<str>,
    bytes: u64,
    since: Instant,
    /// It was told to give up, and is about to.
    told: bool,
    go: Arc<Notify>,
}

/// A body and its share of the memory.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Released when dropped.
    pub(super) share: Share,
}

/// A body that is read piece by piece.
pub(super) struct Pieces {
    frames: Frames,
    /// How long the client may still keep the relay waiting for bytes.
    patience: Duration,
    _share: Share,
}

/// A part of the memory; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Memory>,
    user: Arc<str>,
    bytes: u64,
    /// Whether something has to be left for others: not where the longest body takes more than that leaves.
    leaves_some: bool,
    /// Its number while the body is still coming.
    coming: Option<u64>,
}

impl Bodies {
    pub(super) fn new(memory: u64) -> Self {
        Self(Arc::new(Memory { bytes: memory, held: Mutex::default(), freed: Notify::new() }))
    }

    /// Reads the body of a user's request. Memory is reserved as the bytes come: what was only announced takes nothing from others.
    pub(super) async fn read(&self, request: Request, user: &Arc<str>, settings: &Settings) -> Result<Body, BoxedRefusal> {
        let frames = Frames::new(request, settings.requests.body_size)?;
        let mut share = self.share(user, settings.requests.body_size);
        let go = share.comes();
        let gathered = timeout(settings.http.body_timeout, gather(frames, &mut share));
        // Bytes that are there come before a word to go, so that it is the slow who hear it.
        let gathered = tokio::select! {
            biased;
            gathered = gathered => gathered,
            () = go.notified() => return Err(busy()),
        };
        let bytes = gathered.map_err(|_| late())??;
        share.has_come();
        Ok(Body { bytes, share })
    }

    /// A share of a user for an answer that takes this many bytes at most.
    pub(super) async fn for_answer(&self, user: &Arc<str>, settings: &Settings, bytes: u64) -> Result<Share, BoxedRefusal> {
        let mut share = self.share(user, settings.requests.body_size);
        share.grow(bytes.min(share.most())).await?;
        Ok(share)
    }

    /// The body of a user's request, to be read in pieces, which take `memory` together with what is made from them.
    pub(super) async fn pieces(&self, request: Request, user: &Arc<str>, settings: &Settings, memory: u64) -> Result<Pieces, BoxedRefusal> {
        let frames = Frames::new(request, settings.requests.body_size)?;
        let mut share = self.share(user, settings.requests.body_size);
        share.grow(memory.min(share.most())).await?;
        Ok(Pieces { frames, patience: settings.http.body_timeout, _share: share })
    }

    fn share(&self, user: &Arc<str>, longest: u64) -> Share {
        let leaves_some = longest.saturating_mul(Requests::BODY_COST) <= self.0.most();
        Share { of: self.0.clone(), user: user.clone(), bytes: 0, leaves_some, coming: None }
    }
}

impl Memory {
    /// The most that a user may hold.
    fn most(&self) -> u64 {
        self.bytes / (TIMES_FREE + 1) * TIMES_FREE
    }

    fn held(&self) -> MutexGuard<'_, Holdings> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives so many bytes to a user, if there are as many for it.
    fn take(&self, user: &Arc<str>, bytes: u64, leaves_some: bool) -> bool {
        let mut held = self.held();
        let granted = self.has_room(&held, user, bytes, leaves_some, 0);
        if granted {
            *held.users.entry(user.clone()).or_default() += bytes;
        }
        granted
    }

    /// Whether there are so many bytes for a user, `about` of which others are about to give up.
    fn has_room(&self, held: &Holdings, user: &Arc<str>, bytes: u64, leaves_some: bool, about: u64) -> bool {
        let taken = (held.users.values().sum::<u64>() + bytes).saturating_sub(about);
        let Some(free) = self.bytes.checked_sub(taken) else { return false };
        let own = held.users.get(user).copied().unwrap_or(0) + bytes;
        !leaves_some || own <= free.saturating_mul(TIMES_FREE)
    }

    /// A user waits for so many bytes: tells the oldest body of whoever holds most to give up, if that is more than this one would hold and the
    /// body has had its time. Returns when it will have had it, if it has not.
    fn make_room(&self, user: &Arc<str>, bytes: u64, leaves_some: bool, now: Instant) -> Option<Instant> {
        let mut held = self.held();
        let about = |user: Option<&Arc<str>>| {
            let told = held.coming.values().filter(|body| body.told && user.is_none_or(|user| body.user == *user));
            told.map(|body| body.bytes).sum::<u64>()
        };
        if self.has_room(&held, user, bytes, leaves_some, about(None)) {
            return None;
        }
        let own = held.users.get(user).copied().unwrap_or(0) + bytes;
        let most = held.users.iter().map(|(user, bytes)| (bytes.saturating_sub(about(Some(user))), user.clone())).max();
        let (_, greedy) = most.filter(|(most, _)| *most > own)?;
        let body = held.coming.values_mut().find(|body| body.user == greedy && !body.told && body.bytes > 0)?;
        let due = body.since + GRACE;
        if now < due {
            return Some(due);
        }
        body.told = true;
        body.go.notify_one();
        None
    }
}

impl Share {
    /// The most that it can be.
    fn most(&self) -> u64 {
        if self.leaves_some { self.of.most() } else { self.of.bytes }
    }

    /// Makes the share this many bytes at least. Waits for them, but not for long.
    ///
    /// # Errors
    /// Others hold the memory, or no request may have so much.
    pub(super) async fn grow(&mut self, bytes: u64) -> Result<(), BoxedRefusal> {
        if bytes > self.most() {
            return Err(Refusal::mail(Answer::new(552, 3, 4, "a request takes less memory here: send fewer values in one"), "too_large"));
        }
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let granted = async {
            loop {
                let mut freed = pin!(self.of.freed.notified());
                freed.as_mut().enable();
                if self.of.take(&self.user, more, self.leaves_some) {
                    return;
                }
                match self.of.make_room(&self.user, more, self.leaves_some, now()) {
                    None => freed.await,
                    Some(due) => drop(timeout_at(due, freed).await),
                }
            }
        };
        timeout(PATIENCE, granted).await.map_err(|_| busy())?;
        self.bytes = bytes;
        self.note_coming();
        Ok(())
    }

    /// Its body begins to come. Returns what tells it to give up.
    fn comes(&mut self) -> Arc<Notify> {
        let (mut held, go) = (self.of.held(), Arc::<Notify>::default());
        held.next += 1;
        let number = held.next;
        held.coming.insert(number, Coming { user: self.user.clone(), bytes: self.bytes, since: now(), told: false, go: go.clone() });
        self.coming = Some(number);
        go
    }

    /// Its body is whole, or is given up.
    fn has_come(&mut self) {
        if let Some(number) = self.coming.take() {
            self.of.held().coming.remove(&number);
        }
    }

    fn note_coming(&self) {
        let mut held = self.of.held();
        if let Some(body) = self.coming.and_then(|number| held.coming.get_mut(&number)) {
            body.bytes = self.bytes;
        }
    }
}

impl Share {
    /// Gives back what is beyond this many bytes.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        let mut held = self.of.held();
        if let Some(own) = held.users.get_mut(&self.user) {
            *own -= less;
            if *own == 0 {
                held.users.remove(&self.user);
            }
        }
        drop(held);
        self.note_coming();
        self.of.freed.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.has_come();
        self.shrink(0);
    }
}

impl Pieces {
    /// The next bytes of the body, about `size` of them; none at its end.
    pub(super) async fn next(&mut self, size: usize) -> Result<Vec<u8>, BoxedRefusal> {
        let (mut piece, began) = (Vec::new(), clock::instant());
        let read = async {
            while piece.len() < size
                && let Some(data) = self.frames.next().await?
            {
                piece.extend_from_slice(&data);
            }
            Ok::<(), BoxedRefusal>(())
        };
        timeout(self.patience, read).await.map_err(|_| late())??;
        self.patience = self.patience.saturating_sub(clock::instant().saturating_duration_since(began));
        Ok(piece)
    }
}

/// The bytes of a body as they come, up to a length.
struct Frames {
    body: axum::body::Body,
    length: u64,
    max: u64,
}

impl Frames {
    fn new(request: Request, max: u64) -> Result<Self, BoxedRefusal> {
        match length(request.headers()) {
            Some(length) if length > max => Err(too_large(max)),
            _ => Ok(Self { body: request.into_body(), length: 0, max }),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BoxedRefusal> {
        while let Some(frame) = self.body.frame().await {
            let broken = |_| Refusal::http(StatusCode::BAD_REQUEST, "syntax", "the body broke off");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            self.length += data.len() as u64;
            return if self.length > self.max { Err(too_large(self.max)) } else { Ok(Some(data)) };
        }
        Ok(None)
    }
}

async fn gather(mut frames: Frames, share: &mut Share) -> Result<Bytes, BoxedRefusal> {
    let (mut bytes, mut reserved) = (BytesMut::new(), 0);
    while let Some(data) = frames.next().await? {
        if frames.length > reserved {
            reserved = (frames.length + STEP).min(frames.max);
            share.grow(reserved * Requests::BODY_COST).await?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The refusal of a media type that is not supported here.
pub(super) fn unsupported(given: &str, wanted: &str) -> BoxedRefusal {
    Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", format!("Content-Type is {given:?}; what goes here is {wanted}"))
}

fn too_large(max: u64) -> BoxedRefusal {
    Refusal::mail(Answer::new(552, 3, 4, format!("a request has at most {max} bytes here")), "too_large")
}

fn late() -> BoxedRefusal {
    Refusal::http(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time")
}

fn busy() -> BoxedRefusal {
    Refusal::mail(Answer::trouble("too many requests are under way, try again later"), "busy")
}

#[expect(clippy::disallowed_methods, reason = "it is the runtime's clock that requests wait by, and tests set it")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn has_room(share: &mut Share, bytes: u64) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(share.grow(bytes)).poll(&mut context) {
            std::task::Poll::Ready(granted) => granted.is_ok(),
            std::task::Poll::Pending => false,
        }
    }

    #[tokio::test]
    async fn what_was_not_sent_takes_nothing_and_one_user_leaves_memory_for_others() {
        let bodies = Bodies::new(100 * KIB);
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let mut idle: Vec<_> = (0..1000).map(|_| bodies.share(&bob, KIB)).collect();
        let mut greedy = bodies.share(&bob, KIB);
        assert!(has_room(&mut greedy, 80 * KIB) && !has_room(&mut idle[0], KIB), "bob has four times what is free");
        let mut hers = bodies.share(&ann, KIB);
        assert!(has_room(&mut hers, 16 * KIB) && !has_room(&mut hers, 17 * KIB), "she leaves something, too");
        assert!(has_room(&mut bodies.share(&"eve".into(), KIB), 3 * KIB));
        assert_eq!(hers.grow(81 * KIB).await.unwrap_err().reason, "too_large", "it would wait for ever");
        let freed = async {
            tokio::task::yield_now().await;
            drop((greedy, idle));
        };
        assert!(tokio::join!(hers.grow(60 * KIB), freed).0.is_ok(), "she waited for it");
        drop(hers);
        assert!(bodies.0.held().users.is_empty() && bodies.0.held().coming.is_empty(), "those without requests are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_of_one_user_give_way_to_a_longer_one_of_another() {
        // As config/posthaste.toml has it: http.body_memory, http.body_size.
        const MIB: u64 = 1 << 20;
        let bodies = Bodies::new(320 * MIB);
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut share = bodies.share(&bob, 64 * MIB);
            let go = share.comes();
            if has_room(&mut share, 12 * MIB * Requests::BODY_COST) {
                // Whoever is told to go gives its memory back.
                slow.spawn(async move {
                    go.notified().await;
                    drop(share);
                });
            }
        }
        assert_eq!(slow.len(), 5, "alone he has four fifths");
        let began = now();
        let mut hers = bodies.share(&ann, 64 * MIB);
        hers.comes();
        for length in (MIB..=40 * MIB).step_by(64 << 10) {
            assert!(hers.grow(length * Requests::BODY_COST).await.is_ok(), "{length}");
        }
        assert!((GRACE..PATIENCE).contains(&began.elapsed()), "his had as long to come as any: {:?}", began.elapsed());
        while slow.try_join_next().is_some() {}
        assert!((1..5).contains(&slow.len()), "those who need not go stay: {}", slow.len());
        let mut third = bodies.share(&bob, 64 * MIB);
        assert!(bodies.0.make_room(&bob, 200 * MIB, true, now() + PATIENCE).is_none());
        assert!(
            !has_room(&mut third, 200 * MIB) && !bodies.0.held().coming.values().any(|body| body.told),
            "she holds no more than he would"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_come_fast_wait_for_each_other_and_none_has_to_go() {
        const MIB: u64 = 1 << 20;
        let bodies = Bodies::new(320 * MIB);
        let mut coming = tokio::task::JoinSet::new();
        for n in 0..50 {
            let bodies = bodies.clone();
            coming.spawn(async move {
                // 8 MiB in 200 ms, each after others began.
                tokio::time::sleep(Duration::from_millis(50 * n)).await;
                let mut share = bodies.share(&format!("user {n}").into(), 64 * MIB);
                let go = share.comes();
                let whole = async {
                    for length in (MIB..=8 * MIB).step_by(MIB as usize) {
                        share.grow(length * Requests::BODY_COST).await?;
                        tokio::time::sleep(Duration::from_millis(25)).await;
                    }
                    Ok::<(), BoxedRefusal>(())
                };
                tokio::select! { whole = whole => whole.is_ok(), () = go.notified() => false }
            });
        }
        assert!(coming.join_all().await.into_iter().all(|whole| whole));
    }

    #[tokio::test]
    async fn where_the_longest_body_takes_nearly_everything_it_still_fits() {
        let bodies = Bodies::new(4 * KIB);
        let mut longest = bodies.share(&"ann".into(), KIB);
        assert!(has_room(&mut longest, 4 * KIB) && !has_room(&mut bodies.share(&"bob".into(), KIB), 1));
    }
}
