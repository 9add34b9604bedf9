//! How the API is served.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use posthaste_access::{bans::BanPolicy, users::Users};
use posthaste_submission::Limits;
use posthaste_suppression::SuppressionRules;

/// What is in force.
pub struct Settings {
    /// How it is served.
    pub http: Http,
    /// What a client may ask of the relay.
    pub limits: Limits,
    /// Who may send.
    pub users: Arc<Users>,
    /// What guessing tokens costs.
    pub bans: BanPolicy,
    /// Who is not written to, and for how long.
    pub suppression: SuppressionRules,
    /// Where the delivery log lies.
    pub log_dir: PathBuf,
}

/// The API over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens; empty: nowhere.
    pub addresses: Vec<SocketAddr>,
    /// Whether plain HTTP may leave this machine.
    pub plain: bool,
    /// Clients at once.
    pub max_connections: usize,
    /// Clients at once from one address.
    pub max_connections_per_ip: usize,
    /// Requests over one connection.
    pub requests_per_connection: u32,
    /// How long a client may take over the head of a request, and between requests.
    pub header_timeout: Duration,
    /// How long a client may take over the body of a request.
    pub body_timeout: Duration,
    /// The longest body, in bytes.
    pub body_size: u64,
    /// Memory for bodies and what is made of them, in bytes.
    pub body_memory: u64,
    /// Messages of one batch.
    pub batch: usize,
    /// Idempotency keys that are remembered at once.
    pub idempotency_keys: usize,
}

impl Http {
    /// Memory that a body costs, in lengths of itself: as it came, what is taken out of it, the message made of that.
    pub const BODY_COST: u64 = 3;
}
