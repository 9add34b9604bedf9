//! The handle.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Instant,
};

use bytes::Bytes;
use posthaste_mail::MessageId;
use tokio::sync::oneshot;

use crate::{
    Live, OpenError, Options, ReadError, Recovery, StoreError, Usage,
    disk::{Disk, RealDisk},
    queue::{NewMessage, Op, POISON, SmallRecord, Stop},
    record::{HEADER, ID},
    recover,
    shared::Shared,
};

/// A spool that is open. Clones share it; when the last is dropped, all that was written is made durable, but only
/// [`Self::close`] makes the next open quick.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
    _lock: std::fs::File,
}

impl Spool {
    /// Opens the spool in `dir` (made when missing), recovers what a crash left, starts the threads. Blocks.
    pub fn open(dir: &Path, options: Options, clock: fn() -> Instant) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(dir, &options, clock, Arc::new(RealDisk))
    }

    pub(crate) fn open_on(
        dir: &Path,
        options: &Options,
        clock: fn() -> Instant,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Recovery), OpenError> {
        let opened = recover::open(dir, options, clock, disk)?;
        let inner = Inner { shared: opened.shared, writer: Mutex::new(Some(opened.writer)), _lock: opened.lock };
        Ok((Self { inner: Arc::new(inner) }, opened.recovery))
    }

    /// Other limits from now on: `max_disk`, `min_free`, `compact_below`. The rest is as opened.
    pub fn set_limits(&self, options: &Options) {
        let shared = &self.inner.shared;
        shared.set_limits(shared.limits().changed(options));
    }

    /// Stores a message; when this resolves it is durable, and the answer is its seq: a number that rises from message
    /// to message, is never used again and stays. Whoever drops the future first has not stored anything.
    /// Waits while 64 MiB of messages wait.
    pub fn store(&self, id: MessageId, meta: Bytes, body: Vec<Bytes>) -> impl Future<Output = Result<u64, StoreError>> + Send + 'static {
        let queue = self.inner.shared.queue.clone();
        async move {
            let len = body.iter().map(Bytes::len).sum::<usize>();
            let body_len = u32::try_from(len).ok().filter(|len| *len <= BODY_MAX && meta.len() <= META_MAX);
            let body_len = body_len.ok_or_else(|| StoreError::from_io(std::io::Error::other("the message is over 1 GiB")))?;
            let permit = queue.admit(HEADER + ID + meta.len() + len).await?;
            let mut crc = crc32fast::Hasher::new();
            body.iter().for_each(|part| crc.update(part));
            let (done, stored) = oneshot::channel();
            let message = NewMessage { id, meta, body, body_len, body_crc: crc.finalize(), permit: Some(permit), done };
            queue.push(Op::Store(message));
            stored.await.unwrap_or(Err(StoreError::Closed)).map(|receipt| receipt.accept())
        }
    }

    /// Replaces the message's state. Does not wait: written at once, durable within a fraction of a second.
    pub fn update(&self, seq: u64, state: Vec<u8>) {
        self.inner.shared.queue.push(Op::Small(SmallRecord::Update { seq, state }, None));
    }

    /// Forgets the message. Does not wait, see [`Self::update`].
    pub fn remove(&self, seq: u64) {
        self.inner.shared.queue.push(Op::Small(SmallRecord::Remove { seq, holder: None }, None));
    }

    /// Sets a keyed fact. Does not wait, see [`Self::update`]; [`Self::get`] sees it at once.
    pub fn put(&self, key: &[u8], value: &[u8]) {
        self.inner.shared.queue.put(key, Some(value), None);
    }

    /// Forgets a keyed fact. Does not wait, see [`Self::put`].
    pub fn delete(&self, key: &[u8]) {
        self.inner.shared.queue.put(key, None, None);
    }

    /// Sets a keyed fact; durable when this resolves. After an error it is written when the disk allows.
    pub fn put_durable(&self, key: &[u8], value: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let (done, durable) = oneshot::channel();
        self.inner.shared.queue.put(key, Some(value), Some(done));
        async move { durable.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// A keyed fact; sees every `put` made so far. May read the disk.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.shared.get(key)
    }

    /// The keyed facts whose keys begin with `prefix`, by key; sees every `put` made so far. May read the disk.
    pub fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.inner.shared.scan(prefix)
    }

    /// The message's body, its checksum verified; `None` when unknown or removed. Reads the disk.
    pub fn body(&self, seq: u64) -> Result<Option<Bytes>, ReadError> {
        self.inner.shared.body(seq)
    }

    /// The meta that the message was stored with; `None` when unknown or removed. May read the disk.
    pub fn meta(&self, seq: u64) -> Result<Option<Bytes>, ReadError> {
        self.inner.shared.meta(seq)
    }

    /// Shows all live messages by rising seq, and answers how many. Those stored, updated or removed before the call
    /// are shown as they are then. Reads the disk; holds a page of them in memory.
    pub fn for_each(&self, f: impl FnMut(Live)) -> Result<u64, ReadError> {
        self.inner.shared.for_each(f)
    }

    /// Resolves when everything before it is durable.
    pub fn sync(&self) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let (done, durable) = oneshot::channel();
        self.inner.shared.queue.push(Op::Sync(done));
        async move { durable.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// How full the spool is.
    pub fn usage(&self) -> Usage {
        let shared = &self.inner.shared;
        let messages = shared.view().locations.len() as u64;
        let free = shared.disk.free(&shared.dir).unwrap_or(0);
        let status = shared.status();
        Usage { disk: status.disk, live: status.live, messages, segments: status.segments, free }
    }

    /// Why the spool refuses mail now, if it does: a full disk, a failing one.
    pub fn trouble(&self) -> Option<String> {
        let shared = &self.inner.shared;
        let status = shared.status().clone();
        let room = || Some(shared.room(status.disk)).filter(|room| room.bytes < ROOM_MIN);
        status.log_trouble.or(status.index_trouble).or_else(|| room().map(|room| format!("the spool is full: {}", room.reason)))
    }

    /// Writes what waits, makes it durable, and leaves the checkpoint that makes the next open quick. Blocks. What
    /// comes later is answered [`StoreError::Closed`] or ignored.
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.stop(Stop::Clean)
    }
}

impl Inner {
    fn stop(&self, stop: Stop) -> Result<(), StoreError> {
        self.shared.queue.stop(stop);
        let writer = self.writer.lock().expect(POISON).take();
        writer.map_or(Ok(()), |writer| writer.join().unwrap_or(Err(StoreError::Closed)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.stop(Stop::Drop) {
            tracing::error!(%error, "the spool's last records are not durable");
        }
    }
}

const BODY_MAX: u32 = 1 << 30;
const META_MAX: usize = 64 << 20;
/// Below this, mail is as good as refused.
const ROOM_MIN: u64 = 16 * 1024;
