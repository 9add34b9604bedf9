//! What is good enough to start with and should not stay so.

use jiff::{SignedDuration, Timestamp};
use posthaste_submission::{AuthWhere, ListenTlsMode};

use super::Settings;

/// How long before a certificate runs out that is said.
const CERTIFICATE_AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Settings {
    /// What is good enough to start with and should not stay so; for people, one line each.
    pub fn cautions(&self, now: Timestamp) -> Vec<String> {
        let soon = now.saturating_add(CERTIFICATE_AHEAD).expect("some weeks fit");
        let mut cautions = Vec::new();
        for (name, shown) in &self.certificates.shown {
            let tls = self.config.listeners.get(name).map(|listener| &listener.tls);
            let made_up = tls.is_some_and(|tls| tls.certificates.is_empty() && tls.acme.is_empty());
            if shown.awaits() {
                cautions.push(format!(
                    "listen.{name} waits for its certificate from {} and shows one that the relay made up: clients that check refuse it",
                    self.config.acme.directory
                ));
            } else if made_up {
                cautions
                    .push(format!("listen.{name} has no certificate and shows one that the relay made up: clients that check refuse it"));
            } else if shown.not_after() < now {
                cautions.push(format!("listen.{name}: a certificate ran out on {}: clients refuse it", shown.not_after()));
            } else if shown.not_after() < soon {
                cautions.push(format!("listen.{name}: a certificate runs out on {}", shown.not_after()));
            }
        }
        for (name, listener) in &self.config.listeners {
            let tls = &listener.tls;
            let has_certificates = !tls.certificates.is_empty() || !tls.acme.is_empty() || tls.client_ca.is_some();
            if tls.mode == ListenTlsMode::None && has_certificates {
                cautions.push(format!("listen.{name} has certificates and no TLS: give it tls = \"starttls\" or \"implicit\""));
            }
            if listener.auth == AuthWhere::Always && !listener.tls.required {
                cautions.push(format!(
                    "listen.{name} takes passwords in plain text (auth = \"always\"): whoever listens on the way learns them"
                ));
            }
        }
        if !self.config.http.addresses.is_empty() && self.submission.users.iter().all(|user| user.tokens.is_empty()) {
            cautions.push("nobody can use the HTTP API: no user has a token; `posthaste user token NAME` makes one".into());
        }
        cautions.sort();
        cautions
    }
}
