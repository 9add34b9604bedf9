//! The index, in sled: metas and states by seq, facts by key. It never holds a body, nor the only copy of anything. While sled cannot be used, an
//! index in memory takes its place: it holds the facts alone, and everything else is read from the log.
//!
//! It is not trusted after a crash, because the flush of sled 0.34.7 is no fsync and its recovery may drop data and report success.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{
    disk::Disk,
    fact::Fact,
    handles::Handles,
    overlay::{BUCKET, Overlay},
    queue::POISON,
};

pub(crate) struct Index {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// None: the index is in memory, or is being dropped.
    handles: Option<Handles>,
    memory: Mutex<BTreeMap<Vec<u8>, Fact>>,
}

impl Drop for Index {
    fn drop(&mut self) {
        self.handles.take().into_iter().for_each(Handles::close);
    }
}

impl Index {
    pub(crate) fn open(dir: &Path, cache: u64, disk: Arc<dyn Disk>) -> sled::Result<Self> {
        disk.index()?;
        Ok(Self { path: dir.to_owned(), disk, handles: Some(Handles::open(dir, cache)?), memory: Mutex::default() })
    }

    pub(crate) fn in_memory(disk: Arc<dyn Disk>) -> Self {
        Self { path: PathBuf::new(), disk, handles: None, memory: Mutex::default() }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.handles.is_none()
    }

    /// sled, if it works; None: the index is in memory.
    fn sled(&self) -> sled::Result<Option<&Handles>> {
        self.handles.as_ref().map(|handles| self.disk.index().map(|()| handles).map_err(sled::Error::from)).transpose()
    }

    fn facts_in_memory(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Fact>> {
        self.memory.lock().expect(POISON)
    }

    pub(crate) fn apply(&self, overlay: &Overlay) -> sled::Result<()> {
        let Some(sled) = self.sled()? else {
            let mut facts = self.facts_in_memory();
            for (key, fact) in &overlay.facts {
                match fact {
                    Some(fact) => facts.insert(key.clone(), fact.clone()),
                    None => facts.remove(key),
                };
            }
            return Ok(());
        };
        for (seq, _) in overlay.gone.iter().filter(|(_, has_state)| **has_state) {
            sled.states.remove(seq.to_be_bytes())?;
        }
        for bucket in &overlay.spent {
            for key in sled.messages.range(bucket.to_be_bytes()..(bucket + BUCKET).to_be_bytes()).keys() {
                sled.messages.remove(key?)?;
            }
        }
        insert_messages(sled, &overlay.messages)?;
        for (seq, state) in &overlay.states {
            sled.states.insert(seq.to_be_bytes(), state.as_slice())?;
        }
        for (key, fact) in &overlay.facts {
            match fact {
                Some(fact) => sled.facts.insert(key, fact.encode())?,
                None => sled.facts.remove(key)?,
            };
        }
        Ok(())
    }

    /// The id and meta of the messages in the range that are in the index, by rising seq; some of them may be dead.
    pub(crate) fn messages(&self, first: u64, last: u64) -> impl Iterator<Item = sled::Result<(u64, MessageId, Bytes)>> {
        let start = first & !(BUCKET - 1);
        let packs = self.handles.as_ref().map(|sled| (sled, sled.messages.range(start.to_be_bytes()..=last.to_be_bytes())));
        let packs = packs.into_iter().flat_map(|(sled, packs)| packs.map(move |pack| (sled, pack)));
        packs.flat_map(move |(sled, pack)| match pack {
            Ok((key, pack)) => {
                touch(sled, &key);
                unpack(&pack, first..=last).into_iter().map(Ok).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        })
    }

    pub(crate) fn message(&self, seq: u64) -> sled::Result<Option<(MessageId, Bytes)>> {
        self.sled()?;
        self.messages(seq, seq).next().transpose().map(|found| found.map(|(_, id, meta)| (id, meta)))
    }

    pub(crate) fn state(&self, seq: u64) -> sled::Result<Option<Vec<u8>>> {
        let Some(sled) = self.sled()? else { return Ok(None) };
        Ok(sled.states.get(seq.to_be_bytes())?.map(|state| state.to_vec()))
    }

    pub(crate) fn fact(&self, key: &[u8]) -> sled::Result<Option<Fact>> {
        let Some(sled) = self.sled()? else { return Ok(self.facts_in_memory().get(key).cloned()) };
        Ok(sled.facts.get(key)?.and_then(|bytes| Fact::decode(&bytes)))
    }

    pub(crate) fn facts(&self, prefix: &[u8]) -> sled::Result<Vec<(Vec<u8>, Fact)>> {
        let Some(sled) = self.sled()? else {
            let facts = self.facts_in_memory();
            let found = facts.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
            return Ok(found.map(|(key, fact)| (key.clone(), fact.clone())).collect());
        };
        let decode = |(key, value): (sled::IVec, sled::IVec)| Fact::decode(&value).map(|fact| (key.to_vec(), fact));
        sled.facts.scan_prefix(prefix).filter_map(|item| item.map(decode).transpose()).collect()
    }

    /// Lets sled write its buffers and reuse space.
    pub(crate) fn flush(&self) -> sled::Result<()> {
        self.sled()?.map_or(Ok(()), |sled| sled.db.flush().map(|_| ()))
    }

    /// Writes `stamp` into the index with a checksum of the facts (everything else is verified against the log or read from there), and
    /// makes its files durable, which sled's flush does not.
    pub(crate) fn seal(&self, stamp: u64) -> io::Result<()> {
        let sled = self.sled().map_err(to_io)?.ok_or_else(|| io::Error::other("the index is in memory"))?;
        let seal = seal_for(sled, stamp).map_err(to_io)?;
        sled.db.insert(SEAL, &seal).map_err(to_io)?;
        self.flush().map_err(to_io)?;
        sync_tree(&self.path)
    }

    /// Whether the index is in the state that [`Self::seal`] left.
    pub(crate) fn is_sealed(&self, stamp: u64) -> bool {
        let Ok(Some(sled)) = self.sled() else { return false };
        seal_for(sled, stamp).is_ok_and(|seal| matches!(sled.db.get(SEAL), Ok(Some(found)) if *found == seal))
    }
}

/// Packs the messages of a bucket into one value under the first one's seq: sled's cost is per insertion, not per byte.
fn insert_messages(sled: &Handles, messages: &BTreeMap<u64, (MessageId, Bytes)>) -> sled::Result<()> {
    let (mut pack, mut first) = (Vec::new(), None);
    // A large meta is left out and read from the log.
    for (seq, (id, meta)) in messages.iter().filter(|(_, (_, meta))| meta.len() <= META_MAX) {
        if let Some(key) = first.filter(|first| first / BUCKET != seq / BUCKET || pack.len() + meta.len() > PACK_MAX) {
            insert_pack(sled, key, mem::take(&mut pack))?;
            first = None;
        }
        first.get_or_insert(*seq);
        pack.extend_from_slice(&seq.to_le_bytes());
        pack.extend_from_slice(&(meta.len() as u32).to_le_bytes());
        pack.extend_from_slice(&id.to_bytes());
        pack.extend_from_slice(meta);
    }
    if let Some(key) = first {
        insert_pack(sled, key, pack)?;
    }
    Ok(())
}

fn insert_pack(sled: &Handles, first: u64, pack: Vec<u8>) -> sled::Result<()> {
    sled.messages.insert(first.to_be_bytes(), pack)?;
    touch(sled, &first.to_be_bytes());
    Ok(())
}

/// sled counts accesses to its cache in 256 queues and evicts only when one holds 64: up to 16,384 pages of ours,
/// far above the cache's size. Repeated accesses fill the queues sooner.
fn touch(sled: &Handles, key: &[u8]) {
    for _ in 0..TOUCHES {
        // Only the access matters; an error will show again at a read whose result matters.
        let _ = sled.messages.contains_key(key);
    }
}

fn seal_for(sled: &Handles, stamp: u64) -> sled::Result<[u8; 12]> {
    let mut crc = crc32fast::Hasher::new();
    for item in &sled.facts {
        let (key, value) = item?;
        crc.update(&key);
        crc.update(&value);
    }
    let mut seal = [0; 12];
    seal[..8].copy_from_slice(&stamp.to_le_bytes());
    seal[8..].copy_from_slice(&crc.finalize().to_le_bytes());
    Ok(seal)
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
