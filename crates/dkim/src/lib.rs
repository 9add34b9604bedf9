//! The DKIM signer (RFC 6376, RFC 8463): keys, which key signs what, the signature itself; how one key follows another;
//! seals for forwarded mail.
//!
//! ```
//! use posthaste_dkim::{Algorithm, Key, Keyring, Signer, SignerOptions};
//!
//! let (key, _pem) = Key::generate(Algorithm::Ed25519Sha256)?;
//! let mut ring = Keyring::default();
//! ring.add("example.com", true, Signer::new("example.com", "s1", key, &SignerOptions::default())?);
//!
//! let message: [&[u8]; 2] = [b"From: <a@news.example.com>\r\nSubject: Hello\r\n\r\n", b"Good morning.\r\n"];
//! for signer in ring.signers_for("news.example.com") {
//!     assert!(signer.sign(&message, 1_790_000_000)?.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arc;
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
pub use options::{Canonicalization, Form, OVERSIGNED, SIGNED, SignerError, SignerOptions, check_identity};
pub use published::Published;
pub use record::zone_lines;
pub use rotation::{Change, Due, Heir, Schedule, Stage, Succession};
pub use signer::{SignError, Signer, sign_all};
