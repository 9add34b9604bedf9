//! Watches the files of certificates.

use std::time::Duration;

use posthaste_host::InForce;
use posthaste_journal::{Finding, Journal, Part, State};

use crate::{settings::Settings, shown::FileChange};

/// The alarm about a certificate that cannot be used.
const KEPT: &str = "certificate_kept";
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
                    journal.mended_silently(KEPT, &file.display().to_string());
                    journal.say(Part::Tls, State::Renewed, format!("{} is shown from now on, until {until}", file.display()));
                }
                FileChange::Kept(file, error) => {
                    let (key, what) =
                        (file.display().to_string(), format!("the old certificate is still shown: {}: {error}", file.display()));
                    let remedy = "Put a valid certificate with its key there".into();
                    journal.raise_again(Finding { rule: KEPT, key, part: Some(Part::Tls), what, remedy });
                }
            }
        }
    }
}
