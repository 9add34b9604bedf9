//! The settings of listeners and intake.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use posthaste_access::{
    introspection::Introspection,
    users::{NamedStreams, Users},
};
use posthaste_certificates::{AcmeNames, ListenCertificate};
use posthaste_mail::{Address, Domain, Name};
use posthaste_smtp::server::{self, BareLineEnds, sasl::Mechanism};
use posthaste_suppression::SuppressionRules;

/// The settings of listeners and intake that are in force.
pub struct Settings {
    /// The relay's host name.
    pub hostname: Domain,
    /// The domain of addresses that have none, in headers of submitted mail.
    pub origin: Domain,
    /// Limits for clients.
    pub limits: ClientLimits,
    /// The listeners, by name.
    pub listeners: BTreeMap<Name, Listener>,
    /// Protocol settings of each listener's sessions.
    pub sessions: HashMap<Name, Arc<server::SessionSettings>>,
    /// TLS server settings of each listener that has TLS.
    pub tls_servers: HashMap<Name, Arc<rustls::ServerConfig>>,
    /// The names of the configured streams.
    pub streams: BTreeSet<Name>,
    /// Users that may authenticate.
    pub users: Arc<Users>,
    /// The endpoint that checks tokens which the configuration does not know; None: there is none.
    pub introspection: Option<Arc<Introspection>>,
    /// The From address of notices.
    pub notice_from: Address,
    /// The rules of the suppression list.
    pub suppression: SuppressionRules,
}

/// A listener, where clients submit mail by SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What it accepts.
    pub role: Role,
    /// Addresses and ports.
    pub addresses: Vec<SocketAddr>,
    /// Clients that may send without authentication.
    pub allow: Vec<IpNet>,
    /// Load balancers that are trusted for the client's address (the PROXY protocol).
    pub proxy_from: Vec<IpNet>,
    /// TLS.
    pub tls: ListenTls,
    /// Where AUTH is offered.
    pub auth: AuthWhere,
    /// The mechanisms of AUTH, in the order in which they are offered.
    pub auth_mechanisms: Vec<Mechanism>,
    /// Whether clients in `allow` must authenticate too.
    pub require_auth: bool,
    /// The stream of messages from this listener that name none.
    pub stream: Name,
    /// The streams that messages of clients without authentication may name; None: all while the relay has no users, otherwise `stream` alone.
    pub streams: Option<NamedStreams>,
    /// Concurrent connections.
    pub max_connections: usize,
    /// Concurrent connections from one address.
    pub max_connections_per_ip: usize,
    /// Whether recipients on the suppression list are refused at RCPT.
    pub refuse_suppressed: bool,
    /// The text of the greeting after the host name.
    pub banner: String,
    /// Whether mail from this listener is forwarded mail, which is sealed (RFC 8617).
    pub arc: bool,
    /// What to do with a CR or LF on its own in a message.
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

/// What a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Mail to be sent.
    Submission,
    /// Returned mail.
    Returns,
}

impl Listener {
    /// Whether connections from `ip` begin with the PROXY protocol.
    pub fn is_balancer(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.proxy_from.iter().any(|net| net.contains(&ip))
    }

    /// Whether a client at `ip` may send. An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) counts as the IPv4 address.
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
    /// Whether mail is accepted only over TLS.
    pub required: bool,
    /// The certificates, selected by the name that the client asks for; the first is the default. Empty: the relay generates one.
    pub certificates: Vec<ListenCertificate>,
    /// The names of the certificate that is ordered from the ACME authority instead; empty: none is ordered.
    pub acme: AcmeNames,
    /// The authorities for client certificates, as PEM; None: clients are not asked for a certificate.
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

/// What becomes of text that not every receiver takes: lines longer than SMTP allows, and bytes above 127 at a receiver without 8BITMIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnfitText {
    /// It bounces before it is sent.
    Bounce,
    /// It is encoded before it is signed; what cannot be encoded bounces.
    Encode,
    /// It is sent as it is.
    Send,
}

/// Limits of submission and of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// The longest message, in bytes; announced by SIZE (RFC 1870).
    pub message_size: u64,
    /// Recipients of one message.
    pub recipients: usize,
    /// The longest command line, in bytes, its CRLF included.
    pub command_line: usize,
    /// The longest line of a message, in bytes without its CRLF; None: any length.
    pub text_line: Option<usize>,
    /// What becomes of text that not every receiver takes.
    pub unfit_text: UnfitText,
    /// The longest header of a message, in bytes.
    pub header_size: u64,
    /// Received fields before a message is refused as looping (RFC 5321 §6.3).
    pub received_hops: usize,
    /// Invalid commands before the client is disconnected.
    pub bad_commands: u32,
    /// Commands that submit no mail before the client is disconnected.
    pub idle_commands: u32,
    /// Refused senders, recipients and messages before the client is disconnected.
    pub refusals: u32,
    /// Concurrent connections over all listeners.
    pub connections: usize,
    /// How long to wait for a command.
    pub command_timeout: Duration,
    /// How long to wait for the next bytes of a message.
    pub data_timeout: Duration,
    /// Time for a TLS handshake and for a PROXY header.
    pub handshake_timeout: Duration,
    /// How long a connection may stay open without submitting a message.
    pub session_idle: Duration,
    /// A message must be complete within `data_timeout` plus one second for each time this many bytes have arrived.
    pub data_rate: u64,
    /// Memory for messages that are still being received, over all sessions.
    pub receive_memory: u64,
    /// Messages over one connection; None: no limit.
    pub messages_per_connection: Option<u32>,
    /// Messages waiting for delivery before new ones are deferred; None: as many as the disk holds.
    pub queue_messages: Option<u64>,
    /// How long a message may be held back (FUTURERELEASE, RFC 4865); None: not at all.
    pub future_release: Option<Duration>,
    /// Memory for bodies between intake and delivery, in bytes.
    pub body_cache: u64,
}
