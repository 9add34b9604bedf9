//! Certificates that listeners show: read from files, chosen by the name that the client asks for, read again when the files change. No
//! connection ends because of a change: each handshake uses the certificates of its time.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use posthaste_host::files;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::pair::{Pair, PairError};

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The chain, the certificate itself first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl PairFiles {
    /// Reads both.
    pub fn read(&self) -> Result<Pair, PairError> {
        let text = |path: &Path| files::read_text(path).map_err(|source| PairError::Unreadable { path: path.to_owned(), source });
        Pair::from_pem(&text(&self.certificate)?, &text(&self.key)?)
    }
}

/// The certificates of one listener.
#[derive(Debug)]
pub struct Certificates {
    /// The first is for clients that ask for no name, or for a name that no certificate has.
    pairs: ArcSwap<Vec<Arc<Pair>>>,
    watched: Mutex<Vec<Watched>>,
}

/// The files of the pair at the same index.
#[derive(Debug)]
struct Watched {
    files: PairFiles,
    /// The files' stamp when they were read last; None: they have not been read yet.
    seen: Option<Stamp>,
}

/// Inode, length and modification time of both files: a file that changes or is replaced has another stamp.
type Stamp = [(u64, u64, i64, i64); 2];

/// What became of files that changed.
#[derive(Debug)]
pub(crate) enum FileChange {
    /// The new certificate is shown from now on; it expires at this time.
    Renewed(PathBuf, Timestamp),
    /// The new certificate cannot be used; the old one is still shown.
    Kept(PathBuf, PairError),
}

impl Certificates {
    /// Certificates, each with its files. Not empty.
    pub fn new(pairs: Vec<(PairFiles, Arc<Pair>)>) -> Self {
        let (files, pairs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let watched = files.into_iter().map(|files| Watched { seen: stamp(&files).ok(), files }).collect();
        Self { pairs: ArcSwap::from_pointee(pairs), watched: Mutex::new(watched) }
    }

    /// A certificate that is in no file.
    pub fn fixed(pair: Pair) -> Self {
        Self { pairs: ArcSwap::from_pointee(vec![Arc::new(pair)]), watched: Mutex::default() }
    }

    /// The certificate in these files. Until they exist, `meanwhile` is shown.
    pub fn awaited(files: PairFiles, meanwhile: impl FnOnce() -> Result<Pair, PairError>) -> Result<Self, PairError> {
        match files.read() {
            Ok(pair) => Ok(Self::new(vec![(files, Arc::new(pair))])),
            Err(_) => Ok(Self { watched: Mutex::new(vec![Watched { files, seen: None }]), ..Self::fixed(meanwhile()?) }),
        }
    }

    /// Whether a substitute is shown until the files exist.
    pub fn awaits(&self) -> bool {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|watched| watched.seen.is_none())
    }

    /// Reads changed files again. Blocks on the disk.
    pub(crate) fn look(&self) -> Vec<FileChange> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        let mut pairs = Vec::clone(&self.pairs.load());
        for (watched, pair) in watched.iter_mut().zip(&mut pairs) {
            // Files that are gone for a moment are being replaced.
            let Some(now) = stamp(&watched.files).ok().filter(|now| watched.seen != Some(*now)) else { continue };
            watched.seen = Some(now);
            match watched.files.read() {
                // Certificate and key are two files, and the other one may not have been replaced yet: its change will follow.
                Err(error) => found.push(FileChange::Kept(watched.files.certificate.clone(), error)),
                Ok(new) => {
                    found.push(FileChange::Renewed(watched.files.certificate.clone(), new.not_after()));
                    *pair = Arc::new(new);
                }
            }
        }
        if found.iter().any(|looked| matches!(looked, FileChange::Renewed(..))) {
            self.pairs.store(Arc::new(pairs));
        }
        found
    }

    /// When the first of them expires.
    pub fn not_after(&self) -> Timestamp {
        self.pairs.load().iter().map(|pair| pair.not_after()).min().unwrap_or(Timestamp::MAX)
    }

    /// Those that were read from files, each with its names and when it expires; none while a substitute is shown.
    pub fn from_files(&self) -> Vec<(Vec<String>, Timestamp)> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = self.pairs.load();
        let read = watched.iter().zip(pairs.iter()).filter(|(watched, _)| watched.seen.is_some());
        read.map(|(_, pair)| (pair.names().to_vec(), pair.not_after())).collect()
    }

    /// The certificate for a client that asks for `name` and can verify certificates that `fits`.
    fn choose(&self, name: Option<&str>, fits: impl Fn(&Pair) -> bool) -> Option<Arc<CertifiedKey>> {
        let pairs = self.pairs.load();
        let named = || pairs.iter().filter(|pair| name.is_some_and(|name| pair.is_for(name)));
        let best = named().find(|pair| fits(pair)).or_else(|| named().next());
        best.or_else(|| pairs.iter().find(|pair| fits(pair))).or(pairs.first()).map(|pair| pair.key())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |pair| pair.key().key.choose_scheme(schemes).is_some())
    }
}

fn stamp(files: &PairFiles) -> io::Result<Stamp> {
    let of = |path: &Path| fs::metadata(path).map(|m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
    Ok([of(&files.certificate)?, of(&files.key)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names, pair::testing::pem};

    fn written(folder: &Path, stem: &str, names: &[&str]) -> PairFiles {
        let (certificate, key) = pem(names);
        let files = PairFiles { certificate: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        files
    }

    fn certificates(files: &[&PairFiles]) -> Certificates {
        Certificates::new(files.iter().map(|files| ((*files).clone(), Arc::new(files.read().unwrap()))).collect())
    }

    fn shown(certificates: &Certificates, name: Option<&str>) -> Vec<String> {
        names::of(&certificates.choose(name, |_| true).unwrap().cert[0])
    }

    #[test]
    fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (written(folder.path(), "one", &["one.test"]), written(folder.path(), "two", &["two.test", "*.sub.test"]));
        let both = certificates(&[&one, &two]);
        for (name, expected) in [
            (Some("one.test"), "one.test"),
            (Some("TWO.test"), "two.test"),
            (Some("a.sub.test"), "two.test"),
            (Some("a.b.sub.test"), "one.test"),
            (Some("sub.test"), "one.test"),
            (Some("other.test"), "one.test"),
            (None, "one.test"),
        ] {
            assert_eq!(shown(&both, name)[0], expected, "{name:?}");
        }
    }

    #[test]
    fn a_client_gets_a_certificate_that_it_can_check_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (written(folder.path(), "one", &["one.test"]), written(folder.path(), "two", &["one.test", "two.test"]));
        let both = certificates(&[&one, &two]);
        let able = |pair: &Pair| pair.is_for("two.test");
        assert_eq!(names::of(&both.choose(Some("one.test"), able).unwrap().cert[0]), ["one.test", "two.test"]);
        assert_eq!(names::of(&both.choose(None, able).unwrap().cert[0]), ["one.test", "two.test"]);
        assert_eq!(names::of(&both.choose(Some("one.test"), |_| false).unwrap().cert[0]), ["one.test"]);
    }

    #[test]
    fn changed_files_are_read_again_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = written(folder.path(), "one", &["old.test"]);
        let one = certificates(&[&files]);
        assert!(one.look().is_empty());
        // The key of another certificate: half of a renewal.
        let (certificate, key) = pem(&["new.test"]);
        fs::write(&files.certificate, certificate).unwrap();
        assert!(matches!(one.look()[..], [FileChange::Kept(_, PairError::Mismatch)]));
        assert_eq!(shown(&one, None), ["old.test"]);
        assert!(one.look().is_empty(), "said once");
        fs::write(&files.key, key).unwrap();
        assert!(matches!(one.look()[..], [FileChange::Renewed(..)]));
        assert_eq!(shown(&one, None), ["new.test"]);
        fs::remove_file(&files.key).unwrap();
        assert!(one.look().is_empty());
        assert_eq!(shown(&one, None), ["new.test"]);
    }

    #[test]
    fn what_is_made_up_is_shown_until_the_files_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = PairFiles { certificate: folder.path().join("one.pem"), key: folder.path().join("one.key") };
        let awaited = || Certificates::awaited(files.clone(), || Pair::self_signed("made.test")).unwrap();
        let one = awaited();
        assert!(one.look().is_empty() && one.awaits() && one.from_files().is_empty());
        assert_eq!(shown(&one, None)[0], "made.test");
        written(folder.path(), "one", &["real.test"]);
        assert!(matches!(one.look()[..], [FileChange::Renewed(..)]) && !one.awaits());
        assert_eq!(shown(&one, None), ["real.test"]);
        let told = one.from_files();
        assert_eq!((told.len(), &told[0].0[..], told[0].1), (1, &["real.test".to_owned()][..], one.not_after()));
        let again = awaited();
        assert!(again.look().is_empty() && !again.awaits());
        assert_eq!(shown(&again, None), ["real.test"]);
    }
}
