//! The certificates that listeners show, and those that the relay orders for them from an ACME authority (RFC 8555).
//!
//! It may know `mail`, `host` and `journal`. A listener never stops showing a certificate because a new one is bad: the old one stays and the log
//! says so. What is ordered is written to files, and shown as any other file is.

pub mod acme;
pub mod names;
mod pair;
mod server;
mod settings;
mod shown;
mod watch;

pub use acme::Store;
pub use pair::{Pair, PairError};
pub use server::{ServerError, server_config};
pub use settings::{Acme, AcmeNames, Challenge, Settings};
pub use shown::{Certificates, Files, Looked};
pub use watch::watch;
