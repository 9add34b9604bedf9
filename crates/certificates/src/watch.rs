//! Watches the files of certificates.

use std::time::Duration;

use posthaste_host::InForce;
use posthaste_journal::{Journal, Part, State};

use crate::{settings::Settings, shown::FileChange};

/// How often the files are checked.
const EVERY: Duration = Duration::from_secs(2);

/// Reads certificates whose files changed, and logs the outcome. Never ends.
pub async fn watch(settings: InForce<Settings>, journal: Journal) {
    loop {
        tokio::time::sleep(EVERY).await;
        let now = settings.get();
        let found = tokio::task::spawn_blocking(move || now.shown.values().flat_map(|shown| shown.look()).collect::<Vec<_>>());
        for found in found.await.unwrap_or_default() {
            match found {
                FileChange::Renewed(file, until) => {
                    journal.say(Part::Tls, State::Renewed, format!("{} is shown from now on, until {until}", file.display()));
                }
                FileChange::Kept(file, error) => {
                    journal.say(Part::Tls, State::Alarm, format!("the old certificate is still shown: {}: {error}", file.display()));
                }
            }
        }
    }
}
