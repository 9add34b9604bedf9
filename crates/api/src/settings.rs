//! The API's settings.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use posthaste_access::{bans::BanPolicy, users::Users};
use posthaste_findings::{score::Settings as ScoreSettings, settings::IncidentSettings};
use posthaste_submission::ClientLimits;
use posthaste_suppression::SuppressionRules;

/// The API's settings that are in force.
pub struct Settings {
    /// Connections, requests and memory.
    pub http: Http,
    /// Limits for messages.
    pub limits: ClientLimits,
    /// Users that may authenticate.
    pub users: Arc<Users>,
    /// How clients that guess tokens are locked out.
    pub bans: BanPolicy,
    /// The rules of the suppression list.
    pub suppression: SuppressionRules,
    /// The providers that metrics name; others are one.
    pub known_providers: Arc<BTreeSet<String>>,
    /// The health score's formula.
    pub score: Arc<ScoreSettings>,
    /// How long incidents last.
    pub incidents: IncidentSettings,
}

/// The HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The addresses it listens on; empty: there is no API.
    pub addresses: Vec<SocketAddr>,
    /// Whether plain HTTP may be offered to other machines.
    pub plain: bool,
    /// Concurrent connections.
    pub max_connections: usize,
    /// Concurrent connections from one address.
    pub max_connections_per_ip: usize,
    /// Requests over one connection.
    pub requests_per_connection: u32,
    /// How long a client may take to send the head of a request, and between requests.
    pub header_timeout: Duration,
    /// How long a client may take to send the body of a request.
    pub body_timeout: Duration,
    /// The longest body, in bytes.
    pub body_size: u64,
    /// Memory for bodies and the messages made from them, in bytes.
    pub body_memory: u64,
    /// Messages in one batch.
    pub batch: usize,
    /// Idempotency keys that are remembered at once.
    pub idempotency_keys: usize,
    /// Networks that may read the metrics without a token.
    pub metrics_allow: Vec<IpNet>,
}

impl Http {
    /// Memory that a body takes, in multiples of its length: the body itself, the parts decoded from it, and the message made from them. The
    /// values of a JSON body are counted apart, by their number.
    pub const BODY_COST: u64 = 4;
}
