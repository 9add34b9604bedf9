//! The files of an authority: `data_dir/acme/AUTHORITY/`, with the account and a file for each certificate. Each authority has its own
//! folder, so that a trial leaves nothing behind for the real one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use instant_acme::AccountCredentials;
use posthaste_host::files;
use serde::{Deserialize, Serialize};

use crate::{AcmeNames, PairFiles};

/// The folder of one authority.
#[derive(Debug, Clone)]
pub struct AcmeStore {
    dir: PathBuf,
}

/// The account with an authority. Its key is among the credentials.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount {
    /// The contact addresses that the authority knows.
    pub(super) contact: Vec<String>,
    pub(super) credentials: AccountCredentials,
}

impl AcmeStore {
    /// The folder below `data_dir` of the authority with this directory URL.
    pub fn new(data_dir: &Path, directory: &str) -> Self {
        Self { dir: data_dir.join("acme").join(folder(directory)) }
    }

    /// The file of a certificate. The key is in the same file, so that neither is ever read without the other.
    pub fn files(&self, names: &AcmeNames) -> PairFiles {
        let path = self.dir.join(file(names));
        PairFiles { certificate: path.clone(), key: path }
    }

    /// Writes a certificate with its key. Blocks, like all methods that follow.
    pub(super) fn keep(&self, names: &AcmeNames, pem: &str) -> io::Result<()> {
        files::replace(&self.dir.join(file(names)), pem.as_bytes())
    }

    /// The stored account, if any.
    pub(super) fn account(&self) -> io::Result<Option<StoredAccount>> {
        match files::read(&self.dir.join(ACCOUNT)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the account.
    pub(super) fn keep_account(&self, account: &StoredAccount) -> io::Result<()> {
        files::replace(&self.dir.join(ACCOUNT), &serde_json::to_vec_pretty(account)?)
    }

    /// Replaces the contact addresses of the stored account.
    pub(super) fn keep_contact(&self, contact: Vec<String>) -> io::Result<()> {
        self.account()?.map_or(Ok(()), |account| self.keep_account(&StoredAccount { contact, ..account }))
    }

    /// Sets aside an account that the authority no longer knows. The next order makes a new one.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::rename(self.dir.join(ACCOUNT), self.dir.join("account.json.old"))
    }
}

/// The name of an authority's folder: its URL, with `-` for characters that are awkward in file names.
fn folder(directory: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c.to_ascii_lowercase() } else { '-' };
    let text: String = directory.trim_start_matches("https://").chars().map(plain).take(NAME_MAX).collect();
    text.trim_matches(['-', '.']).to_owned()
}

/// The name of a certificate's file: its first name, for people, and a digest of all names.
fn file(names: &AcmeNames) -> String {
    let all = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let first: String = all.split(' ').next().unwrap_or_default().chars().take(NAME_MAX).collect();
    let mark: String = digest(&SHA256, all.as_bytes()).as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{first}-{mark}.pem")
}

const ACCOUNT: &str = "account.json";
/// Bytes of a name that are used in a file name, which may have 255.
const NAME_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use posthaste_mail::Domain;

    use super::*;

    fn names(texts: &[&str]) -> AcmeNames {
        texts.iter().map(|text| Domain::new(text).unwrap()).collect()
    }

    #[test]
    fn each_authority_has_a_folder_and_each_set_of_names_a_file() {
        assert_eq!(folder("https://acme-v02.api.letsencrypt.org/directory"), "acme-v02.api.letsencrypt.org-directory");
        assert_eq!(folder("https://CA.example.com:14000/dir/../x?y"), "ca.example.com-14000-dir-..-x-y");
        assert_eq!(folder("https://../"), "");
        let (one, two) = (file(&names(&["a.test"])), file(&names(&["b.test", "a.test"])));
        assert!(one.starts_with("a.test-") && two.starts_with("a.test-") && one != two, "{one} {two}");
        assert_eq!(two, file(&names(&["a.test", "b.test"])), "their order is nothing");
        let long = format!("{}.test", ["a".repeat(60).as_str(); 4].join("."));
        assert!(file(&names(&[&long])).len() < 240);
    }

    #[test]
    fn what_is_kept_is_for_nobody_elses_eyes_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = AcmeStore { dir: dir.path().join("acme/ca") };
        let names = names(&["a.test"]);
        for text in ["one", "two"] {
            store.keep(&names, text).unwrap();
            let path = store.files(&names).certificate;
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&store.dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&store.dir).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn an_account_is_kept_until_it_is_forgotten_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = AcmeStore { dir: dir.path().to_owned() };
        assert!(store.account().unwrap().is_none());
        let credentials = serde_json::json!({ "id": "https://ca.test/account/1", "key_pkcs8": "AAAA", "directory": "https://ca.test/dir" });
        let kept = serde_json::json!({ "contact": ["mailto:a@a.test"], "credentials": credentials });
        store.keep_account(&serde_json::from_value(kept).unwrap()).unwrap();
        assert_eq!(store.account().unwrap().unwrap().contact, ["mailto:a@a.test"]);
        store.forget_account().unwrap();
        assert!(store.account().unwrap().is_none());
        fs::write(dir.path().join(ACCOUNT), "{").unwrap();
        assert!(store.account().is_err());
    }
}
