//! Warnings about settings that the relay can start with but that should be changed.

use jiff::{SignedDuration, Timestamp};
use posthaste_submission::{AuthWhere, ListenTlsMode};

use super::Settings;

/// How long before a certificate expires the warning begins.
const CERTIFICATE_AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Settings {
    /// Warnings about settings that should be changed; for people, one line each.
    pub fn cautions(&self, now: Timestamp) -> Vec<String> {
        let soon = now.saturating_add(CERTIFICATE_AHEAD).expect("some weeks fit");
        let mut cautions = Vec::new();
        for (name, shown) in &self.certificates.shown {
            let tls = self.config.listeners.get(name).map(|listener| &listener.tls);
            let self_signed = tls.is_some_and(|tls| tls.certificates.is_empty() && tls.acme.is_empty());
            if shown.awaits() {
                cautions.push(format!(
                    "listen.{name} waits for its certificate from {} and uses a self-signed one until then: clients that verify certificates refuse it",
                    self.config.acme.directory
                ));
            } else if self_signed {
                cautions.push(format!(
                    "listen.{name} has no certificate and uses a self-signed one: clients that verify certificates refuse it"
                ));
            } else if shown.not_after() < now {
                cautions.push(format!("listen.{name}: a certificate expired on {}: clients refuse it", shown.not_after()));
            } else if shown.not_after() < soon {
                cautions.push(format!("listen.{name}: a certificate expires on {}", shown.not_after()));
            }
        }
        for (name, listener) in &self.config.listeners {
            let tls = &listener.tls;
            let has_certificates = !tls.certificates.is_empty() || !tls.acme.is_empty() || tls.client_ca.is_some();
            if tls.mode == ListenTlsMode::None && has_certificates {
                cautions.push(format!("listen.{name} has certificates but TLS is off: set tls = \"starttls\" or \"implicit\""));
            }
            if listener.auth == AuthWhere::Always && !listener.tls.required {
                cautions.push(format!(
                    "listen.{name} accepts passwords in plain text (auth = \"always\"): anyone on the network path can read them"
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
