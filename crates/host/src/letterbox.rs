//! A folder into which every user of this machine may put a file, and out of which only its owner takes one.
//!
//! Its mode is 3733. Whoever may write into it cannot list it, cannot take away or rename what others put there (sticky), and what is put there gets
//! the folder's group (setgid): by that group its owner reads the files, and nobody else does. A file appears under its name only when it is
//! complete and durable. Nothing in the folder is believed: a link is not followed, and what is no file is only renamed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, fstat, fsync, openat, renameat, statat, syncfs, unlinkat},
    io::Errno,
    process::geteuid,
};

use crate::{files::make_durable_dir, rights::within};

/// The mode of a letterbox for all users.
const FOR_ALL: u32 = 0o3733;
/// The mode of one for its owner, and for root.
const PRIVATE: u32 = 0o2700;
/// The end of the name of a file that its owner has put aside.
const ASIDE: &str = ".bad";

/// What stands under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A file, and the number of the user who put it there.
    File {
        /// What it holds.
        content: Vec<u8>,
        /// Its owner.
        uid: u32,
    },
    /// Something that is no file as [`put`] makes it: why, and whose it is.
    Unfit {
        /// For people.
        why: &'static str,
        /// Its owner.
        uid: u32,
    },
    /// Nothing any more.
    Nothing,
}

/// Makes a letterbox if there is none, or looks at the one that is there. `for_all`: every user may put something into it.
///
/// # Errors
/// It cannot be made; or what is there belongs to another user, is a link, or lets its users take away what others put there.
pub fn make(dir: &Path, for_all: bool) -> io::Result<()> {
    match fs::symlink_metadata(dir) {
        Ok(there) if !there.is_dir() => Err(io::Error::other("it is not a folder")),
        Ok(there) if there.uid() != geteuid().as_raw() => {
            Err(io::Error::other(format!("it belongs to user {}: chown it to the relay's user", there.uid())))
        }
        Ok(there) if there.mode() & 0o1002 == 0o002 => Err(io::Error::other("all may delete in it what others put there: chmod 3733")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_durable_dir(dir)?;
            let set = |mode| fs::set_permissions(dir, Permissions::from_mode(mode));
            match set(if for_all { FOR_ALL } else { PRIVATE }) {
                // A service manager may forbid to set this bit (RestrictSUIDSGID=); then root's files are not read.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !for_all => Ok(()),
                Err(error) => {
                    // Half made, it would be found good the next time.
                    let _ = fs::remove_dir(dir);
                    Err(error)
                }
                Ok(()) => Ok(()),
            }
        }
        Err(error) => Err(error),
    }
}

/// Puts a file into a letterbox under a name that nobody can foresee and that is not there yet. The file is complete and durable when this
/// returns; if it fails, nothing is left. Blocks.
pub fn put(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    within(dir, || {
        let folder = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let begun = unfinished(name);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(openat(&folder, &begun, flags, Mode::RUSR | Mode::WUSR)?);
        let filled = fill(&folder, &file, content).and_then(|()| Ok(renameat(&folder, &begun, &folder, name)?));
        filled.and_then(|()| sync(&folder, &file)).inspect_err(|_| {
            // The first error counts.
            let _ = unlinkat(&folder, &begun, AtFlags::empty());
            let _ = unlinkat(&folder, name, AtFlags::empty());
        })
    })
}

fn fill(folder: &OwnedFd, mut file: &File, content: &[u8]) -> io::Result<()> {
    let (box_, own) = (fstat(folder)?, fstat(file)?);
    if own.st_uid != box_.st_uid {
        if own.st_gid != box_.st_gid {
            return Err(io::Error::other("the folder does not hand its group on, so its owner could not read the file: chmod 3733"));
        }
        fchmod(file, Mode::RUSR | Mode::WUSR | Mode::RGRP)?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Makes the new name durable. Who may not read a folder cannot sync it alone, only all of the file system.
fn sync(folder: &OwnedFd, file: &File) -> io::Result<()> {
    match openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(folder) => fsync(&folder)?,
        Err(Errno::ACCESS) => syncfs(file)?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn unfinished(name: &str) -> String {
    format!(".{name}.new")
}

/// What a look at a letterbox shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Names of complete files, those of each user in order, the users by turns.
    pub names: Vec<String>,
    /// Whether there are more than these.
    pub has_more: bool,
}

/// Whose turn it is: the name after which each user's next ones come, so that what stays keeps nothing else back.
#[derive(Debug, Default)]
pub struct Turns(HashMap<u32, String>);

/// The names that are chosen from all that are seen, so that no more of them are kept than may be needed.
struct Choice<'t> {
    turns: &'t mut Turns,
    most: usize,
    users: BTreeMap<u32, Own>,
    seen: usize,
}

/// The first names of one user: of those whose turn it is, and of those that had theirs.
#[derive(Default)]
struct Own {
    next: BTreeSet<String>,
    again: BTreeSet<String>,
}

impl<'t> Choice<'t> {
    /// A choice of `most` names.
    fn new(turns: &'t mut Turns, most: usize) -> Self {
        Self { turns, most, users: BTreeMap::new(), seen: 0 }
    }

    fn add(&mut self, uid: u32, name: &str) {
        self.seen += 1;
        let own = self.users.entry(uid).or_default();
        let had_its_turn = self.turns.0.get(&uid).is_some_and(|last| name <= last.as_str());
        let names = if had_its_turn { &mut own.again } else { &mut own.next };
        names.insert(name.to_owned());
        if names.len() > self.most {
            names.pop_last();
        }
    }

    /// One name of each user after the other.
    fn made(self) -> Seen {
        let mut left: Vec<_> = self.users.into_iter().map(|(uid, own)| (uid, own.next.into_iter().chain(own.again))).collect();
        let mut names = Vec::new();
        self.turns.0.clear();
        while names.len() < self.most && !left.is_empty() {
            left.retain_mut(|(uid, own)| {
                let Some(name) = own.next().filter(|_| names.len() < self.most) else { return false };
                self.turns.0.insert(*uid, name.clone());
                names.push(name);
                true
            });
        }
        Seen { has_more: names.len() < self.seen, names }
    }
}

/// Looks for complete files, and chooses `most` of them at most. Files that were not finished and were last changed before `before` (seconds since
/// 1970) are deleted: their writers were killed. Blocks; the time grows with all that is there, the memory does not.
pub fn look(dir: &Path, most: usize, before: i64, turns: &mut Turns) -> io::Result<Seen> {
    let folder = open(dir)?;
    let mut choice = Choice::new(turns, most);
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.starts_with('.') {
            if name.ends_with(".new") && is_older(&folder, name, before) {
                unlinkat(&folder, name, AtFlags::empty())?;
            }
        } else if let Some(uid) = owner(&folder, name).filter(|_| !name.ends_with(ASIDE)) {
            choice.add(uid, name);
        }
    }
    Ok(choice.made())
}

/// How many complete files there are, `most` at most. Blocks.
pub fn count(dir: &Path, most: usize) -> io::Result<usize> {
    let mut count = 0;
    for entry in Dir::read_from(&open(dir)?)? {
        let entry = entry?;
        let is_complete = |name: &str| !name.starts_with('.') && !name.ends_with(ASIDE);
        count += usize::from(entry.file_name().to_str().is_ok_and(is_complete));
        if count == most {
            break;
        }
    }
    Ok(count)
}

/// How many files of each user were put aside and are still there. Blocks.
pub fn aside(dir: &Path) -> io::Result<HashMap<u32, usize>> {
    let folder = open(dir)?;
    let mut counts = HashMap::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| name.ends_with(ASIDE)) else { continue };
        if let Some(uid) = owner(&folder, name) {
            *counts.entry(uid).or_default() += 1;
        }
    }
    Ok(counts)
}

fn owner(folder: &OwnedFd, name: &str) -> Option<u32> {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_uid)
}

fn is_older(folder: &OwnedFd, name: &str, before: i64) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| stat.st_mtime < before && !FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Reads what stands under a name, if it has `most` bytes at most. Blocks.
pub fn read(dir: &Path, name: &str, most: u64) -> io::Result<Found> {
    let folder = open(dir)?;
    let seen = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(seen) => seen,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(error) => return Err(error.into()),
    };
    let unfit = |why| Ok(Found::Unfit { why, uid: seen.st_uid });
    if FileType::from_raw_mode(seen.st_mode) != FileType::RegularFile {
        return unfit("it is no file");
    }
    // A pipe in its place meanwhile would keep the reader waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(Errno::ACCESS | Errno::PERM | Errno::LOOP) => return unfit("the relay may not read it"),
        // Its owner may keep others out for a while (a lease).
        Err(error) => return Err(io::Error::new(error.kind(), format!("a file of user {}: {error}", seen.st_uid))),
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_uid != seen.st_uid {
        return unfit("it is no file");
    }
    // A second name may be one of another file, which its maker could not read.
    if stat.st_nlink != 1 {
        return unfit("it has a second name (a hard link)");
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return unfit("it is too large");
    }
    Ok(Found::File { content, uid: stat.st_uid })
}

/// Takes a file out of a letterbox for good. Durable when this returns. Blocks.
pub fn remove(dir: &Path, name: &str) -> io::Result<()> {
    let folder = open(dir)?;
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) => Ok(fsync(&folder)?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Renames what is unfit, so that it is not looked at again. Its new name begins with a word that nobody can foresee; it is returned. Blocks.
pub fn put_aside(dir: &Path, name: &str, word: &str) -> io::Result<String> {
    let (folder, aside) = (open(dir)?, format!("{word}{ASIDE}"));
    renameat(&folder, name, &folder, &aside)?;
    fsync(&folder)?;
    Ok(aside)
}

fn open(dir: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn all(dir: &Path) -> Vec<String> {
        let seen = look(dir, 100, 0, &mut Turns::default()).unwrap();
        assert_eq!(count(dir, 100).unwrap(), seen.names.len());
        seen.names
    }

    #[test]
    fn what_is_put_in_is_complete_and_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/box");
        make(&dir, true).unwrap();
        make(&dir, true).expect("it is there already");
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, FOR_ALL);
        put(&dir, "B", b"two").unwrap();
        put(&dir, "A", b"one").unwrap();
        fs::write(dir.join(".C.new"), "half").unwrap();
        assert_eq!(all(&dir), ["A", "B"]);
        let uid = geteuid().as_raw();
        assert_eq!(read(&dir, "A", 3).unwrap(), Found::File { content: b"one".to_vec(), uid });
        assert_eq!(read(&dir, "A", 2).unwrap(), Found::Unfit { why: "it is too large", uid });
        remove(&dir, "A").unwrap();
        remove(&dir, "A").expect("it is gone, as it should be");
        assert_eq!(read(&dir, "A", 9).unwrap(), Found::Nothing);
        assert_eq!(look(&dir, 100, i64::MAX, &mut Turns::default()).unwrap(), Seen { names: vec!["B".into()], has_more: false });
        assert!(!dir.join(".C.new").exists(), "its writer was killed long ago");
        assert_eq!(put_aside(&dir, "B", "X").unwrap(), "X.bad");
        assert!(all(&dir).is_empty() && dir.join("X.bad").exists());
    }

    #[test]
    fn users_take_turns_and_what_stays_keeps_nothing_back() {
        let mut turns = Turns::default();
        let mut chosen = |all: &[(u32, String)], most| {
            let mut choice = Choice::new(&mut turns, most);
            all.iter().for_each(|(uid, name)| choice.add(*uid, name));
            let Seen { names, has_more } = choice.made();
            (names.join(" "), has_more)
        };
        let mut all: Vec<(u32, String)> = (0..10_000).map(|n| (1, format!("F{n:05}"))).collect();
        all.extend([(2, "A".to_owned()), (2, "B".to_owned()), (3, "Z".to_owned())]);
        assert_eq!(chosen(&all, 6), ("F00000 A Z F00001 B F00002".into(), true));
        // All of them stayed.
        assert_eq!(chosen(&all, 5), ("F00003 A Z F00004 B".into(), true));
        all.push((2, "C".to_owned()));
        assert_eq!(chosen(&all, 3), ("F00005 C Z".into(), true), "what came since goes first");
        assert_eq!(chosen(&[(1, "F00001".to_owned())], 5), ("F00001".into(), false), "the others' turns were over");
        assert_eq!(chosen(&[], 5), (String::new(), false));
    }

    #[test]
    fn what_was_put_aside_is_counted_by_its_owner_and_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("box");
        make(&dir, true).unwrap();
        for name in ["A", "B", "C"] {
            put(&dir, name, b"one").unwrap();
        }
        put_aside(&dir, "B", "X").unwrap();
        assert_eq!(aside(&dir).unwrap(), HashMap::from([(geteuid().as_raw(), 1)]));
        assert_eq!(look(&dir, 1, 0, &mut Turns::default()).unwrap(), Seen { names: vec!["A".into()], has_more: true });
        assert_eq!((count(&dir, 1).unwrap(), count(&dir, 9).unwrap()), (1, 2));
    }

    #[test]
    fn a_private_one_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("box");
        make(&dir, false).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        put(&dir, "A", b"one").unwrap();
        assert_eq!(all(&dir), ["A"]);
    }

    #[test]
    fn a_folder_that_others_rule_is_no_letterbox() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, open, link, file) =
            (folder.path().join("theirs"), folder.path().join("open"), folder.path().join("link"), folder.path().join("file"));
        for dir in [&theirs, &open] {
            fs::create_dir(dir).unwrap();
        }
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        symlink(&theirs, &link).unwrap();
        fs::write(&file, "").unwrap();
        for dir in [&open, &link, &file] {
            assert!(make(dir, true).is_err(), "{}", dir.display());
        }
        if chown(&theirs, Some(1), Some(1)).is_ok() {
            assert!(make(&theirs, true).unwrap_err().to_string().contains("user 1"));
        }
    }

    #[test]
    fn nothing_that_is_no_plain_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("box");
        make(&dir, true).unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        symlink(&secret, dir.join("LINK")).unwrap();
        fs::hard_link(&secret, dir.join("HARD")).unwrap();
        fs::create_dir(dir.join("DIR")).unwrap();
        rustix::fs::mknodat(CWD, dir.join("PIPE"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for name in all(&dir) {
            assert!(matches!(read(&dir, &name, 100).unwrap(), Found::Unfit { .. }), "{name}");
            put_aside(&dir, &name, &format!("{name}-aside")).unwrap();
        }
        assert!(all(&dir).is_empty());
        assert_eq!(fs::read(&secret).unwrap(), b"root's");
    }

    #[test]
    fn what_another_user_puts_in_is_read_by_the_group_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let dir = folder.path().join("box");
        make(&dir, true).unwrap();
        if chown(&dir, Some(1), Some(1)).is_err() {
            return; // Only root can give folders away.
        }
        fs::set_permissions(&dir, Permissions::from_mode(FOR_ALL)).unwrap();
        // Root works in it with its owner's rights.
        put(&dir, "A", b"one").unwrap();
        assert_eq!(fs::metadata(dir.join("A")).unwrap().uid(), 1);
        assert_eq!(fs::metadata(dir.join("A")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
