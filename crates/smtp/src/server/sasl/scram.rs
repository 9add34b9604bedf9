//! SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677): client and server prove to each other that they know the password, without sending it.

use aws_lc_rs::{
    constant_time, digest,
    hmac::{self, HMAC_SHA256, Key},
    pbkdf2,
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::prepare;
use crate::server::Bindings;

/// The server's part of the nonce: random bytes from the system, fresh each time.
pub type Nonce = [u8; 18];

/// What a server stores of a password (RFC 5802 §3): enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// At least 16 random bytes.
    pub salt: Vec<u8>,
    /// Iterations of PBKDF2; RFC 7677 §4 asks for at least 4096.
    pub iterations: u32,
    /// The hash of the client key.
    pub stored_key: [u8; 32],
    /// The key of the server's signature.
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramKeys {
    /// Derives the keys of a password. Slow by design: some milliseconds.
    ///
    /// # Panics
    /// If `iterations` is 0.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let rounds = std::num::NonZeroU32::new(iterations).expect("PBKDF2 has at least one round");
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, prepare(password).as_bytes(), &mut salted);
        let key = Key::new(HMAC_SHA256, &salted);
        let stored_key = sha256(hmac::sign(&key, b"Client Key").as_ref());
        Self { salt: salt.to_vec(), iterations, stored_key, server_key: tag(&key, b"Server Key") }
    }

    /// Keys for an unknown user, with a salt of this many bytes: the same each time, so that a second login does not reveal that the user is unknown, and valid for no
    /// password.
    pub fn decoy(secret: &[u8], user: &str, iterations: u32, salt: usize) -> Self {
        let key = Key::new(HMAC_SHA256, secret);
        let made_up = |what: &str| tag(&key, format!("{what}\0{user}").as_bytes());
        let (stored_key, server_key) = (made_up("stored"), made_up("server"));
        let salt = (0..).flat_map(|part| made_up(&format!("salt{part}"))).take(salt).collect();
        Self { salt, iterations, stored_key, server_key }
    }
}

/// The state before the client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Opening {
    /// Whether the client chose -PLUS.
    pub(super) plus: bool,
    /// Whether it was announced.
    pub(super) announced_plus: bool,
}

/// The state after the client's first message: the keys are needed.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct First {
    user: String,
    client_nonce: String,
    /// `n=user,r=nonce` as received.
    bare: String,
    /// What the client's last message has to repeat: its GS2 header and channel binding.
    bound: Vec<u8>,
}

/// The state after the server's challenge.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Second {
    first: First,
    nonce: String,
    challenge: String,
    keys: ScramKeys,
}

impl Opening {
    /// Parses `gs2-header n=user,r=nonce` (RFC 5802 §7); Err says what is wrong with it.
    pub(super) fn hear(&self, message: &[u8], tls: Option<&Bindings>) -> Result<First, &'static str> {
        let text = str::from_utf8(message).map_err(|_| "SCRAM is UTF-8")?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("SCRAM begins with a GS2 header");
        };
        let header = &text[..text.len() - bare.len()];
        let mut bound = header.as_bytes().to_vec();
        bound.extend(self.binding(flag, tls)?);
        let (user, rest) = bare.split_once(',').ok_or("SCRAM has a user and a nonce")?;
        let user = user.strip_prefix("n=").and_then(name).ok_or("SCRAM has a user, written as RFC 5802 says")?;
        // "m=" in place of the user would demand an extension; what follows the nonce may be ignored.
        let nonce = rest.split(',').next().and_then(|r| r.strip_prefix("r=")).filter(|r| !r.is_empty());
        let client_nonce = nonce.ok_or("SCRAM has a nonce")?.to_owned();
        if !client_nonce.bytes().all(|b| matches!(b, 0x21..=0x7e)) {
            return Err("a nonce is printable");
        }
        let acts_for = if authzid.is_empty() { None } else { Some(authzid.strip_prefix("a=").and_then(name).ok_or("a= and a name")?) };
        if acts_for.is_some_and(|other| other != user) {
            return Err("nobody may act for another here");
        }
        let user = prepare(&user).into_owned();
        Ok(First { user, client_nonce, bare: bare.to_owned(), bound })
    }

    /// The channel binding that the client chose (RFC 5802 §6).
    fn binding(&self, flag: &str, tls: Option<&Bindings>) -> Result<Vec<u8>, &'static str> {
        match flag {
            "n" if !self.plus => Ok(Vec::new()),
            // The client supports -PLUS but believes that the server does not: someone removed it from the EHLO reply.
            "y" if !self.plus && self.announced_plus => Err("SCRAM-SHA-256-PLUS was offered"),
            "y" if !self.plus => Ok(Vec::new()),
            "p=tls-exporter" if self.plus => tls.and_then(|t| t.exporter).map(|e| e.to_vec()).ok_or("this connection has no tls-exporter"),
            "p=tls-server-end-point" if self.plus => {
                tls.and_then(|t| t.server_end_point.clone()).ok_or("this connection has no tls-server-end-point")
            }
            _ if self.plus => Err("bind to tls-exporter or tls-server-end-point"),
            _ => Err("a GS2 header begins with n or y"),
        }
    }
}

impl First {
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The next state, and the challenge to send.
    pub(super) fn keys(self, keys: &ScramKeys, nonce: &Nonce) -> (Second, Vec<u8>) {
        let nonce = format!("{}{}", self.client_nonce, STANDARD.encode(nonce));
        let challenge = format!("r={nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        let said = challenge.clone().into_bytes();
        (Second { first: self, nonce, challenge, keys: keys.clone() }, said)
    }
}

impl Second {
    pub(super) fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks `c=binding,r=nonce,p=proof`: the server's signature if the proof is valid, None if not; Err says what is wrong with the
    /// message.
    pub(super) fn hear(&self, message: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
        let text = str::from_utf8(message).map_err(|_| "SCRAM is UTF-8")?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or("SCRAM ends with a proof")?;
        let proof = STANDARD.decode(proof).map_err(|_| "a proof is base64")?;
        let mut parts = without_proof.split(',');
        let bound = parts.next().and_then(|c| c.strip_prefix("c=")).and_then(|c| STANDARD.decode(c).ok());
        let nonce = parts.next().and_then(|r| r.strip_prefix("r=")).ok_or("SCRAM repeats the nonce")?;
        let bound = bound.ok_or("SCRAM repeats its binding")?;
        if nonce != self.nonce || bound != self.first.bound {
            return Ok(None);
        }
        let signed = format!("{},{},{without_proof}", self.first.bare, self.challenge);
        let client_signature = tag(&Key::new(HMAC_SHA256, &self.keys.stored_key), signed.as_bytes());
        if proof.len() != client_signature.len() {
            return Ok(None);
        }
        let client_key: Vec<u8> = proof.iter().zip(client_signature).map(|(p, s)| p ^ s).collect();
        let holds = constant_time::verify_slices_are_equal(&sha256(&client_key), &self.keys.stored_key).is_ok();
        let signature = tag(&Key::new(HMAC_SHA256, &self.keys.server_key), signed.as_bytes());
        Ok(holds.then(|| format!("v={}", STANDARD.encode(signature)).into_bytes()))
    }
}

/// Decodes a name (RFC 5802 §5.1): `=2C` and `=3D` stand for a comma and an equals sign; any other `=` is an error.
pub(super) fn name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        name.push(c);
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

fn tag(key: &Key, message: &[u8]) -> [u8; 32] {
    hmac::sign(key, message).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests;
