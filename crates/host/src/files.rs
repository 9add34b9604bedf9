//! Small private files that must be complete after a crash: keys, certificates, users, and what is known about them.
//!
//! New content is first written to a file with a random name that nobody can have made before, in a folder that is open; so no link is followed
//! and no file of others is opened. In folders of others, root works with their rights ([`crate::rights`]).

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fchmod, fchown, fstat, linkat, openat, renameat, statat, unlinkat};
use rustix::process::{Gid, Uid};

use crate::rights::{along, are_borrowed, within};

/// Makes every file and folder that this process creates private to its user, also those that libraries create. What others are to read gets
/// its mode afterwards.
pub fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Creates a folder that only its owner can read (mode 0700), with those above it, if it does not exist.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    within(dir, || fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir))
}

/// Like [`make_dir`], durably: a power cut may otherwise take the name of a new folder, and with it all that is in it.
pub fn make_durable_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    make_dir(dir)?;
    missing.into_iter().rev().try_for_each(|path| File::open(folder_of(path))?.sync_all())
}

/// Reads a file whole. Root reads in a folder of others only what its owner may read. Blocks.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Like [`read`], for text in UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8"))
}

/// Opens a file to read it, as [`read`] does.
pub fn open(path: &Path) -> io::Result<File> {
    along(path, || {
        if !are_borrowed() {
            return File::open(path);
        }
        // A pipe that nobody writes to would keep root waiting for ever.
        let file = fs::OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
    })
}

/// Opens a file to be locked, and creates it (mode 0600) if it does not exist. A link in its place is an error.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let open = || fs::OpenOptions::new().create(true).truncate(false).write(true).mode(PRIVATE_FILE).custom_flags(flags).open(path);
    within(folder_of(path), open)
}

/// Creates a file (mode 0600) in an existing folder. Its content is durable when this returns; a crash in between leaves no partial file
/// under this name. Blocks.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if the file exists, which is never overwritten: of two writers the first wins.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = name_of(path)?;
    within(folder_of(path), || {
        let folder = Folder::open(folder_of(path))?;
        let new = folder.new_file(name)?;
        // A link, unlike a rename, replaces nothing.
        let linked = new.fill(content).and_then(|()| Ok(linkat(&folder.0, &new.name, &folder.0, name, AtFlags::empty())?));
        let removed = folder.remove(&new.name);
        linked.and(removed)?;
        folder.sync()
    })
}

/// Replaces a file (mode 0600), and creates its folder (mode 0700) if that is missing. The new content is durable when this returns; after
/// a crash in between the file holds either the old or the new content. If it fails, nothing is left over. Blocks.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    put(path, content, Keep::Nothing)
}

/// Like [`replace`], for a file that commands write too: it keeps the owner, the group and what the group may do, or gets the owner and group
/// of the folder, so that the relay can read what root wrote.
pub fn replace_and_keep_owner(path: &Path, content: &[u8]) -> io::Result<()> {
    put(path, content, Keep::Owner)
}

/// What a new file keeps of the one that it replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    Owner,
}

fn put(path: &Path, content: &[u8], keep: Keep) -> io::Result<()> {
    let name = name_of(path)?;
    make_dir(folder_of(path))?;
    let (folder, new, like) = within(folder_of(path), || {
        let folder = Folder::open(folder_of(path))?;
        let like = match keep {
            Keep::Nothing => None,
            Keep::Owner => Some(folder.old(name)?.map_or_else(|| folder.stat(), Ok)?),
        };
        let new = folder.new_file(name)?;
        Ok((folder, new, like))
    })?;
    // The file is new and ours, so it can be given away without the risk that it is another one.
    let owned = like.map_or(Ok(()), |like| new.give(&like));
    within(folder_of(path), || {
        let put = owned.and_then(|()| new.fill(content)).and_then(|()| Ok(renameat(&folder.0, &new.name, &folder.0, name)?));
        // The first error counts; a file that is left over does no harm.
        put.inspect_err(|_| drop(folder.remove(&new.name)))?;
        folder.sync()
    })
}

/// A folder that stays the same one whatever becomes of its path.
struct Folder(OwnedFd);

/// A file under a name of its own, in the same folder as the one that it becomes.
struct NewFile {
    file: File,
    name: OsString,
}

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::open(path)?.into()))
    }

    /// The regular file of this name, if there is one.
    fn old(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat).filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn stat(&self) -> io::Result<Stat> {
        let mut stat = fstat(&self.0)?;
        // What a folder lets others do says nothing about its files.
        stat.st_mode = PRIVATE_FILE;
        Ok(stat)
    }

    fn new_file(&self, name: &OsStr) -> io::Result<NewFile> {
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(".{:016x}.new", random()?));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, &beside, flags, Mode::from_raw_mode(PRIVATE_FILE))?);
        fchmod(&file, Mode::from_raw_mode(PRIVATE_FILE))?;
        Ok(NewFile { file, name: beside })
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.0.as_fd())?)
    }
}

impl NewFile {
    fn fill(&self, content: &[u8]) -> io::Result<()> {
        (&self.file).write_all(content)?;
        self.file.sync_all()
    }

    /// Gives the file to the owner and group of another, whose group may do the same with it.
    fn give(&self, like: &Stat) -> io::Result<()> {
        let own = fstat(&self.file)?;
        if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid) {
            fchown(&self.file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
        }
        // What all could read, nobody meant for the group.
        let group = if like.st_mode & OTHERS == 0 { like.st_mode & GROUP_FILE } else { 0 };
        Ok(fchmod(&self.file, Mode::from_raw_mode(group | PRIVATE_FILE))?)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name_of(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Bytes that nobody can foresee.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
/// What a kept file may let its group do.
const GROUP_FILE: u32 = 0o060;
const OTHERS: u32 = 0o007;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

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

    #[test]
    fn what_others_placed_in_the_folder_is_neither_followed_nor_opened() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (theirs, victim) = (folder.path().join("theirs"), folder.path().join("victim"));
        fs::create_dir(&theirs).unwrap();
        fs::write(&victim, "root's").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let roots = folder.path().join("root");
        fs::create_dir(&roots).unwrap();
        symlink(&roots, theirs.join("sub")).unwrap();
        let is_root = chown(&theirs, Some(1), Some(1)).is_ok();
        for name in ["users.toml", "users.toml.new", "keys.json.new"] {
            symlink(&victim, theirs.join(name)).unwrap();
        }
        symlink(&victim, theirs.join(format!("users.toml.new-{}", std::process::id()))).unwrap();
        for write in [replace, replace_and_keep_owner] {
            write(&theirs.join("users.toml"), b"new").unwrap();
            write(&theirs.join("keys.json"), b"new").unwrap();
        }
        assert!(open_lock(&theirs.join("keys.json.new")).is_err());
        assert!(create(&theirs.join("keys.json.new"), b"new").is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"root's");
        if is_root {
            assert_eq!(fs::metadata(theirs.join("users.toml")).unwrap().uid(), 1);
            assert!(read(&theirs.join("keys.json.new")).is_err(), "a link to what its maker may not read");
            assert!(replace(&theirs.join("sub/keys.json"), b"new").is_err(), "a link in place of a folder");
            assert!(create(&theirs.join("sub/s1.pem"), b"new").is_err());
            assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);
            let pipe = theirs.join("pipe");
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            chown(&pipe, Some(1), Some(1)).unwrap();
            assert!(read(&pipe).is_err(), "and nobody waits at a pipe");
        }
    }

    #[test]
    fn a_replaced_file_keeps_what_its_group_may_do_and_others_may_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o775)).unwrap();
        let path = folder.path().join("users.toml");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        replace_and_keep_owner(&path, b"one").unwrap();
        assert_eq!(mode(), 0o600, "the folder's mode is not the file's");
        for (old, new) in [(0o4750, 0o640), (0o660, 0o660), (0o644, 0o600), (0o400, 0o600)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(old)).unwrap();
            replace_and_keep_owner(&path, b"two").unwrap();
            assert_eq!(mode(), new);
        }
        replace(&path, b"three").unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn new_folders_are_private() {
        let folder = tempfile::tempdir().unwrap();
        make_durable_dir(&folder.path().join("a/b")).unwrap();
        for path in ["a", "a/b"] {
            assert_eq!(fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
