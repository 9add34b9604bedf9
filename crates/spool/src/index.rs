//! The index, in sled: metas and states by seq, facts by key. It never holds a body, nor the only copy of anything.
//!
//! It is not trusted after a crash, because the flush of sled 0.34.7 is no fsync and its recovery may drop data and report success.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{
    disk::Disk,
    fact::Fact,
    handles::Handles,
    overlay::{BUCKET, Overlay},
};

pub(crate) struct Index {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// None only while this is dropped.
    handles: Option<Handles>,
}

impl Drop for Index {
    fn drop(&mut self) {
        self.handles.take().into_iter().for_each(Handles::close);
    }
}

impl Index {
    pub(crate) fn open(dir: &Path, cache: u64, disk: Arc<dyn Disk>) -> sled::Result<Self> {
        disk.index()?;
        Ok(Self { path: dir.to_owned(), disk, handles: Some(Handles::open(dir, cache)?) })
    }

    fn sled(&self) -> &Handles {
        self.handles.as_ref().expect("an index has its handles until it is dropped")
    }

    pub(crate) fn apply(&self, overlay: &Overlay) -> sled::Result<()> {
        self.disk.index()?;
        for (seq, _) in overlay.gone.iter().filter(|(_, has_state)| **has_state) {
            self.sled().states.remove(seq.to_be_bytes())?;
        }
        for bucket in &overlay.spent {
            for key in self.sled().messages.range(bucket.to_be_bytes()..(bucket + BUCKET).to_be_bytes()).keys() {
                self.sled().messages.remove(key?)?;
            }
        }
        self.insert_messages(&overlay.messages)?;
        for (seq, state) in &overlay.states {
            self.sled().states.insert(seq.to_be_bytes(), state.as_slice())?;
        }
        for (key, fact) in &overlay.facts {
            match fact {
                Some(fact) => self.sled().facts.insert(key, fact.encode())?,
                None => self.sled().facts.remove(key)?,
            };
        }
        Ok(())
    }

    /// Packs the messages of a bucket into one value under the first one's seq: sled's cost is per insertion, not per byte.
    fn insert_messages(&self, messages: &BTreeMap<u64, (MessageId, Bytes)>) -> sled::Result<()> {
        let (mut pack, mut first) = (Vec::new(), None);
        // A large meta is left out and read from the log.
        for (seq, (id, meta)) in messages.iter().filter(|(_, (_, meta))| meta.len() <= META_MAX) {
            if let Some(key) = first.filter(|first| first / BUCKET != seq / BUCKET || pack.len() + meta.len() > PACK_MAX) {
                self.insert_pack(key, mem::take(&mut pack))?;
                first = None;
            }
            first.get_or_insert(*seq);
            pack.extend_from_slice(&seq.to_le_bytes());
            pack.extend_from_slice(&(meta.len() as u32).to_le_bytes());
            pack.extend_from_slice(&id.to_bytes());
            pack.extend_from_slice(meta);
        }
        if let Some(key) = first {
            self.insert_pack(key, pack)?;
        }
        Ok(())
    }

    fn insert_pack(&self, first: u64, pack: Vec<u8>) -> sled::Result<()> {
        self.sled().messages.insert(first.to_be_bytes(), pack)?;
        self.touch(&first.to_be_bytes());
        Ok(())
    }

    /// sled counts accesses to its cache in 256 queues and evicts only when one holds 64: up to 16,384 pages of ours,
    /// far above the cache's size. Repeated accesses fill the queues sooner.
    fn touch(&self, key: &[u8]) {
        for _ in 0..TOUCHES {
            // Only the access matters; an error will show again at a read whose result matters.
            let _ = self.sled().messages.contains_key(key);
        }
    }

    /// The id and meta of the messages in the range that are in the index, by rising seq; some of them may be dead.
    pub(crate) fn messages(&self, first: u64, last: u64) -> impl Iterator<Item = sled::Result<(u64, MessageId, Bytes)>> {
        let start = first & !(BUCKET - 1);
        self.sled().messages.range(start.to_be_bytes()..=last.to_be_bytes()).flat_map(move |pack| match pack {
            Ok((key, pack)) => {
                self.touch(&key);
                unpack(&pack, first..=last).into_iter().map(Ok).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        })
    }

    pub(crate) fn message(&self, seq: u64) -> sled::Result<Option<(MessageId, Bytes)>> {
        self.disk.index()?;
        self.messages(seq, seq).next().transpose().map(|found| found.map(|(_, id, meta)| (id, meta)))
    }

    pub(crate) fn state(&self, seq: u64) -> sled::Result<Option<Vec<u8>>> {
        self.disk.index()?;
        Ok(self.sled().states.get(seq.to_be_bytes())?.map(|state| state.to_vec()))
    }

    pub(crate) fn fact(&self, key: &[u8]) -> sled::Result<Option<Fact>> {
        self.disk.index()?;
        Ok(self.sled().facts.get(key)?.and_then(|bytes| Fact::decode(&bytes)))
    }

    pub(crate) fn facts(&self, prefix: &[u8]) -> sled::Result<Vec<(Vec<u8>, Fact)>> {
        self.disk.index()?;
        let decode = |(key, value): (sled::IVec, sled::IVec)| Fact::decode(&value).map(|fact| (key.to_vec(), fact));
        self.sled().facts.scan_prefix(prefix).filter_map(|item| item.map(decode).transpose()).collect()
    }

    /// Lets sled write its buffers and reuse space.
    pub(crate) fn flush(&self) -> sled::Result<()> {
        self.disk.index()?;
        self.sled().db.flush().map(|_| ())
    }

    /// Writes `stamp` into the index with a checksum of the facts (everything else is verified against the log or read from there), and
    /// makes its files durable, which sled's flush does not.
    pub(crate) fn seal(&self, stamp: u64) -> io::Result<()> {
        let seal = self.seal_for(stamp).map_err(to_io)?;
        self.sled().db.insert(SEAL, &seal).map_err(to_io)?;
        self.flush().map_err(to_io)?;
        sync_tree(&self.path)
    }

    /// Whether the index is in the state that [`Self::seal`] left.
    pub(crate) fn is_sealed(&self, stamp: u64) -> bool {
        self.seal_for(stamp).is_ok_and(|seal| matches!(self.sled().db.get(SEAL), Ok(Some(found)) if *found == seal))
    }

    fn seal_for(&self, stamp: u64) -> sled::Result<[u8; 12]> {
        let mut crc = crc32fast::Hasher::new();
        for item in &self.sled().facts {
            let (key, value) = item?;
            crc.update(&key);
            crc.update(&value);
        }
        let mut seal = [0; 12];
        seal[..8].copy_from_slice(&stamp.to_le_bytes());
        seal[8..].copy_from_slice(&crc.finalize().to_le_bytes());
        Ok(seal)
    }
}

fn unpack(mut pack: &[u8], wanted: RangeInclusive<u64>) -> Vec<(u64, MessageId, Bytes)> {
    let mut found = Vec::new();
    while let Some((seq, rest)) = pack.split_first_chunk()
        && let Some((len, rest)) = rest.split_first_chunk()
        && let Some((id, rest)) = rest.split_first_chunk()
        && let Some((meta, rest)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)
    {
        let seq = u64::from_le_bytes(*seq);
        if wanted.contains(&seq) {
            found.push((seq, MessageId::from_bytes(*id), Bytes::copy_from_slice(meta)));
        }
        pack = rest;
    }
    found
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => match fs::File::open(entry.path()) {
                Ok(file) => file.sync_all()?,
                // sled's threads delete files that are no longer needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
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

/// A key in sled's default tree.
const SEAL: &[u8] = b"seal";
const TOUCHES: usize = 12;
const META_MAX: usize = 8 * 1024;
const PACK_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::RealDisk, locations::Locations, record::Loc};

    #[test]
    fn a_bucket_goes_when_its_last_message_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), 1 << 20, Arc::new(RealDisk)).unwrap();
        let mut locations = Locations::default();
        let mut overlay = Overlay::default();
        for seq in 1..=200 {
            let at = Loc { segment: 1, offset: 64, len: 50 };
            locations.push(seq, crate::locations::MessageLocation { at, update: Loc::default() });
            overlay.store(seq, MessageId::from_bytes([seq as u8; 16]), vec![seq as u8; 600].into());
        }
        index.apply(&overlay).unwrap();
        let found = |first, last| index.messages(first, last).map(|item| item.unwrap().0).collect::<Vec<_>>();
        assert_eq!(found(0, 999), (1..=200).collect::<Vec<_>>());
        assert_eq!(found(60, 70), (60..=70).collect::<Vec<_>>());
        assert_eq!(index.message(129).unwrap(), Some((MessageId::from_bytes([129; 16]), vec![129; 600].into())));
        let mut overlay = Overlay::default();
        for seq in (64..128).chain(150..=200) {
            locations.remove(seq);
            overlay.remove(seq, false);
        }
        overlay.find_spent((64..128).chain(150..=200), &locations);
        index.apply(&overlay).unwrap();
        assert_eq!(index.message(100).unwrap(), None);
        assert_eq!(found(0, 149), (1..64).chain(128..150).collect::<Vec<_>>());
    }
}
