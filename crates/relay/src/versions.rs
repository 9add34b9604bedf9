//! Files that another version wrote are refused before anything in the data folder, the spool or the log is opened for writing.

use std::path::{Path, PathBuf};

use posthaste_config::Config;
use posthaste_journal::{Alarms, AlarmsError};
use posthaste_tallies::Tallies;
use posthaste_watch::Incidents;

use crate::error::OpeningError;

/// Looks at the version of each file that names one. Changes nothing. What is damaged, or cannot be read, is left to whoever opens it.
///
/// # Errors
/// Another version wrote one of them.
pub(crate) fn refuse_unknown(config: &Config) -> Result<(), OpeningError> {
    let data_dir: &Path = &config.data_dir;
    let refused = |path: PathBuf, why: String| OpeningError::UnknownVersion { path, why };
    posthaste_spool::refuse_unknown(&config.spool.dir).map_err(|source| OpeningError::Spool { path: config.spool.dir.clone(), source })?;
    posthaste_monitor::refuse_newer(&config.log.dir)?;
    if let Err(error @ AlarmsError::Unknown { .. }) = Alarms::read(data_dir) {
        return Err(error.into());
    }
    posthaste_channels::refuse_unknown(data_dir).map_err(|(path, error)| refused(path, error.to_string()))?;
    Incidents::refuse_unknown(data_dir).map_err(|(path, error)| refused(path, error.to_string()))?;
    if let Some(counting) = &config.monitor.counting {
        Tallies::refuse_unknown(&counting.path).map_err(|error| refused(counting.path.clone(), error.to_string()))?;
    }
    Ok(())
}
