//! Reverse-paths that prove themselves: a returning mail says by the address it comes to which message and recipient it is about.
//!
//! It knows the nouns of `mail` and nothing else. Nobody without the secret can make a reverse-path that opens, nor use the one of a message that he
//! got for another recipient.

mod secret;
mod verp;

pub use secret::{Secret, SecretError, load_or_create};
pub use verp::{Opened, Token, Verp, VerpError};
