//! The one place that asks what time it is. Everything below takes the answer as an argument.
//!
//! In a rehearsal (`posthaste run --rehearse 1440`) the wall clock runs faster from one start to the next, so that a month of warm-up can be
//! watched in an hour. Waits that are derived from it are shorter by as much; those of sockets are not.

use std::{fs, io, path::Path, sync::OnceLock, time::Duration, time::Instant};

use jiff::{SignedDuration, Timestamp};

/// When the rehearsal began, by the real clock, and how many times as fast time passes since.
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

/// The monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub fn instant() -> Instant {
    Instant::now()
}

/// How long to sleep so that the wall clock has gone on by so much.
pub fn sleep_for(wait: SignedDuration) -> Duration {
    let rate = REHEARSAL.get().map_or(1, |(_, rate)| *rate);
    Duration::try_from(wait).unwrap_or(Duration::ZERO) / rate.max(1)
}

/// From now on time passes `rate` times as fast, counted from the first rehearsal in this data folder, so that a restart does not turn it back.
pub fn rehearse(rate: u32, data_dir: &Path) -> io::Result<()> {
    let file = data_dir.join("rehearsal");
    let began = match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let began = real();
            fs::create_dir_all(data_dir)?;
            fs::write(&file, format!("{began}\n"))?;
            began
        }
        Err(error) => return Err(error),
    };
    // A second call in one process would change nothing; there is none.
    let _ = REHEARSAL.set((began, rate.max(1)));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
fn real() -> Timestamp {
    Timestamp::now()
}
