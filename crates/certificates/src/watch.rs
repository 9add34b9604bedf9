//! The relay's eye on the files of certificates.

use std::time::Duration;

use posthaste_host::InForce;
use posthaste_journal::{Journal, Part, State};

use crate::{settings::Settings, shown::Looked};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Reads certificates whose files changed, and says what came of it. Never ends.
pub async fn watch(settings: InForce<Settings>, journal: Journal) {
    loop {
        tokio::time::sleep(EVERY).await;
        let now = settings.get();
        let found = tokio::task::spawn_blocking(move || now.shown.values().flat_map(|shown| shown.look()).collect::<Vec<_>>());
        for found in found.await.unwrap_or_default() {
            match found {
                Looked::Renewed(file, until) => {
                    journal.say(Part::Tls, State::Renewed, format!("{} is shown from now on, until {until}", file.display()));
                }
                Looked::Kept(file, error) => {
                    journal.say(Part::Tls, State::Alarm, format!("the old certificate stays: {}: {error}", file.display()));
                }
            }
        }
    }
}
