//! DKIM signing of outgoing mail: the keyring made from the configuration and the key successions, the signer threads, ARC seals for
//! forwarded mail, and key rotation.
//!
//! It may know `mail`, `dkim`, `route`, `message`, `queue`, `journal` and `host`. Mail of a domain with keys never goes out unsigned: a key
//! that cannot be read is an error, and a message that cannot be signed is not accepted. A next key signs only once DNS has it, and the key
//! store on disk is written before the keyring changes.

mod arc;
mod dkim;
mod error;
pub mod key_store;
pub mod keyring;
pub mod rotation;
mod settings;
mod sign;
mod threads;
pub mod watch;

pub use dkim::{Dkim, DkimKey, Signing};
pub use error::SigningError;
pub use settings::{NewResolver, Settings, StreamSigning};
pub use sign::{Signatures, Signed, Unsigned};
pub use threads::SignerThreads;
