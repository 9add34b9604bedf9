//! The API's settings.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;
use posthaste_access::{bans::BanPolicy, users::Users};
use posthaste_findings::{score::Settings as ScoreSettings, settings::IncidentSettings};
use posthaste_http::Http;
use posthaste_submission::ClientLimits;
use posthaste_suppression::SuppressionRules;

/// The API's settings that are in force.
pub struct Settings {
    /// Connections.
    pub http: Http,
    /// Requests and memory.
    pub requests: Requests,
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

/// Requests to the API, and the memory for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
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

impl Requests {
    /// Memory that a body takes, in multiples of its length: the body itself, the parts decoded from it, and the message made from them. The
    /// values of a JSON body are counted apart, by their number.
    pub const BODY_COST: u64 = 4;
}
