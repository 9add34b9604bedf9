//! The DKIM signer (RFC 6376, RFC 8463): keys, the keyring that says which key signs what, signatures, the rotation of keys, ARC
//! seals for forwarded mail (RFC 8617), and what the signatures of a report prove.
//!
//! The crate uses no other crate of the workspace. It does no I/O and asks no DNS: the caller reads the files, asks for the records and
//! passes the time. Only the time inside an ARC seal comes from the system, as mail-auth takes it there.
//!
//! It keeps these invariants:
//!
//! - A [`Signer`] that could only make signatures that do not verify cannot be built.
//! - From is always signed.
//! - A new key signs only once DNS has its record, and an old key is retired only once it is not needed any more ([`Succession`]).
//! - A private key is never printed.
//!
//! ```
//! use posthaste_dkim::{Algorithm, Key, Keyring, Signer, SignerOptions};
//!
//! let (key, _pem) = Key::generate(Algorithm::Ed25519Sha256)?;
//! let mut ring = Keyring::default();
//! ring.add("example.com", true, Signer::new("example.com", "s1", key, &SignerOptions::default())?);
//!
//! let message: [&[u8]; 2] = [b"From: <a@news.example.com>\r\nSubject: Hello\r\n\r\n", b"Good morning.\r\n"];
//! for signer in ring.choose(["news.example.com"], []) {
//!     assert!(signer.sign(&message, 1_790_000_000)?.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arc;
pub mod author;
mod key;
mod keyring;
mod message;
mod options;
mod published;
mod record;
mod rotation;
mod signer;

pub use key::{Algorithm, Key, KeyError};
pub use keyring::Keyring;
pub use options::{Canonicalization, Form, SIGNED, SignerError, SignerOptions, check_identity};
pub use published::Published;
pub use record::zone_lines;
pub use rotation::{Change, Due, Heir, Schedule, Stage, Succession};
pub use signer::{SignError, Signer, sign_all};
