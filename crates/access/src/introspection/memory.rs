//! Remembers valid tokens for a while, as keyed hashes whose key never leaves this process; the tokens themselves are not kept.
//!
//! Wrong tokens are not remembered: a client that guesses sends another one each time, and is slowed down and shut out as for passwords.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;

/// Tokens remembered at once.
const REMEMBERED_MAX: usize = 4096;

/// The keyed hash of a token.
pub(super) type Key = [u8; 32];

/// The owners of valid tokens.
#[derive(Debug)]
pub(super) struct Memory {
    secret: [u8; 32],
    right: HashMap<Key, (Arc<str>, Instant)>,
}

impl Memory {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, right: HashMap::new() }
    }

    pub(super) fn key(&self, token: &str) -> Key {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), token.as_bytes());
        tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// The owner of a token that was found valid not long ago.
    pub(super) fn owner(&self, key: &Key, now: Instant) -> Option<Arc<str>> {
        self.right.get(key).filter(|(_, until)| *until > now).map(|(user, _)| user.clone())
    }

    /// Remembers a valid token for the time `lasts`.
    pub(super) fn keep(&mut self, key: Key, user: Arc<str>, lasts: Duration, now: Instant) {
        if self.right.len() >= REMEMBERED_MAX {
            self.right.retain(|_, (_, until)| *until > now);
        }
        if self.right.len() < REMEMBERED_MAX && !lasts.is_zero() {
            self.right.insert(key, (user, now + lasts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_host::clock;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_remembered_so_long_and_no_longer() {
        let (mut memory, now) = (Memory::new([1; 32]), clock::instant());
        let (key, other) = (memory.key("token"), memory.key("other"));
        memory.keep(key, "app".into(), MINUTE, now);
        memory.keep(other, "app".into(), Duration::ZERO, now);
        assert_eq!(memory.owner(&key, now + MINUTE - Duration::from_millis(1)).as_deref(), Some("app"));
        assert_eq!(memory.owner(&key, now + MINUTE), None);
        assert_eq!(memory.owner(&other, now), None);
        assert_ne!(key, Memory::new([2; 32]).key("token"), "no other process could find it");
        assert!(!format!("{memory:?}").contains("token"));
    }

    #[test]
    fn the_memory_has_a_bound_and_makes_room_by_forgetting_what_is_over() {
        let (mut memory, now) = (Memory::new([1; 32]), clock::instant());
        for n in 0..=REMEMBERED_MAX {
            memory.keep(memory.key(&n.to_string()), "app".into(), MINUTE, now);
        }
        assert_eq!(memory.right.len(), REMEMBERED_MAX);
        let late = memory.key("late");
        memory.keep(late, "app".into(), MINUTE, now + MINUTE);
        assert_eq!((memory.right.len(), memory.owner(&late, now + MINUTE).is_some()), (1, true));
    }
}
