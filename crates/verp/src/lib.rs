//! Signed reverse-paths (VERP): the address to which a returning mail is sent tells which message and recipient it is about.
//!
//! It may know `mail`, `message` and `host`. Nobody without the secret can make a valid reverse-path, nor use one that he received in a
//! message for another recipient, nor make one of the code that stands in the message's header.

mod paths;
mod secret;
mod verp;

/// The name of the header field with the code.
pub use posthaste_message::RETURN_FIELD;

pub use paths::{PathRules, ReturnMarks, ReversePaths, Stamped, Unwanted};
pub use secret::{SecretError, VerpSecret, load_or_create};
pub use verp::{FIELD_CODE, OpenedPath, PathToken, Verp, VerpError};
