//! Which channels there are, and what each of them wants to hear.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, path::PathBuf, time::Duration};

use hyper::Uri;
use jiff::civil::Time;
use posthaste_host::Roots;
use posthaste_mail::{Address, Domain, Login, Name, NextHop, Secret};
use posthaste_smtp::client::TlsConfigs;

use crate::Severity;

/// The settings of channels and of the heartbeat.
pub struct Settings {
    /// The relay's name in events.
    pub node: Name,
    /// The relay's name towards mail servers.
    pub hostname: Domain,
    /// The channels, each with the certificates that it trusts.
    pub channels: BTreeMap<Name, (Channel, TlsConfigs)>,
    /// The heartbeat, if one is wanted.
    pub heartbeat: Option<(HeartbeatUrl, TlsConfigs)>,
    /// The report of each day by mail, if one is wanted.
    pub report: Option<(DailyReport, TlsConfigs)>,
}

/// How the report of each day is mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyReport {
    /// From whom, to whom and by which server.
    pub mail: Mail,
    /// At which time of the day, in the zone of the days.
    pub at: Time,
    /// How long sending it may take.
    pub timeout: Duration,
    /// What the server's certificate is verified against.
    pub roots: Roots,
}

/// A channel: by what way it tells, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// How it tells.
    pub way: Way,
    /// The rules whose incidents it tells of; empty: all.
    pub rules: Vec<String>,
    /// The least severity that it tells of.
    pub severity: Severity,
    /// The most messages an hour.
    pub per_hour: NonZeroU32,
    /// How long sending one message may take.
    pub timeout: Duration,
    /// What the server's certificate is verified against.
    pub roots: Roots,
}

/// How a channel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// JSON of our own by POST.
    Webhook {
        /// Where to.
        url: SecretUrl,
        /// The value of the field Authorization.
        authorization: Option<Secret>,
    },
    /// An incoming webhook of Slack, or of what is compatible with it (Mattermost).
    Slack(SecretUrl),
    /// A workflow of Microsoft Teams that posts an Adaptive Card.
    Teams(SecretUrl),
    /// A webhook of Discord.
    Discord(SecretUrl),
    /// A topic of ntfy.
    Ntfy(Ntfy),
    /// PagerDuty's Events API v2.
    PagerDuty(PagerDuty),
    /// A program that reads JSON.
    Command(Command),
    /// Mail, by a session of its own with a server that is not this relay.
    Mail(Mail),
}

impl Way {
    /// The word in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Discord(_) => "discord",
            Self::Ntfy(_) => "ntfy",
            Self::PagerDuty(_) => "pagerduty",
            Self::Command(_) => "command",
            Self::Mail(_) => "mail",
        }
    }
}

/// A topic of ntfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ntfy {
    /// The server, to which messages are published as JSON.
    pub server: SecretUrl,
    /// The topic. On a public server it is as good as a password.
    pub topic: Secret,
    /// An access token.
    pub token: Option<Secret>,
    /// The priority (1 to 5) of news of severity `warn`.
    pub warn: u8,
    /// The priority of news of severity `critical`.
    pub critical: u8,
}

/// An integration of PagerDuty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagerDuty {
    /// The API: another one in the EU.
    pub url: SecretUrl,
    /// The integration's key.
    pub routing_key: Secret,
}

/// A program that is run for each message, without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Mail by a server that is not this relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The sender, in the envelope and in the header.
    pub from: Address,
    /// The recipients. Not empty.
    pub to: Vec<Address>,
    /// The server. Unless it is this machine, it must speak STARTTLS and show a certificate that is valid for its name.
    pub server: NextHop,
    /// The login there.
    pub auth: Option<Login>,
}

/// A URL that is called while mail flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatUrl {
    /// The URL.
    pub url: SecretUrl,
    /// How often it is called.
    pub every: Duration,
    /// How long a call may take.
    pub timeout: Duration,
    /// What the server's certificate is verified against.
    pub roots: Roots,
}

/// A URL that is a secret: who knows it can write into the channel. Debug output shows its host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Uri);

impl SecretUrl {
    /// Takes a URL with a scheme and a host.
    pub fn new(url: Uri) -> Option<Self> {
        (url.scheme().is_some() && url.host().is_some_and(|host| !host.is_empty())).then_some(Self(url))
    }

    /// The URL itself.
    pub fn reveal(&self) -> &Uri {
        &self.0
    }

    /// Its host, which may be shown.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({}…)", self.host())
    }
}
