//! OpenDKIM in its test mode, with the keys from a file.

use std::{io::ErrorKind, path::Path, process::Command};

use super::{Record, Sample, absent, write_down};

/// Debian puts it where an ordinary user's path does not reach.
const PROGRAMS: [&str; 2] = ["opendkim", "/usr/sbin/opendkim"];

/// None where OpenDKIM is not installed.
pub(crate) fn verify(samples: &[Sample], records: &[Record]) -> Option<Vec<bool>> {
    let folder = tempfile::tempdir().unwrap();
    write_down(folder.path(), samples, records);
    let config = format!("Mode v\nSyslog no\nTestPublicKeys {}\n", folder.path().join("records").display());
    std::fs::write(folder.path().join("config"), config).unwrap();
    let verdicts: Option<Vec<bool>> = (0..samples.len()).map(|number| holds(folder.path(), number)).collect();
    if verdicts.is_none() {
        absent("OpenDKIM", "opendkim");
    }
    verdicts
}

fn holds(folder: &Path, number: usize) -> Option<bool> {
    let file = folder.join(format!("{number}.eml"));
    for program in PROGRAMS {
        match Command::new(program).arg("-x").arg(folder.join("config")).arg("-v").arg("-t").arg(&file).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("{program}: {error}"),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                let (yes, no) = (said.contains(" succeeded\n"), said.contains(" failed: "));
                assert!(yes != no, "{program} on sample {number} said neither yes nor no: {said}");
                return Some(yes);
            }
        }
    }
    None
}
