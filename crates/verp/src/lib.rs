//! Reverse-paths that prove themselves: a returning mail says by the address it comes to which message and recipient it is about.
//!
//! It may know `mail`, `message` and `host`. Nobody without the secret can make a reverse-path that opens, nor use the one of a message that he
//! got for another recipient.

mod paths;
mod secret;
mod verp;

pub use paths::{PathRules, Paths, Stamped, Unwanted};
pub use secret::{Secret, SecretError, load_or_create};
pub use verp::{OpenedPath, Token, Verp, VerpError};
