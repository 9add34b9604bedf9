//! What is in force at the listeners.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use posthaste_access::{introspection::Introspection, users::Users};
use posthaste_certificates::{AcmeNames, Files, Pair};
use posthaste_mail::{Address, Domain, Name};
use posthaste_smtp::server::{self, BareLineEnds};
use posthaste_suppression::SuppressionRules;

/// What is in force.
pub struct Settings {
    /// The relay's name.
    pub hostname: Domain,
    /// What a client may ask of it.
    pub limits: Limits,
    /// Where mail is taken in.
    pub listeners: BTreeMap<Name, Listener>,
    /// What each listener's sessions follow.
    pub sessions: HashMap<Name, Arc<server::Settings>>,
    /// What each listener's handshakes go by, where it has TLS.
    pub tls_servers: HashMap<Name, Arc<rustls::ServerConfig>>,
    /// Kinds of mail.
    pub streams: BTreeSet<Name>,
    /// Who may send.
    pub users: Arc<Users>,
    /// Whom to ask about tokens that are no user's own.
    pub introspection: Option<Arc<Introspection>>,
    /// Who writes notices.
    pub notice_from: Address,
    /// Who is not written to, and for how long.
    pub suppression: SuppressionRules,
}

/// A place where clients hand in mail by SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What is taken here.
    pub role: Role,
    /// Addresses and ports.
    pub addresses: Vec<SocketAddr>,
    /// Clients that may send without saying who they are.
    pub allow: Vec<IpNet>,
    /// Balancers whose word about the client's address is taken (the PROXY protocol).
    pub proxy_from: Vec<IpNet>,
    /// TLS.
    pub tls: ListenTls,
    /// Where a client may say who it is.
    pub auth: AuthWhere,
    /// Whether those of `allow` must say it too.
    pub require_auth: bool,
    /// The stream of mail that comes in here and names none.
    pub stream: Name,
    /// Clients at once.
    pub max_connections: usize,
    /// Clients at once from one address.
    pub max_connections_per_ip: usize,
    /// Whether recipients on the suppression list are refused at RCPT.
    pub refuse_suppressed: bool,
    /// What the greeting says behind the host name.
    pub banner: String,
    /// Whether what comes in here is forwarded mail, which is sealed (RFC 8617).
    pub arc: bool,
    /// What is done about a CR or LF that stands alone in a message.
    pub bare_line_ends: BareLineEnds,
}

/// Where AUTH is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthWhere {
    /// Nowhere.
    Off,
    /// Under TLS.
    Tls,
    /// In plain text too.
    Always,
}

/// What a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Mail to be sent.
    Submission,
    /// Mail that comes back.
    Returns,
}

impl Listener {
    /// Whether connections from `ip` begin with the PROXY protocol.
    pub fn is_balancer(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.proxy_from.iter().any(|net| net.contains(&ip))
    }

    /// Whether a client at `ip` may send; an IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) counts as what it is.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allow.iter().any(|net| net.contains(&ip))
    }
}

/// TLS on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// When it begins.
    pub mode: ListenTlsMode,
    /// Whether nothing is taken without it.
    pub required: bool,
    /// What is shown, by the name that the client asks for; the first to all others. Empty: one that the relay makes up.
    pub certificates: Vec<ListenCertificate>,
    /// What the one certificate is for that is ordered from the ACME authority, in place of those; empty: none is.
    pub acme: AcmeNames,
    /// The authorities, as PEM, that vouch for clients' certificates; None: clients are not asked for any.
    pub client_ca: Option<(PathBuf, String)>,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenTlsMode {
    /// Never.
    None,
    /// When the client says STARTTLS (RFC 3207).
    StartTls,
    /// At once (RFC 8314 §3).
    Implicit,
}

/// A certificate with its key, and where both lie.
#[derive(Debug, Clone)]
pub struct ListenCertificate {
    /// Where.
    pub files: Files,
    /// As read.
    pub pair: Arc<Pair>,
}

impl PartialEq for ListenCertificate {
    /// Two pairs are the same when their certificates are.
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.pair.key().cert == other.pair.key().cert
    }
}

impl Eq for ListenCertificate {}

/// Limits of submission and of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in bytes; announced by SIZE (RFC 1870).
    pub message_size: u64,
    /// Recipients of one message.
    pub recipients: usize,
    /// The longest command line, in bytes, its CRLF included.
    pub command_line: usize,
    /// The longest line of a message, in bytes without its CRLF; None: any length.
    pub text_line: Option<usize>,
    /// The longest header of a message, in bytes.
    pub header_size: u64,
    /// Received fields before a message is taken for a loop (RFC 5321 §6.3).
    pub received_hops: usize,
    /// Commands that are none before the client is cut off.
    pub bad_commands: u32,
    /// Commands that hand in nothing before the client is cut off.
    pub idle_commands: u32,
    /// Refused senders, recipients and messages before the client is cut off.
    pub refusals: u32,
    /// Clients at once, all listeners together.
    pub connections: usize,
    /// How long to wait for a command.
    pub command_timeout: Duration,
    /// How long to wait for the next bytes of a message.
    pub data_timeout: Duration,
    /// Time for a TLS handshake and for a PROXY header.
    pub handshake_timeout: Duration,
    /// How long a connection may go without handing in a message.
    pub session_idle: Duration,
    /// Bytes a second that a message must come in with, once `data_timeout` has passed.
    pub data_rate: u64,
    /// Memory for messages that are still coming in, all sessions together.
    pub receive_memory: u64,
    /// Messages over one connection; None: no limit.
    pub messages_per_connection: Option<u32>,
    /// Messages waiting for delivery before new ones are put off; None: as many as the disk holds.
    pub queue_messages: Option<u64>,
    /// How long a message may be held back (FUTURERELEASE, RFC 4865); None: not at all.
    pub future_release: Option<Duration>,
    /// Memory for bodies between intake and delivery, in bytes.
    pub body_cache: u64,
}
