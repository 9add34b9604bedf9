//! A library that is loaded before the C library (LD_PRELOAD) and stands in for the functions by which a program reads, writes and syncs
//! files and asks for the time.
//!
//! It does nothing until the file named by `POSTHASTE_FAULTS` says so (`layout`), which is mapped, so that the harness can change it at any
//! moment. Each successful sync is written down in the file named by `POSTHASTE_SYNCS`: inode and length, one line each, so that a power cut can drop what was not synced.

mod layout;

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    os::fd::RawFd,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use libc::{mode_t, off_t, size_t, ssize_t, timespec};

use layout::{CLOCK, COUNT, DELAY, ERROR, HITS, MASK, OPEN, PART, PER_MILLE, READ, RENAME, SIZE, SYNC, TORN, TRUNCATE, UNLINK, WRITE};

/// The control file, mapped.
#[derive(Clone, Copy)]
struct Control(*const u8);

// SAFETY: the mapping is never removed, and its fields are only read and written as atomic numbers, but for the path.
unsafe impl Send for Control {}
// SAFETY: as above.
unsafe impl Sync for Control {}

impl Control {
    fn number(self, at: u64) -> &'static AtomicU64 {
        // SAFETY: each offset of the layout lies within the file, aligned to 8 bytes.
        unsafe { &*self.0.add(at as usize).cast() }
    }

    fn get(self, at: u64) -> u64 {
        self.number(at).load(Ordering::SeqCst)
    }

    /// What the path must contain. The harness changes it only while no kind of call fails.
    fn part(self) -> &'static [u8] {
        // SAFETY: the part reaches to the end of the file.
        let all = unsafe { std::slice::from_raw_parts(self.0.add(PART as usize), (SIZE - PART) as usize) };
        &all[..all.iter().position(|byte| *byte == 0).unwrap_or(all.len())]
    }
}

const FAULTS: &CStr = c"POSTHASTE_FAULTS";
const SYNCS: &CStr = c"POSTHASTE_SYNCS";

/// The mapped control file; None if there is none.
fn control() -> Option<Control> {
    static CONTROL: OnceLock<Option<Control>> = OnceLock::new();
    *CONTROL.get_or_init(|| {
        let fd = named_file(FAULTS, libc::O_RDWR)?;
        // SAFETY: the harness made the file this large.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), SIZE as usize, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0) };
        (at != libc::MAP_FAILED).then(|| Control(at.cast_const().cast()))
    })
}

/// Opens the file that an environment variable names.
fn named_file(variable: &CStr, flags: c_int) -> Option<RawFd> {
    // SAFETY: both strings end with a zero byte; nobody changes the environment this early.
    unsafe {
        let path = libc::getenv(variable.as_ptr());
        let fd = if path.is_null() { -1 } else { sys_open(path, flags | libc::O_CLOEXEC, 0o600) };
        (fd >= 0).then_some(fd)
    }
}

unsafe fn sys_open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) as c_int }
}

/// What happens to a call.
enum Verdict {
    Pass,
    /// It fails with this error number, or, if torn, writes half.
    Fail {
        error: c_int,
        torn: bool,
    },
}

/// Judges a call on a path.
fn judge(kind: u64, path: impl FnOnce(&mut [u8]) -> usize) -> Verdict {
    let Some(control) = control().filter(|control| control.get(MASK) & kind != 0) else { return Verdict::Pass };
    let mut buffer = [0; 512];
    let length = path(&mut buffer).min(buffer.len());
    let part = control.part();
    if part.is_empty() || !buffer[..length].windows(part.len()).any(|w| w == part) || !chance(control.get(PER_MILLE)) {
        return Verdict::Pass;
    }
    if control.number(COUNT).fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err() {
        return Verdict::Pass;
    }
    let delay = control.get(DELAY);
    if delay > 0 {
        std::thread::sleep(std::time::Duration::from_micros(delay));
    }
    let hits = control.number(HITS).fetch_add(1, Ordering::SeqCst);
    match control.get(ERROR) {
        0 => Verdict::Pass,
        // A writer goes on with the second half, and that fails.
        error => Verdict::Fail { error: error as c_int, torn: control.get(TORN) != 0 && hits.is_multiple_of(2) },
    }
}

/// True so many times in a thousand.
fn chance(per_mille: u64) -> bool {
    static STATE: AtomicU64 = AtomicU64::new(1);
    let next = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)) % 1000 < per_mille
}

fn judge_fd(kind: u64, fd: RawFd) -> Verdict {
    judge(kind, |buffer| {
        let link = format!("/proc/self/fd/{fd}\0");
        // SAFETY: the link's name ends with a zero byte, and the buffer is as long as said.
        unsafe { libc::readlink(link.as_ptr().cast(), buffer.as_mut_ptr().cast(), buffer.len()).max(0) as usize }
    })
}

unsafe fn judge_path(kind: u64, path: *const c_char) -> Verdict {
    judge(kind, |buffer| {
        // SAFETY: the caller of the C function gave a string that ends with a zero byte.
        let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        length
    })
}

fn fail<T: From<i8>>(error: c_int) -> T {
    // SAFETY: the place of errno is always valid.
    unsafe { *libc::__errno_location() = error };
    T::from(-1)
}

/// The body of a function that writes: all, half, or nothing.
fn written(fd: RawFd, length: size_t, write: impl FnOnce(size_t) -> ssize_t) -> ssize_t {
    match judge_fd(WRITE, fd) {
        Verdict::Fail { torn: true, .. } if length > 1 => write(length / 2),
        Verdict::Fail { error, .. } => fail::<i64>(error) as ssize_t,
        Verdict::Pass => write(length),
    }
}

/// Stands in for write(2).
///
/// # Safety
/// As for write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    written(fd, length, |length| unsafe { libc::syscall(libc::SYS_write, fd, bytes, length) as ssize_t })
}

/// Stands in for writev(2).
///
/// # Safety
/// As for writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> ssize_t {
    written(fd, 0, |_| unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as ssize_t })
}

/// Stands in for pwrite(2).
///
/// # Safety
/// As for pwrite(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, length: size_t, at: off_t) -> ssize_t {
    written(fd, length, |length| unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, length, at) as ssize_t })
}

/// Stands in for pread(2).
///
/// # Safety
/// As for pread(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread64(fd: c_int, bytes: *mut c_void, length: size_t, at: off_t) -> ssize_t {
    match judge_fd(READ, fd) {
        Verdict::Fail { error, .. } => fail::<i64>(error) as ssize_t,
        Verdict::Pass => unsafe { libc::syscall(libc::SYS_pread64, fd, bytes, length, at) as ssize_t },
    }
}

/// Syncs and writes down how long the file was before.
fn synced(fd: RawFd, sync: impl FnOnce() -> c_int) -> c_int {
    static RECORD: OnceLock<Option<RawFd>> = OnceLock::new();
    if let Verdict::Fail { error, .. } = judge_fd(SYNC, fd) {
        return fail(error);
    }
    // SAFETY: a stat of zeros is one, and fstat fills it.
    let (known, stat) = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &mut stat) == 0, stat)
    };
    let done = sync();
    let record = *RECORD.get_or_init(|| named_file(SYNCS, libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT));
    if let Some(record) = record.filter(|_| done == 0 && known) {
        let line = format!("{} {}\n", stat.st_ino, stat.st_size);
        // SAFETY: the bytes are as many as said.
        unsafe { libc::syscall(libc::SYS_write, record, line.as_ptr(), line.len()) };
    }
    done
}

/// Stands in for fsync(2).
///
/// # Safety
/// As for fsync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    synced(fd, || unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int })
}

/// Stands in for fdatasync(2).
///
/// # Safety
/// As for fdatasync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(fd, || unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int })
}

/// Stands in for ftruncate(2).
///
/// # Safety
/// As for ftruncate(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    match judge_fd(TRUNCATE, fd) {
        Verdict::Fail { error, .. } => fail(error),
        Verdict::Pass => unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int },
    }
}

/// Stands in for open(2). Its third argument is there whenever it counts.
///
/// # Safety
/// As for open(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    match unsafe { judge_path(OPEN, path) } {
        Verdict::Fail { error, .. } => fail(error),
        Verdict::Pass => unsafe { sys_open(path, flags, mode) },
    }
}

/// Stands in for rename(2).
///
/// # Safety
/// As for rename(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    match unsafe { judge_path(RENAME, to) } {
        Verdict::Fail { error, .. } => fail(error),
        Verdict::Pass => unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) as c_int },
    }
}

/// Stands in for unlink(2).
///
/// # Safety
/// As for unlink(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    match unsafe { judge_path(UNLINK, path) } {
        Verdict::Fail { error, .. } => fail(error),
        Verdict::Pass => unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int },
    }
}

/// Stands in for clock_gettime(2).
///
/// # Safety
/// As for clock_gettime(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut timespec) -> c_int {
    const SECOND: i64 = 1_000_000_000;
    let done = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    if done == 0 && clock == libc::CLOCK_REALTIME {
        let offset = control().map_or(0, |control| control.get(CLOCK).cast_signed());
        // SAFETY: the kernel has just filled it.
        let time = unsafe { &mut *time };
        let nanos = time.tv_nsec + offset.rem_euclid(SECOND);
        time.tv_sec += offset.div_euclid(SECOND) + nanos.div_euclid(SECOND);
        time.tv_nsec = nanos.rem_euclid(SECOND);
    }
    done
}
