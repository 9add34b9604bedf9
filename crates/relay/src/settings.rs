//! The settings in force: those of all parts, made from the configuration in one place and swapped together on a reload.

mod cautions;
mod channels;
mod doubts;
mod error;
mod exposed;
mod kept;
mod own_mail;
mod published;
mod queue;
mod smtp;
pub(crate) mod tls;

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use posthaste_access::{bans::BanPolicy, introspection::Introspection, oidc::Provider, users::Users};
use posthaste_bounce::Rules;
use posthaste_config::{Config, bounce_domain_of};
use posthaste_delivery::{Source, Unfit, ledger::FirstSeen};
use posthaste_feedback::Feedback;
use posthaste_host::{Host, InForce, ThisHost};
use posthaste_mail::{Name, NextHop};
use posthaste_queue::Policy;
use posthaste_route::{Ourselves, Providers, Resolver, ResolverError, RouteError, StaticRoutes};
use posthaste_signing::{StreamSigning, key_store};
use posthaste_submission::UnfitText;
use posthaste_verp::{PathRules, ReversePaths, VerpSecret};

pub use doubts::{as_root, doubts};
pub use error::SettingsError;
pub use exposed::exposed;
pub use own_mail::own_mail;
pub use published::unpublished;
pub(crate) use published::{LookedUp, look_up};
pub use queue::policy;

use crate::{maildrop::MaildropSettings, notify::NotifySettings};

/// The settings of all parts. Each part sees only its own.
pub struct Settings {
    /// The configuration as read.
    pub config: Config,
    /// Which secrets sign reverse-paths.
    pub(crate) secrets: Vec<String>,
    /// Classifies receivers' replies.
    pub rules: Arc<Rules>,
    /// The providers, and the domains that they serve.
    pub providers: Arc<Providers>,
    /// How lanes react when a provider defers or refuses mail.
    pub feedback: Arc<Feedback>,
    /// The relay's name in log events.
    pub node: Arc<Name>,
    /// How clients that guess passwords are locked out.
    pub bans: Arc<BanPolicy>,
    /// Notices to senders.
    pub(crate) notify: Arc<NotifySettings>,
    /// Certificates that listeners show.
    pub certificates: Arc<posthaste_certificates::Settings>,
    /// Signatures.
    pub signing: Arc<posthaste_signing::Settings>,
    /// Deliveries.
    pub delivery: Arc<posthaste_delivery::Settings>,
    /// Listeners.
    pub submission: Arc<posthaste_submission::Settings>,
    /// Returning mail.
    pub returns: Arc<posthaste_returns::Settings>,
    /// Mail that this machine's users handed in while the relay was down.
    pub(crate) maildrop: Arc<MaildropSettings>,
    /// The HTTP API.
    pub api: Arc<posthaste_api::Settings>,
    /// The connections of the HTTP doors.
    pub http: Arc<posthaste_http::Settings>,
    /// The provider that people log in to the page by.
    pub oidc: Option<Arc<Provider>>,
    /// Whose new mail is held.
    pub guard: Arc<posthaste_guard::Settings>,
    /// Channels that tell of incidents, and the heartbeat.
    pub channels: Arc<posthaste_channels::Settings>,
    /// The addresses that this relay listens on.
    pub(crate) listens_at: Arc<[SocketAddr]>,
}

/// The settings in force, which a reload swaps.
#[derive(Clone)]
pub struct Swap(Arc<ArcSwap<Settings>>);

impl Swap {
    /// Puts these settings in force.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// One part's view of the settings.
    pub fn view<T: Send + Sync + 'static>(&self, part: fn(&Settings) -> &Arc<T>) -> InForce<T> {
        let all = self.0.clone();
        InForce::new(move || part(&all.load()).clone())
    }

    /// All settings, for short use.
    pub fn load(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }

    /// All settings, to be kept.
    pub fn load_full(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Puts other settings in force.
    pub fn store(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}

impl Settings {
    /// The settings that the configuration describes.
    pub fn new(config: Config) -> Result<Self, SettingsError> {
        let listens_at = config.listeners.values().flat_map(|l| &l.addresses).chain(config.http.own_addresses()).copied().collect();
        Self::with_paths(config, ReversePaths::default(), listens_at)
    }

    /// The settings of a relay that sends: also the reverse-paths of its bounce domains, and their secret, which is created if there is
    /// none. `listens_at`: the addresses of its sockets, as bound.
    pub(crate) fn for_sending(config: Config, listens_at: Arc<[SocketAddr]>) -> Result<Self, SettingsError> {
        let rules = path_rules(&config);
        let secrets = match rules.domains()[..] {
            [] => Vec::new(),
            _ => posthaste_verp::load_or_create(&config.data_dir.join("verp.secret"))?,
        };
        let paths = ReversePaths::new(&rules, &secrets)?;
        let secrets = secrets.iter().map(VerpSecret::mark).collect();
        Ok(Self { secrets, ..Self::with_paths(config, paths, listens_at)? })
    }

    fn with_paths(config: Config, paths: ReversePaths, listens_at: Arc<[SocketAddr]>) -> Result<Self, SettingsError> {
        let c = &config;
        let paths = Arc::new(paths);
        let rules = rules(c)?;
        let providers = providers(c)?;
        let feedback = feedback(c, providers.clone())?;
        let tls = tls::tls_configs(&c.tls.roots, "tls.roots")?;
        let users = Arc::new(Users::new(&c.users));
        let certificates = Arc::new(certificates(c)?);
        let delivery = posthaste_delivery::Settings {
            generation: 0,
            hostname: c.hostname.clone(),
            sources: c.sources.iter().map(|(name, s)| (name.clone(), Source { address: s.address, ehlo: s.ehlo.clone() })).collect(),
            body_memory: c.delivery.body_memory,
            unfit: match c.limits.unfit_text {
                UnfitText::Bounce => Unfit::Bounces,
                UnfitText::Encode => Unfit::IsEncoded,
                UnfitText::Send => Unfit::IsSent,
            },
            hosts_per_attempt: c.delivery.hosts_per_attempt,
            host_down: c.delivery.host_down,
            patience: c.delivery.patience,
            tls: tls.clone(),
            tls_rule: c.tls.rule,
            tls_domains: c.tls.domains.clone(),
            routes: c.routes.clone(),
            timeouts: c.delivery.timeouts.clone(),
            resolver: resolver(c, &static_routes(c)?, &providers, &listens_at)?,
            sender_records: c.monitor.sender_records,
            rules: rules.clone(),
            paths: paths.clone(),
            suppression: c.suppression.clone(),
        };
        let returns = posthaste_returns::Settings {
            resolver: delivery.resolver.clone(),
            returns: c.returns.clone(),
            postmaster: c.postmaster.clone(),
            hostname: c.hostname.clone(),
            notice: c.notice.clone(),
            rules: rules.clone(),
            paths,
            suppression: c.suppression.clone(),
            tls: tls.strict,
        };
        let api = posthaste_api::Settings {
            http: c.http.clone(),
            requests: c.requests.clone(),
            limits: c.limits.clone(),
            users: users.clone(),
            bans: c.bans.clone(),
            suppression: c.suppression.clone(),
            score: Arc::new(c.score.clone()),
            incidents: c.rules.incidents.clone(),
            known_providers: Arc::new(providers.iter().map(|provider| provider.name.to_string()).collect()),
        };
        Ok(Self {
            secrets: Vec::new(),
            node: Arc::new(c.node.clone()),
            bans: Arc::new(c.bans.clone()),
            notify: Arc::new(NotifySettings::new(c)),
            signing: Arc::new(signing(c, &providers, &listens_at)?),
            submission: Arc::new(submission(c, users, &certificates)?),
            delivery: Arc::new(delivery),
            returns: Arc::new(returns),
            maildrop: Arc::new(MaildropSettings::of(c)),
            api: Arc::new(api),
            http: Arc::new(posthaste_http::Settings { http: c.http.clone(), tls: tls::http_server(&certificates.shown)? }),
            oidc: provider(c)?,
            guard: Arc::new(c.guard.clone()),
            channels: Arc::new(channels::channels(c)?),
            certificates,
            rules,
            providers,
            feedback,
            listens_at,
            config,
        })
    }

    /// The dispatcher's settings. `seen`: the day on which each source started to warm up.
    pub fn policy(&self, seen: &FirstSeen) -> Policy {
        policy(&self.config, &self.providers, self.feedback.clone(), seen)
    }

    /// The sources that are warming up.
    pub fn warming(&self) -> BTreeSet<Name> {
        self.config.sources.iter().filter(|(_, source)| source.warmup.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// A resolver with an empty cache.
    pub fn new_resolver(&self) -> Result<Resolver, SettingsError> {
        Ok(resolver(&self.config, &static_routes(&self.config)?, &self.providers, &self.listens_at)?)
    }
}

fn path_rules(config: &Config) -> PathRules {
    let domain = |stream| bounce_domain_of(&config.returns, stream).cloned();
    PathRules {
        streams: config.streams.iter().map(|(name, stream)| (name.clone(), domain(stream))).collect(),
        rest: domain(config.default_stream()),
        prefix: config.returns.prefix.clone(),
        good_for: config.returns.good_for,
        addresses: config.returns.addresses.clone(),
    }
}

fn certificates(config: &Config) -> Result<posthaste_certificates::Settings, SettingsError> {
    let wanted = tls::wanted(config);
    Ok(posthaste_certificates::Settings {
        acme: config.acme.clone(),
        tls: if wanted.is_empty() { None } else { Some(tls::tls_configs(&config.acme.roots, "acme.roots")?.strict) },
        data_dir: config.data_dir.clone(),
        wanted,
        shown: tls::certificates(config)?,
    })
}

fn signing(
    config: &Config,
    providers: &Arc<Providers>,
    listens_at: &Arc<[SocketAddr]>,
) -> Result<posthaste_signing::Settings, SettingsError> {
    let streams = config.streams.iter();
    let streams = streams.map(|(name, s)| (name.clone(), StreamSigning { also: s.dkim_domain.clone(), arc: s.arc })).collect();
    let (c, routes, p, at) = (config.clone(), static_routes(config)?, providers.clone(), listens_at.clone());
    let new_resolver = Box::new(move || resolver(&c, &routes, &p, &at));
    let key_dir = key_store::KeyStore::dir(&config.data_dir);
    Ok(posthaste_signing::Settings::new(config.dkim.clone(), streams, config.hostname.clone(), key_dir, new_resolver)?)
}

fn submission(
    config: &Config,
    users: Arc<Users>,
    certificates: &posthaste_certificates::Settings,
) -> Result<posthaste_submission::Settings, SettingsError> {
    let sessions =
        config.listeners.iter().map(|(name, l)| (name.clone(), Arc::new(smtp::session_settings(config, name, l, &users)))).collect();
    let introspection = config
        .introspection
        .as_ref()
        .map(|asked| tls::tls_configs(&asked.roots, "introspection.roots").map(|tls| Arc::new(Introspection::new(asked, &tls.strict))));
    Ok(posthaste_submission::Settings {
        hostname: config.hostname.clone(),
        origin: config.origin.clone(),
        limits: config.limits.clone(),
        listeners: config.listeners.clone(),
        sessions,
        tls_servers: tls::tls_servers(config, &certificates.shown)?,
        streams: config.streams.keys().cloned().collect(),
        users,
        introspection: introspection.transpose()?,
        notice_from: config.notice.from.clone(),
        suppression: config.suppression.clone(),
    })
}

fn provider(config: &Config) -> Result<Option<Arc<Provider>>, SettingsError> {
    let Some(settings) = &config.page.oidc else { return Ok(None) };
    let tls = tls::tls_configs(&settings.roots, "http.oidc.roots")?.strict;
    Ok(Some(Arc::new(Provider::new(Arc::new(settings.clone()), &tls))))
}

fn static_routes(config: &Config) -> Result<StaticRoutes, RouteError> {
    let mut routes = StaticRoutes::default();
    for (pattern, route) in config.routes.iter() {
        let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
        routes.add(&pattern.to_string(), &hosts)?;
    }
    Ok(routes)
}

/// The resolver that the configuration describes.
fn resolver(c: &Config, routes: &StaticRoutes, providers: &Arc<Providers>, listens_at: &[SocketAddr]) -> Result<Resolver, ResolverError> {
    let d = &c.dns;
    let options = posthaste_route::ResolverOptions {
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
        ourselves: ourselves(c, listens_at),
        seed: None,
    };
    Ok(Resolver::new(options, routes.clone())?.with_providers(providers.clone()))
}

/// By what the resolver knows a host that is this relay itself.
fn ourselves(c: &Config, listens_at: &[SocketAddr]) -> Ourselves {
    let names: BTreeSet<String> = c.sources.values().map(|s| &s.ehlo).chain([&c.hostname]).map(ToString::to_string).collect();
    Ourselves { names: names.into_iter().collect(), listeners: listens_at.to_vec(), is_here: |ip| ThisHost.has(ip) }
}

/// The providers that a configuration knows by name: those of the table, and the hosts of its routes.
///
/// # Errors
/// A file of providers is wrong.
pub fn known_providers(config: &Config) -> Result<Vec<String>, SettingsError> {
    // As the log names them: an address without brackets.
    let name = |hop: &NextHop| hop.host.literal().map_or_else(|| hop.host.to_string(), |ip| ip.to_string());
    let hosts = config.routes.iter().flat_map(|(_, route)| &route.hosts).map(name);
    let mut known: Vec<String> = providers(config)?.iter().map(|provider| provider.name.to_string()).collect();
    for host in hosts {
        if !known.contains(&host) {
            known.push(host);
        }
    }
    Ok(known)
}

/// The rules for replies. They need no file that is private to the relay.
///
/// # Errors
/// A file of rules cannot be read or used.
pub fn rules(config: &Config) -> Result<Arc<Rules>, SettingsError> {
    Ok(Arc::new(Rules::with(&named(&config.bounce.files))?))
}

fn providers(config: &Config) -> Result<Arc<Providers>, SettingsError> {
    match &*config.delivery.providers {
        [] => Ok(Providers::shipped()),
        files => Providers::with(&named(files)).map(Arc::new).map_err(SettingsError::Providers),
    }
}

fn feedback(config: &Config, providers: Arc<Providers>) -> Result<Arc<Feedback>, SettingsError> {
    Ok(Arc::new(Feedback::with(&named(&config.delivery.feedback), providers)?))
}

/// The files' texts, with the names that errors use for them.
fn named(files: &[(PathBuf, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.to_str().unwrap_or("(a file whose name is not UTF-8)"), text.as_str())).collect()
}
