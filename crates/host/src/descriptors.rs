//! File descriptors: how many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files (RLIMIT_NOFILE) as far as the system allows without privileges. Returns it.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some systems allow a number that no table of files can have.
    let wanted = maximum.unwrap_or(MOST).min(MOST);
    let now = current.unwrap_or(MOST);
    if now >= wanted {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(_) => now,
    }
}

const MOST: u64 = 1 << 20;
