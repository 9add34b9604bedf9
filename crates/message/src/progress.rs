//! The progress of a message's delivery: the part of it that changes in the spool.

use serde::{Deserialize, Serialize};

/// One recipient's state as the spool keeps it: position in the envelope, attempts, due (ms since 1970), held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRecipient(pub u16, pub u16, pub i64, pub bool);

/// The part of a message that changes in the spool: its queued recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The recipients that are still queued.
    pub owed: Vec<SavedRecipient>,
    /// The sender has been told that it is late (RFC 2852).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_late: bool,
}

impl Progress {
    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a progress has nothing that JSON can't hold")
    }

    /// From the spool.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
