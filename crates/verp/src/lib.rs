//! Signed reverse-paths (VERP): the address to which a returning mail is sent tells which message and recipient it is about.
//!
//! It may know `mail`, `message` and `host`. Nobody without the secret can make a valid reverse-path, nor use one that he received in a
//! message for another recipient.

mod paths;
mod secret;
mod verp;

pub use paths::{PathRules, ReversePaths, Stamped, Unwanted};
pub use secret::{SecretError, VerpSecret, load_or_create};
pub use verp::{OpenedPath, PathToken, Verp, VerpError};
