//! Finds the route of a recipient's domain: the provider that runs its mailboxes, and the hosts to try, in order. And what else is asked of
//! DNS: names of hosts, TXT records, what is published about senders (SPF and DMARC).
//!
//! [`Resolver::route`] takes a static route if one matches, the address itself for an address literal, else DNS as RFC 5321 §5.1 says.
//! Every failure is a [`RouteFailure`] that says whether waiting can help.
//!
//! Level 1: of the workspace it may use `posthaste-mail` only. It knows no configuration, queue or connections.
//!
//! Invariants:
//! - A route has at least one host, and each host at least one address.
//! - A failure is permanent only if DNS, or the address literal itself, leaves no usable host. If a name server failed to answer, or the
//!   operator's own hosts failed, it is not.
//! - No host of a route is this relay itself, and without a static route none has a private address, unless the options allow it.
//! - Routes with the same set of hosts and ports have the same key, whatever their order; other routes never do.
//! - The order of equally preferred hosts does not change the provider.

mod address;
mod answers;
mod dns;
mod error;
mod options;
mod order;
mod ourselves;
mod providers;
mod resolver;
mod route;
mod senders;
mod statics;
mod turns;

pub use error::{DnsUnavailable, ResolverError};
pub use options::ResolverOptions;
pub use order::shuffle_equals;
pub use ourselves::Ourselves;
pub use providers::{By, Origin, Provider, ProviderFileError, ProviderLimits, Providers, registrable_domain};
pub use resolver::Resolver;
pub use route::{Host, Route, RouteFailure};
pub use senders::{Dmarc, Spf};
pub use statics::{RouteError, StaticRoutes};
pub use turns::{Asker, Turns};
