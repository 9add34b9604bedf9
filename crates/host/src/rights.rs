//! With whose rights files are opened. A program that root runs does nothing for which it would need root's rights in a folder of somebody else:
//! who may write there could place a link to any file of root's. So root takes the rights of whoever has that folder in hand, for one step
//! ([`along`], [`within`]) or for good ([`take_owners_rights`]).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use rustix::{
    process::{Gid, Uid, geteuid, getgroups, getuid},
    thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

/// A user who is not root, with the groups of that user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Owner {
    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Whoever has `path` in hand: the first on the way to it who is not root and owns a folder or a link. None: only root can change what
    /// this path leads to.
    fn of(path: &Path, end: End) -> io::Result<Option<Self>> {
        let (is_mapped, end) = (Mapped::read(), end == End::Folder);
        let mut left: Vec<OsString> = parts(&std::path::absolute(path)?);
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let found = match fs::symlink_metadata(&next) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let (is_link, is_last) = (found.is_symlink(), left.is_empty());
            if found.uid() != 0 && (is_link || !is_last || end) && is_mapped.holds(found.uid()) {
                return Ok(Some(Self::new(found.uid(), found.gid())));
            }
            if is_link {
                links += 1;
                if links > LINKS_MAX {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(parts(&target));
            } else {
                at = next;
            }
        }
        Ok(None)
    }

    /// The user with this number who owns something of this group.
    fn new(uid: u32, group: u32) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (passwd, groups) = (read("/etc/passwd"), read("/etc/group"));
        let (name, usual) = entry(&passwd, uid).unzip();
        // Root's group is no group of the owner's because root forgot to give the folder another one.
        let gid = [Some(group), usual].into_iter().flatten().find(|gid| *gid != 0).unwrap_or(NOGROUP);
        let more = name.map(|name| groups_of(&groups, name)).unwrap_or_default();
        let groups = [gid].into_iter().chain(usual).chain(more).filter(|gid| *gid != 0).map(Gid::from_raw).collect();
        Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups }
    }
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A file, whose own owner does not count: only those who can put another one in its place.
    File,
    /// A folder in which something is to be done.
    Folder,
}

/// Opens a file with the rights of whoever has its path in hand, if root runs this program: a link of theirs leads root only to where they could
/// go themselves. For any other user, `act` is simply called. Blocks.
///
/// # Errors
/// Those of `act`, or that the rights cannot be taken.
pub fn along<T>(file: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    with_rights(file, End::File, act)
}

/// Like [`along`], for what is done in a folder that is not to be followed further.
pub fn within<T>(folder: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    with_rights(folder, End::Folder, act)
}

fn with_rights<T>(path: &Path, end: End, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !geteuid().is_root() {
        return act();
    }
    match Owner::of(path, end)? {
        None => act(),
        Some(owner) => {
            let _theirs = Borrowed::take(&owner)?;
            act()
        }
    }
}

/// Whether this thread works with rights that root took for one step.
pub(crate) fn are_borrowed() -> bool {
    getuid().is_root() && !geteuid().is_root()
}

/// The user as whom this process works, by number.
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

/// Takes for good the rights of whoever has one of these paths in hand, if root runs this program and root does not own them all; returns who
/// that is. The right to open ports below 1024 is kept. To be called before there are other threads.
///
/// # Errors
/// The paths are in the hands of different users, or the rights cannot be taken.
pub fn take_owners_rights(paths: &[&Path]) -> io::Result<Option<Owner>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let mut found: Option<Owner> = None;
    for path in paths {
        let Some(owner) = Owner::of(path, End::Folder)? else { continue };
        match &found {
            Some(other) if other.uid != owner.uid => {
                let (a, b) = (other.uid(), owner.uid());
                let text =
                    format!("{} belongs to user {b} and another folder of the relay to user {a}: give both to one user", path.display());
                return Err(io::Error::other(text));
            }
            _ => found = found.or(Some(owner)),
        }
    }
    if let Some(owner) = &found {
        set_keep_capabilities(true)?;
        set_thread_groups(&owner.groups)?;
        set_thread_res_gid(owner.gid, owner.gid, owner.gid)?;
        set_thread_res_uid(owner.uid, owner.uid, owner.uid)?;
        set_keep_capabilities(false)?;
        // A container may have taken this one from root already; then the others go all the same.
        let kept = |kept| set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() });
        kept(CapabilitySet::NET_BIND_SERVICE).or_else(|_| kept(CapabilitySet::empty()))?;
    }
    Ok(found)
}

/// The owner's rights, until this is dropped. They are this thread's alone.
struct Borrowed {
    groups: Vec<Gid>,
    gid: Gid,
}

impl Borrowed {
    fn take(owner: &Owner) -> io::Result<Self> {
        let own = Self { groups: getgroups()?, gid: rustix::process::getegid() };
        set_thread_groups(&owner.groups)?;
        set_thread_res_gid(None, owner.gid, None)?;
        set_thread_res_uid(None, owner.uid, None)?;
        Ok(own)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let own = set_thread_res_uid(None, Uid::ROOT, None).and_then(|()| set_thread_res_gid(None, self.gid, None));
        own.and_then(|()| set_thread_groups(&self.groups)).expect("root, who lent its rights, gets them back");
    }
}

/// The users whom root can be: in a container of a simple kind, not those outside of it. Over their files root has no power there.
struct Mapped(String);

impl Mapped {
    fn read() -> Self {
        Self(fs::read_to_string("/proc/self/uid_map").unwrap_or_default())
    }

    fn holds(&self, uid: u32) -> bool {
        let within = |line: &str| {
            let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
            let (first, _, count) = (numbers.next().unwrap_or(0), numbers.next(), numbers.next().unwrap_or(0));
            (first..first.saturating_add(count)).contains(&uid.into())
        };
        self.0.is_empty() || self.0.lines().any(within)
    }
}

/// A path's parts, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir).then(|| part.as_os_str().to_owned());
    path.components().rev().filter_map(named).collect()
}

/// The name and the group of a user in /etc/passwd.
fn entry(passwd: &str, uid: u32) -> Option<(&str, u32)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, group, ..] = fields[..] else { return None };
        (number.parse() == Ok(uid)).then(|| group.parse().ok().map(|group| (name, group)))?
    })
}

/// The groups in /etc/group that list a user.
fn groups_of(groups: &str, user: &str) -> Vec<u32> {
    let listed = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, members] = fields[..] else { return None };
        members.split(',').any(|member| member == user).then(|| number.parse().ok())?
    };
    groups.lines().filter_map(listed).collect()
}

/// As many links as the kernel follows in a path.
const LINKS_MAX: usize = 40;
/// The group of nobody's, on every Linux.
const NOGROUP: u32 = 65_534;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn whoever_owns_a_folder_or_a_link_on_the_way_has_the_path_in_hand() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path();
        fs::create_dir_all(own.join("theirs/deep")).unwrap();
        fs::write(own.join("theirs/deep/file"), "").unwrap();
        symlink("theirs/deep", own.join("way")).unwrap();
        if chown(own.join("theirs"), Some(1), Some(2)).is_err() {
            return; // Only root can give folders away, and only root takes rights.
        }
        let owner = |path: &str| Owner::of(&own.join(path), End::File).unwrap().map(|owner| (owner.uid(), owner.gid.as_raw()));
        assert_eq!(owner("file"), None);
        assert_eq!(owner("theirs"), None, "what the path names is not on the way");
        assert!(Owner::of(&own.join("theirs"), End::Folder).unwrap().is_some(), "unless something is done in it");
        for path in ["theirs/new", "theirs/deep/file", "way/file", "way/../deep/file", "theirs/x/../y"] {
            assert_eq!(owner(path), Some((1, 2)), "{path}");
        }
        // A link of theirs in a folder of root's, as in /tmp.
        symlink("/etc/hostname", own.join("link")).unwrap();
        assert_eq!(owner("link"), None);
        std::os::unix::fs::lchown(own.join("link"), Some(3), Some(0)).unwrap();
        assert_eq!(owner("link").map(|(uid, gid)| (uid, gid != 0)), Some((3, true)), "and nobody gets root's group");
        symlink("round", own.join("round")).unwrap();
        assert!(Owner::of(&own.join("round"), End::File).is_err());
    }

    #[test]
    fn root_goes_no_further_in_a_folder_of_others_than_they_could() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (theirs, secret) = (folder.path().join("theirs"), folder.path().join("secret"));
        fs::create_dir(&theirs).unwrap();
        fs::write(&secret, "root's").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let link = theirs.join("link");
        symlink(&secret, &link).unwrap();
        assert_eq!(along(&link, || fs::read_to_string(&link)).unwrap(), "root's", "all of it is ours");
        if chown(&theirs, Some(1), Some(1)).is_err() {
            return;
        }
        let denied = along(&link, || fs::read_to_string(&link)).unwrap_err();
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root's", "afterwards root is root again");
        assert!(within(&theirs, || fs::write(theirs.join("theirs to write"), "")).is_ok());
        assert!(within(&theirs, || fs::write(folder.path().join("root's"), "")).is_err());
    }

    #[test]
    fn root_of_a_small_container_has_no_rights_of_users_outside() {
        assert!(Mapped("         0          0 4294967295\n".into()).holds(65_534));
        assert!(!Mapped("0 1000 1\n1 100000 65536\n".into()).holds(65_537));
        assert!(Mapped("0 1000 1\n1 100000 65536\n".into()).holds(65_536));
    }

    #[test]
    fn groups_are_read_from_the_systems_files() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nmail relay:x:70:71::/:/bin/false\nbad:x:y\n";
        assert_eq!(entry(passwd, 70), Some(("mail relay", 71)));
        assert_eq!(entry(passwd, 5), None);
        assert_eq!(groups_of("a:x:1:x,mail relay\nb:x:2:\nc:x:3:mail relay\nd:x\n", "mail relay"), [1, 3]);
    }
}
