//! The only place that asks the system for the time. All other code takes it from here, or as an argument.
//!
//! In a rehearsal (`posthaste run --rehearse 1440`) the wall clock runs faster, also across restarts, so that a month of warm-up can be
//! watched in an hour. Waits that are derived from it are shorter in proportion; timeouts of sockets are not.

use std::{io, path::Path, sync::OnceLock, time::Duration, time::Instant};

use jiff::{SignedDuration, Timestamp};

use crate::files;

/// When the rehearsal began, by the real clock, and how many times as fast time has passed since.
static REHEARSAL: OnceLock<(Timestamp, u32)> = OnceLock::new();

/// The wall clock, in UTC.
pub fn now() -> Timestamp {
    match REHEARSAL.get() {
        None => real(),
        Some((began, rate)) => {
            let passed = real().duration_since(*began);
            began.checked_add(passed.saturating_mul(i32::try_from(*rate).unwrap_or(i32::MAX))).unwrap_or(Timestamp::MAX)
        }
    }
}

/// Whether the wall clock runs faster than real time.
pub fn is_rehearsal() -> bool {
    REHEARSAL.get().is_some()
}

/// The monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub fn instant() -> Instant {
    Instant::now()
}

/// The time since the first call, by a clock that nobody sets; in a rehearsal as much faster as the wall clock.
pub fn steady() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let rate = REHEARSAL.get().map_or(1, |(_, rate)| *rate);
    FIRST.get_or_init(instant).elapsed().saturating_mul(rate)
}

/// How long to sleep until the wall clock has advanced by `wait`.
pub fn sleep_for(wait: SignedDuration) -> Duration {
    let rate = REHEARSAL.get().map_or(1, |(_, rate)| *rate);
    Duration::try_from(wait).unwrap_or(Duration::ZERO) / rate.max(1)
}

/// Makes the wall clock run `rate` times as fast, counted from the first rehearsal in this data folder, so that a restart does not turn it
/// back. Without a rate the clock shows real time. It is an error if the folder was used at another speed, because the times stored in it
/// would lie in the future or jump.
pub fn set_speed(rate: Option<u32>, data_dir: &Path) -> io::Result<()> {
    let file = data_dir.join("rehearsal");
    let known = match files::read_text(&file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let known = known.map(|text| read_rehearsal(&text).ok_or_else(|| io::Error::other(format!("{} cannot be read", file.display()))));
    let (began, rate) = match (known.transpose()?, rate) {
        (None, None) => return Ok(()),
        (Some((began, known)), Some(rate)) if known == rate => (began, rate),
        (Some((_, known)), _) => {
            let text = format!(
                "a rehearsal at {known} times the speed was held in this folder; go on with --rehearse {known}, or take another data_dir"
            );
            return Err(io::Error::other(text));
        }
        (None, Some(rate)) => {
            let began = real();
            files::replace(&file, format!("{began} {rate}\n").as_bytes())?;
            (began, rate)
        }
    };
    // A second call in one process would change nothing; there is none.
    let _ = REHEARSAL.set((began, rate.max(1)));
    Ok(())
}

/// Shows the time of the relay whose data folder this is, for commands beside it: that of a rehearsal, if one is held there. What cannot be read
/// is of a relay that is none of this user's, or runs at no other speed.
pub fn follow(data_dir: &Path) {
    if let Some((began, rate)) = files::read_text(&data_dir.join("rehearsal")).ok().and_then(|text| read_rehearsal(&text)) {
        let _ = REHEARSAL.set((began, rate.max(1)));
    }
}

fn read_rehearsal(text: &str) -> Option<(Timestamp, u32)> {
    let (began, rate) = text.trim().split_once(' ')?;
    Some((began.parse().ok()?, rate.parse().ok()?))
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
fn real() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_keeps_the_speed_that_it_was_used_at() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("rehearsal"), "2026-11-23T00:00:00Z 1440\n").unwrap();
        for other in [None, Some(720)] {
            let error = set_speed(other, dir.path()).unwrap_err().to_string();
            assert!(error.contains("--rehearse 1440"), "{error}");
        }
        fs::write(dir.path().join("rehearsal"), "2026-11-23T00:00:00Z\n").unwrap();
        assert!(set_speed(Some(1440), dir.path()).is_err(), "what cannot be read is no start from scratch");
        assert!(set_speed(None, tempfile::tempdir().unwrap().path()).is_ok());
    }
}
