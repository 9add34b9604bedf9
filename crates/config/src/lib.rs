//! The configuration: one TOML file over the defaults, which are themselves a file (`config/posthaste.toml`) and its documentation.
//!
//! There is one file per noun. [`Config::load`] reads everything and reports all errors at once, each with file, line, key and remedy.
//! A configuration that was read holds together: every name in it is defined, every value in range.
//!
//! It may know all crates below it, for whose settings it reads values; none of them knows it.

mod acme;
mod admin;
mod alarm;
mod bans;
mod bounce;
mod config;
mod delivery;
mod dkim;
mod dns;
mod document;
mod environment;
mod error;
mod guard;
mod http;
mod introspection;
mod limits;
mod listen;
mod listen_tls;
mod log;
mod monitor;
mod notice;
mod oidc;
mod origins;
mod reader;
mod reference;
mod reload;
mod report;
mod returns;
mod route;
mod rules;
mod run;
mod score;
mod sendmail;
mod source;
mod spool;
mod stream;
mod suggest;
mod suppression;
mod tls;
mod user;
mod value;
mod warmup;

pub use admin::Admin;
pub use bounce::BounceRules;
pub use config::{Config, DEFAULTS};
pub use delivery::Delivery;
pub use dns::Dns;
pub use error::{ConfigError, ConfigErrors};
pub use http::Page;
pub use log::Log;
pub use monitor::Monitor;
pub use origins::{Lines, Origin};
pub use reload::{KeyInForce, Written};
pub use returns::bounce_domain_of;
pub use run::Run;
pub use source::{Pool, Source};
pub use spool::Spool;
pub use stream::Stream;
pub use tls::Tls;
pub use user::UsersByName;
pub use warmup::{Start, Warmup};
