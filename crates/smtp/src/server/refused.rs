//! What a session is told by whoever judges its mail.

use super::Answer;

/// A refusal: what the client is told, and why in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reply, with its enhanced status code.
    pub answer: Answer,
    /// The `reason` of the `rejected` event, `bad_sender` for one: a word that can be counted.
    pub reason: &'static str,
}

impl Refused {
    /// Says `answer` to the client and `reason` in the log.
    pub fn new(answer: Answer, reason: &'static str) -> Self {
        Self { answer, reason }
    }
}
