//! Reads bodies and metas by seq, and all live messages in order.

use std::{io, os::unix::fs::FileExt};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{
    ReadError,
    locations::MessageLocation,
    queue::Op,
    record::{HEADER, ID, Loc, RecordHeader, RecordKind},
    scan::Tail,
    shared::Shared,
};

/// A live message, as passed by [`Spool::for_each`](crate::Spool::for_each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMessage {
    /// Its number, which rises in the order of acceptance.
    pub seq: u64,
    /// The id that it was stored with.
    pub id: MessageId,
    /// The meta that it was stored with.
    pub meta: Bytes,
    /// The newest state, if there is one that can be read.
    pub state: Option<Vec<u8>>,
    /// Whether there is a newest state and it is damaged on disk.
    pub state_damaged: bool,
    /// The length of the body in bytes.
    pub body_len: u64,
}

/// A record read from the log.
struct Record {
    bytes: Bytes,
    header: RecordHeader,
}

impl Shared {
    pub(crate) fn body(&self, seq: u64) -> Result<Option<Bytes>, ReadError> {
        let record = self.message_record(seq, true)?;
        Ok(record.map(|record| record.bytes.slice(HEADER + record.header.head_len as usize..)))
    }

    pub(crate) fn meta(&self, seq: u64) -> Result<Option<Bytes>, ReadError> {
        if self.queue.is_being_removed(seq) {
            return Ok(None);
        }
        let view = self.view();
        if view.locations.get(seq).is_none() {
            return Ok(None);
        }
        let fresh = view.overlay.messages.get(&seq).or_else(|| view.flushing.as_ref()?.messages.get(&seq)).cloned();
        drop(view);
        match fresh.or_else(|| self.message_in_index(seq)) {
            Some((_, meta)) => Ok(Some(meta)),
            None => Ok(self.message_in_log(seq)?.map(|(_, meta)| meta)),
        }
    }

    /// What the index knows of a message. If it cannot be read, the log is read instead.
    fn message_in_index(&self, seq: u64) -> Option<(MessageId, Bytes)> {
        self.index().message(seq).inspect_err(|error| self.index_failed(error)).unwrap_or(None)
    }

    fn message_in_log(&self, seq: u64) -> Result<Option<(MessageId, Bytes)>, ReadError> {
        let record = self.message_record(seq, false)?;
        Ok(record.map(|Record { bytes, header }| {
            let id = bytes[HEADER..HEADER + ID].try_into().expect("a message's head begins with its id");
            (MessageId::from_bytes(id), bytes.slice(HEADER + ID..HEADER + header.head_len as usize))
        }))
    }

    /// Reads and verifies a message, and notes it if it is damaged.
    fn message_record(&self, seq: u64, whole: bool) -> Result<Option<Record>, ReadError> {
        let read = self.record(seq, |entry| entry.at, whole);
        match &read {
            // A head says nothing of the body behind it.
            Ok(_) if !whole => {}
            Ok(_) => self.note_read(seq, None),
            Err(ReadError::Damaged { .. }) => self.note_damage(seq),
            Err(ReadError::Io { source, .. }) => self.note_read(seq, Some(source)),
        }
        read
    }

    /// Reads and verifies a record of a message. If compaction moves it meanwhile, the new location is tried.
    fn record(&self, seq: u64, place: fn(MessageLocation) -> Loc, whole: bool) -> Result<Option<Record>, ReadError> {
        if self.queue.is_being_removed(seq) {
            return Ok(None);
        }
        let mut tried = None;
        loop {
            let Some(at) = self.view().locations.get(seq).map(place).filter(|at| at.is_some()) else { return Ok(None) };
            match self.read(seq, at, whole) {
                Err(error) if tried == Some(at) => return Err(error),
                Err(_) => tried = Some(at),
                Ok(record) => return Ok(Some(record)),
            }
        }
    }

    fn state_in_log(&self, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let record = self.record(seq, |entry| entry.update, true)?;
        Ok(record.map(|Record { bytes, .. }| bytes[HEADER..].to_vec()))
    }

    fn read(&self, seq: u64, at: Loc, whole: bool) -> Result<Record, ReadError> {
        let (segment, offset) = (at.segment, u64::from(at.offset));
        let damaged = || ReadError::Damaged { seq, segment, offset };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => damaged(),
            _ => ReadError::Io { seq, source },
        };
        let open = self.files.get(segment).map_err(failed)?;
        let first = if whole { at.len as usize } else { FIRST_READ.min(at.len as usize) };
        let mut bytes = vec![0; first];
        open.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        let ours = |header: &RecordHeader| {
            let kind = match header.kind {
                RecordKind::Damaged => !whole,
                kind => matches!(kind, RecordKind::Message | RecordKind::Update),
            };
            kind && header.seq == seq && header.record_len() == u64::from(at.len)
        };
        let Some(header) = RecordHeader::parse(&bytes).filter(ours) else {
            bytes.resize(RecordHeader::head_end(&bytes).min(at.len as usize), 0);
            open.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
            // The version that wrote it can read it: it is no damage, and does not pass for any.
            return Err(match RecordHeader::unknown_version(open.salt, &bytes) {
                Some(_) => ReadError::Io { seq, source: io::Error::new(io::ErrorKind::Unsupported, LATER) },
                None => damaged(),
            });
        };
        let head = HEADER + header.head_len as usize;
        if bytes.len() < head {
            bytes.resize(head, 0);
            open.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        }
        let good = header.head_is_whole(open.salt, &bytes) && (!whole || header.tail_is_whole(&bytes[head..]));
        if good { Ok(Record { bytes: bytes.into(), header }) } else { Err(damaged()) }
    }

    /// Reads messages from the number `from` on, until `bytes` bytes are read, to find out which are damaged. Returns where to go on.
    pub(crate) fn verify(&self, mut from: u64, bytes: u64) -> Result<Option<u64>, ReadError> {
        let mut read = 0;
        loop {
            let page = self.view().locations.page(from, VERIFIED_AT_ONCE);
            if page.is_empty() {
                return Ok(None);
            }
            for (seq, entry) in page {
                if read >= bytes {
                    return Ok(Some(seq));
                }
                read += u64::from(entry.at.len);
                from = seq + 1;
                match self.verify_message(seq, entry.at) {
                    // It was noted.
                    Ok(()) | Err(ReadError::Damaged { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Reads a message piece by piece. What compaction or the end of the message changes meanwhile is no damage.
    fn verify_message(&self, seq: u64, at: Loc) -> Result<(), ReadError> {
        let Some(Record { header, .. }) = self.message_record(seq, false)? else { return Ok(()) };
        let failed = |source: io::Error| ReadError::Io { seq, source };
        let tail = u64::from(at.offset) + (HEADER as u64) + u64::from(header.head_len);
        let Ok(open) = self.files.get(at.segment) else { return Ok(()) };
        let mut crc = crc32fast::Hasher::new();
        let whole = Tail::OnDisk { file: &open.file, at: tail, len: u64::from(header.tail_len) }.for_each_piece(|piece| {
            crc.update(piece);
            Ok(())
        });
        let is_there = || self.view().locations.get(seq).is_some_and(|entry| entry.at == at);
        match whole {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                self.note_read(seq, Some(&error));
                return Err(failed(error));
            }
            Ok(()) if crc.finalize() == header.tail_crc || header.kind == RecordKind::Damaged => self.note_read(seq, None),
            _ if is_there() => self.note_damage(seq),
            _ => {}
        }
        Ok(())
    }

    /// A message that is damaged on disk is noted and left out: a start must not fail for it.
    pub(crate) fn for_each(&self, mut f: impl FnMut(LiveMessage)) -> Result<u64, ReadError> {
        let (done, written) = std::sync::mpsc::sync_channel(1);
        self.queue.push(Op::Barrier(done));
        // An error means that the writer has stopped, so there is nothing to wait for.
        let _ = written.recv();
        let (mut from, mut count) = (0, 0);
        loop {
            let page = self.page(from)?;
            let Some(last) = page.last() else { return Ok(count) };
            from = last.seq + 1;
            count += page.len() as u64;
            page.into_iter().for_each(&mut f);
        }
    }

    fn page(&self, mut from: u64) -> Result<Vec<LiveMessage>, ReadError> {
        loop {
            let view = self.view();
            let entries = view.locations.page(from, PAGE);
            let overlays: Vec<_> = [Some(&view.overlay), view.flushing.as_deref()].into_iter().flatten().collect();
            let fresh = |(seq, entry): &(u64, MessageLocation)| {
                let message = overlays.iter().find_map(|overlay| overlay.messages.get(seq).cloned());
                let state = overlays.iter().find_map(|overlay| overlay.states.get(seq).cloned());
                (*seq, *entry, message, state)
            };
            let found: Vec<_> = entries.iter().map(fresh).collect();
            drop(view);
            let Some((last, ..)) = found.last() else { return Ok(Vec::new()) };
            let (first, last) = (found[0].0, *last);
            let page = self.complete(found, first, last)?;
            // All messages of a page may have been removed meanwhile.
            if !page.is_empty() {
                return Ok(page);
            }
            from = last + 1;
        }
    }

    /// Fills in what is not in memory from the index, and what is not in the index from the log.
    fn complete(&self, found: Vec<Incomplete>, first: u64, last: u64) -> Result<Vec<LiveMessage>, ReadError> {
        let all_fresh = found.iter().all(|(_, _, message, _)| message.is_some());
        let index = self.index();
        let mut indexed = (!all_fresh).then(|| index.messages(first, last).peekable());
        let mut page = Vec::with_capacity(found.len());
        for (seq, entry, mut message, mut state) in found {
            if let Some(indexed) = &mut indexed {
                while let Some(Ok((other, ..))) = indexed.peek()
                    && *other < seq
                {
                    indexed.next();
                }
                if message.is_none()
                    && let Some(Ok((_, id, meta))) = indexed.next_if(|item| matches!(item, Ok((other, ..)) if *other == seq))
                {
                    message = Some((id, meta));
                }
            }
            if message.is_none() {
                message = unless_damaged(self.message_in_log(seq))?.flatten();
            }
            let Some((id, meta)) = message else { continue };
            let mut state_damaged = false;
            if state.is_none() && entry.update.is_some() {
                state = index.state(seq).unwrap_or(None);
                if state.is_none() {
                    let in_log = unless_damaged(self.state_in_log(seq))?;
                    state_damaged = in_log.is_none();
                    state = in_log.flatten();
                }
            }
            let body_len = u64::from(entry.at.len) - (HEADER + ID + meta.len()) as u64;
            page.push(LiveMessage { seq, id, meta, state, state_damaged, body_len });
        }
        Ok(page)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.queue.waiting_fact(key) {
            Some(waiting) => waiting,
            None => self.indexed_fact(key)?.value,
        }
    }

    pub(crate) fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        // Read the newest source first: between two reads, facts only move from memory to the index.
        let waiting = self.queue.waiting_facts(prefix);
        let view = self.view();
        let overlays = [view.flushing.as_deref(), Some(&view.overlay)].into_iter().flatten();
        let fresh: Vec<_> = overlays
            .flat_map(|overlay| overlay.facts.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)))
            .map(|(key, fact)| (key.clone(), fact.as_ref().and_then(|fact| fact.value.clone())))
            .collect();
        drop(view);
        let indexed = self.read_index(|index| index.facts(prefix)).unwrap_or_default().into_iter().map(|(key, fact)| (key, fact.value));
        let merged: std::collections::BTreeMap<_, _> = indexed.chain(fresh).chain(waiting).collect();
        merged.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

type Incomplete = (u64, MessageLocation, Option<(MessageId, Bytes)>, Option<Vec<u8>>);

const PAGE: usize = 1024;
/// Messages whose places are looked up at once to verify them.
const VERIFIED_AT_ONCE: usize = 64;
const FIRST_READ: usize = 4096;
const LATER: &str = "its record was written by a later version of posthaste: use that version";

/// None: it is damaged.
fn unless_damaged<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ReadError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
