//! The progress of long work: at a terminal a bar or a sign of life, elsewhere a line now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::screen::say;

/// How often a sign of life changes.
const LIFE: Duration = Duration::from_millis(100);

/// How often work that goes on for long is told of where nobody watches a terminal, in a line of its own.
const LINES_APART: Duration = Duration::from_secs(5);

/// The progress of long work, on standard error; shown at a terminal alone. When it is dropped, it is gone from there.
pub(crate) struct Progress(ProgressBar);

/// The progress of work in several parts: a bar with how much of how much at a terminal, and a line every few seconds elsewhere.
pub(crate) struct Parts {
    progress: Progress,
    /// The part that is shown, and when a line was last written.
    told: Mutex<(&'static str, Duration)>,
}

impl Parts {
    /// Work that has begun, of whose parts nothing is known yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { progress: Progress::endless(what), told: Mutex::new((what, Duration::ZERO)) }
    }

    /// The bar itself, for what prints beside it.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.progress.bar()
    }

    /// So much of a part is done. `what` it is, such as "reading the spool".
    pub(crate) fn tell(&self, what: &'static str, done: u64, of: u64, unit: Unit) {
        let bar = &self.progress.0;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut told.0, what) != what {
            bar.set_style(styled(unit.template()));
            bar.set_message(what);
        }
        bar.set_length(of);
        bar.set_position(done);
        if bar.is_hidden() && is_time(&mut told.1, bar.elapsed()) {
            say(format_args!("{what}: {}", unit.share(done, of)));
        }
    }
}

/// Whether it is time for a line, `elapsed` since the work began; `last` is when the last one was.
fn is_time(last: &mut Duration, elapsed: Duration) -> bool {
    let due = elapsed >= *last + LINES_APART;
    if due {
        *last = elapsed;
    }
    due
}

/// What the parts of a work are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of files.
    Bytes,
    /// Messages.
    Messages,
}

impl Unit {
    fn template(self) -> &'static str {
        match self {
            Self::Bytes => "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {eta} left",
            Self::Messages => "{msg} [{bar:30}] {human_pos} of {human_len}, {eta} left",
        }
    }

    fn share(self, done: u64, of: u64) -> String {
        let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100).min(100);
        match self {
            Self::Bytes => format!("{} of {} ({percent} %)", BinaryBytes(done), BinaryBytes(of)),
            Self::Messages => format!("{} of {} messages ({percent} %)", HumanCount(done), HumanCount(of)),
        }
    }
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is right")
}

impl Progress {
    /// Work whose end is not known: a sign of life and the time so far.
    pub(crate) fn endless(what: &'static str) -> Self {
        Self::with(ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}", what)
    }

    /// Work of so many steps.
    pub(crate) fn of(what: &'static str, steps: u64) -> Self {
        Self::with(ProgressBar::new(steps), "{msg} [{bar:30}] {pos} of {len}, {eta} left", what)
    }

    fn with(bar: ProgressBar, template: &str, what: &'static str) -> Self {
        let bar = bar.with_style(styled(template)).with_message(what);
        bar.enable_steady_tick(LIFE);
        Self(bar)
    }

    /// The bar itself, for what prints beside it.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.0.clone()
    }

    /// Does what prints, while the progress is out of its way.
    pub(crate) fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.suspend(act)
    }

    /// So many steps are done.
    pub(crate) fn done(&self, steps: u64) {
        self.0.set_position(steps);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_its_unit_and_its_percentage() {
        assert_eq!(Unit::Bytes.share(3 << 29, 4 << 30), "1.50 GiB of 4.00 GiB (37 %)");
        assert_eq!(Unit::Messages.share(12_000, 1_000_000), "12,000 of 1,000,000 messages (1 %)");
        assert_eq!(Unit::Bytes.share(0, 0), "0 B of 0 B (100 %)");
    }

    #[test]
    fn a_line_comes_every_few_seconds_and_a_short_start_has_none() {
        let (mut last, mut lines) = (Duration::ZERO, Vec::new());
        for second in 0..=17 {
            if is_time(&mut last, Duration::from_secs(second)) {
                lines.push(second);
            }
        }
        assert_eq!(lines, [5, 10, 15]);
    }

    #[test]
    fn every_template_is_right() {
        for unit in [Unit::Bytes, Unit::Messages] {
            styled(unit.template());
        }
    }
}
