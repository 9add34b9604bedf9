//! The file of users that `posthaste user` writes: the same tables as in the configuration, in a file of their own because a program
//! changes them.

use std::{
    io,
    path::{Path, PathBuf},
};

use posthaste_host::files;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

/// How a new file begins.
const HEAD: &str = "# Users who may send. `posthaste user` writes this file; what you write here by hand is kept.\n";

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml_edit::TomlError>,
    },
    /// `user` is not a table of tables.
    #[error("{0}: user is not a table")]
    Shape(PathBuf),
}

/// The file, read to be changed. Everything else in it is kept, comments too.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    document: DocumentMut,
    is_new: bool,
}

impl UsersFile {
    /// Reads the file; a missing file counts as empty.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (text, is_new) = match files::read_text(path) {
            Ok(text) => (text, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), true),
            Err(source) => return Err(FileError::Io { what: "read", path: path.to_owned(), source }),
        };
        let parsed = text.parse::<DocumentMut>();
        let document = parsed.map_err(|error| FileError::Syntax { path: path.to_owned(), source: Box::new(error) })?;
        if document.get("user").is_some_and(|item| item.as_table_like().is_none()) {
            return Err(FileError::Shape(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), document, is_new })
    }

    /// Whether it holds this user.
    pub fn has(&self, name: &str) -> bool {
        self.user(name).is_some()
    }

    /// Sets a key of a user and adds the user if missing; None removes the key.
    pub fn set(&mut self, name: &str, key: &str, value: Option<Value>) -> Result<(), FileError> {
        let users = self.document.entry("user").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let shape = || FileError::Shape(self.path.clone());
        let users = users.as_table_like_mut().ok_or_else(shape)?;
        let user = users.entry(name).or_insert_with(|| Item::Table(Table::new())).as_table_like_mut().ok_or_else(shape)?;
        match value {
            Some(value) => drop(user.insert(key, Item::Value(value))),
            None => drop(user.remove(key)),
        }
        Ok(())
    }

    /// Replaces a list of a user.
    pub fn set_list(&mut self, name: &str, key: &str, texts: &[&str]) -> Result<(), FileError> {
        self.set(name, key, Some(texts.iter().copied().collect::<Array>().into()))
    }

    /// Adds a text to a list of a user.
    pub fn push(&mut self, name: &str, key: &str, text: &str) -> Result<(), FileError> {
        let mut list = self.user(name).and_then(|user| user.get(key)).and_then(Item::as_array).cloned().unwrap_or_default();
        list.push(text);
        self.set(name, key, Some(list.into()))
    }

    /// Removes a user; false if there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        self.document.get_mut("user").and_then(Item::as_table_like_mut).is_some_and(|users| users.remove(name).is_some())
    }

    /// Replaces the file atomically, for its owner and group alone; they stay those of the old file, or become the folder's, so that the relay can read what root
    /// wrote.
    pub fn save(&self) -> Result<(), FileError> {
        let head = if self.is_new { HEAD } else { "" };
        let text = format!("{head}{}", self.document);
        let write = |source| FileError::Io { what: "write", path: self.path.clone(), source };
        files::replace_and_keep_owner(&self.path, text.as_bytes()).map_err(write)
    }

    fn user(&self, name: &str) -> Option<&dyn TableLike> {
        self.document.get("user")?.as_table_like()?.get(name)?.as_table_like()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/users.toml");
        (folder, path)
    }

    #[test]
    fn a_user_is_written_and_found_again_and_the_file_is_ours_alone() {
        let (_folder, path) = file();
        let mut users = UsersFile::open(&path).unwrap();
        assert!(!users.has("news@example.com"));
        users.set("news@example.com", "password", Some("x".into())).unwrap();
        users.push("news@example.com", "tokens", "one").unwrap();
        users.push("news@example.com", "tokens", "two").unwrap();
        users.save().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{HEAD}[user.\"news@example.com\"]\npassword = \"x\"\ntokens = [\"one\", \"two\"]\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
        assert!(UsersFile::open(&path).unwrap().has("news@example.com"));
    }

    #[test]
    fn what_was_written_by_hand_stays() {
        let (_folder, path) = file();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "# ours\n[user.app] # the shop\nsenders = [\"example.com\"] # only these\n\n[user.web]\n").unwrap();
        let mut users = UsersFile::open(&path).unwrap();
        users.set("app", "password", Some("x".into())).unwrap();
        assert!(users.remove("web") && !users.remove("web"));
        users.save().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# ours\n[user.app] # the shop\nsenders = [\"example.com\"] # only these\npassword = \"x\"\n");
    }

    #[test]
    fn a_file_that_is_not_one_is_left_alone() {
        let (_folder, path) = file();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for bad in ["user = 1\n", "[user\n"] {
            fs::write(&path, bad).unwrap();
            assert!(UsersFile::open(&path).is_err(), "{bad:?}");
        }
        fs::write(&path, "user.app = 1\n").unwrap();
        assert!(UsersFile::open(&path).unwrap().set("app", "password", None).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "user.app = 1\n");
    }
}
