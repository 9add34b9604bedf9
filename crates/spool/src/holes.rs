//! The mark that records may be missing from the midst of the log: an empty file beside it, `holes`.
//!
//! It is there from before the damage is voided until an orderly stop after somebody has made up for what may be missing. So neither a kill
//! between the two nor a command that opens the spool and closes it again makes the damage forgotten.

use std::{fs, io, path::Path};

use crate::disk::sync_dir;

const FILE: &str = "holes";

pub(crate) fn are_noted(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

pub(crate) fn note(dir: &Path) -> io::Result<()> {
    if are_noted(dir) {
        return Ok(());
    }
    fs::File::create(dir.join(FILE))?;
    sync_dir(dir)
}

pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_dir(dir)),
    }
}
