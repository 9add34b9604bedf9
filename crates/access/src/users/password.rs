//! Passwords as argon2id hashes (RFC 9106), in the PHC string format, which other programs use too.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use posthaste_smtp::server::sasl::prepare;

/// The longest password that is checked, in bytes. Longer ones are refused without the cost of a hash.
pub const PASSWORD_MAX: usize = 1024;
/// Memory that a hash may demand, in KiB; several are checked at once.
const MEMORY_MAX: u32 = 256 << 10;
/// The least memory that is reserved for a hash, in bytes. glibc maps what is larger than 32 MiB apart from its heap and unmaps it when it is
/// freed. A hash's 19 MiB it would keep, in a heap of each thread that ever made one: some 100 MiB after 60 logins. Only the memory that a
/// hash writes to is ever taken from the system.
const RESERVED_MIN: usize = 33 << 20;
/// Passes over the memory that a hash may demand.
const PASSES_MAX: u32 = 16;

/// A password's hash with its salt and its cost. Debug output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

/// Why a hash is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It is something else, such as a password in the clear or a hash of another scheme.
    #[error("not an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$SALT$HASH); `posthaste user passwd NAME` makes one")]
    Shape,
    /// Checking it would cost the relay too much.
    #[error("too costly to check: at most m={MEMORY_MAX} (KiB) and t={PASSES_MAX}")]
    Cost,
}

impl PasswordHash {
    /// Makes a hash with a fresh salt, at the cost that OWASP and the crate's authors recommend (19 MiB, two passes). Takes some 20 ms.
    pub fn of(password: &str) -> Self {
        // Sessions prepare passwords the same way (RFC 4616 §2).
        Self::with(&prepare(password), Params::default())
    }

    fn with(password: &str, params: Params) -> Self {
        let salt = Salt::new(&rand::random::<[u8; 16]>()).expect("a salt of 16 bytes is a good one");
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).expect("our own parameters are short"),
            salt: Some(salt),
            hash: compute(&Argon2::new(Algorithm::Argon2id, Version::V0x13, params), password, &salt),
        };
        Self(hash.to_string().into())
    }

    /// Parses the form used in files.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| HashError::Shape)?;
        let whole = hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some();
        let params = Params::try_from(&hash).ok().filter(|_| whole).ok_or(HashError::Shape)?;
        if params.m_cost() > MEMORY_MAX || params.t_cost() > PASSES_MAX {
            return Err(HashError::Cost);
        }
        Ok(Self(text.into()))
    }

    /// Whether this is the password. Blocks for as long as the hash takes.
    pub fn fits(&self, password: &str) -> bool {
        let hash = phc::PasswordHash::new(&self.0).expect("checked when it was read");
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from);
        let (Ok(params), Ok(version), Some(salt), Some(right)) = (Params::try_from(&hash), version, hash.salt, hash.hash) else {
            return false;
        };
        // Outputs are compared in constant time.
        compute(&Argon2::new(Algorithm::Argon2id, version, params), password, &salt).is_some_and(|output| output == right)
    }

    /// The form used in files.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash of the lowest cost, for tests.
    #[cfg(test)]
    pub(crate) fn cheap(password: &str) -> Self {
        Self::with(password, Params::new(Params::MIN_M_COST, 1, 1, None).unwrap())
    }
}

/// Computes a hash in memory that goes back to the system. None: the parameters ask for an output of a length that there is none of.
fn compute(argon2: &Argon2<'_>, password: &str, salt: &Salt) -> Option<Output> {
    let (blocks, reserved) = (argon2.params().block_count(), RESERVED_MIN / Block::SIZE);
    let mut memory = Vec::with_capacity(blocks.max(reserved));
    memory.resize(blocks, Block::new());
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut memory).ok()?;
    Output::new(output).ok()
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits_its_hash() {
        let hash = PasswordHash::cheap("pencil");
        assert!(hash.fits("pencil") && !hash.fits("Pencil") && !hash.fits("") && !hash.fits("pencil\0"));
        assert_ne!(hash, PasswordHash::cheap("pencil"), "each has a salt of its own");
        assert_eq!(PasswordHash::parse(hash.as_str()), Ok(hash));
    }

    #[test]
    fn a_new_hash_costs_what_is_recommended() {
        assert!(PasswordHash::of("pencil").as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    /// From the test vectors of the reference implementation (argon2id, version 0x13, two passes over 64 MiB).
    #[test]
    fn hashes_of_the_reference_implementation_are_understood() {
        let hash = PasswordHash::parse("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc").unwrap();
        assert!(hash.fits("password") && !hash.fits("passwort"));
    }

    #[test]
    fn other_texts_are_refused() {
        let salt_only = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ";
        for bad in
            ["", "pencil", salt_only, "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", "$2b$12$xyz"]
        {
            assert_eq!(PasswordHash::parse(bad), Err(HashError::Shape), "{bad:?}");
        }
        let costly = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(PasswordHash::parse(costly), Err(HashError::Cost));
    }
}
