//! What a login gets that names no user: the same each time, also after a restart, and of the form that a user's would have. Otherwise two
//! questions would tell who is a user.

use std::{collections::BTreeMap, fmt, io, path::Path};

use aws_lc_rs::hmac;
use posthaste_host::files;
use posthaste_smtp::server::sasl::ScramKeys;

use super::{PasswordHash, Users, scram};

/// Makes keys for names that nobody has.
#[derive(Clone)]
pub struct Decoys {
    secret: [u8; 32],
}

impl fmt::Debug for Decoys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoys(…)")
    }
}

impl Decoys {
    /// Decoys that depend on this secret.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// Takes the secret in `path`; a missing file is made, with mode 0600 and a new secret. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no secret: a new one is not made then, because names that were asked for before would change.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        let text = match files::read_text(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let digits: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
                match files::create(path, format!("{HEAD}{digits}\n").as_bytes()) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => files::read_text(path)?,
                }
            }
            // Other bytes are no secret either.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            read => read?,
        };
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let why = "it holds no secret of 64 hexadecimal digits; delete it to have a new one made";
        line.and_then(parse).map(Self::new).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// SCRAM keys that no proof fits. Salt and iterations are as long and as many as those of some user: users' keys may come from elsewhere.
    pub(super) fn scram(&self, users: &Users, name: &str) -> ScramKeys {
        let mut shapes: BTreeMap<(u32, usize), u64> = BTreeMap::new();
        for keys in users.iter().filter_map(|user| user.scram.as_ref()) {
            *shapes.entry((keys.iterations, keys.salt.len())).or_default() += 1;
        }
        // Each shape gets its part of all names, so that few names change theirs when a user comes or goes.
        let all = shapes.values().sum::<u64>().max(1);
        let mut at = u64::try_from((u128::from(self.number("shape", name)) * u128::from(all)) >> 64).expect("below `all`");
        let mut chosen = (scram::ROUNDS, scram::SALT);
        for (shape, count) in shapes {
            if at < count {
                chosen = shape;
                break;
            }
            at -= count;
        }
        ScramKeys::decoy(&self.secret, name, chosen.0, chosen.1)
    }

    /// The hash of some user's, so that checking it takes as long; None if no user has one.
    pub(super) fn password<'u>(&self, users: &'u Users, name: &str) -> Option<&'u PasswordHash> {
        let hashes: Vec<&PasswordHash> = users.iter().filter_map(|user| user.password.as_ref()).collect();
        let all = hashes.len().max(1) as u64;
        let at = usize::try_from(self.number("hash", name) % all).expect("below the number of users");
        hashes.get(at).copied()
    }

    fn number(&self, what: &str, name: &str) -> u64 {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), format!("{what}\0{name}").as_bytes());
        u64::from_be_bytes(tag.as_ref()[..8].try_into().expect("HMAC-SHA-256 has 32 bytes"))
    }
}

fn parse(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

const HEAD: &str = "# Hides who is a user: logins of unknown names are answered by it. Keep it, and tell it to nobody.\n";

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::users::{
        User,
        testing::{user, users},
    };

    #[test]
    fn a_name_gets_the_same_decoy_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scram.secret");
        let nobody = users([]);
        let first = Decoys::load_or_create(&path).unwrap().scram(&nobody, "nobody");
        assert_eq!(Decoys::load_or_create(&path).unwrap().scram(&nobody, "nobody"), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Decoys::load_or_create(&dir.path().join("other")).unwrap();
        assert_ne!(other.scram(&nobody, "nobody").salt, first.salt, "another relay has another secret");
        fs::write(&path, format!("{HEAD}abc\n")).unwrap();
        assert!(Decoys::load_or_create(&path).unwrap_err().to_string().contains("delete it"));
    }

    #[test]
    fn a_decoy_has_the_form_of_some_users_keys() {
        let decoys = Decoys::new([7; 32]);
        let with = |name: &str, salt: usize, iterations| {
            let keys = ScramKeys { salt: vec![1; salt], iterations, stored_key: [0; 32], server_key: [0; 32] };
            User { scram: Some(keys), ..user(name) }
        };
        let shape = |users: &Users, name: &str| {
            let keys = decoys.scram(users, name);
            (keys.salt.len(), keys.iterations)
        };
        assert_eq!(shape(&users([]), "x"), (scram::SALT, scram::ROUNDS));
        let imported = users([with("a", 64, 4096), with("b", 64, 4096)]);
        let mixed = users([with("a", 64, 4096), with("b", 12, 10_000), with("c", 64, 4096)]);
        let names: Vec<String> = (0..300).map(|n| format!("name{n}")).collect();
        assert!(names.iter().all(|name| shape(&imported, name) == (64, 4096)));
        let long = names.iter().filter(|name| shape(&mixed, name) == (64, 4096)).count();
        assert!((150..250).contains(&long) && names.iter().all(|name| [(64, 4096), (12, 10_000)].contains(&shape(&mixed, name))), "{long}");
        let salts: std::collections::BTreeSet<_> = names.iter().map(|name| decoys.scram(&imported, name).salt).collect();
        assert_eq!(salts.len(), 300);
        assert!(salts.iter().all(|salt| salt[..32] != salt[32..]), "a salt that repeats itself would stand out");
    }
}
