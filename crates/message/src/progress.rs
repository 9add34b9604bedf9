//! The progress of a message's delivery: the part of it that changes in the spool.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// One recipient's state as the spool keeps it: position in the envelope, attempts, due (ms since 1970), held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRecipient(pub u16, pub u16, pub i64, pub bool);

/// The part of a message that changes in the spool: its queued recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The recipients that are still queued.
    #[serde(rename = "owed")]
    pub recipients: Vec<SavedRecipient>,
    /// The sender has been told that it is late (RFC 2852).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_late: bool,
    /// From when its age counts, in milliseconds since 1970, if the guard held it and it was released then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<i64>,
    /// Those of them that wait because a smart host refuses the relay's login, by the key of their site.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logins: BTreeMap<Arc<str>, Vec<u16>>,
}

impl Progress {
    /// These recipients are queued, and nothing else is known of them.
    pub fn of(recipients: Vec<SavedRecipient>) -> Self {
        Self { recipients, ..Self::default() }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_recipients_keep_their_key() {
        let stored = r#"{"owed":[[0,2,1800000000000,false]],"told_late":true}"#;
        let progress = Progress::decode(stored.as_bytes()).unwrap();
        assert_eq!(
            progress,
            Progress { recipients: vec![SavedRecipient(0, 2, 1_800_000_000_000, false)], told_late: true, ..Progress::default() }
        );
        assert_eq!(progress.encode(), stored.as_bytes());
        let waits = r#"{"owed":[[0,2,1800000000000,false]],"logins":{"smart.example:587|user":[0]}}"#;
        let progress = Progress::decode(waits.as_bytes()).unwrap();
        assert_eq!((progress.logins.len(), progress.encode()), (1, waits.as_bytes().to_vec()));
    }
}
