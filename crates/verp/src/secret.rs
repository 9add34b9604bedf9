//! The secrets that sign reverse-paths, in a file of their own: one per line, 64 hexadecimal digits, the newest first.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::hmac;
use posthaste_host::files;

/// 32 random bytes; debug output hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct VerpSecret([u8; 32]);

impl VerpSecret {
    /// Takes the bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// What tells it from others and does not give it away.
    pub fn mark(&self) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), b"posthaste: which secret this is");
        tag.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let digits = line.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 || !line.is_ascii() {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            *byte = u8::try_from(digit(2 * i)? << 4 | digit(2 * i + 1)?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for VerpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerpSecret(…)")
    }
}

/// Why secrets cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or made.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// `read` or `make`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no secret.
    #[error("{path}:{line}: not 64 hexadecimal digits")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The file is empty. No new secret is made then, because it would invalidate the reverse-paths of mail under way.
    #[error(
        "{0} holds no secret: put it back if you have a copy, because bounces of mail under way are recognised by it; delete it to have a new one \
         made"
    )]
    Empty(PathBuf),
}

/// Loads the secrets in `path`, the signing one first. A missing file is made, with mode 0600 and a new secret.
pub fn load_or_create(path: &Path) -> Result<Vec<VerpSecret>, SecretError> {
    let failed = |what| move |source| SecretError::Io { what, path: path.to_owned(), source };
    match files::read_text(path) {
        Ok(text) => read(path, &text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(path).map_err(failed("make"))?;
            read(path, &files::read_text(path).map_err(failed("read"))?)
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(SecretError::Empty(path.to_owned())),
        Err(e) => Err(failed("read")(e)),
    }
}

fn read(path: &Path, text: &str) -> Result<Vec<VerpSecret>, SecretError> {
    let mut secrets = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            secrets.push(VerpSecret::read(line).ok_or_else(|| SecretError::Line { path: path.to_owned(), line: i + 1 })?);
        }
    }
    if secrets.is_empty() { Err(SecretError::Empty(path.to_owned())) } else { Ok(secrets) }
}

/// Writes a new secret. A file that another process made meanwhile stands.
fn create(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::make_durable_dir(folder)?;
    let text = format!("# Signs the reverse-paths of mail under way. A new secret goes above the old ones.\n{digits}\n");
    match files::create(path, text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_nobody_elses_eyes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("secret");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_ne!(load_or_create(&dir.path().join("other")).unwrap(), made);
        assert_eq!(format!("{made:?}"), "[VerpSecret(…)]");
    }

    #[test]
    fn the_first_line_signs_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, format!("# two\n{}\n\n{}\n", "0A".repeat(32), "ff".repeat(32))).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), [VerpSecret::new([10; 32]), VerpSecret::new([255; 32])]);
        fs::write(&path, "# one\nabc\n").unwrap();
        assert!(matches!(load_or_create(&path), Err(SecretError::Line { line: 2, .. })));
        for none in ["\n".as_bytes(), b"\xff\xfe"] {
            fs::write(&path, none).unwrap();
            assert!(matches!(load_or_create(&path), Err(SecretError::Empty(_))));
        }
        assert_ne!(VerpSecret::new([1; 32]).mark(), VerpSecret::new([2; 32]).mark());
    }
}
