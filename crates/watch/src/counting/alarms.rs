//! What an operator hears when lines of the log are not counted.

use std::{io, path::Path};

use posthaste_host::Panicked;
use posthaste_journal::{Finding, Part};
use posthaste_tallies::{Skipped, TalliesError};

/// Why counting stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Tallies(#[from] TalliesError),
    #[error("a fault of posthaste: {0}")]
    Panicked(#[from] Panicked),
}

/// The alarm about a log that is not counted. It ends by itself.
pub(super) const UNCOUNTED: &str = "uncounted";
/// The alarm about lines that are not counted.
const SKIPPED: &str = "lines_uncounted";

/// What to do about it follows from why it fails.
pub(super) fn uncounted(what: String, error: &Failure, database: &Path) -> Finding {
    use TalliesError::{Damaged, Database, File, Log, Version};
    let mend = match error {
        Failure::Panicked(_) => format!(
            "Report this fault with the text above. If it lasts, stop posthaste, move {} away and start it: the log is counted from its beginning",
            database.display()
        ),
        Failure::Tallies(Version(_)) => format!("Start the posthaste that wrote {}, or move the file away", database.display()),
        Failure::Tallies(error) if is_no_room(error) => "Make room on the disk".to_owned(),
        Failure::Tallies(Log(_)) => {
            "See that the log's folder and files can be read by the relay's user, and that the disk is well".to_owned()
        }
        Failure::Tallies(Database(_) | Damaged(_) | File(_)) => {
            format!("See that the relay's user can write {} and its folder, and that the disk is well", database.display())
        }
    };
    let remedy = format!("Mail goes on, rules that need no figures look as before, and it is tried again every few seconds. {mend}");
    Finding { rule: UNCOUNTED, key: String::new(), part: Some(Part::Tallies), what, remedy }
}

fn is_no_room(error: &TalliesError) -> bool {
    match error {
        TalliesError::Database(_) => error.is_full(),
        TalliesError::File(error) => matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
        _ => false,
    }
}

/// Lines that made posthaste panic: the last one, and how many there were.
pub(super) fn skipped(last: &Skipped) -> Finding {
    let (are, first) = match last.count {
        1 => ("a line of the delivery log is".to_owned(), "it"),
        count => (format!("{count} lines of the delivery log are"), "the last one"),
    };
    let what = format!(
        "{are} not in the figures, because posthaste fails on it; {first} is at byte {} of {} ({}): {}",
        last.offset,
        last.file.display(),
        last.line,
        last.why
    );
    let remedy = "Mail and all other figures go on. Report this fault with that line, and acknowledge the alarm".into();
    Finding { rule: SKIPPED, key: String::new(), part: Some(Part::Tallies), what, remedy }
}

/// The tallies were deleted or replaced under the thread that writes them.
pub(super) fn file_gone(database: &Path) -> String {
    format!(
        "{} was deleted or replaced while posthaste ran; the log is counted into the file that is there now, or from its beginning into a new one: \
         figures of days whose log is deleted are gone",
        database.display()
    )
}
