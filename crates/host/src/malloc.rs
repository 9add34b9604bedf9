//! How much freed memory glibc's malloc keeps for itself.

use std::{env, ffi::OsString, io, os::unix::process::CommandExt, process::Command, thread};

/// Sets glibc's malloc so that the process takes little more memory than it uses. malloc reads its settings only when a process starts, so the
/// program is run again, in the same process: call this first of all. It returns if that was done before, if the environment names the
/// settings already, if the system's library is another one, or with the error that prevented it.
pub fn settle() -> io::Result<()> {
    if !cfg!(target_env = "gnu") || env::var_os(MMAP_THRESHOLD).is_some() {
        return Ok(());
    }
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let mut again = Command::new(env::current_exe()?);
    again.arg0(name).args(words).env(MMAP_THRESHOLD, MAPPED_FROM.to_string());
    let unset = [(ARENA_MAX, arenas()), (TRIM_THRESHOLD, KEPT.to_string().into()), (TOP_PAD, STEP.to_string().into())];
    again.envs(unset.into_iter().filter(|(name, _)| env::var_os(name).is_none()));
    Err(again.exec())
}

/// As many arenas as cores: what threads free in one is of use to no other. glibc's own rule is eight for each core.
fn arenas() -> OsString {
    thread::available_parallelism().map_or(ARENAS_MIN, usize::from).max(ARENAS_MIN).to_string().into()
}

/// Blocks of this many bytes and more are mapped apart from the heap, and unmapped when they are freed. That is how glibc begins, but it raises
/// this to the size of the largest block that was freed so far, up to 32 MiB, and keeps what is smaller.
const MAPPED_FROM: usize = 128 * 1024;
/// So much free memory stays at the heap's end, and the heap grows in such steps. Once the size above is fixed, glibc gives back all but 128 KiB and
/// takes it again at each burst: taking 20,000 messages cost 25,000 page faults instead of 15,000.
/// Larger steps take more memory: with 256 KiB, 40,000 small messages in memory took 83 MiB instead of 78.
const KEPT: usize = 1024 * 1024;
const STEP: usize = 64 * 1024;
const TRIM_THRESHOLD: &str = "MALLOC_TRIM_THRESHOLD_";
const TOP_PAD: &str = "MALLOC_TOP_PAD_";
const MMAP_THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
const ARENA_MAX: &str = "MALLOC_ARENA_MAX";
const ARENAS_MIN: usize = 2;
