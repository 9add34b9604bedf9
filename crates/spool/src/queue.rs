//! The queue of the writer. Messages are limited by bytes (their senders wait). Small records are not limited in number: their senders
//! never wait, and each belongs to a message or fact that was admitted before.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use posthaste_mail::MessageId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::StoreError;

pub(crate) type Done<T> = oneshot::Sender<Result<T, StoreError>>;

pub(crate) struct NewMessage {
    pub(crate) id: MessageId,
    pub(crate) meta: Bytes,
    pub(crate) body: Vec<Bytes>,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    pub(crate) done: Done<Receipt>,
}

/// A record that is never refused for lack of disk, only delayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SmallRecord {
    Update {
        seq: u64,
        state: Vec<u8>,
    },
    /// `holder`: the segment that holds the dead message, once known.
    Remove {
        seq: u64,
        holder: Option<u32>,
    },
    /// `None` deletes.
    Put {
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        ticket: u64,
    },
}

pub(crate) enum Op {
    Store(NewMessage),
    Small(SmallRecord),
    Sync(Done<()>),
    /// No number up to this one is given out any more.
    Skip(u64),
    /// Answered once everything before it can be read.
    Barrier(std::sync::mpsc::SyncSender<()>),
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    budget: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    ops: VecDeque<Op>,
    sleeping: bool,
    nudged: bool,
    stop: Option<Stop>,
    facts: BTreeMap<Vec<u8>, WaitingFact>,
    removed: HashSet<u64>,
    tickets: u64,
}

struct WaitingFact {
    ticket: u64,
    value: Option<Vec<u8>>,
}

/// How the writer is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Make everything durable and write a checkpoint, so that the next open is quick.
    Clean,
    /// Make everything durable, without a checkpoint.
    Drop,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), wake: Condvar::new(), budget: Arc::new(Semaphore::new(BUDGET_KIB)) })
    }

    /// Waits until there is room for `bytes`.
    pub(crate) async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let kib = (bytes / 1024 + 1).min(BUDGET_KIB) as u32;
        Arc::clone(&self.budget).acquire_many_owned(kib).await.map_err(|_| StoreError::Closed)
    }

    /// Queues an operation. After the stop it is dropped, and with it the sender of its waiter.
    pub(crate) fn push(&self, op: Op) {
        let mut inner = self.lock();
        if inner.stop.is_some() {
            return;
        }
        if let Op::Small(SmallRecord::Remove { seq, .. }) = &op {
            inner.removed.insert(*seq);
        }
        self.wake(inner, op);
    }

    pub(crate) fn put(&self, key: &[u8], value: Option<&[u8]>) {
        let mut inner = self.lock();
        if inner.stop.is_some() {
            return;
        }
        inner.tickets += 1;
        let ticket = inner.tickets;
        let (key, value) = (key.to_vec(), value.map(<[u8]>::to_vec));
        inner.facts.insert(key.clone(), WaitingFact { ticket, value: value.clone() });
        self.wake(inner, Op::Small(SmallRecord::Put { key, value, ticket }));
    }

    fn wake(&self, mut inner: MutexGuard<'_, Inner>, op: Op) {
        inner.ops.push_back(op);
        let sleeping = mem::take(&mut inner.sleeping);
        drop(inner);
        if sleeping {
            self.wake.notify_one();
        }
    }

    /// Wakes the writer though no operation is queued.
    pub(crate) fn nudge(&self) {
        let mut inner = self.lock();
        inner.nudged = true;
        drop(inner);
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self, stop: Stop) {
        self.budget.close();
        let mut inner = self.lock();
        inner.stop.get_or_insert(stop);
        drop(inner);
        self.wake.notify_one();
    }

    /// Moves all queued operations to `into`; if there are none, waits up to `patience` (`None`: without limit).
    pub(crate) fn take(&self, into: &mut VecDeque<Op>, patience: Option<Duration>) -> Option<Stop> {
        let mut inner = self.lock();
        if inner.ops.is_empty() && inner.stop.is_none() && patience != Some(Duration::ZERO) {
            inner.sleeping = true;
            let idle = |inner: &mut Inner| inner.ops.is_empty() && inner.stop.is_none() && !inner.nudged;
            inner = match patience {
                Some(patience) => self.wake.wait_timeout_while(inner, patience, idle).expect(POISON).0,
                None => self.wake.wait_while(inner, idle).expect(POISON),
            };
            inner.sleeping = false;
        }
        inner.nudged = false;
        match into.is_empty() {
            true => mem::swap(into, &mut inner.ops),
            false => into.append(&mut inner.ops),
        }
        inner.stop
    }

    /// The value of a fact that waits to be written; `Some(None)` is a deletion.
    pub(crate) fn waiting_fact(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.lock().facts.get(key).map(|waiting| waiting.value.clone())
    }

    pub(crate) fn waiting_facts(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let inner = self.lock();
        let from = inner.facts.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        from.map(|(key, waiting)| (key.clone(), waiting.value.clone())).collect()
    }

    pub(crate) fn is_being_removed(&self, seq: u64) -> bool {
        self.lock().removed.contains(&seq)
    }

    /// These records are written and can be read from the view from now on.
    pub(crate) fn settle<'a>(&self, written: impl Iterator<Item = &'a SmallRecord>) {
        let mut inner = self.lock();
        for small in written {
            match small {
                SmallRecord::Update { .. } => {}
                SmallRecord::Remove { seq, .. } => {
                    inner.removed.remove(seq);
                }
                SmallRecord::Put { key, ticket, .. } => {
                    if inner.facts.get(key).is_some_and(|waiting| waiting.ticket == *ticket) {
                        inner.facts.remove(key);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(POISON)
    }
}

/// The result of a store on its way to the caller. A caller that stops waiting never learns the seq; then the message is removed again,
/// because nobody was told that it was accepted.
pub(crate) struct Receipt {
    seq: u64,
    queue: Option<Arc<Queue>>,
}

impl Receipt {
    pub(crate) fn new(seq: u64, queue: Arc<Queue>) -> Self {
        Self { seq, queue: Some(queue) }
    }

    pub(crate) fn accept(mut self) -> u64 {
        self.queue = None;
        self.seq
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.push(Op::Small(SmallRecord::Remove { seq: self.seq, holder: None }));
        }
    }
}

/// The most KiB of messages that wait for the writer.
const BUDGET_KIB: usize = 64 * 1024;

pub(crate) const POISON: &str = "no thread of the spool panics while it holds a lock";
