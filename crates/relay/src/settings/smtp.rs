//! Protocol settings of a listener's SMTP sessions.

use std::sync::Arc;

use posthaste_access::users::Users;
use posthaste_config::{Config, bounce_domain_of};
use posthaste_mail::{Address, Name};
use posthaste_smtp::server::{self, sasl::Mechanism};
use posthaste_submission::{AuthWhere, ListenTlsMode, Listener, Role};

pub(super) fn session_settings(config: &Config, name: &Name, listener: &Listener, users: &Users) -> server::SessionSettings {
    let l = &config.limits;
    server::SessionSettings {
        hostname: config.hostname.to_string(),
        banner: listener.banner.clone(),
        limits: server::SessionLimits {
            line: l.command_line,
            recipients: l.recipients,
            message_size: l.message_size,
            text_line: l.text_line.unwrap_or(0),
            header_size: l.header_size,
            bad_commands: l.bad_commands,
            idle_commands: l.idle_commands,
            refusals: l.refusals,
            logins: server::SessionLimits::default().logins,
            messages: l.messages_per_connection.unwrap_or(0),
        },
        offers: server::Offers {
            starttls: listener.tls.mode == ListenTlsMode::StartTls,
            tls_required: listener.tls.required,
            auth: if listener.auth == AuthWhere::Off { Vec::new() } else { mechanisms(listener, users, config.introspection.is_some()) },
            auth_in_clear: listener.auth == AuthWhere::Always,
            hold: l.future_release,
            priority: true,
            bare_line_ends: listener.bare_line_ends,
            // Whoever may send here is a client of `allow` or a user. Whoever brings returned mail is anybody.
            lenient: listener.role == Role::Submission,
            table: if listener.role == Role::Submission { format!("listen.{name}") } else { String::new() },
            postmaster: postmaster(config, listener.role).map(Arc::new),
        },
    }
}

/// Who gets mail to `<postmaster>`: whom the configuration names, or else the postmaster of this host; where mail returns, an address whose mail is
/// read and passed on.
fn postmaster(config: &Config, role: Role) -> Option<Address> {
    let domain = match role {
        Role::Submission if config.postmaster.is_some() => return config.postmaster.clone(),
        Role::Submission => &config.hostname,
        Role::Returns => {
            let of_streams = config.streams.values().filter_map(|stream| bounce_domain_of(&config.returns, stream));
            of_streams.min()?
        }
    };
    Address::new(&format!("postmaster@{domain}")).ok()
}

/// The listener's AUTH mechanisms that at least one user can use. `introspects`: tokens are checked at an introspection endpoint.
fn mechanisms(listener: &Listener, users: &Users, introspects: bool) -> Vec<Mechanism> {
    let usable = |mechanism: &Mechanism| match mechanism {
        Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => users.have_scram(),
        Mechanism::Plain | Mechanism::Login => users.have_passwords(),
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => users.have_tokens() || (introspects && !users.is_empty()),
    };
    listener.auth_mechanisms.iter().copied().filter(usable).collect()
}
