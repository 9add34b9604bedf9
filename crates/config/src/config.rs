//! The configuration as a whole.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use posthaste_access::{bans::BanPolicy, introspection::Endpoint};
use posthaste_api::Requests;
use posthaste_certificates::Acme;
use posthaste_channels::{Channel, DailyReport, HeartbeatUrl};
use posthaste_delivery::StaticRoute;
use posthaste_dsn::NoticeRules;
use posthaste_findings::RuleSettings;
use posthaste_findings::score::Settings as ScoreSettings;
use posthaste_governor::{Curves, Plan};
use posthaste_host::Host;
use posthaste_http::Http;
use posthaste_mail::{Address, ByDomain, Domain, Name};
use posthaste_queue::Retry;
use posthaste_returns::Returns;
use posthaste_signing::Dkim;
use posthaste_submission::{ClientLimits, Listener};
use posthaste_suppression::SuppressionRules;

use crate::{
    acme,
    admin::Admin,
    alarm, bans,
    bounce::BounceRules,
    delivery::Delivery,
    dkim,
    dns::Dns,
    document::Document,
    environment::Environment,
    error::{ConfigError, ConfigErrors},
    guard,
    http::{self, Page},
    introspection, limits, listen,
    log::Log,
    monitor::Monitor,
    notice,
    origins::{Lines, Origin},
    reader::{Findings, Reading, Table},
    reference::host_name,
    report, returns, route, rules,
    run::Run,
    score,
    sendmail::Sendmail,
    source::{self, Pool, Source},
    spool::Spool,
    stream::{self, Stream},
    suppression,
    tls::Tls,
    user::{self, UsersByName},
    value::{from_text, mail_address, number, path, zero_is_none},
    warmup,
};

/// The defaults, and the documentation of every key.
pub const DEFAULTS: &str = include_str!("../../../config/posthaste.toml");

/// The file's name in errors when there is no file.
const NO_FILE: &str = "(no configuration file)";

/// A valid configuration: every name in it is defined, and every value is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// This relay's name in events.
    pub node: Name,
    /// This relay's name towards clients and receivers, in Received fields and notices.
    pub hostname: Domain,
    /// The domain of addresses without one, in headers and from `posthaste sendmail`.
    pub origin: Domain,
    /// The folder for all data that must survive a restart.
    pub data_dir: PathBuf,
    /// Worker threads; None: one per core.
    pub threads: Option<NonZeroUsize>,
    /// How the program stops, and which diagnostics it prints.
    pub run: Run,
    /// Listeners that accept mail. At least one.
    pub listeners: BTreeMap<Name, Listener>,
    /// The authority that issues listeners' certificates.
    pub acme: Acme,
    /// Connections of the HTTP doors.
    pub http: Http,
    /// Requests to the HTTP API.
    pub requests: Requests,
    /// The web page.
    pub page: Page,
    /// Mail of this machine's users.
    pub sendmail: Sendmail,
    /// What a client may ask of this relay.
    pub limits: ClientLimits,
    /// The store of queued messages.
    pub spool: Spool,
    /// The delivery log.
    pub log: Log,
    /// What is counted of it.
    pub monitor: Monitor,
    /// How word of incidents leaves the relay.
    pub alarms: BTreeMap<Name, Channel>,
    /// The URL that is called while mail flows.
    pub heartbeat: Option<HeartbeatUrl>,
    /// How the report of each day is mailed; None: it is not.
    pub report: Option<DailyReport>,
    /// The resolver.
    pub dns: Dns,
    /// Connections to receivers.
    pub delivery: Delivery,
    /// Encryption towards receivers.
    pub tls: Tls,
    /// Retries of streams without settings of their own.
    pub retry: Retry,
    /// Kinds of mail; `default` always exists.
    pub streams: BTreeMap<Name, Stream>,
    /// Addresses to send from. At least one.
    pub sources: BTreeMap<Name, Source>,
    /// Groups of sources. At least one.
    pub pools: BTreeMap<Name, Pool>,
    /// How sources warm up: the operator's curves over the built-in ones.
    pub curves: Curves,
    /// Hosts for domains, used instead of DNS.
    pub routes: ByDomain<StaticRoute>,
    /// Signing domains and their keys.
    pub dkim: Dkim,
    /// Who gets mail to `<postmaster>` and mail that returns and is no report; None: the postmaster of this host, and nobody.
    pub postmaster: Option<Address>,
    /// Failure notices to senders.
    pub notice: NoticeRules,
    /// How replies are interpreted.
    pub bounce: BounceRules,
    /// How returned mail is handled.
    pub returns: Returns,
    /// Rules for addresses that get no more mail.
    pub suppression: SuppressionRules,
    /// When something is wrong enough to be found and told.
    pub rules: RuleSettings,
    /// Whose new mail is held when it behaves like a stolen account.
    pub guard: posthaste_guard::Settings,
    /// The numbers of the health score's formula.
    pub score: ScoreSettings,
    /// The socket for `posthaste queue` and similar commands.
    pub admin: Admin,
    /// How guessing of passwords is limited.
    pub bans: BanPolicy,
    /// The server that checks bearer tokens of other issuers; None: there is no such server.
    pub introspection: Option<Endpoint>,
    /// Users by name, from this file and from `users_file`.
    pub users: UsersByName,
    /// The file in which `posthaste user` keeps users.
    pub users_file: PathBuf,
    /// Files with passwords that the configuration names.
    pub password_files: Vec<PathBuf>,
    /// Where each value comes from.
    pub lines: Lines,
}

impl Config {
    /// Reads the file at `path` over the defaults; without a path, the defaults alone.
    pub fn load(path: Option<&Path>, host: &dyn Host) -> Result<Self, ConfigErrors> {
        let (text, file) = Self::text(path, host)?;
        Self::parse(&text, &file, host)
    }

    /// Like [`Self::load`], for whoever only looks at what the relay did: keys, passwords and users that this user cannot read are left out,
    /// and so is whatever else is wrong with the file, unless it says where data, log and socket are. Not for sending or signing.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or says wrongly where the data are.
    pub fn load_to_look(path: Option<&Path>, host: &dyn Host) -> Result<Self, ConfigErrors> {
        const PLACES: [&str; 5] = ["data_dir", "log.dir", "spool.dir", "admin.socket", "node"];
        let (text, file) = Self::text(path, host)?;
        let (config, mut errors, _) = Self::read_whole(&text, &file, host)?;
        errors.retain(|error| PLACES.contains(&error.key.as_str()));
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }

    /// Like [`Self::load`], for a file that is meant for another host: keys and other files that cannot be read here are no errors. They come
    /// back beside it, and what they would hold is missing from the configuration.
    pub fn load_for_elsewhere(path: Option<&Path>, host: &dyn Host) -> Result<(Self, Vec<ConfigError>), ConfigErrors> {
        let (text, file) = Self::text(path, host)?;
        let (config, errors, _) = Self::read_whole(&text, &file, host)?;
        let (unread, errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(|error| error.unread);
        if errors.is_empty() { Ok((config, unread)) } else { Err(ConfigErrors(errors)) }
    }

    /// The file's text, and its name in errors.
    fn text(path: Option<&Path>, host: &dyn Host) -> Result<(String, String), ConfigErrors> {
        let Some(path) = path else { return Ok((String::new(), NO_FILE.to_owned())) };
        let file = path.display().to_string();
        let trouble = |message: String| {
            ConfigErrors(vec![ConfigError {
                file: file.as_str().into(),
                line: None,
                column: None,
                key: String::new(),
                value: None,
                message,
                unread: false,
            }])
        };
        let bytes = host.read(path).map_err(|error| trouble(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
            let mut errors = trouble("not UTF-8, as TOML must be: save the file in UTF-8 (iconv -f LATIN1 -t UTF-8)".into());
            errors.0.iter_mut().for_each(|error| error.line = Some(line));
            errors
        })?;
        Ok((text, file))
    }

    /// Reads `text` over the defaults. `file` is its name in errors; paths in it are relative to that file's folder.
    pub fn parse(text: &str, file: &str, host: &dyn Host) -> Result<Self, ConfigErrors> {
        Self::parse_noting_keys(text, file, host).map(|(config, _)| config)
    }

    /// Like [`Self::parse`], and also returns every key that the code asked for, with `*` for names: the documentation must cover them.
    pub fn parse_noting_keys(text: &str, file: &str, host: &dyn Host) -> Result<(Self, BTreeSet<String>), ConfigErrors> {
        let (config, errors, known) = Self::read_whole(text, file, host)?;
        if errors.is_empty() { Ok((config, known)) } else { Err(ConfigErrors(errors)) }
    }

    /// Reads `text` over the defaults as far as it goes: a value that is wrong has its default. Err if the text is not TOML.
    fn read_whole(text: &str, file: &str, host: &dyn Host) -> Result<(Self, Vec<ConfigError>, BTreeSet<String>), ConfigErrors> {
        let base = Document::new("config/posthaste.toml", DEFAULTS).expect("the embedded defaults are TOML");
        let user = Document::new(file, text)?;
        let reading = Reading::new(&user, &base);
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let config = reading.root(|t| Self::read(t, &Environment { host, folder, secrets: RefCell::default() }));
        let Findings { mut errors, mut lines, mut known } = reading.finish();
        let above = user::Above { streams: &config.streams, users: &config.users };
        let (filed, found) = user::read_file(&config.users_file, host, &base, &above);
        if let Some(more) = found {
            errors.extend(more.errors);
            lines.extend(more.lines);
            known.extend(more.known);
        }
        let mut config = config;
        config.users.extend(filed);
        Ok((Self { lines, ..config }, errors, known))
    }

    /// Where the value of `key` (as in errors, `source.ip1.address`) comes from.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.lines.origin(key)
    }

    /// The plan of a source's lane at a provider; None: it is warm.
    pub fn plan(&self, source: &Name, provider: &str) -> Option<&Arc<Plan>> {
        let warmup = self.sources.get(source)?.warmup.as_ref()?;
        Some(self.curves.plan(&warmup.curve, provider).expect("a source's curve is there"))
    }

    /// File and line (`posthaste.toml:41`) that decide what a curve's key (`caps`, `overflow`) is for a source at a provider.
    pub fn plan_origin(&self, source: &Name, provider: &str, key: &str) -> Option<String> {
        let warmup = self.sources.get(source)?.warmup.as_ref()?;
        self.curves.origin(&warmup.curve, provider, key).map(|(file, line)| format!("{file}:{line}"))
    }

    /// The stream of mail that names none: always defined.
    pub fn default_stream(&self) -> &Stream {
        self.streams.get("default").expect("the stream `default` always exists")
    }

    /// The sources that a stream's mail may be sent from, with their shares. At least one.
    pub fn sources_of(&self, stream: &Stream) -> &[(Name, u32)] {
        &self.pools.get(&stream.pool).expect("a stream's pool is defined").sources
    }

    fn read(t: &Table<'_>, environment: &Environment<'_>) -> Self {
        let hostname = t.given("hostname", host_name).unwrap_or_else(|| environment.hostname());
        let origin = t.given("origin", host_name).unwrap_or_else(|| hostname.clone());
        let node = t.given("node", from_text::<Name>).unwrap_or_else(|| environment.node(&hostname));
        let data_dir = t.get("data_dir", path);
        let threads = t.get("threads", zero_is_none(number(1..=1024_usize))).and_then(NonZeroUsize::new);
        let delivery = t.table("delivery", |t| Delivery::read(t, environment));
        let tls = t.table("tls", |t| Tls::read(t, environment));
        let retry = t.table("retry", stream::read_retry);
        let curves = warmup::read_curves(t, environment);
        let sources = t.named("source", false, |t, name| Source::read(t, name, environment, &hostname, &curves));
        let pools = t.named("pool", false, |t, _| Pool::read(t, &sources));
        source::refuse_strange_pools(t, &curves.curves, &sources, &pools);
        let streams = Stream::read_all(t, &retry, &pools);
        let listeners = t.named("listen", false, |t, _| listen::read(t, environment, &streams));
        listen::refuse_twins(t, &listeners);
        let (http, requests, page) = t.table("http", |inner| http::read(inner, t, environment, &listeners));
        let acme = t.table("acme", |inner| acme::read(inner, t, environment, &listeners, &http));
        acme::suits(&acme, t, &listeners, &http);
        let users = user::read_all(t, &user::Above { streams: &streams, users: &UsersByName::new() });
        let users_file = user::file(t, &data_dir);
        let dkim = t.table("dkim", |t| dkim::read(t, environment));
        dkim::suits(&dkim, t, &streams, &listeners);
        let returns = t.table("returns", |t| returns::read(t, environment));
        let itself = route::Itself { hostname: &hostname, listeners: &listeners, http: &http };
        let routes = t.table("route", |t| route::read_all(t, environment, &delivery, &tls, &itself));
        let alarms = t.table("alarm", |t| alarm::read_all(t, environment, &itself));
        returns::hold_together(&returns, t, &streams, &listeners);
        let log = t.table("log", |t| Log::read(t, &data_dir));
        let monitor = t.table("monitor", |t| Monitor::read(t, &data_dir, &log.dir));
        let report = t.table("report", |t| report::read(t, environment, &itself, &monitor));
        let limits = t.table("limits", limits::read);
        let rules = t.table("rules", rules::read);
        let above = guard::Above { streams: &streams, monitor: &monitor, rules: &rules, queue_messages: limits.queue_messages };
        let guard = t.table("guard", |t| guard::read(t, &above));
        let postmaster = t.given("postmaster", mail_address);
        returns::leads_elsewhere(&returns, t, &streams, postmaster.as_ref());
        Self {
            run: t.table("run", Run::read),
            bans: t.table("bans", bans::read),
            introspection: t.table("introspection", |t| introspection::read(t, environment)),
            acme,
            http,
            requests,
            page,
            sendmail: t.table("sendmail", |t| Sendmail::read(t, &data_dir)),
            limits,
            spool: t.table("spool", |t| Spool::read(t, &data_dir)),
            report,
            monitor,
            log,
            alarms,
            heartbeat: t.table("heartbeat", |t| alarm::heartbeat(t, environment)),
            dns: t.table("dns", Dns::read),
            routes,
            dkim,
            notice: t.table("notice", |t| notice::read(t, &hostname)),
            postmaster,
            bounce: t.table("bounce", |t| BounceRules::read(t, environment)),
            suppression: t.table("suppression", suppression::read),
            rules,
            guard,
            score: ScoreSettings { traits: Stream::traits(&streams), ..t.table("score", score::read) },
            admin: t.table("admin", |t| Admin::read(t, &data_dir)),
            lines: Lines::default(),
            users,
            users_file,
            password_files: environment.secrets.take(),
            returns,
            node,
            hostname,
            origin,
            data_dir,
            threads,
            listeners,
            delivery,
            tls,
            retry,
            streams,
            sources,
            pools,
            curves: curves.curves,
        }
    }
}
