//! Whose mailboxes a route leads to: a table of those that everybody writes to, the registrable domain of the MX for the rest.
//!
//! ```toml
//! [provider.example]
//! mx = ["mx.example.net"]           # ends of host names, on label borders; the longest that fits decides
//! addresses = ["192.0.2.0/24"]      # for hosts under other names
//! domains = ["mail.example"]        # recipients' domains that are this provider's wherever their MX leads
//! connections = 5
//! first_pause = "10m"
//! ```
//!
//! `config/providers.toml` is embedded, and says what each key means. An operator's entry of the same name replaces single keys.

mod file;
mod index;
mod provider;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use self::{
    provider::{By, Limits, Origin, Provider},
    table::Providers,
    text::ProviderFileError,
};
