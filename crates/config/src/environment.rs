//! The machine and the folder that a configuration is read in.

use std::{
    cell::RefCell,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use posthaste_host::Host;
use posthaste_mail::{Domain, Name, Secret};

use super::{
    document::unread,
    reader::{Item, Parsed, fault},
    value::string,
};

/// The environment in which a configuration is read: the machine, and the folder of its files.
pub(super) struct Environment<'h> {
    pub(super) host: &'h dyn Host,
    pub(super) folder: &'h Path,
    /// The files with passwords that were read.
    pub(super) secrets: RefCell<Vec<PathBuf>>,
}

impl Environment<'_> {
    /// The path of a file that the configuration names.
    pub(super) fn path(&self, named: &str) -> PathBuf {
        self.folder.join(named)
    }

    /// This machine's name, if it is valid in mail.
    pub(super) fn hostname(&self) -> Domain {
        Domain::new(&self.host.name()).or_else(|_| Domain::new("localhost")).expect("localhost is a domain")
    }

    /// A name for events.
    pub(super) fn node(&self, hostname: &Domain) -> Name {
        let name = self.host.name();
        let usable = [name.as_str(), hostname.as_str()].into_iter().find_map(|n| Name::new(n).ok());
        usable.or_else(|| Name::new("localhost").ok()).expect("localhost is a name")
    }

    /// The first line of a file that the configuration names.
    pub(super) fn secret(&self, item: Item<'_>) -> Parsed<Secret> {
        let (path, content) = self.text_file(item)?;
        match content.lines().next() {
            Some(secret) if !secret.is_empty() => {
                self.secrets.borrow_mut().push(path);
                Ok(Secret::new(secret))
            }
            _ => fault(item, format!("{} has no password in its first line", path.display())),
        }
    }

    /// A file that the configuration names, with its contents.
    pub(super) fn text_file(&self, item: Item<'_>) -> Parsed<(PathBuf, String)> {
        let path = self.path(string(item)?);
        match self.host.read(&path).map(String::from_utf8) {
            Ok(Ok(content)) => Ok((path, content)),
            Ok(Err(_)) => fault(item, format!("{} is not UTF-8", path.display())),
            Err(error) => unread(item, format!("cannot read {}: {}", path.display(), why(&path, &error))),
        }
    }
}

/// The error with what usually mends it.
fn why(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let me = posthaste_host::rights::own_uid();
            let owner = std::fs::metadata(path).ok().map(|file| file.uid());
            let path = path.display();
            match owner {
                Some(owner) if owner == me => format!("{error}; it is yours, and its mode keeps you out: chmod 600 {path}"),
                Some(owner) => format!(
                    "{error}; it belongs to user {owner}, and this is user {me}: run this as the relay's user or as root; if user {me} is the relay's, \
                     chown the file to it, and chmod 600 {path}"
                ),
                None => {
                    format!("{error}; user {me} may not enter its folder: run this as the relay's user or as root, which may read its keys")
                }
            }
        }
        _ => error.to_string(),
    }
}
