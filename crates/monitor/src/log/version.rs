//! A log of a later version is refused before anything is written into it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use posthaste_mail::SCHEMA_VERSION;
use serde::Deserialize;

use super::{LogError, files::list, inventory::Inventory};

/// Refuses a log whose newest lines were written by a version that this one does not know: it would read them wrongly.
pub fn refuse_newer(dir: &Path) -> Result<(), LogError> {
    #[derive(Deserialize)]
    struct Any {
        v: u64,
    }
    if fs::metadata(dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    Inventory::read(dir)?;
    for file in list(dir)?.iter().rev() {
        let end = read_end(&file.path).map_err(LogError::io("read", &file.path))?;
        let versions = end.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Any>(line).ok());
        match versions.map(|any| any.v).max() {
            Some(v) if v > SCHEMA_VERSION.into() => return Err(LogError::Newer { path: file.path.clone(), version: v }),
            Some(_) => break,
            None => {}
        }
    }
    Ok(())
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(NEWEST);
    let mut end = vec![0; (length - start) as usize];
    file.read_exact_at(&mut end, start)?;
    Ok(end)
}

/// So many bytes at the end of a file are looked through for a line with a version. A line has half a kilobyte; the longest a few.
const NEWEST: u64 = 64 << 10;
