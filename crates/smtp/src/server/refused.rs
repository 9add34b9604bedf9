//! What a session is told by whoever judges its mail.

use super::Answer;

/// A refusal: what the client is told, and the word for the log.
pub type Refused = (Answer, &'static str);
