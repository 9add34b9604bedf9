//! Texts that a page carries and nobody who sees it may read: the place in a list of addresses, for those who may not see addresses.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

/// Seals texts and opens them again, for as long as the relay runs.
pub(crate) struct Seal(RandomizedNonceKey);

impl Seal {
    /// A seal of its own.
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("the system has randomness");
        Self(RandomizedNonceKey::new(&AES_256_GCM, &key).expect("32 bytes are a key"))
    }

    /// The text, sealed.
    pub(crate) fn close(&self, text: &str) -> String {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut sealed).expect("a place in a list is short");
        BASE64_URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// The text that was sealed; None: this seal closed no such text.
    pub(crate) fn open(&self, sealed: &str) -> Option<String> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let (nonce, mut text) = (Nonce::try_assume_unique_for_key(nonce).ok()?, text.to_vec());
        let text = self.0.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_opened_by_its_seal_alone() {
        let (seal, text) = (Seal::new(), "suppressed/75/u1@bad.test\0global");
        let sealed = seal.close(text);
        assert_eq!(seal.open(&sealed).as_deref(), Some(text));
        assert_eq!(Seal::new().open(&sealed), None);
        assert!(!BASE64_URL_SAFE_NO_PAD.decode(&sealed).unwrap().windows(4).any(|part| part == b"u1@b"));
        for broken in ["", "AAAA", &sealed[1..], "not base64 at all"] {
            assert_eq!(seal.open(broken), None, "{broken}");
        }
    }
}
