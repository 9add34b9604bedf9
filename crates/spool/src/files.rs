//! The segments opened for reading.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use crate::queue::POISON;

/// The open segments, most recently used last.
pub(crate) struct Files {
    dir: PathBuf,
    open: Mutex<Vec<(u32, Arc<OpenSegment>)>>,
}

pub(crate) struct OpenSegment {
    pub(crate) file: File,
    pub(crate) salt: u32,
}

impl Files {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, open: Mutex::default() }
    }

    /// Closes a deleted segment: its space is not freed while it is open.
    pub(crate) fn forget(&self, id: u32) {
        self.open.lock().expect(POISON).retain(|(open, _)| *open != id);
    }

    pub(crate) fn get(&self, id: u32) -> io::Result<Arc<OpenSegment>> {
        let mut open = self.open.lock().expect(POISON);
        if let Some(at) = open.iter().position(|(open, _)| *open == id) {
            let found = open.remove(at);
            open.push(found);
            return Ok(open[open.len() - 1].1.clone());
        }
        drop(open);
        let segment = Arc::new(self.open(id)?);
        let mut open = self.open.lock().expect(POISON);
        open.push((id, segment.clone()));
        if open.len() > OPEN_MAX {
            open.remove(0);
        }
        Ok(segment)
    }

    fn open(&self, id: u32) -> io::Result<OpenSegment> {
        let prefix = format!("{id:08x}-");
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let salt = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".log"));
            if let Some(salt) = salt.and_then(|salt| u32::from_str_radix(salt, 16).ok()) {
                return Ok(OpenSegment { file: File::open(entry.path())?, salt });
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

const OPEN_MAX: usize = 16;
