//! Small private files that must be complete after a crash: keys, certificates, users, and what is known about them.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

/// Creates a folder that only its owner can read (mode 0700), if it does not exist.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Creates a file (mode 0600) in an existing folder. Its content is durable when this returns; a crash in between leaves no partial file
/// under this name. Blocks.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if the file exists, which is never overwritten: of two writers the first wins.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = folder_of(path);
    let new = beside(path);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    // A link, unlike a rename, replaces nothing.
    let linked = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&new, path));
    let removed = fs::remove_file(&new);
    linked.and(removed)?;
    File::open(dir)?.sync_all()
}

/// Creates a folder with those above it, if they do not exist, durably: a power cut may otherwise take the name of a new folder, and with it
/// all that is in it.
pub fn make_durable_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(dir)?;
    let parent = |path: &Path| path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    missing.into_iter().rev().try_for_each(|path| File::open(parent(path))?.sync_all())
}

/// Replaces a file (mode 0600), and creates its folder (mode 0700) if that is missing. The new content is durable when this returns; after
/// a crash in between the file holds either the old or the new content. Blocks.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_dir(dir)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    put(path, dir, new.as_ref(), None, content)
}

/// Like [`replace`], for a file that commands write too: it keeps the owner and group of the old file, or gets those of the folder, so that
/// the relay can read what root wrote. A missing folder gets the usual mode. If it fails, nothing is left over.
pub fn replace_and_keep_owner(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = folder_of(path);
    fs::create_dir_all(dir)?;
    let new = beside(path);
    let owner = fs::metadata(path).or_else(|_| fs::metadata(dir))?;
    put(path, dir, &new, Some(&owner), content).inspect_err(|_| {
        // The first error counts; a file that is left over does no harm.
        let _ = fs::remove_file(&new);
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The temporary file for a file's new content. Two commands that run at the same time do not write into each other's.
fn beside(path: &Path) -> PathBuf {
    path.with_added_extension(format!("new-{}", std::process::id()))
}

/// Writes `new`, and renames it to `path` once it is durable.
fn put(path: &Path, dir: &Path, new: &Path, owner: Option<&Metadata>, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(new)?;
    if let Some(owner) = owner {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_owner_and_a_new_one_gets_that_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        let owner = |path: &Path| fs::metadata(path).map(|file| (file.uid(), file.gid())).unwrap();
        // Only root can give files away; for others both are their own.
        let _ = chown(folder.path(), Some(1), Some(2));
        replace_and_keep_owner(&path, b"one").unwrap();
        assert_eq!(owner(&path), owner(folder.path()));
        let _ = chown(&path, Some(3), Some(4));
        let before = owner(&path);
        replace_and_keep_owner(&path, b"two").unwrap();
        assert_eq!((owner(&path), fs::read(&path).unwrap()), (before, b"two".to_vec()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_file_is_created_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s1.pem");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        // A folder in its place cannot be replaced by a file.
        fs::create_dir(&path).unwrap();
        assert!(replace_and_keep_owner(&path, b"one").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }
}
