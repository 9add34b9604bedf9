//! `[sendmail]`: mail that the users of this machine hand in by `posthaste sendmail`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    reader::{Item, Parsed, Table, fault},
    value::{duration, string},
};

/// How mail of this machine's users comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sendmail {
    /// The aliases of local names; None: there are none. Only the command reads them.
    pub aliases: Option<PathBuf>,
    /// The folder in which mail is kept that comes while the relay is down; None: it is not kept.
    pub maildrop: Option<PathBuf>,
    /// How often that folder is emptied.
    pub pickup: Duration,
}

impl Sendmail {
    pub(super) fn read(t: &Table<'_>, data_dir: &Path) -> Self {
        Self {
            aliases: t.get("aliases", path_or_none),
            maildrop: t.get("maildrop", path_or_none).map(|dir| data_dir.join(dir)),
            pickup: t.get("pickup", duration(Duration::from_secs(1)..=Duration::from_hours(1))),
        }
    }
}

/// A path; "" means none.
fn path_or_none(item: Item<'_>) -> Parsed<Option<PathBuf>> {
    match string(item)? {
        "" => Ok(None),
        text if text.contains('\0') => fault(item, "a path cannot contain a NUL"),
        text => Ok(Some(text.into())),
    }
}
