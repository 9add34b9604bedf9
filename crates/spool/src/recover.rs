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
    OpenError, Recovery, SpoolOptions, StoreError, checkpoint::StopCheckpoint, disk::Disk, index::Index, index_dir, log::Log,
    options::SpoolLimits, rebuild, recovery::Recovered, segment, shared::Shared, writer::Writer,
};

pub(crate) struct OpenedSpool {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: JoinHandle<Result<(), StoreError>>,
    pub(crate) lock: File,
    pub(crate) recovery: Recovery,
}

pub(crate) fn open(dir: &Path, options: &SpoolOptions, clock: fn() -> Instant, disk: Arc<dyn Disk>) -> Result<OpenedSpool, OpenError> {
    let began = clock();
    let failed = |source: io::Error| OpenError::Io { path: dir.to_owned(), source };
    for folder in ["log", "quarantine"] {
        fs::create_dir_all(dir.join(folder)).map_err(failed)?;
    }
    let lock = lock(dir)?;
    let checkpoint = StopCheckpoint::read(dir);
    let clean = checkpoint.is_some();
    let found = match checkpoint.and_then(|checkpoint| resume(dir, options, checkpoint, disk.clone())) {
        Some(found) => found,
        None => {
            StopCheckpoint::remove(dir).map_err(failed)?;
            start_over(dir, options, clean, disk.clone())?
        }
    };
    let Recovered { index, checkpoint, mut recovery } = found;
    let StopCheckpoint { next_lsn, mut table, locations, .. } = checkpoint;
    recovery.messages = locations.len() as u64;
    recovery.clean = clean;
    let id = table.iter().last().map_or(1, |segment| segment.name.id + 1);
    // The new segment records the floor of the lsns given out later, before the checkpoint that holds it is removed.
    let log = Log::create(dir.join("log"), id, next_lsn, disk.clone()).map_err(failed)?;
    StopCheckpoint::remove(dir).map_err(failed)?;
    table.add(log.active(), log.len());
    let shared = Shared::new(dir.to_owned(), SpoolLimits::new(options), disk, index, locations);
    recovery.damaged.iter().for_each(|seq| shared.note_damage(*seq));
    let indexer = shared.clone();
    let index_thread = thread::Builder::new().name("spool-index".to_owned()).spawn(move || indexer.keep_index()).map_err(failed)?;
    let writer = Writer::new(shared.clone(), clock, log, table, index_thread);
    let writer = thread::Builder::new().name("spool-writer".to_owned()).spawn(move || writer.run()).map_err(failed)?;
    recovery.took = clock().saturating_duration_since(began);
    Ok(OpenedSpool { shared, writer, lock, recovery })
}

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

/// The checkpoint and the index, if both and the log are as the last stop left them.
fn resume(dir: &Path, options: &SpoolOptions, checkpoint: StopCheckpoint, disk: Arc<dyn Disk>) -> Option<Recovered> {
    let segment::Listing { segments, strangers } = segment::list(&dir.join("log")).ok()?;
    let expected = checkpoint.table.iter().map(|segment| (segment.name, segment.len));
    if !strangers.is_empty() || !segments.into_iter().eq(expected) {
        return None;
    }
    let path = index_dir::current(dir).ok()?;
    index_dir::remove_others(dir, Some(&path)).ok()?;
    let index = Index::open(&path, options.index_cache, disk).ok()?;
    index.is_sealed(checkpoint.stamp).then(|| Recovered { index, checkpoint, recovery: Recovery::new(false) })
}

fn start_over(dir: &Path, options: &SpoolOptions, clean: bool, disk: Arc<dyn Disk>) -> Result<Recovered, OpenError> {
    if clean {
        tracing::error!("the spool's files are not those of its last orderly stop; its index is rebuilt from the log");
    }
    let made = index_dir::remove_others(dir, None).and_then(|()| index_dir::next(dir));
    let path = made.map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    let index = Index::open(&path, options.index_cache, disk).map_err(|error| OpenError::Index { path, reason: error.to_string() })?;
    rebuild::rebuild(dir, index)
}
