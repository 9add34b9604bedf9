//! A log of a later version is refused before anything is written into it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use posthaste_mail::SCHEMA_VERSION;
use serde_json::Value;

use super::{LogError, files::list, inventory::Inventory, json_version};

/// Refuses a log whose newest lines were written by a version that this one does not know: it would read them wrongly.
pub fn refuse_newer(dir: &Path) -> Result<(), LogError> {
    if fs::metadata(dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    Inventory::read(dir)?;
    for file in list(dir)?.iter().rev() {
        let end = read_end(&file.path).map_err(LogError::io("read", &file.path))?;
        let versions: Vec<Value> = end.split(|b| *b == b'\n').filter_map(json_version::of).flatten().collect();
        let is_known = |v: &Value| v.as_u64().is_some_and(|v| (1..=SCHEMA_VERSION.into()).contains(&v));
        if let Some(unknown) = versions.iter().find(|v| !is_known(v)) {
            return Err(LogError::Newer { path: file.path.clone(), version: unknown.to_string() });
        }
        if !versions.is_empty() {
            break;
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
