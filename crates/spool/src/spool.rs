//! The handle of an open spool.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    thread::JoinHandle,
    time::Instant,
};

use bytes::Bytes;
use posthaste_mail::MessageId;
use tokio::sync::oneshot;

use crate::{
    LiveMessage, OpenError, Quarantined, ReadError, Recovery, SpoolOptions, StoreError,
    disk::{Disk, SyncTook, TimedDisk},
    marks::Mark,
    mend,
    queue::{NewMessage, Op, POISON, SmallRecord, Stop},
    record::{HEADER, ID},
    recover,
    shared::Shared,
};

/// An open spool. Clones share it. When the last clone is dropped, everything written is made durable, but only [`Self::close`] makes the
/// next open quick.
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
    /// Opens the spool in `dir` (created if only that folder is missing, and not one above it), recovers after a crash, and starts the threads. Blocks.
    pub fn open(dir: &Path, options: SpoolOptions, clock: fn() -> Instant) -> Result<(Self, Recovery), OpenError> {
        Self::open_watched(dir, options, clock, Arc::new(|_| ()), &|_, _| ())
    }

    /// The same. `took` hears how long each fdatasync takes, those of the opening included. A rebuild may take minutes: `seen` hears again and
    /// again how many bytes it has read, and how many there are.
    pub fn open_watched(
        dir: &Path,
        options: SpoolOptions,
        clock: fn() -> Instant,
        took: SyncTook,
        seen: &dyn Fn(u64, u64),
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_seen(dir, &options, clock, Arc::new(TimedDisk { clock, took }), seen)
    }

    #[cfg(test)]
    pub(crate) fn open_on(
        dir: &Path,
        options: &SpoolOptions,
        clock: fn() -> Instant,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_seen(dir, options, clock, disk, &|_, _| ())
    }

    fn open_seen(
        dir: &Path,
        options: &SpoolOptions,
        clock: fn() -> Instant,
        disk: Arc<dyn Disk>,
        seen: &dyn Fn(u64, u64),
    ) -> Result<(Self, Recovery), OpenError> {
        let opened = recover::open(dir, options, clock, disk, seen)?;
        let inner = Inner { shared: opened.shared, writer: Mutex::new(Some(opened.writer)), _lock: opened.lock };
        Ok((Self { inner: Arc::new(inner) }, opened.recovery))
    }

    /// Changes `max_disk`, `min_free` and `compact_below`. The other options stay as opened.
    pub fn set_limits(&self, options: &SpoolOptions) {
        let shared = &self.inner.shared;
        shared.set_limits(shared.limits().changed(options));
    }

    /// Stores a message. Resolves once the message is durable, with its seq: a number that rises from message to message, never changes and
    /// is never used again. If the future is dropped first, nothing is stored. Waits while 64 MiB of messages are queued.
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

    /// Replaces the state of a message. Does not wait: it is written at once and durable within a fraction of a second.
    pub fn update(&self, seq: u64, state: Vec<u8>) {
        self.inner.shared.queue.push(Op::Small(SmallRecord::Update { seq, state }));
    }

    /// Removes a message. Does not wait; see [`Self::update`].
    pub fn remove(&self, seq: u64) {
        self.inner.shared.queue.push(Op::Small(SmallRecord::Remove { seq, holder: None }));
    }

    /// Sets a keyed fact. Does not wait; see [`Self::update`]. [`Self::get`] returns the new value at once.
    pub fn put(&self, key: &[u8], value: &[u8]) {
        self.inner.shared.queue.put(key, Some(value));
    }

    /// Deletes a keyed fact. Does not wait; see [`Self::put`].
    pub fn delete(&self, key: &[u8]) {
        self.inner.shared.queue.put(key, None);
    }

    /// The value of a keyed fact, including every `put` so far. May read the disk.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.shared.get(key)
    }

    /// The keyed facts whose keys begin with `prefix`, by key, including every `put` so far. May read the disk.
    pub fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.inner.shared.scan(prefix)
    }

    /// The body of a message, with its checksum verified; `None` if the message is unknown or removed. Reads the disk.
    pub fn body(&self, seq: u64) -> Result<Option<Bytes>, ReadError> {
        self.inner.shared.body(seq)
    }

    /// The meta that a message was stored with; `None` if the message is unknown or removed. May read the disk.
    pub fn meta(&self, seq: u64) -> Result<Option<Bytes>, ReadError> {
        self.inner.shared.meta(seq)
    }

    /// Calls `f` with all live messages by rising seq; returns how many. Everything stored, updated or removed before the call is taken
    /// into account. A message whose meta is damaged on disk is left out and among [`Self::damaged`]. Reads the disk; holds one page of
    /// messages in memory.
    pub fn for_each(&self, f: impl FnMut(LiveMessage)) -> Result<u64, ReadError> {
        self.inner.shared.for_each(f)
    }

    /// Resolves once everything before it is durable.
    pub fn sync(&self) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let (done, durable) = oneshot::channel();
        self.inner.shared.queue.push(Op::Sync(done));
        async move { durable.await.unwrap_or(Err(StoreError::Closed)) }
    }

    /// Reads messages by rising seq, from `from` on and until `bytes` bytes are read, and notes those that are damaged ([`Self::damaged`]). Returns
    /// where to go on; None: all were read. Blocks on the disk, and holds no whole message in memory.
    pub fn verify(&self, from: u64, bytes: u64) -> Result<Option<u64>, ReadError> {
        self.inner.shared.verify(from, bytes)
    }

    /// How many damaged pieces are in the folder `quarantine`; operators take them away. Torn ends, which each kill may leave, are none.
    /// Reads the folder.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn quarantined(&self) -> std::io::Result<u64> {
        mend::quarantined(&self.inner.shared.dir)
    }

    /// The spool's folder.
    pub fn dir(&self) -> &Path {
        &self.inner.shared.dir
    }

    /// The segments that cannot be emptied, because the disk does not give all that is needed of them: they keep their room.
    pub fn stuck(&self) -> Vec<u32> {
        self.inner.shared.status().stuck.clone()
    }

    /// Damage that was copied to the folder `quarantine` since the opening, or since the last call; without the bodies of [`Self::damaged`].
    pub fn take_quarantined(&self) -> Vec<Quarantined> {
        std::mem::take(&mut self.inner.shared.status().quarantined)
    }

    /// The messages of the spool that were found to be damaged on disk, by seq: at the opening, when they were read, or when they were
    /// moved. They cannot be delivered; what is left of them is kept.
    pub fn damaged(&self) -> Vec<u64> {
        self.inner.shared.damaged()
    }

    /// The messages of the spool that the disk did not give when they were read last, by seq, with what it said; a thousand at most. They may be
    /// readable again: each read tries.
    pub fn unreadable(&self) -> Vec<(u64, String)> {
        self.inner.shared.unreadable()
    }

    /// Whoever opened the spool has made up for what may be missing ([`Recovery::holes`]): the next orderly stop forgets it.
    pub fn made_up_for_holes(&self) {
        self.inner.shared.made_up_for_holes.store(true, Ordering::Relaxed);
    }

    /// Whoever opened the spool has compared it with the delivery log ([`Recovery::uncompared`]), or remembers elsewhere what that has found.
    pub fn compared(&self) -> Result<(), StoreError> {
        Mark::Uncompared.remove(&self.inner.shared.dir).map_err(StoreError::from_io)
    }

    /// Asks for the comparison with the delivery log at the next start, unless [`Self::compared`] comes first.
    pub fn must_be_compared(&self) -> Result<(), StoreError> {
        Mark::Uncompared.set(&self.inner.shared.dir).map_err(StoreError::from_io)
    }

    /// Gives out no number up to this one any more: others know it as the number of a message that is lost.
    pub fn skip_numbers(&self, through: u64) {
        self.inner.shared.queue.push(Op::Skip(through));
    }

    /// Why the spool refuses mail at present, if it does: a full or failing disk.
    pub fn trouble(&self) -> Option<String> {
        let shared = &self.inner.shared;
        let status = shared.status().clone();
        let room = || Some(shared.room(status.disk)).filter(|room| room.bytes < ROOM_MIN);
        status.log_trouble.or(status.index_trouble).or_else(|| room().map(|room| format!("the spool is full: {}", room.reason)))
    }

    /// Why the index is in memory at present, if it is: it could not be made on disk. Mail is taken and sent all the same.
    pub fn index_in_memory(&self) -> Option<String> {
        self.inner.shared.status().index_in_memory.clone()
    }

    /// Where a message is.
    #[cfg(test)]
    pub(crate) fn location(&self, seq: u64) -> Option<crate::locations::MessageLocation> {
        self.inner.shared.view().locations.get(seq)
    }

    /// Writes everything queued, makes it durable, and writes the checkpoint that makes the next open quick. Blocks. Later calls get
    /// [`StoreError::Closed`] or are ignored.
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.stop(Stop::Clean)?;
        let shared = &self.inner.shared;
        match shared.made_up_for_holes.load(Ordering::Relaxed) {
            true => Mark::Holes.remove(&shared.dir).map_err(StoreError::from_io),
            false => Ok(()),
        }
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
/// With less room than this many bytes, mail counts as refused.
const ROOM_MIN: u64 = 16 * 1024;
