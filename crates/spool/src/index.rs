//! sled: what the log holds, found by seq and by key. Never a body, never the only copy of anything.
//!
//! Why nothing here is trusted after a crash: sled 0.34.7's flush is no fsync, and its recovery may drop data and say Ok.

use std::{fs, io, path::Path};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{fact::Fact, overlay::Overlay, record::ID};

pub(crate) struct Index {
    db: sled::Db,
    messages: sled::Tree,
    states: sled::Tree,
    facts: sled::Tree,
}

impl Index {
    pub(crate) fn open(dir: &Path, cache: u64) -> sled::Result<Self> {
        // No flusher thread of sled's own: an idle spool does not wake up.
        let db = sled::Config::new().path(dir).cache_capacity(cache).flush_every_ms(None).open()?;
        Ok(Self { messages: db.open_tree("messages")?, states: db.open_tree("states")?, facts: db.open_tree("facts")?, db })
    }

    pub(crate) fn apply(&self, overlay: &Overlay) -> sled::Result<()> {
        for (seq, has_state) in &overlay.gone {
            self.messages.remove(seq.to_be_bytes())?;
            if *has_state {
                self.states.remove(seq.to_be_bytes())?;
            }
        }
        let mut value = Vec::new();
        for (seq, (id, meta)) in &overlay.messages {
            value.clear();
            value.extend_from_slice(&id.to_bytes());
            // A large meta is read from the log.
            if meta.len() <= META_MAX {
                value.extend_from_slice(meta);
                self.messages.insert(seq.to_be_bytes(), value.as_slice())?;
            }
        }
        for (seq, state) in &overlay.states {
            self.states.insert(seq.to_be_bytes(), state.as_slice())?;
        }
        for (key, fact) in &overlay.facts {
            match fact {
                Some(fact) => self.facts.insert(key, fact.encode())?,
                None => self.facts.remove(key)?,
            };
        }
        Ok(())
    }

    /// The id and meta of each message in the range that the index holds, by rising seq.
    pub(crate) fn messages(&self, first: u64, last: u64) -> impl Iterator<Item = sled::Result<(u64, MessageId, Bytes)>> {
        self.messages.range(first.to_be_bytes()..=last.to_be_bytes()).filter_map(|item| {
            item.map(|(key, value)| {
                let (id, meta) = value.split_at_checked(ID)?;
                let seq = u64::from_be_bytes(key.as_ref().try_into().ok()?);
                Some((seq, MessageId::from_bytes(id.try_into().ok()?), Bytes::copy_from_slice(meta)))
            })
            .transpose()
        })
    }

    pub(crate) fn message(&self, seq: u64) -> sled::Result<Option<(MessageId, Bytes)>> {
        self.messages(seq, seq).next().transpose().map(|found| found.map(|(_, id, meta)| (id, meta)))
    }

    pub(crate) fn state(&self, seq: u64) -> sled::Result<Option<Vec<u8>>> {
        Ok(self.states.get(seq.to_be_bytes())?.map(|state| state.to_vec()))
    }

    pub(crate) fn fact(&self, key: &[u8]) -> sled::Result<Option<Fact>> {
        Ok(self.facts.get(key)?.and_then(|bytes| Fact::decode(&bytes)))
    }

    pub(crate) fn facts(&self, prefix: &[u8]) -> impl Iterator<Item = sled::Result<(Vec<u8>, Fact)>> {
        let decode = |(key, value): (sled::IVec, sled::IVec)| Fact::decode(&value).map(|fact| (key.to_vec(), fact));
        self.facts.scan_prefix(prefix).filter_map(move |item| item.map(decode).transpose())
    }

    /// Lets sled write out and reuse its space.
    pub(crate) fn flush(&self) -> sled::Result<()> {
        self.db.flush().map(|_| ())
    }

    /// Leaves `stamp` in the index and makes its files durable, which its own flush does not.
    pub(crate) fn seal(&self, stamp: u64, dir: &Path) -> io::Result<()> {
        self.db.insert(STAMP, &stamp.to_le_bytes()).map_err(to_io)?;
        self.flush().map_err(to_io)?;
        sync_tree(dir)
    }

    /// Whether it is the index that [`Self::seal`] left.
    pub(crate) fn has_stamp(&self, stamp: u64) -> bool {
        matches!(self.db.get(STAMP), Ok(Some(found)) if *found == stamp.to_le_bytes())
    }
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => fs::File::open(entry.path())?.sync_all()?,
        }
    }
    crate::disk::sync_dir(dir)
}

pub(crate) fn to_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

const STAMP: &[u8] = b"stamp";
const META_MAX: usize = 8 * 1024;
