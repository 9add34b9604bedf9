//! Identifies the provider behind a route: by a table of large providers, else by the registrable domain of the MX.
//!
//! ```toml
//! [provider.example]
//! mx = ["mx.example.net"]           # suffixes of host names, whole labels; the longest match decides
//! addresses = ["192.0.2.0/24"]      # for hosts with other names
//! domains = ["mail.example"]        # recipient domains of this provider, wherever their MX points
//! connections = 5
//! first_pause = "10m"
//! ```
//!
//! `config/providers.toml` is embedded and documents each key. An operator's entry of the same name replaces single keys.

mod file;
mod index;
mod provider;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use self::{
    provider::{By, Origin, Provider, ProviderLimits},
    table::{Providers, registrable_domain},
    text::ProviderFileError,
};
