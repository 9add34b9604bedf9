//! From a recipient's domain to the provider that takes its mail and the hosts to try, in order.
//!
//! [`Resolver::route`] is all of it: a static route when one fits, the address itself for an address literal, else DNS as
//! RFC 5321 §5.1 has it. Every way in which that fails is a [`RouteFailure`] that says whether waiting can help.

mod address;
mod dns;
mod error;
mod options;
mod order;
mod providers;
mod resolver;
mod route;
mod statics;

pub use error::ResolverError;
pub use options::Options;
pub use order::shuffle_equals;
pub use providers::{By, Limits, Origin, Provider, ProviderFileError, Providers};
pub use resolver::Resolver;
pub use route::{Host, Route, RouteFailure};
pub use statics::{RouteError, StaticRoutes};
