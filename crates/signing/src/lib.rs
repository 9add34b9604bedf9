//! In whose name mail goes out: the keyring that the configuration and the keys' succession make, the threads that sign, seals for forwarded mail, and
//! the change from one key to the next.
//!
//! It may know `mail`, `dkim`, `route`, `message`, `queue`, `journal` and `host`. Nothing of a domain with keys goes out unsigned: a key that cannot be
//! read is an error, and a message that cannot be signed is not accepted. A next key signs only once DNS has it, and the key store on disk is written
//! before the keyring changes.

mod arc;
mod dkim;
pub mod key_store;
pub mod keyring;
pub mod rotation;
mod settings;
mod sign;
mod threads;
pub mod watch;

pub use dkim::{Dkim, DkimKey, Signing};
pub use settings::{NewResolver, Settings, StreamSigning};
pub use sign::{Signatures, Unsigned};
pub use threads::SignerThreads;
