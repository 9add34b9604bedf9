//! Warnings about settings that the relay can start with but that should be changed.

use jiff::{SignedDuration, Timestamp};
use posthaste_mail::{NextHop, Pattern};
use posthaste_smtp::client::{PasswordNeeds, TlsPolicy};
use posthaste_submission::{AuthWhere, ListenTlsMode};

use super::{Settings, doubts, own_mail::own_postmaster, tls::doors};

/// How long before a certificate expires the warning begins.
const CERTIFICATE_AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Settings {
    /// Warnings about settings that should be changed; for people, one line each.
    pub fn cautions(&self, now: Timestamp) -> Vec<String> {
        let soon = now.saturating_add(CERTIFICATE_AHEAD).expect("some weeks fit");
        let mut cautions = doubts(&self.config, true);
        for shows in doors(&self.config) {
            let door = &shows.door;
            let Some(shown) = self.certificates.shown.get(door) else { continue };
            if shown.awaits() {
                cautions.push(format!(
                    "{door} waits for its certificate from {} and uses a self-signed one until then: clients that verify certificates refuse it",
                    self.config.acme.directory
                ));
            } else if shows.is_made_up() {
                cautions.push(format!("{door} has no certificate and uses a self-signed one: clients that verify certificates refuse it"));
            } else if shown.not_after() < now {
                cautions.push(format!("{door}: a certificate expired on {}: clients refuse it", shown.not_after()));
            } else if shown.not_after() < soon {
                cautions.push(format!("{door}: a certificate expires on {}", shown.not_after()));
            }
        }
        let tls = &self.config.http.tls;
        let has_certificates = !tls.certificates.is_empty() || !tls.acme.is_empty();
        if has_certificates && !tls.on {
            cautions.push("http has certificates but TLS is off: set http.tls = true".into());
        }
        for (name, listener) in &self.config.listeners {
            let tls = &listener.tls;
            let has_certificates = !tls.certificates.is_empty() || !tls.acme.is_empty() || tls.client_ca.is_some();
            if tls.mode == ListenTlsMode::None && has_certificates {
                cautions.push(format!("listen.{name} has certificates but TLS is off: set tls = \"starttls\" or \"implicit\""));
            }
            // On loopback there is no network path.
            let is_exposed = listener.addresses.iter().any(|address| !address.ip().is_loopback());
            if listener.auth == AuthWhere::Always && !listener.tls.required && is_exposed {
                cautions.push(format!(
                    "listen.{name} accepts passwords in plain text (auth = \"always\"): anyone on the network path can read them"
                ));
            }
        }
        if !self.config.http.own_addresses().is_empty()
            && self.submission.users.iter().all(|user| user.tokens.is_empty() && user.role.is_none())
            && self.oidc.is_none()
        {
            cautions.push("nobody can use the HTTP API: no user has a token; `posthaste user token NAME` makes one".into());
        }
        cautions.extend(own_postmaster(&self.config));
        cautions.extend(self.exposed_passwords());
        cautions.sort();
        cautions
    }

    /// Routes whose password is heard by others than the smart host, or waits for a certificate that their TLS does not ask for.
    fn exposed_passwords(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        let routes = self.config.routes.iter().filter(|(_, route)| route.auth.is_some() && !route.hosts.iter().all(NextHop::is_loopback));
        for (pattern, route) in routes {
            let key = format!("route.\"{pattern}\"");
            match route.password_needs {
                PasswordNeeds::Nothing => cautions.push(format!(
                    "{key} sends its password in plain text if need be (password_needs = \"nothing\"): everybody on the network path can read it"
                )),
                PasswordNeeds::Encryption => cautions.push(format!(
                    "{key} sends its password to whatever certificate is shown (password_needs = \"encryption\"): whoever can redirect the connection reads it"
                )),
                PasswordNeeds::Certificate => {}
            }
            let weak = |tls: TlsPolicy| match route.password_needs {
                PasswordNeeds::Certificate => tls != TlsPolicy::Verify,
                PasswordNeeds::Encryption => !matches!(tls, TlsPolicy::Verify | TlsPolicy::Require),
                PasswordNeeds::Nothing => false,
            };
            let wanted = match route.password_needs {
                PasswordNeeds::Certificate => "a certificate that is valid for the smart host's name",
                _ => "an encrypted connection",
            };
            if weak(route.tls.unwrap_or(self.config.tls.rule.policy)) {
                cautions.push(format!(
                    "{key} has a password that needs {wanted}, and its TLS does not ask for that: without it mail is deferred; set tls = \"verify\""
                ));
            }
            for (domain, _) in self.config.tls.domains.iter().filter(|(_, rule)| route.tls.is_none() && weak(rule.policy)) {
                if matches!(&domain, Pattern::Exact(name) if self.config.routes.find(name).is_none_or(|of| !std::ptr::eq(of, route))) {
                    continue;
                }
                cautions.push(format!(
                    "tls.domain.\"{domain}\" does not ask for {wanted}, which the password of {key} needs: mail for it may be deferred; give the route a tls of its own"
                ));
            }
        }
        cautions
    }
}
