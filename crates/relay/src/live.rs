//! The configuration in force, with what is made from it once: keys, TLS, rules. A reload swaps it whole.

mod policy;

pub use policy::{FirstSeen, policy};

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use posthaste_access::{introspection::Introspection, users::Users};
use posthaste_bounce::Rules;
use posthaste_dkim::Keyring;
use posthaste_host::Roots;
use posthaste_mail::{Domain, Name};
use posthaste_route::{ProviderFileError, Providers, Resolver, StaticRoutes};
use posthaste_smtp::{
    client::{Credentials, Timeouts, TlsConfigs, TlsPolicy},
    server::{self, sasl::Mechanism},
};
use posthaste_verp as verp;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    acme::Store,
    certs::{self, Certificates, Pair},
    config::{self, AuthWhere, Config, ListenTlsMode},
    dkim::{book::Book, ring::keyring},
    feedback::Feedback,
    returns::Paths,
};

/// How long before a certificate runs out that is said.
const CERTIFICATE_AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The configuration in force.
pub struct Live {
    /// As read.
    pub config: Config,
    /// What replies mean.
    pub rules: Arc<Rules>,
    /// Who runs which mailboxes.
    pub providers: Arc<Providers>,
    /// What lanes do when providers push back.
    pub feedback: Arc<Feedback>,
    /// Who signs for which domain. It changes by itself when one key follows another.
    pub keyring: ArcSwap<Keyring>,
    /// TLS towards receivers.
    pub tls: TlsConfigs,
    /// TLS towards the ACME authority, where a listener's certificate comes from it.
    pub acme: Option<Arc<rustls::ClientConfig>>,
    /// Towards receivers.
    pub timeouts: Timeouts,
    /// What each listener's handshakes go by, where it has TLS.
    pub tls_servers: HashMap<Name, Arc<rustls::ServerConfig>>,
    /// What they show.
    pub certificates: HashMap<Name, Arc<Certificates>>,
    /// Who may send.
    pub users: Arc<Users>,
    /// Whom to ask about tokens that are no user's own.
    pub introspection: Option<Introspection>,
    /// Where mail comes back to.
    pub paths: Paths,
    /// What each listener's sessions follow.
    pub sessions: HashMap<Name, Arc<server::Settings>>,
    /// Asks for the keys of forwarded mail; made when there is some.
    keys: OnceLock<Result<Resolver, String>>,
}

impl Live {
    /// Makes what the configuration asks for; the error is one line for people.
    pub fn new(config: Config) -> Result<Self, String> {
        let rules = rules(&config)?;
        let providers = providers(&config)?;
        let feedback = feedback(&config, providers.clone())?;
        let keys = Book::dir(&config.data_dir);
        let keyring = ArcSwap::from_pointee(keyring(&config, &Book::read(&keys)?, &keys)?);
        let tls = tls_configs(&config.tls.roots, "tls.roots")?;
        let ordered = config.listeners.values().any(|listener| !listener.tls.acme.is_empty());
        let acme = if ordered { Some(tls_configs(&config.acme.roots, "acme.roots")?.strict) } else { None };
        let timeouts = timeouts(&config.delivery.timeouts);
        let users = Arc::new(Users::new(&config.users));
        let introspection = config.introspection.as_ref().map(introspection).transpose()?;
        let certificates = certificates(&config)?;
        let settings = |(name, l): (&Name, &config::Listener)| (name.clone(), Arc::new(session_settings(&config, l, &users)));
        let sessions = config.listeners.iter().map(settings).collect();
        let tls_servers = tls_servers(&config, &certificates)?;
        Ok(Self {
            config,
            rules,
            providers,
            feedback,
            keyring,
            tls,
            acme,
            timeouts,
            tls_servers,
            certificates,
            users,
            introspection,
            paths: Paths::default(),
            sessions,
            keys: OnceLock::new(),
        })
    }

    /// The same for a relay that sends: with the reverse-paths of its bounce domains, and with their secret, which is made if there is none.
    pub fn for_sending(config: Config) -> Result<Self, String> {
        let live = Self::new(config)?;
        let secrets = match live.config.bounce_domains()[..] {
            [] => Vec::new(),
            _ => verp::load_or_create(&live.config.data_dir.join("verp.secret")).map_err(|e| e.to_string())?,
        };
        let paths = Paths::new(&live.config, &secrets).map_err(|e| e.to_string())?;
        Ok(Self { paths, ..live })
    }

    /// What is good enough to start with and should not stay so; for people, one line each.
    pub fn cautions(&self, now: Timestamp) -> Vec<String> {
        let soon = now.saturating_add(CERTIFICATE_AHEAD).expect("some weeks fit");
        let mut cautions = Vec::new();
        for (name, shown) in &self.certificates {
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
        if !self.config.http.addresses.is_empty() && self.users.iter().all(|user| user.tokens.is_empty()) {
            cautions.push("nobody can use the HTTP API: no user has a token; `posthaste user token NAME` makes one".into());
        }
        cautions.sort();
        cautions
    }

    /// The resolver for the keys of forwarded mail, with one memory for all of it.
    pub fn key_resolver(&self) -> Result<&Resolver, String> {
        self.keys.get_or_init(|| self.resolver()).as_ref().map_err(Clone::clone)
    }

    /// The address of a source; None where the kernel chooses.
    pub fn source_address(&self, source: &Name) -> Option<IpAddr> {
        self.config.sources.get(source).and_then(|s| s.address)
    }

    /// What a source calls itself.
    pub fn ehlo(&self, source: &Name) -> String {
        self.config.sources.get(source).map_or(&self.config.hostname, |s| &s.ehlo).to_string()
    }

    /// What TLS a domain's mail has, and whether plain text will do after a failed handshake.
    pub fn tls_rule(&self, domain: &Domain) -> (TlsPolicy, bool) {
        let rule = self.config.tls.rule_for(domain);
        let policy = self.config.routes.find(domain).and_then(|r| r.tls).unwrap_or(rule.policy);
        let policy = match policy {
            config::TlsPolicy::None => TlsPolicy::None,
            config::TlsPolicy::Opportunistic => TlsPolicy::Opportunistic,
            config::TlsPolicy::Require => TlsPolicy::Require,
            config::TlsPolicy::Verify => TlsPolicy::Verify,
        };
        (policy, rule.fallback)
    }

    /// Who we are to a domain's smart host.
    pub fn auth(&self, domain: &Domain) -> Option<Credentials> {
        let auth = self.config.routes.find(domain)?.auth.as_ref()?;
        Some(Credentials { user: auth.user.clone(), password: auth.password.reveal().to_owned() })
    }

    /// The resolver that the configuration asks for.
    pub fn resolver(&self) -> Result<Resolver, String> {
        let (d, c) = (&self.config.dns, &self.config);
        let options = posthaste_route::Options {
            nameservers: d.nameservers.clone(),
            timeout: d.timeout,
            attempts: d.attempts,
            cache_size: d.cache_size,
            ipv4: d.ipv4,
            ipv6: d.ipv6,
            port: c.delivery.port,
            max_hosts: d.max_hosts,
            max_addresses: d.max_addresses,
            min_ttl: d.min_ttl,
            max_ttl: d.max_ttl,
            max_negative_ttl: d.max_negative_ttl,
            unavailable_ttl: d.unavailable_ttl,
            private_addresses: d.private_addresses,
            seed: None,
        };
        let mut routes = StaticRoutes::default();
        for (pattern, route) in c.routes.iter() {
            let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
            routes.add(&pattern.to_string(), &hosts).map_err(|e| e.to_string())?;
        }
        let resolver = Resolver::new(options, routes).map_err(|e| e.to_string())?;
        Ok(resolver.with_providers(self.providers.clone()))
    }
}

fn rules(config: &Config) -> Result<Arc<Rules>, String> {
    Rules::with(&named(&config.bounce.files)).map(Arc::new).map_err(|e| e.to_string())
}

fn providers(config: &Config) -> Result<Arc<Providers>, String> {
    let lines = |errors: Vec<ProviderFileError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    match &*config.delivery.providers {
        [] => Ok(Providers::shipped()),
        files => Providers::with(&named(files)).map(Arc::new).map_err(lines),
    }
}

fn feedback(config: &Config, providers: Arc<Providers>) -> Result<Arc<Feedback>, String> {
    Feedback::with(&named(&config.delivery.feedback), providers).map(Arc::new).map_err(|e| e.to_string())
}

/// Files by the names that errors give them.
fn named(files: &[(PathBuf, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.to_str().unwrap_or("(a file whose name is no text)"), text.as_str())).collect()
}

fn introspection(asked: &posthaste_access::introspection::Endpoint) -> Result<Introspection, String> {
    tls_configs(&asked.roots, "introspection.roots").map(|tls| Introspection::new(asked, &tls.strict))
}

/// TLS that trusts these; `key` is theirs in the configuration.
fn tls_configs(roots: &Roots, key: &str) -> Result<TlsConfigs, String> {
    match roots {
        Roots::System => {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            match rustls_platform_verifier::Verifier::new(provider) {
                Ok(verifier) => TlsConfigs::with_verifier(Arc::new(verifier)).map_err(|e| e.to_string()),
                Err(e) => Err(format!("the system's trust roots cannot be loaded: {e}; install ca-certificates or name a file in {key}")),
            }
        }
        Roots::File { path, pem } => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let added = certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
                added.map_err(|e| format!("{}: {e}", path.display()))?;
            }
            TlsConfigs::new(roots).map_err(|e| format!("{}: {e}", path.display()))
        }
    }
}

fn certificates(config: &Config) -> Result<HashMap<Name, Arc<Certificates>>, String> {
    let mut all = HashMap::new();
    for (name, listener) in config.listeners.iter().filter(|(_, l)| l.tls.mode != ListenTlsMode::None) {
        let given: Vec<_> = listener.tls.certificates.iter().map(|c| (c.files.clone(), c.pair.clone())).collect();
        let made_up = || Pair::self_signed(config.hostname.as_str());
        let shown = match (given.is_empty(), &listener.tls.acme) {
            (false, _) => Ok(Certificates::new(given)),
            (true, names) if names.is_empty() => made_up().map(Certificates::fixed),
            (true, names) => Certificates::awaited(Store::new(config).files(names), made_up),
        };
        let shown = shown.map_err(|e| e.to_string())?;
        all.insert(name.clone(), Arc::new(shown));
    }
    Ok(all)
}

fn tls_servers(config: &Config, shown: &HashMap<Name, Arc<Certificates>>) -> Result<HashMap<Name, Arc<rustls::ServerConfig>>, String> {
    let server = |(name, shown): (&Name, &Arc<Certificates>)| {
        let client_ca = config.listeners.get(name).and_then(|l| l.tls.client_ca.as_ref());
        let server = certs::server_config(shown.clone(), client_ca.map(|(_, pem)| pem.as_str()));
        server.map(|server| (name.clone(), server)).map_err(|e| format!("listen.{name}: {e}"))
    };
    shown.iter().map(server).collect()
}

fn timeouts(t: &config::Timeouts) -> Timeouts {
    Timeouts {
        connect: t.connect,
        banner: t.banner,
        ehlo: t.ehlo,
        starttls: t.starttls,
        mail: t.mail,
        rcpt: t.rcpt,
        data: t.data,
        block: t.block,
        dot: t.dot,
        rset: t.rset,
        quit: t.quit,
    }
}

fn session_settings(config: &Config, listener: &config::Listener, users: &Users) -> server::Settings {
    let l = &config.limits;
    server::Settings {
        hostname: config.hostname.to_string(),
        banner: listener.banner.clone(),
        limits: server::Limits {
            line: l.command_line,
            recipients: l.recipients,
            message_size: l.message_size,
            text_line: l.text_line.unwrap_or(0),
            header_size: l.header_size,
            bad_commands: l.bad_commands,
            idle_commands: l.idle_commands,
            refusals: l.refusals,
            logins: server::Limits::default().logins,
            messages: l.messages_per_connection.unwrap_or(0),
        },
        offers: server::Offers {
            starttls: listener.tls.mode == ListenTlsMode::StartTls,
            tls_required: listener.tls.required,
            auth: if listener.auth == AuthWhere::Off { Vec::new() } else { mechanisms(users, config.introspection.is_some()) },
            auth_in_clear: listener.auth == AuthWhere::Always,
            hold: l.future_release,
            priority: true,
            bare_line_ends: listener.bare_line_ends,
        },
    }
}

/// The ways to log in that some user can go; those that keep the password to themselves first. `asks`: tokens are asked about elsewhere.
fn mechanisms(users: &Users, asks: bool) -> Vec<Mechanism> {
    let usable = |mechanism: &Mechanism| match mechanism {
        Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => users.have_scram(),
        Mechanism::Plain | Mechanism::Login => users.have_passwords(),
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => users.have_tokens() || (asks && !users.is_empty()),
    };
    Mechanism::ALL.into_iter().filter(usable).collect()
}
