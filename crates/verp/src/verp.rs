//! Signed reverse-paths: `b+<56 letters and digits>@bounce.example.org` tells which message and recipient a returning mail is about and
//! until when it is valid, and proves that this relay made it.
//!
//! The 56 characters are base32 of 35 bytes: the message's id (16), the recipient's index in the envelope (2), the hour of expiry (3),
//! a keyed tag of the recipient's address (4), and the first 80 bits of an HMAC-SHA256 over all of it with prefix and domain. They are
//! letters and digits of one case because some mail systems change the case of local parts, and they fit RFC 5321's 64 bytes.
//!
//! The tag binds the address: anybody who receives a message knows its reverse-path, and could otherwise report somebody else's address
//! with it.
//!
//! A message carries such a code in its header too. Whoever gets the message passed on reads that one, so it is of another kind: its HMAC
//! has another label, and it is no part of any address that takes mail.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use jiff::Timestamp;
use posthaste_mail::{Address, Domain, MessageId};

use crate::secret::VerpSecret;

/// Makes and opens the reverse-paths of one domain and prefix.
#[derive(Clone, Debug)]
pub struct Verp {
    /// The first one signs; all verify.
    keys: Vec<hmac::Key>,
    domain: Domain,
    /// In lower case.
    prefix: Box<str>,
}

/// The contents of a reverse-path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathToken {
    /// The message.
    pub message: MessageId,
    /// The recipient's index in its envelope.
    pub rcpt: u16,
    /// When it expires.
    pub expires: Timestamp,
    tag: [u8; TAG],
    key: usize,
}

/// What a code serves for. A code of one kind is nothing as the other.
#[derive(Clone, Copy, Debug)]
enum CodeKind {
    /// The local part of a reverse-path, which the hosts of a delivery are told.
    ReversePath,
    /// The value of the header field, which everybody sees who ever gets the message.
    HeaderField,
}

impl CodeKind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::ReversePath => b"posthaste reverse-path 1\0",
            Self::HeaderField => b"posthaste return-field 1\0",
        }
    }
}

/// The outcome of opening an address or the code of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedPath {
    /// Made by this relay and not expired.
    Valid(PathToken),
    /// Made by this relay, but expired.
    Expired(PathToken),
    /// It looks like ours, but its signature is wrong.
    Forged,
    /// The domain or the prefix is another.
    NotOurs,
}

/// Why reverse-paths cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerpError {
    /// The prefix has other characters or exceeds the room that RFC 5321 §4.5.3.1.1 leaves.
    #[error("{0:?} is no prefix: 1 to {PREFIX_MAX} letters, digits or '-', not beginning or ending in '-'")]
    Prefix(String),
    /// The path would be too long (RFC 5321 §4.5.3.1.3), or the domain is an address literal.
    #[error("{0} is too long for a bounce domain, or an address literal")]
    Domain(Domain),
    /// There is no secret.
    #[error("no secret to sign with")]
    NoSecret,
}

impl Verp {
    /// The first secret signs; the others are old ones that still verify.
    pub fn new(secrets: &[VerpSecret], domain: Domain, prefix: &str) -> Result<Self, VerpError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if prefix.is_empty() || prefix.len() > PREFIX_MAX || !prefix.bytes().all(fits) || prefix.starts_with('-') || prefix.ends_with('-') {
            return Err(VerpError::Prefix(prefix.chars().take(64).collect()));
        }
        if domain.literal().is_some() || domain.as_str().len() > DOMAIN_MAX {
            return Err(VerpError::Domain(domain));
        }
        let keys: Vec<_> = secrets.iter().map(|s| hmac::Key::new(hmac::HMAC_SHA256, s.reveal())).collect();
        if keys.is_empty() {
            return Err(VerpError::NoSecret);
        }
        Ok(Self { keys, domain, prefix: prefix.to_ascii_lowercase().into() })
    }

    /// The domain to which mail returns.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Makes the reverse-path of a message towards the recipient `to`, at index `rcpt` of its envelope. `expires` is rounded up to a whole
    /// hour.
    pub fn address(&self, message: MessageId, rcpt: u16, to: &Address, expires: Timestamp) -> Address {
        let code = self.code(CodeKind::ReversePath, message, rcpt, to, expires);
        let text = format!("{}+{code}@{}", self.prefix, self.domain);
        Address::new(&text).expect("prefix, base32 and a domain of bounded length make an address")
    }

    /// Makes the code for the header field of the same message: [`FIELD_CODE`] letters and digits, which are no address.
    pub fn field(&self, message: MessageId, rcpt: u16, to: &Address, expires: Timestamp) -> String {
        self.code(CodeKind::HeaderField, message, rcpt, to, expires)
    }

    fn code(&self, kind: CodeKind, message: MessageId, rcpt: u16, to: &Address, expires: Timestamp) -> String {
        let hours = expires.as_second().max(0).div_euclid(HOUR) + i64::from(expires.as_second().rem_euclid(HOUR) > 0);
        let hours = u32::try_from(hours).unwrap_or(u32::MAX).min(HOURS_MAX);
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&message.to_bytes());
        bytes[16..18].copy_from_slice(&rcpt.to_be_bytes());
        bytes[18..21].copy_from_slice(&hours.to_be_bytes()[1..]);
        bytes[21..SIGNED].copy_from_slice(&tag(&self.keys[0], message, to));
        let mac = self.mac(kind, &self.keys[0], &bytes[..SIGNED]);
        bytes[SIGNED..].copy_from_slice(&mac);
        base32(&bytes)
    }

    /// Opens an address and verifies it.
    pub fn open(&self, address: &Address, now: Timestamp) -> OpenedPath {
        if address.domain() != self.domain.as_str() {
            return OpenedPath::NotOurs;
        }
        let Some((prefix, code)) = address.local().split_once('+') else { return OpenedPath::NotOurs };
        if !prefix.eq_ignore_ascii_case(&self.prefix) {
            return OpenedPath::NotOurs;
        }
        self.opened(CodeKind::ReversePath, code, now)
    }

    /// Opens the code of a header field and verifies it. Never [`OpenedPath::NotOurs`]: a code names no domain.
    pub fn open_field(&self, code: &str, now: Timestamp) -> OpenedPath {
        self.opened(CodeKind::HeaderField, code, now)
    }

    fn opened(&self, kind: CodeKind, code: &str, now: Timestamp) -> OpenedPath {
        match unbase32(code).and_then(|bytes| self.token(kind, &bytes)) {
            Some(token) if token.expires > now => OpenedPath::Valid(token),
            Some(token) => OpenedPath::Expired(token),
            None => OpenedPath::Forged,
        }
    }

    /// Whether the token was made for this recipient. Case is ignored.
    pub fn is_for(&self, token: &PathToken, address: &Address) -> bool {
        self.keys.get(token.key).is_some_and(|key| verify_slices_are_equal(&tag(key, token.message, address), &token.tag).is_ok())
    }

    fn token(&self, kind: CodeKind, bytes: &[u8; BYTES]) -> Option<PathToken> {
        let (signed, mac) = bytes.split_at(SIGNED);
        let key = self.keys.iter().position(|key| verify_slices_are_equal(&self.mac(kind, key, signed), mac).is_ok())?;
        let (message, rest) = signed.split_first_chunk::<16>()?;
        let hours = i64::from(u32::from_be_bytes([0, rest[2], rest[3], rest[4]]));
        Some(PathToken {
            message: MessageId::from_bytes(*message),
            rcpt: u16::from_be_bytes([rest[0], rest[1]]),
            expires: Timestamp::from_second(hours * HOUR).ok()?,
            tag: rest[5..].try_into().ok()?,
            key,
        })
    }

    fn mac(&self, kind: CodeKind, key: &hmac::Key, signed: &[u8]) -> [u8; MAC] {
        let mut context = hmac::Context::with_key(key);
        for part in [kind.label(), self.prefix.as_bytes(), b"@", self.domain.as_str().as_bytes(), b"\0", signed] {
            context.update(part);
        }
        first(&context.sign())
    }
}

fn tag(key: &hmac::Key, message: MessageId, to: &Address) -> [u8; TAG] {
    let mut context = hmac::Context::with_key(key);
    context.update(b"posthaste recipient 1\0");
    context.update(&message.to_bytes());
    context.update(to.folded().as_bytes());
    first(&context.sign())
}

fn first<const N: usize>(tag: &hmac::Tag) -> [u8; N] {
    std::array::from_fn(|i| tag.as_ref()[i])
}

/// RFC 4648 §6 in lower case, without padding: 35 bytes are 56 characters with no bit over.
fn base32(bytes: &[u8; BYTES]) -> String {
    let mut out = String::with_capacity(CODE);
    for five in bytes.chunks_exact(5) {
        let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        out.extend((0..8).rev().map(|i| char::from(ALPHABET[(bits >> (5 * i)) as usize & 31])));
    }
    out
}

fn unbase32(code: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    if code.len() != CODE {
        return None;
    }
    for (eight, five) in code.as_bytes().chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
        let mut bits = 0u64;
        for character in eight {
            let value = match character.to_ascii_lowercase() {
                letter @ b'a'..=b'z' => letter - b'a',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const TAG: usize = 4;
/// RFC 2104 §5 asks for at least half of the hash and at least 80 bits. A guess can be tried only against this relay, so 80 bits suffice.
const MAC: usize = 10;
const SIGNED: usize = 16 + 2 + 3 + TAG;
const BYTES: usize = SIGNED + MAC;
const CODE: usize = BYTES / 5 * 8;
/// The letters and digits of a header field's code.
pub const FIELD_CODE: usize = CODE;
/// The bytes that RFC 5321's 64 leave beside the code and the plus.
const PREFIX_MAX: usize = 64 - CODE - 1;
/// The bytes that RFC 5321's 254 leave beside the local part and '@'.
const DOMAIN_MAX: usize = 254 - 64 - 1;
const HOUR: i64 = 3600;
const HOURS_MAX: u32 = (1 << 24) - 1;

#[cfg(test)]
mod tests;
