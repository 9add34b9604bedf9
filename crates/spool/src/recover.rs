//! Opens a spool: from the checkpoint after an orderly stop, else by a rebuild from the log.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{
    OpenError, Recovery, SpoolOptions, StoreError,
    checkpoint::StopCheckpoint,
    disk::{Disk, make_dir},
    format,
    index::{Index, to_io},
    index_dir,
    log::Log,
    manifest::Manifest,
    marks::Mark,
    options::SpoolLimits,
    rebuild::{self, RebuildError},
    recovery::{MissingSegment, Recovered, Seen},
    segment,
    segments::SegmentTable,
    shared::Shared,
    writer::Writer,
};

pub(crate) struct OpenedSpool {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: JoinHandle<Result<(), StoreError>>,
    pub(crate) lock: File,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(
    dir: &Path,
    options: &SpoolOptions,
    clock: fn() -> Instant,
    disk: Arc<dyn Disk>,
    seen: Seen<'_>,
) -> Result<OpenedSpool, OpenError> {
    let began = clock();
    let failed = |source: io::Error| OpenError::Io { path: dir.to_owned(), source };
    for folder in [dir, &dir.join("log"), &dir.join("quarantine")] {
        make_dir(folder).map_err(failed)?;
    }
    let lock = lock(dir)?;
    format::check(dir)?;
    let mut manifest = Manifest::read(dir).map_err(failed)?;
    let checkpoint = StopCheckpoint::read(dir);
    let clean = checkpoint.is_some();
    let resumed = checkpoint.map_or(Err(None), |checkpoint| resume(dir, options, checkpoint, disk.clone()));
    let found = match resumed {
        Ok(found) => found,
        Err(failed) => {
            let before = StopCheckpoint::read(dir).map(|checkpoint| checkpoint.locations);
            let mut found = start_over(dir, options, clean && failed.is_none(), &disk, seen)?;
            found.recovery.index_failed = found.recovery.index_failed.or(failed);
            let there = &found.checkpoint.locations;
            let gone = |(seq, _): &(u64, _)| there.get(*seq).is_none().then_some(*seq);
            found.recovery.lost = before.iter().flat_map(|locations| locations.iter().filter_map(gone)).collect();
            found
        }
    };
    let Recovered { index, checkpoint, mut recovery } = found;
    let StopCheckpoint { mut next_lsn, mut table, locations, .. } = checkpoint;
    if recovery.rebuilt {
        recovery.missing = missing(&manifest, &table);
        if !recovery.missing.is_empty() {
            Mark::Holes.set(dir).map_err(failed)?;
        }
    }
    if let Some(last) = recovery.missing.iter().filter(|missing| missing.last.is_none()).map(|missing| missing.first).max() {
        // How many numbers the last segment gave out is not known: none of them may be given out again.
        next_lsn = next_lsn.max(last + NUMBERS_OF_A_SEGMENT);
    }
    recovery.messages = locations.len() as u64;
    recovery.clean = clean;
    if !clean || recovery.rebuilt {
        Mark::Uncompared.set(dir).map_err(failed)?;
    }
    recovery.holes = Mark::Holes.is_set(dir);
    recovery.uncompared = Mark::Uncompared.is_set(dir);
    recovery.next = next_lsn;
    let highest = table.iter().last().map(|segment| segment.name.id).into_iter().chain(manifest.highest()).max();
    let id = highest.map_or(1, |id| id + 1);
    let there = table.iter().map(|segment| (segment.name.id, manifest.floor(segment.name.id)));
    // What is missing stays listed until after an orderly stop: whoever opened the spool has surely written it down by then.
    let missing = recovery.missing.iter().map(|missing| (missing.segment, missing.first));
    manifest.replace(there.chain(missing).collect()).map_err(failed)?;
    // The new segment records the floor of the lsns given out later, before the checkpoint that holds it is removed.
    let log = Log::create(dir.join("log"), id, next_lsn, disk.clone(), manifest).map_err(failed)?;
    StopCheckpoint::remove(dir).map_err(failed)?;
    table.add(log.active(), log.len());
    let shared = Shared::new(dir.to_owned(), SpoolLimits::new(options), disk, index, locations);
    if shared.index_is_in_memory() {
        shared.status().index_in_memory = recovery.index_failed.clone();
    }
    recovery.damaged.iter().for_each(|seq| shared.note_damage(*seq));
    let indexer = shared.clone();
    let index_thread = thread::Builder::new().name("spool-index".to_owned()).spawn(move || indexer.keep_index()).map_err(failed)?;
    let writer = Writer::new(shared.clone(), clock, log, table, index_thread);
    let writer = thread::Builder::new().name("spool-writer".to_owned()).spawn(move || writer.run()).map_err(failed)?;
    recovery.took = clock().saturating_duration_since(began);
    Ok(OpenedSpool { shared, writer, lock, recovery })
}

/// The segments that are listed and not there. Where the next one begins so high that this one cannot have given out the numbers up to there,
/// numbers were skipped, and which its last was is not known.
fn missing(manifest: &Manifest, table: &SegmentTable) -> Vec<MissingSegment> {
    let gone = manifest.missing(|id| table.has(id)).into_iter();
    let last = |first: u64, next: Option<u64>| next.filter(|next| *next < first.saturating_add(NUMBERS_OF_A_SEGMENT))?.checked_sub(1);
    gone.map(|(segment, first, next)| MissingSegment { segment, first, last: last(first, next) }).collect()
}

/// How often a start tries to make an index on disk: twice, since an error may pass at once.
const TRIES: usize = 2;
/// More numbers than a segment can give out: it has at most 1 GiB and one record, and a record takes 40 bytes at least.
const NUMBERS_OF_A_SEGMENT: u64 = 1 << 26;

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked { path: dir.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

/// The checkpoint and the index, if both and the log are as the last stop left them. The error is the index's, if that is what failed.
fn resume(dir: &Path, options: &SpoolOptions, checkpoint: StopCheckpoint, disk: Arc<dyn Disk>) -> Result<Recovered, Option<String>> {
    let segment::Listing { segments, strangers } = segment::list(&dir.join("log")).map_err(|_| None)?;
    let expected = checkpoint.table.iter().map(|segment| (segment.name, segment.len));
    if !strangers.is_empty() || !segments.into_iter().eq(expected) {
        return Err(None);
    }
    let path = index_dir::current(dir).map_err(|_| None)?;
    index_dir::remove_others(dir, Some(&path)).map_err(|_| None)?;
    let index = Index::open(&path, options.index_cache, disk).map_err(|error| Some(error.to_string()))?;
    if index.is_sealed(checkpoint.stamp) { Ok(Recovered { index, checkpoint, recovery: Recovery::new(false) }) } else { Err(None) }
}

fn start_over(dir: &Path, options: &SpoolOptions, clean: bool, disk: &Arc<dyn Disk>, seen: Seen<'_>) -> Result<Recovered, OpenError> {
    if clean {
        tracing::error!("the spool's files are not those of its last orderly stop; its index is rebuilt from the log");
    }
    let refused = |error| match error {
        RebuildError::Unknown(unknown) => unknown,
        RebuildError::Log(source) => OpenError::Io { path: dir.to_owned(), source },
        RebuildError::Index(error) => OpenError::Io { path: dir.to_owned(), source: to_io(error) },
    };
    let mut index_failed = None;
    for _ in 0..TRIES {
        match rebuild_on_disk(dir, options, disk, seen) {
            Err(RebuildError::Index(error)) => {
                tracing::error!(%error, "the spool's index cannot be made");
                index_failed = Some(error.to_string());
            }
            made => {
                let mut found = made.map_err(refused)?;
                found.recovery.index_failed = index_failed;
                return Ok(found);
            }
        }
    }
    // An index that fails must not keep mail from being taken: the writer makes another one as soon as that is possible.
    let mut found = rebuild::rebuild(dir, Index::in_memory(disk.clone()), &**disk, seen).map_err(refused)?;
    found.recovery.index_failed = index_failed;
    Ok(found)
}

/// Rebuilds into a new index. The old one is kept until it is known that the log can be read.
fn rebuild_on_disk(dir: &Path, options: &SpoolOptions, disk: &Arc<dyn Disk>, seen: Seen<'_>) -> Result<Recovered, RebuildError> {
    let was = index_dir::put_aside(dir).map_err(sled::Error::from)?;
    let path = index_dir::next(dir).map_err(sled::Error::from)?;
    let index = Index::open(&path, options.index_cache, disk.clone());
    let rebuilt = index.map_err(RebuildError::Index).and_then(|index| rebuild::rebuild(dir, index, &**disk, seen));
    let tidied = match &rebuilt {
        Ok(_) => index_dir::forget_aside(dir),
        Err(RebuildError::Unknown(_)) => fs::remove_dir_all(&path).and_then(|()| index_dir::put_back(dir, &was)),
        Err(_) => fs::remove_dir_all(&path),
    };
    // What is left is removed by the next rebuild.
    tidied.unwrap_or_else(|error| tracing::warn!(%error, "an index of the spool that is not in use cannot be removed"));
    rebuilt
}
