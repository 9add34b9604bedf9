//! TLS certificates of listeners, and the ordering of certificates from an ACME authority (RFC 8555).
//!
//! It may know `mail`, `host` and `journal`. If a new certificate is bad, the listener goes on showing the old one and the log says so.
//! Ordered certificates are written to files, and listeners read them like any other files.

pub mod acme;
pub mod names;
mod pair;
mod server;
mod settings;
mod shown;
mod watch;

pub use acme::AcmeStore;
pub use pair::{Pair, PairError};
pub use server::{ServerError, server_config};
pub use settings::{Acme, AcmeNames, Challenge, Door, ListenCertificate, Settings};
pub use shown::{Certificates, PairFiles};
pub use watch::watch;
