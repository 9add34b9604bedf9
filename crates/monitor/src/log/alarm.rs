//! What the operator has to know about the log's files.

use std::fmt;

use posthaste_mail::GapFacts;

/// What others did to the files of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogAlarm {
    /// Every line is still there. What happened, and what to do, in words.
    Meddled(String),
    /// The list of the log's files is gone or cannot be understood: what happened to them while no relay ran is not known.
    ListLost {
        /// When that was noticed, so that a second loss is told, too.
        key: String,
        /// What is wrong, in words.
        what: String,
        /// What to do, as a sentence without its full stop.
        remedy: String,
    },
    /// Lines are missing.
    Gap {
        /// Which ones: the file and the first missing byte.
        key: String,
        /// What is missing, in words.
        what: String,
        /// What to do, as a sentence without its full stop.
        remedy: String,
    },
}

impl LogAlarm {
    /// The alarm about a gap.
    pub(crate) fn gap(gap: &GapFacts, remedy: String) -> Self {
        let key = format!("{}-{}-{}", gap.file.as_deref().unwrap_or_default(), gap.from_byte, gap.bytes);
        Self::Gap { key, what: gap.detail.clone(), remedy }
    }
}

impl fmt::Display for LogAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meddled(what) => f.write_str(what),
            Self::Gap { what, remedy, .. } | Self::ListLost { what, remedy, .. } => write!(f, "{what}. {remedy}"),
        }
    }
}
