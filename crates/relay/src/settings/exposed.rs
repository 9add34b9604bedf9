//! Files with secrets that more can read than need to.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use posthaste_config::{Config, Origin};

/// The most files of the data folder that are looked at: a spool may have thousands, and one is enough to tell.
const LOOKED_AT: usize = 10_000;

/// Warnings about keys, users, passwords and data that others than the relay can read; for people, one line each.
pub fn exposed(config: &Config) -> Vec<String> {
    let (mut files, mut cautions) = (secret_files(config), Vec::new());
    files.sort();
    files.dedup();
    let folders = [&config.data_dir, &config.spool.dir, &config.log.dir];
    for (what, file) in files.iter().filter(|(_, file)| !folders.iter().any(|folder| file.starts_with(folder))) {
        if let Some(mode) = wide_file(file) {
            let path = file.display();
            cautions.push(format!("{path} holds {what} and has mode {mode:04o}, so others than its owner can read it: chmod 600 {path}"));
        }
    }
    cautions.extend(config_file(config).and_then(|file| rewritable(&file)));
    let (mut left, maildrop) = (LOOKED_AT, config.sendmail.maildrop.as_deref());
    let mut told: Vec<&Path> = Vec::new();
    for folder in folders {
        // What is in the data folder was told with it.
        if told.iter().any(|other| folder.starts_with(other)) {
            continue;
        }
        if let Some((found, mode)) = wide_within(folder, maildrop, &mut left) {
            let (path, found) = (folder.display(), found.display());
            cautions.push(format!(
                "{found} has mode {mode:04o}, so others than the relay's user can get at the relay's data: chmod -R go= {path}"
            ));
        }
        told.push(folder);
    }
    cautions
}

fn secret_files(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let passwords = config.password_files.iter().map(|file| ("a password", file.clone()));
    let users = std::iter::once(("users", config.users_file.clone()));
    let dkim = config.dkim.domains.iter().flat_map(|(_, signing)| &signing.keys).map(|key| ("a DKIM key", key.file.clone()));
    let tls = config.listeners.values().flat_map(|listener| &listener.tls.certificates).chain(&config.http.tls.certificates);
    let tls = tls.map(|certificate| ("the key of a certificate", certificate.files.key.clone()));
    passwords.chain(users).chain(dkim).chain(tls).chain(own_users(config)).collect()
}

/// The configuration file itself, if it holds what users log in with.
fn own_users(config: &Config) -> Option<(&'static str, PathBuf)> {
    const PROOFS: [&str; 3] = [".password", ".scram_sha256", ".tokens"];
    let is_proof = |key: &str| key.starts_with("user.") && PROOFS.iter().any(|proof| key.ends_with(proof));
    config.lines.iter().find_map(|(key, origin)| match origin {
        Origin::File { file, .. } if is_proof(key) => Some(("users", PathBuf::from(&**file))),
        _ => None,
    })
}

/// The configuration file, if anything stands in it.
fn config_file(config: &Config) -> Option<PathBuf> {
    config.lines.iter().find_map(|(key, origin)| match origin {
        Origin::File { file, .. } if !key.starts_with("user.") => Some(PathBuf::from(&**file)),
        _ => None,
    })
}

/// Whoever can write the configuration, or put another file in its place, can do with the relay's mail and keys what he likes.
fn rewritable(file: &Path) -> Option<String> {
    const OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let (path, mode) = (file.display(), fs::metadata(file).ok()?.mode() & 0o7777);
    if mode & OTHERS != 0 {
        return Some(format!("{path} has mode {mode:04o}, so everybody on this host can change the configuration: chmod o-w {path}"));
    }
    let folder = std::path::absolute(file).ok()?.parent()?.to_owned();
    let (folder, mode) = (folder.display(), fs::metadata(&folder).ok()?.mode() & 0o7777);
    (mode & OTHERS != 0 && mode & STICKY == 0).then(|| {
        format!("{folder} has mode {mode:04o}, so everybody on this host can put another file in the place of {path}: chmod o-w {folder}")
    })
}

/// The mode of a file that others can read, or write to. A file of root's that one group can read counts as private: the group is how the relay
/// gets at it.
fn wide_file(file: &Path) -> Option<u32> {
    let meta = fs::metadata(file).ok()?;
    let private = if meta.uid() == 0 && meta.gid() != 0 { 0o740 } else { 0o700 };
    Some(meta.mode() & 0o7777).filter(|mode| mode & 0o777 & !private != 0)
}

/// The first in a folder, itself included, that has anything for others than its owner. Sockets have modes of the configuration's, and what is in
/// the maildrop is another user's.
fn wide_within(folder: &Path, maildrop: Option<&Path>, left: &mut usize) -> Option<(PathBuf, u32)> {
    let meta = fs::symlink_metadata(folder).ok()?;
    let kind = meta.file_type();
    if kind.is_symlink() || kind.is_socket() || Some(folder) == maildrop {
        return None;
    }
    if meta.mode() & 0o077 != 0 {
        return Some((folder.to_owned(), meta.mode() & 0o7777));
    }
    if !kind.is_dir() {
        return None;
    }
    let mut found: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).take(*left).collect();
    *left -= found.len();
    found.sort();
    found.iter().find_map(|path| wide_within(path, maildrop, left))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use posthaste_host::AnyAddress;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_configuration_that_others_can_change_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("posthaste.toml");
        fs::write(&file, "hostname = \"mx1.example.com\"\n").unwrap();
        let config = Config::parse("hostname = \"mx1.example.com\"\n", &file.display().to_string(), &AnyAddress).unwrap();
        let told = |mode: u32, folder: u32| {
            set(&file, mode);
            set(dir.path(), folder);
            exposed(&config).into_iter().any(|told| told.contains("everybody on this host") && told.contains("chmod o-w"))
        };
        assert!(told(0o666, 0o755) && told(0o602, 0o755) && told(0o644, 0o777));
        assert!(!told(0o664, 0o755) && !told(0o644, 0o1777));
        set(dir.path(), 0o700);
    }

    #[test]
    fn a_file_that_others_can_read_is_told_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        set(&data, 0o700);
        let text = format!("data_dir = {:?}\nusers_file = {:?}\n", data, dir.path().join("users.toml"));
        let config = Config::parse(&text, "posthaste.toml", &AnyAddress).unwrap();
        assert_eq!(exposed(&config), Vec::<String>::new());
        let (users, inside) = (&config.users_file, data.join("spool/segments"));
        fs::write(users, "").unwrap();
        fs::create_dir(data.join("spool")).unwrap();
        fs::write(&inside, "").unwrap();
        for (path, private, wide) in [(users, 0o600, [0o604, 0o640, 0o620]), (&inside, 0o600, [0o601, 0o640, 0o602])] {
            set(&data.join("spool"), 0o700);
            set(users, 0o600);
            set(&inside, 0o600);
            for mode in wide {
                set(path, mode);
                let told = exposed(&config);
                assert!(told.len() == 1 && told[0].contains(&format!("{} ", path.display())) && told[0].contains("chmod"), "{told:?}");
            }
            set(path, private);
            assert_eq!(exposed(&config), Vec::<String>::new());
        }
        set(&data, 0o750);
        assert!(exposed(&config)[0].ends_with(&format!("chmod -R go= {}", data.display())));
    }
}
