//! The index's folder. An index that failed is replaced while the spool runs, and sled does not let go of a folder at once, so that each
//! new index gets a folder of its own: `index`, `index.2`, `index.3` and so on. The highest number is the one in use.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder in use; `index` if there is none yet.
pub(crate) fn current(dir: &Path) -> io::Result<PathBuf> {
    Ok(path(dir, numbers(dir)?.into_iter().max().unwrap_or(1)))
}

/// The folder for the next index. It does not exist yet.
pub(crate) fn next(dir: &Path) -> io::Result<PathBuf> {
    Ok(path(dir, numbers(dir)?.into_iter().max().unwrap_or(0) + 1))
}

/// Puts the folder in use aside, for as long as a start needs to make another one, and removes the others. Returns where it was.
pub(crate) fn put_aside(dir: &Path) -> io::Result<PathBuf> {
    let path = current(dir)?;
    remove_others(dir, Some(&path))?;
    forget_aside(dir)?;
    match fs::rename(&path, dir.join(ASIDE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(path),
    }
}

/// Puts back what was put aside.
pub(crate) fn put_back(dir: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(dir.join(ASIDE), path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what was put aside.
pub(crate) fn forget_aside(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir.join(ASIDE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const ASIDE: &str = "index-before";

/// Removes all folders but `keep`.
pub(crate) fn remove_others(dir: &Path, keep: Option<&Path>) -> io::Result<()> {
    let all = numbers(dir)?.into_iter().map(|number| path(dir, number));
    all.filter(|other| Some(other.as_path()) != keep).try_for_each(fs::remove_dir_all)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(if number == 1 { "index".to_owned() } else { format!("index.{number}") })
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let number = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map(|entry| entry.file_name())?;
        let name = name.to_str().and_then(|name| name.strip_prefix("index"));
        Ok(name.and_then(|rest| if rest.is_empty() { Some(1) } else { rest.strip_prefix('.')?.parse().ok() }))
    };
    fs::read_dir(dir)?.filter_map(|entry| number(entry).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_has_a_folder_of_its_own_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!((current(dir.path()).unwrap(), next(dir.path()).unwrap()), (at("index"), at("index")));
        for name in ["index", "index.2", "index.10", "log", "index.old"] {
            fs::create_dir(at(name)).unwrap();
        }
        assert_eq!((current(dir.path()).unwrap(), next(dir.path()).unwrap()), (at("index.10"), at("index.11")));
        remove_others(dir.path(), Some(&at("index.10"))).unwrap();
        assert!(at("index.10").exists() && at("log").exists() && at("index.old").exists());
        assert!(!at("index").exists() && !at("index.2").exists());
    }
}
